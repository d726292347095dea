"""The results of evaluations: figures, tables, files."""

import json
import os
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from .._csv import write_csv
from .._files import atomic_write
from .._validation import import_or_raise
from ..metrics._bootstrap import confusion_uar, speaker_confusions

_KINDS = {
    "inductive": "no recording of a test speaker was enrolled",
    "enrolled": "this many unlabelled recordings of each speaker, not scored",
    "transductive": "all recordings of the test speakers were enrolled, unlabelled",
}


_PROTOCOLS = {
    "transductive": "target utterances (unlabelled) were seen in training",
    "inductive": "unlabelled utterances of other target speakers were seen in training",
    "source-only": "no target utterance was seen in training",
}


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
        pandas = import_or_raise("pandas", "datasets", "to_frame needs")
        return pandas.DataFrame(self._table(by))

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
        write_json(os.path.join(folder, "result.json"), self.to_dict())

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
    """Return the tested rows of columns of the whole corpus."""
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
    """Return sentences on a constant prediction and on an interval with chance."""
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


class Fold(NamedTuple):
    """One fold of :func:`speaker_cross_validate`: rows, figures, seconds."""

    train: np.ndarray
    test: np.ndarray
    test_speakers: np.ndarray
    uar: float
    wa: float
    fit_time: float
    score_time: float
    history: list | None = None
    enrolled: tuple = ()


@dataclass(frozen=True, eq=False, repr=False)
class SpeakerCVResult(Table):
    """Result of :func:`speaker_cross_validate`. ``print(result)`` shows a table.

    The pool holds the test rows of all folds, in the order of the folds. It leaves out
    a row that no fold tests. A row counts twice if two folds test it, or if two draws
    of an enrolment score it.

    Attributes
    ----------
    folds : tuple of Fold
        Each fold has `train` and `test` (row indices), `test_speakers`, `uar`, `wa`,
        `fit_time` and `score_time` (seconds). `history` has the losses of each epoch,
        if the estimator has a `history_`. `enrolled` has the rows of each draw of an
        enrolment, and then `test` has the scored rows of one draw after the other.
    uar, wa : float
        Pooled unweighted average recall and accuracy, between 0 and 1.
    uar_interval, wa_interval : (float, float)
        Bootstrap intervals over speakers. They are NaN with a single test speaker, or
        without a bootstrap.
    confidence_level : float
        Coverage of the intervals.
    rows : ndarray of shape (n_tested,)
        The row of `X` behind each pooled entry.
    y_true, predictions, speakers : ndarray of shape (n_tested,)
        True emotion, predicted emotion and speaker.
    probabilities : ndarray of shape (n_tested, n_classes) or None
        Zero for a class that the training rows lack. None without `predict_proba`.
    classes : ndarray of shape (n_classes,)
        The sorted classes of `y`: columns of `probabilities`, axes of `confusion`.
    confusion : ndarray of shape (n_classes, n_classes)
        Pooled counts. Rows are true classes, and columns are predicted classes.
    estimators : tuple of estimators or None
        The fitted estimators, with ``return_estimator=True``.
    protocol : str or None
        The frozen protocol behind the splits, with its version and hash.
    settings : dict of str to str
        The estimator's parameters, the splitter, the seed of the bootstrap, and the
        versions of the packages.
    kind : str
        The knowledge of the test speakers in prediction: "inductive", "transductive",
        or, for example, "enrolled (10)" or 'enrolled (10, "neutral")'. Rank only
        figures of one kind together.

    See Also
    --------
    sklearn_ser.inspection.SpeakerRecallDisplay : Draw a result.
    sklearn_ser.report.make_report : Make a page of a result.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn_ser.model_selection import speaker_cross_validate
    >>> X, y = np.zeros((8, 1)), ["anger", "sadness"] * 4
    >>> speakers = np.repeat(["ann", "bob"], 4)
    >>> result = speaker_cross_validate(DummyClassifier(), X, y, speakers)
    >>> result.uar, result.kind, result.confusion.tolist()
    (0.5, 'inductive', [[4, 0], [4, 0]])
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
    settings: dict | None = None
    kind: str = "inductive"

    _alignment = "<<><"  # numbers of rows are right-aligned
    _figures = (
        "uar",
        "wa",
        "uar_interval",
        "wa_interval",
        "confidence_level",
        "classes",
        "confusion",
        "protocol",
        "kind",
    )

    def per_speaker(self):
        """Return the UAR of each test speaker.

        Returns
        -------
        uars : dict of speaker to float
            Sorted by speaker. Each UAR is over the classes in the speaker's rows.
        """
        names, counts = speaker_confusions(
            self.y_true, self.predictions, self.speakers, self.classes
        )
        return dict(zip(names.tolist(), confusion_uar(counts).tolist(), strict=True))

    def _rows(self):
        of_level = level(self) if np.isfinite(self.uar_interval[0]) else ""
        head = ["fold", "test speakers", "n", "UAR %" + of_level, "WA %" + of_level]
        rows = [
            [
                str(number),
                shorten(fold.test_speakers),
                str(len(fold.test)),
                percent(fold.uar),
                percent(fold.wa),
            ]
            for number, fold in enumerate(self.folds, 1)
        ]
        pooled = [
            "pooled",
            f"{len(np.unique(self.speakers))} speakers",
            str(len(self.rows)),
            percent(self.uar, self.uar_interval),
            percent(self.wa, self.wa_interval),
        ]
        return [head, *rows, pooled]

    def _notes_above(self):
        return [f"{self.kind}: {_KINDS[self.kind.split()[0]]}"]

    def _notes_below(self):
        return [self.protocol] if self.protocol else []

    def _columns(self):
        """Return the columns of the pooled rows, and their probabilities by class."""
        numbers = np.repeat(
            np.arange(1, len(self.folds) + 1), [len(fold.test) for fold in self.folds]
        )
        columns = {
            "row": self.rows,
            "fold": numbers,
            "speaker": self.speakers,
            "y_true": self.y_true,
            "prediction": self.predictions,
        }
        if self.probabilities is None:
            return columns, {}
        return columns, dict(
            zip(self.classes.tolist(), self.probabilities.T, strict=True)
        )

    def to_dict(self):
        """Return everything except the predictions as JSON values.

        Returns
        -------
        values : dict
            Scores, intervals and chance levels; figures of each fold and speaker; the
            confusion matrix; the protocol with its hash; settings, seed and versions.
        """
        folds = [
            {
                "fold": number,
                "speakers": fold.test_speakers,
                "n": len(fold.test),
                **{name: getattr(fold, name) for name in Fold._fields[3:-1]},
            }
            for number, fold in enumerate(self.folds, 1)
        ]
        return plain(
            {
                "evaluation": "speaker_cross_validate",
                **{name: getattr(self, name) for name in self._figures},
                "chance": dict(zip(("uar", "wa"), chance(self.y_true), strict=True)),
                "n_recordings": len(self.rows),
                "n_speakers": len(np.unique(self.speakers)),
                "per_speaker": self.per_speaker(),
                "folds": folds,
                "settings": self.settings,
            }
        )

    def remarks(self):
        """Return sentences with warnings for a reader of the figures.

        Returns
        -------
        remarks : list of str
            A sentence if only one class was predicted, or if the interval contains
            chance.
        """
        return remarks(
            self.y_true, self.predictions, self.uar_interval, self.confidence_level
        )


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
    y_true: np.ndarray
    speakers: np.ndarray
    probabilities: np.ndarray | None = None


@dataclass(frozen=True, eq=False, repr=False)
class CrossCorpusResult(Table):
    """Result of :func:`cross_corpus_validate`. ``print(result)`` shows a table.

    Attributes
    ----------
    transfers : tuple of Transfer
        Each transfer has `source` (the names of its corpora), `target` and `classes`.
        The rows of `X` are in `train` (with labels), `adapt` (without labels; empty for
        an estimator that does not adapt) and `test` (scored). The scored rows have
        `predictions`, `y_true`, `speakers` and `probabilities` (a column for each of
        `classes`, or None without `predict_proba`), and `n_speakers` counts their
        speakers. The scores are `uar`, `wa` and `uar_interval`, the seconds `fit_time`
        and `score_time`.
    mode : {"transductive", "inductive"}
        The argument `mode`: all or half of the target's speakers are scored.
    protocol : {"transductive", "inductive", "source-only"}
        The target rows in the training: rows of scored speakers, rows of other speakers
        only, or none.
    adapted : bool
        True if the fit of the estimator got the target's unlabelled rows.
    uar : float
        Mean UAR over the transfers, between 0 and 1.
    uar_interval : (float, float)
        Bootstrap interval of the mean. It is NaN if a transfer scores a single speaker,
        or without a bootstrap.
    confidence_level : float
        Coverage of the intervals.
    estimators : tuple of estimators or None
        The fitted estimators, with ``return_estimator=True``.
    settings : dict of str to str
        As in :class:`SpeakerCVResult`.

    See Also
    --------
    sklearn_ser.inspection.TransferMatrixDisplay : Draw a result.
    sklearn_ser.report.make_report : Make a page of a result.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn_ser.model_selection import cross_corpus_validate
    >>> X, y = np.zeros((16, 1)), ["anger", "sadness"] * 8
    >>> corpora = np.repeat(["emodb", "emovo"], 8)
    >>> speakers = np.tile(np.repeat(["ann", "bob"], 4), 2)
    >>> result = cross_corpus_validate(DummyClassifier(), X, y, corpora, speakers)
    >>> result.table()["emodb"]["emovo"], result.protocol
    (0.5, 'source-only')
    """

    transfers: tuple
    mode: str
    protocol: str
    adapted: bool
    uar: float
    uar_interval: tuple
    confidence_level: float
    estimators: tuple | None
    settings: dict | None = None

    def table(self):
        """Return the UAR of each source and target.

        Returns
        -------
        table : dict of str to dict of str to float
            ``table[source][target]``. Several sources are one key, as in ``"a+b"``.
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
                target: percent(transfer.uar, transfer.uar_interval)
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
        return [*notes, "UAR %" + (level(self) if known else "")]

    def _notes_below(self):
        mean = percent(self.uar, self.uar_interval).strip()
        return [f"mean of {len(self.transfers)}: {mean}"]

    def _columns(self):
        """Return the columns of the scored rows, and their probabilities by class."""
        parts = [
            {
                "row": transfer.test,
                "source": np.full(len(transfer.test), join(transfer.source)),
                "target": np.full(len(transfer.test), str(transfer.target)),
                "speaker": transfer.speakers,
                "y_true": transfer.y_true,
                "prediction": transfer.predictions,
            }
            for transfer in self.transfers
        ]
        columns = {
            name: np.concatenate([part[name] for part in parts]) for name in parts[0]
        }
        if any(transfer.probabilities is None for transfer in self.transfers):
            return columns, {}
        classes = np.unique(np.concatenate([t.classes for t in self.transfers]))
        spread = [
            spread_columns(t.probabilities, t.classes, classes, missing=np.nan)
            for t in self.transfers
        ]
        return columns, dict(
            zip(classes.tolist(), np.concatenate(spread).T, strict=True)
        )

    def to_dict(self):
        """Return everything except the predictions as JSON values.

        Returns
        -------
        values : dict
            Scores and intervals of the mean and of each transfer, and chance levels;
            the protocol; settings, seed and versions.
        """
        transfers = []
        for transfer in self.transfers:
            counts = speaker_confusions(
                transfer.y_true,
                transfer.predictions,
                transfer.speakers,
                transfer.classes,
            )[1]
            figures = {
                name: getattr(transfer, name)
                for name in ("source", "target", "classes", "n_speakers", "uar", "wa")
            }
            by_chance = dict(zip(("uar", "wa"), chance(transfer.y_true), strict=True))
            transfers.append(
                figures
                | {
                    "uar_interval": transfer.uar_interval,
                    "chance": by_chance,
                    "n_source": len(transfer.train),
                    "n_unlabelled": len(transfer.adapt),
                    "n_recordings": len(transfer.test),
                    "confusion": counts.sum(axis=0),
                    "fit_time": transfer.fit_time,
                    "score_time": transfer.score_time,
                }
            )
        names = "protocol", "mode", "adapted", "uar", "uar_interval", "confidence_level"
        return plain(
            {
                "evaluation": "cross_corpus_validate",
                **{name: getattr(self, name) for name in names},
                "transfers": transfers,
                "settings": self.settings,
            }
        )

    def remarks(self):
        """Return sentences with warnings for a reader of the figures.

        Returns
        -------
        remarks : list of str
            A sentence for each transfer that predicted only one class, or whose
            interval contains chance.
        """
        return [
            f"{join(t.source)} to {t.target}: {remark}"
            for t in self.transfers
            for remark in remarks(
                t.y_true, t.predictions, t.uar_interval, self.confidence_level
            )
        ]


def join(source):
    """Return the name of one or several source corpora."""
    return "+".join(map(str, source))


def plain(value):
    """Return a value of arrays, tuples and NumPy scalars as JSON has it.

    NaN and infinity become None, and what JSON does not know becomes text.
    """
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)


def write_json(path, value):
    """Write a value as JSON that people can read."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", errors="surrogateescape") + b"\n")
