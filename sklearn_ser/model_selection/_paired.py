"""Mean scores and paired differences, with intervals over speakers."""

from typing import NamedTuple

import numpy as np

from ..metrics._bootstrap import (
    bootstrap_interval,
    hits_and_support,
    mean_recall,
    resampled,
    speaker_confusions,
)

UNKNOWN = np.nan, np.nan  # an interval


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
