"""Recordings in, log-mel sequences out."""

from .audio import load_audio
from .log_mel import LogMelTransformer
from .normalization import SpeakerNormalizer

__all__ = ["LogMelTransformer", "SpeakerNormalizer", "load_audio"]
