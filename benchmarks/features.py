"""What the methods see: sets of features, each extracted once.

Features of speech models are kept below the folder that the environment variable
``SKLEARN_SER_BENCHMARK_CACHE`` names, those of openSMILE too; else in the process.
"""

import os
from pathlib import Path

import numpy as np
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LogMelTransformer, SpeakerNormalizer, SpeechModelTransformer
from sklearn_ser.features import OpenSMILETransformer, load_audio
from sklearn_ser.features._hub import locate

_HOME = "SKLEARN_SER_BENCHMARK_CACHE"
_KEPT = {}  # of this process: features of a speech model, by audio and parameters

LOG_MEL = {
    name: value
    for name, value in LogMelTransformer().get_params().items()
    if name not in ("n_jobs", "cache_dir")
}
# Options of a method that are not of its features but of what a fold does with them.
OF_FOLDS = ("centred", "adapted", "enrollment", "enrollment_label")
# What --features chooses from.
SETS = {
    "log-mel": {"kind": "log_mel"} | LOG_MEL,
    "speech-model": {
        "kind": "speech_model",
        "model": "whisper-base",
        "layer": "middle",
        "pooling": "mean_std",
    },
}


def set_of(row):
    """Name the set whose tables show a row; functionals stand beside log-mels."""
    kind = row["params"]["features__kind"]
    return "speech-model" if kind == "speech_model" else "log-mel"


def log_mel(corpus, by_speaker=False, **params):
    """Log-mel sequences, normalised by speaker if wanted."""
    X = LogMelTransformer(**params).transform(corpus.data)
    return _of_speakers(X, corpus) if by_speaker else X


def speech_model(corpus, by_speaker=False, **params):
    """States of a frozen speech model, normalised by speaker if wanted."""
    known = corpus.audio_hash, weights_hash(params["model"])
    key = *known, *sorted((name, str(value)) for name, value in params.items())
    if key not in _KEPT:
        home = os.environ.get(_HOME)
        front = SpeechModelTransformer(
            **params,
            device="cpu",  # processes that are forked later could not use CUDA
            cache_dir=Path(home, "speech-model") if home else None,
            local_files_only=True,
            verbose=1,
        )
        _KEPT[key] = front.transform(corpus.data)
    return _of_speakers(_KEPT[key], corpus) if by_speaker else _KEPT[key]


def weights_hash(model):
    """Return the SHA-256 of a speech model's weights, found by its name.

    Parameters
    ----------
    model : str
        A folder below the directory ``SKLEARN_SER_MODELS``, or a name on the Hub. A
        row must not hold a path, which means something on one machine only.
    """
    if os.path.isabs(model) or os.path.isdir(model):
        raise ValueError(
            f"features__model is {model!r}, a directory of this machine; expected the "
            "name of a folder below SKLEARN_SER_MODELS."
        )
    return locate(model, local_files_only=True).weights_hash


def opensmile(corpus, feature_set):
    """OpenSMILE's functionals, one vector a recording."""
    home = os.environ.get(_HOME)
    cache_dir = Path(home, "opensmile") if home else None
    return OpenSMILETransformer(feature_set, cache_dir=cache_dir).transform(corpus.data)


def mfcc(corpus):
    """Mean and deviation of 20 MFCC and of their deltas."""
    from librosa.feature import delta, mfcc

    rows = []
    for path in corpus.data:
        frames = mfcc(y=load_audio(path), sr=16000, n_mfcc=20)
        width = min(9, frames.shape[1] - (frames.shape[1] + 1) % 2)
        frames = np.vstack([frames, delta(frames, width=width)])
        rows.append(np.concatenate([frames.mean(axis=1), frames.std(axis=1)]))
    return np.array(rows)


EXTRACTORS = {
    "log_mel": log_mel,
    "speech_model": speech_model,
    "opensmile": opensmile,
    "mfcc": mfcc,
}


def extract(corpus, kind, by_domain=False, **options):
    """Return the features of a corpus; of several, one after the other.

    With ``by_domain`` each corpus' vectors get mean zero and variance one.
    """
    parts = [EXTRACTORS[kind](c, **options) for c in corpus.get("members", [corpus])]
    if by_domain:
        parts = [StandardScaler().fit_transform(part) for part in parts]
    if isinstance(parts[0], np.ndarray):
        X = np.concatenate(parts)
    else:
        X = [x for part in parts for x in part]
    return choose(X, corpus.rows) if "rows" in corpus else X


def choose(X, rows):
    """Return some rows of features, which are an array or a list."""
    return X[rows] if isinstance(X, np.ndarray) else [X[i] for i in rows]


def centre(X, corpora, train):
    """Take the mean of a corpus' training rows from all of its rows.

    That is inductive: nothing is learnt of the tested speakers but their corpus.

    Parameters
    ----------
    X : array of shape (n_samples, n_features) or list of sequences
    corpora : array of shape (n_samples,)
        The corpus of each row.
    train : array of int
        The training rows.
    """
    found = list(X)
    for corpus in np.unique(corpora):
        own = np.flatnonzero(corpora == corpus)
        seen = [np.asarray(X[i]) for i in np.intersect1d(own, train)]
        if not seen:
            raise ValueError(f"no training row is of the corpus {str(corpus)!r}.")
        frames = [x.reshape(len(x), -1) for x in seen]
        mean = np.hstack(frames).mean(axis=1, dtype=np.float64)
        for i in own:
            x = np.asarray(X[i])
            found[i] = x - mean.reshape(-1, *[1] * (x.ndim - 1)).astype(x.dtype)
    return np.stack(found) if isinstance(X, np.ndarray) else found


def _of_speakers(X, corpus):
    plain = SpeakerNormalizer(scale=True, relevance_factor=0)  # z-norm by speaker
    return plain.fit_transform(X, speakers=corpus.speakers)
