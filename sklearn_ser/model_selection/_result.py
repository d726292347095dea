"""What the evaluations by speaker and by corpus return, and how it prints."""

from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from sklearn_ser._confusions import confusion_uar, speaker_confusions

_PROTOCOLS = {
    "transductive": "target utterances (unlabelled) were seen in training",
    "inductive": "unlabelled utterances of other target speakers were seen in training",
    "source-only": "no target utterance was seen in training",
}

_KINDS = {
    "inductive": "no recording of a test speaker was enrolled",
    "enrolled": "so many of each test speaker, unlabelled, which are not scored",
    "transductive": "all recordings of the test speakers were enrolled, unlabelled",
}


class _Table:
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


class Fold(NamedTuple):
    """One fold of :func:`speaker_cross_validate`: rows, figures, seconds."""

    train: np.ndarray
    test: np.ndarray
    test_speakers: np.ndarray
    uar: float
    wa: float
    fit_time: float
    score_time: float
    enrolled: tuple = ()


@dataclass(frozen=True, eq=False, repr=False)
class SpeakerCVResult(_Table):
    """What :func:`speaker_cross_validate` returns; it prints as a table.

    The pool holds the test rows of all folds, in the order of the folds: a row that no
    fold tests is left out, one that two folds test counts twice. So does one that two
    draws of an enrolment score.

    Attributes
    ----------
    folds : tuple of Fold
        Per fold `train` and `test` (row indices), `test_speakers`, `uar`, `wa`,
        `fit_time` and `score_time` (seconds), and `enrolled`, the rows of each draw of
        an enrolment. `test` has what the draws score, one draw after the other.
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
    kind : str
        What the prediction knew of the test speakers: "inductive", "transductive", or
        such as "enrolled (10)" or 'enrolled (10, "neutral")'. Figures of one kind
        belong in one ranking.
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
    kind: str = "inductive"

    _alignment = "<<><"  # numbers of rows are right-aligned

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
        level = _level(self) if np.isfinite(self.uar_interval[0]) else ""
        head = ["fold", "test speakers", "n", "UAR %" + level, "WA %" + level]
        rows = [
            [
                str(number),
                shorten(fold.test_speakers),
                str(len(fold.test)),
                _percent(fold.uar),
                _percent(fold.wa),
            ]
            for number, fold in enumerate(self.folds, 1)
        ]
        pooled = [
            "pooled",
            f"{len(np.unique(self.speakers))} speakers",
            str(len(self.rows)),
            _percent(self.uar, self.uar_interval),
            _percent(self.wa, self.wa_interval),
        ]
        return [head, *rows, pooled]

    def _notes_above(self):
        return [f"{self.kind}: {_KINDS[self.kind.split()[0]]}"]

    def _notes_below(self):
        return [self.protocol] if self.protocol else []


class Transfer(NamedTuple):
    """One transfer of :func:`cross_corpus_validate`: rows, figures, seconds."""

    source: tuple
    target: str
    classes: np.ndarray
    train: np.ndarray
    adapt: np.ndarray
    test: np.ndarray
    predictions: np.ndarray
    n_speakers: int
    uar: float
    wa: float
    uar_interval: tuple
    fit_time: float
    score_time: float


@dataclass(frozen=True, eq=False, repr=False)
class CrossCorpusResult(_Table):
    """What :func:`cross_corpus_validate` returns; it prints as a table.

    Attributes
    ----------
    transfers : tuple of Transfer
        Per transfer `source` (the names of its corpora), `target`, `classes`; the
        rows of `X` that trained with labels (`train`), that trained without (`adapt`,
        empty for an estimator that does not adapt) and that were scored (`test`);
        the `predictions` of the latter and how many speakers they have (`n_speakers`);
        `uar`, `wa` and `uar_interval`; `fit_time` and `score_time` (seconds).
    mode : {"transductive", "inductive"}
        What was asked for: whether all or half of the target's speakers are scored.
    protocol : {"transductive", "inductive", "source-only"}
        What the training saw of the target: rows of scored speakers, rows of others
        only, or none.
    adapted : bool
        Whether the estimator adapts: its fit got the target's unlabelled rows.
    uar : float
        Mean UAR over the transfers, between 0 and 1.
    uar_interval : (float, float)
        Bootstrap interval of the mean; NaN if a transfer scores one speaker only, or
        no bootstrap.
    confidence_level : float
        Coverage of the intervals.
    estimators : tuple of estimators or None
        The fitted estimators, with ``return_estimator=True``.
    """

    transfers: tuple
    mode: str
    protocol: str
    adapted: bool
    uar: float
    uar_interval: tuple
    confidence_level: float
    estimators: tuple | None

    def table(self):
        """Return the UAR of each source and target.

        Returns
        -------
        table : dict of str to dict of str to float
            ``table[source][target]``; several sources are one key, as in ``"a+b"``.
        """
        return {
            source: {target: transfer.uar for target, transfer in row.items()}
            for source, row in self._by_source().items()
        }

    def _by_source(self):
        """Return ``transfers[source][target]``, by their names."""
        transfers = {}
        for transfer in self.transfers:
            row = transfers.setdefault(join(transfer.source), {})
            row[str(transfer.target)] = transfer
        return transfers

    def _rows(self):
        targets = sorted({transfer.target for transfer in self.transfers})
        targets = [str(target) for target in targets]
        rows = [["from", *(f"to {target}" for target in targets)]]
        for source, transfers in self._by_source().items():
            figures = {
                target: _percent(transfer.uar, transfer.uar_interval)
                for target, transfer in transfers.items()
            }
            rows.append([source, *(figures.get(target, "    -") for target in targets)])
        return rows

    def _notes_above(self):
        known = any(
            np.isfinite(transfer.uar_interval[0]) for transfer in self.transfers
        )
        notes = [f"{self.protocol}: {_PROTOCOLS[self.protocol]}"]
        if self.mode == "inductive":
            notes.append("half of the target speakers were scored")
        return [*notes, "UAR %" + (_level(self) if known else "")]

    def _notes_below(self):
        mean = _percent(self.uar, self.uar_interval).strip()
        return [f"mean of {len(self.transfers)}: {mean}"]


def join(source):
    """Return the name of one or several source corpora."""
    return "+".join(map(str, source))


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


def _level(result):
    return f" [{100 * result.confidence_level:g}% interval]"


def _percent(score, interval=(np.nan, np.nan)):
    text, (low, high) = f"{100 * score:5.1f}", interval
    if np.isfinite(low):
        text += f" [{100 * low:.1f}, {100 * high:.1f}]"
    return text
