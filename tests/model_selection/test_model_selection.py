"""Evaluation by speaker: splits, figures, what estimators get, errors."""

import pickle
import warnings
from typing import ClassVar

import numpy as np
import pytest
import scipy.stats
import sklearn
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import AdaBoostClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    PredefinedSplit,
    ShuffleSplit,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.metaestimators import available_if

from sklearn_ser.metrics import uar_score, uar_scorer, wa_score
from sklearn_ser.model_selection import (
    SpeakerCVResult,
    check_speaker_leakage,
    compare,
    cross_corpus_validate,
    speaker_cross_validate,
)
from sklearn_ser.pipeline import requested

EMOTIONS = np.array(["anger", "joy", "sadness"])


@pytest.fixture
def corpus():
    """Six speakers with an offset each, three emotions, rows in random order."""
    rng = np.random.default_rng(0)
    who, what = np.repeat(np.arange(6), 12), np.tile(np.arange(3), 24)
    X = 1.2 * rng.normal(size=(72, 4))
    X[np.arange(72), what] += 2.0
    X += rng.normal(size=(6, 4))[who]
    order = rng.permutation(72)
    speakers = np.array([f"s{i}" for i in range(6)])
    return X[order], EMOTIONS[what[order]], speakers[who[order]]


class Recorder(ClassifierMixin, BaseEstimator):
    """The nearest class mean; remembers what it was given."""

    __metadata_request__fit: ClassVar = {"speakers": True}

    def fit(self, X, y, *, speakers=None, sample_weight=None):
        self.X_, self.y_ = X, np.asarray(y)
        self.speakers_, self.sample_weight_ = speakers, sample_weight
        self.classes_ = np.unique(y)
        values = np.array([np.mean(x) for x in X])
        self.means_ = np.array([values[self.y_ == c].mean() for c in self.classes_])
        return self

    def predict(self, X):
        values = np.array([np.mean(x) for x in X])
        return self.classes_[np.abs(values[:, None] - self.means_).argmin(axis=1)]


class SpeakerCentring(TransformerMixin, BaseEstimator):
    """Take away each speaker's mean; remembers whose."""

    __metadata_request__fit: ClassVar = {"speakers": True}
    __metadata_request__transform: ClassVar = {"speakers": True}

    def fit(self, X, y=None, *, speakers):
        self.fitted_ = sorted(set(speakers))
        return self

    def fit_transform(self, X, y=None, *, speakers):
        return self.fit(X, y, speakers=speakers).transform(X, speakers=speakers)

    def transform(self, X, *, speakers):
        self.transformed_ = sorted(set(speakers))
        X = X.copy()
        for name in self.transformed_:
            X[speakers == name] -= X[speakers == name].mean(axis=0)
        return X


class RecordingScaler(StandardScaler):
    def fit(self, X, y=None):
        self.n_rows_, self.sum_ = len(X), X.sum()
        return super().fit(X)


class Echo(ClassifierMixin, BaseEstimator):
    """Predict the first column, as an index of the emotions."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return EMOTIONS[X[:, 0].astype(int)]


class NeverFit(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        pytest.fail("fitted")


# --- splits -------------------------------------------------------------------------


def test_disjoint_splits_pass_as_index_arrays():
    speakers = ["a", "a", "b", "c"]
    splits = LeaveOneGroupOut().split(speakers, groups=speakers)
    checked = check_speaker_leakage(splits, speakers)
    assert [test.tolist() for _, test in checked] == [[0, 1], [2], [3]]
    mask = np.array([True, True, False, False])
    ((train, test),) = check_speaker_leakage([(mask, ~mask)], speakers)
    assert (train.tolist(), test.tolist()) == ([0, 1], [2, 3])


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([([0], [2]), ([0, 2], [1, 3])], r"Fold 2: speakers \['a'\] are in both"),
        ([([0, 2], [2, 3])], r"Fold 1: rows \[2\] are in both"),
        ([([0, 4], [2])], "Fold 1: train must hold integers from 0 to 3, got 0, 4"),
        ([([0], [-1])], "Fold 1: test must hold integers from 0 to 3, got -1"),
        ([([0.0], [2])], "Fold 1: train must hold integers"),
        ([([0], [])], "Fold 1: test must hold one or more row indices"),
        ([([[0]], [2])], "Fold 1: train must hold one or more row indices"),
        ([([True, False], [2])], "Fold 1: train must hold integers"),
        ([(0, 1, 2)], "Fold 1 is not a pair"),
        ([3], "Fold 1 is not a pair"),
        ([], "at least one fold"),
    ],
)
def test_bad_splits_are_refused(splits, message):
    with pytest.raises(ValueError, match=message):
        check_speaker_leakage(iter(splits), ["a", "a", "b", "c"])


def test_unlabelled_rows_may_train_and_be_tested():
    speakers = ["a", "a", "b", "b", "c"]
    target = np.array([False, False, True, True, True])
    both = check_speaker_leakage(
        [([0, 1, 2, 3, 4], [2, 3, 4])], speakers, unlabelled=target
    )
    assert both.transductive
    assert isinstance(both, list)
    assert [part.tolist() for part in both[0]] == [[0, 1, 2, 3, 4], [2, 3, 4]]
    assert pickle.loads(pickle.dumps(both)).transductive
    splits = [([0], [3]), ([0, 2], [3])]
    assert check_speaker_leakage(splits, speakers, unlabelled=target).transductive
    assert not check_speaker_leakage(splits[:1], speakers).transductive


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        ([True, False], r"shape \(2,\) of bool"),
        ([0, 0, 1, 1], r"shape \(4,\) of int"),
        (True, r"shape \(\) of bool"),
    ],
)
def test_bad_masks_are_refused(mask, found):
    with pytest.raises(ValueError, match=f"unlabelled must be None or 4 bool.*{found}"):
        check_speaker_leakage([([0], [3])], ["a", "a", "b", "b"], unlabelled=mask)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), *[st.booleans()] * 3), min_size=2, max_size=12
    )
)
def test_only_unlabelled_training_rows_are_exempt(rows):
    speakers, train, test, mask = map(np.array, zip(*rows, strict=True))
    assume(train.any() and test.any())
    tested = set(speakers[test])
    if set(speakers[train & ~mask]) & tested:
        with pytest.raises(ValueError, match="Fold 1"):
            check_speaker_leakage([(train, test)], speakers, unlabelled=mask)
    else:
        found = check_speaker_leakage([(train, test)], speakers, unlabelled=mask)
        assert found.transductive == bool(set(speakers[train & mask]) & tested)


@pytest.mark.parametrize(
    "options",
    [
        {"cv": KFold(3)},
        {"cv": ShuffleSplit(2, random_state=0)},
        {"groups": np.arange(72) % 2},
    ],
)
def test_leakage_is_refused_before_any_fit(corpus, options):
    with pytest.raises(ValueError, match=r"Fold 1: speakers \['s0',.* are in both"):
        speaker_cross_validate(NeverFit(), *corpus, **options)


@pytest.mark.parametrize("by_session", [False, True])
def test_default_leaves_one_group_out(corpus, by_session):
    speakers = corpus[2]
    session = np.array([int(name[1]) // 2 for name in speakers])
    result = speaker_cross_validate(
        DummyClassifier(), *corpus, groups=session if by_session else None
    )
    pairs = [["s0", "s1"], ["s2", "s3"], ["s4", "s5"]]
    expected = pairs if by_session else [[f"s{i}"] for i in range(6)]
    assert [f.test_speakers.tolist() for f in result.folds] == expected


def test_cv_may_be_a_number_a_splitter_or_splits(corpus):
    X, y, speakers = corpus
    splits = list(GroupKFold(3).split(X, y, speakers))
    predefined = np.zeros(72, dtype=int)
    for number, (_, test) in enumerate(splits):
        predefined[test] = number
    for cv in (3, np.int64(3), GroupKFold(3), splits, PredefinedSplit(predefined)):
        result = speaker_cross_validate(DummyClassifier(), *corpus, cv=cv)
        for fold, (train, test) in zip(result.folds, splits, strict=True):
            assert fold.train.tolist() == train.tolist()
            assert fold.test.tolist() == test.tolist()


# --- figures ------------------------------------------------------------------------


def test_figures_equal_hand_computation():
    y = EMOTIONS[[0, 0, 1, 0, 1, 1, 0, 1]]
    speakers = np.array(["p", "p", "p", "q", "q", "q", "r", "r"])
    X = np.array([0, 1, 1, 1, 1, 1, 0, 0])[:, None]
    result = speaker_cross_validate(Echo(), X, y, speakers)
    assert result.predictions.tolist() == EMOTIONS[X[:, 0]].tolist()
    assert [f.uar for f in result.folds] == [0.75, 0.5, 0.5]
    assert [f.wa for f in result.folds] == [2 / 3, 2 / 3, 0.5]
    assert result.confusion.tolist() == [[2, 2], [1, 3]]
    assert result.uar == (2 / 4 + 3 / 4) / 2
    assert result.wa == 5 / 8
    assert result.per_speaker() == {"p": 0.75, "q": 0.5, "r": 0.5}


def test_result_is_consistent(corpus):
    X, y, speakers = corpus
    result = speaker_cross_validate(LogisticRegression(), X, y, speakers, cv=3)
    assert (y[result.rows] == result.y_true).all()
    assert (speakers[result.rows] == result.speakers).all()
    assert sorted(result.rows) == list(range(72))
    assert result.uar == pytest.approx(uar_score(result.y_true, result.predictions))
    assert result.wa == pytest.approx(wa_score(result.y_true, result.predictions))
    assert 0.4 < result.uar < 1
    assert result.confusion.sum() == 72
    assert result.probabilities.shape == (72, 3)
    best = result.classes[result.probabilities.argmax(axis=1)]
    assert (best == result.predictions).all()
    assert result.estimators is None
    for fold in result.folds:
        assert fold.fit_time > 0
        assert fold.score_time > 0
    with pytest.raises(AttributeError):
        result.uar = 1.0


def test_intervals_are_those_of_resampled_speakers(corpus):
    def evaluate(seed, **options):
        model = LogisticRegression()
        return speaker_cross_validate(model, *corpus, random_state=seed, **options)

    options = {"n_bootstrap": 40, "confidence_level": 0.9}
    result, people = evaluate(3, **options), np.unique(corpus[2])
    for score, interval in (
        (uar_score, result.uar_interval),
        (wa_score, result.wa_interval),
    ):

        def figure(index, score=score):
            rows = [np.flatnonzero(result.speakers == people[i]) for i in index]
            rows = np.concatenate(rows)
            return score(result.y_true[rows], result.predictions[rows])

        expected = scipy.stats.bootstrap(
            [np.arange(6)],
            figure,
            n_resamples=40,
            vectorized=False,
            confidence_level=0.9,
            random_state=np.random.default_rng(3),
        ).confidence_interval
        assert interval == pytest.approx(tuple(expected))
    assert evaluate(3, **options).uar_interval == result.uar_interval
    states = [np.random.RandomState(1), np.random.RandomState(1), None, None]
    drawn = [evaluate(state, **options).uar_interval for state in states]
    assert drawn[0] == drawn[1] != drawn[2] != drawn[3]
    assert np.isnan(evaluate(0, n_bootstrap=0).uar_interval).all()


def test_rows_never_tested_are_left_out_and_repeated_ones_count_twice(corpus):
    X, y, speakers = corpus
    is_first, is_last = speakers == "s0", speakers == "s5"
    splits = [(~is_first, is_first), (is_last, is_first)]
    result = speaker_cross_validate(LogisticRegression(), X, y, speakers, cv=splits)
    assert result.rows.tolist() == [*np.flatnonzero(is_first)] * 2
    assert result.confusion.sum() == 24
    # One test speaker says nothing about the spread between speakers.
    assert np.isnan(result.uar_interval).all()
    verdict, *_, note = str(result).splitlines()
    assert verdict.endswith("chance 33.3 %, without an interval over speakers.")
    assert note == "12 recordings: 24 predictions"
    assert result.to_dict()["n_recordings"] == 12


def test_probabilities_are_aligned_to_all_classes():
    y = np.array(["a", "b", "c", "a", "c", "a", "c", "c"])
    speakers = np.array(["p", "p", "p", "q", "q", "r", "r", "r"])
    splits = [([3, 4], [0, 1, 2]), ([0, 1, 2], [5, 6, 7])]
    prior, X = DummyClassifier(strategy="prior"), np.arange(8.0)[:, None]
    result = speaker_cross_validate(prior, X, y, speakers, cv=splits)
    assert result.classes.tolist() == ["a", "b", "c"]
    expected = [[0.5, 0, 0.5]] * 3 + [[1 / 3] * 3] * 3
    np.testing.assert_allclose(result.probabilities, expected)


def test_permuted_rows_leave_the_result_unchanged(corpus):
    X, y, speakers = corpus
    order = np.random.default_rng(1).permutation(72)
    model = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0))
    for cv in (None, 3):
        one = speaker_cross_validate(model, X, y, speakers, cv=cv)
        other = speaker_cross_validate(
            model, X[order], y[order], speakers[order], cv=cv
        )
        assert (one.confusion == other.confusion).all()
        assert one.uar_interval == other.uar_interval
        assert one.per_speaker() == other.per_speaker()
        mapped = dict(zip(order[other.rows], other.predictions, strict=True))
        assert dict(zip(one.rows, one.predictions, strict=True)) == mapped


def test_the_table(corpus):
    X, y, speakers = corpus
    names = {f"s{i}": f"speaker-with-a-long-name-{i}" for i in range(6)}
    speakers = np.array([names[name] for name in speakers])
    trains = speakers == names["s0"]
    result = speaker_cross_validate(
        DummyClassifier(), X, y, speakers, cv=[(trains, ~trains)]
    )
    verdict, kind, head, fold, pooled = str(result).splitlines()
    assert verdict == (
        "UAR 33.3 % [33.3, 33.3], chance 33.3 %: the data do not show that it beats "
        "guessing."
    )
    assert kind == "inductive: no recording of a test speaker was enrolled"
    assert kind in result._repr_html_()
    assert verdict in result._repr_html_()
    assert head.split("  ")[0] == "fold"
    long = "speaker-with-..."
    assert f"{long}, {long}, {long}, +2" in fold
    assert fold.split()[-2:] == ["33.3", "33.3"]
    assert "33.3 [33.3, 33.3]" in pooled
    assert "5 speakers" in pooled
    # One column starts where the one above it starts.
    for text in ("UAR", "WA"):
        place = head.index(text)
        assert fold[place - 2 : place] == pooled[place - 2 : place] == "  "
    copy = pickle.loads(pickle.dumps(result))
    assert isinstance(copy, SpeakerCVResult)
    assert repr(copy) == repr(result) == str(result)


# --- what estimators get ------------------------------------------------------------


def test_columns_of_the_training_rows_reach_who_asks(corpus):
    X, y, speakers = corpus
    weight = np.arange(72.0)
    for model, fit_params in (
        (Recorder(), {"sample_weight": weight}),
        (make_pipeline(StandardScaler(), Recorder()), None),
        (GridSearchCV(make_pipeline(Recorder()), {}, cv=GroupKFold(2)), None),
    ):
        options = {"cv": 3, "return_estimator": True, "fit_params": fit_params}
        result = speaker_cross_validate(model, X, y, speakers, **options)
        for fold, fitted in zip(result.folds, result.estimators, strict=True):
            fitted = getattr(fitted, "best_estimator_", fitted)
            recorder = fitted[-1] if hasattr(fitted, "steps") else fitted
            assert recorder.speakers_.tolist() == speakers[fold.train].tolist()
            assert recorder.y_.tolist() == y[fold.train].tolist()
            if fit_params:
                assert recorder.sample_weight_.tolist() == weight[fold.train].tolist()
            assert not set(recorder.speakers_) & set(fold.test_speakers)
        assert not hasattr(model, "classes_")  # clones are fitted, not the original


def test_probabilities_of_some_folds_alone_are_left_out(corpus):
    """A search may choose a classifier without them in some folds."""

    class Choosing(LogisticRegression):
        def fit(self, X, y):
            self.sure_ = np.mean(X) > np.mean(corpus[0])
            return super().fit(X, y)

        @available_if(lambda self: self.sure_)
        def predict_proba(self, X):
            return super().predict_proba(X)

    result = speaker_cross_validate(Choosing(), *corpus, return_estimator=True)
    assert {model.sure_ for model in result.estimators} == {True, False}
    assert result.probabilities is None


def test_who_does_not_ask_gets_none(corpus):
    # Passing speakers to either would raise a TypeError.
    model = make_pipeline(StandardScaler(), SVC())
    result = speaker_cross_validate(model, *corpus)
    assert result.uar > 0.6
    assert result.probabilities is None
    model = Recorder()
    with sklearn.config_context(enable_metadata_routing=True):
        model.set_fit_request(speakers=False)
    result = speaker_cross_validate(model, *corpus, return_estimator=True)
    assert all(fitted.speakers_ is None for fitted in result.estimators)


def test_a_silent_speakers_argument_is_an_error(corpus):
    class Silent(Recorder):
        __metadata_request__fit: ClassVar = {"speakers": None}

    with pytest.raises(ValueError, match=r"\[speakers\].*Silent.*set_fit_request"):
        speaker_cross_validate(Silent(), *corpus)


def test_groups_under_another_name(corpus):
    class Aliased(Recorder):
        __metadata_request__fit: ClassVar = {"speakers": "groups"}

    X, y, speakers = corpus
    session = np.array([int(name[1]) // 2 for name in speakers])
    result = speaker_cross_validate(
        Aliased(), X, y, speakers, groups=session, return_estimator=True
    )
    for fold, fitted in zip(result.folds, result.estimators, strict=True):
        assert fitted.speakers_.tolist() == session[fold.train].tolist()


def test_transformers_may_ask_for_speakers_in_predict(corpus):
    speakers = corpus[2]
    model = make_pipeline(SpeakerCentring(), LogisticRegression())
    result = speaker_cross_validate(model, *corpus, cv=3, return_estimator=True)
    for fold, fitted in zip(result.folds, result.estimators, strict=True):
        assert fitted[0].transformed_ == fold.test_speakers.tolist()
        assert fitted[0].fitted_ == sorted(set(speakers[fold.train]))
    plain = speaker_cross_validate(LogisticRegression(), *corpus, cv=3)
    assert result.uar > plain.uar


class CountingScaler(StandardScaler):
    """Lists the numbers of rows that it transformed."""

    __metadata_request__transform: ClassVar = {"speakers": True}

    def fit_transform(self, X, y=None, *, speakers=None):
        return self.fit(X).transform(X, speakers=speakers)

    def transform(self, X, *, speakers=None):
        vars(self).setdefault("rows_", []).append(len(X))
        vars(self).setdefault("speakers_", []).append(speakers)
        return super().transform(X)


class Timid(LogisticRegression):
    """Predicts the least probable class: the label is not that of the argmax."""

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmin(axis=1)]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: model,
        lambda model: make_pipeline("passthrough", model),
        lambda model: make_pipeline(
            model[0], make_pipeline(StandardScaler(), model[1])
        ),
        lambda model: GridSearchCV(model, {}, cv=GroupKFold(2)),
    ],
    ids=["bare", "within a pipeline", "before a pipeline", "best of a search"],
)
def test_test_rows_are_transformed_once(corpus, wrap):
    X, _, speakers = corpus
    model = wrap(make_pipeline(CountingScaler(), Timid()))
    result = speaker_cross_validate(model, *corpus, return_estimator=True)
    for fold, fitted in zip(result.folds, result.estimators, strict=True):
        chosen = np.isin(result.rows, fold.test)
        fitted = getattr(fitted, "best_estimator_", fitted)
        scaler = next(
            step
            for name, step in fitted.get_params().items()
            if isinstance(step, CountingScaler)
        )
        assert scaler.rows_ == [len(fold.train), len(fold.test)]
        assert scaler.speakers_[1].tolist() == speakers[fold.test].tolist()
        assert (result.predictions[chosen] == fitted.predict(X[fold.test])).all()
        expected = fitted.predict_proba(X[fold.test])
        np.testing.assert_array_equal(result.probabilities[chosen], expected)


def test_other_estimators_predict_as_they_do(corpus):
    """A pipeline that skips steps in prediction, a threshold, a voting."""

    class Sampling(Pipeline):
        def predict(self, X):
            return self[-1].predict(X)

        def predict_proba(self, X):
            return self[-1].predict_proba(X)

    X, y, speakers = corpus
    voting = VotingClassifier([("a", Timid())], voting="soft")
    for model in (Sampling([("a", StandardScaler()), ("b", Timid())]), voting):
        result = speaker_cross_validate(model, *corpus, return_estimator=True)
        for fold, fitted in zip(result.folds, result.estimators, strict=True):
            found = result.predictions[np.isin(result.rows, fold.test)]
            assert (found == fitted.predict(X[fold.test])).all()
    high = FixedThresholdClassifier(LogisticRegression(), threshold=0.9)
    result = speaker_cross_validate(high, X, y == "joy", speakers)
    assert not np.array_equal(result.predictions, result.probabilities[:, 1] > 0.5)
    assert np.array_equal(result.predictions, result.probabilities[:, 1] >= 0.9)


def test_scalers_see_the_training_rows_only(corpus):
    X = corpus[0]
    model = make_pipeline(RecordingScaler(), LogisticRegression())
    result = speaker_cross_validate(model, *corpus, return_estimator=True)
    for fold, fitted in zip(result.folds, result.estimators, strict=True):
        assert fitted[0].n_rows_ == len(fold.train) == 60
        assert fitted[0].sum_ == pytest.approx(X[fold.train].sum())


def test_grid_search_splits_by_training_speakers(corpus):
    X, y, speakers = corpus
    grid = {"svc__C": [1e-3, 1.0]}
    model = make_pipeline(StandardScaler(), SVC())
    search = GridSearchCV(model, grid, cv=LeaveOneGroupOut(), scoring=uar_scorer)
    result = speaker_cross_validate(search, *corpus, cv=2, return_estimator=True)
    for fold, fitted in zip(result.folds, result.estimators, strict=True):
        assert fitted.n_splits_ == 3  # one inner fold per training speaker
        alone = GridSearchCV(model, grid, cv=LeaveOneGroupOut(), scoring=uar_scorer)
        alone.fit(X[fold.train], y[fold.train], groups=speakers[fold.train])
        assert (
            alone.cv_results_["mean_test_score"].tolist()
            == fitted.cv_results_["mean_test_score"].tolist()
        )
        assert (alone.predict(X[fold.test]) == fitted.predict(X[fold.test])).all()


def test_meta_estimators(corpus):
    for model in (
        OneVsRestClassifier(LogisticRegression()),
        # scikit-learn routes nothing through this one
        AdaBoostClassifier(DecisionTreeClassifier(max_depth=1), n_estimators=3),
        make_pipeline(AdaBoostClassifier(n_estimators=3)),
    ):
        result = speaker_cross_validate(model, *corpus, cv=2)
        assert result.probabilities.shape == (72, 3)


def sequences_of(X):
    return [np.full((2, 3 + i % 4), x.mean()) for i, x in enumerate(X)]


def as_objects(X):
    given = np.empty(len(X), dtype=object)
    given[:] = sequences_of(X)
    return given


class Reader(Recorder):
    """Takes a list of names, each the mean of a row."""

    def fit(self, X, y, *, speakers=None):
        assert isinstance(X, list)
        return super().fit([float(name[:-4]) for name in X], y, speakers=speakers)

    def predict(self, X):
        return super().predict([float(name[:-4]) for name in X])


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (Recorder(), sequences_of),
        (Recorder(), as_objects),
        (Recorder(), lambda X: np.stack([s[:, :3] for s in sequences_of(X)])),
        (Recorder(), lambda X: tuple(sequences_of(X))),
        (Reader(), lambda X: [f"{mean!r}.wav" for mean in X.mean(axis=1).tolist()]),
    ],
    ids=["unequal list", "object", "3-D", "tuple", "paths"],
)
def test_kinds_of_X(corpus, model, kind):
    X, y, speakers = corpus
    result = speaker_cross_validate(model, kind(X), y, speakers)
    means = X.mean(axis=1, keepdims=True)
    expected = speaker_cross_validate(Recorder(), means, y, speakers)
    assert result.predictions.tolist() == expected.predictions.tolist()


# --- the loop -----------------------------------------------------------------------


@pytest.mark.slow
def test_two_jobs_equal_one(corpus, capsys):
    model = make_pipeline(StandardScaler(), LogisticRegression())
    one = speaker_cross_validate(model, *corpus)
    assert capsys.readouterr().err == ""
    two = speaker_cross_validate(model, *corpus, n_jobs=2, verbose=1)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "6/6" in captured.err
    assert str(one) == str(two)
    assert one.rows.tolist() == two.rows.tolist()
    assert one.predictions.tolist() == two.predictions.tolist()
    np.testing.assert_allclose(one.probabilities, two.probabilities)


@pytest.mark.parametrize("routing", [False, True])
def test_global_state_is_untouched(corpus, routing):
    with sklearn.config_context(enable_metadata_routing=routing):
        before = sklearn.get_config()
        np.random.seed(0)  # noqa: NPY002
        state = np.random.get_state()[1].copy()  # noqa: NPY002
        speaker_cross_validate(Recorder(), *corpus, random_state=None)
        assert sklearn.get_config() == before
        with pytest.raises(ValueError, match="n_splits=70"):
            speaker_cross_validate(Recorder(), *corpus, cv=70)
        with pytest.raises(ZeroDivisionError):
            speaker_cross_validate(Failing(), *corpus)
        assert sklearn.get_config() == before
        assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


class Failing(Recorder):
    def predict(self, X):
        return 1 / 0


class Stranger(Recorder):
    def predict(self, X):
        return np.full(len(X), "boredom")


def test_a_failing_fold_is_named(corpus):
    with pytest.raises(ZeroDivisionError) as caught:
        speaker_cross_validate(Failing(), *corpus)
    assert caught.value.__notes__ == ["In fold 1, test speakers: s0."]


def test_labels_that_y_lacks_are_refused(corpus):
    with pytest.raises(ValueError, match=r"Stranger.predict must.*got.*boredom"):
        speaker_cross_validate(Stranger(), *corpus)


def test_a_request_of_an_instance_is_not_that_of_its_class():
    given = {"sample_weight": np.ones(2)}
    with sklearn.config_context(enable_metadata_routing=True):
        weighted = LogisticRegression().set_fit_request(sample_weight=True)
        for model, names in (LogisticRegression(), []), (weighted, ["sample_weight"]):
            for estimator in (model, Pipeline([("last", model)])):
                for _ in range(2):  # the second answer may be remembered
                    assert [*requested(estimator, "fit", {}, given)] == names


class Doubter(DummyClassifier):
    """A classifier without a probability for one row."""

    def predict_proba(self, X):
        proba = super().predict_proba(X)
        proba[2, 1] = np.nan
        return proba


def test_probabilities_without_a_number_are_refused(corpus):
    said = r"Doubter\.predict_proba must give a number .* nan.* in row 2 of 12"
    with pytest.raises(ValueError, match=said):
        speaker_cross_validate(Doubter(), *corpus)
    with pytest.raises(ValueError, match=said) as caught:
        compare({"mine": Doubter()}, *corpus)
    assert "In method 'mine', seed 0." in caught.value.__notes__


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": ["joy"] * 71}, "X has 72, y has 71, speakers has 72, groups has 72"),
        ({"speakers": ["a", "b"]}, "y has 72, speakers has 2"),
        ({"groups": [1, 2, 3]}, "groups has 3"),
        ({"X": np.zeros((7, 1))}, "X has 7, y has 72"),
        ({"fit_params": {"sample_weight": [1.0]}}, "sample_weight has 1"),
        (
            {"speakers": [None] + ["a", "b"] * 35 + ["a"]},
            "speakers has 1 missing.*row 0",
        ),
        (
            {"y": ["joy", float("nan")] * 36},
            "y has 36 missing values, the first at row 1",
        ),
        ({"y": np.full(72, np.nan)}, "y has 72 missing"),
        ({"y": ["joy"] * 72}, r"y has one class only \('joy'\)"),
        ({"y": ["joy", 1] * 36}, r"y mixes kinds of values: y\[1\] is 1 of type int"),
        ({"speakers": [b"a", 1] * 36}, r"speakers\[1\] is 1 of type int, .* bytes"),
        ({"y": [["joy"]] * 72}, "y must be 1-D"),
        ({"y": np.linspace(0, 1, 72)}, "continuous"),
        ({"speakers": ["ann"] * 72}, r"one speaker only, \['ann'\]"),
        ({"n_bootstrap": -1}, "n_bootstrap"),
        ({"confidence_level": 95}, "confidence_level must be between 0 and 1, got 95"),
        ({"cv": 7}, "^cv: .*n_splits=7"),
        ({"cv": 1}, "^cv: .*n_splits=1"),
        ({"checkpoint_dir": ""}, "checkpoint_dir is empty"),
        ({"cv": "loso"}, "Expected `?cv`? as an integer"),
        ({"cv": []}, "at least one fold"),
    ],
)
def test_errors(corpus, changes, message):
    X, y, speakers = corpus
    arguments = {"X": X, "y": y, "speakers": speakers, **changes}
    with pytest.raises(ValueError, match=message):
        speaker_cross_validate(NeverFit(), **arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimator": None}, "estimator must be an instance"),
        ({"estimator": LogisticRegression}, "estimator must be an instance"),
        ({"estimator": "svm"}, "estimator must be an instance"),
        ({"confidence_level": "0.95"}, "confidence_level must be an instance of float"),
        ({"fit_params": {"sample_weight": None}}, "sample_weight: "),
        ({"X": None}, r"^X: "),
    ],
)
def test_arguments_of_a_wrong_type_are_named(corpus, changes, message):
    names = "estimator", "X", "y", "speakers"
    given = dict(zip(names, (NeverFit(), *corpus), strict=True)) | changes
    with pytest.raises(TypeError, match=message):
        speaker_cross_validate(**given)
    if "fit_params" not in changes:
        with pytest.raises(TypeError, match=message):
            cross_corpus_validate(**given, corpora=corpus[2])


def test_columns_of_pandas(corpus):
    pd = pytest.importorskip("pandas")
    X, y, speakers = corpus
    names = pd.Series(speakers, dtype="string")
    frame, model = pd.DataFrame(X, index=range(100, 172)), LogisticRegression()
    result = speaker_cross_validate(model, frame, pd.Series(y), names)
    assert result.speakers.tolist() == sorted(speakers)
    expected = speaker_cross_validate(model, *corpus)
    assert result.predictions.tolist() == expected.predictions.tolist()
    names[3] = pd.NA
    with pytest.raises(ValueError, match=r"speakers has 1 missing.*row 3"):
        speaker_cross_validate(NeverFit(), X, y, names)


def test_an_ignored_groups_argument_warns_only_if_given(corpus):
    X, y, speakers = corpus
    cv = PredefinedSplit([int(name[1]) for name in speakers])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        speaker_cross_validate(DummyClassifier(), X, y, speakers, cv=cv)
    assert not caught
    with pytest.warns(UserWarning, match="groups parameter is ignored"):
        speaker_cross_validate(
            DummyClassifier(), X, y, speakers, cv=cv, groups=speakers
        )


def test_probabilities_of_python_floats_and_those_that_are_not_finite():
    value = 0.5

    class Half(DummyClassifier):
        def predict_proba(self, X):
            return np.full((len(X), 2), value, dtype=object)

    X, y, speakers = np.zeros((8, 1)), ["a", "b"] * 4, np.repeat(["u", "v"], 4)
    result = speaker_cross_validate(Half(), X, y, speakers)
    assert (result.probabilities == np.full((8, 2), 0.5)).all()
    value = np.nan
    with pytest.raises(ValueError, match=r"got \[nan, nan\] in row 0 of 4"):
        speaker_cross_validate(Half(), X, y, speakers)
