"""The corpora and their frozen protocols, the pools, and the vectors of recordings."""

import os
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import PredefinedSplit
from sklearn.utils import Bunch

from sklearn_ser import SpeechModelTransformer
from sklearn_ser.datasets import load_corpus
from sklearn_ser.model_selection import SpeakerTextKFold

DEVELOPMENT = ("emodb4", "emovo")  # choices are made on them
FOUR = (*DEVELOPMENT, "ravdess", "casia")
# Of each folder, the corpus, its protocol, and folds of speakers and of sentences.
CORPORA = {
    "emodb4": ("emodb", "emodb-loso", (10, 10)),
    "emovo": ("emovo", "emovo-loso", (6, 7)),
    "ravdess": ("ravdess", "ravdess-emobox-6fold", (8, 2)),
    "casia": ("casia", "casia-loso", (4, 5)),
    "crema78": ("crema-d", "crema-d-grouped-5fold", (6, 6)),
}
POOLS = {"pooled44": (FOUR, 4), "pooled122": (tuple(CORPORA), 5)}
POOL_CLASSES = ("anger", "happiness", "neutral", "sadness")


def load(name):
    """Load a corpus below ``SKLEARN_SER_DATA``, or a pool, with its folds as `cv`."""
    if name in POOLS:
        members, n_folds = POOLS[name]
        corpus = join(name, [load(member) for member in members])
        return Bunch(**corpus, cv=PredefinedSplit(deal(corpus, n_folds)))
    home = os.environ.get("SKLEARN_SER_DATA")
    if not home:
        raise ValueError("SKLEARN_SER_DATA must name the directory of the corpora.")
    known, protocol, _ = CORPORA[name]
    found = load_corpus(known, Path(home, name), protocol=protocol)
    columns = {each: found[each] for each in ("data", "target", "speakers", "texts")}
    origin = np.full(len(found.data), name)
    return Bunch(name=name, **columns, corpora=origin, cv=found.protocol)


def join(name, members):
    """Join corpora; a pool is their rows of the four classes.

    Speakers and sentences get the name of their corpus.
    """
    joined = {"target": np.concatenate([member.target for member in members])}
    joined["corpora"] = np.concatenate([member.corpora for member in members])
    for column in ("speakers", "texts"):
        named = [f"{m.name}/{value}" for m in members for value in m[column]]
        joined[column] = np.array(named)
    known = np.isin(joined["target"], POOL_CLASSES)
    rows = np.flatnonzero(known) if name in POOLS else np.arange(len(known))
    data = [path for member in members for path in member.data]
    chosen = {column: values[rows] for column, values in joined.items()}
    return Bunch(name=name, data=[data[i] for i in rows], **chosen)


def deal(corpus, n_folds):
    """Return the fold of each row: speaker i of each corpus is in fold i modulo n."""
    folds = np.empty(len(corpus.data), dtype=int)
    for name in np.unique(corpus.corpora):
        own = corpus.corpora == name
        folds[own] = np.unique(corpus.speakers[own], return_inverse=True)[1] % n_folds
    return folds


def by_speaker_and_text(name):
    """Return the crossed folds of speakers and sentences of a corpus."""
    return SpeakerTextKFold(*CORPORA[name][2])


def vectors(corpus, cache):
    """Return pooled vectors of Whisper base, which the folder `cache` keeps."""
    kept = {"cache_dir": Path(cache, "features"), "local_files_only": True}
    front = SpeechModelTransformer("whisper-base", pooling="mean_std", **kept)
    return front.set_params(verbose=1).transform(corpus.data)


def with_corpora(X, corpora):
    """Return vectors with the number of their corpus as the last column."""
    return np.column_stack([X, np.unique(corpora, return_inverse=True)[1]])


class CorpusCenterer(TransformerMixin, BaseEstimator):
    """Take from each row the mean of its corpus's training rows.

    The last column has the number of the corpus, and is not in the output.
    """

    def fit(self, X, y=None):
        """Compute the mean of each corpus."""
        known = np.unique(X[:, -1])
        self.means_ = {c: X[X[:, -1] == c, :-1].mean(axis=0) for c in known}
        return self

    def transform(self, X):
        """Return centred rows."""
        return X[:, :-1] - np.array([self.means_[c] for c in X[:, -1]])
