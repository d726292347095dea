"""Unheard sentences: the split by speaker and sentence, and its evaluation."""

import pickle
import warnings
from typing import ClassVar

import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    check_cv,
    cross_val_predict,
    cross_validate,
)
from sklearn.pipeline import make_pipeline

from sklearn_ser import SpeakerNormalizer
from sklearn_ser.metrics import uar_score
from sklearn_ser.model_selection import (
    SpeakerTextKFold,
    cross_corpus_validate,
    speaker_cross_validate,
)

N = 96


@pytest.fixture
def data():
    """Six speakers say four sentences in two emotions, twice; X tells the sentence."""
    rng = np.random.default_rng(0)
    speakers, rest = np.divmod(np.arange(N), 16)
    texts, y = np.array(["I", "am", "not", "here"])[rest % 4], rest // 4 % 2
    # The answer depends on the sentence: unheard, it is a guess.
    X = np.column_stack([texts == text for text in np.unique(texts)] * 2).astype(float)
    X[:, :4] *= np.where(y == 1, 1, -1)[:, None]
    X += rng.normal(scale=0.1, size=X.shape)
    return X, np.array(["anger", "joy"])[y], np.array(list("abcdef"))[speakers], texts


# --- the splitter -------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=6, max_size=40),
    st.sampled_from([None, 2, 3]),
    st.sampled_from([None, 2, 3]),
    st.booleans(),
)
def test_no_speaker_or_sentence_is_shared_and_each_row_is_tested_once(
    rows, n_speakers, n_texts, shuffle
):
    speakers, texts = np.array(rows).T
    cv = SpeakerTextKFold(n_speakers, n_texts, shuffle=shuffle, random_state=3)
    try:
        splits = list(cv.split(rows, None, speakers, texts))
    except ValueError as error:
        too_few = (
            len(set(speakers)) < (n_speakers or 2),
            len(set(texts)) < (n_texts or 2),
        )
        assert any(too_few) or "no row of other" in str(error)  # noqa: PT017
        return
    tested = np.concatenate([test for _, test in splits])
    assert sorted(tested) == list(range(len(rows)))
    assert cv.get_n_splits(rows, None, speakers, texts) == len(splits)
    for train, test in splits:
        heard = np.isin(speakers, speakers[test]), np.isin(texts, texts[test])
        assert not (heard[0] | heard[1])[train].any()
    again = list(cv.split(rows, None, speakers, texts))
    assert all(map(np.array_equal, [b for _, b in splits], [b for _, b in again]))


@pytest.mark.parametrize("routing", [False, True])
def test_it_splits_for_scikit_learn(data, routing):
    X, y, speakers, texts = data
    cv = SpeakerTextKFold(3, 2)
    columns = {"groups": speakers, "texts": texts}
    expected = np.empty(N, dtype=y.dtype)
    for train, test in cv.split(X, y, **columns):
        assert len(train) == N * 2 / 3 / 2  # all of other speakers and sentences
        expected[test] = LogisticRegression().fit(X[train], y[train]).predict(X[test])
    with sklearn.config_context(enable_metadata_routing=routing):
        if routing:
            given, fit = {"params": columns}, columns
        else:
            both = np.column_stack([speakers, texts])
            given = fit = {"groups": both}
        found = cross_val_predict(LogisticRegression(), X, y, cv=cv, **given)
        scores = cross_validate(LogisticRegression(), X, y, cv=cv, **given)
        search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=cv)
        search.fit(X, y, **fit)
    assert found.tolist() == expected.tolist()
    assert len(scores["test_score"]) == search.n_splits_ == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": ["I"] * 3}, f"groups has {N}, texts has 3"),
        ({"texts": ["I"] * N}, r"texts holds fewer than two sentences, \['I'\]"),
        ({"texts": [None] * N}, r"texts holds fewer than two sentences, \[\]"),
        ({"texts": None}, r"texts must hold .* got None.*np.column_stack"),
        ({"groups": None}, "groups must hold the speaker of each row, got None"),
        ({"groups": ["a"] * N}, "groups holds 1 speakers, but n_speaker_splits=1"),
        (
            {"n_text_splits": 5},
            "holds 4 sentences, but n_text_splits=5 needs .* 2 to 4",
        ),
        ({"n_text_splits": 1}, "holds 4 sentences, but n_text_splits=1"),
        ({"n_speaker_splits": 7}, "holds 6 speakers, but n_speaker_splits=7"),
        ({"y": ["joy"] * 3}, f"y has 3, groups has {N}"),
        ({"texts": [["I"]] * N}, "texts must be 1-D, one per row; got 2-D"),
        ({"y": ["joy"] * 90 + ["fear"] * 6}, r"Fold \d+: no training row .*\['fear'\]"),
    ],
)
def test_what_cannot_be_split_is_told_before_a_fit(data, changes, message):
    X, y, speakers, texts = data
    columns = {"y": y, "groups": speakers, "texts": texts} | changes
    params = {k: columns.pop(k) for k in list(columns) if k.endswith("splits")}
    cv = SpeakerTextKFold(**{"n_text_splits": 2} | params)
    with pytest.raises(ValueError, match=message):
        cv.split(X, **columns)


@pytest.mark.parametrize(
    ("name", "value"), [("n_speaker_splits", "3"), ("n_text_splits", 2.5)]
)
def test_numbers_of_folds_are_integers(data, name, value):
    _, y, speakers, texts = data
    with pytest.raises(TypeError, match=f"{name} must be an instance of int"):
        SpeakerTextKFold(**{name: value}).split(y, y, speakers, texts)


def test_it_follows_the_conventions_of_splitters(data):
    pd = pytest.importorskip("pandas")
    _, y, speakers, texts = data
    cv = SpeakerTextKFold(3, 2, shuffle=True, random_state=0)
    assert check_cv(cv) is cv
    both = pd.DataFrame({"who": speakers, "text": texts}, index=range(7, 7 + N))
    found = list(
        pickle.loads(pickle.dumps(cv)).split(y, pd.Series(y, index=both.index), both)
    )
    for (train, test), *others in zip(
        found,
        cv.split(y, y, speakers, texts),
        cv.split(None, y, list(zip(speakers, texts, strict=True))),
        strict=True,
    ):
        assert train.dtype.kind == test.dtype.kind == "i"
        for other in others:
            assert [train.tolist(), test.tolist()] == [o.tolist() for o in other]
    free = SpeakerTextKFold(3, 2, shuffle=True)
    draws = [str(list(free.split(y, y, speakers, texts))) for _ in range(5)]
    assert len(set(draws)) > 1
    with pytest.raises(ValueError, match="groups must hold the speaker"):
        cv.get_n_splits()


@pytest.mark.parametrize("missing", [None, float("nan"), "", "  "])
def test_a_row_without_a_text_is_a_sentence_of_its_own(data, missing):
    X, y, speakers, texts = data
    texts = texts.astype(object)
    texts[[3, 40]] = missing
    cv = SpeakerTextKFold(2, None)
    with pytest.warns(UserWarning, match="2 missing values, the first at row 3") as all:
        splits = list(cv.split(X, y, speakers, texts))
    assert len(all) == 1
    alone = [test for _, test in splits if len(test) == 1]
    assert sorted(np.concatenate(alone)) == [3, 40]


# --- the evaluation -----------------------------------------------------------------


class Asks(ClassifierMixin, BaseEstimator):
    """Keeps the rows of its fits, which the last feature numbers."""

    __metadata_request__fit: ClassVar = {"texts": True}
    rows: ClassVar = []

    def fit(self, X, y, *, texts=None):
        self.rows.append((X[:, -1].astype(int), texts))
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def test_both_figures_and_their_difference(data):
    X, y, speakers, texts = data
    plain = speaker_cross_validate(LogisticRegression(), X, y, speakers)
    result = speaker_cross_validate(
        LogisticRegression(), X, y, speakers, texts=texts, control=True
    )
    assert result.predictions.tolist() == plain.predictions.tolist()
    unheard, control = result.unheard_texts, result.control
    assert result.uar == 1 > control.uar - 0.2 > unheard.uar
    for other in (unheard, control):
        assert sorted(other.rows) == list(range(N))
        assert other.uar == uar_score(y[other.rows], other.predictions)
        assert set(other.speakers) == set(speakers)
    difference, (low, high) = result.text_differences["heard"]
    assert difference == pytest.approx(unheard.uar - 1)
    assert low <= difference <= high < 0
    assert result.text_differences["control"][0] == unheard.uar - control.uar
    _, said, controlled, *_ = str(result).splitlines()
    figure = f"{100 * unheard.uar:.1f} %"
    assert said.startswith(f"On unheard sentences, too, UAR {figure}")
    assert f"difference {100 * difference:+.1f} points [" in said
    assert f"UAR {100 * control.uar:.1f} %" in controlled
    values = result.to_dict()
    assert values["unheard_texts"]["uar"] == unheard.uar
    assert values["text_differences"]["heard"]["difference"] == difference
    assert said in result.summary().verdict
    for each, says in (
        (result, "the test sentences are in the training data of other speakers"),
        (unheard, "the training data have none of the test sentences"),
        (control, "control: the test sentences are in the training data"),
    ):
        assert says in str(each)
        assert f"'{each.sentences}'" in repr(each.to_dict())
    assert plain.to_dict()["sentences"] is None


@pytest.mark.parametrize("cv", [None, 3, SpeakerTextKFold(3, 2)])
def test_rows_of_each_fit(data, cv):
    _, y, speakers, texts = data
    X = np.arange(N)[:, None]
    Asks.rows.clear()
    result = speaker_cross_validate(
        Asks(), X, y, speakers, texts=texts, control=True, cv=cv
    )
    n_folds, n_texts = (6 if cv is None else 3), 2 if cv and cv != 3 else 4
    unheard, control = result.unheard_texts.folds, result.control.folds
    assert (len(result.folds), len(unheard)) == (n_folds, n_folds * n_texts)
    assert len(Asks.rows) == n_folds * (1 + 2 * n_texts)
    for fold, (rows, known) in zip(result.folds, Asks.rows, strict=False):
        assert rows.tolist() == fold.train.tolist()
        assert len(np.unique(known)) == 4
    for fold, other in zip(unheard, control, strict=True):
        assert fold.test.tolist() == other.test.tolist()
        assert not {*texts[fold.train]} & {*texts[fold.test]}
        assert {*texts[fold.test]} <= {*texts[other.train]}
        for part in (fold, other):
            assert not {*speakers[part.train]} & {*speakers[part.test]}
        for emotion in np.unique(y):
            n = [(y[part.train] == emotion).sum() for part in (fold, other)]
            assert n[0] == n[1]


@pytest.mark.parametrize("enrollment", [2, "all"])
def test_enrolment_takes_recordings_of_other_sentences(data, enrollment):
    X, y, speakers, texts = data
    model = make_pipeline(SpeakerNormalizer(), LogisticRegression())
    result = speaker_cross_validate(
        model, X, y, speakers, texts=texts, enrollment=enrollment, cv=3
    )
    unheard = result.unheard_texts
    assert unheard.kind == result.kind
    n_draws = 3 if enrollment == 2 else 1
    assert len(unheard.rows) == N * n_draws
    for fold in unheard.folds:
        assert len(fold.enrolled) == n_draws
        for rows in fold.enrolled:
            assert {*speakers[rows]} == {*fold.test_speakers}
            if enrollment == 2:
                assert len(rows) == 4
                assert not {*texts[rows]} & {*texts[fold.test]}


def test_a_search_inside_splits_by_sentence_too(data):
    X, y, speakers, texts = data
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(LogisticRegression(), {}, cv=SpeakerTextKFold(2, 2))
    result = speaker_cross_validate(
        search, X, y, speakers, texts=texts, cv=GroupKFold(3), return_estimator=True
    )
    assert {model.n_splits_ for model in result.estimators} == {4}
    assert {model.n_splits_ for model in result.unheard_texts.estimators} == {4}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"control": True}, "control=True needs texts"),
        ({"cv": SpeakerTextKFold()}, "SpeakerTextKFold needs texts"),
        ({"texts": ["I"]}, "texts has 1"),
        ({"texts": ["I"] * N}, "fewer than two sentences"),
        ({"texts": list("ab") * 48, "cv": SpeakerTextKFold()}, "n_text_splits=5"),
        ({"texts": list("ab") * 48}, "no training row"),
    ],
)
def test_errors_come_before_a_fit(data, options, message):
    X, y, speakers, _ = data
    y = np.tile(["joy", "fear"], 48)
    Asks.rows.clear()
    with pytest.raises(ValueError, match=message):
        speaker_cross_validate(Asks(), X, y, speakers, **options)
    assert not Asks.rows


def test_missing_texts_are_told_once(data):
    X, y, speakers, texts = data
    texts = [*texts[:-1], None]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = speaker_cross_validate(DummyClassifier(), X, y, speakers, texts=texts)
    assert len(caught) == 1
    assert sum("texts has 1 missing values" in each for each in result.remarks()) == 1


def test_spellings_of_a_sentence_are_one_sentence():
    speakers, texts = np.repeat(list("abcd"), 6), np.tile(["Ja", "nein", "ja "], 8)
    split = SpeakerTextKFold(2, 2).split(np.zeros(24), groups=speakers, texts=texts)
    plain = np.char.lower(np.char.strip(texts))
    for train, test in split:
        assert not {*plain[train]} & {*plain[test]}
    texts = ["Ja, ja.", "ja\u00a0ja"] * 12
    with pytest.raises(ValueError, match="fewer than two sentences"):
        SpeakerTextKFold(2, 2).split(speakers, None, speakers, texts)


# --- across corpora -----------------------------------------------------------------

PAIR = {"transfers": [("one", "two")], "n_bootstrap": 50}


@pytest.fixture
def corpora(data):
    """Two corpora of three speakers each, which share two of four sentences."""
    X, y, speakers, texts = data
    corpora = np.where(speakers < "d", "one", "two")
    lone = (corpora == "two") & np.isin(texts, ["I", "am"])
    texts = np.where(lone, np.char.add(texts, "x"), texts)
    return np.column_stack([X, np.arange(N)]), y, corpora, speakers, texts


class Adapts(Asks):
    """Asks, on labelled and unlabelled rows."""

    __metadata_request__fit: ClassVar = {"texts": True, "sample_domain": True}

    def fit(self, X, y, *, texts=None, sample_domain=None):
        super().fit(X[y != ""], y[y != ""], texts=texts)
        self.rows[-1] = (self.rows[-1][0], X[y == "", -1].astype(int))
        return self

    def predict(self, X):
        self.rows[-1] += (X[:, -1].astype(int),)
        return super().predict(X)


@pytest.mark.parametrize("control", [False, True])
def test_corpora_that_share_a_script_have_both_figures(corpora, control):
    X, y, where, speakers, texts = corpora
    model, options = LogisticRegression(max_iter=1000), PAIR | {"control": control}
    plain = cross_corpus_validate(model, X[:, :-1], y, where, speakers, **PAIR)
    result = cross_corpus_validate(
        model, X[:, :-1], y, where, speakers, texts=texts, **options
    )
    (heard,), (unheard,) = result.transfers, result.unheard_texts.transfers
    assert heard.predictions.tolist() == plain.transfers[0].predictions.tolist()
    assert heard.test.tolist() == unheard.test.tolist()
    is_shared = np.isin(texts[heard.test], ["not", "here"])
    own = ~is_shared
    assert heard.predictions[own].tolist() == unheard.predictions[own].tolist()
    assert heard.probabilities[own].tolist() == unheard.probabilities[own].tolist()
    hits = [t.predictions == y[t.test] for t in (heard, unheard)]
    assert hits[0][is_shared].mean() > 0.9 > 0.7 > hits[1][is_shared].mean()
    difference, (low, high) = result.text_differences["heard"]
    assert difference == pytest.approx(result.unheard_texts.uar - result.uar)
    assert low <= difference <= high
    assert any("On unheard sentences, too, UAR" in line for line in result.verdict())
    for each in (result, result.unheard_texts, result.control)[: 2 + control]:
        assert each.to_dict()["sentences"] == each.sentences
        assert each.sentences in ("heard", "unheard") or "control: " in str(each)
    assert result.to_dict()["unheard_texts"]["uar"] == result.unheard_texts.uar
    assert (result.control is not None) == control
    assert plain.unheard_texts is None
    assert plain.to_dict()["sentences"] is None


@pytest.mark.parametrize("mode", ["transductive", "inductive", "source-only"])
def test_rows_of_each_fit_across_corpora(corpora, mode):
    X, y, where, speakers, texts = corpora
    Asks.rows.clear()
    result = cross_corpus_validate(
        *(Adapts(), X, y, where, speakers),
        **PAIR | {"texts": texts, "control": True, "mode": mode},
    )
    (heard,) = result.transfers
    # In the inductive mode, other speakers of the target have its sentences, too.
    n_folds = 4 if mode == "inductive" else 2
    assert len(Asks.rows) == 1 + 2 * n_folds
    first, *rest = Asks.rows
    rows = heard.train, heard.adapt, heard.test
    assert list(map(list, first)) == list(map(list, rows))
    unheard = set()
    for cell, kept in zip(rest[:n_folds], rest[n_folds:], strict=True):
        assert cell[2].tolist() == kept[2].tolist()
        own = texts[cell[2]]
        unheard |= {*own}
        assert not np.isin(texts[cell[0]], own).any()
        assert np.isin(own, texts[np.concatenate(kept[:2])]).all()
        assert sorted(y[cell[0]]) == sorted(y[kept[0]])
        assert len(cell[1]) == len(kept[1])
        if mode == "transductive":
            assert cell[1].tolist() == kept[1].tolist() == heard.test.tolist()
        else:
            assert not np.isin(texts[cell[1]], own).any()
    words = {"not", "here"} | ({"Ix", "amx"} if mode == "inductive" else set())
    assert unheard == words


def test_permuted_target_labels_change_no_prediction_on_unheard_sentences(corpora):
    X, y, where, speakers, texts = corpora
    found = []
    for seed in (0, 1):
        labels, rows = y.copy(), np.flatnonzero(where == "two")
        labels[rows] = np.random.default_rng(seed).permutation(y[rows])
        result = cross_corpus_validate(
            *(LogisticRegression(max_iter=1000), X[:, :-1], labels, where, speakers),
            **PAIR | {"texts": texts, "control": True},
        )
        found.append([result.unheard_texts.transfers[0], result.control.transfers[0]])
    for one, other in zip(*found, strict=True):
        assert one.predictions.tolist() == other.predictions.tolist()
        assert one.uar != other.uar


def test_a_transfer_without_a_shared_sentence_is_told(corpora, tmp_path):
    X, y, where, speakers, texts = corpora
    where = np.where(speakers == "f", "three", where)
    texts = np.where(where == "three", "another", texts)
    arguments = DummyClassifier(), X, y, where, speakers
    options = {"texts": texts, "n_bootstrap": 0, "checkpoint_dir": tmp_path}
    result = cross_corpus_validate(*arguments, **options)
    told = [each for each in result.remarks() if each.startswith("texts")]
    assert len(told) == 4
    assert "no test sentence of one to three is in the training data" in told[0]
    assert len(result.unheard_texts.transfers) == 6
    again = cross_corpus_validate(*arguments, **options)
    assert again.to_dict() == result.to_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"control": True}, "control=True needs texts"),
        ({"texts": ["I"]}, "texts has 1"),
        ({"texts": ["I"] * N}, "fewer than two sentences"),
        ({"texts": np.arange(N)}, "no test recording of a transfer has its sentence"),
        ({"texts": ["I"] * 90 + ["am"] * 6}, "Transfer one to two: no training row"),
    ],
)
def test_errors_across_corpora_come_before_a_fit(corpora, options, message):
    X, y, where, speakers, _ = corpora
    Asks.rows.clear()
    with pytest.raises(ValueError, match=message):
        cross_corpus_validate(Asks(), X, y, where, speakers, **PAIR | options)
    assert not Asks.rows
