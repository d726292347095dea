"""What of a corpus lies below a folder, and what is wrong with it."""

import filecmp
import os
import re
from fnmatch import fnmatch
from pathlib import Path

# What soundfile decodes, lossless first: of several copies the first is taken.
_SUFFIXES = (
    *(".wav", ".flac", ".aif", ".aiff", ".aifc", ".w64", ".rf64", ".caf", ".au"),
    *(".snd", ".sph", ".nist", ".voc", ".ogg", ".oga", ".opus", ".mp3"),
)
_VIDEO = (".avi", ".mp4", ".mov", ".flv", ".mkv", ".m4a", ".mpg", ".wmv")
_TAIL = 1024  # frames at the end that tell whether a file is whole


def plain_name(name):
    """Return a name without what its spellings differ in."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def search(spec, home, faults):
    """Return recordings (columns), label files, speaker tables, number of videos."""
    own = [p for p in _folders(home) if plain_name(p.name) == plain_name(spec.name)]
    found, labels, tables, videos = [], [], [], 0
    for folder, folders, files in os.walk(own[0] if own else home):
        # Hidden ones are remains of archives (._03a01Wa.wav) or of this library.
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(f for f in files if not f.startswith(".")):
            stem, suffix = os.path.splitext(name)
            suffix = suffix.lower().strip()
            path = os.path.join(folder, name)
            for files, kept in (spec.labels, labels), (spec.speakers, tables):
                if files and fnmatch(path.lower(), f"*/{files.files.lower()}"):
                    kept.append(path)
            if suffix not in _SUFFIXES and suffix not in _VIDEO:
                continue
            parts = (*Path(os.path.relpath(folder, home)).parts, stem)
            try:
                columns = spec.parse("/".join(part.strip() for part in parts))
            except KeyError as error:
                faults.append(f"'{path}' has the unknown code {error}")
                continue
            if columns and suffix in _VIDEO:
                videos += 1
            elif columns:
                found.append(columns | {"path": path})
    return found, labels, tables, videos


def _folders(home):
    return [p for p in home.iterdir() if p.is_dir()] if home.is_dir() else []


def one_path_each(found, faults):
    """Return the recordings by utterance; copies are left out, look-alikes refused."""

    def rank(columns):
        path = Path(columns["path"])
        suffix = path.suffix.lower().strip()
        return _SUFFIXES.index(suffix), len(path.parts), str(path)

    kept = {}
    for columns in sorted(found, key=rank):
        key = columns["utterance"].lower()
        first = kept.setdefault(key, columns)["path"]
        path = columns["path"]
        same_kind = Path(first).suffix.lower() == Path(path).suffix.lower()
        if first != path and same_kind and not filecmp.cmp(first, path, shallow=False):
            faults.append(f"'{path}' has the name of '{first}', but other content")
    return kept


def read_labels(spec, paths, faults):
    """Return what the label files say of each utterance."""
    told = {}
    for path in paths:
        for utterance, columns in spec.labels.read(path):
            try:
                columns = spec.decode(columns) | {"utterance": utterance}
            except KeyError as error:
                faults.append(f"{utterance} has the unknown code {error} in '{path}'")
                continue
            first = told.setdefault(utterance.lower(), columns)
            if first["emotion"] != columns["emotion"]:
                faults.append(
                    f"{utterance} has two labels, {first['emotion']} and "
                    f"{columns['emotion']}, the latter in '{path}'"
                )
    if not paths:
        faults.append(f"the label files {spec.labels.files} are missing")
    return told


def find_fault(path):
    """Say what is wrong with a file, from its header and its end; None if nothing."""
    import soundfile

    if os.path.getsize(path) == 0:
        return "is empty"
    try:
        with soundfile.SoundFile(path) as file:
            if file.frames == 0:
                return "holds no samples"
            wanted = min(file.frames, _TAIL)
            file.seek(file.frames - wanted)
            # libsndfile cuts what the header of a WAV file claims, and says so here.
            whole = "should be" not in file.extra_info
            if not whole or len(file.read(wanted)) < wanted:
                return "is cut short"
    except (OSError, RuntimeError) as error:
        return f"does not decode ({error})"
    return None
