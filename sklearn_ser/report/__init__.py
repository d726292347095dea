"""A report of an evaluation, as one HTML file."""

import os
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import numpy as np
from numpy.typing import ArrayLike

from ..datasets.duplicates import rows_of
from ..metrics._bootstrap import (
    confusion_uar,
    confusion_wa,
    speaker_confusions,
)
from ..model_card import LIMITS, USE, describe_evaluation
from ..model_selection import CrossCorpusResult, SpeakerCVResult
from ..model_selection._results import chance, join, pick
from ._html import (
    Html,
    bar,
    cell,
    curves,
    heat,
    page,
    player,
    reliability,
    score,
    table,
)

__all__ = ["make_report"]

_BINS = 10
_MISTAKES = 10
_MOST_VALUES = 40  # of a column whose values are shown one by one


def make_report(
    result: SpeakerCVResult | CrossCorpusResult,
    *,
    title: str = "Speech emotion recognition: a test on unheard voices",
    what: str = "",
    baseline: SpeakerCVResult | CrossCorpusResult | None = None,
    by: Mapping[str, ArrayLike] | None = None,
    recordings: Sequence | None = None,
    audio: bool = False,
) -> str:
    """Make a report of an evaluation, as one HTML page that needs no network.

    The page shows scores with their intervals and chance, the classes, each fold or
    transfer, the confusion matrix, the recall by emotion and speaker, the calibration,
    the training curves, the most confident mistakes, intended use and limits, and the
    settings.

    Parameters
    ----------
    result : SpeakerCVResult or CrossCorpusResult
        The result of an evaluation.
    title : str, default="Speech emotion recognition: a test on unheard voices"
        The heading.
    what : str, default=""
        A sentence that describes the evaluation.
    baseline : SpeakerCVResult or CrossCorpusResult, default=None
        The result of a simpler method on the same folds.
    by : dict of str to array-like of shape (n_samples,), default=None
        Columns of the corpus, such as ``{"gender": corpus.frame["gender"]}``. The page
        shows the UAR of each value of a column with two to forty values.
    recordings : list of length n_samples, default=None
        The recordings. If they are paths, the paths name the mistakes.
    audio : bool, default=False
        If True, the page holds and plays the recordings of the mistakes. Everyone who
        gets the page then gets these voices.

    Returns
    -------
    html : str
        The page. ``result.to_html(path)`` writes it to a file.

    Raises
    ------
    ValueError
        If a column of `by`, or `recordings`, is shorter than the evaluated corpus. If
        `audio` is True without recordings, or `baseline` was not scored on the same
        rows.

    See Also
    --------
    sklearn_ser.model_card.make_model_card : Only the card, as Markdown.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn_ser.model_selection import speaker_cross_validate
    >>> from sklearn_ser.report import make_report
    >>> X, y = np.zeros((8, 1)), ["anger", "sadness"] * 4
    >>> speakers = np.repeat(["ann", "bob"], 4)
    >>> result = speaker_cross_validate(DummyClassifier(), X, y, speakers)
    >>> "the model predicted one class only" in make_report(result)
    True
    """
    if audio and recordings is None:
        raise ValueError("audio=True needs recordings, but recordings is None.")
    views = _views(result)
    rows = np.concatenate([view.rows for view in views])
    recordings = None if recordings is None else rows_of(recordings)
    if recordings is not None and len(recordings) <= rows.max():
        raise ValueError(
            f"recordings must have an entry for each row of the corpus, at least "
            f"{rows.max() + 1}; got {len(recordings)}."
        )
    bases: list = [None] * len(views)
    if baseline is not None:
        bases = _views(baseline)
        same = len(bases) == len(views) and all(
            np.array_equal(a.rows, b.rows) for a, b in zip(bases, views, strict=True)
        )
        if not same:
            raise ValueError("baseline must be scored on the same rows as result.")
    parts = [f"<p>{cell(what)}</p>"] if what else []
    parts += [f'<p class="note">{cell(remark)}</p>' for remark in result.remarks()]
    parts += _overview(result, views, bases)
    for view in views:
        heading = f": {view.name}" if view.name else ""
        parts += _of_view(view, heading, by)
        parts += _mistakes(view, heading, recordings, audio)
    return page(title, [*parts, *_training(result), *_card(result, views)])


def _views(result):
    """Return the scored rows of the result or of each transfer, under equal names."""
    if isinstance(result, SpeakerCVResult):
        return [SimpleNamespace(name="", **vars(result))]
    return [
        SimpleNamespace(
            name=f"{join(transfer.source)} to {transfer.target}",
            rows=transfer.test,
            wa_interval=(np.nan, np.nan),
            **transfer._asdict(),
        )
        for transfer in result.transfers
    ]


def _overview(result, views, bases):
    parts = ["<h2>Result</h2>"]
    if isinstance(result, SpeakerCVResult):  # inductive, enrolled or transductive
        parts += [f"<p>{cell(note)}</p>" for note in result._notes_above()]
    for view, base in zip(views, bases, strict=True):
        uar, wa = chance(view.y_true)
        parts.append(f"<h3>{cell(view.name)}</h3>" if view.name else "")
        figures = [("UAR, the mean recall of the classes", "uar", uar)]
        figures.append(("WA, the share of correct predictions", "wa", wa))
        for name, key, guess in figures:
            known = getattr(view, key), getattr(view, f"{key}_interval"), guess
            parts.append(score(name, *known))
            if base is not None:
                known = getattr(base, key), getattr(base, f"{key}_interval"), guess
                name = f"{key.upper()} of the linear baseline"
                parts.append(score(name, *known, style="base"))
    parts.append(
        f'<p class="soft">The bars are {100 * result.confidence_level:g}% intervals: '
        "a bootstrap over speakers, too narrow with fewer than ten of them. The dashed "
        "line is chance: guessing for the UAR, always the most frequent class for the "
        "WA."
        + (
            " The baseline is a linear model on the same features and folds."
            if bases[0] is not None
            else ""
        )
        + "</p>"
    )
    if isinstance(result, SpeakerCVResult):
        head = ["fold", "test speakers", "recordings", "UAR %", "WA %"]
        rows = [
            [i, ", ".join(map(str, f.test_speakers)), len(f.test), *_percents(f)]
            for i, f in enumerate(result.folds, 1)
        ]
        if bases[0] is not None:
            head.append("baseline UAR %")
            others = bases[0].folds
            rows = [[*r, 100 * f.uar] for r, f in zip(rows, others, strict=True)]
        return [*parts, "<h2>Folds</h2>", table(head, rows)]
    notes = "".join(f"<p>{cell(note)}</p>" for note in result._notes_above()[:-1])
    head, *rows = result._rows()
    note = f"<p>{cell(result._notes_below()[0])}</p>"
    return [*parts, "<h2>Transfers (UAR %)</h2>", notes, table(head, rows), note]


def _percents(figures):
    return [100 * figures.uar, 100 * figures.wa]


def _of_view(view, heading, by):
    """Return classes, confusion, recall by column, and calibration."""
    counts = speaker_confusions(
        view.y_true, view.predictions, view.speakers, view.classes
    )[1].sum(axis=0)
    support = counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        recalls = np.diag(counts) / support
    rows = [
        [name, int(n), 100 * n / support.sum(), bar(recall), int(predicted)]
        for name, n, recall, predicted in zip(
            view.classes, support, recalls, counts.sum(axis=0), strict=True
        )
    ]
    head = ["emotion", "recordings", "%", "recall", "predicted"]
    parts = [f"<h2>Emotions{cell(heading)}</h2>", table(head, rows, style="bars")]
    parts += [f"<h2>Confusion{cell(heading)}</h2>", heat(counts, view.classes)]
    parts.append(f"<h2>Recall by group{cell(heading)}</h2>")
    for name, column in {"speaker": view.speakers, **pick(by, view.rows)}.items():
        column = np.asarray(column).astype(str)
        if 2 <= len(np.unique(column)) <= _MOST_VALUES:
            parts.append(_by_column(name, column, view))
    return [*parts, *_calibration(view, heading)]


def _by_column(name, column, view):
    values, counts = speaker_confusions(
        view.y_true, view.predictions, column, view.classes
    )
    uars, was = confusion_uar(counts), confusion_wa(counts)
    columns = values, counts.sum(axis=(1, 2)), uars, was
    rows = [
        [value or "(none)", int(n), bar(uar), 100 * wa]
        for value, n, uar, wa in zip(*columns, strict=True)
    ]
    body = table([name, "recordings", "UAR", "WA %"], rows, style="bars")
    if len(rows) <= 10:
        return Html(f"<h3>By {cell(name)}</h3>{body}")
    return Html(
        f"<h3>By {cell(name)}</h3><details><summary>{len(rows)} values; the lowest UAR "
        f"has {cell(values[uars.argmin()])}</summary>{body}</details>"
    )


def _calibration(view, heading):
    if view.probabilities is None:
        return []
    confidence = view.probabilities.max(axis=1)
    right = view.predictions == view.y_true
    number = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    n = np.bincount(number, minlength=_BINS)
    mean, share = (
        np.bincount(number, values, minlength=_BINS) / np.maximum(n, 1)
        for values in (confidence, right)
    )
    error = (n * np.abs(mean - share)).sum() / n.sum()
    rows = [
        [f"{100 * i // _BINS}–{100 * (i + 1) // _BINS}%", int(k), 100 * m, 100 * s]
        for i, (k, m, s) in enumerate(zip(n, mean, share, strict=True))
        if k
    ]
    head = ["confidence", "recordings", "mean %", "right %"]
    return [
        f"<h2>Calibration{cell(heading)}</h2>",
        f"<p>Expected calibration error: {100 * error:.1f} points. It is the mean "
        "difference between the probability of the answer and how often the answer was "
        "right. On the dashed line, both are equal.</p>",
        f'<div class="pair">{reliability(share, n)}{table(head, rows)}</div>',
    ]


def _mistakes(view, heading, recordings, audio):
    if view.probabilities is None:
        return []
    confidence = np.where(
        view.predictions == view.y_true, -1.0, view.probabilities.max(axis=1)
    )
    order = np.argsort(-confidence, kind="stable")[:_MISTAKES]
    order = order[confidence[order] >= 0]
    rows = []
    for i in order:
        row = int(view.rows[i])
        recording = None if recordings is None else recordings[row]
        path = isinstance(recording, str | os.PathLike)
        name = os.path.basename(os.fspath(recording)) if path else f"row {row}"
        if isinstance(name, bytes):
            name = os.fsdecode(name)
        known = view.speakers[i], view.y_true[i], view.predictions[i]
        line = [name, *map(str, known), 100 * float(confidence[i])]
        rows.append([*line, player(recording, row)] if audio else line)
    head = ["recording", "speaker", "true", "predicted", "confidence %"]
    head += ["audio"] if audio else []
    body = table(head, rows) if rows else "<p>There was none.</p>"
    return [f"<h2>Most confident mistakes{cell(heading)}</h2>", body]


def _training(result):
    folds = getattr(result, "folds", ())
    histories = [fold.history for fold in folds if fold.history]
    if not histories:
        return []
    names = [name for name in histories[0][0] if name != "epoch"]
    plots = [
        curves(name, [[epoch[name] for epoch in history] for history in histories])
        for name in names
        if all(np.isfinite(e.get(name, np.nan)) for h in histories for e in h)
    ]
    return [
        "<h2>Training</h2>",
        "<p>One line for each fold.</p>",
        f'<div class="pair">{"".join(plots)}</div>',
    ]


def _card(result, views):
    classes = ", ".join(sorted({str(name) for view in views for name in view.classes}))
    parts = ["<h2>Model card</h2>", "<h3>Intended use</h3>"]
    parts += [f"<p>{cell(USE.format(classes=classes))}</p>", "<h3>Limits</h3>"]
    parts.append(f"<p>{cell(LIMITS)}</p>")
    if isinstance(result, SpeakerCVResult):
        text = describe_evaluation(result)
        parts += ["<h3>Evaluation</h3>", f"<p>{cell(text)}</p>"]
    rows = [
        [name, Html(f"<code>{cell(value)}</code>")]
        for name, value in (result.settings or {}).items()
    ]
    settings = table(["setting", "value"], rows)
    return [*parts, f"<details><summary>Settings</summary>{settings}</details>"]
