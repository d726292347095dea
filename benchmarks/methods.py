"""What is compared: each method is features, an estimator and how it is tuned.

Our methods and the plain encoder share features, encoder and recipe. Rivals choose
their C inside the training speakers.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import signature

import numpy as np
from joblib import Memory
from sklearn.model_selection import GridSearchCV, GroupKFold, GroupShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from sklearn_ser import (
    DIDANDomainAdapter,
    DSNetClassifier,
    LogMelTransformer,
    SpeakerAdversarialClassifier,
    SpeakerNormalizer,
)
from sklearn_ser.cli import FEATURES
from sklearn_ser.features import load_audio
from sklearn_ser.metrics import uar_scorer

from .rivals import SkadaAdapter
from .rows import deciding

WEIGHTS = ("calibration_weight", "orthogonality_weight", "reconstruction_weight")
_PASSING = ("random_state", "verbose", "n_jobs")
_CACHE = Memory(os.environ.get("SKLEARN_SER_BENCHMARK_CACHE"), verbose=0)


@dataclass(frozen=True)
class Method:
    """One line of the tables.

    Attributes
    ----------
    label : str
        Its name there.
    estimator : callable
        Returns the unfitted estimator.
    features : dict
        ``kind``, a key of ``EXTRACTORS``, and its parameters.
    seeded : bool
        Whether the result depends on a seed.
    """

    label: str
    estimator: Callable
    features: dict = field(default_factory=lambda: {"kind": "log_mel"} | LOG_MEL)
    seeded: bool = True


def _without(*weights):
    return DSNetClassifier(**dict.fromkeys(weights, 0.0))


def _adversarial(method, adversary_weight=0.5):
    """Return the second paper's estimator, on the encoder of the first."""
    return SpeakerAdversarialClassifier(
        method=method, adversary_weight=adversary_weight, encoder="conv_lstm"
    )


def _tuned_dsnet():
    """Return DSNet with one weight for its three terms, chosen by held-out speakers.

    One split, for trainings are what costs, and a quarter of the training speakers: on
    the half of few speakers no weight learns enough to tell them apart.
    """
    grid = [{weight: [value] for weight in WEIGHTS} for value in (1.0, 10.0, 100.0)]
    quarter = GroupShuffleSplit(1, test_size=0.25, random_state=0)
    return _search(DSNetClassifier(), grid, quarter)


def _search(estimator, grid, cv):
    return GridSearchCV(estimator, grid, scoring=uar_scorer, cv=cv, error_score="raise")


def _linear_svm(powers):
    svm = LinearSVC(class_weight="balanced", random_state=0, max_iter=20000)
    grid = {"linearsvc__C": [10.0**power for power in powers]}
    return _search(make_pipeline(StandardScaler(), svm), grid, GroupKFold(3))


def _rbf_svm():
    svm = make_pipeline(StandardScaler(), SVC(class_weight="balanced"))
    return _search(svm, {"svc__C": [0.1, 1.0, 10.0, 100.0]}, GroupKFold(3))


LOG_MEL = {
    name: value
    for name, value in LogMelTransformer(**FEATURES).get_params().items()
    if name not in ("n_jobs", "cache_dir")
}

METHODS = {
    "dsnet": Method("DSNet", DSNetClassifier),
    "dsnet-tuned": Method("DSNet, weights chosen among 1, 10, 100", _tuned_dsnet),
    "dsnet-no-terms": Method("DSNet, all weights 0", lambda: _without(*WEIGHTS)),
    **{
        f"dsnet-no-{weight.removesuffix('_weight')}": Method(
            f"DSNet, {weight} 0", lambda weight=weight: _without(weight)
        )
        for weight in WEIGHTS
    },
    "plain": Method("plain net", lambda: _adversarial(None)),
    # Their weights are those of the development corpora's table.
    "dat": Method("DAT", lambda: _adversarial("dat", 0.02)),
    "menan": Method("MEnAN", lambda: _adversarial("menan", 0.2)),
    "egemaps": Method(
        "openSMILE eGeMAPS + LinearSVC",
        lambda: _linear_svm([-3, -2, -1]),
        {"kind": "opensmile", "feature_set": "eGeMAPSv02"},
        seeded=False,
    ),
    "compare": Method(
        "openSMILE ComParE + LinearSVC",
        lambda: _linear_svm([-5, -4, -3]),
        {"kind": "opensmile", "feature_set": "ComParE_2016"},
        seeded=False,
    ),
    "mfcc": Method("MFCC statistics + SVM", _rbf_svm, {"kind": "mfcc"}, seeded=False),
}
# The same with the features normalised by speaker: transductive, a table of their own.
METHODS |= {
    f"{name}-by-speaker": Method(
        METHODS[name].label,
        METHODS[name].estimator,
        {**METHODS[name].features, "by_speaker": True},
    )
    for name in ("dsnet", "plain", "dat", "menan")
}

# Across corpora: the same network, with nothing aligned, by our terms or by skada's.
# Their weights are those of the smallest entropy on the development transfers.
TRANSFER_METHODS = {
    name: Method(label, partial(adapter, alignment=alignment, alignment_weight=weight))
    for name, label, adapter, alignment, weight in (
        ("source-only", "source only", DIDANDomainAdapter, None, 1.0),
        ("didan", "DIDAN", DIDANDomainAdapter, "didan", 1.0),
        ("lidan", "LIDAN", DIDANDomainAdapter, "lidan", 0.3),
        ("dan", "DAN (skada)", SkadaAdapter, "dan", 0.1),
        ("dann", "DANN (skada)", SkadaAdapter, "dann", 0.1),
        ("deepcoral", "Deep CORAL (skada)", SkadaAdapter, "deepcoral", 1.0),
    )
}
TRANSFER_METHODS["egemaps-transfer"] = replace(
    METHODS["egemaps"], features={**METHODS["egemaps"].features, "by_domain": True}
)
# The same without normalisation by domain.
TRANSFER_METHODS |= {
    f"{name}-raw": replace(
        method,
        **(
            {"estimator": partial(method.estimator, normalize_domains=False)}
            if method.seeded
            else {"features": METHODS["egemaps"].features}
        ),
    )
    for name, method in TRANSFER_METHODS.items()
}
ALL_METHODS = METHODS | TRANSFER_METHODS


def log_mel(corpus, by_speaker=False, **params):
    """Log-mel sequences, normalised by speaker if wanted."""
    X = LogMelTransformer(**params).transform(corpus.data)
    if by_speaker:
        X = SpeakerNormalizer().fit_transform(X, speakers=corpus.speakers)
    return X


def opensmile(corpus, feature_set):
    """OpenSMILE's functionals, one vector a recording."""
    return _opensmile(corpus.audio_hash, feature_set, corpus.data)


@_CACHE.cache(ignore=["paths"])
def _opensmile(audio_hash, feature_set, paths):
    from opensmile import FeatureLevel, FeatureSet, Smile

    smile = Smile(getattr(FeatureSet, feature_set), FeatureLevel.Functionals)
    waves = (load_audio(path) for path in paths)
    return np.array([smile(wave, 16000).ravel() for wave in waves], dtype=np.float64)


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


EXTRACTORS = {"log_mel": log_mel, "opensmile": opensmile, "mfcc": mfcc}


def extract(corpus, kind, by_domain=False, **options):
    """Return the features of a corpus; of a transfer's two, one after the other.

    With ``by_domain`` each one's vectors get mean zero and variance one.
    """
    parts = [EXTRACTORS[kind](c, **options) for c in corpus.get("members", [corpus])]
    if by_domain:
        parts = [StandardScaler().fit_transform(part) for part in parts]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [x for part in parts for x in part]


def with_settings(method, settings):
    """Return the estimator and the features of a method, some parameters changed.

    Parameters
    ----------
    method : Method
    settings : dict
        Parameters of the estimator, or ``features__`` and one of the features'.
    """
    features, estimator = dict(method.features), method.estimator()
    known = estimator.get_params()
    for name, value in settings.items():
        if name.startswith("features__"):
            features[name.removeprefix("features__")] = value
        elif name in known:
            estimator.set_params(**{name: value})
        elif f"estimator__{name}" in known:  # of what a search tunes
            estimator.set_params(**{f"estimator__{name}": value})
        else:
            raise ValueError(
                f"--set {name}: {type(estimator).__name__} has no such parameter."
            )
    return estimator, features


def parameters(estimator, features):
    """Return all that decides a result but data and seed, as JSON values.

    Of scikit-learn's parts what differs from its defaults, of ours everything.
    """
    params = {f"features__{name}": value for name, value in features.items()}
    known = estimator.get_params()
    for name, value in known.items():
        owner, _, short = name.rpartition("__")
        owner = type(known[owner] if owner else estimator)
        default = signature(owner).parameters.get(short)
        theirs = owner.__module__.startswith("sklearn.")
        if short not in _PASSING and not (theirs and _is_default(value, default)):
            params[name] = _plain(value)
    return deciding(dict(sorted(params.items())))


def _is_default(value, parameter):
    """Tell whether a value is its parameter's; a pipeline's step is listed in steps."""
    return parameter is None or repr(value) == repr(parameter.default)


def _plain(value):
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    text = repr(value)
    if hasattr(value, "get_params") or " at 0x" in text:
        return getattr(value, "__qualname__", type(value).__qualname__)
    return text
