"""UAR and WA are scikit-learn's scores, over the classes that the task has."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score
from sklearn.model_selection import cross_val_score

from sklearn_ser.metrics import uar_score, uar_scorer, wa_score, wa_scorer

EMOTIONS = st.sampled_from(["anger", "joy", "neutral", "sadness"])


@given(st.lists(st.tuples(EMOTIONS, EMOTIONS, st.floats(0.1, 2)), min_size=1))
def test_scores_equal_those_of_scikit_learn(rows):
    y_true, y_pred, weight = map(np.array, zip(*rows, strict=True))
    labels = np.unique(y_true)
    for options in ({}, {"sample_weight": weight}):
        uar = uar_score(y_true, y_pred, **options)
        macro = {"labels": labels, "average": "macro", "zero_division": 0}
        assert uar == pytest.approx(recall_score(y_true, y_pred, **macro, **options))
        with warnings.catch_warnings():
            # It warns of predicted classes that y_true lacks, and of a single class.
            warnings.simplefilter("ignore", UserWarning)
            assert uar == pytest.approx(
                balanced_accuracy_score(y_true, y_pred, **options)
            )
        expected = accuracy_score(y_true, y_pred, **options)
        assert wa_score(y_true, y_pred, **options) == expected


@pytest.mark.parametrize(
    ("y_true", "y_pred", "options", "uar"),
    [
        ("aaaabb", "aaabba", {}, (3 / 4 + 1 / 2) / 2),
        # Warnings are errors here: none may come from "c" or "d".
        ("aab", "acb", {}, 0.75),
        ("ab", "ab", {"labels": ["a", "b", "d"]}, 1.0),
        ("aabc", "abba", {}, 0.5),
        ("aabc", "abba", {"labels": ["a", "b"]}, 0.75),
        ("aab", "aaa", {"sample_weight": [1, 1, 0]}, 1.0),
        ("aab", "aba", {"sample_weight": [3, 1, 1]}, 0.375),
    ],
)
def test_uar_by_hand(y_true, y_pred, options, uar):
    assert uar_score(list(y_true), list(y_pred), **options) == uar


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
