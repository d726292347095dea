"""Warnings and errors of this library."""

import sys
import warnings


class SpeakersMissingWarning(UserWarning):
    """A fit that uses speakers was given none."""


class TargetMissingWarning(UserWarning):
    """A fit that aligns corpora was given no target."""


class OneSidedEnrollmentWarning(UserWarning):
    """The recordings that a voice is enrolled with show few of the emotions."""


class VersionsDifferWarning(UserWarning):
    """A model was saved with other versions of the packages that it depends on."""


class TrainingDivergedError(ArithmeticError):
    """A loss became infinite or NaN, and the training stopped."""


def warn_caller(message, category=UserWarning):
    """Warn at the line outside of this library from which it was called."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back and frame.f_globals["__name__"].startswith("sklearn_ser."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
