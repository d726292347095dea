"""DIDANDomainAdapter as a citizen of skada, which must be installed for this."""

import copy
from importlib.util import find_spec

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, cross_validate

from sklearn_ser import DIDANDomainAdapter

pytestmark = [
    # Importing it turns metadata routing on, so that this only looks for it.
    pytest.mark.skipif(find_spec("skada") is None, reason="skada is not installed"),
    # Its scorers' own: of a constant prediction, and of a regression inside.
    pytest.mark.filterwarnings("ignore:The predicted target domain labels"),
    pytest.mark.filterwarnings("ignore:lbfgs failed to converge"),
]

PARAMS = {"encoder": "conv", "max_epochs": 2, "batch_size": 8, "random_state": 0}
SCORERS = [
    "SupervisedScorer",
    "PredictionEntropyScorer",
    "SoftNeighborhoodDensity",
    "ImportanceWeightedScorer",
    "MixValScorer",
]
SPLITTERS = [
    "SourceTargetShuffleSplit",
    "DomainShuffleSplit",
    "StratifiedDomainShuffleSplit",
    "LeaveOneDomainOut",
]


@pytest.fixture(scope="module")
def skada():
    """Import skada, which turns metadata routing on, and turn it off again."""
    before = sklearn.get_config()["enable_metadata_routing"]
    import skada
    import skada.metrics
    import skada.model_selection

    sklearn.set_config(enable_metadata_routing=before)
    return skada


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture(scope="module")
def data():
    """Sequences of one length: two domains, and three classes that none can confuse.

    Each class has two features of its own, ten deviations above the others.
    """
    rng = np.random.default_rng(0)
    y, domain = np.tile([0, 1, 2], 16), np.repeat([1, -2], 24)
    X = rng.normal(size=(48, 8, 20)).astype(np.float32)
    for label in range(3):
        X[y == label, 2 * label : 2 * label + 2] += 10
    X[domain < 0, 6:] += 3
    return X, y, domain


def scores(X, y, cv, scorer, **params):
    """The scores of an adapter in scikit-learn's cross-validation."""
    found = cross_validate(
        DIDANDomainAdapter(**PARAMS), X, y, cv=cv, scoring=scorer, params=params,
        error_score="raise",
    )  # fmt: skip
    return found["test_score"]


@pytest.fixture(scope="module")
def flat(data):
    """The same as vectors, which is what skada's older scorers take."""
    X, y, domain = data
    return X.mean(axis=2), y, domain


def masked(y, domain):
    return np.where(domain < 0, -1, y)


def test_importing_it_leaves_the_configuration(skada):
    assert not sklearn.get_config()["enable_metadata_routing"]
    assert skada.__version__


@pytest.mark.slow
@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("name", SCORERS)
def test_scorers(skada, data, flat, name):
    scorer = getattr(skada.metrics, name)()
    # These two stack or transform X as a table.
    tables = "ImportanceWeightedScorer", "MixValScorer"
    X, y, domain = flat if name in tables else data
    y = y if name == "SupervisedScorer" else masked(y, domain)
    params = {"sample_domain": domain}
    if name == "SupervisedScorer":
        params["target_labels"] = data[1]
        y = masked(y, domain)
    cv = skada.model_selection.SourceTargetShuffleSplit(
        2, test_size=0.5, random_state=0
    )
    assert np.isfinite(scores(X, y, cv, scorer, **params)).all()


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("name", ["DeepEmbeddedValidation", "MaNoScorer"])
def test_scorers_that_want_a_pipeline(skada, flat, name):
    X, y, domain = flat
    y = masked(y, domain)
    pipe = skada.make_da_pipeline(DIDANDomainAdapter(**PARAMS))
    pipe.fit(X, y, sample_domain=domain)
    scorer = getattr(skada.metrics, name)()
    assert np.isfinite(scorer(pipe, X, y, sample_domain=domain))


@pytest.mark.slow
@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("name", SPLITTERS)
def test_splitters(skada, data, name):
    X, y, domain = data
    cv = getattr(skada.model_selection, name)(2, test_size=0.5, random_state=0)
    if name == "LeaveOneDomainOut":  # which wants each as source and as target
        domain = np.abs(domain)
        X, y, domain = np.r_[X, X], np.r_[y, y], np.r_[domain, -domain]
    scorer = skada.metrics.PredictionEntropyScorer()
    assert np.isfinite(scores(X, y, cv, scorer, sample_domain=domain)).all()


@pytest.mark.slow
@pytest.mark.usefixtures("routing")
def test_the_weight_is_chosen_without_target_labels(skada, data):
    X, y, domain = data
    rng = np.random.default_rng(0)
    chosen = []
    for labels in (masked(y, domain), np.where(domain < 0, rng.permutation(y), y)):
        search = GridSearchCV(
            DIDANDomainAdapter(**PARAMS),
            {"alignment_weight": [0.1, 10.0]},
            scoring=skada.metrics.PredictionEntropyScorer(),
            cv=skada.model_selection.SourceTargetShuffleSplit(1, random_state=0),
            error_score="raise",
        )
        search.fit(X, labels, sample_domain=domain)
        chosen.append(search.cv_results_["mean_test_score"].tolist())
        assert np.isfinite(chosen[-1]).all()
        assert search.best_estimator_.predict(X[:3]).shape == (3,)
    assert chosen[0] == chosen[1]


@pytest.mark.slow
@pytest.mark.usefixtures("routing")
def test_circular_validation(skada, flat):
    """It refuses labels of the target, and is what it says it is.

    What was said of the target trains a fresh estimator for the source. There, three
    recordings have a wrong label, of which the target knows nothing.
    """
    X, y, domain = flat
    source = domain > 0
    y = y.copy()
    y[[0, 1, 2]] = [1, 2, 0]
    labels = masked(y, domain)
    params = {**PARAMS, "encoder": "pointwise", "max_epochs": 30, "lr": 1e-2}
    model = DIDANDomainAdapter(**params).fit(X, labels, sample_domain=domain)
    scorer = skada.metrics.CircularValidation()
    with pytest.raises(ValueError, match="should be masked"):
        scorer(model, X, y, sample_domain=domain)
    back = np.full(len(y), -1)
    back[~source] = model.predict(X[~source], domain[~source])
    np.testing.assert_array_equal(back[~source], y[~source])
    backwards = DIDANDomainAdapter(**params).fit(X, back, sample_domain=-domain)
    said = backwards.predict(X[source], -domain[source])
    found = scorer(model, X, labels, sample_domain=domain)
    assert found == balanced_accuracy_score(y[source], said)
    assert found == 7 / 8


@pytest.mark.slow
@pytest.mark.usefixtures("routing")
def test_a_pipeline_of_skada(skada, data):
    X, y, domain = data
    pipe = skada.make_da_pipeline(DIDANDomainAdapter(**PARAMS))
    pipe.fit(X, masked(y, domain), sample_domain=domain)
    found = pipe.predict(X, sample_domain=domain, allow_source=True)
    own = DIDANDomainAdapter(**PARAMS).fit(X, masked(y, domain), sample_domain=domain)
    np.testing.assert_array_equal(found, own.predict(X, domain))
    again = copy.deepcopy(pipe).fit(X, masked(y, domain), sample_domain=domain)
    np.testing.assert_array_equal(
        again.predict(X, sample_domain=domain, allow_source=True), found
    )
    assert clone(pipe).get_params() is not None
    # Text is refused by every pipeline of skada, but not by the adapter.
    words = np.array(["anger", "joy", "sadness"])[y]
    with pytest.raises(TypeError, match="isnan"):
        skada.make_da_pipeline(LogisticRegression()).fit(
            X.mean(axis=2), words, sample_domain=domain
        )
    own = DIDANDomainAdapter(**PARAMS).fit(X, words, sample_domain=domain)
    said = np.unique(words)[found]
    np.testing.assert_array_equal(own.predict(X, domain), said)
