"""Frozen protocols: the utterances, their labels and their folds."""

import os
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from ._splitter import Protocol, stem
from .corpora import CORPORA

_IEMOCAP_4 = {
    "anger": "anger",
    "excitement": "happiness",
    "happiness": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
}


def _words(text):
    return {word: word for word in text.split()}


@dataclass(frozen=True, kw_only=True)
class ProtocolSpec:
    """A protocol that is not yet bound to a corpus.

    Attributes
    ----------
    name : str
        Its name. The folds of a version never change. Other folds are another version.
    corpora : tuple of str
        The corpus, or the source and the target of a transfer.
    classes : dict of str to str
        The emotions, and the class of each.
    folds : tuple of str, default=None
        The test speakers of each fold. None leaves one speaker out. In a transfer, the
        target is the only test fold.
    validation : str, default=None
        The column in which a validation speaker has the value of the test speaker.
    version : int
        The version, from 1.
    """

    name: str
    corpora: tuple
    classes: dict
    folds: tuple | None = None
    validation: str | None = None
    version: int = 1


_SPECS = [
    ProtocolSpec(
        name="iemocap-4class-loso",
        corpora=("iemocap",),
        classes=_IEMOCAP_4,
        validation="session",
    ),
    ProtocolSpec(
        name="msp-improv-loso",
        corpora=("msp-improv",),
        classes=_words("anger happiness neutral sadness"),
        validation="session",
    ),
    ProtocolSpec(
        name="ravdess-emobox-6fold",
        corpora=("ravdess",),
        classes=_words("anger calm disgust fear happiness neutral sadness surprise"),
        folds=(
            "01 11 20 21",
            "04 10 12 14",
            "08 09 19 23",
            "03 05 07 24",
            "02 15 16 18",
            "06 13 17 22",
        ),
    ),
    ProtocolSpec(
        name="emodb-loso",
        corpora=("emodb",),
        classes=_words("anger boredom disgust fear happiness neutral sadness"),
    ),
    ProtocolSpec(
        name="casia-loso",
        corpora=("casia",),
        classes=_words("anger fear happiness neutral sadness surprise"),
    ),
    ProtocolSpec(
        name="emovo-loso",
        corpora=("emovo",),
        classes=_words("anger disgust fear happiness neutral sadness surprise"),
    ),
    ProtocolSpec(
        name="enterface05-loso",
        corpora=("enterface05",),
        classes=_words("anger disgust fear happiness sadness surprise"),
    ),
    ProtocolSpec(
        name="savee-loso",
        corpora=("savee",),
        classes=_words("anger disgust fear happiness neutral sadness surprise"),
    ),
    ProtocolSpec(
        name="crema-d-grouped-5fold",
        corpora=("crema-d",),
        classes=_words("anger disgust fear happiness neutral sadness"),
        # Actors 1001 to 1091, dealt in turn.
        folds=tuple(
            " ".join(str(actor) for actor in range(first, 1092, 5))
            for first in range(1001, 1006)
        ),
    ),
]
# The transfers of the DIDAN paper, and those of this library's benchmarks, whose EmoDB
# has four classes.
_SHARED = {
    "didan": {
        ("emodb", "enterface05"): "anger disgust fear happiness sadness",
        ("emodb", "casia"): "anger fear happiness neutral sadness",
        ("enterface05", "casia"): "anger fear happiness sadness surprise",
    },
    "cross": {
        ("emodb", "casia"): "anger happiness neutral sadness",
        ("emodb", "emovo"): "anger happiness neutral sadness",
        ("emodb", "ravdess"): "anger happiness neutral sadness",
        ("casia", "emovo"): "anger fear happiness neutral sadness surprise",
        ("casia", "ravdess"): "anger fear happiness neutral sadness surprise",
        (
            "emovo",
            "ravdess",
        ): "anger disgust fear happiness neutral sadness surprise",
    },
}
_SPECS += [
    ProtocolSpec(
        name=f"{family}-{source}-{target}",
        corpora=(source, target),
        classes=_words(classes),
    )
    for family, pairs in _SHARED.items()
    for pair, classes in pairs.items()
    for source, target in permutations(pair)
]
PROTOCOLS = {spec.name: spec for spec in _SPECS}


def list_protocols(corpus: str | None = None) -> list[str]:
    """List the frozen protocols.

    Parameters
    ----------
    corpus : str, default=None
        A corpus in :func:`list_corpora`. None lists the protocols of all corpora.

    Returns
    -------
    names : list of str
        The names in alphabetical order.

    Raises
    ------
    ValueError
        If the corpus is unknown.

    Examples
    --------
    >>> from sklearn_ser.datasets import list_protocols
    >>> list_protocols("iemocap")
    ['iemocap-4class-loso']
    """
    if corpus is not None and corpus not in CORPORA:
        raise ValueError(f"corpus must be one of {sorted(CORPORA)}, got {corpus!r}.")
    return sorted(
        spec.name for spec in _SPECS if corpus is None or corpus in spec.corpora
    )


def apply_protocol(protocol: str, corpus: Bunch) -> Bunch:
    """Keep the rows of a corpus that a protocol uses, with its labels and its folds.

    Parameters
    ----------
    protocol : str
        A protocol in :func:`list_protocols`.
    corpus : Bunch
        A result of :func:`load_corpus` or :func:`load_manifest`. A transfer needs both
        corpora in one Bunch, and its ``corpora`` names the corpus of each row.

    Returns
    -------
    corpus : Bunch
        The rows of the protocol, with the attribute ``protocol``. Its ``frame`` keeps
        the emotions before the merge.

    Raises
    ------
    ValueError
        If the protocol is unknown, or needs a column that is missing. If a speaker is
        in no fold, no row has one of the classes, or two utterances have the same name.

    Examples
    --------
    >>> from sklearn.utils import Bunch
    >>> from sklearn_ser.datasets import apply_protocol
    >>> corpus = Bunch(
    ...     data=["Ses01F_1_F000.wav", "Ses01F_1_M000.wav", "Ses01F_1_M001.wav"],
    ...     target=["excitement", "anger", "frustration"],
    ...     speakers=["Ses01F", "Ses01M", "Ses01M"],
    ...     frame={"session": ["01", "01", "01"]},
    ... )
    >>> apply_protocol("iemocap-4class-loso", corpus).target.tolist()
    ['happiness', 'anger']
    """
    spec = check_protocol(protocol)
    emotions = np.asarray(corpus.target)
    rows = np.flatnonzero(np.isin(emotions, list(spec.classes)))
    if not len(rows):
        raise ValueError(
            f"No recording has a class of '{spec.name}', {sorted(spec.classes)}: "
            f"the corpus has {np.unique(emotions).tolist()}."
        )
    frame = {k: np.asarray(v)[rows] for k, v in dict(corpus.get("frame", {})).items()}
    data = [corpus.data[i] for i in rows]
    speakers = np.asarray(corpus.speakers)[rows]
    target = np.array([spec.classes[word] for word in emotions[rows].tolist()])
    corpora = corpus.get("corpora")
    corpora = None if corpora is None else np.asarray(corpora)[rows]
    is_transfer = len(spec.corpora) == 2
    if is_transfer and corpora is None:
        raise ValueError(
            f"'{spec.name}' needs recordings of {list(spec.corpora)}, and an "
            "array 'corpora' with the corpus of each recording."
        )
    if corpora is not None and set(corpora.tolist()) != set(spec.corpora):
        raise ValueError(
            f"'{spec.name}' is a protocol of {list(spec.corpora)}, not of "
            f"{np.unique(corpora).tolist()}."
        )
    # load_corpus names the utterances. A column of one's own by that name may be text.
    known = frame.get("utterance") if corpora is not None else None
    utterances = [_utterance(spec, path) for path in data] if known is None else known
    if corpora is not None and is_transfer:
        named = zip(corpora, utterances, strict=True)
        utterances = [f"{corpus}/{utterance}" for corpus, utterance in named]
    folds = _number_folds(spec, speakers, corpora)
    bound = Protocol(
        spec.name,
        utterances,
        target,
        folds,
        validation=_validation_rows(spec, speakers, folds, frame),
        version=spec.version,
        data=data,
    )
    columns = {"data": data, "target": target, "speakers": speakers, "frame": frame}
    if corpora is not None:
        columns["corpora"] = corpora
    return Bunch(**{**corpus, **columns, "protocol": bound})


def _utterance(spec, path):
    """Return the utterance's name in load_corpus, or else the name of its file."""
    path = Path(path) if isinstance(path, str | os.PathLike) else Path()
    inside = "/".join([*path.parent.parts, path.stem.strip()])
    try:
        columns = CORPORA[spec.corpora[0]].parse(inside)
    except KeyError:
        columns = None
    return columns["utterance"] if columns else stem(path)


def check_protocol(name, corpora=None):
    """Return the protocol of this name, and refuse one of other corpora."""
    if not isinstance(name, str) or name not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {list_protocols()}, got {name!r}.")
    spec = PROTOCOLS[name]
    if corpora is not None and sorted(corpora) != sorted(spec.corpora):
        raise ValueError(
            f"'{name}' is a protocol of {list(spec.corpora)}, not of {corpora}."
        )
    return spec


def _number_folds(spec, speakers, corpora):
    """Return the number of the fold that tests each row, or -1."""
    if len(spec.corpora) == 2:
        return np.where(corpora == spec.corpora[1], 0, -1)
    if spec.folds is None:
        return np.unique(speakers, return_inverse=True)[1]
    numbers = {
        speaker: number
        for number, fold in enumerate(spec.folds)
        for speaker in fold.split()
    }
    unknown = sorted(set(speakers.tolist()) - set(numbers))
    if unknown:
        raise ValueError(f"Speakers {unknown} are in no fold of '{spec.name}'.")
    # If speakers are missing, there may be fewer folds, in the same order.
    folds = [numbers[speaker] for speaker in speakers]
    return np.unique(folds, return_inverse=True)[1]


def _validation_rows(spec, speakers, folds, frame):
    """Return the rows of each fold's validation speaker."""
    if spec.validation is None:
        return None
    if spec.validation not in frame:
        raise ValueError(
            f"'{spec.name}' needs a column '{spec.validation}' in the corpus's frame."
        )
    shared = frame[spec.validation]
    return [
        np.flatnonzero(np.isin(shared, shared[folds == k]) & (folds != k))
        for k in range(folds.max() + 1)
    ]
