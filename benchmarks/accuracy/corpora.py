"""The corpora and the frozen protocols: within a corpus, pooled, and across corpora."""

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
# Of each folder, the corpus, its protocol, and folds of speakers and of sentences.
CORPORA = {
    "emodb4": ("emodb", "emodb-loso", (10, 10)),
    "emovo": ("emovo", "emovo-loso", (6, 7)),
    "ravdess": ("ravdess", "ravdess-emobox-6fold", (8, 2)),
    "casia": ("casia", "casia-loso", (4, 5)),
    "crema78": ("crema-d", "crema-d-grouped-5fold", (6, 6)),
}
FOUR = ("emodb4", "emovo", "ravdess", "casia")
POOLS = {"pooled44": (FOUR, 4), "pooled122": (tuple(CORPORA), 5)}
POOL_CLASSES = ("anger", "happiness", "neutral", "sadness")


def load(name):
    """Load a corpus below ``SKLEARN_SER_DATA``, with its protocol as `cv`.

    Parameters
    ----------
    name : str
        A name in ``CORPORA`` or ``POOLS``.

    Returns
    -------
    corpus : Bunch
        With ``name``, ``data``, ``target``, ``speakers``, ``texts``, ``corpora`` and
        ``cv``.
    """
    if name in POOLS:
        members, n_folds = POOLS[name]
        corpus = join(name, [load(member) for member in members])
        kept = np.isin(corpus.target, POOL_CLASSES)
        corpus = choose(corpus, np.flatnonzero(kept))
        return Bunch(**corpus, cv=PredefinedSplit(_deal(corpus, n_folds)))
    home = os.environ.get("SKLEARN_SER_DATA")
    if not home:
        raise ValueError("SKLEARN_SER_DATA must name the directory of the corpora.")
    known, protocol, _ = CORPORA[name]
    found = load_corpus(known, Path(home, name), protocol=protocol)
    return Bunch(
        name=name,
        data=found.data,
        target=found.target,
        speakers=found.speakers,
        texts=found.texts,
        corpora=np.full(len(found.data), name),
        cv=found.protocol,
    )


def join(name, members):
    """Join corpora. Their speakers and sentences get the name of the corpus."""
    joined = {"name": name, "data": [path for m in members for path in m.data]}
    for column in ("target", "corpora"):
        joined[column] = np.concatenate([member[column] for member in members])
    for column in ("speakers", "texts"):
        named = [f"{m.name}/{value}" for m in members for value in m[column]]
        joined[column] = np.array(named)
    return Bunch(**joined)


def choose(corpus, rows):
    """Return the rows of a corpus, without its protocol."""
    columns = ("target", "corpora", "speakers", "texts")
    chosen = {column: corpus[column][rows] for column in columns}
    return Bunch(name=corpus.name, data=[corpus.data[i] for i in rows], **chosen)


def _deal(corpus, n_folds):
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
    front = SpeechModelTransformer(
        "whisper-base",
        pooling="mean_std",
        cache_dir=Path(cache, "features"),
        local_files_only=True,
        verbose=1,
    )
    return front.transform(corpus.data)


def with_corpora(X, corpora):
    """Return vectors with the number of their corpus as the last column."""
    return np.column_stack([X, np.unique(corpora, return_inverse=True)[1]])


class CorpusCenterer(TransformerMixin, BaseEstimator):
    """Take from each row the mean of its corpus's training rows.

    The last column has the number of the corpus, and is not in the output.
    """

    def fit(self, X, y=None):
        """Compute the mean of each corpus."""
        self.means_ = {
            c: X[X[:, -1] == c, :-1].mean(axis=0) for c in np.unique(X[:, -1])
        }
        return self

    def transform(self, X):
        """Return centred rows."""
        return X[:, :-1] - np.array([self.means_[c] for c in X[:, -1]])
