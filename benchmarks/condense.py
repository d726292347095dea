"""The committed results: one line for each seed of a method on a corpus.

``python -m benchmarks.condense`` adds the complete seeds of ``rows.jsonl``, which git
ignores, to ``summary.csv``, which is committed. A line replaces one of the same key.
"""

import csv
import json
from pathlib import Path

import numpy as np

from sklearn_ser.metrics._bootstrap import confusion_uar, confusion_wa

from . import rows
from .corpora import digest
from .features import set_of
from .methods import own_parameters

SUMMARY = Path(__file__).parent / "results" / "summary.csv"
PROBES = (
    "speaker, seen",
    "speaker, unseen",
    "emotion, seen",
    "speaker in u, seen",
    "emotion in u, seen",
)
SCORERS = ("PredictionEntropyScorer", "SoftNeighborhoodDensity")
# Equal in these, two lines are the same experiment.
KEY = ("corpus", "method", "seed", "params", "data", "weights")
COLUMNS = (
    *("corpus", "features", "method", "setting", "seed", "folds", "uar", "wa"),
    *("fit_seconds", "peak_mb", *PROBES, *SCORERS, "params", "data", "weights"),
    *("commit", "recalls"),
)


def params_hash(params):
    """Return a short hash of all parameters: a line is of one value of each."""
    return digest(json.dumps(params, sort_keys=True))[:8]


def condense(found):
    """Return a line for each complete seed of some rows.

    Parameters
    ----------
    found : list of dict
        Rows, one a fold.

    Returns
    -------
    lines : list of dict
        With COLUMNS. The setting is what differs from the method's own parameters.
        Recalls have, of each speaker, hits and recordings of each class. They are
        what figures, intervals and differences by speaker are made of.
    """
    runs = {}
    for row in found:
        own = {name: row.get(name) for name in rows.KEY if name != "fold"}
        runs.setdefault(json.dumps(own, sort_keys=True), []).append(row)
    return [_line(own) for own in runs.values() if len(own) == own[0]["n_folds"]]


def _line(own):
    row = own[0]
    confusions = {
        who: np.array(counts) for r in own for who, counts in r["confusion"].items()
    }
    pooled = sum(confusions.values())
    scores = [r["label_free"] for r in own if r.get("label_free")]
    return {
        "features": set_of(row),
        "setting": _setting(row),
        "folds": row["n_folds"],
        "uar": round(100 * float(confusion_uar(pooled)), 2),
        "wa": round(100 * float(confusion_wa(pooled)), 2),
        "fit_seconds": round(float(np.mean([r["fit_seconds"] for r in own])), 3),
        "peak_mb": max(r["peak_mb"] for r in own),
        **_probes([r.get("probes") for r in own]),
        **{
            name: round(float(np.mean([s[name] for s in scores])), 5)
            if scores
            else None
            for name in SCORERS
        },
        **dict(zip(KEY, key_of(row), strict=True)),
        "commit": own[-1].get("commit") or "",
        "recalls": " ".join(
            f"{who}=" + ",".join(f"{c[i, i]}/{c[i].sum()}" for i in range(len(c)))
            for who, c in sorted(confusions.items())
        ),
    }


def data_hash(*hashes):
    """Return a short hash of those of the split, the table and the audio."""
    return digest(*map(str, hashes))[:8]


def key_of(row):
    """Return what the line of a row has as its key."""
    hashes = (row.get(name) for name in ("split_hash", "manifest_hash", "audio_hash"))
    return (
        *(row["corpus"], row["method"], row["seed"], params_hash(row["params"])),
        *(data_hash(*hashes), (row.get("weights_hash") or "")[:8]),
    )


def _setting(row):
    """Return what differs from the method's own parameters, as text."""
    own, params = own_parameters(row["method"], set_of(row)), row["params"]
    changed = {k: v for k, v in params.items() if own.get(k) != v}
    changed |= {k: None for k in own if k not in params}
    return ", ".join(
        f"{k.removeprefix('features__')}={v}" for k, v in sorted(changed.items())
    )


def _probes(found):
    """Average what the probes of all folds read above chance, in points."""
    read = dict.fromkeys(PROBES)
    for fold in filter(None, found):
        for who, figures in fold.items():
            for what, (score, chance) in figures.items():
                name = f"{what}, {who}"
                read[name] = [*(read.get(name) or ()), 100 * (score - chance)]
    return {
        name: None if read[name] is None else round(float(np.mean(read[name])), 3)
        for name in PROBES
    }


def confusions(line):
    """Return hits and misses by speaker; in which class a miss ended is not kept."""
    found = {}
    for part in line["recalls"].split(" "):
        who, _, recalls = part.rpartition("=")
        counts = np.array([list(map(int, r.split("/"))) for r in recalls.split(",")])
        hits, n = counts.T
        found[who] = np.diag(hits) + np.roll(np.diag(n - hits), 1, axis=1)
    return found


def key(line):
    """Return what tells one experiment from another."""
    return tuple(line[name] for name in KEY)


def read(path=SUMMARY):
    """Return the lines of a file, numbers as numbers."""
    if not Path(path).exists():
        return []
    with open(path, newline="") as file:
        lines = list(csv.DictReader(file))
    numbers = {"seed": int, "folds": int, "peak_mb": int, "fit_seconds": float}
    numbers |= dict.fromkeys(("uar", "wa", *PROBES, *SCORERS), float)
    for line in lines:
        for name, number in numbers.items():
            line[name] = number(line[name]) if line[name] else None
    return lines


def write(lines, path=SUMMARY):
    """Write lines in an order of their own, so that a difference is a new figure."""
    order = ("corpus", "features", "method", "setting", "seed", "params", "data")
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            sorted(lines, key=lambda line: [str(line[name]) for name in order])
        )


def main(rows_path=rows.RESULTS, path=SUMMARY):
    """Add the rows of a file to the summary."""
    lines = {key(line): line for line in read(path)}
    new = {key(line): line for line in condense(rows.read(rows_path))}
    write((lines | new).values(), path)
    print(f"{len(new.keys() - lines.keys())} new lines, {len(lines | new)} in all")


if __name__ == "__main__":
    main()
