"""Evaluation with enrolment of a few recordings."""

import numbers
from copy import deepcopy
from typing import NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import check_scalar

from .._sklearn import BaseSearchCV, safe_indexing
from ..features.speaker_normalizer import add_voices
from ..pipeline import (
    before_normalizer,
    has_normalizer,
    predict_once,
    transform,
)


class Draw(NamedTuple):
    """The test rows of a fold that are enrolled, and those that are scored."""

    enrolled: np.ndarray
    scored: np.ndarray


def check_enrollment(estimator, enrollment, label, n_draws, y):
    """Check the settings of an enrolment, and return the kind of the figures."""
    check_scalar(n_draws, "n_draws", numbers.Integral, min_val=1)
    if enrollment is None or isinstance(enrollment, str):
        if enrollment not in (None, "all"):
            raise ValueError(
                "enrollment must be None, 'all' or a number of recordings of each "
                f"test speaker, got {enrollment!r}."
            )
        if label is not None:
            raise ValueError(
                f"enrollment_label={label!r} needs a number as enrollment, got "
                f"enrollment={enrollment!r}."
            )
    elif isinstance(enrollment, bool):
        raise TypeError(f"enrollment must be a number or 'all', got {enrollment}.")
    else:
        check_scalar(enrollment, "enrollment", numbers.Integral, min_val=1)
    if enrollment is None:
        return "inductive"
    if not has_normalizer(estimator):
        raise ValueError(
            f"enrollment={enrollment!r} needs a SpeakerNormalizer, but "
            f"{type(estimator).__name__} has none. Put one before the "
            "classifier: make_pipeline(SpeakerNormalizer(), classifier)."
        )
    if enrollment == "all":
        return "transductive"
    if label is None:
        return f"enrolled ({enrollment})"
    if label not in (classes := np.unique(y).tolist()):
        raise ValueError(f"enrollment_label={label!r} is not a label of y: {classes}.")
    return f'enrolled ({enrollment}, "{label}")'


def draw(splits, y, speakers, enrollment, label, n_draws, random_state):
    """Return the draws of each fold, as places among its test rows.

    At most half of a speaker's recordings are enrolled, since the others are scored.
    The labels count only with `label`.
    """
    if enrollment is None:
        return [[] for _ in splits]
    if enrollment == "all":
        everything = [np.arange(len(test)) for _, test in splits]
        return [[Draw(enrolled=rows, scored=rows)] for rows in everything]
    if not isinstance(random_state, np.random.RandomState):
        random_state = np.random.default_rng(random_state)
    return [
        [
            _draw_once(y[test], speakers[test], enrollment, label, random_state)
            for _ in range(n_draws)
        ]
        for _, test in splits
    ]


def _draw_once(y, speakers, enrollment, label, random_state):
    enrolled = []
    for speaker in np.unique(speakers):
        fitting = speakers == speaker
        if label is not None:
            fitting &= y == label
        rows = np.flatnonzero(fitting)
        chosen = random_state.permutation(rows)[: min(enrollment, len(rows) // 2)]
        enrolled.append(np.sort(chosen))
    enrolled = np.concatenate(enrolled)
    return Draw(enrolled, np.setdiff1d(np.arange(len(speakers)), enrolled))


def predict_enrolled(estimator, X, metadata, if_requested, draws):
    """Return predictions and probabilities, or None, for the scored rows of all draws.

    The steps in front of the SpeakerNormalizer transform `X` once. The voices of a draw
    are enrolled into a copy of it, so that the estimator stays as it was fitted.
    Without a draw, all rows are scored and nothing is enrolled.
    """

    def of(rows):
        return [
            {name: column[rows] for name, column in columns.items()}
            for columns in (metadata, if_requested)
        ]

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
        voiced = deepcopy(first)
        if len(enrolled):
            own = metadata["speakers"][enrolled]
            rows = safe_indexing(X, enrolled)
            normalizer, rows = before_normalizer(voiced, rows, own)
            add_voices(normalizer, rows, own)  # whoever evaluates needs no warning
        voiced = Pipeline([(name, voiced), *rest]) if rest else voiced
        rows = safe_indexing(X, scored)
        outputs.append(predict_once(voiced, rows, *of(scored)))
    return tuple(
        None if parts[0] is None else np.concatenate(parts)
        for parts in zip(*outputs, strict=True)
    )
