"""The tables of the transfers from corpus to corpus."""

from itertools import permutations

import numpy as np

from .corpora import DEVELOPMENT, TRANSFERS
from .methods import TRANSFER_METHODS, parameters, with_settings
from .summaries import mean, table

# On these the weights are chosen.
CHOOSING = [":".join(pair) for pair in permutations(DEVELOPMENT)]


def transfers_by_seed(found, method):
    """Return the UAR of each transfer of each seed, in %: {transfer: {seed: UAR}}."""
    own, uars = parameters(*with_settings(TRANSFER_METHODS[method], {})), {}
    for row in found:
        if row["method"] == method and row["params"] == own:
            uars.setdefault(row["corpus"], {})[row["seed"]] = 100 * row["uar"]
    return uars


def means_table(found):
    """Mean UAR over the transfers, by seed, of each method; and what it gains."""
    own = {name: transfers_by_seed(found, name) for name in TRANSFER_METHODS}
    confirmation = [t for t in TRANSFERS if t not in CHOOSING]
    groups = [CHOOSING, confirmation, TRANSFERS]
    body = []
    for name, method in TRANSFER_METHODS.items():
        if not own[name]:
            continue
        cells = []
        for group in groups:
            held = [set(own[name].get(t, {})) for t in group]
            seeds = set.intersection(*held)
            means = [np.mean([own[name][t][seed] for t in group]) for seed in seeds]
            cells.append(f"{mean(means)} ({len(seeds)})" if seeds else "missing")
        base = own["source-only-raw" if name.endswith("-raw") else "source-only"]
        gains = [
            np.mean([uar - base[t][seed] for seed, uar in uars.items()])
            for t, uars in own[name].items()
            if method.seeded and uars.keys() <= base.get(t, {}).keys()
        ]
        gain = "-"
        if any(gains):
            better = sum(g > 0 for g in gains)
            gain = f"{np.mean(gains):+.1f} ({better} of {len(gains)})"
        normalised = "no" if name.endswith("-raw") else "yes"
        body.append([method.label, normalised, *cells, gain])
    header = ["method", "normalised by domain", "development (seeds)"]
    header += ["confirmation (seeds)", "all 12 (seeds)", "over source only (better on)"]
    return table(header, body) if body else "None yet."


def by_transfer_table(found):
    """UAR of each transfer, of the methods with normalisation by domain."""
    own = {
        name: uars
        for name in TRANSFER_METHODS
        if not name.endswith("-raw") and (uars := transfers_by_seed(found, name))
    }
    body = [
        [f"`{t}`"]
        + [mean(list(u[t].values())) if t in u else "missing" for u in own.values()]
        for t in TRANSFERS
    ]
    return table(["transfer", *(TRANSFER_METHODS[n].label for n in own)], body)


def weights_table(found):
    """Mean of the label-free scores and of the UAR on CHOOSING, by method and weight.

    Of the seeds that have all of CHOOSING at all of a method's weights.
    """
    held = {}
    for row in found:
        method = TRANSFER_METHODS.get(row["method"])
        if method is None or row["corpus"] not in CHOOSING or not method.seeded:
            continue
        own = parameters(*with_settings(method, {}))
        weight = row["params"]["alignment_weight"]
        if row["params"] == own | {"alignment_weight": weight}:
            point = held.setdefault(row["method"], {}).setdefault(weight, {})
            point.setdefault(row["seed"], {})[row["corpus"]] = row
    body = []
    for name in (name for name in TRANSFER_METHODS if name in held):
        points = sorted(held[name].items())
        whole = [
            {seed for seed, rows in p.items() if len(rows) == len(CHOOSING)}
            for _, p in points
        ]
        for weight, seeds in points:
            rows = [r for s in set.intersection(*whole) for r in seeds[s].values()]
            if rows and len(points) > 1:
                scores = [
                    np.mean([row["label_free"][scorer] for row in rows])
                    for scorer in ("PredictionEntropyScorer", "SoftNeighborhoodDensity")
                ]
                uar = 100 * np.mean([row["uar"] for row in rows])
                cells = [f"{weight:g}", *(f"{s:.3f}" for s in scores), f"{uar:.1f}"]
                body.append([TRANSFER_METHODS[name].label, *cells])
    header = ["method", "weight", "PredictionEntropyScorer", "SoftNeighborhoodDensity"]
    return table([*header, "UAR"], body) if body else "None yet."


def missing(found, seeds):
    """Name the transfers that lack rows, a line a method."""
    lines = []
    for method, description in TRANSFER_METHODS.items():
        own = transfers_by_seed(found, method)
        lacking = {
            seed: sum(seed not in own.get(transfer, {}) for transfer in TRANSFERS)
            for seed in (seeds if description.seeded else (None,))
        }
        parts = [
            f"{n} transfers" + f" of seed {seed}" * description.seeded
            for seed, n in lacking.items()
            if n
        ]
        if parts:
            lines.append(f"- `{method}`: {', '.join(parts)}")
    return lines
