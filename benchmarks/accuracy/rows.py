"""Rows of results in files: appended one by one, or replaced by their key."""

import csv
import hashlib
import io
import subprocess
from importlib.metadata import version
from pathlib import Path

import joblib
from sklearn.base import clone

from sklearn_ser._files import atomic_write

RESULTS = Path(__file__).parents[1] / "results"
PACKAGES = ("sklearn-ser", "numpy", "scipy", "scikit-learn", "torch", "skorch")
PROVENANCE = ("data", "versions", "commit")


def read(path):
    """Return the rows of a file; what an interruption tore at its end is left out."""
    if not Path(path).exists():
        return []
    whole = Path(path).read_bytes().rpartition(b"\n")[0].decode()
    return list(csv.DictReader(io.StringIO(whole)))


def append(path, row, columns):
    """Append a row in one write, after what is whole in the file."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+") as file:
        file.seek(0)
        whole = file.read().rpartition(b"\n")[:2]
        file.truncate(sum(map(len, whole)))
        file.write(_text([row], columns, header=not any(whole)))


def replace(path, rows, columns, key):
    """Write rows to a file, in which they replace those of the same key."""
    known = {tuple(str(row[k]) for k in key): row for row in [*read(path), *rows]}
    lines = [known[place] for place in sorted(known)]
    with atomic_write(path) as file:
        file.write(_text(lines, columns, header=True))


def _text(rows, columns, header):
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def seeded(estimator, seed):
    """Return a clone whose random states are the seed."""
    names = [n for n in estimator.get_params() if n.endswith("random_state")]
    return clone(estimator).set_params(**dict.fromkeys(names, seed))


def provenance(*data):
    """Return what a row says of its data, splits, packages and code."""
    git = ["git", "-C", str(RESULTS), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False)
    text = " ".join(joblib.hash(part) for part in data)
    return {
        "data": hashlib.sha256(text.encode()).hexdigest()[:16],
        "versions": "; ".join(f"{name} {version(name)}" for name in PACKAGES),
        "commit": commit.stdout.strip(),
    }
