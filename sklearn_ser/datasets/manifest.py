"""Corpora listed in a table: a CSV file, or the rows of a Hugging Face dataset."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from .._csv import clean_name, read_table, unify_names
from .._validation import (
    import_or_raise,
    is_missing,
    refuse_emotions_as_speakers,
    shortened,
)
from ..exceptions import warn_caller
from ._search import FileFinder, recorded_length

_REQUIRED = ("file", "speaker", "emotion")
_RENAMED = (*_REQUIRED, "text")
_NAMES = ("speaker", "emotion")
_LONGEST = 200  # characters of these: NumPy gives each row those of the longest
_SHOWN = 5  # faults that one message names; it counts the others

# Of names in which spaces stand for all that is no letter and no digit: "start (s)".
_UNIT = r"( ?(time|times?tamp|s|sec|secs|seconds?|ms|msecs?|samples?|frames?))*"
_WHOLE = r"((seg(ment)?|utt(erance)?|turn|clip|audio|time|t) ?)?"
# Columns that make of a row a part of a recording.
_START = re.compile(rf"{_WHOLE}(start|begin|from|onset|offset|xmin|tmin){_UNIT}")
_END = re.compile(rf"{_WHOLE}(end|stop|to|xmax|tmax){_UNIT}")
_DURATION = re.compile(rf"{_WHOLE}(duration|dur|length)( ?(s|secs?|seconds?))?")
_CHANNEL = re.compile(r"(audio ?)?channels?( ?(id|index|number|no))?")
_ZERO = re.compile(r"(0 days ?)?[0:.]*")
_SIDE = re.compile(r"-?\d+(\.0)?|left|right|l|r")
_NOTHING = ("", "nat", "nan", "none", "null", "na", "<na>", "n/a")


def load_manifest(
    csv: str | PathLike | Iterable[Mapping[str, Any]],
    *,
    root: str | PathLike | None = None,
    as_frame: bool = False,
    columns: Mapping[str, str] | None = None,
) -> Bunch:
    """Load a corpus from a table with one row for each recording.

    Parameters
    ----------
    csv : str, path-like or iterable of mappings
        A CSV file in UTF-8, or in UTF-16 as Excel writes it, with commas, semicolons or
        tabs between the cells. The first row names the columns. ``file``, ``speaker``
        and ``emotion`` are required, in any order and letter case. ``text`` is the
        sentence that is said, or a code of it. Other columns are kept, but columns that
        make of a row a part of a recording (``start``, ``end``, ``channel``, ...) are
        refused. Blank lines, and spaces around names and values, are ignored.

        Rows in memory are mappings with the same names, such as those of a Hugging Face
        dataset. Their ``file``, or ``audio``, is any recording.
    root : str or path-like, default=None
        The start folder of relative paths in ``file``. None takes the folder of the CSV
        file, or the current folder for rows.
    as_frame : bool, default=False
        If True, ``frame`` is a pandas DataFrame.
    columns : dict of str to str, default=None
        The names of the columns ``file``, ``speaker``, ``emotion`` and ``text``, if the
        table has other names, as in ``{"emotion": "label"}``. If the table also has a
        column ``emotion``, it is kept as ``"original emotion"``.

    Returns
    -------
    corpus : :class:`~sklearn.utils.Bunch`
        In the order of the rows.

        data : list of str
            Absolute paths of the recordings. Rows in memory may hold other recordings.
        target : ndarray of shape (n_samples,), dtype str
            The emotions. Spellings that differ only in letter case, Unicode form
            (NFKC), hidden characters or spaces are one emotion. It gets the most
            frequent spelling, without hidden characters.
        speakers : ndarray of shape (n_samples,), dtype str
            The speakers as text: "03" stays "03". Their spellings are unified in the
            same way, but a space makes another speaker, however wide it is.
        texts : ndarray of shape (n_samples,), dtype object
            The sentences, unified like the speakers, and None where ``text`` is empty
            or missing.
        frame : dict of str to ndarray of shape (n_samples,), or DataFrame
            All columns as text, with names in lower case. ``speaker`` and ``emotion``
            are as above and have at most 200 characters. Other columns are as in the
            table. They are object arrays, because one long text would lengthen every
            row of a text array.
        DESCR : str
            The origin and the size of the corpus.

    Raises
    ------
    ValueError
        If the CSV file is missing, is not a table or has no rows. If it lacks a
        required column or value, or lists a recording twice, or a recording that does
        not exist, or parts of recordings. If the speakers are words for emotions.
    TypeError
        If ``csv`` is no path and no rows, or ``root`` is not a path.
    ImportError
        If ``as_frame=True`` and pandas is not installed.

    Warns
    -----
    UserWarning
        If a speaker or an emotion has several spellings. The warning counts the rows of
        each spelling.

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
    if root is not None and not isinstance(root, str | os.PathLike):
        raise TypeError(f"root must be a path, got {root!r}.")
    table = read_recordings(csv, root=root, columns=columns)
    path, told, files = table.path, table.columns, table.files
    frame = {name: np.array(values, dtype=object) for name, values in told.items()}
    for name in _NAMES:
        frame[name] = np.array(_unify(path, name, told[name]))
    speakers = frame["speaker"]
    refuse_emotions_as_speakers(speakers, f"{path}, column 'speaker',")
    texts = np.full(len(files), None, dtype=object)
    if "text" in told:
        texts[:] = [text or None for text in unify_names(told["text"])[0]]
    return Bunch(
        data=files,
        target=frame["emotion"],
        speakers=speakers,
        texts=texts,
        frame=_to_pandas(frame) if as_frame else frame,
        DESCR=f"{len(files)} recordings by {len(np.unique(speakers))} speakers listed "
        f"in {csv if isinstance(csv, str | os.PathLike) else 'memory'}.",
    )


def read_recordings(table, *, root=None, columns=None, required=_REQUIRED):
    """Return a table with one row for each recording, after all checks.

    It has the `path` for messages, `columns` of text by name, the `numbers` of the rows
    in the file, and the `files`, which may be other recordings.
    """
    if isinstance(table, str | os.PathLike):
        path = f"csv '{table}'"
        names, rows = _read_file(table)
        root = Path(table).parent if root is None else Path(root)
        raw = None
    else:
        path = "csv"
        names, rows, raw = _read_rows(table)
        root = Path.cwd() if root is None else Path(root)
    if not os.path.isdir(root):  # where Path.is_dir would raise, False will do
        raise ValueError(f"root must be an existing folder, found none at '{root}'.")
    names = _rename(path, names, columns or {})
    _check_header(path, names, rows, required)
    numbers = [number for number, _ in rows]
    found = {name: [row[i] for _, row in rows] for i, name in enumerate(names)}
    _check_cells(path, found, numbers, {*required, *_NAMES} & found.keys())
    told = found["file"] if raw is None else [row[names.index("file")] for row in raw]
    files = _find_files(path, root, told, numbers)
    _refuse_parts(path, found, files)
    return Bunch(path=path, columns=found, numbers=numbers, files=files)


def _read_file(table):
    if not os.path.isfile(table):
        if os.path.isdir(table):
            raise ValueError(f"csv must be a file, '{table}' is {_describe(table)}.")
        raise ValueError(f"csv must be an existing file, found none at '{table}'.")
    try:
        return read_table(table, _RENAMED)
    except ValueError as error:
        raise ValueError(f"csv {error}") from error


def _read_rows(table):
    """Return the names, the rows as text, and the rows as they are."""
    rows = list(table) if isinstance(table, Iterable) else [table]
    if not all(isinstance(row, Mapping) for row in rows):
        raise TypeError(
            "csv must be a path, or rows that are mappings, got "
            f"{shortened(repr(table))}."
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
    return "" if is_missing(value) else str(word(value)).strip()


def _describe(folder):
    """Describe the content of a folder that was given instead of a file."""
    names = sorted(os.listdir(folder))  # links that lead in circles are no files
    names = [name for name in names if os.path.isfile(os.path.join(folder, name))]
    if not names:
        return "a folder that holds no files"
    first = ", ".join(map(repr, names[:_SHOWN]))
    more = ", ..." if len(names) > _SHOWN else ""
    found = f"a folder that holds {len(names)} file(s): {first}{more}"
    tables = [name for name in names if name.lower().endswith((".csv", ".tsv"))]
    if not tables:
        return f"{found}. None of them is a CSV table"
    best = "metadata.csv" if "metadata.csv" in tables else tables[0]
    return f"{found}. Pass the table in it, '{os.path.join(folder, best)}'"


def _rename(path, names, renamed):
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
                f"columns[{name!r}] is {column!r}, expected a column of {path}, which "
                f"has {names}."
            )
        places[names.index(known)] = name
    kept = {name for i, name in enumerate(names) if places.get(i) == name}
    taken = set(places.values()) - kept
    others = [f"original {name}" if name in taken else name for name in names]
    return [places.get(i, name) for i, name in enumerate(others)]


def _unify(path, column, names):
    """Return names in one spelling each, and warn if that changes any."""
    unified, several = unify_names(names, spaces=column == "speaker")
    if several:
        count = Counter(names)
        # Escapes show what looks alike, such as an accent or a space without width.
        groups = [
            " and ".join(f"{name!a} ({count[name]} row(s))" for name in group)
            for group in several
        ]
        rest = len(groups) - _SHOWN
        more = f"; and {rest} more" if rest > 0 else ""
        warn_caller(
            f"{path} has {len(groups)} {column}(s) with several spellings. Each counts "
            "as one and gets its most frequent spelling: "
            f"{'; '.join(groups[:_SHOWN])}{more}. If two of them are different "
            f"{column}s, rename one in the file."
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


def _check_cells(path, columns, numbers, required):
    empty = [
        f"row {number} '{name}'"
        for i, number in enumerate(numbers)
        for name in columns
        if name in required and not clean_name(columns[name][i])
    ]
    _refuse(path, "has empty cells", empty)
    long = [
        f"row {number} '{name}' has {len(columns[name][i])}"
        for i, number in enumerate(numbers)
        for name in _NAMES
        if name in columns and len(columns[name][i]) > _LONGEST
    ]
    _refuse(path, f"has names of more than {_LONGEST} characters", long)


def _find_files(path, root, names, numbers):
    """Return the recordings, and refuse those that are missing or there twice."""
    finder, files, first, missing, repeated = FileFinder(root), [], {}, [], []
    for number, name in zip(numbers, names, strict=True):
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
        key = file if "\0" in file else os.path.realpath(file)
        if first.setdefault(key, number) != number:
            repeated.append(f"row {number} '{file}' (first in row {first[key]})")
    _refuse(path, "lists recordings more than once", repeated)
    _refuse(path, "names files that do not exist", missing)
    return files


def _refuse_parts(path, columns, files):
    """Refuse columns by which a row is not a whole recording."""
    parts = []
    for name, values in columns.items():
        words = " ".join(re.split(r"[\W_]+", name)).strip()
        told = [value for value in map(str.lower, values) if value not in _NOTHING]
        if (
            (_END.fullmatch(words) and told)
            or (_START.fullmatch(words) and not all(map(_ZERO.fullmatch, told)))
            or (_CHANNEL.fullmatch(words) and any(map(_SIDE.fullmatch, told)))
            or (_DURATION.fullmatch(words) and _is_longer(files, values))
        ):
            parts.append(name)
    if parts:
        raise ValueError(
            f"{path} has the columns {parts}, which make of a row a part of a "
            "recording, expected whole recordings. Cut the parts into files of their "
            "own, or pass one channel by the parameter channel of the transformer. If "
            "a column does not mean this, give it another name."
        )


def _is_longer(files, durations):
    """Tell whether a recording is clearly longer than a column says."""
    for file, duration in zip(files, durations, strict=True):
        try:
            told = float(duration)
        except ValueError:
            continue
        length = recorded_length(file) if isinstance(file, str) else None
        if length is not None and 0 < told < 0.9 * length - 0.5:
            return True
    return False


def _refuse(path, fault, places):
    """Raise one error that names all places of a fault, if there are any."""
    if places:
        rest = len(places) - _SHOWN
        more = f", and {rest} more" if rest > 0 else ""
        shown = ", ".join(map(shortened, places[:_SHOWN]))
        raise ValueError(f"{path} {fault}: {shown}{more}.")


def _to_pandas(frame):
    pandas = import_or_raise("pandas", "datasets", "as_frame=True needs")
    return pandas.DataFrame(frame)
