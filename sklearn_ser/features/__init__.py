"""Recordings in; log-mel sequences, a speech model's states or openSMILE's out."""

from .audio import load_audio
from .log_mel import LogMelTransformer
from .opensmile import OpenSMILETransformer
from .speaker_normalizer import SpeakerNormalizer
from .speech_model import SpeechModelTransformer, release_speech_models

__all__ = [
    "LogMelTransformer",
    "OpenSMILETransformer",
    "SpeakerNormalizer",
    "SpeechModelTransformer",
    "load_audio",
    "release_speech_models",
]
