"""Speaker-robust speech emotion recognition as scikit-learn estimators."""

import importlib

__version__ = "0.1.0.dev0"

_HOMES = {
    "DIDANDomainAdapter": "didan",
    "DSNetClassifier": "dsnet",
    "EmotionTimeline": "timeline",
    "LogMelTransformer": "features",
    "OneSidedEnrollmentWarning": "exceptions",
    "SpeakerAdversarialClassifier": "speaker_adversarial",
    "SpeakerNormalizer": "features",
    "SilentRecordingWarning": "exceptions",
    "SpeakersMissingWarning": "exceptions",
    "SpeechModelTransformer": "features",
    "TargetMissingWarning": "exceptions",
    "TrainingDivergedError": "exceptions",
    "VersionsDifferWarning": "exceptions",
    "embed": "pipeline",
    "emotion_timeline": "timeline",
    "enroll": "pipeline",
    "predict_table": "prediction",
}

__all__ = sorted(_HOMES)


def __getattr__(name):
    # PEP 562: torch is imported when an estimator is first asked for.
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_HOMES])
