"""Recordings on disk: the walk below a folder, names from other systems, faults."""

import contextlib
import os
import unicodedata
from pathlib import Path
from typing import NamedTuple

from .._files import HOW_TO_CONVERT
from ..features._audio_files import CUT, is_estimate, length_fault, open_audio

# Suffixes that soundfile decodes. Lossless ones come first: of several copies of a
# recording, the one whose suffix stands first is used.
SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".flac", ".aif", ".aiff", ".aifc", ".w64", ".rf64"),
    *(".caf", ".au", ".snd", ".sph", ".nist", ".voc", ".ogg", ".oga", ".opus", ".mp3"),
)
_OTHER_AUDIO = (
    *(".m4a", ".aac", ".webm", ".amr", ".wma", ".weba", ".3gp", ".3ga", ".m4b"),
    *(".mka", ".ape", ".ac3", ".mp2", ".ra", ".dss", ".tta", ".wv", ".spx", ".m4r"),
    *(".gsm", ".g722", ".vox", ".awb", ".dts", ".dsf", ".alac", ".raw", ".pcm"),
)
_VIDEO = (".avi", ".mp4", ".mov", ".flv", ".mkv", ".mpg", ".mpeg", ".wmv", ".m4v")
_VIDEO += (".ogv", ".3g2", ".mts", ".m2ts", ".vob")
TO_CONVERT = (*_OTHER_AUDIO, *_VIDEO)
"""Suffixes of audio and video that soundfile does not decode."""

_SHOWN = 5  # files that one message names; it counts the others
_TAIL = 1024  # frames at the end that are read to see whether a file is whole


class FoundRecordings(NamedTuple):
    """The recordings below a folder, and what was left out, which its text says."""

    files: list
    skipped: list  # audio and video that soundfile does not decode
    unreadable: list  # messages on folders

    def __str__(self):
        return "; ".join([*describe_skipped(self.skipped), *self.unreadable])


def find_recordings(folder):
    """Find the recordings below a folder, by their suffixes.

    Hidden files are left out, such as those that macOS keeps beside others (._a.wav).
    """
    found = FoundRecordings([], [], [])
    for path, _ in walk(folder, found.unreadable):
        kind = suffix(path)
        if kind in SUFFIXES:
            found.files.append(path)
        elif kind in TO_CONVERT:
            found.skipped.append(path)
    return found


def describe_skipped(paths):
    """Return a list of one sentence on files that do not decode, or of none."""
    if not paths:
        return []
    names = ", ".join(f"'{path}'" for path in paths[:_SHOWN])
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    base = os.path.basename(paths[0])
    how = HOW_TO_CONVERT.format(base, os.path.splitext(base)[0])
    return [
        f"{len(paths)} file(s) are skipped, because soundfile does not decode them: "
        f"{names}{more}; {how}"
    ]


def suffix(path):
    """Return the suffix of a file in lower case."""
    return os.path.splitext(path)[1].lower().strip()


def walk(top, unreadable):
    """Yield each file below a folder, and the names of the folders that lead to it.

    Hidden ones are left out: they are remains of archives (._03a01Wa.wav) or of a
    download. `unreadable` gets a message for each folder that cannot be read.
    """

    def note(error):
        unreadable.append(f"'{error.filename}' cannot be read ({error.strerror})")

    seen = set()
    for folder, folders, files in os.walk(top, followlinks=True, onerror=note):
        real = os.path.realpath(folder)
        if real in seen:  # symbolic links may lead in circles
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        parts = Path(os.path.relpath(folder, top)).parts
        for name in sorted(f for f in files if not f.startswith(".")):
            yield os.path.join(folder, name), parts


class FileFinder:
    """Finds files under the names that another system gave them.

    A name may have backslashes, another Unicode form of accented letters (macOS: NFD)
    or another letter case than the file on this disk.
    """

    def __init__(self, root):
        self._root, self._listings = os.path.abspath(root), {}

    def find(self, name):
        """Return the path of a file, and the files that it may mean if it has none."""
        told = os.path.abspath(os.path.join(self._root, name))
        if os.path.isfile(told):  # where Path.is_file would raise, False will do
            return told, []
        found = []
        for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
            path = os.path.abspath(os.path.join(self._root, spelling))
            found = found or [p for p in self._like(path) if os.path.isfile(p)]
        return (found[0], []) if len(found) == 1 else (told, found)

    def _like(self, path):
        """Return the existing paths that differ in letter case or Unicode form."""
        parts = []
        while not os.path.isdir(path):
            path, part = os.path.split(path)
            if not part:
                return []
            parts.append(part)
        paths = [path]
        for part in reversed(parts):
            paths = [
                os.path.join(folder, name)
                for folder in paths
                for name in self._listing(folder).get(_folded(part), ())
            ]
        return paths

    def _listing(self, folder):
        if folder not in self._listings:
            names = self._listings[folder] = {}
            with contextlib.suppress(OSError):  # it is no folder, or closed to us
                for name in sorted(os.listdir(folder)):
                    names.setdefault(_folded(name), []).append(name)
        return self._listings[folder]


def _folded(name):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


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
