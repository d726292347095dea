"""Corpora in their authors' folders, loaded from their declarations."""

import filecmp
import os
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from .._csv import joined_name, unify_names
from ._search import SUFFIXES, TO_CONVERT, find_fault, suffix, walk
from ._spec import CorpusSpec, LabelLines
from .corpora import CORPORA
from .fetching import fetch
from .protocols import apply_protocol, check_protocol

_SHOWN = 20  # faults that one message names; it counts the others
_COLUMNS = ("gender", "text", "session", "intensity", "raters")


def list_corpora() -> list[str]:
    """List the corpora that :func:`load_corpus` knows.

    Returns
    -------
    names : list of str
        The names in alphabetical order.

    Examples
    --------
    >>> from sklearn_ser.datasets import list_corpora
    >>> list_corpora()[:4]
    ['casia', 'cmu-mosei', 'crema-d', 'emodb']
    """
    return sorted(CORPORA)


def load_corpus(
    name: str | CorpusSpec | Sequence[str | CorpusSpec],
    data_home: str | PathLike | None = None,
    *,
    protocol: str | None = None,
    download: bool = False,
    errors: str = "raise",
) -> Bunch:
    """Load a corpus as its authors distribute it.

    The recordings may be in any folder below `data_home`, and in any format that
    soundfile decodes. Emotions, speakers and other columns come from the file names and
    from the label files of the corpus.

    Parameters
    ----------
    name : str, CorpusSpec, or list of these
        A corpus in :func:`list_corpora`, in any spelling ("CREMA-D", "crema_d"), or the
        declaration of another corpus. Several corpora are joined, as for a transfer.
    data_home : str or path-like, default=None
        The folder of the corpus, or a folder above it. None reads the environment
        variable ``SKLEARN_SER_DATA``.
    protocol : str, default=None
        A protocol in :func:`list_protocols`. The corpus then has only the protocol's
        classes, and ``corpus.protocol`` splits it. None loads everything.
    download : bool, default=False
        If True, download the corpus into `data_home` if it has no recording there and
        its licence allows the download.
    errors : {"raise", "drop"}, default="raise"
        The action for recordings that are missing, empty or cut short, or that have two
        labels or none. "raise" raises an error that names them, and "drop" leaves them
        out.

    Returns
    -------
    corpus : :class:`~sklearn.utils.Bunch`
        Sorted by speaker and utterance.

        data : list of str
            Absolute paths of the recordings.
        target : ndarray of shape (n_samples,), dtype str
            The emotions, in the field's words: "anger", "happiness", "neutral", ...
        speakers : ndarray of shape (n_samples,), dtype str
            The speakers. For several corpora, they are ``"corpus/speaker"``.
        texts : ndarray of shape (n_samples,), dtype object
            The code of the sentence that is said, or None where speech is free. For
            several corpora, it is ``"corpus/text"``.
        frame : dict of str to ndarray of shape (n_samples,)
            More columns: ``gender``, ``text``, ``session``, ``intensity``, ``raters``
            ("" where unknown), ``utterance``, and the corpus's further columns.
        corpora : ndarray of shape (n_samples,), dtype str
            The corpus of each recording.
        channel : "mean" or int
            The channel to use, for the parameter `channel` of a transformer.
        notes : list of str
            Known problems of the corpus.
        protocol : Protocol or None
            A splitter over these rows.
        dropped : list of str
            The recordings that ``errors="drop"`` left out, with the reasons.
        DESCR : str
            Language, licence, citation, the way to get the corpus, and known problems.

    Raises
    ------
    ValueError
        If the corpus or the protocol is unknown, or `data_home` has no recording of the
        corpus. If recordings cannot be used, labels contradict each other, or the
        corpus cannot be downloaded.
    ConnectionError
        If a download was interrupted. It leaves no file behind.
    ImportError
        If ``download=True`` and pooch is not installed.

    See Also
    --------
    load_manifest : Load a corpus from a CSV file.
    load_corpora : Load several corpora, whose emotions get the same names.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import soundfile
    >>> from sklearn_ser.datasets import load_corpus
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for stem in "03a01Wa", "08b02Na":
    ...         soundfile.write(Path(folder, f"{stem}.wav"), np.ones(800) / 2, 16000)
    ...     corpus = load_corpus("emodb", folder, protocol="emodb-loso")
    >>> corpus.target.tolist(), corpus.speakers.tolist()
    (['anger', 'neutral'], ['03', '08'])
    >>> corpus.protocol.hash, corpus.protocol.missing["anger"]
    ('9118c2016eeb5d25', (126, 127))
    """
    if errors not in ("raise", "drop"):
        raise ValueError(f"errors must be 'raise' or 'drop', got {errors!r}.")
    several = isinstance(name, list | tuple)
    wanted: Any = name if several else [name]
    specs = [find_spec(one) for one in wanted]
    names = [spec.name for spec in specs]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"name must hold one or more different corpora, got {name!r}.")
    if protocol is not None:
        protocol = check_protocol(protocol, names)
    home = _find_home(data_home)
    keep = None if protocol is None else protocol.classes
    parts = [_load_one(spec, home, keep, download, errors) for spec in specs]
    corpus = join_corpora(parts) if several else parts[0]
    return corpus if protocol is None else apply_protocol(protocol.name, corpus)


def find_spec(name):
    """Return the declaration of a corpus by a name in any spelling."""
    if isinstance(name, CorpusSpec):
        return name
    for spec in CORPORA.values():
        spellings = {_plain(known) for known in (spec.name, *spec.aliases)}
        if isinstance(name, str) and _plain(name) in spellings:
            return spec
    raise ValueError(
        f"name must be one of {list_corpora()}, a CorpusSpec or a list of these, got "
        f"{name!r}."
    )


def _find_home(data_home):
    home = data_home if data_home is not None else os.environ.get("SKLEARN_SER_DATA")
    if not home:
        raise ValueError(
            "data_home must be the folder of the corpora, got None. Pass it, or "
            "set the environment variable SKLEARN_SER_DATA."
        )
    if not isinstance(home, str | os.PathLike):
        raise TypeError(f"data_home must be a path, got {type(home).__name__}.")
    home = Path(home).expanduser().absolute()
    if home.exists() and not home.is_dir():
        raise ValueError(f"data_home must be a folder, but '{home}' is a file.")
    return home


def _plain(name):
    """Return a name in lower case, without spaces, hyphens and other signs."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


class CorpusFiles:
    """The files of a corpus below a folder."""

    def __init__(self, spec, home):
        self.recordings, self.videos, self.labels, self.tables = [], [], [], []
        self.faults, self._spec, self._home = [], spec, home
        spellings = {_plain(name) for name in (spec.name, *spec.aliases)}
        folders = sorted(home.iterdir()) if home.is_dir() else []
        corpus_folders = [
            p for p in folders if _plain(p.name) in spellings and p.is_dir()
        ]
        for folder in corpus_folders or [home] * home.is_dir():
            for path, parts in walk(folder, self.faults):
                self._file(path, parts)

    def _file(self, path, parts):
        spec = self._spec
        for kind, paths in (spec.labels, self.labels), (spec.speakers, self.tables):
            if kind and PurePath(path.lower()).match(kind.files.lower()):
                paths.append(path)
        kind = suffix(path)
        if kind not in SUFFIXES and kind not in TO_CONVERT:
            return
        files = self.recordings if kind in SUFFIXES else self.videos
        stem = os.path.splitext(os.path.basename(path))[0]
        try:
            columns = spec.parse("/".join(part.strip() for part in (*parts, stem)))
        except KeyError as error:
            self.faults.append(f"'{path}' has the unknown code {error}")
            return
        if columns:
            files.append(columns | {"path": path})

    def candidates(self, wanted=None):
        """Return the copies of each utterance, in the order in which to try them.

        Two files of one utterance and one suffix but of different content are a fault;
        neither is returned.
        """
        copies = {}
        for columns in sorted(self.recordings, key=_rank):
            key = columns["utterance"].lower()
            if wanted is None or key in wanted:
                copies.setdefault(key, []).append(columns)
        for key in list(copies):
            first, *others = copies[key]
            for other in others:
                if suffix(first["path"]) == suffix(other["path"]) and not _same(
                    first, other
                ):
                    self.faults.append(
                        f"'{other['path']}' has the name of '{first['path']}', but "
                        "other content"
                    )
                    copies.pop(key, None)
        return copies

    def read_labels(self):
        """Return the columns of each utterance in the label files."""
        utterances, contradicted, spec = {}, set(), self._spec
        if not self.labels:
            self.faults.append(f"the label files {spec.labels.files} are missing")
        for utterance, columns, path in spec.labels.read(self.labels):
            try:
                columns = spec.decode(columns) | {"utterance": utterance}
            except KeyError as error:
                self.faults.append(
                    f"{utterance} has the unknown code {error} in '{path}'"
                )
                continue
            first = utterances.setdefault(utterance.lower(), columns)
            if first["emotion"] != columns["emotion"]:
                contradicted.add(utterance.lower())
                self.faults.append(
                    f"{utterance} has two labels, {first['emotion']} and "
                    f"{columns['emotion']}, the latter in '{path}'"
                )
        if isinstance(spec.labels, LabelLines):  # these label every utterance
            paths = {c["utterance"].lower(): c["path"] for c in self.recordings}
            unlabelled = sorted(set(paths) - set(utterances))
            self.faults += [f"'{paths[key]}' has no label" for key in unlabelled]
        return {
            key: columns
            for key, columns in utterances.items()
            if key not in contradicted
        }

    def read_speakers(self):
        """Return the columns of each speaker in the tables."""
        speakers = {}
        for path in self.tables:
            for speaker, columns in self._spec.speakers.read(path):
                try:
                    speakers[speaker] = self._spec.decode(columns)
                except KeyError as error:
                    self.faults.append(
                        f"speaker {speaker} has the unknown code {error} in '{path}'"
                    )
        return speakers


def _rank(columns):
    path = Path(columns["path"])
    return SUFFIXES.index(suffix(columns["path"])), len(path.parts), str(path)


def _same(one, other):
    try:
        return filecmp.cmp(one["path"], other["path"], shallow=False)
    except OSError:  # a file that cannot be read is reported by find_fault
        return True


def _load_one(spec, home, keep, download, errors):
    """Load the utterances of a corpus whose emotions are among those to keep."""
    files = CorpusFiles(spec, home)
    if not files.recordings and download:
        fetch(spec, home)
        files = CorpusFiles(spec, home)
    faults, videos = files.faults, files.videos
    if not (files.recordings or files.labels or faults):
        hint = f"; take the audio tracks out of its {len(videos)} videos"
        raise ValueError(
            f"No recording of {spec.name} is below "
            f"'{home}'{hint * bool(videos)}. To get the corpus: "
            f"{spec.access or 'see its declaration'}."
        )
    if spec.labels:
        utterances = files.read_labels()
        copies = files.candidates(utterances)
    else:
        copies = files.candidates()
        # A video whose audio was not taken out is a recording that is missing.
        utterances = {video["utterance"].lower(): video for video in videos}
        utterances |= {key: candidates[0] for key, candidates in copies.items()}
    speakers, rows, unlabelled = files.read_speakers(), [], 0
    for key in sorted(utterances):
        emotion = utterances[key]["emotion"]
        if emotion is None or (keep and emotion not in keep):
            unlabelled += emotion is None
            continue
        if key not in copies:
            faults.append(f"{utterances[key]['utterance']} is missing")
            continue
        found = [find_fault(columns["path"]) for columns in copies[key]]
        if all(found):
            faults.append(f"'{copies[key][0]['path']}' {found[0]}")
            continue
        row = utterances[key] | copies[key][found.index(None)] | {"emotion": emotion}
        rows.append(row | speakers.get(row["speaker"], {}))
    if faults and errors == "raise":
        rest = len(faults) - _SHOWN
        more = f"; and {rest} more" if rest > 0 else ""
        hint = " ".join(("", *spec.traps)) if spec.labels and not copies else ""
        raise ValueError(
            f"{spec.name} in '{home}': {len(faults)} recordings cannot be used: "
            f"{'; '.join(faults[:_SHOWN])}{more}. Pass errors='drop' to leave them "
            f"out.{hint}"
        )
    if not rows:
        wanted = f" of {sorted(keep)}" if keep else ""
        raise ValueError(
            f"{spec.name} in '{home}' has no recording{wanted} that can be used: "
            f"{len(faults)} are faulty, {unlabelled} have no agreed emotion."
        )
    for column in "speaker", "text":
        spelt, _ = unify_names([row.get(column, "") for row in rows])
        for row, name in zip(rows, spelt, strict=True):
            if column in row:
                row[column] = name
    rows.sort(key=lambda row: (row["speaker"], row["utterance"]))
    return _bunch(spec, rows, faults, unlabelled)


def _bunch(spec, rows, faults, unlabelled):
    names = dict.fromkeys((*_COLUMNS, "utterance", "speaker", "emotion"))
    names |= dict.fromkeys(name for row in rows for name in row if name != "path")
    frame = {name: np.array([row.get(name) or "" for row in rows]) for name in names}
    texts = frame["text"].astype(object)
    texts[texts == ""] = None
    n_speakers = len(np.unique(frame["speaker"]))
    notes = [
        f"{spec.title}",
        f"{len(rows)} recordings by {n_speakers} speakers; {unlabelled} without an "
        f"agreed emotion and {len(faults)} that cannot be used are left out.",
        f"Language: {spec.language}",
        f"Licence: {spec.license}",
        f"Cite: {spec.citation}",
        f"To get it: {spec.access}",
        *(f"Beware: {trap}" for trap in spec.traps),
    ]
    return Bunch(
        data=[row["path"] for row in rows],
        target=frame["emotion"].copy(),
        speakers=frame["speaker"].copy(),
        texts=texts,
        frame=frame,
        corpora=np.repeat(spec.name, len(rows)),
        channel=spec.channel,
        notes=list(spec.traps),
        protocol=None,
        dropped=faults,
        DESCR="\n".join(notes),
    )


def join_corpora(parts):
    """Join corpora, and put the name of the corpus in front of each speaker's name."""
    names = dict.fromkeys(name for part in parts for name in part.frame)
    blanks = [np.repeat("", len(part.data)) for part in parts]
    pairs = list(zip(parts, blanks, strict=True))
    frame = {
        name: np.concatenate([part.frame.get(name, blank) for part, blank in pairs])
        for name in names
    }
    corpora = np.concatenate([part.corpora for part in parts])
    speakers = [*map(joined_name, corpora, frame["speaker"])]
    texts = np.concatenate([part.texts for part in parts])
    texts[:] = [t and joined_name(c, t) for c, t in zip(corpora, texts, strict=True)]
    channels = {part.channel for part in parts}
    return Bunch(
        data=[path for part in parts for path in part.data],
        target=frame["emotion"],
        speakers=np.array(speakers),
        texts=texts,
        frame=frame,
        corpora=corpora,
        channel=channels.pop() if len(channels) == 1 else "mean",
        notes=[note for part in parts for note in part.notes],
        protocol=None,
        dropped=[fault for part in parts for fault in part.dropped],
        DESCR="\n\n".join(part.DESCR for part in parts),
    )
