"""The corpora and their frozen protocols, the pools, and the vectors of recordings."""

import os
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch

from sklearn_ser import SpeakerNormalizer, SpeechModelTransformer
from sklearn_ser.datasets import load_corpus
from sklearn_ser.features import load_audio
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
BY_SPEAKER = SpeakerNormalizer(scale=True, relevance_factor=0)


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


def mark(protocol):
    """Return a protocol as code; † is on those that choices were made on."""
    members = protocol.removesuffix("-sentences").split(":")
    return f"`{protocol}`" + "†" * (set(members) <= set(DEVELOPMENT))


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


def inputs(corpus, features, cache, kind):
    """Return recordings, or vectors that are normalised where the kind says so."""
    if features == "log-mel":
        return corpus.data
    X = vectors(corpus, cache)
    if kind == "by corpus":
        for name in np.unique(corpus.corpora):
            own = corpus.corpora == name
            X[own] = StandardScaler().fit_transform(X[own])
    if kind in ("by speaker", "adapted"):
        X = clone(BY_SPEAKER).fit_transform(X, speakers=corpus.speakers)
    return X


def mfcc_statistics(recordings):
    """Return mean and deviation of 20 MFCC and of their deltas."""
    from librosa.feature import delta, mfcc

    rows = []
    for recording in recordings:
        frames = mfcc(y=load_audio(recording), sr=16000, n_mfcc=20)
        width = min(9, frames.shape[1] - (frames.shape[1] + 1) % 2)
        frames = np.vstack([frames, delta(frames, width=width)])
        rows.append(np.concatenate([frames.mean(axis=1), frames.std(axis=1)]))
    return np.array(rows)


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
