"""Warnings and errors of this library."""

import sys
import warnings


class SpeakersMissingWarning(UserWarning):
    """A fit that uses speakers got none."""


class TargetMissingWarning(UserWarning):
    """A fit that aligns corpora got no target."""


class SilentRecordingWarning(UserWarning):
    """Recordings have no sound, so that their features say nothing."""


class OneSidedEnrollmentWarning(UserWarning):
    """The enrolled recordings of a voice show mainly one emotion."""


class VersionsDifferWarning(UserWarning):
    """A model was saved with other versions of the packages."""


class TrainingDivergedError(ArithmeticError):
    """A loss became infinite or NaN, and the training stopped."""


def warn_caller(message, category=UserWarning):
    """Warn at the line of the caller outside of this library."""
    level, frame = 2, sys._getframe(1)
    # Between two functions of this library there can be a decorator.
    inside = ("sklearn_ser.", "contextlib", "sklearn.utils._set_output")
    while frame.f_back and frame.f_globals["__name__"].startswith(inside):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
