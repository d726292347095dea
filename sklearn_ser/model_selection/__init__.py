"""Speaker- and corpus-independent evaluation."""

from ._by_corpus import cross_corpus_validate
from ._by_speaker import speaker_cross_validate
from ._leakage import (
    check_duplicate_leakage,
    check_speaker_leakage,
)
from ._result import SpeakerCVResult
from ._splitters import LeaveOneCorpusOut
from ._transfers import CrossCorpusResult

__all__ = [
    "CrossCorpusResult",
    "LeaveOneCorpusOut",
    "SpeakerCVResult",
    "check_duplicate_leakage",
    "check_speaker_leakage",
    "cross_corpus_validate",
    "speaker_cross_validate",
]
