"""The files of a corpus below a folder, and the faults in them."""

import filecmp
import os
import re
from pathlib import Path, PurePath

from ..features._audio_files import CUT, is_estimate, length_fault, open_audio
from ._spec import LabelLines

# Suffixes that soundfile decodes. Lossless ones come first: of several copies of a
# recording, the one whose suffix stands first is used.
_SUFFIXES = (
    *(".wav", ".flac", ".aif", ".aiff", ".aifc", ".w64", ".rf64", ".caf", ".au"),
    *(".snd", ".sph", ".nist", ".voc", ".ogg", ".oga", ".opus", ".mp3"),
)
_VIDEO = (".avi", ".mp4", ".mov", ".flv", ".mkv", ".m4a", ".mpg", ".wmv")
_TAIL = 1024  # frames at the end that are read to see whether a file is whole


def plain_name(name):
    """Return a name in lower case, without spaces, hyphens and other signs."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


class CorpusFiles:
    """The files of a corpus below a folder.

    Parameters
    ----------
    spec : CorpusSpec
        The corpus.
    home : Path
        The folder of the corpus, or one above it.

    Attributes
    ----------
    recordings, videos : list of dict of str to str
        The columns that their paths hold, and the ``path`` itself.
    labels, tables : list of str
        Paths of the label files, and of the tables of speakers.
    faults : list of str
        A message for each utterance or file that has a fault.
    """

    def __init__(self, spec, home):
        self.recordings, self.videos, self.labels, self.tables = [], [], [], []
        self.faults, self._spec, self._home = [], spec, home
        spellings = {plain_name(name) for name in (spec.name, *spec.aliases)}
        folders = sorted(p for p in _children(home) if p.is_dir())
        corpus_folders = [p for p in folders if plain_name(p.name) in spellings]
        for folder in corpus_folders or [home]:
            if home.is_dir():
                self._walk(folder)

    def _walk(self, top):
        seen = set()
        for folder, folders, files in os.walk(
            top, followlinks=True, onerror=self._unreadable
        ):
            real = os.path.realpath(folder)
            if real in seen:  # symbolic links may lead in circles
                folders.clear()
                continue
            seen.add(real)
            # Hidden files are remains of archives (._03a01Wa.wav) or of a download.
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            parts = Path(os.path.relpath(folder, self._home)).parts
            for name in sorted(f for f in files if not f.startswith(".")):
                self._file(os.path.join(folder, name), parts)

    def _unreadable(self, error):
        self.faults.append(f"'{error.filename}' cannot be read ({error.strerror})")

    def _file(self, path, parts):
        spec = self._spec
        for kind, paths in (spec.labels, self.labels), (spec.speakers, self.tables):
            if kind and PurePath(path.lower()).match(kind.files.lower()):
                paths.append(path)
        stem, suffix = os.path.splitext(os.path.basename(path))
        suffix = suffix.lower().strip()
        files = self.recordings if suffix in _SUFFIXES else self.videos
        if suffix not in _SUFFIXES and suffix not in _VIDEO:
            return
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
                if _kind(first) == _kind(other) and not _same(first, other):
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


def _children(home):
    return home.iterdir() if home.is_dir() else ()


def _kind(columns):
    return Path(columns["path"]).suffix.lower().strip()


def _rank(columns):
    path = Path(columns["path"])
    return _SUFFIXES.index(_kind(columns)), len(path.parts), str(path)


def _same(one, other):
    try:
        return filecmp.cmp(one["path"], other["path"], shallow=False)
    except OSError:  # a file that cannot be read is reported by find_fault
        return True
