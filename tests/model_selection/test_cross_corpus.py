"""Training on some corpora, scoring on another."""

import pickle
import re
from itertools import permutations
from typing import ClassVar

import numpy as np
import pytest
import scipy.stats
import sklearn
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    LeaveOneGroupOut,
    StratifiedKFold,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import SpeakerNormalizer
from sklearn_ser.metrics import uar_score, uar_scorer, wa_score
from sklearn_ser.model_selection import (
    CrossCorpusResult,
    cross_corpus_validate,
)

CLASSES = {
    "casia": ["anger", "joy", "sadness"],
    "emodb": ["anger", "boredom", "joy", "sadness"],
    "emovo": ["anger", "disgust", "joy"],
}
N_SPEAKERS = {"casia": 4, "emodb": 5, "emovo": 2}
SOURCE_ONLY = make_pipeline(StandardScaler(), LogisticRegression())


class DomainCentring(ClassifierMixin, BaseEstimator):
    """Logistic regression on what remains of X without the mean of each domain."""

    __metadata_request__fit: ClassVar = {"sample_domain": True, "speakers": True}
    __metadata_request__predict: ClassVar = {"sample_domain": True}

    def fit(self, X, y, *, sample_domain=None, speakers=None):
        self.X_, self.y_ = X, y
        self.sample_domain_, self.speakers_ = sample_domain, speakers
        if sample_domain is None:
            sample_domain = np.ones(len(X), dtype=int)
        source = sample_domain >= 0
        self.means_ = {d: X[sample_domain == d].mean(axis=0) for d in {*sample_domain}}
        centred = X - np.array([self.means_[d] for d in sample_domain])
        self.model_ = LogisticRegression().fit(centred[source], y[source])
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X, *, sample_domain=None):
        self.predicted_domain_ = sample_domain
        return self.model_.predict(X - self.means_.get(-1, 0))


class NeverFit(DomainCentring):
    def fit(self, X, y, *, sample_domain=None, speakers=None):
        pytest.fail("fitted")


@pytest.fixture(scope="module")
def data():
    """Three corpora with an offset each, of other classes and numbers of speakers.

    Speakers go by the same names in all corpora; the last column is the row.
    """
    rng = np.random.default_rng(0)
    rows = [
        (emotion, corpus, f"s{speaker}")
        for corpus, emotions in CLASSES.items()
        for speaker in range(N_SPEAKERS[corpus])
        for emotion in emotions
        for _ in range(3)
    ]
    rng.shuffle(rows)
    y, corpora, speakers = map(np.array, zip(*rows, strict=True))
    X = rng.normal(size=(len(rows), 5))
    for column, emotion in enumerate(["anger", "joy", "sadness", "boredom"]):
        X[y == emotion, column] += 2
    for corpus in CLASSES:
        X[corpora == corpus] += rng.normal(size=5)
    # Small enough to be no feature that counts.
    return np.column_stack([X, 1e-9 * np.arange(len(rows))]), y, corpora, speakers


def row_of(X):
    return np.round(1e9 * X[:, -1]).astype(int)


def others(corpus):
    return tuple(name for name in CLASSES if name != corpus)


def shared(*corpora):
    return sorted(set.intersection(*(set(CLASSES[c]) for c in corpora)))


# --- rows ---------------------------------------------------------------------------


@pytest.mark.parametrize("model", [SOURCE_ONLY, DomainCentring()])
@pytest.mark.parametrize(
    ("transfers", "pairs"),
    [
        ("pairs", [((a,), b) for a, b in permutations(CLASSES, 2)]),
        ("leave_one_out", [(others(name), name) for name in CLASSES]),
        (
            [("emodb", "casia"), (["emovo", "casia"], "emodb")],
            [(("emodb",), "casia"), (("casia", "emovo"), "emodb")],
        ),
    ],
)
def test_rows_are_those_of_the_shared_classes(data, model, transfers, pairs):
    _, y, corpora, _ = data
    result = cross_corpus_validate(model, *data, transfers=transfers)
    assert isinstance(result, CrossCorpusResult)
    assert [(t.source, t.target) for t in result.transfers] == pairs
    for t in result.transfers:
        assert t.classes.tolist() == shared(*t.source, t.target)
        kept = np.isin(y, t.classes)
        target = np.flatnonzero(kept & (corpora == t.target)).tolist()
        source = np.flatnonzero(kept & np.isin(corpora, t.source))
        assert t.train.tolist() == source.tolist()
        assert t.test.tolist() == target
        assert t.adapt.tolist() == (target if result.adapted else [])
        assert t.n_speakers == N_SPEAKERS[t.target]
        assert t.predictions.shape == t.test.shape
        assert set(t.predictions) <= set(t.classes)


def test_what_an_adapting_fit_gets(data):
    X, _, corpora, speakers = data
    result = cross_corpus_validate(
        DomainCentring(), *data, transfers="leave_one_out", return_estimator=True
    )
    assert result.adapted
    for t, fitted in zip(result.transfers, result.estimators, strict=True):
        rows = np.concatenate([t.train, t.adapt])
        assert row_of(fitted.X_).tolist() == rows.tolist()
        numbers = {name: i for i, name in enumerate(t.source, 1)} | {t.target: -1}
        domains = [numbers[corpus] for corpus in corpora[rows]]
        assert fitted.sample_domain_.tolist() == domains
        who = [f"{corpora[i]}/{speakers[i]}" for i in rows]
        assert fitted.speakers_.tolist() == who
        assert fitted.predicted_domain_.tolist() == [-1] * len(t.test)
    model = DomainCentring()
    cross_corpus_validate(model, X, *data[1:])
    assert not hasattr(model, "classes_")  # clones are fitted, not the original


def test_who_does_not_ask_is_fitted_on_the_source(data):
    X, y, _, _ = data
    result = cross_corpus_validate(SOURCE_ONLY, *data)
    assert not result.adapted
    for t in result.transfers:
        alone = clone(SOURCE_ONLY).fit(X[t.train], y[t.train])
        assert t.predictions.tolist() == alone.predict(X[t.test]).tolist()
    with sklearn.config_context(enable_metadata_routing=True):
        model = DomainCentring().set_fit_request(sample_domain=False)
    result = cross_corpus_validate(model, *data, return_estimator=True)
    assert result.protocol == "source-only"
    for t, fitted in zip(result.transfers, result.estimators, strict=True):
        assert fitted.sample_domain_ is None
        assert row_of(fitted.X_).tolist() == t.train.tolist()
        assert len(fitted.speakers_) == len(t.train)


def test_a_step_of_a_pipeline_or_a_search_adapts(data):
    direct = cross_corpus_validate(DomainCentring(), *data)
    for model in (
        make_pipeline("passthrough", DomainCentring()),
        GridSearchCV(DomainCentring(), {}, cv=StratifiedKFold(2)),
    ):
        result = cross_corpus_validate(model, *data)
        assert result.protocol == "transductive"
        assert result.table() == direct.table()


def test_a_search_splits_the_source_by_speaker(data):
    X, y, corpora, speakers = data
    grid = {"logisticregression__C": [1e-3, 1.0]}
    search = GridSearchCV(SOURCE_ONLY, grid, cv=GroupKFold(2), scoring=uar_scorer)
    result = cross_corpus_validate(
        *(search, X, y, corpora, speakers),
        transfers=[("casia", "emodb")],
        return_estimator=True,
    )
    (t,), (fitted,) = result.transfers, result.estimators
    alone = clone(search).fit(X[t.train], y[t.train], groups=speakers[t.train])
    for key in ("mean_test_score", "std_test_score"):
        assert fitted.cv_results_[key].tolist() == alone.cv_results_[key].tolist()


# --- labels of the target -----------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("text", "transductive"),
        ("int", "inductive"),
        ("float", "transductive"),
        ("bool", "inductive"),
    ],
)
def test_target_labels_never_reach_a_fit(data, kind, mode):
    X, y, corpora, speakers = data
    if kind == "bool":
        y = y == "joy"
    elif kind != "text":
        y = np.unique(y, return_inverse=True)[1].astype(kind)
    result = cross_corpus_validate(
        DomainCentring(), X, y, corpora, speakers, mode=mode, return_estimator=True
    )
    for t, fitted in zip(result.transfers, result.estimators, strict=True):
        n = len(t.train)
        assert (fitted.y_[:n] == y[t.train]).all()
        assert len(t.adapt) == len(fitted.y_) - n > 0
        assert set(fitted.y_[n:].tolist()) == {"" if kind == "text" else -1}
        # Predictions are labels of y, whatever type the mask needed.
        assert t.predictions.dtype == t.classes.dtype == y.dtype
    assert result.uar > 0.5


@pytest.mark.parametrize("model", [SOURCE_ONLY, DomainCentring()])
@pytest.mark.parametrize("mode", ["transductive", "inductive"])
def test_permuted_target_labels_change_no_prediction(data, model, mode):
    X, y, corpora, speakers = data
    transfers = [("emodb", "casia"), (["emodb", "emovo"], "casia")]
    permuted = y.copy()
    rng = np.random.default_rng(1)
    # Within the speakers and the classes of the transfers, which decide on the rows.
    for speaker in np.unique(speakers):
        for classes in (["anger", "joy"], ["sadness"]):
            rows = (corpora == "casia") & (speakers == speaker) & np.isin(y, classes)
            permuted[rows] = rng.permutation(y[rows])
    assert (permuted != y).sum() > 5
    one, other = (
        cross_corpus_validate(
            model, X, labels, corpora, speakers, transfers=transfers, mode=mode
        )
        for labels in (y, permuted)
    )
    for before, after in zip(one.transfers, other.transfers, strict=True):
        assert before.test.tolist() == after.test.tolist()
        assert before.predictions.tolist() == after.predictions.tolist()
        assert before.uar != after.uar


class TakesTheMaskForAClass(DomainCentring):
    def fit(self, X, y, *, sample_domain=None, speakers=None):
        self.model_ = LogisticRegression().fit(X, y)
        self.means_ = {-1: 0}
        return self


@pytest.mark.parametrize("text", [True, False])
def test_a_predicted_mask_is_refused(data, text):
    X, y, corpora, speakers = data
    y = y if text else np.unique(y, return_inverse=True)[1]
    with pytest.raises(ValueError, match=r"TakesTheMaskForAClass.predict must") as e:
        cross_corpus_validate(TakesTheMaskForAClass(), X, y, corpora, speakers)
    assert e.value.__notes__ == ["In transfer casia -> emodb."]


# --- modes --------------------------------------------------------------------------


def test_inductive_halves_the_target_by_speaker(data):
    _, y, corpora, speakers = data
    result = cross_corpus_validate(
        DomainCentring(), *data, mode="inductive", return_estimator=True
    )
    halves = {}
    for t, fitted in zip(result.transfers, result.estimators, strict=True):
        adapting, scored = set(speakers[t.adapt]), set(speakers[t.test])
        assert not adapting & scored
        assert len(adapting) == N_SPEAKERS[t.target] // 2
        assert t.n_speakers == len(scored) == N_SPEAKERS[t.target] - len(adapting)
        both = np.sort(np.concatenate([t.adapt, t.test]))
        kept = np.isin(y, t.classes) & (corpora == t.target)
        assert both.tolist() == np.flatnonzero(kept).tolist()
        assert not set(row_of(fitted.X_)) & set(t.test)
        # All transfers to a target score the same speakers.
        assert halves.setdefault(t.target, scored) == scored


def test_the_halves_follow_the_seed(data):
    guess = DummyClassifier()

    def scored(seed, model=guess):
        result = cross_corpus_validate(
            model, *data, mode="inductive", random_state=seed, n_bootstrap=0
        )
        return [t.test.tolist() for t in result.transfers]

    assert scored(0) == scored(0) == scored(0, DomainCentring())
    assert len({str(scored(seed)) for seed in range(5)}) > 1
    rng = np.random.default_rng
    assert scored(rng(3)) == scored(rng(3))
    old = np.random.RandomState
    assert scored(old(3)) == scored(old(3))
    assert scored(None)


def test_other_rows_of_the_scored_speakers_change_nothing(data):
    """In the inductive mode, the fit is blind to the scored recordings."""
    X, *others = data
    arguments = {"mode": "inductive", "return_estimator": True}
    before = cross_corpus_validate(DomainCentring(), X, *others, **arguments)
    changed = X.copy()
    t = before.transfers[0]
    changed[t.test, :-1] += 5
    after = cross_corpus_validate(DomainCentring(), changed, *others, **arguments)
    for one, other in zip(
        before.estimators[0].means_.values(),
        after.estimators[0].means_.values(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_the_protocol_is_told(data):
    cases = {
        "transductive: target utterances (unlabelled) were": (DomainCentring(), {}),
        "inductive: unlabelled utterances of other target speakers were": (
            DomainCentring(),
            {"mode": "inductive"},
        ),
        "source-only: no target utterance was": (SOURCE_ONLY, {}),
        "source-only: no target utterance was seen in training\nhalf of the target": (
            SOURCE_ONLY,
            {"mode": "inductive"},
        ),
    }
    for label, (model, arguments) in cases.items():
        result = cross_corpus_validate(model, *data, **arguments)
        assert str(result).partition("\n")[2].startswith(label)
        assert result.protocol == label.split(":")[0]
        assert result.mode == arguments.get("mode", "transductive")
        assert ("half" in str(result)) == (result.mode == "inductive")


def test_same_names_in_two_corpora_are_two_persons(data):
    X, y, corpora, speakers = data
    renamed = np.char.add(np.char.add(corpora, "-"), speakers)
    for mode in ("transductive", "inductive"):
        one, other = (
            cross_corpus_validate(DomainCentring(), X, y, corpora, names, mode=mode)
            for names in (speakers, renamed)
        )
        assert str(one) == str(other)
        assert one.uar_interval == other.uar_interval


def test_a_slash_in_a_name_makes_no_two_persons_one(data):
    X, y, corpora, _ = data
    first = corpora == corpora[0]
    corpora = np.where(first, "la", "la/m")
    names = np.where(first, "m/ann", "ann")
    one, other = (
        cross_corpus_validate(DomainCentring(), X, y, corpora, speakers)
        for speakers in (names, np.where(first, "bob", "ann"))
    )
    assert str(one) == str(other)
    assert one.uar_interval == other.uar_interval


# --- figures ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["transductive", "inductive"])
def test_figures_equal_a_slow_computation(data, mode):
    _, y, corpora, speakers = data
    keep = corpora != "emovo" if mode == "inductive" else slice(None)
    X, y, corpora, speakers = (column[keep] for column in data)
    result = cross_corpus_validate(
        DomainCentring(),
        *(X, y, corpora, speakers),
        mode=mode,
        n_bootstrap=50,
        confidence_level=0.8,
        random_state=7,
    )
    names = sorted(set(corpora))
    people = {t.target: sorted(set(speakers[t.test])) for t in result.transfers}
    targets = [t.target for t in result.transfers[: len(people)]]

    def mean_uar(transfers, targets, *index):
        drawn, uars = dict(zip(targets, index, strict=True)), []
        for t in transfers:
            who = [people[t.target][i] for i in drawn[t.target]]
            rows = [np.flatnonzero(speakers[t.test] == each) for each in who]
            rows = np.concatenate(rows)
            uars.append(uar_score(y[t.test][rows], t.predictions[rows]))
        return np.mean(uars)

    def expected(transfers, targets, seed):
        return tuple(
            scipy.stats.bootstrap(
                [np.arange(len(people[target])) for target in targets],
                lambda *index: mean_uar(transfers, targets, *index),
                n_resamples=50,
                confidence_level=0.8,
                random_state=np.random.default_rng(seed),
            ).confidence_interval
        )

    for t in result.transfers:
        assert t.uar == pytest.approx(uar_score(y[t.test], t.predictions))
        assert t.wa == pytest.approx(wa_score(y[t.test], t.predictions))
        assert t.fit_time > 0
        assert t.score_time > 0
        seed = [7, names.index(t.target)]
        assert t.uar_interval == pytest.approx(expected([t], [t.target], seed))
    low, high = result.uar_interval
    assert (low, high) == pytest.approx(expected(result.transfers, targets, 7))
    assert result.uar == pytest.approx(np.mean([t.uar for t in result.transfers]))
    assert 0 <= low < result.uar < high <= 1
    assert result.confidence_level == 0.8


def test_without_an_interval(data):
    result = cross_corpus_validate(SOURCE_ONLY, *data, n_bootstrap=0)
    assert np.isnan(result.uar_interval).all()
    assert "[" not in str(result)
    # emovo has two speakers: the one that is scored says nothing about the spread.
    result = cross_corpus_validate(SOURCE_ONLY, *data, mode="inductive")
    for t in result.transfers:
        assert np.isnan(t.uar_interval).all() == (t.target == "emovo")
    assert np.isnan(result.uar_interval).all()
    assert f"mean of 6: {100 * result.uar:.1f}" in str(result).splitlines()


def test_the_table(data):
    transfers = [("emodb", "casia"), (["emovo", "emodb"], "casia"), ("casia", "emovo")]
    result = cross_corpus_validate(DomainCentring(), *data, transfers=transfers)
    table = result.table()
    assert {source: list(row) for source, row in table.items()} == {
        "emodb": ["casia"],
        "emodb+emovo": ["casia"],
        "casia": ["emovo"],
    }
    _, _, level, head, *rows = str(result).splitlines()
    rows, (mean, *_) = rows[:3], rows[3:]
    assert level == "UAR % [95% interval]"
    assert head.split() == ["from", "to", "casia", "to", "emovo"]
    places = {name: head.index(f"to {name}") for name in ("casia", "emovo")}
    for t, row in zip(result.transfers, rows, strict=True):
        source = "+".join(t.source)
        assert table[source][t.target] == t.uar
        assert row.startswith(source)
        low, high = t.uar_interval
        cell = f"{100 * t.uar:5.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        assert row[places[t.target] :].startswith(cell)
        (other,) = {"casia", "emovo"} - {t.target}
        assert row[places[other] :].split()[0] == "-"
    low, high = result.uar_interval
    numbers = f"{100 * result.uar:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    assert mean == f"mean of 3: {numbers}"
    copy = pickle.loads(pickle.dumps(result))
    assert str(copy) == str(result)
    with pytest.raises(AttributeError):
        result.uar = 1.0


def test_corpora_may_be_numbers(data):
    X, y, corpora, speakers = data
    numbers = np.unique(corpora, return_inverse=True)[1]
    transfers = [(0, 1), ((2, 0), 1), (np.array([1]), np.int64(0))]
    result = cross_corpus_validate(
        DomainCentring(), X, y, numbers, speakers, transfers=transfers
    )
    assert result.table().keys() == {"0", "0+2", "1"}
    names = [("casia", "emodb"), (("casia", "emovo"), "emodb"), ("emodb", "casia")]
    expected = cross_corpus_validate(DomainCentring(), *data, transfers=names)
    assert [t.uar for t in result.transfers] == [t.uar for t in expected.transfers]


@pytest.mark.filterwarnings("ignore:speakers:UserWarning")  # of few recordings
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)),
        min_size=4,
        max_size=30,
    ),
    st.booleans(),
)
@example([(0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 1, 0)], False)
@example([(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)], False)
def test_any_arrangement_of_rows(rows, inductive):
    y, corpora, speakers = np.array(rows).T
    mode = "inductive" if inductive else "transductive"
    assume(len(set(corpora)) > 1)
    X = np.column_stack([y, 1e-9 * np.arange(len(y))])
    try:
        result = cross_corpus_validate(
            *(DomainCentring(), X, y, corpora, speakers),
            mode=mode,
            n_bootstrap=10,
            return_estimator=True,
        )
    except ValueError as error:
        assert re.search("two or more|one class only", str(error))  # noqa: PT017
        return
    for t, fitted in zip(result.transfers, result.estimators, strict=True):
        classes = set.intersection(*({*y[corpora == c]} for c in (*t.source, t.target)))
        assert {*t.classes} == classes == {*y[t.train]}
        assert {*corpora[t.train]} == set(t.source)
        assert {*corpora[t.adapt]} == {*corpora[t.test]} == {t.target}
        assert {*fitted.y_[len(t.train) :]} == {-1}
        assert bool({*speakers[t.adapt]} & {*speakers[t.test]}) != inductive
        assert 0 <= t.uar <= 1


# --- errors -------------------------------------------------------------------------


def test_a_silent_sample_domain_argument_is_an_error(data):
    class Silent(DomainCentring):
        __metadata_request__fit: ClassVar = {"sample_domain": None}

    with pytest.raises(ValueError, match=r"\[sample_domain\].*Silent.*set_fit_req"):
        cross_corpus_validate(Silent(), *data)


class Failing(DomainCentring):
    def predict(self, X, *, sample_domain=None):
        return 1 / 0


def test_a_failing_transfer_is_named(data):
    with pytest.raises(ZeroDivisionError) as caught:
        cross_corpus_validate(Failing(), *data, transfers="leave_one_out")
    assert caught.value.__notes__ == ["In transfer emodb+emovo -> casia."]


def test_marks_among_the_labels(data):
    X, y, corpora, speakers = data
    blank = np.where(y == "joy", "", y)
    number = np.where(y == "joy", -1, np.where(y == "anger", 1, 2))
    for labels, mark in ((blank, "''"), (number, "-1")):
        with pytest.raises(
            ValueError, match=f"y contains {mark}, but this label marks"
        ):
            cross_corpus_validate(NeverFit(), X, labels, corpora, speakers)
        # Without adaptation nothing is marked.
        assert cross_corpus_validate(SOURCE_ONLY, X, labels, corpora, speakers)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": ["joy"] * 7}, "X has 114, y has 7, corpora has 114, speakers has 114"),
        ({"corpora": ["a", None] * 57}, "corpora has 57 missing.*row 1"),
        ({"corpora": [["a"]] * 114}, "corpora must be 1-D"),
        ({"corpora": ["a"] * 114}, r"corpora holds one corpus only, \['a'\]"),
        ({"corpora": None}, "corpora must hold the corpus of each row"),
        (
            {"y": ["joy"] * 114},
            r"y has one class only \('joy'\), expected at least two",
        ),
        (
            {"speakers": ["ann"] * 114, "mode": "inductive"},
            r"Transfer casia -> emodb: mode=\"inductive\" needs two or more target "
            r"speakers, found \['emodb/ann'\] with the classes \['anger', 'joy', 'sad",
        ),
        ({"mode": "semi"}, "mode must be .*, got 'semi'"),
        ({"transfers": "all"}, "transfers must be .*, got 'all'"),
        ({"transfers": 3}, "transfers must be .*, got 3"),
        ({"transfers": []}, r"or more different transfers, got \[\]"),
        ({"transfers": [("emodb", "casia")] * 2}, "different transfers, got"),
        (
            {
                "transfers": [
                    (pair, "casia") for pair in permutations(["emodb", "emovo"])
                ]
            },
            "different transfers, got",
        ),
        ({"transfers": ["emodb"]}, r"transfers\[0\] must be a pair.*, got 'emodb'"),
        ({"transfers": [("emodb", "casia"), 3]}, r"transfers\[1\] must be a pair"),
        ({"transfers": [("emodb",)]}, r"transfers\[0\] must be a pair"),
        (
            {"transfers": [("emodb", "iemocap")]},
            r"transfers\[0\] must name corpora in \['casia', 'emodb', 'emovo'\], "
            r"got \['iemocap'\]",
        ),
        ({"transfers": [(["emodb", "x"], "casia")]}, r"in .*, got \['x'\]"),
        ({"transfers": [("emodb", ["casia"])]}, r"in .*, got \[\['casia'\]\]"),
        ({"transfers": [([], "casia")]}, r"in .*, got \[\]"),
        ({"transfers": [("casia", "casia")]}, "names a corpus twice"),
        ({"transfers": [(["emodb", "emodb"], "casia")]}, "names a corpus twice"),
        ({"random_state": -1}, "random_state"),
        (
            {"y": lambda d: np.where(d[2] == "casia", "joy", d[1])},
            r"casia.*needs two or more classes .* share, found .*casia has \['joy'\]",
        ),
    ],
)
def test_errors(data, changes, message):
    names = ("X", "y", "corpora", "speakers")
    changes = {k: v(data) if callable(v) else v for k, v in changes.items()}
    arguments = {**dict(zip(names, data, strict=True)), **changes}
    with pytest.raises(ValueError, match=message):
        cross_corpus_validate(NeverFit(), **arguments)


# --- as scikit-learn's --------------------------------------------------------------


def test_figures_without_adaptation_are_those_of_a_splitter(data):
    kept = np.isin(data[1], ["anger", "joy"])
    X, y, corpora, speakers = (column[kept] for column in data)
    scores = cross_validate(
        SOURCE_ONLY, X, y, groups=corpora, cv=LeaveOneGroupOut(), scoring=uar_scorer
    )["test_score"]
    result = cross_corpus_validate(
        SOURCE_ONLY, X, y, corpora, speakers, transfers="leave_one_out"
    )
    np.testing.assert_allclose([t.uar for t in result.transfers], scores)


class ByTheRows(SpeakerNormalizer):
    """Centre each speaker on its rows of the call, known or not."""

    def transform(self, X, *, speakers=None):
        if speakers is None:
            return super().transform(X)
        return SpeakerNormalizer().fit_transform(X, speakers=speakers)


def test_a_search_passes_the_target_speakers_on(data):
    search = GridSearchCV(
        make_pipeline(ByTheRows(), LogisticRegression()), {}, cv=GroupKFold(2)
    )
    result = cross_corpus_validate(search, *data, return_estimator=True)
    X, _, corpora, speakers = data
    keys = np.char.add(np.char.add(corpora, "/"), speakers)
    for transfer, fitted in zip(result.transfers, result.estimators, strict=True):
        with sklearn.config_context(enable_metadata_routing=True):
            expected = fitted.best_estimator_.predict(
                X[transfer.test], speakers=keys[transfer.test]
            )
        assert transfer.predictions.tolist() == expected.tolist()
        assert (
            transfer.predictions.tolist() != fitted.predict(X[transfer.test]).tolist()
        )
