"""The option ``--turns``: which turns belong to which recording, and their rows."""

import os
from pathlib import Path

from .options import refuse

CHANNELS = "channels"
_SUFFIXES = (".rttm", ".csv", ".tsv", ".txt", ".json")


def add_argument(option):
    """Add the option."""
    option(
        "--turns",
        metavar="TURNS",
        help="who talks when: RTTM, CSV (start, end, speaker), labels of Audacity or "
        "JSON of whisperX; a folder has a file of the same stem for each recording; "
        "channels means one speaker on each channel; prints a row for each turn",
    )


def find_turns(where, files):
    """Return the turns of each recording by its file, or what stands for them."""
    from ..timeline import read_turns

    tables = [file for file in files if file.lower().endswith(".csv")]
    refuse(
        bool(tables),
        "--turns",
        f"the turns say who speaks: give recordings, not the table(s) {tables}",
    )
    if where == CHANNELS:
        return dict.fromkeys(files, CHANNELS)
    paths = _files_of_turns(where, files)
    found = {}
    for file, path in paths.items():
        try:
            found[file] = read_turns(path, recording=file)
        except (OSError, ValueError) as error:
            raise ValueError(f"argument --turns: {error}") from error
    return found


def _files_of_turns(where, files):
    refuse(
        not os.path.exists(where),
        "--turns",
        f"must be an existing file or folder, found none at '{where}'",
    )
    if not os.path.isdir(where):
        refuse(
            len(files) > 1,
            "--turns",
            f"'{where}' is one file for {len(files)} recordings; give a folder that "
            "has a file of the same stem for each",
        )
        return {files[0]: where}
    beside, paths, taken = {}, {}, {}
    for path in sorted(Path(where).iterdir()):
        if path.suffix.lower() in _SUFFIXES:
            beside.setdefault(path.stem, []).append(path)
    for file in files:
        own = beside.get(Path(file).stem, [])
        refuse(not own, "--turns", f"'{where}' has no turns of '{file}'")
        names = " and ".join(f"'{path.name}'" for path in own)
        refuse(len(own) > 1, "--turns", f"'{where}' has {names} for '{file}'")
        paths[file], other = own[0], taken.setdefault(own[0], file)
        refuse(
            os.path.realpath(file) != os.path.realpath(other),
            "--turns",
            f"'{own[0]}' fits '{other}' and '{file}', and has the turns of one; give "
            "the recordings one by one, each with its file of turns",
        )
    return paths
