"""The methods: our networks with their ablations, and rivals tuned by speakers."""

from functools import partial
from pathlib import Path

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
from sklearn_ser.features import OpenSMILETransformer
from sklearn_ser.metrics import uar_scorer

from . import corpora

_VOICES = SpeakerNormalizer()
# What is known of the test speakers: what stands before a method, and its enrolment.
KINDS = {
    "inductive": (None, {}),
    "enrolled": (_VOICES, {"enrollment": 10}),
    "enrolled-neutral": (_VOICES, {"enrollment": 10, "enrollment_label": "neutral"}),
    "enrolled-1": (_VOICES, {"enrollment": 1}),
    "by-speaker": (corpora.BY_SPEAKER, {"enrollment": "all"}),
    "adapted": (None, {}),  # on vectors that are normalised by speaker
}


def _tuned(model, values, *front, parameter="C"):
    """Return a scaled classifier whose parameter held-out speakers choose."""
    pipeline = make_pipeline(*front, StandardScaler(), model)
    grid = {f"{pipeline.steps[-1][0]}__{parameter}": values}
    options = {"scoring": uar_scorer, "cv": GroupKFold(3), "error_score": "raise"}
    return GridSearchCV(pipeline, grid, **options)


_LOGISTIC = LogisticRegression(class_weight="balanced", max_iter=2000)
_LINEAR_SVM = LinearSVC(class_weight="balanced", max_iter=20000)
_RBF_SVM = partial(_tuned, SVC(class_weight="balanced"), [0.1, 1.0, 10.0, 100.0])
_MLP = MLPClassifier(hidden_layer_sizes=(128,), max_iter=500)
_TENTHS = [1e-4, 1e-3, 1e-2, 0.1, 1.0]
_POWERS = [10.0**power for power in (-5, -4, -3, -2, -1)]


def _functionals(name, values, cache):
    front = OpenSMILETransformer(name, cache_dir=Path(cache, "features"))
    return _tuned(_LINEAR_SVM, values, front)


_COMPARE = partial(_functionals, "ComParE_2016", _POWERS[:3])
_EGEMAPS = partial(_functionals, "eGeMAPSv02", _POWERS[2:])
_MFCC = FunctionTransformer(corpora.mfcc_statistics)


def _rival(name):
    from .rivals import make_rival

    return make_rival(name)


_SELF_TRAINING_LDA = partial(_rival, "self-training-lda")
_adversarial, _didan = SpeakerAdversarialClassifier, DIDANDomainAdapter
_dsnet, _TERMS = DSNetClassifier, ("calibration", "orthogonality", "reconstruction")
_NO_TERMS = {f"{term}_weight": 0.0 for term in _TERMS}
NETWORKS = {
    "plain": ("plain net", partial(_adversarial, method=None)),
    "dat": ("DAT, λ=0.005", partial(_adversarial, method="dat")),
    "menan": ("MEnAN", partial(_adversarial, method="menan")),
    "dsnet": ("DSNet", _dsnet),
    "dsnet-no-terms": ("DSNet, all weights 0", partial(_dsnet, **_NO_TERMS)),
}
for _term in _TERMS:
    _weight = {f"{_term}_weight": 0.0}
    _ablated = f"DSNet, {_term}_weight 0", partial(_dsnet, **_weight)
    NETWORKS[f"dsnet-no-{_term}"] = _ablated
ON_VECTORS = {
    "lda": ("shrinkage LDA", partial(make_baseline, of_frames=False)),
    "logistic": ("logistic regression", partial(_tuned, _LOGISTIC, _TENTHS)),
    "linear-svc": ("LinearSVC", partial(_tuned, _LINEAR_SVM, _POWERS)),
    "rbf-svm": ("SVM, RBF kernel", _RBF_SVM),
    "mlp": ("MLP", partial(_tuned, _MLP, [0.1, 1.0, 10.0], parameter="alpha")),
}
FUNCTIONALS = {
    "compare": ("openSMILE ComParE + LinearSVC", _COMPARE),
    "egemaps": ("openSMILE eGeMAPS + LinearSVC", _EGEMAPS),
    "mfcc": ("MFCC statistics + SVM", lambda _: _RBF_SVM(_MFCC)),
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
    "self-training-lda": ("shrinkage LDA, self-training", _SELF_TRAINING_LDA),
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
