"""Voices that enroll themselves, from the windows that they speak in."""

import numpy as np

from ..pipeline import before_normalizer
from ..sequences import frame_moments
from .windows import calm, in_batches


def enroll_windows(model, windows, n_at_once):
    """Enroll speakers from windows: keys, samples and speakers.

    Only the mean and the deviation of each window are kept, so an hour needs no more
    memory than a minute.
    """
    kept, names, normalizer = [], [], None
    for _, parts, speakers in in_batches(model, windows, n_at_once):
        with calm():
            normalizer, X = before_normalizer(model, parts, speakers)
        kept += [_in_two_frames(x) for x in X]
        names += speakers
    if normalizer is not None:
        X = np.stack(kept) if kept[0].ndim == 1 else kept
        normalizer.enroll(X, names)


def _in_two_frames(x):
    """Return two frames with the mean and the deviation of all; a vector as it is."""
    x = np.asarray(x)
    if x.ndim == 1:
        return x
    mean, variance = frame_moments(x)
    return np.stack([mean - np.sqrt(variance), mean + np.sqrt(variance)], axis=1)
