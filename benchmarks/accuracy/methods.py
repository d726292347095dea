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

_VOICES = SpeakerNormalizer()
# What is known of the test speakers: what stands before a method, and its enrolment.
KINDS = {
    "inductive": (None, {}),
    "enrolled": (_VOICES, {"enrollment": 10}),
    "enrolled-neutral": (_VOICES, {"enrollment": 10, "enrollment_label": "neutral"}),
    "enrolled-1": (_VOICES, {"enrollment": 1}),
    "by-speaker": (
        clone(_VOICES).set_params(scale=True, relevance_factor=0),
        {"enrollment": "all"},
    ),
    "adapted": (None, {}),  # on vectors that are normalised by speaker
}


def _tuned(model, *front, **grid):
    """Return a scaled classifier whose parameter held-out speakers choose."""
    ((name, values),) = grid.items()
    pipeline = make_pipeline(*front, StandardScaler(), model)
    options = {"scoring": uar_scorer, "cv": GroupKFold(3), "error_score": "raise"}
    name = f"{pipeline.steps[-1][0]}__{name}"
    return GridSearchCV(pipeline, {name: values}, **options)


_LOGISTIC = LogisticRegression(class_weight="balanced", max_iter=2000)
_LINEAR_SVM = LinearSVC(class_weight="balanced", max_iter=20000)
_RBF_SVM = partial(_tuned, SVC(class_weight="balanced"), C=[0.1, 1.0, 10.0, 100.0])
_MLP = MLPClassifier(hidden_layer_sizes=(128,), max_iter=500)
_POWERS = [10.0**power for power in (-5, -4, -3, -2, -1)]


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


def _functionals(name, values, cache):
    front = OpenSMILETransformer(name, cache_dir=Path(cache, "features"))
    return _tuned(_LINEAR_SVM, front, C=values)


def _rival(name):
    from .rivals import make_rival

    return make_rival(name)


_adversarial, _didan = SpeakerAdversarialClassifier, DIDANDomainAdapter
_WEIGHTS = ("calibration_weight", "orthogonality_weight", "reconstruction_weight")
NETWORKS = {
    "plain": ("plain net", partial(_adversarial, method=None)),
    "dat": ("DAT, λ=0.005", partial(_adversarial, method="dat")),
    "menan": ("MEnAN", partial(_adversarial, method="menan")),
    "dsnet": ("DSNet", DSNetClassifier),
    "dsnet-no-terms": (
        "DSNet, all weights 0",
        partial(DSNetClassifier, **dict.fromkeys(_WEIGHTS, 0.0)),
    ),
    **{
        f"dsnet-no-{weight.removesuffix('_weight')}": (
            f"DSNet, {weight} 0",
            partial(DSNetClassifier, **{weight: 0.0}),
        )
        for weight in _WEIGHTS
    },
}
ON_VECTORS = {
    "lda": ("shrinkage LDA", partial(make_baseline, of_frames=False)),
    "logistic": (
        "logistic regression",
        partial(_tuned, _LOGISTIC, C=[1e-4, 1e-3, 1e-2, 0.1, 1.0]),
    ),
    "linear-svc": ("LinearSVC", partial(_tuned, _LINEAR_SVM, C=_POWERS)),
    "rbf-svm": ("SVM, RBF kernel", _RBF_SVM),
    "mlp": ("MLP", partial(_tuned, _MLP, alpha=[0.1, 1.0, 10.0])),
}
FUNCTIONALS = {
    "compare": (
        "openSMILE ComParE + LinearSVC",
        partial(_functionals, "ComParE_2016", _POWERS[:3]),
    ),
    "egemaps": (
        "openSMILE eGeMAPS + LinearSVC",
        partial(_functionals, "eGeMAPSv02", _POWERS[2:]),
    ),
    "mfcc": (
        "MFCC statistics + SVM",
        lambda cache: _RBF_SVM(FunctionTransformer(mfcc_statistics)),
    ),
}
# The weights of adapters have the smallest entropy on the development transfers.
ADAPTERS = {
    "source-only": ("source only", partial(_didan, alignment=None)),
    "didan": ("DIDAN", _didan),
    "lidan": ("LIDAN", partial(_didan, alignment="lidan", alignment_weight=0.3)),
    "dan": ("DAN (skada)", partial(_rival, "dan")),
    "dann": ("DANN (skada)", partial(_rival, "dann")),
    "deepcoral": ("Deep CORAL (skada)", partial(_rival, "deepcoral")),
    "self-training": ("LinearSVC, self-training", partial(_rival, "self-training")),
    "self-training-lda": (
        "shrinkage LDA, self-training",
        partial(_rival, "self-training-lda"),
    ),
}
METHODS = ON_VECTORS | NETWORKS | FUNCTIONALS | ADAPTERS
LABELS = {name: label for name, (label, _) in METHODS.items()}
NAMES = {label: name for name, label in LABELS.items()}
# The methods of a command; the first is the reference.
OF_FEATURES = {
    "log-mel": (*FUNCTIONALS, "plain", "dsnet", "menan"),
    "speech-model": (*ON_VECTORS, *NETWORKS),
}
OF_TRANSFERS = (*ADAPTERS, "lda", "linear-svc")


def make(name, features="speech-model", normalizer=None, cache=None, front=()):
    """Return a method on vectors or, with features="log-mel", on recordings.

    The folder `cache` keeps features of recordings, and `front` precedes a method.
    """
    if name in FUNCTIONALS:
        return METHODS[name][1](cache)
    steps = list(front)
    if features == "log-mel":
        steps.append(LogMelTransformer(cache_dir=Path(cache, "features")))
    if normalizer is not None:
        steps.append(clone(normalizer))
    method = METHODS[name][1]()
    return make_pipeline(*steps, method) if steps else method
