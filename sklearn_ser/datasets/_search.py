"""What of a corpus lies below a folder, and what is wrong with it."""

import filecmp
import os
import re
from pathlib import Path, PurePath

from sklearn_ser.datasets._spec import LabelLines

# What soundfile decodes, lossless first: of several copies the first is taken.
_SUFFIXES = (
    *(".wav", ".flac", ".aif", ".aiff", ".aifc", ".w64", ".rf64", ".caf", ".au"),
    *(".snd", ".sph", ".nist", ".voc", ".ogg", ".oga", ".opus", ".mp3"),
)
_VIDEO = (".avi", ".mp4", ".mov", ".flv", ".mkv", ".m4a", ".mpg", ".wmv")
_TAIL = 1024  # frames at the end that tell whether a file is whole
# What libsndfile says of a WAV file whose header claims more than there is.
_CLAIM = re.compile(r"^data\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_STREAMED = 0x7FFFF000  # claims from here on stand for an unknown length


def plain_name(name):
    """Return a name without what its spellings differ in."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


class Finds:
    """The files of a corpus below a folder.

    Attributes
    ----------
    recordings, videos : list of dict of str to str
        What their paths tell, with the ``path`` itself.
    labels, tables : list of str
        Label files, and tables of speakers.
    faults : list of str
        What is wrong, one text for each utterance or file.
    """

    def __init__(self, spec, home):
        self.recordings, self.videos, self.labels, self.tables = [], [], [], []
        self.faults, self._spec, self._home = [], spec, home
        spellings = {plain_name(name) for name in (spec.name, *spec.aliases)}
        folders = sorted(p for p in _children(home) if p.is_dir())
        own = [p for p in folders if plain_name(p.name) in spellings]
        for folder in own or [home]:
            if home.is_dir():
                self._walk(folder)

    def _walk(self, top):
        seen = set()
        for folder, folders, files in os.walk(
            top, followlinks=True, onerror=self._unreadable
        ):
            real = os.path.realpath(folder)
            if real in seen:  # links may go round in circles
                folders.clear()
                continue
            seen.add(real)
            # Hidden ones are remains of archives (._03a01Wa.wav) or of this library.
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            parts = Path(os.path.relpath(folder, self._home)).parts
            for name in sorted(f for f in files if not f.startswith(".")):
                self._file(os.path.join(folder, name), parts)

    def _unreadable(self, error):
        self.faults.append(f"'{error.filename}' cannot be read ({error.strerror})")

    def _file(self, path, parts):
        spec = self._spec
        for kind, kept in (spec.labels, self.labels), (spec.speakers, self.tables):
            if kind and PurePath(path.lower()).match(kind.files.lower()):
                kept.append(path)
        stem, suffix = os.path.splitext(os.path.basename(path))
        suffix = suffix.lower().strip()
        kept = self.recordings if suffix in _SUFFIXES else self.videos
        if suffix not in _SUFFIXES and suffix not in _VIDEO:
            return
        try:
            told = spec.parse("/".join(part.strip() for part in (*parts, stem)))
        except KeyError as error:
            self.faults.append(f"'{path}' has the unknown code {error}")
            return
        if told:
            kept.append(told | {"path": path})

    def candidates(self, wanted=None):
        """Return the copies of each utterance, the one to take first.

        Two of a kind with other content are a fault, and neither is returned.
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
        """Return what the label files say of each utterance."""
        told, contradicted, spec = {}, set(), self._spec
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
            first = told.setdefault(utterance.lower(), columns)
            if first["emotion"] != columns["emotion"]:
                contradicted.add(utterance.lower())
                self.faults.append(
                    f"{utterance} has two labels, {first['emotion']} and "
                    f"{columns['emotion']}, the latter in '{path}'"
                )
        if isinstance(spec.labels, LabelLines):  # which label every utterance
            named = {c["utterance"].lower(): c["path"] for c in self.recordings}
            lost = sorted(set(named) - set(told))
            self.faults += [f"'{named[key]}' has no label" for key in lost]
        return {key: told[key] for key in told if key not in contradicted}

    def read_speakers(self):
        """Return what the tables say of each speaker."""
        told = {}
        for path in self.tables:
            for speaker, columns in self._spec.speakers.read(path):
                try:
                    told[speaker] = self._spec.decode(columns)
                except KeyError as error:
                    self.faults.append(
                        f"speaker {speaker} has the unknown code {error} in '{path}'"
                    )
        return told


def find_fault(path):
    """Say what is wrong with a file, from its header and its end; None if nothing.

    Damage in its middle shows when it is decoded.
    """
    import soundfile

    try:
        if os.path.getsize(path) == 0:
            return "is empty"
        with soundfile.SoundFile(path) as file:
            if file.frames == 0:
                return "holds no samples"
            claim = _CLAIM.search(file.extra_info)
            if claim and int(claim[2]) + 1 < int(claim[1]) < _STREAMED:
                return "is cut short"
            if file.seekable():
                wanted = min(file.frames, _TAIL)
                file.seek(file.frames - wanted)
                if len(file.read(wanted)) < wanted:
                    return "is cut short"
    except FileNotFoundError:  # a link to nowhere
        return "is missing"
    except (OSError, RuntimeError) as error:
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
    except OSError:  # what cannot be read is found faulty later
        return True
