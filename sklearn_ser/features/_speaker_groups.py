"""Recordings by speaker: sums over those of each one, without a loop over rows."""

import numpy as np
from scipy.sparse import csc_array

from ..sequences import check_speakers

_BLOCK = 256  # rows in double precision at once


def numbered(speakers, n_samples):
    """Return the speakers as they appear, and the number of each recording's one.

    Without speakers, all recordings are of one that has no name.
    """
    if speakers is None:
        return [], np.zeros(n_samples, int)
    codes = check_speakers(speakers, n_samples)
    return list(dict.fromkeys(np.asarray(speakers).tolist())), codes


class Groups:
    """Counts, means and squares of the recordings of each speaker.

    Parameters
    ----------
    vectors : ndarray of shape (n_recordings, n_dimensions)
        One vector for each recording.
    codes : ndarray of shape (n_recordings,)
        The number of its speaker.

    Attributes
    ----------
    counts : ndarray of shape (n_speakers,)
        The number of recordings.
    means : ndarray of shape (n_speakers, n_dimensions)
        Their mean.
    """

    def __init__(self, vectors, codes):
        self.codes, self.counts = codes, np.bincount(codes)
        n = len(self.counts)
        self.means = sums_by_group(vectors, codes, n) / self.counts[:, None]
        self._squares = sums_by_group(
            vectors, codes, n, lambda x, own: np.square(x - self.means[own])
        )

    def squares_about(self, centres):
        """Return the sum of squared differences from a point for each speaker."""
        gaps = np.square(self.means - centres)
        return self._squares + self.counts[:, None] * gaps


def sums_by_group(values, codes, n_groups, function=None):
    """Add up the rows of each group in float64.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns)
        The rows.
    codes : ndarray of shape (n_rows,)
        The group of each row.
    n_groups : int
        The number of groups.
    function : callable, default=None
        It turns some rows in float64 and their groups into what is added up.

    Returns
    -------
    sums : ndarray of shape (n_groups, n_columns)
        The sums.
    """
    sums = np.zeros((n_groups, values.shape[1]))
    order = np.argsort(codes, kind="stable")  # a block meets few groups
    for start in range(0, len(order), _BLOCK):
        rows = order[start : start + _BLOCK]
        own, n = codes[rows], len(rows)
        x = values[rows].astype(np.float64, copy=False)
        x = x if function is None else function(x, own)
        shape = own[-1] - own[0] + 1, n
        members = csc_array((np.ones(n), own - own[0], np.arange(n + 1)), shape=shape)
        sums[own[0] : own[-1] + 1] += members @ x
    return sums


def normalized_by_group(values, codes, means, scales):
    """Subtract from each row the mean of its group, and divide by its scale.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns), float32
        The rows.
    codes : ndarray of shape (n_rows,)
        The group of each row.
    means, scales : ndarray of shape (n_groups, n_columns), or None
        What each group is normalised by; None changes nothing.

    Returns
    -------
    normalized : ndarray of shape (n_rows, n_columns), float32
        The rows, computed in float64.
    """
    normalized = np.empty_like(values)
    for start in range(0, len(values), _BLOCK):
        rows = slice(start, start + _BLOCK)
        x = values[rows].astype(np.float64)
        if means is not None:
            x -= means[codes[rows]]
        if scales is not None:
            x /= scales[codes[rows]]
        normalized[rows] = x
    return normalized
