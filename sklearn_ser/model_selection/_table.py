"""The printed table of a result, and its files."""

import os
from html import escape

import numpy as np

from .._csv import write_csv
from .._files import atomic_write
from ._settings import write_json


class Table:
    """A result that prints as a table, in a terminal and in a notebook.

    Subclasses return their content in `_rows`, whose first row is the head, and lines
    of text in `_notes_above` and `_notes_below`. `_alignment` has "<" or ">" for each
    column; columns beyond it are aligned as its last one.
    """

    _alignment = "<"

    def _notes_above(self):
        return []

    def _notes_below(self):
        return []

    def __repr__(self):
        rows = self._rows()
        widths = [
            max(len(cell) for cell in column) for column in zip(*rows, strict=True)
        ]
        alignment = self._alignment.ljust(len(widths), self._alignment[-1])
        lines = [
            "  ".join(
                f"{cell:{side}{width}}"
                for cell, side, width in zip(row, alignment, widths, strict=True)
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*self._notes_above(), *lines, *self._notes_below()])

    def _repr_html_(self):
        head, *body = self._rows()
        head, body = _html_row(head, "th"), "".join(_html_row(r, "td") for r in body)
        notes = [*self._notes_below(), *self._notes_above()]
        below = "".join(f"<p>{escape(note)}</p>" for note in notes)
        return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>{below}"

    def to_frame(self, by=None):
        """Return one row for each tested recording.

        Parameters
        ----------
        by : dict of str to array-like of shape (n_samples,), default=None
            More columns for the frame, such as ``{"file": corpus.data}``.

        Returns
        -------
        frame : pandas.DataFrame
            The columns are the row of `X`, the fold (or source and target), the
            speaker, `y_true` and `prediction`. If the estimator has probabilities,
            there is a column for each class, such as ``p_anger``.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise ImportError(
                "to_frame needs pandas; install it with pip install "
                "sklearn_ser[datasets]."
            ) from error
        return DataFrame(self._table(by))

    def _table(self, by):
        columns, probabilities = self._columns()
        more = pick(by, columns["row"])
        taken = sorted(columns.keys() & more.keys())
        if taken:
            raise ValueError(
                f"by has the columns {taken}, but the result has columns with these "
                "names."
            )
        columns |= more
        return columns | {f"p_{name}": p for name, p in probabilities.items()}

    def save(self, folder, *, by=None):
        """Write ``result.json`` and ``predictions.csv``.

        Parameters
        ----------
        folder : str or PathLike
            The folder of the files, made if it is missing. Old files with these names
            are replaced.
        by : dict of str to array-like of shape (n_samples,), default=None
            More columns for the predictions.
        """
        columns = self._table(by)
        os.makedirs(folder, exist_ok=True)
        rows = zip(*(np.asarray(c).tolist() for c in columns.values()), strict=True)
        write_csv(os.path.join(folder, "predictions.csv"), [list(columns), *rows])
        with atomic_write(os.path.join(folder, "result.json")) as file:
            write_json(file, self.to_dict())

    def to_html(self, path, **options):
        """Write a report: one file that needs no network.

        Parameters
        ----------
        path : str or PathLike
            The file to write.
        **options : dict
            As in :func:`~sklearn_ser.report.make_report`.
        """
        from ..report import make_report

        text = make_report(self, **options)
        with atomic_write(path) as file:
            file.write(text.encode("utf-8", errors="backslashreplace"))


def pick(by, rows):
    """Return the tested rows of columns of the corpus.

    Parameters
    ----------
    by : dict of str to array-like, or None
        With an entry for each row of the corpus.
    rows : ndarray of int
        The tested rows.

    Returns
    -------
    columns : dict of str to ndarray
        Of the length of `rows`.
    """
    columns = {}
    for name, column in (by or {}).items():
        column = np.asarray(column)
        if len(column) <= rows.max():
            raise ValueError(
                f"by[{name!r}] must have an entry for each row of the corpus, at least "
                f"{rows.max() + 1}; got {len(column)}."
            )
        columns[name] = column[rows]
    return columns


def spread_columns(probabilities, columns, classes, missing=0.0):
    """Return probabilities with a column for each class, or None if classes differ."""
    if probabilities is None or not np.isin(columns, classes).all():
        return None
    spread = np.full((len(probabilities), len(classes)), missing)
    spread[:, np.searchsorted(classes, columns)] = probabilities
    return spread


def chance(y_true):
    """Return the UAR of a guess, and the WA of always the most frequent class."""
    support = np.unique(y_true, return_counts=True)[1]
    return 1 / len(support), support.max() / support.sum()


def remarks(y_true, predictions, interval, confidence_level):
    """Return sentences on a constant prediction and on an interval with chance.

    Parameters
    ----------
    y_true, predictions : ndarray of shape (n_tested,)
        Labels.
    interval : (float, float)
        Of the UAR.
    confidence_level : float
        Of the interval.

    Returns
    -------
    remarks : list of str
        Empty where nothing is to be said.
    """
    found, guess = [], chance(y_true)[0]
    if len(np.unique(predictions)) == 1:
        found.append(
            f"All {len(predictions)} recordings were predicted as '{predictions[0]}': "
            "the model predicted one class only."
        )
    low, high = interval
    if low <= guess <= high:
        found.append(
            f"The {100 * confidence_level:g}% interval of the UAR contains chance "
            f"({100 * guess:.1f}%): this result does not differ from guessing."
        )
    return found


def shorten(names):
    """Return three names of at most 16 characters, and how many more there are."""
    texts = [str(name) for name in names[:3]]
    texts = [text if len(text) <= 16 else text[:13] + "..." for text in texts]
    if len(names) > 3:
        texts.append(f"+{len(names) - 3}")
    return ", ".join(texts)


def _html_row(cells, kind):
    cells = "".join(f"<{kind}>{escape(cell.strip())}</{kind}>" for cell in cells)
    return f"<tr>{cells}</tr>"


def level(result):
    return f" [{100 * result.confidence_level:g}% interval]"


def percent(score, interval=(np.nan, np.nan)):
    text, (low, high) = f"{100 * score:5.1f}", interval
    if np.isfinite(low):
        text += f" [{100 * low:.1f}, {100 * high:.1f}]"
    return text
