"""The corpora of the benchmarks: what is in them, and how they are split."""

import hashlib
import os
from itertools import permutations
from pathlib import Path

import numpy as np
from sklearn.model_selection import LeaveOneGroupOut, PredefinedSplit
from sklearn.utils import Bunch

from sklearn_ser.datasets import load_manifest

# Choices are made on the first, and confirmed on the second.
DEVELOPMENT = ("emodb4", "emovo")
CONFIRMATION = ("ravdess", "casia")
# Test speakers of each fold; a corpus that is not here leaves one speaker out.
FOLDS = {
    "ravdess": [  # EmoBox
        "01 11 20 21",
        "04 10 12 14",
        "08 09 19 23",
        "03 05 07 24",
        "02 15 16 18",
        "06 13 17 22",
    ]
}


# From a source to a target.
TRANSFERS = [
    f"{source}:{target}"
    for source, target in permutations((*DEVELOPMENT, *CONFIRMATION), 2)
]


def load(name):
    """Load a corpus below the directory ``SKLEARN_SER_DATA``, or two.

    Parameters
    ----------
    name : str
        Its folder, which holds a ``metadata.csv``; ``source:target`` for a transfer.

    Returns
    -------
    corpus : Bunch
        As of ``load_manifest``, with ``name``, ``splits``, ``manifest_hash`` and
        ``audio_hash``. A transfer has its two corpora as ``members``, and of each row
        the corpus in ``corpora``; its data and ``frame`` are with them.
    """
    source, is_transfer, target = name.partition(":")
    if is_transfer:
        return _transfer(load(source), load(target))
    home = os.environ.get("SKLEARN_SER_DATA")
    if not home:
        raise ValueError("SKLEARN_SER_DATA must name the directory of the corpora.")
    manifest = Path(home, name, "metadata.csv")
    corpus = load_manifest(manifest)
    splits = split(corpus.speakers, FOLDS.get(name))
    return Bunch(
        **corpus,
        name=name,
        splits=splits,
        manifest_hash=digest(manifest.read_bytes()),
        audio_hash=digest(*(Path(path).read_bytes() for path in corpus.data)),
    )


def _transfer(source, target):
    """Join two corpora; the classes they share train on one and test on the other."""
    members = [source, target]
    labels = np.concatenate([c.target for c in members])
    corpora = np.repeat([c.name for c in members], [len(c.data) for c in members])
    shared = np.isin(labels, np.intersect1d(source.target, target.target))
    parts = [np.flatnonzero(shared & (corpora == c.name)) for c in members]
    return Bunch(
        name=f"{source.name}:{target.name}",
        members=members,
        target=labels,
        speakers=np.concatenate([c.speakers for c in members]),
        corpora=corpora,
        splits=[tuple(parts)],
        manifest_hash=digest(*(c.manifest_hash for c in members)),
        audio_hash=digest(*(c.audio_hash for c in members)),
    )


def split(speakers, folds=None):
    """Return (train, test) rows: the folds of test speakers, or one speaker each."""
    if folds is None:
        return list(LeaveOneGroupOut().split(speakers, groups=speakers))
    number = {who: i for i, fold in enumerate(folds) for who in fold.split()}
    return list(PredefinedSplit(np.array([number[s] for s in speakers])).split())


def digest(*parts):
    """Hash bytes, or what has a stable repr."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part if isinstance(part, bytes) else repr(part).encode())
    return sha.hexdigest()[:16]
