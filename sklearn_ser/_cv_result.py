"""What a cross-validation by speaker found, and how it prints."""

from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from sklearn_ser._confusions import confusion_uar, speaker_confusions


class Fold(NamedTuple):
    """One fold of :func:`speaker_cross_validate`: rows, figures, seconds."""

    train: np.ndarray
    test: np.ndarray
    test_speakers: np.ndarray
    uar: float
    wa: float
    fit_time: float
    score_time: float


@dataclass(frozen=True, eq=False, repr=False)
class SpeakerCVResult:
    """What :func:`speaker_cross_validate` found; prints as a table.

    The pool holds the test rows of all folds, in the order of the folds: a row that no
    fold tests is left out, one that two folds test counts twice.

    Attributes
    ----------
    folds : tuple of Fold
        Per fold `train` and `test` (row indices), `test_speakers`, `uar`, `wa`,
        `fit_time` and `score_time` (seconds).
    uar, wa : float
        Pooled unweighted average recall and accuracy, between 0 and 1.
    uar_interval, wa_interval : (float, float)
        Bootstrap intervals over speakers; NaN if there is one test speaker only, or
        no bootstrap.
    confidence_level : float
        Coverage of the intervals.
    rows : ndarray of shape (n_tested,)
        The row of `X` behind each pooled entry.
    y_true, predictions, speakers : ndarray of shape (n_tested,)
        True emotion, predicted emotion and speaker.
    probabilities : ndarray of shape (n_tested, n_classes) or None
        Zero for a class that the training rows lack; None without `predict_proba`.
    classes : ndarray of shape (n_classes,)
        The sorted classes of `y`: columns of `probabilities`, axes of `confusion`.
    confusion : ndarray of shape (n_classes, n_classes)
        Pooled counts; rows are true classes, columns predicted ones.
    estimators : tuple of estimators or None
        The fitted estimators, with ``return_estimator=True``.
    protocol : str or None
        The frozen protocol behind the splits, with its version and hash.
    """

    folds: tuple
    uar: float
    wa: float
    uar_interval: tuple
    wa_interval: tuple
    confidence_level: float
    rows: np.ndarray
    y_true: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray | None
    classes: np.ndarray
    speakers: np.ndarray
    confusion: np.ndarray
    estimators: tuple | None
    protocol: str | None = None

    def per_speaker(self):
        """Return the UAR of each test speaker.

        Returns
        -------
        uars : dict of speaker to float
            Sorted by speaker; each over the classes that occur in the speaker's rows.
        """
        names, counts = speaker_confusions(
            self.y_true, self.predictions, self.speakers, self.classes
        )
        return dict(zip(names.tolist(), confusion_uar(counts).tolist(), strict=True))

    def _rows(self):
        """The table, cell by cell."""
        level = f" [{100 * self.confidence_level:g}% interval]"
        level = level if np.isfinite(self.uar_interval[0]) else ""
        table = [("fold", "test speakers", "n", "UAR %" + level, "WA %" + level)]
        for number, fold in enumerate(self.folds, 1):
            who, n = shorten(fold.test_speakers), len(fold.test)
            table.append((number, who, n, _percent(fold.uar), _percent(fold.wa)))
        uar = _percent(self.uar, self.uar_interval)
        wa = _percent(self.wa, self.wa_interval)
        who = f"{len(np.unique(self.speakers))} speakers"
        return [*table, ("pooled", who, len(self.rows), uar, wa)]

    def __repr__(self):
        table = self._rows()
        widths = [max(len(str(row[i])) for row in table) for i in range(5)]
        lines = [
            "  ".join(
                f"{cell:{align}{width}}"
                for cell, align, width in zip(row, "<<><<", widths, strict=True)
            ).rstrip()
            for row in table
        ]
        return "\n".join(lines + ([self.protocol] if self.protocol else []))

    def _repr_html_(self):
        return to_html(self._rows(), [self.protocol] if self.protocol else [])


def to_html(table, notes):
    """A table whose first row is its head, with notes below, for notebooks."""
    rows = []
    for number, row in enumerate(table):
        kind = "td" if number else "th"
        cells = "".join(f"<{kind}>{escape(str(c).strip())}</{kind}>" for c in row)
        rows.append(f"<tr>{cells}</tr>")
    below = "".join(f"<p>{escape(note)}</p>" for note in notes)
    head, body = rows[0], "".join(rows[1:])
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>{below}"


def shorten(names):
    """Three names of at most 16 characters, and how many there are more."""
    texts = [str(name) for name in names[:3]]
    texts = [text if len(text) <= 16 else text[:13] + "..." for text in texts]
    return ", ".join(texts + [f"+{len(names) - 3}"] * (len(names) > 3))


def _percent(score, interval=(np.nan, np.nan)):
    low, high = interval
    text = f"{100 * score:5.1f}"
    return text + f" [{100 * low:.1f}, {100 * high:.1f}]" * bool(np.isfinite(low))
