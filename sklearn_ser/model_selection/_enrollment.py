"""A fit with its predictions, and the test recordings that are enrolled in between."""

import functools
import numbers
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn import config_context
from sklearn.pipeline import Pipeline
from sklearn.utils import check_scalar

from .._sklearn import BaseSearchCV, safe_indexing
from .._validation import shown
from ..features.speaker_normalizer import add_voices
from ..pipeline import (
    before_normalizer,
    has_normalizer,
    predict_once,
    requested,
    training_history,
    transform,
    with_own_voices,
)
from ._results import shorten, spread_columns
from ._splits import noting, with_marks


class Task(NamedTuple):
    """A fit and the prediction of its test rows: a fold or a transfer.

    The rows in `adapt` train without their labels. `domain` has the number of the
    source of each row in `train`, or is None for a fit that knows no domains.
    """

    where: str
    classes: np.ndarray
    train: np.ndarray
    adapt: np.ndarray
    test: np.ndarray
    domain: np.ndarray | None
    validation: np.ndarray | None = None
    draws: Sequence = ()


class Draw(NamedTuple):
    """The test rows of a fold that are enrolled, and those that are scored."""

    enrolled: np.ndarray
    scored: np.ndarray


def check_enrollment(estimator, enrollment, label, n_draws, y):
    """Check the settings of an enrolment."""
    check_scalar(n_draws, "n_draws", numbers.Integral, min_val=1)
    if isinstance(enrollment, str) and enrollment != "all":
        raise ValueError(
            "enrollment must be None, 'all' or a number of recordings of each "
            f"test speaker, got {enrollment!r}."
        )
    if isinstance(enrollment, bool):
        raise TypeError(f"enrollment must be a number or 'all', got {enrollment}.")
    if enrollment is None or isinstance(enrollment, str):
        if label is not None:
            raise ValueError(
                f"enrollment_label={shown(label)} needs a number as enrollment, got "
                f"enrollment={enrollment!r}."
            )
    else:
        check_scalar(enrollment, "enrollment", numbers.Integral, min_val=1)
    if enrollment is None:
        return
    if not has_normalizer(estimator):
        raise ValueError(
            f"enrollment={enrollment!r} needs a SpeakerNormalizer, but "
            f"{type(estimator).__name__} has none. Put one before the "
            "classifier: make_pipeline(SpeakerNormalizer(), classifier)."
        )
    if label is not None and label not in (classes := np.unique(y).tolist()):
        raise ValueError(
            f"enrollment_label={shown(label)} is not a label of y: {classes}."
        )


def kind_of(enrollment, label, plans, speakers):
    """Return the kind of the figures, with the numbers that were enrolled."""
    if enrollment is None:
        return "inductive"
    if enrollment == "all":
        return "transductive"
    numbers = {
        int((speakers[test][each.enrolled] == speaker).sum())
        for (_, test), _, draws in plans
        for each in draws
        for speaker in np.unique(speakers[test])
    }
    fewest, most = min(numbers), max(numbers)
    done = str(most) if fewest == most else f"{fewest} to {most}"
    return f"enrolled ({done})" if label is None else f'enrolled ({done}, "{label}")'


def draw(splits, y, speakers, enrollment, label, n_draws, rng):
    """Return the draws of each fold, as places among its test rows.

    At most half of a speaker's recordings are enrolled, since the others are scored.
    The labels count only with `label`.
    """
    if enrollment is None:
        return [[] for _ in splits]
    if enrollment == "all":
        everything = [np.arange(len(test)) for _, test in splits]
        return [[Draw(enrolled=rows, scored=rows)] for rows in everything]
    drawn = []
    for _, test in splits:
        own, places, enrolled = (y[test], speakers[test]), np.arange(len(test)), []
        for number in range(n_draws):
            # The last draw leaves out what all others enroll, so that it is scored.
            always = functools.reduce(np.intersect1d, enrolled) if number else []
            is_last = 0 < number == n_draws - 1
            allowed = ~np.isin(places, always if is_last else [])
            enrolled.append(draw_recordings(*own, allowed, enrollment, label, rng))
        drawn.append([Draw(rows, np.setdiff1d(places, rows)) for rows in enrolled])
    return drawn


def draw_recordings(y, speakers, allowed, enrollment, label, rng):
    """Return the places of recordings to enroll, at most half of each speaker's."""
    enrolled = []
    for speaker in np.unique(speakers):
        fitting = speakers == speaker
        if label is not None:
            fitting &= y == label
        rows = rng.permutation(np.flatnonzero(fitting))
        most = min(enrollment, len(rows) // 2)
        enrolled.append(np.sort(rows[allowed[rows]][:most]))
    return np.concatenate(enrolled)


def run_task(number, estimator, columns, fit_params, task):
    """Return number, predictions, probabilities, seconds, history and estimator."""
    with noting(task.where), config_context(enable_metadata_routing=True):
        found = _fit_and_predict(estimator, columns, fit_params, task)
    return number, *found, estimator


def _fit_and_predict(estimator, columns, fit_params, task):
    X, speakers, test, draws = columns["X"], columns["speakers"], task.test, task.draws
    grouped = [name for name in ("groups", "texts") if name in columns]
    rows = np.concatenate([task.train, task.adapt])
    labels = with_marks(estimator, columns["y"][task.train], len(task.adapt))
    # Metadata must be requested or refused; what is in `more` need not.
    metadata = {"speakers": speakers[rows]}
    more = {name: columns[name][rows] for name in grouped}
    of_test = {name: columns[name][test] for name in grouped}
    if task.domain is not None:
        marks = np.full(len(task.adapt), -1)
        metadata["sample_domain"] = np.concatenate([task.domain, marks])
        of_test["sample_domain"] = np.full(len(test), -1)
    params = {name: safe_indexing(value, rows) for name, value in fit_params.items()}
    if task.validation is not None and "validation" not in params:
        more["validation"] = np.pad(task.validation, (0, len(task.adapt)))
    start = time.perf_counter()
    params |= requested(estimator, "fit", metadata, more)
    estimator.fit(safe_indexing(X, rows), labels, **params)
    fitted = time.perf_counter()
    given = {"speakers": speakers[test]}, of_test
    found = _predict_enrolled(estimator, safe_indexing(X, test), *given, draws)
    seconds = fitted - start, time.perf_counter() - fitted
    n_rows = sum(len(of_draw.scored) for of_draw in draws) if draws else len(test)
    predicted, proba = _checked(estimator, *found, n_rows, labels, task.classes)
    return predicted, proba, seconds, training_history(estimator)


def _checked(estimator, predicted, proba, n_rows, labels, classes):
    """Return predictions as classes, and probabilities with a column for each."""
    if predicted.shape != (n_rows,) or not np.isin(predicted, classes).all():
        raise ValueError(
            f"{type(estimator).__name__}.predict must give one label of y for each of "
            f"{n_rows} rows, among {classes.tolist()}; got shape {predicted.shape} "
            f"with {shorten(np.unique(predicted))}."
        )
    if proba is not None and (wrong := ~np.isfinite(proba.astype(float))).any():
        row = int(np.argwhere(wrong)[0][0])
        raise ValueError(
            f"{type(estimator).__name__}.predict_proba must give a number for each "
            f"class; got {proba[row].tolist()} in row {row} of {len(proba)}."
        )
    # Marks of unlabelled rows may have changed the type of labels, as bool to int.
    predicted = classes[np.searchsorted(classes, predicted)]
    columns = getattr(estimator, "classes_", None)
    if columns is None:
        columns = np.intersect1d(labels, classes)
    return predicted, spread_columns(proba, columns, classes)


def _predict_enrolled(estimator, X, metadata, if_requested, draws):
    """Return predictions and probabilities, or None, for the scored rows of all draws.

    The steps in front of the SpeakerNormalizer transform `X` once. The voices of a draw
    are enrolled into a copy of it, so that the estimator stays as it was fitted.
    Without a draw, all rows are scored and nothing is enrolled.
    """
    if not draws:
        return predict_once(estimator, X, metadata, if_requested)
    if isinstance(estimator, BaseSearchCV):
        estimator = estimator.best_estimator_
    named = [("whole", estimator)]
    # Subclasses may skip steps in prediction, as imbalanced-learn's pipeline does.
    if type(estimator) is Pipeline:
        named = estimator.steps
    has = [has_normalizer(step) for _, step in named]
    front, ((name, first), *rest) = named[: has.index(True)], named[has.index(True) :]
    X = transform([step for _, step in front], X, metadata, if_requested)
    outputs = []
    for enrolled, scored in draws:
        voiced = with_own_voices(first)
        if len(enrolled):
            own = metadata["speakers"][enrolled]
            rows = safe_indexing(X, enrolled)
            normalizer, rows = before_normalizer(voiced, rows, own)
            add_voices(normalizer, rows, own)  # whoever evaluates needs no warning
        voiced = Pipeline([(name, voiced), *rest]) if rest else voiced
        rows = safe_indexing(X, scored)
        own = [
            {name: column[scored] for name, column in columns.items()}
            for columns in (metadata, if_requested)
        ]
        outputs.append(predict_once(voiced, rows, *own))
    return tuple(
        None if parts[0] is None else np.concatenate(parts)
        for parts in zip(*outputs, strict=True)
    )
