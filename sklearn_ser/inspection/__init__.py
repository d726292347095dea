"""Displays of recordings, trainings, embeddings and evaluations.

They need matplotlib: ``pip install "sklearn_ser[plot]"``.
"""

from sklearn_ser.inspection._embedding import EmbeddingDisplay
from sklearn_ser.inspection._history import HistoryDisplay
from sklearn_ser.inspection._log_mel import LogMelDisplay
from sklearn_ser.inspection._recall import SpeakerRecallDisplay
from sklearn_ser.inspection._timeline import EmotionTimelineDisplay
from sklearn_ser.inspection._transfers import TransferMatrixDisplay

__all__ = [
    "EmbeddingDisplay",
    "EmotionTimelineDisplay",
    "HistoryDisplay",
    "LogMelDisplay",
    "SpeakerRecallDisplay",
    "TransferMatrixDisplay",
]
