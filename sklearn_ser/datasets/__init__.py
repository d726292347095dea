"""Corpora: the user's own, and one synthesised in seconds."""

from sklearn_ser.datasets.manifest import load_manifest
from sklearn_ser.datasets.synthetic import make_emotional_speech

__all__ = ["load_manifest", "make_emotional_speech"]
