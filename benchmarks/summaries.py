"""What the rows of a method say together."""

from dataclasses import dataclass

import numpy as np

from sklearn_ser.metrics._bootstrap import (
    bootstrap_speakers,
    confusion_uar,
    confusion_wa,
)

from .corpora import DEVELOPMENT, POOLS
from .methods import own_parameters


@dataclass(frozen=True)
class Summary:
    """All seeds of a method on a corpus, in %, from counts by speaker."""

    seeds: list
    uars: np.ndarray
    was: np.ndarray
    interval: tuple
    per_speaker: dict
    minutes: float
    peak_mb: int
    probes: dict
    chance: float

    @property
    def uar(self):
        """Mean over the seeds, with deviation and interval."""
        low, high = self.interval
        return f"{mean(self.uars)} [{low:.1f}, {high:.1f}]"


def current(found, corpus, method, features):
    """Return the rows of a method at the parameters it has now, by seed."""
    params, runs = own_parameters(method, features), {}
    for row in found:
        if (row["corpus"], row["method"], row["params"]) == (corpus, method, params):
            runs.setdefault(row["seed"], []).append(row)
    return runs


def summarise(runs, member=None):
    """Summarise the complete seeds of :func:`current`; None if there is none.

    With a `member`, a corpus of a pool, of its speakers alone.
    """
    runs = {s: own for s, own in runs.items() if len(own) == own[0]["n_folds"]}
    if not runs:
        return None
    seeds = sorted(runs, key=str)
    by_seed = [
        {
            who: counts
            for row in runs[seed]
            for who, counts in row["confusion"].items()
            if member is None or who.startswith(f"{member}:")
        }
        for seed in seeds
    ]
    speakers = sorted(by_seed[0])
    counts = np.array([[own[who] for who in speakers] for own in by_seed])
    pooled = counts.sum(axis=1)
    interval = bootstrap_speakers(counts.sum(axis=0), 2000, 0.95, 0)[0]
    seconds = [sum(row["fit_seconds"] for row in runs[seed]) for seed in seeds]
    per_speaker = 100 * confusion_uar(counts).mean(axis=0)
    return Summary(
        seeds=seeds,
        uars=100 * confusion_uar(pooled),
        was=100 * confusion_wa(pooled),
        interval=tuple(100 * bound for bound in interval),
        per_speaker=dict(zip(speakers, per_speaker.tolist(), strict=True)),
        minutes=float(np.mean(seconds)) / 60,
        peak_mb=max(row["peak_mb"] for own in runs.values() for row in own),
        probes=_probes([row.get("probes") for own in runs.values() for row in own]),
        chance=100 / (pooled.sum(axis=(0, 2)) > 0).sum(),
    )


def _probes(found):
    """Average what the probes of all folds and seeds read above chance, in points."""
    read = {}
    for fold in filter(None, found):
        for who, figures in fold.items():
            for what, (score, chance) in figures.items():
                read.setdefault(f"{what}, {who}", []).append(100 * (score - chance))
    return {name: float(np.mean(values)) for name, values in read.items()}


def mean(values):
    """Format a mean, with the deviation where there is one."""
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


def table(header, body):
    """Format cells as Markdown."""
    rule = "|".join(["---"] * len(header))
    return "\n".join(
        ["| " + " | ".join(header) + " |", f"|{rule}|"]
        + ["| " + " | ".join(line) + " |" for line in body]
    )


def mark(corpus):
    """Format a corpus or a transfer; † is on those that choices were made on."""
    members = POOLS.get(corpus, corpus.split(":"))
    return f"`{corpus}`" + "†" * (set(members) <= set(DEVELOPMENT))
