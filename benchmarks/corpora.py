"""The corpora of the benchmarks: what is in them, and how they are split."""

import hashlib
import os
from itertools import permutations
from pathlib import Path

import numpy as np
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.utils import Bunch

from sklearn_ser.datasets import apply_protocol, load_corpus, load_manifest

# Choices are made on the first, and confirmed on the second.
DEVELOPMENT = ("emodb4", "emovo")
CONFIRMATION = ("ravdess", "casia")
# Of each folder, which corpus it is, and its protocol. Another folder is a corpus of
# one's own, whose speakers are left out one by one.
PROTOCOLS = {
    "emodb4": ("emodb", "emodb-loso"),
    "emovo": ("emovo", "emovo-loso"),
    "ravdess": ("ravdess", "ravdess-emobox-6fold"),
    "casia": ("casia", "casia-loso"),
}
# Several corpora as one, on the emotions that all have: name -> its corpora.
POOLS = {"pooled44": (*DEVELOPMENT, *CONFIRMATION)}
_POOL_FOLDS = 4
# From a source to a target.
TRANSFERS = [
    f"{source}:{target}"
    for source, target in permutations((*DEVELOPMENT, *CONFIRMATION), 2)
]


def load(name):
    """Load a corpus below the directory ``SKLEARN_SER_DATA``, or several.

    Parameters
    ----------
    name : str
        Its folder, which holds a ``metadata.csv``; ``source:target`` for a transfer; a
        name in ``POOLS`` for several as one.

    Returns
    -------
    corpus : Bunch
        As of ``load_manifest``, with ``name``, ``splits``, ``manifest_hash`` and
        ``audio_hash``. A transfer and a pool have their corpora as ``members``, and of
        each row the corpus in ``corpora``; data, and of a transfer the ``frame``, are
        with them. A pool is those ``rows`` of its corpora whose emotion all have.
    """
    source, is_transfer, target = name.partition(":")
    if is_transfer:
        return _transfer(load(source), load(target))
    if name in POOLS:
        return _pool(name, [load(member) for member in POOLS[name]])
    home = os.environ.get("SKLEARN_SER_DATA")
    if not home:
        raise ValueError("SKLEARN_SER_DATA must name the directory of the corpora.")
    manifest = Path(home, name, "metadata.csv")
    corpus = load_manifest(manifest)
    if name in PROTOCOLS:
        known, protocol = PROTOCOLS[name]
        found = load_corpus(known, Path(home, name))
        corpus = apply_protocol(protocol, _ordered(found, corpus.data))
        splits = list(corpus.protocol.split(corpus.data, corpus.target))
    else:
        splits = list(LeaveOneGroupOut().split(corpus.data, groups=corpus.speakers))
    return Bunch(
        **{"protocol": None, **corpus},
        name=name,
        splits=splits,
        manifest_hash=digest(manifest.read_bytes()),
        audio_hash=digest(*(Path(path).read_bytes() for path in corpus.data)),
    )


def _ordered(corpus, paths):
    """Put a corpus in the order that its committed figures were made in."""
    place = {path: row for row, path in enumerate(corpus.data)}
    rows = [place[path] for path in paths]
    return Bunch(
        data=paths,
        target=corpus.target[rows],
        speakers=corpus.speakers[rows],
        corpora=corpus.corpora[rows],
        frame={name: column[rows] for name, column in corpus.frame.items()},
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
        protocol=_cross_protocol(members),
        manifest_hash=digest(*(c.manifest_hash for c in members)),
        audio_hash=digest(*(c.audio_hash for c in members)),
    )


def _pool(name, members):
    """Join corpora; the i-th speaker of each one is in the i-th fold, modulo four."""
    shared = set.intersection(*(set(c.target) for c in members))
    labels = np.concatenate([c.target for c in members])
    rows = np.flatnonzero(np.isin(labels, sorted(shared)))
    speakers, folds, texts = [], [], []
    for c in members:
        order = np.unique(c.speakers, return_inverse=True)[1]
        speakers += [f"{c.name}:{who}" for who in c.speakers]
        folds += (order % _POOL_FOLDS).tolist()
        own = c.frame.get("text", c.frame.get("text_id", range(len(c.data))))
        texts += [f"{c.name}:{text}" for text in own]
    folds = np.array(folds)[rows]
    return Bunch(
        name=name,
        members=members,
        rows=rows,
        target=labels[rows],
        speakers=np.array(speakers)[rows],
        corpora=np.repeat([c.name for c in members], [len(c.data) for c in members])[
            rows
        ],
        frame={"text": np.array(texts)[rows]},
        splits=[
            (np.flatnonzero(folds != fold), np.flatnonzero(folds == fold))
            for fold in np.unique(folds)
        ],
        protocol=None,
        manifest_hash=digest(*(c.manifest_hash for c in members)),
        audio_hash=digest(*(c.audio_hash for c in members)),
    )


def _cross_protocol(members):
    """The frozen transfer between two corpora, where there is one."""
    if any(member.protocol is None for member in members):
        return None
    joined = Bunch(
        data=[path for member in members for path in member.data],
        frame={"utterance": [u for m in members for u in m.frame["utterance"]]},
        **{
            name: np.concatenate([member[name] for member in members])
            for name in ("target", "speakers", "corpora")
        },
    )
    names = [PROTOCOLS[member.name][0] for member in members]
    return apply_protocol("-".join(["cross", *names]), joined).protocol


def digest(*parts):
    """Hash bytes, or what has a stable repr."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part if isinstance(part, bytes) else repr(part).encode())
    return sha.hexdigest()[:16]
