"""Rows of results in files, which are found and replaced by their key."""

import hashlib
import io
import subprocess
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from sklearn_ser._files import atomic_write

RESULTS = Path(__file__).parents[1] / "results"
PACKAGES = ("sklearn-ser", "numpy", "scipy", "scikit-learn", "torch", "skorch")
PROVENANCE = ("data", "versions", "commit")


def read(path):
    """Return the whole rows of a file as text; an interruption may tear the last."""
    content = Path(path).read_bytes() if Path(path).exists() else b""
    return _frame(content[: content.rfind(b"\n") + 1].decode())


def _frame(text):
    options = {"dtype": str, "keep_default_na": False}
    return pd.read_csv(io.StringIO(text), **options) if text else pd.DataFrame()


def numbers(frame, names):
    """Return rows of text in which some columns are numbers."""
    return frame.replace("", np.nan).astype(dict.fromkeys(names, float))


def replace(path, frame, key):
    """Write rows to a file, in which they replace those of the same key."""
    frame = _frame(frame.to_csv(index=False))
    both = pd.concat([read(path), frame]).fillna("")
    both = both.drop_duplicates([*key], keep="last").sort_values([*key], key=_by_number)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(both[frame.columns].to_csv(index=False).encode())


def _by_number(column):
    """Return texts that are in the order of the numbers of a column."""
    return column.where(~column.str.isdigit(), column.str.zfill(9))


def provenance(*data):
    """Return what a row says of its data, splits, packages and code."""
    git = ["git", "-C", str(RESULTS), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False)
    text = " ".join(joblib.hash(part) for part in data)
    versions = "; ".join(f"{name} {version(name)}" for name in PACKAGES)
    values = hashlib.sha256(text.encode()).hexdigest()[:16], versions
    return dict(zip(PROVENANCE, (*values, commit.stdout.strip()), strict=True))
