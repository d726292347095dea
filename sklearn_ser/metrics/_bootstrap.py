"""UAR and WA of counts, their means and paired differences, and a bootstrap of all."""

import numbers
import warnings
from typing import NamedTuple

import numpy as np
from scipy.stats import DegenerateDataWarning, bootstrap
from sklearn.utils import check_scalar

UNKNOWN = np.nan, np.nan  # an interval
_LARGEST = 2**18  # numbers of units that are drawn at a time


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


def accuracy(hits, support):
    """Return the WA of correct rows and of all rows, both (..., n_classes)."""
    return hits.sum(axis=-1) / support.sum(axis=-1)


def hits_and_support(counts):
    """Return the correct rows and all rows of each true class, of confusion counts."""
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1)


def uar_and_wa(y_true, y_pred):
    """Return the scores of checked labels of one kind."""
    classes, codes = np.unique(y_true, return_inverse=True)
    is_hit = y_true == y_pred
    hits, support = np.bincount(codes, is_hit, len(classes)), np.bincount(codes)
    return float(mean_recall(hits, support)), float(np.mean(is_hit))


def confusion_uar(counts):
    """Return the UAR of confusion counts (..., n_true, n_predicted)."""
    return mean_recall(*hits_and_support(counts))


def confusion_wa(counts):
    """Return the WA of confusion counts (..., n_true, n_predicted)."""
    return accuracy(*hits_and_support(counts))


def as_generator(random_state):
    """Return a generator; None takes a random seed."""
    if isinstance(random_state, np.random.RandomState):
        return random_state
    return np.random.default_rng(random_state)


def resampled(index, *columns):
    """Return the sums of columns (n_units, n_classes) over each sample of units."""
    n_units, offsets = len(columns[0]), np.arange(len(np.atleast_2d(index)))[:, None]
    cells = (index + n_units * offsets).ravel()
    times = np.bincount(cells, minlength=n_units * len(offsets)).astype(float)
    times = times.reshape(*index.shape[:-1], n_units)
    return [times @ column for column in columns]


def bootstrap_interval(
    figure, sizes, n_bootstrap, confidence_level, random_state, *, method="BCa"
):
    """Return the bootstrap interval of a figure of drawn units, such as speakers.

    `figure` gets the numbers of the drawn units, one array (n_samples, size) for each
    of the `sizes`, and returns a figure for each sample. One unit alone has no spread,
    and its interval is NaN. Where the method has no answer, as for figures that are all
    equal, the interval is that of the percentiles.
    """
    if not n_bootstrap or min(sizes) < 2:
        return UNKNOWN
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        found = bootstrap(
            [np.arange(size) for size in sizes],
            lambda *index, axis: figure(*index),
            n_resamples=n_bootstrap,
            batch=max(1, _LARGEST // max(sizes)),
            vectorized=True,
            confidence_level=confidence_level,
            method=method,
            random_state=as_generator(random_state),
        )
    interval = found.confidence_interval
    if not np.isfinite(interval).all():
        tails = (1 - confidence_level) / 2, (1 + confidence_level) / 2
        interval = np.quantile(found.bootstrap_distribution, tails)
    return tuple(map(float, interval))


def check_bootstrap(n_bootstrap, confidence_level):
    """Refuse bad settings of a bootstrap."""
    check_scalar(n_bootstrap, "n_bootstrap", numbers.Integral, min_val=0)
    check_scalar(confidence_level, "confidence_level", numbers.Real)
    if not 0 < confidence_level < 1:
        raise ValueError(
            f"confidence_level must be between 0 and 1, got {confidence_level!r}."
        )


class PairedDifference(NamedTuple):
    """The figures of others on the same rows, and the difference to them.

    The difference is that of the UAR, paired by speaker.
    """

    uar: float
    wa: float
    uar_interval: tuple
    wa_interval: tuple
    difference: float
    difference_interval: tuple


def mean_figure(parts, score=mean_recall):
    """Return the units that a bootstrap draws, and the mean score as a figure of them.

    Parts with the same speakers, such as transfers to one target, share their draws.
    """
    sizes, columns = {}, []
    for part in parts:
        people, counts = speaker_confusions(
            part.y_true, part.predictions, part.speakers, part.classes
        )
        key = tuple(people.tolist())
        sizes[key] = len(people)
        columns.append((key, hits_and_support(counts)))

    def figure(*index):
        drawn = dict(zip(sizes, index, strict=True))
        scores = [score(*resampled(drawn[key], *pair)) for key, pair in columns]
        return np.mean(scores, axis=0)

    return list(sizes.values()), figure


def mean_interval(parts, *bootstrap, score=mean_recall):
    """Return the interval of the mean score of parts, such as transfers or seeds."""
    sizes, figure = mean_figure(parts, score)
    return bootstrap_interval(figure, sizes, *bootstrap)


def paired_difference(parts, others, n_bootstrap, confidence_level, random_state):
    """Return how the mean figures of parts differ from others, of the same speakers."""
    sizes, own = mean_figure(parts)
    _, base = mean_figure(others)
    options = n_bootstrap, confidence_level, random_state
    uar, wa = (float(np.mean([getattr(p, n) for p in others])) for n in ("uar", "wa"))
    one = len(others) == 1
    return PairedDifference(
        uar,
        wa,
        others[0].uar_interval if one else mean_interval(others, *options),
        others[0].wa_interval if one else UNKNOWN,
        float(np.mean([part.uar for part in parts])) - uar,
        bootstrap_interval(lambda *i: own(*i) - base(*i), sizes, *options),
    )
