"""Recordings in, log-mel sequences out."""

from .audio import load_audio
from .log_mel import LogMelTransformer

__all__ = ["LogMelTransformer", "load_audio"]
