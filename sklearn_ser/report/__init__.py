"""A report of an evaluation, as one HTML file."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..datasets.duplicates import rows_of
from ..features.audio import describe, load_audio
from ..metrics import expected_calibration_error
from ..model_card import LIMITS, USE, describe_evaluation
from .page import render

__all__ = ["make_report"]

_BINS = 10
_FAIR = 0.05  # between the mean confidence and the share of right answers
_MISTAKES = 10
_MOST_VALUES = 40  # of a column whose values are shown one by one
_RATE, _SECONDS = 16000, 20  # of a recording that is played


def make_report(
    result: Any,
    *,
    title: str = "Speech emotion recognition: a test on unheard voices",
    what: str = "",
    baseline: Any = None,
    by: Mapping[str, ArrayLike] | None = None,
    recordings: Sequence | None = None,
    audio: bool = False,
) -> str:
    """Make a report of an evaluation, as one HTML page that needs no network.

    The page opens with a verdict: the UAR beside chance and the baseline. It shows the
    scores with their intervals, the classes, each fold or transfer, the confusion
    matrix, the recall by emotion and speaker, the calibration, the training curves, the
    most confident mistakes, intended use and limits, and the settings.

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
        `audio` is True without recordings. If `baseline` was not scored on the same
        rows, or knew more or less of the test speakers.

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
    >>> "predicted one class only" in make_report(result)
    True
    """
    if baseline is not None:
        result = result.against(baseline)
    summary = result.summary()
    recordings = _check_recordings(recordings, summary, audio)
    classes = {str(name) for part in summary.parts for name in part.classes}
    return render(
        "report/report.html",
        title=title,
        what=what,
        summary=summary,
        overview=_overview(summary),
        parts=[
            {
                "view": part,
                "emotions": _emotions(part),
                "groups": _groups(part, by),
                "calibration": _calibration(part),
                "mistakes": _mistakes(part, recordings, audio),
            }
            for part in summary.parts
        ],
        audio=audio,
        curves_of=_curves([fold.history for fold in summary.folds if fold.history]),
        card={
            "Intended use": USE.format(classes=", ".join(sorted(classes))),
            "Limits": LIMITS,
            "Evaluation": describe_evaluation(summary),
        },
    )


def _check_recordings(recordings, summary, audio):
    if recordings is None and audio:
        raise ValueError("audio=True needs recordings, but recordings is None.")
    if recordings is None:
        return None
    recordings = rows_of(recordings)
    n_needed = max(part.rows.max() for part in summary.parts) + 1
    if len(recordings) < n_needed:
        raise ValueError(
            f"recordings must have an entry for each row of the corpus, at least "
            f"{n_needed}; got {len(recordings)}."
        )
    return recordings


def _overview(summary):
    """Return head and rows of the table of folds or transfers."""
    if not summary.folds:
        head, *rows = summary.table
        return head, rows
    head = ["fold", "test speakers", "recordings", "UAR %", "WA %"]
    rows = [
        [
            fold.number,
            ", ".join(map(str, fold.test_speakers)),
            fold.n_recordings,
            100 * fold.uar,
            100 * fold.wa,
        ]
        for fold in summary.folds
    ]
    if summary.folds[0].baseline_uar is not None:
        head.append("baseline UAR %")
        for row, fold in zip(rows, summary.folds, strict=True):
            row.append(100 * fold.baseline_uar)
    return head, rows


def _emotions(part):
    """Return counts and recall of each emotion, rows of the confusion matrix."""
    counts = part.confusion
    return [
        {
            "name": name,
            "n": int(row.sum()),
            "share": 100 * row.sum() / counts.sum(),
            "recall": row[i] / row.sum() if row.any() else np.nan,
            "predicted": int(counts[:, i].sum()),
            "counts": row.tolist(),
        }
        for i, (name, row) in enumerate(zip(part.classes, counts, strict=True))
    ]


def _groups(part, by):
    """Return the figures of each value of a column, by the column's name."""
    columns = {"speaker": part.speakers, **part.pick(by)}
    columns = {name: np.asarray(column).astype(str) for name, column in columns.items()}
    return {
        name: part.groups(column)
        for name, column in columns.items()
        if 2 <= len(np.unique(column)) <= _MOST_VALUES
    }


def _calibration(part):
    """Return the calibration error, and the accuracy in each bin of confidence."""
    if part.probabilities is None:
        return None
    confidence = part.probabilities.max(axis=1)
    right = part.predictions == part.y_true
    number = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    bins, rows = [], []
    for i in np.unique(number).tolist():
        own = number == i
        mean, share = confidence[own].mean(), right[own].mean()
        bins.append({"low": i / _BINS, "n": int(own.sum()), "right": share})
        name = f"{100 * i / _BINS:.0f}–{100 * (i + 1) / _BINS:.0f}%"
        rows.append([name, int(own.sum()), 100 * mean, 100 * share])
    proba = np.clip(part.probabilities, 0, 1)  # which rounding may leave
    gap, judgement = confidence.mean() - right.mean(), "about as sure as it was right"
    if abs(gap) > _FAIR:
        judgement = "too sure" if gap > 0 else "not sure enough"
    error = expected_calibration_error(part.y_true, proba, part.classes, n_bins=_BINS)
    return {
        "error": error,
        "sure": confidence.mean(),
        "right": right.mean(),
        "judgement": judgement,
        "bins": bins,
        "rows": rows,
    }


def _mistakes(part, recordings, audio):
    if part.probabilities is None:
        return []
    confidence = part.probabilities.max(axis=1)
    wrong = np.flatnonzero(part.predictions != part.y_true)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]
    mistakes = []
    for i in order.tolist():
        row = int(part.rows[i])
        recording = None if recordings is None else recordings[row]
        mistakes.append(
            {
                "name": _name(recording, row),
                "speaker": part.speakers[i],
                "true": part.y_true[i],
                "predicted": part.predictions[i],
                "confidence": 100 * confidence[i],
                "audio": _wav(recording, row) if audio else None,
            }
        )
    return mistakes


def _name(recording, row):
    """Return the name of a file without its folder, or the number of a row."""
    is_mapping = isinstance(recording, Mapping)
    path = recording.get("path") if is_mapping else recording
    if not isinstance(path, str | os.PathLike):
        return f"row {row}"
    name = os.path.basename(os.fsdecode(path))
    if not is_mapping:
        return name
    times = describe({**recording, "path": None}, "")[2:-1]
    return f"{name} {times}".strip()


def _wav(recording, row):
    """Return the start of a recording as a WAV file in base64."""
    import soundfile

    wave = load_audio(recording, sampling_rate=_RATE, name=f"recordings[{row}]")
    file = io.BytesIO()
    peak = max(1.0, float(np.abs(wave).max()))
    soundfile.write(file, wave[: _RATE * _SECONDS] / peak, _RATE, format="WAV")
    return base64.b64encode(file.getvalue()).decode()


def _curves(histories):
    """Return the values of each fold by epoch, under the names that all folds have."""
    names = [name for name in histories[0][0] if name != "epoch"] if histories else []
    return {
        name: [[epoch[name] for epoch in history] for history in histories]
        for name in names
        if all(np.isfinite(e.get(name, np.nan)) for h in histories for e in h)
    }
