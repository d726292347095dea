"""Load a corpus from a CSV file."""

import csv as csv_reader
import os
from collections import Counter
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from .._validation import import_or_raise, shortened
from ..exceptions import warn_caller
from ._spelling import spell_alike

_REQUIRED = ("file", "speaker", "emotion")
_NAMES = ("speaker", "emotion")
_DELIMITERS = ",;\t"
_LONGEST = 200  # characters of these: NumPy gives each row those of the longest
_SHOWN = 5  # faults that one message names; it counts the others


def load_manifest(
    csv: str | PathLike,
    *,
    root: str | PathLike | None = None,
    as_frame: bool = False,
    columns: Mapping[str, str] | None = None,
) -> Bunch:
    """Load a corpus from a CSV file with one row for each recording.

    Parameters
    ----------
    csv : str or path-like
        A table in UTF-8 with commas, semicolons or tabs between the cells. The first
        row names the columns. ``file``, ``speaker`` and ``emotion`` are required, in
        any order and letter case. Other columns are kept. Blank lines, and spaces
        around names and values, are ignored.

    root : str or path-like, default=None
        The start folder of relative paths in ``file``. None takes the folder of the CSV
        file.

    as_frame : bool, default=False
        If True, ``frame`` is a pandas DataFrame.
    columns : dict of str to str, default=None
        The names of the columns ``file``, ``speaker`` and ``emotion``, if the table has
        other names, as in ``{"emotion": "label"}``. If the table also has a column
        ``emotion``, it is kept as ``"original emotion"``.

    Returns
    -------
    corpus : :class:`~sklearn.utils.Bunch`
        In the order of the rows.

        data : list of str
            Absolute paths of the recordings.
        target : ndarray of shape (n_samples,), dtype str
            The emotions. Spellings that differ only in letter case, Unicode form,
            characters without width or spaces are one emotion. It gets its first
            spelling.
        speakers : ndarray of shape (n_samples,), dtype str
            The speakers as text: "03" stays "03". Spellings that differ only in letter
            case, Unicode form (NFC, NFD) or characters without width are one speaker.
            It gets its first spelling.
        frame : dict of str to ndarray of shape (n_samples,), or DataFrame
            All columns as text, with names in lower case. ``speaker`` and ``emotion``
            are as above and have at most 200 characters. Other columns are object
            arrays, because one long text would lengthen every row of a text array.
        DESCR : str
            The origin and the size of the corpus.

    Raises
    ------
    ValueError
        If the CSV file is missing, is not a UTF-8 table or has no rows. If it lacks a
        required column or value, or lists a recording twice, or a recording that does
        not exist.
    TypeError
        If ``csv`` or ``root`` is not a path.
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
    for name, value in {"csv": csv, "root": root}.items():
        if not isinstance(value, str | os.PathLike) and (name == "csv" or value):
            raise TypeError(f"{name} must be a path, got {value!r}.")
    path = Path(csv)
    if not os.path.isfile(path):  # where Path.is_file would raise, False will do
        if os.path.isdir(path):
            raise ValueError(f"csv must be a file, '{path}' is {_describe(path)}.")
        raise ValueError(f"csv must be an existing file, found none at '{path}'.")
    root = path.parent if root is None else Path(root)
    if not os.path.isdir(root):
        raise ValueError(f"root must be an existing folder, found none at '{root}'.")

    columns, numbers = _read(path, columns or {})
    files = [str((root / name).absolute()) for name in columns["file"]]
    _refuse_repeated(path, files, numbers)
    _refuse(
        path,
        "names files that do not exist",
        [
            f"row {number} '{name}'"
            for number, name in zip(numbers, files, strict=True)
            if not os.path.isfile(name)
        ],
    )

    for name in _NAMES:
        columns[name] = _unify(path, name, columns[name])
    frame = {
        name: np.array(values, dtype=None if name in _NAMES else object)
        for name, values in columns.items()
    }
    speakers, target = frame["speaker"], frame["emotion"]
    n_speakers = len(np.unique(speakers))
    return Bunch(
        data=files,
        target=target,
        speakers=speakers,
        frame=_to_pandas(frame) if as_frame else frame,
        DESCR=f"{len(files)} recordings by {n_speakers} speakers listed in {path}.",
    )


def _read(path, renamed):
    """Return the columns as lists of text, and the line that each row ends at."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            options = {"delimiter": find_delimiter(stream), "skipinitialspace": True}
            reader = csv_reader.reader(stream, strict=True, **options)
            rows = [(reader.line_num, [v.strip() for v in row]) for row in reader]
    except (UnicodeDecodeError, csv_reader.Error) as error:
        raise ValueError(f"csv '{path}' is not a UTF-8 CSV table: {error}.") from error

    rows = [(number, row) for number, row in rows if any(row)]
    if not rows:
        raise ValueError(f"csv '{path}' is empty; expected columns {_REQUIRED}.")
    names = [name.lower() for name in rows.pop(0)[1]]
    names = _rename(path, names, renamed)
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise ValueError(
            f"csv '{path}' lacks the columns {missing}; it has {shortened(f'{names}')}."
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        repeated = shortened(f"{repeated}")
        raise ValueError(f"csv '{path}' has more than one column named {repeated}.")
    if not rows:
        raise ValueError(
            f"csv '{path}' has a header but no rows; expected one or more."
        )

    uneven = [
        f"row {number} has {len(row)}" for number, row in rows if len(row) != len(names)
    ]
    _refuse(path, f"has rows without {len(names)} values as in the header", uneven)
    columns = {name: [row[i] for _, row in rows] for i, name in enumerate(names)}
    numbers = [number for number, _ in rows]
    empty = [
        f"row {number} '{name}'"
        for i, number in enumerate(numbers)
        for name in _REQUIRED
        if not columns[name][i]
    ]
    _refuse(path, "has empty cells", empty)
    long = [
        f"row {number} '{name}' has {len(columns[name][i])}"
        for i, number in enumerate(numbers)
        for name in _NAMES
        if len(columns[name][i]) > _LONGEST
    ]
    _refuse(path, f"has names of more than {_LONGEST} characters", long)
    return columns, numbers


def find_delimiter(stream):
    """Return the separator of the required columns in the first line with names."""
    lines = (line for line in stream if line.strip(_DELIMITERS + " \r\n"))
    header = next(lines, "").lower()
    stream.seek(0)

    def fit(delimiter):
        names = [name.strip(' "\r\n') for name in header.split(delimiter)]
        return len({*names} & {*_REQUIRED}), len(names)

    return max(_DELIMITERS, key=fit)  # a comma, if all fit as well


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
        if name not in _REQUIRED or known not in names:
            raise ValueError(
                f"columns[{name!r}] is {column!r}, expected the keys {_REQUIRED} and "
                f"columns of csv '{path}', which has {names}."
            )
        places[names.index(known)] = name
    kept = {name for i, name in enumerate(names) if places.get(i) == name}
    taken = set(places.values()) - kept
    others = [f"original {name}" if name in taken else name for name in names]
    return [places.get(i, name) for i, name in enumerate(others)]


def _unify(path, column, names):
    """Return names in one spelling each, and warn if that changes any."""
    spelling, unified = spell_alike(names, spaces=column == "speaker")
    if unified:
        count = Counter(names)
        # Escapes show what looks alike, such as an accent or a space without width.
        groups = [
            " and ".join(f"{name!a} ({count[name]} row(s))" for name in group)
            for group in unified
        ]
        rest = len(groups) - _SHOWN
        more = f"; and {rest} more" if rest > 0 else ""
        warn_caller(
            f"csv '{path}' has {len(groups)} {column}(s) with several spellings. "
            "Each counts as one and gets its first spelling: "
            f"{'; '.join(groups[:_SHOWN])}{more}. If two of them are different "
            f"{column}s, rename one in the file."
        )
    return [spelling[name] for name in names]


def _refuse_repeated(path, files, numbers):
    first, repeated = {}, []
    for number, name in zip(numbers, files, strict=True):
        # "a.wav" and "./a.wav" are the same file.
        key = name if "\0" in name else os.path.realpath(name)
        if key in first:
            repeated.append(f"row {number} '{name}' (first in row {first[key]})")
        else:
            first[key] = number
    _refuse(path, "lists recordings more than once", repeated)


def _refuse(path, fault, places):
    """Raise one error that names all places of a fault, if there are any."""
    if places:
        rest = len(places) - _SHOWN
        more = f", and {rest} more" if rest > 0 else ""
        shown = ", ".join(map(shortened, places[:_SHOWN]))
        raise ValueError(f"csv '{path}' {fault}: {shown}{more}.")


def _to_pandas(frame):
    pandas = import_or_raise("pandas", "datasets", "as_frame=True needs")
    return pandas.DataFrame(frame)
