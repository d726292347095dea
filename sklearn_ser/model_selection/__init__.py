"""Speaker- and corpus-independent evaluation."""

from ._by_corpus import cross_corpus_validate
from ._by_speaker import speaker_cross_validate
from ._compare import compare
from ._comparison import Comparison
from ._evaluations import CrossCorpusResult, SpeakerCVResult
from ._leakage import (
    check_duplicate_leakage,
    check_speaker_leakage,
)
from ._sentences import SpeakerTextKFold

__all__ = [
    "Comparison",
    "CrossCorpusResult",
    "SpeakerCVResult",
    "SpeakerTextKFold",
    "check_duplicate_leakage",
    "check_speaker_leakage",
    "compare",
    "cross_corpus_validate",
    "speaker_cross_validate",
]
