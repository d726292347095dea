"""Corpora: known corpora, corpora of the user, and a synthetic corpus."""

from ._spec import (
    Archive,
    CorpusSpec,
    LabelLines,
    LabelVotes,
    SpeakerTable,
)
from .duplicates import find_duplicates
from .loading import list_corpora, load_corpus
from .manifest import load_manifest
from .protocols import Protocol, apply_protocol, list_protocols
from .several import balanced_weights, load_corpora
from .synthetic import make_emotional_speech

__all__ = [
    "Archive",
    "CorpusSpec",
    "LabelLines",
    "LabelVotes",
    "Protocol",
    "SpeakerTable",
    "apply_protocol",
    "balanced_weights",
    "find_duplicates",
    "list_corpora",
    "list_protocols",
    "load_corpora",
    "load_corpus",
    "load_manifest",
    "make_emotional_speech",
]
