"""Probes measure how much speaker and emotion an embedding still contains."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    StratifiedGroupKFold,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import (
    check_array,
    check_consistent_length,
    check_scalar,
    column_or_1d,
)

from .._validation import check_one_kind, shown
from ..pipeline import embed
from ._bootstrap import (
    bootstrap_interval,
    check_bootstrap,
    mean_recall,
    resampled,
)

__all__ = ["ProbeScore", "emotion_probe_score", "speaker_probe_score"]


@dataclass(frozen=True)
class ProbeScore:
    """The score of a probe on an embedding.

    Attributes
    ----------
    score : float
        Balanced accuracy of the probe on utterances outside its training data.
    chance : float
        Balanced accuracy of a guess: 1 / n_classes.
    interval : (float, float)
        Bootstrap interval of the score, over groups, or over utterances without groups.

    Examples
    --------
    >>> from sklearn_ser.metrics import ProbeScore
    >>> ProbeScore(score=0.75, chance=0.25, interval=(0.5, 1.0)).above_chance
    0.5
    """

    score: float
    chance: float
    interval: tuple

    @property
    def above_chance(self):
        """The score minus chance."""
        return self.score - self.chance


def speaker_probe_score(
    embeddings: Any,
    speakers: ArrayLike,
    *,
    X: Any = None,
    groups: ArrayLike | None = None,
    probe: Any = "linear",
    cv: int = 5,
    n_bootstrap: int = 1000,
    confidence_level: float = 0.95,
    random_state: Any = 0,
) -> ProbeScore:
    """Measure how well a new probe recognises the speaker from an embedding.

    The probe is a new classifier. It learns from some utterances, and predicts the
    speakers of the others.

    Parameters
    ----------
    embeddings : array-like of shape (n_samples, n_embedding), or estimator
        Embeddings, or a fitted classifier or pipeline that embeds `X`. Steps that
        request the speakers get them.
    speakers : array-like of shape (n_samples,)
        The speaker of each recording.
    X : recordings or sequences, default=None
        The input of the estimator.
    groups : array-like of shape (n_samples,), default=None
        The text of each utterance. The test texts of the probe are not in its training
        data. None splits by utterance.
    probe : {"linear", "mlp"} or classifier, default="linear"
        Logistic regression, a network of 64 hidden units, or any other classifier, on
        standardised embeddings.
    cv : int, default=5
        Number of folds. There are fewer folds if there are fewer groups, or fewer
        utterances of a speaker.
    n_bootstrap : int, default=1000
        Number of bootstrap samples; 0 computes no interval.
    confidence_level : float, default=0.95
        Coverage of the interval.
    random_state : int, default=0
        Seed of the folds, the probe and the bootstrap.

    Returns
    -------
    ProbeScore
        With the fields `score`, `chance`, `interval` and `above_chance`.

    Raises
    ------
    ValueError
        If lengths differ, if there is only one speaker, or if the groups or the
        utterances of a speaker are too few for two folds.
    TypeError
        If an estimator has no embedding, or if `X` is missing.

    See Also
    --------
    emotion_probe_score : The same for the emotion.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser.metrics import speaker_probe_score
    >>> rng = np.random.default_rng(0)
    >>> speakers = np.repeat(["ann", "bob"], 30)
    >>> embeddings = rng.normal(size=(60, 4)) + 3 * (speakers == "bob")[:, None]
    >>> found = speaker_probe_score(embeddings, speakers)
    >>> found.score > 0.9, found.chance
    (True, 0.5)
    """
    options = _Options(probe, cv, n_bootstrap, confidence_level, random_state)
    return _probe_score("speakers", embeddings, speakers, X, groups, options)


def emotion_probe_score(
    embeddings: Any,
    y: ArrayLike,
    *,
    X: Any = None,
    groups: ArrayLike | None = None,
    **options: Any,
) -> ProbeScore:
    """Measure how well a new probe recognises the emotion from an embedding.

    Parameters
    ----------
    embeddings : array-like of shape (n_samples, n_embedding), or estimator
        Embeddings, or a fitted classifier or pipeline that embeds `X`. Steps that
        request the speakers get `groups`.
    y : array-like of shape (n_samples,)
        Emotions.
    X : recordings or sequences, default=None
        The input of the estimator.
    groups : array-like of shape (n_samples,), default=None
        The speakers. The test speakers of the probe are not in its training data. None
        splits by utterance.
    **options
        `probe`, `cv`, `n_bootstrap`, `confidence_level` and `random_state`, as in
        :func:`speaker_probe_score`.

    Returns
    -------
    ProbeScore
        With the fields `score`, `chance`, `interval` and `above_chance`.

    Raises
    ------
    ValueError, TypeError
        As for :func:`speaker_probe_score`.

    See Also
    --------
    speaker_probe_score : The same for the speaker.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser.metrics import emotion_probe_score
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile(["anger", "neutral"], 30)
    >>> embeddings = rng.normal(size=(60, 4)) + 3 * (y == "anger")[:, None]
    >>> speakers = np.repeat(["ann", "bob", "cem"], 20)
    >>> emotion_probe_score(embeddings, y, groups=speakers).score > 0.9
    True
    """
    return _probe_score("y", embeddings, y, X, groups, _Options(**options))


class _Options(NamedTuple):
    """The settings that both probes share."""

    probe: Any = "linear"
    cv: int = 5
    n_bootstrap: int = 1000
    confidence_level: float = 0.95
    random_state: Any = 0


def _probe_score(name, embeddings, target, X, groups, options):
    """Return the score of a probe that predicts the target of unseen utterances."""
    if hasattr(embeddings, "fit"):
        if X is None:
            raise TypeError(
                "X is None, expected recordings or sequences, because an estimator "
                "has to embed them."
            )
        speakers = target if name == "speakers" else groups
        embeddings = embed(embeddings, X, speakers=speakers)
    embeddings, target, groups = _check(name, embeddings, target, groups, options)
    classes, codes, support = np.unique(target, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"{name} has one class only ({shown(classes[0])}).")
    predicted = cross_val_predict(
        _make_probe(options.probe, options.random_state),
        embeddings,
        codes,
        cv=_folds(name, codes, groups, options),
        params={},  # None fails in scikit-learn 1.6 with metadata routing on
    )
    is_hit = predicted == codes
    units = np.arange(len(codes)) if groups is None else groups
    hits, rows = np.zeros((2, units.max() + 1, len(classes)))
    np.add.at(hits, (units[is_hit], codes[is_hit]), 1)
    np.add.at(rows, (units, codes), 1)
    return ProbeScore(
        score=float(mean_recall(hits.sum(axis=0), support)),
        chance=1 / len(classes),
        interval=bootstrap_interval(
            lambda index: mean_recall(*resampled(index, hits, rows)),
            [len(hits)],
            options.n_bootstrap,
            options.confidence_level,
            options.random_state,
            # The jackknife of BCa takes the square of the utterances, and does not
            # change the interval of so many.
            method="percentile" if groups is None else "BCa",
        ),
    )


def _check(name, embeddings, target, groups, options):
    """Return the embeddings, the target, and a number for each group."""
    check_bootstrap(options.n_bootstrap, options.confidence_level)
    check_scalar(options.cv, "cv", numbers.Integral, min_val=2)
    embeddings, target = check_array(embeddings), column_or_1d(target)
    checked = {name: target} | ({} if groups is None else {"groups": groups})
    for column, values in checked.items():
        values = np.asarray(values)
        if values.dtype.kind == "O" or (values != values).any():  # None or NaN
            check_one_kind(values.tolist(), column)
    check_consistent_length(embeddings, target, groups)
    if groups is not None:
        groups = np.unique(column_or_1d(groups), return_inverse=True)[1]
    return embeddings, target, groups


def _folds(name, codes, groups, options):
    """Return folds that share no group, as many as the classes and groups allow."""
    n_splits, splitter = min(options.cv, np.bincount(codes).min()), StratifiedKFold
    if groups is not None:
        n_splits, splitter = min(n_splits, groups.max() + 1), StratifiedGroupKFold
    if n_splits < 2:
        raise ValueError(
            f"{name} and groups give {n_splits} fold(s), expected at least 2: "
            "each class needs two utterances, and there must be two groups."
        )
    folds = splitter(n_splits, shuffle=True, random_state=options.random_state)
    return list(folds.split(codes, codes, groups))


def _make_probe(probe, random_state):
    if probe == "linear":
        probe = LogisticRegression(class_weight="balanced", max_iter=2000)
    elif probe == "mlp":
        probe = MLPClassifier(64, alpha=1.0, max_iter=2000, random_state=random_state)
    elif isinstance(probe, str) or not hasattr(probe, "fit"):
        raise ValueError(
            f'probe must be "linear", "mlp" or a classifier, got {probe!r}.'
        )
    return make_pipeline(StandardScaler(), clone(probe))
