import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score
from sklearn.model_selection import cross_val_score

from sklearn_ser.metrics import uar_score, uar_scorer, wa_score, wa_scorer
from sklearn_ser.metrics._bootstrap import (
    bootstrap_speakers,
    confusion_uar,
    confusion_wa,
    speaker_confusions,
)

EMOTIONS = ["anger", "joy", "neutral", "sadness"]
pairs = st.lists(
    st.tuples(st.sampled_from(EMOTIONS), st.sampled_from(EMOTIONS)), min_size=1
)


@given(pairs)
def test_uar_equals_scikit_learn(pairs):
    y_true, y_pred = map(np.array, zip(*pairs, strict=True))
    present = np.unique(y_true)
    uar = uar_score(y_true, y_pred)
    expected = recall_score(
        y_true, y_pred, labels=present, average="macro", zero_division=0
    )
    np.testing.assert_allclose(uar, expected)
    with warnings.catch_warnings():
        # It warns of predicted classes that y_true lacks, and of a single class.
        warnings.simplefilter("ignore", UserWarning)
        np.testing.assert_allclose(uar, balanced_accuracy_score(y_true, y_pred))
    assert wa_score(y_true, y_pred) == accuracy_score(y_true, y_pred)


@given(pairs, st.integers(0, 2**32 - 1))
def test_uar_with_weights_equals_scikit_learn(pairs, seed):
    y_true, y_pred = map(np.array, zip(*pairs, strict=True))
    weight = np.random.default_rng(seed).uniform(0.1, 2, len(y_true))
    expected = recall_score(
        y_true,
        y_pred,
        labels=np.unique(y_true),
        average="macro",
        sample_weight=weight,
    )
    np.testing.assert_allclose(
        uar_score(y_true, y_pred, sample_weight=weight), expected
    )


@given(pairs)
def test_scores_of_confusions_equal_scores_of_labels(pairs):
    y_true, y_pred = map(np.array, zip(*pairs, strict=True))
    speakers = np.arange(len(y_true)) % 3
    names, counts = speaker_confusions(y_true, y_pred, speakers, EMOTIONS)
    for name, own in zip(names, counts, strict=True):
        rows = speakers == name
        np.testing.assert_allclose(
            confusion_uar(own), uar_score(y_true[rows], y_pred[rows])
        )
        np.testing.assert_allclose(
            confusion_wa(own), wa_score(y_true[rows], y_pred[rows])
        )
    np.testing.assert_allclose(
        confusion_uar(counts.sum(axis=0)), uar_score(y_true, y_pred)
    )


def test_uar_by_hand():
    y_true = ["a", "a", "a", "a", "b", "b"]
    y_pred = ["a", "a", "a", "b", "b", "a"]
    assert uar_score(y_true, y_pred) == (3 / 4 + 1 / 2) / 2
    assert wa_score(y_true, y_pred) == 4 / 6


def test_classes_absent_from_y_true_do_not_count():
    # Warnings are errors here: none may come from "c" or "d".
    assert uar_score(["a", "a", "b"], ["a", "c", "b"]) == 0.75
    assert uar_score(["a", "b"], ["a", "b"], labels=["a", "b", "d"]) == 1.0


def test_labels_select_the_classes_of_the_task():
    y_true, y_pred = ["a", "a", "b", "c"], ["a", "b", "b", "a"]
    assert uar_score(y_true, y_pred) == 0.5
    assert uar_score(y_true, y_pred, labels=["a", "b"]) == 0.75


def test_a_class_of_zero_weight_counts_as_absent():
    assert uar_score([0, 0, 1], [0, 0, 0], sample_weight=[1, 1, 0]) == 1.0
    assert uar_score([0, 0, 1], [0, 1, 0], sample_weight=[3, 1, 1]) == 0.375


def test_integers_and_series_are_labels_too():
    pd = pytest.importorskip("pandas")
    y_true = pd.Series(["a", "b"], index=[7, 3], dtype="category")
    assert uar_score(y_true, np.array(["a", "b"], dtype=object)) == 1.0
    assert uar_score([2, 3], np.array([3, 3])) == 0.5


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (([], []), {}, "y_true is empty"),
        ((["a"], ["a", "b"]), {}, "inconsistent numbers of samples"),
        ((["a", "b"], [0, 1]), {}, "Mix of label input types"),
        (([0.5, 1.5], [0.5, 1.5]), {}, "continuous"),
        (([[0, 1], [1, 1]], [0, 1]), {}, "1d array"),
        ((["a"], ["a"]), {"labels": ["b"]}, r"labels=\['b'\]"),
        ((["a"], ["a"]), {"sample_weight": [-1.0]}, "sample_weight"),
        ((["a"], ["a"]), {"sample_weight": [np.nan]}, "sample_weight"),
        ((["a"], ["a"]), {"sample_weight": [1, 1]}, "inconsistent numbers"),
    ],
)
def test_errors(args, kwargs, message):
    with pytest.raises(ValueError, match=message):
        uar_score(*args, **kwargs)


def test_scorers_score():
    X, y = np.zeros((9, 1)), np.array([0, 0, 1] * 3)
    majority = DummyClassifier()
    assert (
        cross_val_score(majority, X, y, cv=3, scoring=uar_scorer).tolist() == [0.5] * 3
    )
    np.testing.assert_allclose(
        cross_val_score(majority, X, y, cv=3, scoring=wa_scorer), 2 / 3
    )


def test_bootstrap_is_that_of_resampled_speakers():
    """SciPy's own, on statistics that are computed the slow way."""
    counts = np.random.default_rng(3).integers(0, 9, (5, 3, 3))
    statistics = [
        lambda pool: np.mean(np.diag(pool) / pool.sum(axis=1)),
        lambda pool: np.trace(pool) / pool.sum(),
    ]
    found = bootstrap_speakers(counts, 500, 0.9, 0)
    for statistic, interval in zip(statistics, found, strict=True):
        expected = scipy.stats.bootstrap(
            [np.arange(5)],
            lambda index, statistic=statistic: statistic(counts[index].sum(axis=0)),
            n_resamples=500,
            confidence_level=0.9,
            random_state=np.random.default_rng(0),
        ).confidence_interval
        np.testing.assert_allclose(interval, expected)


def test_bootstrap_leaves_the_global_generator_alone():
    counts = np.random.default_rng(0).integers(1, 99, (9, 3, 3))
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = bootstrap_speakers(counts, 100, 0.95, None)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert first != bootstrap_speakers(counts, 100, 0.95, None)
    states = [np.random.RandomState(1) for _ in range(2)]
    intervals = [bootstrap_speakers(counts, 100, 0.95, state) for state in states]
    assert intervals[0] == intervals[1]


def test_one_speaker_or_no_draw_has_no_interval():
    counts = np.ones((2, 3, 3), dtype=int)
    # Where all samples are alike, so are the ends.
    assert bootstrap_speakers(counts, 100, 0.95, 0) == ((1 / 3, 1 / 3),) * 2
    for intervals in (
        bootstrap_speakers(counts[:1], 100, 0.95, 0),
        bootstrap_speakers(counts, 0, 0.95, 0),
    ):
        assert np.isnan(intervals).all()
