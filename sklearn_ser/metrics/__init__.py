"""The scores of the field, UAR and WA, and probes of an embedding."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, unique_labels

from .._validation import shown
from ._bootstrap import mean_recall
from ._calibration import expected_calibration_error
from ._probes import ProbeScore, emotion_probe_score, speaker_probe_score

__all__ = [
    "ProbeScore",
    "emotion_probe_score",
    "expected_calibration_error",
    "speaker_probe_score",
    "uar_score",
    "uar_scorer",
    "wa_score",
    "wa_scorer",
]


def uar_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Unweighted average recall (UAR): the mean of the recalls of the classes.

    The mean is over the classes that occur in `y_true`. So there is no warning and no
    division by zero if a fold lacks a class that is predicted. In this case
    :func:`sklearn.metrics.balanced_accuracy_score` warns, and
    ``recall_score(average="macro")`` counts the class with recall zero.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        The true emotions.
    y_pred : array-like of shape (n_samples,)
        The predicted emotions.
    labels : array-like of shape (n_labels,), default=None
        The classes of the task. Samples of other classes do not count. By default, the
        classes are those in `y_true`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples within their class. A class of total weight zero
        counts as absent.

    Returns
    -------
    uar : float
        Between 0 and 1. A constant prediction has 1 / n_classes.

    Raises
    ------
    ValueError
        If lengths differ, if strings and numbers are mixed, if a weight is negative
        or if no class of the task occurs in `y_true`.

    See Also
    --------
    wa_score : The share of correct predictions.

    Examples
    --------
    >>> from sklearn_ser.metrics import uar_score
    >>> uar_score(["sad", "sad", "sad", "angry"], ["sad", "sad", "angry", "angry"])
    0.8333333333333333
    >>> uar_score(["sad", "sad"], ["sad", "bored"])
    0.5
    """
    y_true, y_pred = column_or_1d(y_true), column_or_1d(y_pred)
    check_consistent_length(y_true, y_pred, sample_weight)
    if not len(y_true):
        raise ValueError("y_true is empty: UAR needs at least one sample.")
    check_classification_targets(y_true)
    unique_labels(y_true, y_pred)  # refuses strings mixed with numbers
    if sample_weight is None:
        weight = np.ones(len(y_true))
    else:
        weight = column_or_1d(sample_weight).astype(float)
        if not np.all(weight >= 0):
            raise ValueError("sample_weight must hold weights >= 0, without NaN.")

    classes, codes = np.unique(y_true, return_inverse=True)
    support = np.bincount(codes, weight)
    hits = np.bincount(codes, weight * (y_true == y_pred))
    counted = support > 0
    if labels is not None:
        counted &= np.isin(classes, labels)
    if not counted.any():
        raise ValueError(
            f"No class of the task occurs in y_true: labels={shown(labels)}, classes "
            f"in y_true={classes.tolist()}."
        )
    return float(mean_recall(hits[counted], support[counted]))


def wa_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Weighted accuracy (WA): the share of correct predictions.

    The field calls the accuracy "weighted", because it is the mean of the recalls of
    the classes, weighted by the size of the classes.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        The true emotions.
    y_pred : array-like of shape (n_samples,)
        The predicted emotions.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples.

    Returns
    -------
    wa : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If lengths differ or if strings and numbers are mixed.

    See Also
    --------
    uar_score : The mean recall over the classes.

    Examples
    --------
    >>> from sklearn_ser.metrics import wa_score
    >>> wa_score(["sad", "sad", "sad", "angry"], ["sad", "sad", "angry", "angry"])
    0.75
    """
    return float(accuracy_score(y_true, y_pred, sample_weight=sample_weight))


uar_scorer = make_scorer(uar_score)
wa_scorer = make_scorer(wa_score)
