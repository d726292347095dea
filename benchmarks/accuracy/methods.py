"""The methods: our networks with their ablations, and rivals tuned by speakers."""

from functools import partial
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC

from sklearn_ser import (
    DIDANDomainAdapter,
    DSNetClassifier,
    LogMelTransformer,
    SpeakerAdversarialClassifier,
    SpeakerNormalizer,
)
from sklearn_ser.baseline import make_baseline
from sklearn_ser.features import OpenSMILETransformer, load_audio
from sklearn_ser.metrics import uar_scorer

WEIGHTS = ("calibration_weight", "orthogonality_weight", "reconstruction_weight")
DAT_WEIGHT = 0.02  # the largest that keeps the UAR of the development corpora
# What is known of the test speakers: what precedes a method, and the enrolment.
KINDS = {
    "inductive": (None, None),
    "enrolled": (SpeakerNormalizer(), 10),
    "by-speaker": (SpeakerNormalizer(scale=True, relevance_factor=0), "all"),
}


def _without(*weights):
    return DSNetClassifier(**dict.fromkeys(weights, 0.0))


def _scaled(front, classifier, name, values):
    """Return a scaled classifier whose parameter held-out speakers choose."""
    pipeline = make_pipeline(*front, StandardScaler(), classifier)
    grid = {f"{type(classifier).__name__.lower()}__{name}": values}
    return GridSearchCV(
        pipeline, grid, scoring=uar_scorer, cv=GroupKFold(3), error_score="raise"
    )


def _linear_svm(powers, *front):
    svm = LinearSVC(class_weight="balanced", max_iter=20000)
    return _scaled(front, svm, "C", [10.0**power for power in powers])


def _rbf_svm(*front):
    return _scaled(front, SVC(class_weight="balanced"), "C", [0.1, 1.0, 10.0, 100.0])


def _logistic():
    model = LogisticRegression(class_weight="balanced", max_iter=2000)
    return _scaled((), model, "C", [10.0**power for power in (-4, -3, -2, -1, 0)])


def _mlp():
    model = MLPClassifier(hidden_layer_sizes=(128,), max_iter=500)
    return _scaled((), model, "alpha", [0.1, 1.0, 10.0])


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


NETWORKS = {
    "plain": partial(SpeakerAdversarialClassifier, method=None),
    "dat": partial(
        SpeakerAdversarialClassifier, method="dat", adversary_weight=DAT_WEIGHT
    ),
    "menan": partial(SpeakerAdversarialClassifier, method="menan"),
    "dsnet": _without,
    "dsnet-no-terms": partial(_without, *WEIGHTS),
    **{f"dsnet-no-{w.removesuffix('_weight')}": partial(_without, w) for w in WEIGHTS},
}
ON_VECTORS = {
    "lda": partial(make_baseline, of_frames=False),
    "logistic": _logistic,
    "linear-svc": partial(_linear_svm, (-5, -4, -3, -2, -1)),
    "rbf-svm": _rbf_svm,
    "mlp": _mlp,
}
FUNCTIONALS = {
    "egemaps": ("eGeMAPSv02", (-3, -2, -1)),
    "compare": ("ComParE_2016", (-5, -4, -3)),
}
ADAPTERS = {
    "source-only": partial(DIDANDomainAdapter, alignment=None),
    "didan": partial(DIDANDomainAdapter, alignment="didan", alignment_weight=1.0),
    "lidan": partial(DIDANDomainAdapter, alignment="lidan", alignment_weight=0.3),
}
RIVALS = ("dan", "dann", "deepcoral", "self-training", "self-training-lda")
LABELS = {
    "plain": "plain net",
    "dat": f"DAT, λ={DAT_WEIGHT:g}",
    "menan": "MEnAN",
    "dsnet": "DSNet",
    "dsnet-no-terms": "DSNet, all weights 0",
    **{f"dsnet-no-{w.removesuffix('_weight')}": f"DSNet, {w} 0" for w in WEIGHTS},
    "lda": "shrinkage LDA",
    "logistic": "logistic regression",
    "linear-svc": "LinearSVC",
    "rbf-svm": "SVM, RBF kernel",
    "mlp": "MLP",
    "egemaps": "openSMILE eGeMAPS + LinearSVC",
    "compare": "openSMILE ComParE + LinearSVC",
    "mfcc": "MFCC statistics + SVM",
    "source-only": "source only",
    "didan": "DIDAN",
    "lidan": "LIDAN",
    "dan": "DAN (skada)",
    "dann": "DANN (skada)",
    "deepcoral": "Deep CORAL (skada)",
    "self-training": "LinearSVC, self-training",
    "self-training-lda": "shrinkage LDA, self-training",
}
# The methods of a command; the first is the reference.
OF_FEATURES = {
    "log-mel": ("compare", "egemaps", "mfcc", "plain", "dsnet", "menan"),
    "speech-model": (*ON_VECTORS, *NETWORKS),
}
OF_TRANSFERS = (*ADAPTERS, *RIVALS, "lda", "linear-svc")


def make(name, features="speech-model", kind="inductive", cache=None, front=()):
    """Return a method of a table.

    Parameters
    ----------
    name : str
        A name in ``LABELS``.
    features : {"speech-model", "log-mel"}
        Vectors are the input of a method on a speech model, and recordings of others.
    kind : str
        A name in ``KINDS``.
    cache : path-like
        The folder of the features of recordings.
    front : tuple of transformers
        What precedes a method on vectors.
    """
    kept = None if cache is None else Path(cache, "features")
    if name in FUNCTIONALS:
        functionals, powers = FUNCTIONALS[name]
        return _linear_svm(powers, OpenSMILETransformer(functionals, cache_dir=kept))
    if name == "mfcc":
        return _rbf_svm(FunctionTransformer(mfcc_statistics))
    if name in RIVALS:
        from .rivals import make_rival

        return make_rival(name)
    steps, (normalizer, _) = list(front), KINDS[kind]
    if features == "log-mel":
        steps.append(LogMelTransformer(cache_dir=kept))
    if normalizer is not None:
        steps.append(clone(normalizer))
    method = (NETWORKS | ON_VECTORS | ADAPTERS)[name]()
    return make_pipeline(*steps, method) if steps else method
