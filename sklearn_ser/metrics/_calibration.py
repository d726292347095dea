"""The expected calibration error: are predictions as often right as they say?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length, column_or_1d


def expected_calibration_error(
    y_true: ArrayLike, proba: ArrayLike, classes: ArrayLike, n_bins: int = 15
) -> float:
    """Expected calibration error (ECE) of the most probable class.

    The samples are sorted into bins of equal width by the probability of their most
    probable class. In each bin the error is the difference between the mean of these
    probabilities and the share of correct predictions. The ECE is the mean over the
    samples.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        The true emotions.
    proba : array-like of shape (n_samples, n_classes)
        The probability of each class.
    classes : array-like of shape (n_classes,)
        The class of each column, such as the ``classes_`` of a classifier.
    n_bins : int, default=15
        The number of bins.

    Returns
    -------
    ece : float
        Between 0 and 1. Zero if the classifier is as often right as it says.

    Raises
    ------
    ValueError
        If the shapes differ, a probability is not between 0 and 1, or `n_bins` is not
        positive.

    Examples
    --------
    >>> from sklearn_ser.metrics import expected_calibration_error
    >>> proba = [[0.9, 0.1], [0.9, 0.1]]
    >>> round(expected_calibration_error(["sad", "angry"], proba, ["sad", "angry"]), 3)
    0.4
    """
    y_true, classes = column_or_1d(y_true), column_or_1d(classes)
    proba = np.asarray(proba, dtype=np.float64)
    check_consistent_length(y_true, proba)
    if proba.ndim != 2 or proba.shape[1] != len(classes) or not proba.size:
        raise ValueError(
            f"proba has shape {proba.shape}, expected (n_samples, n_classes) with at "
            f"least one sample and the {len(classes)} classes."
        )
    if not ((proba >= 0) & (proba <= 1)).all():
        raise ValueError("proba must hold numbers between 0 and 1, without NaN.")
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, got {n_bins}.")
    confidence = proba.max(axis=1)
    hit = classes[proba.argmax(axis=1)] == y_true
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = np.bincount(bins, confidence - hit, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(y_true))
