"""Protocols: classes and folds over the rows of a corpus; the frozen ones."""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from .corpora import CORPORA


class Protocol:
    """The folds of a protocol over the rows of a corpus: a scikit-learn splitter.

    Two protocols with the same `hash` have the same utterances, labels and folds, in
    whatever order. :func:`load_corpus` and :func:`apply_protocol` make the protocols of
    the literature.

    Parameters
    ----------
    name : str
        Name of the protocol.
    utterances : list of str of length n_samples
        The name of each recording, without its folder. Letter case is ignored.
    labels : array-like of shape (n_samples,)
        The classes.
    folds : array-like of int of shape (n_samples,)
        The number of the fold that tests a row, from 0, or -1 if no fold tests it.
    validation : list of array-like of int, default=None
        For each fold, the rows of the paper's validation speaker. They are training
        rows. ``speaker_cross_validate`` passes their mask to a `fit` that requests
        `validation`.
    version : int, default=1
        Version of the protocol.
    data : list of str, default=None
        The recordings. If given, `split` refuses another order of them.
    missing : dict of str to (int, int), default=None
        The classes of which the whole corpus has more recordings than this copy, with
        the number that is missing and that of the whole corpus. The protocol prints
        it, since figures on a part do not compare with figures on the whole.

    Attributes
    ----------
    missing : dict of str to (int, int)
        As given.
    hash : str
        The first 16 hexadecimal digits of a SHA-256 over utterances, labels, folds and
        validation rows, but not over the name or the audio.

    See Also
    --------
    load_corpus : Load a corpus with its protocol.

    Examples
    --------
    >>> from sklearn_ser.datasets import Protocol
    >>> protocol = Protocol("mine", ["a1", "b1"], ["anger", "neutral"], folds=[0, 1])
    >>> protocol
    Protocol('mine', version=1, n_folds=2, hash='fe235df07142989e')
    >>> [(train.tolist(), test.tolist()) for train, test in protocol.split()]
    [([1], [0]), ([0], [1])]
    """

    def __init__(
        self,
        name,
        utterances,
        labels,
        folds,
        *,
        validation=None,
        version=1,
        data=None,
        missing=None,
    ):
        self.name, self.version = name, version
        self.missing = dict(missing or {})
        self._places = None if data is None else [*map(_place, data)]
        self._labels, self._folds = np.asarray(labels), np.asarray(folds)
        names = [str(utterance).lower() for utterance in utterances]
        lengths = [len(names), len(self._labels), len(self._folds)]
        lengths += [] if data is None else [len(data)]
        if len(set(lengths)) > 1 or not names:
            raise ValueError(
                "utterances, labels, folds and data must have the same length and "
                f"not be empty; got {lengths}."
            )
        numbers = np.unique(self._folds)
        tested = numbers[numbers != -1]
        if self._folds.ndim != 1 or not np.array_equal(tested, np.arange(len(tested))):
            raise ValueError(
                "folds must hold the number 0, 1, ... of the test fold of each row, "
                f"or -1; got {numbers.tolist()}."
            )
        if not len(tested):
            raise ValueError(
                "folds must hold the number of at least one test fold, got only -1."
            )
        self._folds = self._folds.astype(int)
        repeated = [n for n, times in Counter(names).items() if times > 1]
        if repeated:
            raise ValueError(
                f"Several recordings have the names {repeated[:5]}, but a protocol "
                "needs a different name for each."
            )
        self.validation = self._check_validation(validation)
        self.hash = self._digest(names)

    def _check_validation(self, validation):
        if validation is None:
            return None
        if len(validation) != self.get_n_splits():
            raise ValueError(
                f"validation must hold the rows of {self.get_n_splits()} folds, got "
                f"{len(validation)}."
            )
        checked = [np.asarray(rows, dtype=int) for rows in validation]
        for number, rows in enumerate(checked):
            inside = (rows >= 0) & (rows < len(self._folds))
            if not inside.all() or (self._folds[rows] == number).any():
                raise ValueError(
                    f"validation[{number}] must hold training rows of fold {number}."
                )
        return checked

    def _digest(self, names):
        rows = zip(names, self._labels, self._folds, strict=True)
        lines = [f"{name}\t{label}\t{fold}" for name, label, fold in rows]
        for number, validating in enumerate(self.validation or []):
            lines += [f"{names[i]}\tvalidates\t{number}" for i in validating]
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]

    def split(self, X=None, y=None, groups=None):
        """Generate the row indices of each fold.

        Parameters
        ----------
        X : list or array-like of length n_samples, default=None
            The corpus's recordings, or any list with one entry for each recording.
        y : array-like of shape (n_samples,), default=None
            The corpus's target.
        groups : object, default=None
            Not used.

        Yields
        ------
        train, test : ndarray of int
            Row indices.

        Raises
        ------
        ValueError
            If `X` or `y` belong to another corpus, or have another order.
        """
        self._check(X, y)
        for number in range(self.get_n_splits()):
            test = self._folds == number
            yield np.flatnonzero(~test), np.flatnonzero(test)

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of folds, an int.

        Parameters
        ----------
        X, y, groups : object, default=None
            Not used.
        """
        return int(self._folds.max()) + 1

    def _check(self, X, y):
        for name, values in (("X", X), ("y", y)):
            if values is not None and len(values) != len(self._labels):
                raise ValueError(
                    f"{name} has {len(values)} entries, but the protocol "
                    f"'{self.name}' was made for {len(self._labels)} recordings."
                )
        paths = [None] if X is None or getattr(X, "ndim", 1) > 1 else list(X)
        if self._places and all(isinstance(x, str | os.PathLike) for x in paths):
            self._refuse_other("X", map(_place, paths), self._places)
        labels = np.asarray(self._labels[:0] if y is None else y)
        if len(labels) and labels.dtype.kind in "OU":
            self._refuse_other("y", labels.tolist(), self._labels.tolist())

    def _refuse_other(self, name, values, expected):
        for row, (value, wanted) in enumerate(zip(values, expected, strict=True)):
            if value != wanted:
                raise ValueError(
                    f"{name} differs from the data of the protocol '{self.name}': row "
                    f"{row} is {value!r}, expected {wanted!r}."
                )

    def __repr__(self):
        lacks = ", ".join(f"{n} of {all} {c}" for c, (n, all) in self.missing.items())
        return (
            f"Protocol('{self.name}', version={self.version}, "
            f"n_folds={self.get_n_splits()}, hash='{self.hash}'"
            + (f", missing='{lacks}')" if lacks else ")")
        )


def _place(path):
    """Return two folders and the stem of a path, to compare recordings."""
    folders, stem = _parts(path)
    return "/".join([*folders[-2:], stem])


def _parts(path):
    """Return the folders and the stem of a path; of other recordings, nothing."""
    path = Path(path) if isinstance(path, str | os.PathLike) else Path()
    return path.parent.parts, path.stem.strip()


@dataclass(frozen=True, kw_only=True)
class ProtocolSpec:
    """A protocol that is not yet bound to a corpus; its folds never change.

    Of two corpora the first is the source of a transfer, and the second its target.
    """

    name: str
    corpora: tuple
    classes: dict  # of each emotion
    folds: tuple | None = None  # the test speakers of each; None leaves one out
    validation: str | None = None  # column of what the validation speaker shares
    version: int = 1

    def count_missing(self, target, corpora):
        """Return the classes of which a copy has too few recordings, as in Protocol."""
        missing, several = {}, len(self.corpora) > 1
        for name in self.corpora:
            whole = Counter()
            for emotion, count in CORPORA[name].counts.items():
                if emotion in self.classes:
                    whole[self.classes[emotion]] += count
            here = Counter(target[corpora == name] if several else target)
            for word in sorted(whole):
                if here[word] < whole[word]:
                    label = f"{name}/{word}" if several else word
                    missing[label] = (whole[word] - here[word], whole[word])
        return missing


def _within(corpus, kind, merged=(), **more):
    """Return a protocol of all emotions of a corpus, some of them merged."""
    classes = {emotion: emotion for emotion in sorted(CORPORA[corpus].counts)}
    name, classes = f"{corpus}-{kind}", classes | dict(merged)
    return ProtocolSpec(name=name, corpora=(corpus,), classes=classes, **more)


_SIX_FOLDS = (
    "01 11 20 21, 04 10 12 14, 08 09 19 23, 03 05 07 24, 02 15 16 18, 06 13 17 22"
)
_MERGED = {"excitement": "happiness"}
_LOSO = "emodb", "casia", "emovo", "enterface05", "savee"
_SPECS = [
    _within("iemocap", "4class-loso", _MERGED, validation="session"),
    _within("msp-improv", "loso", validation="session"),
    _within("ravdess", "emobox-6fold", folds=tuple(_SIX_FOLDS.split(", "))),
    *(_within(corpus, "loso") for corpus in _LOSO),
    _within(
        *("crema-d", "grouped-5fold"),
        # Actors 1001 to 1091, dealt in turn.
        folds=tuple(
            " ".join(str(actor) for actor in range(first, 1092, 5))
            for first in range(1001, 1006)
        ),
    ),
]
# The emotions of the corpora in the transfers of the DIDAN paper, and in those of this
# library's benchmarks, whose EmoDB has four. A transfer has what both corpora share.
_FAMILIES: dict[str, dict] = {
    "didan": {name: CORPORA[name].counts for name in ("emodb", "enterface05", "casia")},
    "cross": {
        "emodb": dict.fromkeys(("anger", "happiness", "neutral", "sadness")),
        **{name: CORPORA[name].counts for name in ("casia", "emovo", "ravdess")},
    },
}
_SPECS += [
    ProtocolSpec(
        name=f"{family}-{source}-{target}",
        corpora=(source, target),
        classes={word: word for word in sorted(has[source].keys() & has[target])},
    )
    for family, has in _FAMILIES.items()
    for source, target in permutations(has, 2)
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
        the emotions before the merge. ``protocol.missing`` says what the copy of the
        corpus lacks.

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
    others = {
        name: np.asarray(corpus[name])[rows]
        for name in ("corpora", "texts")
        if corpus.get(name) is not None
    }
    corpora = others.get("corpora")
    is_transfer = len(spec.corpora) == 2
    if is_transfer and corpora is None:
        raise ValueError(
            f"'{spec.name}' needs recordings of {list(spec.corpora)}, and an "
            "array 'corpora' with the corpus of each recording."
        )
    if corpora is not None:
        check_protocol(spec.name, np.unique(corpora).tolist())
    # load_corpus names the utterances. A column of one's own by that name may be text.
    utterances = frame.get("utterance") if corpora is not None else None
    if utterances is None:
        utterances = [_utterance(spec, path) for path in data]
    if corpora is not None and is_transfer:
        named = zip(corpora, utterances, strict=True)
        utterances = [f"{corpus}/{utterance}" for corpus, utterance in named]
    folds = _number_folds(spec, speakers, corpora)
    bound = Protocol(
        spec.name,
        utterances,
        target,
        folds,
        validation=_validation_rows(spec, folds, frame),
        version=spec.version,
        data=data,
        missing=spec.count_missing(target, corpora),
    )
    columns = {"data": data, "target": target, "speakers": speakers, "frame": frame}
    return Bunch(**{**corpus, **columns, **others, "protocol": bound})


def _utterance(spec, path):
    """Return the utterance's name in load_corpus, or else the name of its file."""
    folders, stem = _parts(path)
    try:
        columns = CORPORA[spec.corpora[0]].parse("/".join([*folders, stem]))
    except KeyError:  # a code without meaning
        columns = None
    return columns["utterance"] if columns else stem


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
    return np.unique([numbers[who] for who in speakers], return_inverse=True)[1]


def _validation_rows(spec, folds, frame):
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
