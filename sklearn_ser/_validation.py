"""What arguments must be: columns of one kind, and extras that are installed."""

import re
from collections.abc import Hashable, Iterator, Mapping, Set
from contextlib import contextmanager
from importlib import import_module
from numbers import Number

import numpy as np

_LONGEST = 500  # characters that a message takes over from elsewhere
_EMOTIONS = {
    *("anger", "angry", "bored", "boredom", "calm", "contempt", "disgust", "excited"),
    *("excitement", "fear", "fearful", "frustrated", "frustration", "happiness"),
    *("happy", "joy", "neutral", "sad", "sadness", "surprise", "surprised"),
}


def import_or_raise(modules, extra, purpose):
    """Import modules of an extra and return the first, or say how to install it.

    `modules` has spaces between names, `purpose` ends in a verb: "to_frame needs".
    """
    names = modules.split()
    try:
        first, *_ = [import_module(name) for name in names]
        return first
    except ImportError as error:
        packages = list(dict.fromkeys(name.split(".")[0] for name in names))
        raise ImportError(
            f"{purpose} {' and '.join(packages)}; install "
            f"{'it' if len(packages) == 1 else 'them'} with "
            f'pip install "sklearn_ser[{extra}]".'
        ) from error


@contextmanager
def naming(name):
    """Add a name to the message of an error that lacks it.

    NumPy and scikit-learn do not always say which argument they refuse.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        if re.search(rf"\b{name}\b", str(error)):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: {shortened(str(error))}") from error


def shortened(text):
    """Return the start of a text that is too long for a message."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def first_of(texts, between, most=5):
    """Return the first texts as one, and the number of the others."""
    rest = len(texts) - most
    more = f"{between.strip()} and {rest} more" if rest > 0 else ""
    return f"{between.join(texts[:most])}{more}"


def shown(value):
    """Return a value for a message, with NumPy's scalars as Python's."""
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    return repr(value.item() if isinstance(value, np.generic) else value)


def as_column(values, name, rows=None):
    """Return values as an array, and change no value.

    NumPy makes text of everything in a list that holds one string: NaN becomes "nan",
    and 1 becomes "1".
    """
    if isinstance(values, Set | Mapping | Iterator):
        raise TypeError(
            f"{name} is a {type(values).__name__}, expected a list or an array, whose "
            "rows have an order and can be counted."
        )
    refuse_masked(values, name)
    if isinstance(values, list | tuple) and any(map(_is_odd_text, values)):
        values = [str.__str__(v) if _is_odd_text(v) else v for v in values]
    raw = values
    try:
        values = np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{name} has rows of unequal length ({error}), expected one value for each."
        ) from error
    if values.dtype.kind == "T":  # NumPy's strings of any length, which few take
        values = values.astype(object)
    if values.dtype.kind in "biufc" or values.ndim != 1:
        return values
    if values.dtype.kind == "O" or isinstance(raw, list | tuple):
        check_one_kind(raw if isinstance(raw, list | tuple) else values, name, rows)
    if values.dtype.kind == "O" and len(values) and _kind(values[0]) == "a number":
        values = np.array(values.tolist())  # which scikit-learn takes for no labels
    return values


def _is_odd_text(value):
    """Tell whether a value is text of a subclass, such as a member of an Enum.

    NumPy makes an array of what the class prints, cut to the length of the text.
    """
    return isinstance(value, str) and type(value) not in (str, np.str_)


def refuse_masked(values, name):
    """Refuse arrays of `numpy.ma` with masked cells: what they hide would be used."""
    if np.ma.is_masked(values):
        row = np.argwhere(np.ma.getmaskarray(values))[0][0]
        raise ValueError(
            f"{name}[{row}] is masked, expected a value: NumPy's masked arrays hide "
            "values that computations still see. Remove the row or fill it."
        )


def check_one_kind(values, name, rows=None):
    """Refuse missing values, and a column with values of several kinds.

    `rows` are the numbers of the values in the column of the caller.
    """
    rows = range(len(values)) if rows is None else rows
    noun = {"y": "label", "speakers": "speaker"}.get(name, "value")
    seen = set()  # types whose kind is known to be right
    for i, value in zip(rows, values, strict=True):
        if not isinstance(value, Hashable):
            raise TypeError(
                f"{name}[{i}] is a {type(value).__name__}, expected a {noun}."
            )
        if is_missing(value):
            raise ValueError(
                f"{name}[{i}] is {value}, expected a {noun}; {name} has "
                f"{sum(map(is_missing, values))} missing values, the first at row {i}."
            )
        if type(value) in seen:
            continue
        if _kind(value) != _kind(values[0]):
            raise ValueError(
                f"{name} mixes kinds of values: {name}[{i}] is {shown(value)} of "
                f"type {type(value).__name__}, expected {_kind(values[0])} as "
                f"{name}[{rows[0]}], which is {shown(values[0])}."
            )
        seen.add(type(value))


def check_column(values, name):
    """Return a 1-D array of strings or of numbers, and refuse missing values."""
    column = as_column(values, name)
    if column.ndim != 1:
        raise ValueError(f"{name} must be 1-D, one label per row; got {column.ndim}-D.")
    if column.dtype.kind in "fcOm":
        check_one_kind(column.tolist(), name)
        column = np.array(column.tolist())
    if column.ndim != 1 or column.dtype.kind == "O":
        raise TypeError(
            f"{name}[0] is a {type(values[0]).__name__}, expected a string or a number."
        )
    return column


def refuse_emotions_as_speakers(speakers, column):
    """Refuse a column of speakers whose names are all words for emotions."""
    names = np.unique(speakers).tolist()
    if len(names) > 1 and _EMOTIONS.issuperset(str(name).casefold() for name in names):
        raise ValueError(
            f"{column} holds names of emotions, {shown(names[:5])}, expected names of "
            "persons. Are the columns of speakers and emotions swapped?"
        )


def is_missing(value):
    """Tell whether a label is None, NaN or pandas.NA."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):  # pandas.NA has no truth value
        return True


def _kind(value):
    for kind, name in ((str, "a string"), (bytes, "bytes"), (Number, "a number")):
        if isinstance(value, kind) or (kind is Number and isinstance(value, np.bool_)):
            return name
    return type(value).__name__
