"""Voices that enroll themselves, from the windows that they speak in."""

import numpy as np
from sklearn.pipeline import make_pipeline

from ..exceptions import OneSidedEnrollmentWarning, warn_caller
from ..features.speaker_normalizer import MANY, ONE_SIDED, add_voices, variety
from ..pipeline import before_normalizer, find_normalizer, flat_steps
from ..sequences import frame_moments
from .windows import as_recording, calm, in_batches, probabilities

_KEPT = 2**26  # bytes of features that are not computed again


def enroll_windows(model, windows, n_at_once):
    """Enroll speakers from windows: keys, samples and speakers.

    Return whom it enrolled, and the features of windows by their keys, as many as fit.
    Of the others only the mean and the deviation are held, so an hour needs no more
    memory than a minute.
    """
    moments, names, kept, n_bytes = [], [], {}, 0
    for keys, waves, speakers in in_batches(windows, n_at_once):
        X = _before(model, waves, speakers)
        moments += [_in_two_frames(x) for x in X]
        names += speakers
        n_bytes += sum(x.nbytes for x in X)
        if n_bytes <= _KEPT:
            kept |= zip(keys, X, strict=True)
    own = enroll_own(model, _as_batch(moments), names) if moments else set()
    return own, kept


def predict_enrolled(model, windows, n_at_once, kept):
    """Yield what `predict_parts` does; the features of some windows are `kept`."""
    steps = flat_steps(model)
    rest = make_pipeline(*steps[steps.index(find_normalizer(model)) :])
    for keys, waves, speakers in in_batches(windows, n_at_once):
        X = [kept.get(key) for key in keys]
        new = [i for i, x in enumerate(X) if x is None]
        if new:
            parts = [waves[i] for i in new], [speakers[i] for i in new]
            for i, x in zip(new, _before(model, *parts), strict=True):
                X[i] = x
        yield from zip(keys, probabilities(rest, _as_batch(X), speakers), strict=True)


def _before(model, waves, speakers):
    """Return what the steps before the SpeakerNormalizer make of windows."""
    with calm():
        parts = [as_recording(model, wave) for wave in waves]
        return before_normalizer(model, parts, speakers)[1]


def _as_batch(X):
    return np.stack(X) if X[0].ndim == 1 else X


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
