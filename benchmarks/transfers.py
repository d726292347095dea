"""The tables of the transfers from corpus to corpus."""

from itertools import permutations

import numpy as np

from .condense import SCORERS, params_hash
from .corpora import DEVELOPMENT, TRANSFERS
from .methods import TRANSFER_METHODS, own_parameters
from .summaries import mark, mean, only, summarise, table

# How a method's features are normalised, by the end of its name.
_NORMALISED = {"-raw": "no", "-by-speaker": "by speaker"}
# On these the weights are chosen.
CHOOSING = [":".join(pair) for pair in permutations(DEVELOPMENT)]


def transfers_by_seed(found, method, features="log-mel"):
    """Return the UAR of each transfer of each seed, in %: {transfer: {seed: UAR}}."""
    own, uars = params_hash(own_parameters(method, features)), {}
    for line in found:
        if line["method"] == method and line["params"] == own:
            (uar,) = summarise([line]).uars
            uars.setdefault(line["corpus"], {})[line["seed"]] = uar
    return uars


def methods_on(features):
    """Name the methods that are run across corpora on a set of features."""
    return [name for name, m in TRANSFER_METHODS.items() if features in m.sets]


def _on(features):
    return {name: TRANSFER_METHODS[name] for name in methods_on(features)}


def _ending(name):
    return next((end for end in _NORMALISED if name.endswith(end)), "")


def means_table(found, features="log-mel"):
    """Mean UAR over the transfers, by seed, of each method; and what it gains."""
    methods = _on(features)
    own = {name: transfers_by_seed(found, name, features) for name in methods}
    confirmation = [t for t in TRANSFERS if t not in CHOOSING]
    groups = [CHOOSING, confirmation, TRANSFERS]
    body = []
    for name, method in methods.items():
        if not own[name]:
            continue
        cells = []
        for group in groups:
            held = [set(own[name].get(t, {})) for t in group]
            seeds = set.intersection(*held)
            means = [np.mean([own[name][t][seed] for t in group]) for seed in seeds]
            cells.append(f"{mean(means)} ({len(seeds)})" if seeds else "missing")
        base = own["source-only" + _ending(name)]
        gains = [
            np.mean([uar - base[t][seed] for seed, uar in uars.items()])
            for t, uars in own[name].items()
            if method.seeded and uars.keys() <= base.get(t, {}).keys()
        ]
        gain = "-"
        if any(gains):
            better = sum(g > 0 for g in gains)
            gain = f"{np.mean(gains):+.1f} ({better} of {len(gains)})"
        normalised = _NORMALISED.get(_ending(name), "by corpus")
        body.append([method.label, normalised, *cells, gain])
    header = ["method", "normalised", "development† (seeds)"]
    header += ["confirmation (seeds)", "all 12 (seeds)", "over source only (better on)"]
    return table(header, body) if body else "None yet."


def by_transfer_table(found, features="log-mel"):
    """UAR of each transfer, of the methods with normalisation by corpus."""
    own = {
        name: uars
        for name in _on(features)
        if not _ending(name) and (uars := transfers_by_seed(found, name, features))
    }
    body = [
        [mark(t)]
        + [mean(list(u[t].values())) if t in u else "missing" for u in own.values()]
        for t in TRANSFERS
    ]
    header = ["transfer", *(TRANSFER_METHODS[name].label for name in own)]
    return table(header, body) if own else "None yet."


def weights_table(found, features="log-mel"):
    """Mean of the label-free scores and of the UAR on CHOOSING, by method and weight.

    Of the seeds that have all of CHOOSING at all of a method's weights.
    """
    held = {}
    for line in found:
        method = TRANSFER_METHODS.get(line["method"])
        if method is None or line["corpus"] not in CHOOSING or not method.seeded:
            continue
        if line["features"] != features:
            continue
        weight = only(line["setting"], "alignment_weight")
        if not line["setting"]:
            weight = own_parameters(line["method"], features)["alignment_weight"]
        if weight is not None:
            point = held.setdefault(line["method"], {}).setdefault(weight, {})
            point.setdefault(line["seed"], {})[line["corpus"]] = line
    body = []
    for name in (name for name in TRANSFER_METHODS if name in held):
        points = sorted(held[name].items())
        whole = [
            {seed for seed, lines in p.items() if len(lines) == len(CHOOSING)}
            for _, p in points
        ]
        for weight, seeds in points:
            lines = [x for s in set.intersection(*whole) for x in seeds[s].values()]
            if lines and len(points) > 1:
                scores = [np.mean([x[scorer] for x in lines]) for scorer in SCORERS]
                uar = np.mean([summarise([x]).uars for x in lines])
                cells = [f"{weight:g}", *(f"{s:.3f}" for s in scores), f"{uar:.1f}"]
                body.append([TRANSFER_METHODS[name].label, *cells])
    header = ["method", "weight", *SCORERS, "UAR on †"]
    return table(header, body) if body else "None yet."
