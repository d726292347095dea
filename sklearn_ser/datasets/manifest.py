"""Corpora listed in a table: a CSV file, or the rows of a Hugging Face dataset."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from .._csv import (
    clean_name,
    name_key,
    read_table,
    seconds_of,
    unify_names,
    unify_texts,
)
from .._files import FileFinder
from .._validation import (
    first_of,
    import_or_raise,
    is_missing,
    refuse_emotions_as_speakers,
    shortened,
)
from ..exceptions import warn_caller
from ..features._audio_files import WHOLE, sample_range
from ..features.audio import as_segment, describe, times_of
from .duplicates import length_of, source_of

_REQUIRED = ("file", "speaker", "emotion")
_RENAMED = (*_REQUIRED, "text", "start", "end")
_NAMES = ("speaker", "emotion")
_LONGEST = 200  # characters of these: NumPy gives each row those of the longest

# Of names in which spaces stand for all that is no letter and no digit: "start (s)".
_OTHER_UNITS = r"ms|msecs?|milliseconds?|samples?|frames?|mins?|minutes?|idx|index"
_PART = r"seg(ment)?|utt(erance)?|turn|clip|audio"
_UNIT = rf"( ?(time|times?tamp|s|sec|secs|seconds?|of|{_PART}|{_OTHER_UNITS}))*"
_WHOLE = rf"(({_PART}|samples?|frames?|time|t) ?)?"
# Columns that make of a row a part of a recording.
_TIMES = {
    kind: re.compile(f"{_WHOLE}({names}){_UNIT}")
    for kind, names in (
        ("start", r"start|begin|from|onset|xmin|tmin|t ?0|first (?=sample|frame)"),
        ("end", r"end|stop|to|xmax|tmax|t ?1|last (?=sample|frame)"),
        ("offset", "offset"),  # an end beside an onset, else a start
        ("duration", "duration|dur|length|(num|n) ?(?=samples|frames)"),
    )
}
_NO_SECONDS = re.compile(rf"\b({_OTHER_UNITS})\b")
_CHANNEL = re.compile(r"(audio ?)?(ch|chan|channels?|side)( ?(id|index|number|no))?")
_SIDE = re.compile(r"-?\d+(\.0)?|left|right|[lrab]")
_NOTHING = ("", "nat", "nan", "none", "null", "na", "<na>", "n/a")
# What programs write for a missing value, and people for no name.
_MISSING = {"nan", "NaN", "-nan", "<NA>", "NaT", "None", "null", "NULL"}
_MISSING |= {"n/a", "N/A", "#N/A"}
_PART_OF_ONE = "which make of a row a part of a recording, expected"
_RENAME = "give it another name"


def load_manifest(
    csv: str | PathLike | Iterable[Mapping[str, Any]],
    *,
    root: str | PathLike | None = None,
    as_frame: bool = False,
    columns: Mapping[str, str] | None = None,
) -> Bunch:
    """Load a corpus from a table with one row for each recording, or segment of one.

    Parameters
    ----------
    csv : str, path-like or iterable of mappings
        A CSV file in UTF-8, or in UTF-16 as Excel writes it, with commas, semicolons,
        tabs or bars between the cells. The first row names the columns. ``file``,
        ``speaker`` and ``emotion`` are required, in any order and letter case. ``text``
        is the sentence that is said, or a code of it. Blank lines, and spaces around
        names and values, are ignored. What programs write for a missing value, such as
        nan or #N/A, counts as an empty cell.

        ``start`` and ``end`` make of a row a segment of its file: seconds (1.5), a
        clock (1:02.5) or what audformat writes (0 days 00:00:01.5). Without the one the
        segment begins with the file, and without the other it ends with it. Usual
        names such as ``onset``, ``t0`` and ``Begin (s)`` are read, too, and a
        ``duration`` beside a start. Columns in other units, and a ``channel``, are
        refused.

        Rows in memory are mappings with the same names, such as those of a Hugging Face
        dataset. Their ``file``, or ``audio``, is any recording.
    root : str or path-like, default=None
        The start folder of relative paths in ``file``. None takes the folder of the CSV
        file, or the current folder for rows.
    as_frame : bool, default=False
        If True, ``frame`` is a pandas DataFrame.
    columns : dict of str to str, default=None
        The names of the columns ``file``, ``speaker``, ``emotion``, ``text``, ``start``
        and ``end``, if the table has other names, as in ``{"emotion": "label"}``. If
        the table also has a column ``emotion``, it is kept as ``"original emotion"``.

    Returns
    -------
    corpus : :class:`~sklearn.utils.Bunch`
        In the order of the rows.

        data : list of str or dict
            Absolute paths of the recordings. A segment is a mapping with the keys
            ``path``, ``start`` and ``end``. Rows in memory may hold other recordings.
        target : ndarray of shape (n_samples,), dtype str
            The emotions. Spellings that differ only in letter case, Unicode form
            (NFKC), hidden characters or spaces are one emotion, in the most frequent
            spelling without hidden characters.
        speakers : ndarray of shape (n_samples,), dtype str
            The speakers as text: "03" stays "03". Their spellings are unified, too,
            but a space makes another speaker, however wide it is.
        texts : ndarray of shape (n_samples,), dtype object
            The sentences, unified like the speakers and whatever their punctuation
            is, and None where ``text`` is empty or missing.
        sessions : ndarray of shape (n_samples,), dtype int
            Equal numbers for segments of one recording. As `groups` of an evaluation
            they keep these segments together.
        rows : ndarray of shape (n_samples,), dtype int
            The lines of the file, from 1 on, or the places of rows in memory, from 0.
        frame : dict of str to ndarray of shape (n_samples,), or DataFrame
            All columns as text, with names in lower case: ``speaker`` and ``emotion``
            as above, of at most 200 characters, and the others as in the table, as
            object arrays.
        DESCR : str
            The origin and the size of the corpus.

    Raises
    ------
    ValueError
        If the CSV file is missing, is not a table or has no rows. If it lacks a
        required column or value, lists a recording twice or one that does not exist,
        or has a segment that is not in its file. If the speakers are words for
        emotions. The message names the rows.
    TypeError
        If ``csv`` is no path and no rows, or ``root`` is not a path.
    ImportError
        If ``as_frame=True`` and pandas is not installed.

    Warns
    -----
    UserWarning
        If a speaker or an emotion has several spellings, with the rows of each.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn_ser.datasets import load_manifest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "a.wav").touch()
    ...     path = Path(folder, "corpus.csv")
    ...     _ = path.write_text("file,speaker,emotion\\na.wav,03,anger\\n")
    ...     corpus = load_manifest(path)
    >>> corpus.speakers.tolist(), corpus.target.tolist()
    (['03'], ['anger'])
    """
    corpus = read_corpus(csv, "csv", root=root, columns=columns)
    if as_frame:
        pandas = import_or_raise("pandas", "datasets", "as_frame=True needs")
        corpus.frame = pandas.DataFrame(corpus.frame)
    return corpus


def read_corpus(table, argument, *, root=None, columns=None):
    """Return the corpus of a table, which is the caller's argument of this name."""
    read = read_recordings(table, argument, root=root, columns=columns)
    files = read.files
    frame = {name: np.array(told, dtype=object) for name, told in read.columns.items()}
    for name in _NAMES:
        frame[name] = np.array(_unify(read.path, name, read.columns[name]))
    speakers = frame["speaker"]
    refuse_emotions_as_speakers(speakers, f"{read.path}, column 'speaker',")
    first = {}  # the number of each file or array, in their order
    sessions = [first.setdefault(source_of(file), len(first)) for file in files]
    told = read.columns.get("text", [""] * len(files))
    listed = table if isinstance(table, str | os.PathLike) else "memory"
    return Bunch(
        data=files,
        target=frame["emotion"],
        speakers=speakers,
        texts=unify_texts(["" if text in _MISSING else text for text in told]),
        sessions=np.array(sessions),
        rows=np.array(read.numbers),
        frame=frame,
        DESCR=f"{len(files)} recordings by {len(np.unique(speakers))} speakers listed "
        f"in {listed}.",
    )


def read_recordings(table, argument, *, root=None, columns=None, required=_REQUIRED):
    """Return a table with one row for each recording, after all checks.

    It has the `path` for messages, which name the argument of the caller, `columns` of
    text by name, the `numbers` of the rows in the file, and the `files`, which may be
    other recordings.
    """
    if root is not None and not isinstance(root, str | os.PathLike):
        raise TypeError(f"root must be a path, got {root!r}.")
    path, own_root = argument, os.curdir
    if isinstance(table, str | os.PathLike):
        path, own_root = f"{argument} '{table}'", os.path.dirname(table)
        names, rows = _read_file(table, argument)
        given = [cells for _, cells in rows]
    else:
        names, rows, given = _read_rows(table, argument)
    root = Path(own_root if root is None else root)
    if not os.path.isdir(root):  # where Path.is_dir would raise, False will do
        raise ValueError(f"root must be an existing folder, found none at '{root}'.")
    names = _rename(names, columns or {})
    _check_header(path, names, rows, required)
    numbers = [number for number, _ in rows]
    found = {name: [row[i] for _, row in rows] for i, name in enumerate(names)}
    filled = {name: found[name] for name in names if name in (*required, *_NAMES)}
    _check_cells(path, filled, numbers)
    times = _read_times(path, found, numbers)
    told = [row[names.index("file")] for row in given]
    files = _find_files(path, root, told, times, numbers)
    recordings = _cut_segments(path, files, times, numbers)
    _refuse_parts(path, found, recordings)
    return Bunch(path=path, columns=found, numbers=numbers, files=recordings)


def _read_file(table, argument):
    if os.path.isdir(table):
        raise ValueError(f"{argument} must be a file, '{table}' is {_describe(table)}.")
    if not os.path.isfile(table):
        raise ValueError(
            f"{argument} must be an existing file, found none at '{table}'."
        )
    try:
        return read_table(table, _RENAMED)
    except ValueError as error:
        raise ValueError(f"{argument} {error}") from error


def _read_rows(table, argument):
    """Return the names, the rows as text, and the rows as they are."""
    rows = list(table) if isinstance(table, Iterable) else [table]
    if not all(isinstance(row, Mapping) for row in rows):
        raise TypeError(
            f"{argument} must be a path, or rows that are mappings, as "
            f"DataFrame.to_dict('records') has them, got {shortened(repr(table))}."
        )
    names = list(dict.fromkeys(name for row in rows for name in row))
    raw = [[row.get(name) for name in names] for row in rows]
    features = getattr(table, "features", None) or {}  # of a Hugging Face dataset
    words = [getattr(features.get(name), "int2str", str) for name in names]
    cells = [
        [_cell(value, word) for value, word in zip(row, words, strict=True)]
        for row in raw
    ]
    names = [str(name).strip().lower() for name in names]
    if "file" not in names and "audio" in names:
        names[names.index("audio")] = "file"
    return names, list(enumerate(cells)), raw


def _cell(value, word):
    """Return a value as text, or where it comes from if it is no text or number."""
    if isinstance(value, Mapping):
        return str(value.get("path") or "-")
    if isinstance(value, str | os.PathLike):
        return os.fspath(value).strip()
    if isinstance(value, np.ndarray | list | tuple | bytes):
        return "-"
    if isinstance(value, float | np.floating) and value == value // 1:
        value = int(value)  # NumPy and pandas make floats of integers beside a gap
    return "" if is_missing(value) else str(word(value)).strip()


def _describe(folder):
    """Describe the content of a folder that was given instead of a file."""
    names = sorted(os.listdir(folder))  # links that lead in circles are no files
    names = [name for name in names if os.path.isfile(os.path.join(folder, name))]
    if not names:
        return "a folder that holds no files"
    first = ", ".join(map(repr, names[:5])) + ", ..." * (len(names) > 5)
    found = f"a folder that holds {len(names)} file(s): {first}"
    tables = [name for name in names if name.lower().endswith((".csv", ".tsv"))]
    if not tables:
        return f"{found}. None of them is a CSV table"
    best = "metadata.csv" if "metadata.csv" in tables else tables[0]
    return f"{found}. Pass the table in it, '{os.path.join(folder, best)}'"


def _rename(names, renamed):
    """Return the names of the columns, renamed as the caller says."""
    if not isinstance(renamed, Mapping):
        raise TypeError(f"columns must be a dict or None, got {renamed!r}.")
    places = {}
    for name, column in renamed.items():
        known = column.strip().lower() if isinstance(column, str) else None
        if name not in _RENAMED:
            raise ValueError(
                f"columns[{name!r}] is {column!r}, expected the keys {_RENAMED}."
            )
        if known not in names:
            raise ValueError(
                f"columns[{name!r}] is {column!r}, expected a column of the table, "
                f"which has {names}."
            )
        places[names.index(known)] = name
    taken = {name for i, name in places.items() if names[i] != name}
    return [
        places.get(i, f"original {name}" if name in taken else name)
        for i, name in enumerate(names)
    ]


def _unify(path, column, names):
    """Return names in one spelling each, and warn if that changes any."""
    key = partial(name_key, spaces=column == "speaker")
    unified, several = unify_names(names, key=key)
    if several:
        count = Counter(names)
        # Escapes show what looks alike, such as an accent or a space without width.
        groups = [
            " and ".join(f"{name!a} ({count[name]} row(s))" for name in group)
            for group in several
        ]
        warn_caller(
            f"{path} has {len(groups)} {column}(s) with several spellings. Each counts "
            f"as one and gets its most frequent spelling: {first_of(groups, '; ')}. If "
            f"two of them are different {column}s, rename one in the file."
        )
    return unified


def _check_header(path, names, rows, required):
    if not names:
        raise ValueError(f"{path} is empty; expected columns {required}.")
    missing = [name for name in required if name not in names]
    if missing:
        raise ValueError(
            f"{path} lacks the columns {missing}; it has {shortened(f'{names}')}."
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"{path} has more than one column named {shortened(f'{repeated}')}."
        )
    if not rows:
        raise ValueError(f"{path} has a header but no rows; expected one or more.")
    uneven = [
        f"row {number} has {len(row)}" for number, row in rows if len(row) != len(names)
    ]
    _refuse(path, f"has rows without {len(names)} values as in the header", uneven)


def _check_cells(path, columns, numbers):
    """Refuse empty cells of these columns, and names without end."""
    empty, long = [], []
    for number, *cells in zip(numbers, *columns.values(), strict=True):
        for name, cell in zip(columns, cells, strict=True):
            told = clean_name(cell)
            if not told or cell in _MISSING:
                empty.append(f"row {number} '{name}'" + f" is {cell!r}" * bool(told))
            if name in _NAMES and len(cell) > _LONGEST:
                long.append(f"row {number} '{name}' has {len(cell)}")
    _refuse(path, "has empty cells", empty)
    _refuse(path, f"has names of more than {_LONGEST} characters", long)


def _find_files(path, root, names, times, numbers):
    """Return the recordings, and refuse those that are missing or there twice."""
    finder, files, first, missing, repeated = FileFinder(root), [], {}, [], []
    for number, name, (start, end) in zip(numbers, names, times, strict=True):
        if not isinstance(name, str | os.PathLike):  # a recording in memory
            files.append(name)
            continue
        file, candidates = finder.find(os.fspath(name))
        files.append(file)
        if candidates:
            missing.append(f"row {number} '{file}' (there are {candidates})")
        elif not os.path.isfile(file):
            missing.append(f"row {number} '{file}'")
        # "a.wav" and "./a.wav" are the same file.
        key = file if "\0" in file else os.path.realpath(file), start or 0.0, end
        if first.setdefault(key, number) != number:
            repeated.append(f"row {number} '{file}' (first in row {first[key]})")
    _refuse(path, "lists recordings more than once", repeated)
    _refuse(path, "names files that do not exist", missing)
    return files


def _refuse_parts(path, columns, files):
    """Refuse columns by which a row is a part of a recording that cannot be read."""
    parts = []
    for name, values in columns.items():
        words, told = _words(name), _told(values)
        if (_CHANNEL.fullmatch(words) and any(map(_SIDE.fullmatch, told))) or (
            _TIMES["duration"].fullmatch(words) and _is_longer(files, values)
        ):
            parts.append(name)
    if parts:
        raise ValueError(
            f"{path} has the columns {parts}, {_PART_OF_ONE} whole recordings, or the "
            "columns start and end in seconds. Pass one channel by the parameter "
            f"channel of the transformer. If a column does not mean this, {_RENAME}."
        )


def _words(name):
    return " ".join(re.split(r"[\W_]+", name)).strip()


def _told(values):
    return [value for value in map(str.lower, values) if value not in _NOTHING]


def _read_times(path, columns, numbers):
    """Return start and end of each row in seconds, None where the table has none."""
    found = {
        kind: [
            name
            for name, values in columns.items()
            if pattern.fullmatch(_words(name)) and _told(values)
        ]
        for kind, pattern in _TIMES.items()
    }
    beside_onset = any("onset" in name for name in found["start"])
    found["end" if beside_onset else "start"] += found.pop("offset")
    if found["end"] or not found["start"]:
        found["duration"] = []  # it says nothing new, or is no part of a segment
    for kind, names in found.items():
        if len(names) > 1:
            raise ValueError(
                f"{path} has the columns {names}, each of which may be the {kind} of a "
                f"segment, expected one. If a column does not mean this, {_RENAME}."
            )
    used = {kind: names[0] for kind, names in found.items() if names}
    other = [name for name in used.values() if _NO_SECONDS.search(_words(name))]
    if other:
        raise ValueError(
            f"{path} has the columns {other}, {_PART_OF_ONE} the columns start and end "
            f"in seconds. If a column does not mean this, {_RENAME}."
        )
    times = {kind: [None] * len(numbers) for kind in found}
    faults = []
    for kind, name in used.items():
        for i, text in enumerate(columns[name]):
            try:
                if text.lower() not in _NOTHING:
                    times[kind][i] = seconds_of(text)
            except ValueError:
                faults.append(f"row {numbers[i]} '{name}' is {text!r}")
    _refuse(
        path, f"has times that are no seconds (if they are none, {_RENAME})", faults
    )
    return [
        (start, end if duration is None else (start or 0.0) + duration)
        for start, end, duration in zip(*times.values(), strict=True)
    ]


def _cut_segments(path, files, times, numbers):
    """Return the recordings, those with times as segments, after a look at lengths."""
    recordings, faults, lengths = [], [], {}
    for file, (start, end), number in zip(files, times, numbers, strict=True):
        if (start, end) == (None, None):
            recordings.append(file)
            continue
        try:
            segment = as_segment(file, start, end)
            span = times_of(segment, describe(file, f"row {number}"))
            key = file if isinstance(file, str) else id(file)
            if span != WHOLE and key not in lengths:
                lengths[key] = length_of(segment)
            if lengths.get(key) is not None:
                sample_range(span, *lengths[key], describe(segment, f"row {number}"))
            recordings.append(file if span == WHOLE else as_segment(file, *span))
        except ValueError as error:
            faults.append(str(error).rstrip("."))
    _refuse(path, "has segments that are none", faults)
    return recordings


def _is_longer(files, durations):
    """Tell whether a recording is clearly longer than a column says."""
    for file, duration in zip(files, durations, strict=True):
        try:
            told = seconds_of(duration)
        except ValueError:
            continue
        known = length_of(file) if isinstance(file, str) else None
        if known is not None and 0 < told < 0.9 * known[1] / known[0] - 0.5:
            return True
    return False


def _refuse(path, fault, places):
    """Raise one error that names all places of a fault, if there are any."""
    if places:
        told = first_of([*map(shortened, places)], ", ")
        raise ValueError(f"{path} {fault}: {told}.")
