"""What the seeds of a method say together."""

from dataclasses import dataclass

import numpy as np

from sklearn_ser.metrics._bootstrap import (
    bootstrap_speakers,
    confusion_uar,
    confusion_wa,
)

from .condense import PROBES, confusions, params_hash
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
    """Return the lines of a method at the parameters that it has now."""
    params = params_hash(own_parameters(method, features))
    return [
        line
        for line in found
        if (line["corpus"], line["method"], line["params"]) == (corpus, method, params)
    ]


def summarise(lines, member=None):
    """Summarise the seeds of a method at one setting on a corpus; None without any.

    With a `member`, a corpus of a pool, of its speakers alone.
    """
    if not lines:
        return None
    lines = sorted(lines, key=lambda line: str(line["seed"]))
    by_seed = [
        {
            who: counts
            for who, counts in confusions(line).items()
            if member is None or who.startswith(f"{member}:")
        }
        for line in lines
    ]
    speakers = sorted(by_seed[0])
    counts = np.array([[own[who] for who in speakers] for own in by_seed])
    pooled = counts.sum(axis=1)
    interval = bootstrap_speakers(counts.sum(axis=0), 2000, 0.95, 0)[0]
    seconds = [line["folds"] * line["fit_seconds"] for line in lines]
    per_speaker = 100 * confusion_uar(counts).mean(axis=0)
    return Summary(
        seeds=[line["seed"] for line in lines],
        uars=100 * confusion_uar(pooled),
        was=100 * confusion_wa(pooled),
        interval=tuple(100 * bound for bound in interval),
        per_speaker=dict(zip(speakers, per_speaker.tolist(), strict=True)),
        minutes=float(np.mean(seconds)) / 60,
        peak_mb=max(line["peak_mb"] for line in lines),
        probes=_probes(lines),
        chance=100 / (pooled.sum(axis=(0, 2)) > 0).sum(),
    )


def _probes(lines):
    """Average what the probes of the seeds that have some read above chance."""
    read = {name: [line[name] for line in lines] for name in PROBES}
    read = {name: [v for v in own if v is not None] for name, own in read.items()}
    return {name: float(np.mean(own)) for name, own in read.items() if own}


def only(setting, name):
    """Return the number that a setting gives to a parameter, if it names no other."""
    found, _, value = setting.partition("=")
    return float(value) if found == name and "," not in value else None


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
