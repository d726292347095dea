"""UAR and WA of counts of right and wrong predictions, and a bootstrap of both."""

import numbers

import numpy as np
from sklearn.utils import check_scalar


def speaker_confusions(y_true, y_pred, speakers, classes):
    """Return the sorted speakers and their counts (n_speakers, n_true, n_predicted)."""
    names, codes = np.unique(speakers, return_inverse=True)
    counts = np.zeros((len(names), len(classes), len(classes)), dtype=int)
    cells = (codes, np.searchsorted(classes, y_true), np.searchsorted(classes, y_pred))
    np.add.at(counts, cells, 1)
    return names, counts


def mean_recall(hits, support):
    """Return the UAR of correct rows and of all rows, both (..., n_classes).

    Only classes with rows count.
    """
    occurs = support > 0
    recalls = hits / np.where(occurs, support, 1)
    return recalls.sum(axis=-1) / occurs.sum(axis=-1)


def confusion_uar(counts):
    """Return the UAR of confusion counts (..., n_true, n_predicted)."""
    return mean_recall(*_hits_and_support(counts))


def confusion_wa(counts):
    """Return the WA of confusion counts (..., n_true, n_predicted)."""
    return _accuracy(*_hits_and_support(counts))


def _hits_and_support(counts):
    """Return the number of correct rows and of all rows of each true class."""
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1)


def _accuracy(hits, support):
    return hits.sum(axis=-1) / support.sum(axis=-1)


def bootstrap_scores(hits, support, n_bootstrap, random_state, *, n_alike=None):
    """Return the UAR and the WA of each bootstrap sample of units.

    A unit is what the bootstrap draws, such as a speaker or an utterance. `hits` and
    `support` have its correct rows and all its rows by class. A row may stand for
    `n_alike` equal units: single utterances are of few kinds, so that one row for each
    kind saves memory and time. One unit alone has no spread, and its scores are NaN.
    """
    n_alike = np.ones(len(hits), dtype=int) if n_alike is None else n_alike
    n_units = int(n_alike.sum())
    if n_units == 1:
        return np.full((2, n_bootstrap), np.nan)
    if not isinstance(random_state, np.random.RandomState):
        random_state = np.random.default_rng(random_state)
    draws = random_state.multinomial(n_units, n_alike / n_units, size=n_bootstrap)
    draws = draws.astype(float)  # BLAS is faster, and such integers stay exact
    hits, support = draws @ hits, draws @ support
    return mean_recall(hits, support), _accuracy(hits, support)


def percentile_interval(scores, confidence_level):
    """Return the quantiles that enclose a share of the scores; NaN without scores."""
    if not len(scores) or np.isnan(scores).any():
        return np.nan, np.nan
    tails = (1 - confidence_level) / 2, (1 + confidence_level) / 2
    return tuple(np.quantile(scores, tails).tolist())


def bootstrap_confusions(counts, n_bootstrap, random_state):
    """Return `bootstrap_scores` of the confusion counts of each unit."""
    return bootstrap_scores(*_hits_and_support(counts), n_bootstrap, random_state)


def bootstrap_speakers(counts, n_bootstrap, confidence_level, random_state):
    """Return intervals of UAR and WA, resampling the first axis of confusion counts."""
    scores = bootstrap_confusions(counts, n_bootstrap, random_state)
    return tuple(percentile_interval(values, confidence_level) for values in scores)


def check_bootstrap(n_bootstrap, confidence_level):
    """Refuse bad settings of a bootstrap."""
    check_scalar(n_bootstrap, "n_bootstrap", numbers.Integral, min_val=0)
    check_scalar(confidence_level, "confidence_level", numbers.Real)
    if not 0 < confidence_level < 1:
        raise ValueError(
            f"confidence_level must be between 0 and 1, got {confidence_level!r}."
        )
