"""Corpora in their authors' folders, loaded from their declarations."""

import filecmp
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from .._csv import joined_name, unify_names
from .._files import SUFFIXES, TO_CONVERT, suffix, walk
from .._validation import first_of, import_or_raise
from ..features._audio_files import CUT, is_estimate, length_fault, open_audio
from ._spec import CorpusSpec, LabelLines
from .corpora import CORPORA
from .protocols import apply_protocol, check_protocol

_SHOWN = 20  # faults that one message names; it counts the others
_COLUMNS = ("gender", "text", "session", "intensity", "raters")
_TAIL = 1024  # frames at the end that are read to see whether a file is whole
_TIMEOUT = 30  # seconds of a download without a byte


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
    """Load a corpus as its authors distribute it, in any format that soundfile decodes.

    Emotions, speakers and other columns come from the names of the files and from the
    label files of the corpus.

    Parameters
    ----------
    name : str, CorpusSpec, or list of these
        A corpus in :func:`list_corpora`, in any spelling ("CREMA-D", "crema_d"), or the
        declaration of another corpus. Several corpora are joined, as for a transfer.
    data_home : str or path-like, default=None
        The folder of the corpus, or any folder above it. None reads the environment
        variable ``SKLEARN_SER_DATA``.
    protocol : str, default=None
        A protocol in :func:`list_protocols`. The corpus then has only the protocol's
        classes, and ``corpus.protocol`` splits it. None loads everything.
    download : bool, default=False
        If True, download the corpus into `data_home` if it has no recording there and
        its licence allows the download.
    errors : {"raise", "drop"}, default="raise"
        "drop" leaves out the recordings that are missing, empty or cut short, or that
        have two labels or none. "raise" raises an error that names them.

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
            The code of the sentence, ``"corpus/text"`` for several corpora, or None
            where speech is free.
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
        corpus. If recordings cannot be used, or the corpus cannot be downloaded.
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
    keep = None if protocol is None else check_protocol(protocol, names).classes
    home = _find_home(data_home)
    parts = [_load_one(spec, home, keep, download, errors) for spec in specs]
    corpus = join_corpora(parts) if several else parts[0]
    return corpus if protocol is None else apply_protocol(protocol, corpus)


def find_spec(name):
    """Return the declaration of a corpus by a name in any spelling."""
    if isinstance(name, CorpusSpec):
        return name
    for spec in CORPORA.values() if isinstance(name, str) else ():
        if _plain(name) in _spellings(spec):
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


def _spellings(spec):
    return {_plain(name) for name in (spec.name, *spec.aliases)}


class CorpusFiles:
    """The files of a corpus below a folder, and what is wrong with them."""

    def __init__(self, spec, home):
        self.recordings, self.videos, self.labels, self.tables = [], [], [], []
        self.faults, self._spec = [], spec
        inside = sorted(home.iterdir()) if home.is_dir() else []
        names = _spellings(spec)
        named = [
            path for path in inside if _plain(path.name) in names and path.is_dir()
        ]
        for folder in named or [home] * home.is_dir():
            for path, parts in walk(folder, self.faults):
                self._add(path, parts)

    def _add(self, path, parts):
        spec = self._spec
        for kind, paths in (spec.labels, self.labels), (spec.speakers, self.tables):
            if kind and PurePath(path.lower()).match(kind.files.lower()):
                paths.append(path)
        kind = suffix(path)
        if kind in SUFFIXES or kind in TO_CONVERT:
            stem = os.path.splitext(os.path.basename(path))[0]
            name = "/".join(part.strip() for part in (*parts, stem))
            columns = self._decode(spec.parse, name, f"'{path}'")
            if columns:
                files = self.recordings if kind in SUFFIXES else self.videos
                files.append(columns | {"path": path})

    def _decode(self, decode, codes, whose, place=""):
        """Return columns by their codes; None, and a fault, if one has no meaning."""
        try:
            return decode(codes)
        except KeyError as error:
            self.faults.append(f"{whose} has the unknown code {error}{place}")
            return None

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
            first, *others = (columns["path"] for columns in copies[key])
            for other in others:
                if suffix(first) == suffix(other) and not _same(first, other):
                    self.faults.append(
                        f"'{other}' has the name of '{first}', but other content"
                    )
                    copies.pop(key, None)
        return copies

    def read_labels(self):
        """Return the columns of each utterance in the label files."""
        utterances, contradicted, spec = {}, set(), self._spec
        if not self.labels:
            self.faults.append(f"the label files {spec.labels.files} are missing")
        for name, codes, path in spec.labels.read(self.labels):
            columns = self._decode(spec.decode, codes, name, f" in '{path}'")
            if columns is None:
                continue
            key = name.lower()
            first = utterances.setdefault(key, columns | {"utterance": name})
            if first["emotion"] != columns["emotion"]:
                contradicted.add(key)
                self.faults.append(
                    f"{name} has two labels, {first['emotion']} and "
                    f"{columns['emotion']}, the latter in '{path}'"
                )
        if isinstance(spec.labels, LabelLines):  # these label every utterance
            paths = {c["utterance"].lower(): c["path"] for c in self.recordings}
            unlabelled = sorted(set(paths) - set(utterances))
            self.faults += [f"'{paths[key]}' has no label" for key in unlabelled]
        return {key: utterances[key] for key in utterances if key not in contradicted}

    def read_speakers(self):
        """Return the columns of each speaker in the tables."""
        speakers = {}
        for path in self.tables:
            for name, codes in self._spec.speakers.read(path):
                whose = f"speaker {name}"
                columns = self._decode(self._spec.decode, codes, whose, f" in '{path}'")
                speakers |= {} if columns is None else {name: columns}
        return speakers


def _rank(columns):
    path = Path(columns["path"])
    return SUFFIXES.index(suffix(path)), len(path.parts), str(path)


def _same(one, other):
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:  # a file that cannot be read is reported by find_fault
        return True


def find_fault(path):
    """Return the fault of a file, or None. Only its header and end are read.

    Damage in its middle shows only when it is decoded.
    """
    try:
        if os.path.getsize(path) == 0:
            return "is empty"
        with open_audio(path) as file:
            fault = length_fault(file, path)
            if fault is not None or file.frames == 0:
                return fault or "holds no samples"
            if file.seekable() and not is_estimate(file, path):
                wanted = min(file.frames, _TAIL)
                file.seek(file.frames - wanted)
                if len(file.read(wanted)) < wanted:
                    return CUT
    except FileNotFoundError:  # a link to nowhere
        return "is missing"
    except (OSError, RuntimeError, TypeError) as error:
        return f"does not decode ({error})"
    return None


def _fetch(spec, home):
    """Download a corpus and unpack it to a folder of its name."""
    archive, folder = spec.archive, home / spec.name
    by_hand = f"To get it: {spec.access or 'see its declaration'}."
    if archive is None:
        raise ValueError(f"{spec.name} cannot be downloaded without a form. {by_hand}")
    if archive.known_hash is None:
        raise ValueError(
            f"{spec.name} is not downloaded, because the checksum of its archive is "
            f"not known. {by_hand}"
        )
    if folder.exists():
        raise ValueError(
            f"'{folder}' exists without recordings of {spec.name}: remove it first."
        )
    pooch = import_or_raise("pooch", "datasets", "download=True needs")
    home.mkdir(parents=True, exist_ok=True)
    # A hidden folder, which load_corpus does not search. It is always deleted.
    with tempfile.TemporaryDirectory(dir=home, prefix=f".{spec.name}-") as work:
        try:
            path = pooch.retrieve(
                archive.url,
                archive.known_hash,
                fname="archive.zip",
                path=work,
                downloader=pooch.HTTPDownloader(progressbar=True, timeout=_TIMEOUT),
            )
        except OSError as error:
            raise ConnectionError(
                f"{spec.name} could not be downloaded from {archive.url}: {error}. "
                f"No file was kept. Try again, or download it by hand: {spec.access}."
            ) from error
        except ValueError as error:
            raise ValueError(
                f"The download from {archive.url} is not the archive of {spec.name}: "
                f"{error} No file was kept. {by_hand}"
            ) from error
        try:  # the names of files that lead elsewhere lose what leads there
            pooch.Unzip(extract_dir="unpacked")(path, "download", None)
            os.replace(Path(work, "unpacked"), folder)
        # RuntimeError: it is encrypted; OSError: a name that is a file and a folder.
        except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError) as e:
            raise ValueError(f"The archive cannot be unpacked: {e}.") from e


def _load_one(spec, home, keep, download, errors):
    """Load the utterances of a corpus whose emotions are among those to keep."""
    files = CorpusFiles(spec, home)
    if not files.recordings and download:
        _fetch(spec, home)
        files = CorpusFiles(spec, home)
    faults, videos = files.faults, files.videos
    if not (files.recordings or files.labels or faults):
        hint = f"; take the audio tracks out of its {len(videos)} videos"
        raise ValueError(
            f"No recording of {spec.name} is below "
            f"'{home}'{hint * bool(videos)}. To get the corpus: "
            f"{spec.access or 'see its declaration'}."
        )
    utterances = files.read_labels() if spec.labels else None
    copies = files.candidates(utterances)
    if utterances is None:
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
        hint = " ".join(("", *spec.traps)) if spec.labels and not copies else ""
        raise ValueError(
            f"{spec.name} in '{home}': {len(faults)} recordings cannot be used: "
            f"{first_of(faults, '; ', _SHOWN)}. Pass errors='drop' to leave them "
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
