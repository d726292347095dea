"""Corpora: known corpora, corpora of the user, and a synthetic corpus."""

from sklearn_ser.datasets._spec import (
    Archive,
    CorpusSpec,
    LabelLines,
    LabelVotes,
    SpeakerTable,
)
from sklearn_ser.datasets._splitter import Protocol
from sklearn_ser.datasets.duplicates import find_duplicates
from sklearn_ser.datasets.loading import list_corpora, load_corpus
from sklearn_ser.datasets.manifest import load_manifest
from sklearn_ser.datasets.protocols import apply_protocol, list_protocols
from sklearn_ser.datasets.synthetic import make_emotional_speech

__all__ = [
    "Archive",
    "CorpusSpec",
    "LabelLines",
    "LabelVotes",
    "Protocol",
    "SpeakerTable",
    "apply_protocol",
    "find_duplicates",
    "list_corpora",
    "list_protocols",
    "load_corpus",
    "load_manifest",
    "make_emotional_speech",
]
