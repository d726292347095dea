"""Speaker- and corpus-independent evaluation."""

from sklearn_ser.model_selection._by_corpus import cross_corpus_validate
from sklearn_ser.model_selection._by_speaker import speaker_cross_validate
from sklearn_ser.model_selection._leakage import (
    check_duplicate_leakage,
    check_speaker_leakage,
)
from sklearn_ser.model_selection._result import SpeakerCVResult
from sklearn_ser.model_selection._splitters import LeaveOneCorpusOut
from sklearn_ser.model_selection._transfers import CrossCorpusResult

__all__ = [
    "CrossCorpusResult",
    "LeaveOneCorpusOut",
    "SpeakerCVResult",
    "check_duplicate_leakage",
    "check_speaker_leakage",
    "cross_corpus_validate",
    "speaker_cross_validate",
]
