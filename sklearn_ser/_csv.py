"""Tables for spreadsheets, without cells that look like formulas."""

import csv
import io

from ._files import atomic_write


def write_csv(path, table):
    """Write rows of text or numbers to a CSV file, completely or not at all."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([harmless(cell) for cell in row] for row in table)
    with atomic_write(path) as out:
        out.write(text.getvalue().encode("utf-8", errors="backslashreplace"))


def harmless(cell):
    """Return a cell with a quote before it if it looks like a formula."""
    if not isinstance(cell, str) or not cell.startswith(
        ("=", "+", "-", "@", "\t", "\r")
    ):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
