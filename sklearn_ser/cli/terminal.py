"""What the program says: lines, warnings and errors, without control characters."""

import os
import re
import sys
import warnings
from contextlib import contextmanager

# Controls but for tabs and line ends, marks that turn the direction of writing, and
# bytes of file names that are no text.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# What a warning says to a caller, and to who types a command.
_CALLED = "as neutral_label, or set calibration_weight=0"
_TYPED = "by --neutral-label, if there is one"

_IN_X = re.compile(r"\bX\[\d+\](?= \()")
_rows: dict = {}  # what messages say of a recording -> the table's row that lists it


def name_rows(table, recordings, rows):
    """Let messages name the rows of a table instead of those of a part of it."""
    from ..features.audio import describe

    for recording, row in zip(recordings, rows.tolist(), strict=True):
        _rows[describe(recording, "")] = f"row {row} of {table}"


def in_rows(text):
    """Return a message that names the rows of tables."""

    def row(match):
        rest = text[match.end() :]
        names = (name for told, name in _rows.items() if rest.startswith(told))
        return next(names, match[0])

    return _IN_X.sub(row, text)


def printable(text):
    """Return text whose control characters are escapes that can be read."""

    def escape(match):
        code = ord(match[0])
        byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code  # of a file's name
        return f"\\x{byte:02x}" if byte < 256 else f"\\u{byte:04x}"

    return _UNSAFE.sub(escape, str(text))


def in_one_line(text):
    """Return printable text without line ends."""
    return " ".join(printable(text).split())


def print_line(text, *, reader_may_leave=False):
    """Print text. A reader may leave without an error where files are written too."""
    try:
        print(printable(text), flush=True)
    except BrokenPipeError:
        if not reader_may_leave:
            raise
        discard_output()


def discard_output():
    """Discard all further output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_note(text):
    """Print one line to standard error."""
    print(f"sklearn-ser: {in_one_line(text)}", file=sys.stderr, flush=True)


@contextmanager
def warnings_in_lines():
    """Print each warning once, in one line without source, above a bar."""
    told = set()
    _rows.clear()

    def show(message, *args, **kwargs):
        from tqdm.auto import tqdm

        text = in_one_line(in_rows(str(message))).replace(_CALLED, _TYPED)
        if text not in told:
            told.add(text)
            tqdm.write(f"sklearn-ser: warning: {text}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
