"""Displays of recordings, trainings, embeddings and evaluations.

They need matplotlib: ``pip install "sklearn_ser[plot]"``.
"""

from ._comparison import ComparisonDisplay
from ._embedding import EmbeddingDisplay
from ._history import HistoryDisplay
from ._log_mel import LogMelDisplay
from ._recall import SpeakerRecallDisplay
from ._timeline import EmotionTimelineDisplay
from ._transfers import TransferMatrixDisplay

__all__ = [
    "ComparisonDisplay",
    "EmbeddingDisplay",
    "EmotionTimelineDisplay",
    "HistoryDisplay",
    "LogMelDisplay",
    "SpeakerRecallDisplay",
    "TransferMatrixDisplay",
]
