"""Files: found by any of their names, told by their content, written completely."""

import contextlib
import functools
import os
import re
import stat
import time
import unicodedata
import uuid
from pathlib import Path
from typing import NamedTuple

# Suffixes that soundfile decodes. Lossless ones come first: of several copies of a
# recording, the one whose suffix stands first is used.
SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".flac", ".aif", ".aiff", ".aifc", ".w64", ".rf64"),
    *(".caf", ".au", ".snd", ".sph", ".nist", ".voc", ".ogg", ".oga", ".opus", ".mp3"),
)
TO_CONVERT = (
    *(".m4a", ".aac", ".webm", ".amr", ".wma", ".weba", ".3gp", ".3ga", ".m4b"),
    *(".mka", ".ape", ".ac3", ".mp2", ".ra", ".dss", ".tta", ".wv", ".spx", ".m4r"),
    *(".gsm", ".g722", ".vox", ".awb", ".dts", ".dsf", ".alac", ".raw", ".pcm"),
    *(".avi", ".mp4", ".mov", ".flv", ".mkv", ".mpg", ".mpeg", ".wmv", ".m4v"),
    *(".ogv", ".3g2", ".mts", ".m2ts", ".vob"),
)
"""Suffixes of audio and video that soundfile does not decode."""

_HOW_TO_CONVERT = "; convert it, for example with ffmpeg -i {0} {1}.wav"
_CONVERT = _HOW_TO_CONVERT.format("FILE", "FILE")
# What stands in files with the names of recordings, by their first bytes.
_CONTENTS = [
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), text)
    for pattern, text in (
        (rb"version https://git-lfs", "a git-lfs pointer; git lfs pull fetches it"),
        (rb"[./]*(git/)?annex/", "a git-annex pointer; git annex get fetches it"),
        (
            rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml|!--)",
            "a page in HTML or XML, as a failed download leaves it; download it again",
        ),
        (rb"\s*\{\s*\"", "text in JSON, as a failed download leaves it"),
        (rb"....ftyp", f"MPEG-4 audio (m4a, mp4){_CONVERT}"),
        (rb"#!AMR", f"AMR audio{_CONVERT}"),
        (rb"\x1a\x45\xdf\xa3", f"WebM or Matroska{_CONVERT}"),
        (rb"\xff[\xf0\xf1\xf8\xf9]", f"AAC audio{_CONVERT}"),
        (rb"\x30\x26\xb2\x75", f"Windows Media (wma){_CONVERT}"),
        (rb"PK\x03\x04", "a zip archive; unpack it"),
        (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!", "compressed; unpack it"),
        (rb"[\t\n\r -~]+\0*\Z", "text, as a failed download leaves it"),
        (rb"\x00\x05\x16\x07", "what macOS keeps beside a file, not the file itself"),
    )
]
_SHOWN = 5  # files that one message names; it counts the others
_JUST_NOW = 2 * 10**9  # nanoseconds; clocks of file systems are coarse


@contextlib.contextmanager
def atomic_write(path):
    """Open a file that replaces ``path`` only if the block ends without an error.

    A link stays, and the file that it leads to is replaced. An existing file keeps its
    mode. What is no regular file, such as a device or a pipe, is never replaced: it is
    opened and written, as any program does.
    """
    path = os.fspath(path)
    try:
        mode = os.stat(path).st_mode  # of what a link leads to
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode):
        with open(path, "wb") as file:
            yield file
        return
    folder, name = os.path.split(os.path.realpath(path))
    # A file system takes names of 255 bytes: what is added must not make it more.
    temporary = os.path.join(folder, f"{name[:50]}.{uuid.uuid4().hex}.tmp")
    private = None if mode is None else lambda *args: os.open(*args, mode=0o600)
    try:
        with open(temporary, "xb", opener=private) as file:
            if mode is not None:
                os.chmod(temporary, stat.S_IMODE(mode))
            yield file
        os.replace(temporary, os.path.join(folder, name))
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise


def check_path(path):
    """Refuse what is no path; a number would be a descriptor."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a path, got {path!r}.")


def check_regular(path):
    """Raise an OSError if a path is not a regular file, without opening it."""
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:  # a NUL in the name
        raise OSError(f"its name is not a valid file name ({error}).") from error
    if not stat.S_ISREG(mode):
        raise OSError("it is a folder, a device or a pipe, expected a regular file.")


def once_a_file(function):
    """Make a function of a file remember its values until the file changes.

    The file is a path or bytes, and the other arguments have a hash. Of bytes, and of a
    file that was written just now and could change unseen, it remembers nothing.
    """
    known = functools.lru_cache(maxsize=256)(
        lambda path, status, *args: function(path, *args)
    )

    @functools.wraps(function)
    def remembering(source, *args):
        if isinstance(source, bytes):
            return function(source, *args)
        found = os.stat(source)
        if time.time_ns() - found.st_mtime_ns < _JUST_NOW:
            return function(source, *args)
        status = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
        return known(os.path.abspath(source), status, *args)

    return remembering


def find_content(source):
    """Return what a file or bytes hold in place of audio, with a remedy, or None."""
    head = source
    if not isinstance(source, bytes):
        with open(source, "rb") as stream:
            head = stream.read(512)
    return next((text for pattern, text in _CONTENTS if pattern.match(head)), None)


@contextlib.contextmanager
def naming_content(source):
    """Raise an OSError that says what a file is, where it does not decode."""
    try:
        yield
    except RuntimeError as error:
        content = find_content(source)
        if content is None:  # without the name, which the caller tells in its own way
            raise OSError(str(error).rpartition(": ")[2]) from error
        raise OSError(f"it is {content}.") from error


class FoundRecordings(NamedTuple):
    """The recordings below a folder, and what was left out, which its text says."""

    files: list
    skipped: list  # audio and video that soundfile does not decode
    unreadable: list  # messages on folders

    def __str__(self):
        if not self.skipped:
            return "; ".join(self.unreadable)
        names = ", ".join(f"'{path}'" for path in self.skipped[:_SHOWN])
        rest = len(self.skipped) - _SHOWN
        more = f" and {rest} more" if rest > 0 else ""
        base = os.path.basename(self.skipped[0])
        how = _HOW_TO_CONVERT.format(base, os.path.splitext(base)[0])
        told = (
            f"{len(self.skipped)} file(s) are skipped, because soundfile does not "
            f"decode them: {names}{more}{how}"
        )
        return "; ".join([told, *self.unreadable])


def find_recordings(folder):
    """Find the recordings below a folder, by their suffixes."""
    found = FoundRecordings([], [], [])
    for path, _ in walk(folder, found.unreadable):
        if suffix(path) in SUFFIXES:
            found.files.append(path)
        elif suffix(path) in TO_CONVERT:
            found.skipped.append(path)
    return found


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
        for spelling in (name, name.replace("\\", "/")):
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
