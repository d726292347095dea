"""Voices that enroll themselves, from the windows that they speak in."""

import numpy as np

from ..exceptions import OneSidedEnrollmentWarning, warn_caller
from ..features.speaker_normalizer import MANY, ONE_SIDED, add_voices, variety
from ..pipeline import before_normalizer, find_normalizer
from ..sequences import frame_moments
from .windows import calm, in_batches


def enroll_windows(model, windows, n_at_once):
    """Enroll speakers from windows, and return whom: keys, samples and speakers.

    Only the mean and the deviation of each window are kept, so an hour needs no more
    memory than a minute.
    """
    kept, names = [], []
    for _, parts, speakers in in_batches(model, windows, n_at_once):
        with calm():
            _, X = before_normalizer(model, parts, speakers)
        kept += [_in_two_frames(x) for x in X]
        names += speakers
    if not kept:
        return set()
    return enroll_own(model, np.stack(kept) if kept[0].ndim == 1 else kept, names)


def enroll_own(model, X, speakers):
    """Enroll speakers with what is predicted of them, and return whom.

    `X` is what comes before the SpeakerNormalizer. Where many turns show mostly one
    emotion, enrolment does harm: it takes the emotion for the voice. Such a speaker is
    not enrolled, and a warning says so. In conversations from emovo, three of four
    speakers with all emotions equally often are enrolled, and one of twenty whose turns
    are neutral to three quarters.
    """
    normalizer = find_normalizer(model)
    before = normalizer.speaker_statistics_
    seen, own = add_voices(normalizer, X, speakers), set(speakers)
    for name, (_, n_parts, shares) in seen.items():
        if n_parts < MANY or variety(shares) >= ONE_SIDED:
            continue
        own.remove(name)
        known = normalizer.speaker_statistics_
        normalizer.speaker_statistics_ = {
            who: before[who] if who == name else voice
            for who, voice in known.items()
            if who != name or who in before
        }
        top = normalizer.emotions_.tolist()[int(np.argmax(shares))]
        warn_caller(
            f"The {n_parts} parts of speaker {name!r} seem to show mostly {top!r}, so "
            "the voice does not enroll itself, and counts as unknown. Recordings of "
            "several emotions would enroll it.",
            OneSidedEnrollmentWarning,
        )
    return own


def _in_two_frames(x):
    """Return two frames with the mean and the deviation of all; a vector as it is."""
    x = np.asarray(x)
    if x.ndim == 1:
        return x
    mean, variance = frame_moments(x)
    return np.stack([mean - np.sqrt(variance), mean + np.sqrt(variance)], axis=1)
