"""The results of evaluations: figures, the printed table, files, views for a page."""

import json
import os
from dataclasses import dataclass, fields, replace
from html import escape
from typing import Any, NamedTuple

import numpy as np

from .._csv import write_csv
from .._files import atomic_write
from .._validation import import_or_raise
from ..metrics._bootstrap import (
    bootstrap_interval,
    confusion_uar,
    confusion_wa,
    hits_and_support,
    mean_recall,
    resampled,
    speaker_confusions,
)

_UNKNOWN = np.nan, np.nan
_KINDS = {
    "inductive": "no recording of a test speaker was enrolled",
    "enrolled": "this many unlabelled recordings of each speaker, not scored",
    "transductive": "all recordings of the test speakers were enrolled, unlabelled",
}
_SENTENCES = {
    None: "",
    "heard": "the test sentences are in the training data of other speakers",
    "unheard": "unheard sentences: the training data have none of the test sentences",
    "control": "control: the test sentences are in the training data, others left it",
}
_PROTOCOLS = {
    "transductive": "target utterances (unlabelled) were seen in training",
    "inductive": "unlabelled utterances of other target speakers were seen in training",
    "source-only": "no target utterance was seen in training",
}


class Group(NamedTuple):
    """The recordings with one value of a column, such as one speaker's."""

    value: Any
    n_recordings: int
    uar: float
    wa: float


class Comparison(NamedTuple):
    """The figures of a baseline on the same rows, and the difference to them.

    The difference is that of the UAR, paired by speaker.
    """

    uar: float
    wa: float
    uar_interval: tuple
    wa_interval: tuple
    difference: float
    difference_interval: tuple


@dataclass(frozen=True, eq=False)
class Part:
    """The scored rows of an evaluation by speaker, or of one transfer.

    `rows` are rows of X. An enrolment scores a recording once in each of the `draws`.
    `name` is empty for an evaluation by speaker.
    """

    name: str
    rows: np.ndarray
    draws: np.ndarray
    speakers: np.ndarray
    y_true: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray | None
    classes: np.ndarray
    uar: float
    wa: float
    uar_interval: tuple
    wa_interval: tuple
    baseline: Comparison | None = None

    @property
    def n_recordings(self):
        """The number of recordings, each counted once."""
        return len(np.unique(self.rows))

    @property
    def n_draws(self):
        """The number of draws of an enrolment; 1 without one."""
        return len(np.unique(self.draws))

    @property
    def chance(self):
        """The UAR of a guess, and the WA of always the most frequent class."""
        return chance(self.y_true)

    @property
    def confusion(self):
        """The pooled counts: rows are true classes, columns are predicted classes."""
        return self.counts_by(self.speakers)[1].sum(axis=0)

    def counts_by(self, column):
        """Return the sorted values of a column, and the confusion counts of each."""
        return speaker_confusions(self.y_true, self.predictions, column, self.classes)

    def groups(self, column):
        """Return a `Group` for each value of a column that has a value for each row."""
        column = np.asarray(column)
        values, counts = self.counts_by(column)
        return [
            Group(value, len(np.unique(self.rows[column == value])), float(u), float(w))
            for value, u, w in zip(
                values, confusion_uar(counts), confusion_wa(counts), strict=True
            )
        ]

    def pick(self, by):
        """Return the scored rows of columns of the whole corpus."""
        return pick(by, self.rows)


class FoldView(NamedTuple):
    """One fold of an evaluation by speaker, with the UAR of a baseline, or None."""

    number: int
    test_speakers: tuple
    n_recordings: int
    uar: float
    wa: float
    history: list | None
    baseline_uar: float | None


@dataclass(frozen=True, eq=False)
class Summary:
    """A result in plain values, for a page, a card or a screen.

    `kind` is inductive, enrolled (k), transductive or source-only, and `about_kind` is
    a sentence on it. `verdict` and `remarks` are sentences. `table` has the printed
    table as text, and its first row is the head; `notes` are the lines below it.
    `folds` is empty for an evaluation across corpora.
    """

    evaluation: str
    kind: str
    about_kind: str
    verdict: tuple
    remarks: tuple
    protocol: str | None
    confidence_level: float
    parts: tuple
    table: list
    notes: tuple
    folds: tuple
    settings: dict


class Result:
    """What both results do: verdict, table, views, frames and files.

    Subclasses return their scored rows in `parts`, their table in `_rows`, whose first
    row is the head, and lines of text in `_notes_above` and `_notes_below`.
    `_alignment` has "<" or ">" for each column; columns beyond it are aligned as its
    last one.
    """

    _alignment = "<"
    _baseline_kinds: tuple = ()

    def _folds(self):
        return ()

    def _frozen_protocol(self):
        return None

    def _notes_below(self):
        return []

    def against(self, baseline, *, n_bootstrap=2000, random_state=0):
        """Compare the result with that of a simpler method on the same rows.

        Parameters
        ----------
        baseline : SpeakerCVResult or CrossCorpusResult
            A result of the same kind, on the same rows and draws.
        n_bootstrap : int, default=2000
            Number of bootstrap samples for the intervals of the differences.
        random_state : int, Generator, RandomState or None, default=0
            Seed of the bootstrap.

        Returns
        -------
        result : SpeakerCVResult or CrossCorpusResult
            A copy whose verdict, table, views and files include the baseline.

        Raises
        ------
        ValueError
            If the baseline is of another kind, or was scored on other rows.
        """
        if type(baseline) is not type(self):
            raise ValueError(
                f"baseline must be scored on the same rows as result, a "
                f"{type(self).__name__}; got a {type(baseline).__name__}."
            )
        if baseline.kind not in (self.kind, *self._baseline_kinds):
            raise ValueError(
                f"baseline is of the kind {baseline.kind!r}, but result is of the kind "
                f"{self.kind!r}. Only figures of one kind can be compared."
            )
        asked = [
            getattr(each, "sentences", None) or "heard" for each in (self, baseline)
        ]
        if asked[0] != asked[1]:
            raise ValueError(
                f"baseline is of {asked[1]} sentences, but result is of {asked[0]} "
                "sentences. Only figures of one kind can be compared."
            )
        own, others = self.parts(), baseline.parts()
        if len(own) != len(others) or not all(
            np.array_equal(a.rows, b.rows) and np.array_equal(a.draws, b.draws)
            for a, b in zip(own, others, strict=True)
        ):
            raise ValueError("baseline must be scored on the same rows as result.")
        options = n_bootstrap, self.confidence_level, random_state
        compared = [
            compare([part], [other], *options)
            for part, other in zip(own, others, strict=True)
        ]
        baseline = replace(baseline, baseline=None, estimators=None)
        mean = compare(own, others, *options) if len(own) > 1 else compared[0]
        return replace(self, baseline=(baseline, mean, tuple(compared)))

    def verdict(self):
        """Tell what the data show: sentences on chance and on the baseline.

        Returns
        -------
        verdict : list of str
            The UAR with its interval beside chance, and whether it beats guessing.
            With a baseline also its UAR, and the difference paired by speaker.
        """
        guess = float(np.mean([part.chance[0] for part in self.parts()]))
        low, high = self.uar_interval
        said = f"{_figure(self.uar, self.uar_interval)}, chance {100 * guess:.1f} %"
        if np.isnan(low):
            said += ", without an interval over speakers."
        elif low > guess:
            said += ": it beats guessing."
        elif high < guess:
            said += ": it is worse than guessing."
        else:
            said += ": the data do not show that it beats guessing."
        lines = [f"UAR {said}"]
        if self.baseline is not None:
            base, compared, _ = self.baseline
            kind = "" if base.kind == self.kind else f" ({base.kind})"
            figure = _figure(compared.uar, compared.uar_interval)
            lines.append(
                f"Baseline{kind} {figure}, {_difference(*compared[-2:])}: "
                f"{_judgement(compared.difference_interval, 'the baseline')}."
            )
        return lines

    def summary(self):
        """Return the result in plain values, as a page or a card shows it.

        Returns
        -------
        summary : Summary
            Kind, verdict, remarks, scored rows, folds, table and settings.
        """
        parts = self.parts()
        if self.baseline is not None:
            parts = [
                replace(part, baseline=compared)
                for part, compared in zip(parts, self.baseline[2], strict=True)
            ]
        return Summary(
            evaluation=self._evaluation,
            kind=self.kind,
            about_kind=self._notes_above()[0].partition(": ")[2],
            verdict=tuple(self.verdict()),
            remarks=tuple(self.remarks()),
            protocol=self._frozen_protocol(),
            confidence_level=self.confidence_level,
            parts=tuple(parts),
            table=self._rows(),
            notes=(*self._notes_above()[1:], *self._notes_below()),
            folds=tuple(self._folds()),
            settings=dict(self.settings or {}),
        )

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
        above = [*self.verdict(), *self._notes_above()]
        return "\n".join([*above, *lines, *self._notes_below()])

    def _repr_html_(self):
        head, *body = self._rows()
        head, body = _html_row(head, "th"), "".join(_html_row(r, "td") for r in body)
        notes = [*self._notes_below(), *self._notes_above()]
        above, below = (
            "".join(f"<p>{escape(line)}</p>" for line in lines)
            for lines in (self.verdict(), notes)
        )
        return (
            f"{above}<table><thead>{head}</thead><tbody>{body}</tbody></table>{below}"
        )

    def to_frame(self, by=None):
        """Return one row for each tested recording.

        Parameters
        ----------
        by : dict of str to array-like of shape (n_samples,), default=None
            More columns for the frame, such as ``{"file": corpus.data}``.

        Returns
        -------
        frame : pandas.DataFrame
            The columns are the row of `X`, the fold (or source and target), the draw of
            an enrolment, the speaker, `y_true` and `prediction`. If the estimator has
            probabilities, there is a column for each class, such as ``p_anger``.
        """
        pandas = import_or_raise("pandas", "datasets", "to_frame needs")
        return pandas.DataFrame(self._table(by))

    def _table(self, by):
        columns, probabilities = self._columns()
        more = pick(by, columns["row"])
        found = {f"p_{name}": column for name, column in probabilities.items()}
        taken = sorted((columns.keys() | found.keys()) & more.keys())
        if taken:
            raise ValueError(
                f"by has the columns {taken}, but the result has columns with these "
                "names."
            )
        return columns | more | found

    def save(self, folder, *, by=None):
        """Write ``result.json`` and ``predictions.csv``.

        Parameters
        ----------
        folder : str or PathLike
            The folder of the files, made if it is missing. Old files with these names
            are replaced.
        by : dict of str to array-like of shape (n_samples,), default=None
            More columns for the predictions. Absolute paths are written relative to
            their common folder.
        """
        by = {name: without_folders(column) for name, column in (by or {}).items()}
        columns = self._table(by)
        os.makedirs(folder, exist_ok=True)
        rows = zip(*(np.asarray(c).tolist() for c in columns.values()), strict=True)
        write_csv(os.path.join(folder, "predictions.csv"), [list(columns), *rows])
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        with atomic_write(os.path.join(folder, "result.json")) as file:
            file.write(text.encode("utf-8", errors="surrogateescape") + b"\n")

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

    def remarks(self):
        """Return sentences with warnings for a reader of the figures.

        Returns
        -------
        remarks : list of str
            A sentence on each doubt about the data, and if only one class was
            predicted. For transfers, also if an interval contains chance.
        """
        found = list(self.caveats)
        for part in self.parts():
            where = f"{part.name}: " if part.name else ""
            if len(np.unique(part.predictions)) == 1:
                found.append(
                    f"{where}All {part.n_recordings} recordings were predicted as "
                    f"'{part.predictions[0]}': the model predicted one class only."
                )
            low, high = part.uar_interval
            guess = part.chance[0]
            if part.name and low <= guess <= high:
                found.append(
                    f"{where}The {100 * self.confidence_level:g}% interval of the UAR "
                    f"contains chance ({100 * guess:.1f}%): the data do not show that "
                    "it beats guessing."
                )
        return found

    def _shared_values(self):
        """Return what `to_dict` has for every kind of result."""
        values = {
            "evaluation": self._evaluation,
            "kind": self.kind,
            "verdict": self.verdict(),
            "remarks": self.remarks(),
            "settings": self.settings,
        }
        if self.baseline is not None:
            base, compared, _ = self.baseline
            values["baseline"] = {"kind": base.kind, **compared._asdict()}
        return values


def _figure(score, interval):
    low, high = (100 * end for end in interval)
    known = f" [{low:.1f}, {high:.1f}]" if np.isfinite(low) else ""
    return f"{100 * score:.1f} %{known}"


def _difference(difference, interval):
    text = f"difference {100 * difference:+.1f} points"
    if np.isfinite(interval[0]):
        text += f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"
    return text


def _judgement(interval, what):
    """Say whether a difference to something is there, by its interval."""
    low, high = interval
    if low > 0:
        return f"better than {what}"
    if high < 0:
        return f"worse than {what}"
    return f"the data do not show a difference to {what}"


def mean_figure(parts, score=mean_recall):
    """Return the units that a bootstrap draws, and the mean score as a figure of them.

    Parts with the same speakers, such as transfers to one target, share their draws.
    """
    sizes, columns = {}, []
    for part in parts:
        people, counts = speaker_confusions(
            part.y_true, part.predictions, part.speakers, part.classes
        )
        key = tuple(people.tolist())
        sizes[key] = len(people)
        columns.append((key, hits_and_support(counts)))

    def figure(*index):
        drawn = dict(zip(sizes, index, strict=True))
        scores = [score(*resampled(drawn[key], *pair)) for key, pair in columns]
        return np.mean(scores, axis=0)

    return list(sizes.values()), figure


def mean_interval(parts, *bootstrap, score=mean_recall):
    """Return the interval of the mean score of parts, such as transfers or seeds."""
    sizes, figure = mean_figure(parts, score)
    return bootstrap_interval(figure, sizes, *bootstrap)


def compare(parts, others, n_bootstrap, confidence_level, random_state):
    """Return the `Comparison` of the mean figures with those of the same speakers."""
    sizes, own = mean_figure(parts)
    _, base = mean_figure(others)
    options = n_bootstrap, confidence_level, random_state
    uar, wa = (float(np.mean([getattr(p, n) for p in others])) for n in ("uar", "wa"))
    one = len(others) == 1
    return Comparison(
        uar,
        wa,
        others[0].uar_interval if one else mean_interval(others, *options),
        others[0].wa_interval if one else _UNKNOWN,
        float(np.mean([part.uar for part in parts])) - uar,
        bootstrap_interval(lambda *i: own(*i) - base(*i), sizes, *options),
    )


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


def without_folders(column):
    """Return a column; absolute paths become relative to their common folder."""
    values = column if isinstance(column, list) else np.asarray(column).tolist()
    paths = [v for v in values if isinstance(v, str | os.PathLike) and os.path.isabs(v)]
    if not paths:
        return column
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    made = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        absolute = isinstance(value, str | os.PathLike) and os.path.isabs(value)
        made[row] = os.path.relpath(value, folder) if absolute else value
    return made


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
    return float(1 / len(support)), float(support.max() / support.sum())


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


def _interval_label(result):
    return f" [{100 * result.confidence_level:g}% interval]"


def percent(score, interval=_UNKNOWN):
    """Return a score in percent as text, with its interval if it is known."""
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

    def draws(self):
        """Return the draw that scored each row of `test`, counted from 1."""
        n_draws = max(1, len(self.enrolled))
        # Each draw scores the same number of rows.
        return np.repeat(np.arange(1, n_draws + 1), len(self.test) // n_draws)


@dataclass(frozen=True, eq=False, repr=False)
class SpeakerCVResult(Result):
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
        or, for example, "enrolled (10)", "enrolled (2 to 10)" or
        'enrolled (10, "neutral")', by the numbers that were enrolled. Rank only figures
        of one kind together.
    draws : ndarray of shape (n_tested,) or None
        The draw of an enrolment that scored each row, counted from 1.
    caveats : tuple of str
        Doubts about the data, which `remarks` repeats.
    baseline : tuple or None
        What :meth:`against` compared the result with.
    unheard_texts, control : SpeakerCVResult or None
        With `texts`, the result on unheard speakers and sentences. With `control`, that
        of as few training recordings whose sentences are heard.
    text_differences : dict or None
        The UAR on unheard sentences minus that on ``"heard"`` ones, and minus that of
        the ``"control"``. Each is a pair of the difference and its interval.
    sentences : {"heard", "unheard", "control"} or None
        Whether the test sentences are in the training data. None if nobody knows.

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
    draws: np.ndarray | None = None
    caveats: tuple = ()
    baseline: tuple | None = None
    unheard_texts: Any = None
    control: Any = None
    text_differences: dict | None = None
    sentences: str | None = None

    _evaluation = "speaker_cross_validate"
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
        "sentences",
    )

    def per_speaker(self):
        """Return the UAR of each test speaker.

        Returns
        -------
        uars : dict of speaker to float
            Sorted by speaker. Each UAR is over the classes in the speaker's rows.
        """
        groups = self.parts()[0].groups(self.speakers)
        return {group.value.item(): group.uar for group in groups}

    def parts(self):
        """Return the scored rows, as a list of one part."""
        ones = np.ones(len(self.rows), dtype=int)
        names = [each.name for each in fields(Part)]
        values = {name: getattr(self, name) for name in names if hasattr(self, name)}
        draws = ones if self.draws is None else self.draws
        return [Part(**values | {"name": "", "draws": draws, "baseline": None})]

    def _folds(self):
        base = None if self.baseline is None else self.baseline[0]
        return [
            FoldView(
                number,
                tuple(fold.test_speakers.tolist()),
                len(np.unique(fold.test)),
                fold.uar,
                fold.wa,
                fold.history,
                None if base is None else base.folds[number - 1].uar,
            )
            for number, fold in enumerate(self.folds, 1)
        ]

    def _frozen_protocol(self):
        return self.protocol

    def verdict(self):
        """Tell what the data show: sentences on chance, baseline and sentences.

        Returns
        -------
        verdict : list of str
            The UAR with its interval beside chance, and whether it beats guessing.
            With a baseline also its UAR, and the difference paired by speaker. With
            `texts` also the UAR on unheard sentences, and its difference.
        """
        lines = super().verdict()
        if self.unheard_texts is not None:
            unheard, control = self.unheard_texts, self.control
            figure = _figure(unheard.uar, unheard.uar_interval)
            lines.append(
                f"On unheard sentences, too, UAR {figure}, "
                f"{_difference(*self.text_differences['heard'])} to heard sentences."
            )
        if self.unheard_texts is not None and control is not None:
            figure = _figure(control.uar, control.uar_interval)
            lines.append(
                f"Control, as few training recordings, heard sentences: UAR {figure}; "
                f"unheard sentences: {_difference(*self.text_differences['control'])}."
            )
        return lines

    def _rows(self):
        label = _interval_label(self) if np.isfinite(self.uar_interval[0]) else ""
        head = ["fold", "test speakers", "n", "UAR %" + label, "WA %" + label]
        rows = [
            [
                str(fold.number),
                shorten(fold.test_speakers),
                str(fold.n_recordings),
                percent(fold.uar),
                percent(fold.wa),
            ]
            for fold in self._folds()
        ]
        (part,) = self.parts()
        pooled = [
            "pooled",
            f"{len(np.unique(self.speakers))} speakers",
            str(part.n_recordings),
            percent(self.uar, self.uar_interval),
            percent(self.wa, self.wa_interval),
        ]
        return [head, *rows, pooled]

    def _notes_above(self):
        kind = f"{self.kind}: {_KINDS[self.kind.split()[0]]}"
        return [kind, *filter(None, [_SENTENCES[self.sentences]])]

    def _notes_below(self):
        (part,) = self.parts()
        notes = []
        if len(self.rows) > part.n_recordings:
            draws = f", {part.n_draws} draws" if part.n_draws > 1 else ""
            notes.append(
                f"{part.n_recordings} recordings{draws}: {len(self.rows)} predictions"
            )
        return [*notes, self.protocol] if self.protocol else notes

    def _columns(self):
        """Return the columns of the pooled rows, and their probabilities by class."""
        numbers = np.repeat(
            np.arange(1, len(self.folds) + 1), [len(fold.test) for fold in self.folds]
        )
        columns = {"row": self.rows, "fold": numbers}
        if self.kind.startswith("enrolled"):
            columns["draw"] = self.draws
        columns |= {
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
                "n": len(np.unique(fold.test)),
                **{name: getattr(fold, name) for name in Fold._fields[3:-1]},
            }
            for number, fold in enumerate(self.folds, 1)
        ]
        (part,) = self.parts()
        values = self._shared_values() | {
            **{name: getattr(self, name) for name in self._figures},
            "chance": dict(zip(("uar", "wa"), part.chance, strict=True)),
            "n_recordings": part.n_recordings,
            "n_draws": part.n_draws,
            "n_predictions": len(self.rows),
            "n_speakers": len(np.unique(self.speakers)),
            "per_speaker": self.per_speaker(),
            "folds": folds,
        }
        for name in ("unheard_texts", "control"):
            if (other := getattr(self, name)) is not None:
                values[name] = {key: getattr(other, key) for key in self._figures}
                values[name]["n_recordings"] = other.parts()[0].n_recordings
        if self.text_differences is not None:
            values["text_differences"] = {
                name: dict(zip(("difference", "interval"), pair, strict=True))
                for name, pair in self.text_differences.items()
            }
        return plain(values)


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
    left_out: dict | None = None


@dataclass(frozen=True, eq=False, repr=False)
class CrossCorpusResult(Result):
    """Result of :func:`cross_corpus_validate`. ``print(result)`` shows a table.

    Attributes
    ----------
    transfers : tuple of Transfer
        Each transfer has `source` (the names of its corpora), `target` and `classes`.
        The rows of `X` are in `train` (with labels), `adapt` (without labels; empty for
        an estimator that does not adapt) and `test` (scored). The scored rows have
        `predictions`, `y_true`, `speakers` and `probabilities` (a column for each of
        `classes`, or None without `predict_proba`), and `n_speakers` counts their
        speakers. `left_out` counts the recordings of classes that not all of its
        corpora have. The scores are `uar`, `wa` and `uar_interval`, the seconds
        `fit_time` and `score_time`.
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
    caveats : tuple of str
        Doubts about the data, which `remarks` repeats.
    baseline : tuple or None
        What :meth:`against` compared the result with.

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
    caveats: tuple = ()
    baseline: tuple | None = None

    _evaluation = "cross_corpus_validate"
    _baseline_kinds = ("source-only",)

    @property
    def kind(self):
        """The knowledge of the target in training: `protocol`."""
        return self.protocol

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

    def parts(self):
        """Return the scored rows of each transfer."""
        return [
            Part(
                name=f"{join(t.source)} to {t.target}",
                rows=t.test,
                draws=np.ones(len(t.test), dtype=int),
                speakers=t.speakers,
                y_true=t.y_true,
                predictions=t.predictions,
                probabilities=t.probabilities,
                classes=t.classes,
                uar=t.uar,
                wa=t.wa,
                uar_interval=t.uar_interval,
                wa_interval=_UNKNOWN,
            )
            for t in self.transfers
        ]

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
        return [*notes, "UAR %" + (_interval_label(self) if known else "")]

    def _notes_below(self):
        mean = percent(self.uar, self.uar_interval).strip()
        return [f"mean of {len(self.transfers)}: {mean}", *self._left_out()]

    def _left_out(self):
        """Return a line for each transfer that left out recordings, by their class."""
        return [
            f"{join(t.source)} to {t.target} leaves out {sum(t.left_out.values())} "
            "recordings of classes that not all of its corpora have: "
            + ", ".join(f"{name} ({n})" for name, n in t.left_out.items())
            for t in self.transfers
            if t.left_out
        ]

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
        same = "source", "target", "classes", "n_speakers", "uar", "wa", "uar_interval"
        transfers = [
            {
                **{name: getattr(transfer, name) for name in same},
                "chance": dict(zip(("uar", "wa"), part.chance, strict=True)),
                "n_source": len(transfer.train),
                "n_unlabelled": len(transfer.adapt),
                "n_recordings": len(transfer.test),
                "left_out": transfer.left_out,
                "confusion": part.confusion,
                "fit_time": transfer.fit_time,
                "score_time": transfer.score_time,
            }
            for transfer, part in zip(self.transfers, self.parts(), strict=True)
        ]
        names = "protocol", "mode", "adapted", "uar", "uar_interval", "confidence_level"
        return plain(
            self._shared_values()
            | {name: getattr(self, name) for name in names}
            | {"transfers": transfers}
        )


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
