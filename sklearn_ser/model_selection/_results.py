"""What every result has: verdict, the printed table, files, views for a page."""

import json
import os
from dataclasses import dataclass, replace
from html import escape
from typing import Any, NamedTuple

import numpy as np

from .._csv import aligned, write_csv
from .._files import atomic_write
from .._validation import import_or_raise
from ..metrics._bootstrap import (
    UNKNOWN,
    PairedDifference,
    confusion_uar,
    confusion_wa,
    paired_difference,
    speaker_confusions,
)

_HARDLY = 0.02  # more than a guess
SENTENCES = {
    None: "",
    "heard": "the test sentences are in the training data of other speakers",
    "unheard": "unheard sentences: the training data have none of the test sentences",
    "control": "control: the test sentences are in the training data, others left it",
}


class Group(NamedTuple):
    """The recordings with one value of a column, such as one speaker's."""

    value: Any
    n_recordings: int
    uar: float
    wa: float


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
    uar_interval: tuple = UNKNOWN
    wa_interval: tuple = UNKNOWN
    baseline: PairedDifference | None = None

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
        support = np.unique(self.y_true, return_counts=True)[1]
        return float(1 / len(support)), float(support.max() / support.sum())

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

    Subclasses return their scored rows in `parts`, more columns of each part in
    `_labels`, their table in `_rows`, whose first row is the head, and lines of text in
    `_notes_above` and `_notes_below`. `_figures` names the attributes that `to_dict`
    repeats for unheard sentences.
    """

    _alignment = "<"
    _figures: tuple = ()
    _baseline_kinds: tuple = ()

    def _folds(self):
        return ()

    def _frozen_protocol(self):
        return None

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
        asked = [each.sentences or "heard" for each in (self, baseline)]
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
            paired_difference([part], [other], *options)
            for part, other in zip(own, others, strict=True)
        ]
        baseline = replace(baseline, baseline=None, estimators=None)
        mean = paired_difference(own, others, *options) if len(own) > 1 else compared[0]
        return replace(self, baseline=(baseline, mean, tuple(compared)))

    def verdict(self):
        """Tell what the data show: sentences on chance, baseline and sentences.

        Returns
        -------
        verdict : list of str
            The UAR with its interval beside chance, and whether it beats guessing.
            With a baseline also its UAR, and the difference paired by speaker. With
            `texts` also the UAR on unheard sentences, and its difference.
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
        if self.unheard_texts is not None:
            lines += self._verdict_on_sentences()
        return lines

    def _verdict_on_sentences(self):
        figure = _figure(self.unheard_texts.uar, self.unheard_texts.uar_interval)
        change = _difference(*self.text_differences["heard"])
        lines = [
            f"On unheard sentences, too, UAR {figure}, {change} to heard sentences."
        ]
        if self.control is not None:
            figure = _figure(self.control.uar, self.control.uar_interval)
            change = _difference(*self.text_differences["control"])
            lines.append(
                f"Control, as few training recordings, heard sentences: UAR {figure}; "
                f"unheard sentences: {change}."
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
        lines = table_lines(self._rows(), self._alignment)
        above = [*self.verdict(), *self._notes_above()]
        return "\n".join([*above, *lines, *self._notes_below()])

    def _repr_html_(self):
        head, *body = [[cell.strip() for cell in row] for row in self._rows()]
        head, body = html_row(head, "th"), "".join(map(html_row, body))
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
        """Return the columns of the scored rows, and their probabilities by class."""
        parts = self.parts()
        tables = [
            {"row": part.rows}
            | self._labels(number)
            | {"speaker": part.speakers, "y_true": part.y_true}
            | {"prediction": part.predictions}
            for number, part in enumerate(parts)
        ]
        columns = {n: np.concatenate([each[n] for each in tables]) for n in tables[0]}
        more, found = pick(by, columns["row"]), {}
        if all(part.probabilities is not None for part in parts):
            classes = np.unique(np.concatenate([part.classes for part in parts]))
            spread = [
                spread_columns(part.probabilities, part.classes, classes, np.nan)
                for part in parts
            ]
            names = [f"p_{name}" for name in classes.tolist()]
            found = dict(zip(names, np.concatenate(spread).T, strict=True))
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
            A sentence on each doubt about the data, if only one class was predicted,
            and if no probability is above that of a guess. For transfers, also if an
            interval contains chance.
        """
        found = list(self.caveats)
        for part in self.parts():
            where = f"{part.name}: " if part.name else ""
            if len(np.unique(part.predictions)) == 1:
                found.append(
                    f"{where}All {part.n_recordings} recordings were predicted as "
                    f"'{part.predictions[0]}': the model predicted one class only."
                )
            elif part.probabilities is not None:
                surest, guess = part.probabilities.max(), 1 / len(part.classes)
                if surest < guess + _HARDLY:
                    found.append(
                        f"{where}No answer has a probability above "
                        f"{100 * surest:.1f} %, and a guess has {100 * guess:.1f} %: "
                        "the probabilities do not tell which answers are right."
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
        for name in ("unheard_texts", "control"):
            if (other := getattr(self, name)) is not None:
                values[name] = {key: getattr(other, key) for key in self._figures}
                values[name]["n_recordings"] = sum(
                    p.n_recordings for p in other.parts()
                )
        if self.text_differences is not None:
            values["text_differences"] = {
                name: dict(zip(("difference", "interval"), pair, strict=True))
                for name, pair in self.text_differences.items()
            }
        return values


def with_sentences(results, *bootstrap):
    """Return the result on heard sentences with the others, and their differences.

    `results` has it as "heard", and may have others as "unheard" and "control".
    """
    heard, unheard, control = map(results.get, ("heard", "unheard", "control"))
    if unheard is None:
        return heard
    others = {"heard": heard} | ({} if control is None else {"control": control})
    found = {
        name: paired_difference(unheard.parts(), other.parts(), *bootstrap)[-2:]
        for name, other in others.items()
    }
    return replace(
        heard, unheard_texts=unheard, control=control, text_differences=found
    )


def slices(plans):
    """Return the names of lists, and the place of each list in all of them."""
    ends = np.cumsum([len(part) for part in plans.values()]).tolist()
    return zip(plans, map(slice, [0, *ends], ends), strict=True)


def _figure(score, interval):
    return f"{100 * score:.1f} %{bounds(interval)}"


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


def shorten(names):
    """Return three names of at most 16 characters, and how many more there are."""
    texts = [str(name) for name in names[:3]]
    texts = [text if len(text) <= 16 else text[:13] + "..." for text in texts]
    if len(names) > 3:
        texts.append(f"+{len(names) - 3}")
    return ", ".join(texts)


def table_lines(rows, alignment="<"):
    """Return rows of cells as lines of text; `alignment` is that of `aligned`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [aligned(row, widths, alignment).rstrip() for row in rows]


def html_row(cells, kind="td"):
    """Return a row of a table in HTML."""
    cells = "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in cells)
    return f"<tr>{cells}</tr>"


def interval_label(result):
    """Return what stands behind the name of a score with an interval."""
    return f" [{100 * result.confidence_level:g}% interval]"


def percent(score, interval=UNKNOWN):
    """Return a score in percent as text, with its interval if it is known."""
    return f"{100 * score:5.1f}{bounds(interval)}"


def bounds(interval):
    """Return an interval in percent as text, which is empty if it is unknown."""
    low, high = interval
    return f" [{100 * low:.1f}, {100 * high:.1f}]" if np.isfinite(low) else ""


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
