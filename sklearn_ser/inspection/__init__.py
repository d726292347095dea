"""Displays of recordings, trainings, embeddings and evaluations.

They need matplotlib: ``pip install "sklearn_ser[plot]"``.
"""

from ._evaluations import (
    ComparisonDisplay,
    SpeakerRecallDisplay,
    TransferMatrixDisplay,
)
from ._models import EmbeddingDisplay, HistoryDisplay
from ._recordings import EmotionTimelineDisplay, EmotionTurnsDisplay, LogMelDisplay

__all__ = [
    "ComparisonDisplay",
    "EmbeddingDisplay",
    "EmotionTimelineDisplay",
    "EmotionTurnsDisplay",
    "HistoryDisplay",
    "LogMelDisplay",
    "SpeakerRecallDisplay",
    "TransferMatrixDisplay",
]
