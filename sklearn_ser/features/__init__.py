"""Recordings in, log-mel sequences or a speech model's states out."""

from .audio import load_audio
from .log_mel import LogMelTransformer
from .normalization import SpeakerNormalizer
from .speech_model import SpeechModelTransformer, release_speech_models

__all__ = [
    "LogMelTransformer",
    "SpeakerNormalizer",
    "SpeechModelTransformer",
    "load_audio",
    "release_speech_models",
]
