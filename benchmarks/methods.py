"""What is compared: each method is an estimator, the features it takes, its tuning.

Our methods and the plain encoder share features, encoder and recipe. Rivals choose
their C, or their decay, inside the training speakers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from inspect import signature

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, GroupShuffleSplit
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from sklearn_ser import (
    DIDANDomainAdapter,
    DSNetClassifier,
    SpeakerAdversarialClassifier,
    SpeakerNormalizer,
)
from sklearn_ser.baseline import make_baseline
from sklearn_ser.metrics import uar_scorer

from .features import SETS
from .rivals import SelfTraining, SkadaAdapter
from .rows import deciding

WEIGHTS = ("calibration_weight", "orthogonality_weight", "reconstruction_weight")
# One set for all tables: MEnAN's is the default, DAT's the largest that keeps UAR.
ADVERSARY_WEIGHTS = {
    "dat": 0.02,
    "menan": SpeakerAdversarialClassifier().adversary_weight,
}
# The committed figures were measured in batches of 32 recordings, of vectors too.
BATCHES = {"batch_size": 32, "lr": 3e-3}
# A temperature changes no prediction. The committed rows are older than it.
_PASSING = ("random_state", "verbose", "n_jobs", "temperature")
BY_SPEAKER, CENTRED = {"by_speaker": True}, {"centred": "corpus"}


@dataclass(frozen=True)
class Method:
    """One line of the tables.

    Attributes
    ----------
    label : str
        Its name there.
    estimator : callable
        Returns the unfitted estimator.
    sets : tuple of str
        The sets of features that it is run on, names in ``SETS``.
    own : dict or None
        Features of its own instead: ``kind``, a key of ``EXTRACTORS``, and its
        parameters. Its rows stand in the tables of the first of ``sets``.
    options : dict
        What is done to the features.
    seeded : bool
        Whether the result depends on a seed.
    """

    label: str
    estimator: Callable
    sets: tuple = tuple(SETS)
    own: dict | None = None
    options: dict = field(default_factory=dict)
    seeded: bool = True

    def features(self, name):
        """Return kind and parameters of its features, on one of its sets."""
        return {**(self.own or SETS[name]), **self.options}


def _without(*weights):
    return DSNetClassifier(**dict.fromkeys(weights, 0.0), **BATCHES)


def _adversarial(method):
    options = {"method": method, "adversary_lr": 3e-3, **BATCHES}
    if method is not None:
        options["adversary_weight"] = ADVERSARY_WEIGHTS[method]
    return SpeakerAdversarialClassifier(**options)


def _tuned_dsnet():
    """Return DSNet with one weight for its three terms, chosen by held-out speakers.

    One split, for trainings are what costs, and a quarter of the training speakers: on
    the half of few speakers no weight learns enough to tell them apart.
    """
    grid = [{weight: [value] for weight in WEIGHTS} for value in (1.0, 10.0, 100.0)]
    quarter = GroupShuffleSplit(1, test_size=0.25, random_state=0)
    return _search(DSNetClassifier(**BATCHES), grid, quarter)


def _search(estimator, grid, cv):
    return GridSearchCV(estimator, grid, scoring=uar_scorer, cv=cv, error_score="raise")


def _scaled(classifier, name, values):
    """Return a scaled classifier whose parameter is chosen by held-out speakers."""
    pipeline = make_pipeline(StandardScaler(), classifier)
    grid = {f"{type(classifier).__name__.lower()}__{name}": values}
    return _search(pipeline, grid, GroupKFold(3))


def _linear_svm(powers):
    svm = LinearSVC(class_weight="balanced", random_state=0, max_iter=20000)
    return _scaled(svm, "C", [10.0**power for power in powers])


def _plain_svm():
    return LinearSVC(C=1e-3, class_weight="balanced", random_state=0)


def _self_training(make):
    return SelfTraining(make())


def _rbf_svm():
    return _scaled(SVC(class_weight="balanced"), "C", [0.1, 1.0, 10.0, 100.0])


def _logistic():
    model = LogisticRegression(class_weight="balanced", max_iter=2000)
    return _scaled(model, "C", [10.0**power for power in (-4, -3, -2, -1, 0)])


def _mlp():
    model = MLPClassifier(hidden_layer_sizes=(128,), max_iter=500)
    return _scaled(model, "alpha", [0.1, 1.0, 10.0])


_OWN = {"sets": ("log-mel",), "seeded": False}
_VECTORS = {"sets": ("speech-model",)}  # of pooled features
_NETS = {
    "dsnet": Method("DSNet", _without),
    "dsnet-tuned": Method("DSNet, weights chosen among 1, 10, 100", _tuned_dsnet),
    "dsnet-no-terms": Method("DSNet, all weights 0", lambda: _without(*WEIGHTS)),
    **{
        f"dsnet-no-{weight.removesuffix('_weight')}": Method(
            f"DSNet, {weight} 0", lambda weight=weight: _without(weight)
        )
        for weight in WEIGHTS
    },
    "plain": Method("plain net", lambda: _adversarial(None)),
    "dat": Method(f"DAT, λ={ADVERSARY_WEIGHTS['dat']:g}", lambda: _adversarial("dat")),
    "menan": Method(
        f"MEnAN, λ={ADVERSARY_WEIGHTS['menan']:g}", lambda: _adversarial("menan")
    ),
}
_LINEAR = {
    "linear-svc": Method(
        "LinearSVC", lambda: _linear_svm([-5, -4, -3, -2, -1]), **_VECTORS, seeded=False
    ),
    "lda": Method(
        "shrinkage LDA",
        lambda: make_baseline(of_frames=False),
        **_VECTORS,
        seeded=False,
    ),
}
_RIVALS = _LINEAR | {
    "logistic": Method("logistic regression", _logistic, **_VECTORS, seeded=False),
    "rbf-svm": Method("SVM, RBF kernel", _rbf_svm, **_VECTORS, seeded=False),
    "mlp": Method("MLP", _mlp, **_VECTORS),
    "egemaps": Method(
        "openSMILE eGeMAPS + LinearSVC",
        lambda: _linear_svm([-3, -2, -1]),
        own={"kind": "opensmile", "feature_set": "eGeMAPSv02"},
        **_OWN,
    ),
    "compare": Method(
        "openSMILE ComParE + LinearSVC",
        lambda: _linear_svm([-5, -4, -3]),
        own={"kind": "opensmile", "feature_set": "ComParE_2016"},
        **_OWN,
    ),
    "mfcc": Method("MFCC statistics + SVM", _rbf_svm, own={"kind": "mfcc"}, **_OWN),
}
METHODS = _NETS | _RIVALS
_MAIN = ("dsnet", "plain", "dat", "menan")
_ON_VECTORS = ("dsnet-no-terms", "linear-svc", "lda", "logistic", "rbf-svm", "mlp")
# The same with the features normalised by speaker: transductive, a table of their own.
METHODS |= {
    f"{name}-by-speaker": replace(METHODS[name], options=BY_SPEAKER) for name in _MAIN
}
METHODS |= {
    f"{name}-by-speaker": replace(METHODS[name], options=BY_SPEAKER, **_VECTORS)
    for name in _ON_VECTORS
}
# Of several corpora as one, each centred on the mean of its training speakers.
METHODS |= {
    f"{name}-centred": replace(METHODS[name], options=CENTRED)
    for name in (*_MAIN, *_ON_VECTORS)
}

# Voices that are enrolled with a few recordings, which are not scored.
_ENROLLED = {
    "10": ("ten", {"enrollment": 10}),
    "10-neutral": (
        "ten neutral",
        {"enrollment": 10, "enrollment_label": "neutral"},
    ),
    "1": ("one", {"enrollment": 1}),
}


def _for_voices(estimator):
    return make_pipeline(SpeakerNormalizer(), estimator())


METHODS |= {
    f"{name}-enrolled-{how}": replace(
        METHODS[name],
        label=f"{METHODS[name].label}, {what}",
        estimator=partial(_for_voices, METHODS[name].estimator),
        options=options,
        **_VECTORS,
    )
    for how, (what, options) in _ENROLLED.items()
    for name in ("dsnet", "plain", "menan", "lda", "linear-svc")
}

# Across corpora: the same network, with nothing aligned, by our terms or by skada's.
# Their weights are those of the smallest entropy on the development transfers.
_ADAPTERS = {
    name: Method(
        label,
        partial(adapter, alignment=alignment, alignment_weight=weight, **BATCHES),
    )
    for name, label, adapter, alignment, weight in (
        ("source-only", "source only", DIDANDomainAdapter, None, 1.0),
        ("didan", "DIDAN", DIDANDomainAdapter, "didan", 1.0),
        ("lidan", "LIDAN", DIDANDomainAdapter, "lidan", 0.3),
        ("dan", "DAN (skada)", SkadaAdapter, "dan", 0.1),
        ("dann", "DANN (skada)", SkadaAdapter, "dann", 0.1),
        ("deepcoral", "Deep CORAL (skada)", SkadaAdapter, "deepcoral", 1.0),
    )
}
_VECTOR_TRANSFERS = {
    f"{name}-transfer": replace(METHODS[name], options={"by_domain": True})
    for name in (*_LINEAR, "egemaps")
}
_VECTOR_TRANSFERS |= {
    name: Method(
        f"{label}, self-training",
        partial(_self_training, make),
        **_VECTORS,
        seeded=False,
        options={"by_domain": True},
    )
    for name, label, make in (
        ("self-training", "LinearSVC", _plain_svm),
        ("self-training-lda", "shrinkage LDA", partial(make_baseline, of_frames=False)),
    )
}
# To new speakers of the same corpus, whose unlabelled recordings are the target.
_ADAPTED = {"by_speaker": True, "adapted": True}
METHODS |= {
    f"{name}-adapted": replace(
        method, label=f"{method.label}, new speakers", options=_ADAPTED, **_VECTORS
    )
    for name, method in (_ADAPTERS | _VECTOR_TRANSFERS).items()
    if name in ("source-only", "didan", "lidan") or "self-training" in name
}
# As they are, without normalisation by domain, and normalised by speaker.
TRANSFER_METHODS = {
    **_ADAPTERS,
    **_VECTOR_TRANSFERS,
    **{
        f"{name}-raw": replace(
            m, estimator=partial(m.estimator, normalize_domains=False)
        )
        for name, m in _ADAPTERS.items()
    },
    **{f"{name}-raw": replace(m, options={}) for name, m in _VECTOR_TRANSFERS.items()},
    **{
        f"{name}-by-speaker": replace(m, options=BY_SPEAKER, **_VECTORS)
        for name, m in (_ADAPTERS | _VECTOR_TRANSFERS).items()
        if m.own is None
    },
}
ALL_METHODS = METHODS | TRANSFER_METHODS


def own_parameters(name, features="log-mel"):
    """Return the parameters that a method has now on a set; see `parameters`."""
    return dict(_own_parameters(name, features))


@cache
def _own_parameters(name, features):
    return parameters(*with_settings(ALL_METHODS[name], {}, features))


def with_settings(method, settings, features="log-mel"):
    """Return the estimator and the features of a method, some parameters changed.

    Parameters
    ----------
    method : Method
    settings : dict
        Parameters of the estimator, or ``features__`` and one of the features'.
    features : str
        One of the method's sets of features.
    """
    features, estimator = method.features(features), method.estimator()
    known = estimator.get_params()
    # What a search tunes, and the last step of a pipeline.
    owners = ["estimator", *(name for name, _ in getattr(estimator, "steps", [])[-1:])]
    for name, value in settings.items():
        if name.startswith("features__"):
            features[name.removeprefix("features__")] = value
        elif name in known:
            estimator.set_params(**{name: value})
        elif owner := next((o for o in owners if f"{o}__{name}" in known), None):
            estimator.set_params(**{f"{owner}__{name}": value})
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
