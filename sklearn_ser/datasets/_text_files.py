"""Label files of corpora, in any encoding."""

import csv


def lines_of(path):
    """Yield the lines of a text file, without the spaces around them."""
    with open(path, encoding="utf-8-sig", errors="replace") as stream:
        for line in stream:
            yield line.strip()


def rows_of(path):
    """Yield the rows of a CSV file, under the names of columns in lower case."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as stream:
        rows = csv.DictReader(stream)
        while True:
            try:
                row = next(rows, None)
            except csv.Error as error:
                raise ValueError(f"'{path}' is not a CSV table: {error}.") from error
            if row is None:
                return
            yield {
                name.strip().lower(): value.strip()
                for name, value in row.items()
                if isinstance(name, str) and isinstance(value, str)
            }
