"""Probabilities that are right as often as they say: a temperature, by speaker.

Training recordings cannot tell how sure a model may be of a new voice, since it has
learnt them by heart. A linear discriminant is fitted anew in milliseconds, so each
speaker can be left out: a temperature divides its scores, such that left-out recordings
get the largest likelihood. A network is made as sure of its training recordings as the
discriminant, so calibrated, is of the same ones. The order of the classes stays.
"""

import numpy as np
from scipy.linalg import solve
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.model_selection import GroupKFold

N_FOLDS = 5
# More training recordings would change the temperature little, and cost time.
MOST_ROWS = 1200
# A feature's variance is at least so many times the mean of all.
_LEAST_VARIANCE = 1e-9
_LOG_RANGE = -8, 8


def left_out_temperature(X, codes, speakers=None):
    """Return the temperature of the discriminant, from left-out speakers."""
    scores = np.full((len(X), codes.max() + 1), -np.inf)
    for train, test in _folds(codes, speakers):
        coef, intercept = discriminant(X, codes, scores.shape[1], train)
        scores[test] = X[test] @ coef + intercept
    # A class that one speaker alone has cannot be recognised without the speaker.
    rows = np.flatnonzero(np.isfinite(scores[np.arange(len(X)), codes]))
    if not len(rows):
        return 1.0
    # As if one more recording had been seen, of all classes alike. Without it, classes
    # that are never confused would get a temperature of zero.
    n_classes = scores.shape[1]
    shares = np.eye(n_classes)[codes[rows]] * len(rows) + 1 / n_classes
    return nearest_temperature(scores[rows], shares / (len(rows) + 1))


def matched_temperature(scores, X, codes, speakers=None):
    """Return the temperature at which a model is as sure as the discriminant.

    `scores` are those of the model for its training rows.
    """
    temperature = left_out_temperature(X, codes, speakers)
    coef, intercept = discriminant(X, codes, scores.shape[1])
    return nearest_temperature(scores, softmax((X @ coef + intercept) / temperature, 1))


def nearest_temperature(scores, probabilities):
    """Return the temperature of scores with the least cross-entropy to probabilities.

    A class with a score of minus infinity has no part in it.
    """
    scores = np.where(np.isfinite(scores), scores, scores[np.isfinite(scores)].min())

    def cross_entropy(log_temperature):
        log_p = log_softmax(scores / np.exp(log_temperature), axis=1)
        return -(probabilities * log_p).sum(axis=1).mean()

    found = minimize_scalar(cross_entropy, bounds=_LOG_RANGE, method="bounded")
    return float(np.exp(found.x))


def remark_on(temperature):
    """Return a sentence on a temperature at its bound, or None."""
    if abs(np.log(temperature)) < max(_LOG_RANGE) - 0.01:
        return None
    if temperature > 1:
        return (
            "Left-out speakers did not confirm the scores of the model. Its "
            "probabilities are nearly the same for all classes, and tell nothing."
        )
    return (
        "The model confuses no class of a left-out speaker. Its probabilities are "
        "nearly 0 or 1, and do not tell when it is wrong."
    )


def discriminant(X, codes, n_classes, train=None):
    """Return the coefficients and intercepts of EqualPriorsLDA, of the training rows.

    scikit-learn's class takes ten times as long, and here it is fitted six times.
    A class without a row has minus infinity as its intercept.
    """
    train = np.arange(len(X)) if train is None else train
    n_features, codes = X.shape[1], codes[train]
    means, rows = np.zeros((n_classes, n_features)), np.empty((len(train), n_features))
    shrunk, within, start = np.zeros(n_features), 0.0, 0
    classes, counts = np.unique(codes, return_counts=True)
    for c, n in zip(classes, counts, strict=True):
        own = X[train[codes == c]].astype(np.float64)
        means[c] = own.mean(axis=0)
        own -= means[c]
        squares = np.einsum("ij,ij->j", own, own)  # without a copy of all rows
        within += squares.sum()
        scale = np.sqrt(squares / n)
        scale[scale == 0] = 1
        own /= scale
        shrinkage, mean_variance = _ledoit_wolf(own)
        shrunk += shrinkage * mean_variance * scale**2 / len(classes)
        own *= scale * np.sqrt((1 - shrinkage) / n / len(classes))
        rows[start : start + n] = own
        start += n
    # The covariance is the diagonal `shrunk` and the product of `rows` with itself.
    goal, known = means.T, means[classes]
    centre = np.average(known, axis=0, weights=counts).mean()
    between = np.average(np.square(known - centre), axis=0, weights=counts).mean()
    least = max(shrunk.mean(), within / rows.size + between) or 1.0
    shrunk = np.maximum(shrunk, _LEAST_VARIANCE * least)
    if len(rows) < n_features:  # the smaller of two systems
        scaled = rows / shrunk
        small = np.eye(len(rows)) + scaled @ rows.T
        inner = solve(small, scaled @ goal, assume_a="pos")
        coef = goal / shrunk[:, None] - scaled.T @ inner
    else:
        covariance = rows.T @ rows
        covariance.flat[:: n_features + 1] += shrunk
        coef = solve(covariance, goal, assume_a="pos", overwrite_a=True)
    intercept = np.full(n_classes, -np.inf)
    intercept[classes] = -0.5 * (goal * coef).sum(axis=0)[classes]
    return coef, intercept


def _ledoit_wolf(X):
    """Return the shrinkage of a covariance, and its mean variance, of centred rows."""
    n, p = X.shape
    gram = X @ X.T if n < p else X.T @ X
    norms = np.einsum("ij,ij->i", X, X)
    mean_variance = norms.sum() / n / p
    square = np.einsum("ij,ij->", gram, gram) / n**2
    delta = square / p - mean_variance**2
    beta = min(max((np.square(norms).sum() / n - square) / n / p, 0), delta)
    return beta / delta if beta > 0 else 0.0, mean_variance


def _folds(codes, speakers):
    """Yield training and test rows, by speaker; without speakers stratified."""
    n = len(codes)
    if speakers is not None and len(np.unique(speakers)) > 1:
        splitter = GroupKFold(min(N_FOLDS, len(np.unique(speakers))))
        yield from splitter.split(codes, groups=speakers)
        return
    fold = np.empty(n, int)
    fold[np.argsort(codes, kind="stable")] = np.arange(n) % N_FOLDS
    for i in np.unique(fold):
        yield np.flatnonzero(fold != i), np.flatnonzero(fold == i)
