"""The figures of the field: UAR and WA, and probes of what an embedding knows."""

from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    StratifiedGroupKFold,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, unique_labels

__all__ = [
    "ProbeScore",
    "emotion_probe_score",
    "speaker_probe_score",
    "uar_score",
    "uar_scorer",
    "wa_score",
    "wa_scorer",
]


def uar_score(y_true, y_pred, *, labels=None, sample_weight=None):
    """Unweighted average recall (UAR): the mean of the per-class recalls.

    Only classes that occur in `y_true` have a recall and take part in the mean, so
    a fold without a class, or a prediction of a class that the fold lacks, neither
    warns nor divides by zero. It differs from
    :func:`sklearn.metrics.balanced_accuracy_score` in that silence, and from
    ``recall_score(average="macro")``, which counts a class that is only predicted.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        The true emotions.
    y_pred : array-like of shape (n_samples,)
        The predicted emotions.
    labels : array-like of shape (n_labels,), default=None
        The classes of the task; samples of other classes do not count. By default,
        all classes in `y_true`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples within their class. A class of total weight zero
        counts as absent.

    Returns
    -------
    uar : float
        Between 0 and 1; 1 / n_classes for a constant prediction.

    Raises
    ------
    ValueError
        If lengths differ, if strings and numbers are mixed, if a weight is negative
        or if no class of the task occurs in `y_true`.

    See Also
    --------
    wa_score : The share of correct predictions.

    Examples
    --------
    >>> from sklearn_ser.metrics import uar_score
    >>> uar_score(["sad", "sad", "sad", "angry"], ["sad", "sad", "angry", "angry"])
    0.8333333333333333
    >>> uar_score(["sad", "sad"], ["sad", "bored"])
    0.5
    """
    y_true, y_pred = column_or_1d(y_true), column_or_1d(y_pred)
    check_consistent_length(y_true, y_pred, sample_weight)
    if not len(y_true):
        raise ValueError("y_true is empty: UAR needs at least one sample.")
    check_classification_targets(y_true)
    unique_labels(y_true, y_pred)  # refuses strings mixed with numbers
    if sample_weight is None:
        weight = np.ones(len(y_true))
    else:
        weight = column_or_1d(sample_weight).astype(float)
        if not np.all(weight >= 0):
            raise ValueError("sample_weight must hold weights >= 0, without NaN.")

    classes, codes = np.unique(y_true, return_inverse=True)
    support = np.bincount(codes, weight)
    hits = np.bincount(codes, weight * (y_true == y_pred))
    counted = support > 0
    if labels is not None:
        counted &= np.isin(classes, labels)
    if not counted.any():
        raise ValueError(
            f"No class of the task occurs in y_true: labels={labels}, classes in "
            f"y_true={classes.tolist()}."
        )
    return float(np.mean(hits[counted] / support[counted]))


def wa_score(y_true, y_pred, *, sample_weight=None):
    """Weighted accuracy (WA): the share of correct predictions.

    The field calls plain accuracy "weighted", as it is the mean of the per-class
    recalls weighted by the size of the classes.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        The true emotions.
    y_pred : array-like of shape (n_samples,)
        The predicted emotions.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples.

    Returns
    -------
    wa : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If lengths differ or if strings and numbers are mixed.

    See Also
    --------
    uar_score : The mean recall over the classes.

    Examples
    --------
    >>> from sklearn_ser.metrics import wa_score
    >>> wa_score(["sad", "sad", "sad", "angry"], ["sad", "sad", "angry", "angry"])
    0.75
    """
    return float(accuracy_score(y_true, y_pred, sample_weight=sample_weight))


uar_scorer = make_scorer(uar_score)
wa_scorer = make_scorer(wa_score)


def speaker_confusions(y_true, y_pred, speakers, classes):
    """Return the sorted speakers and their counts (n_speakers, n_true, n_predicted)."""
    names, who = np.unique(speakers, return_inverse=True)
    counts = np.zeros((len(names), len(classes), len(classes)), dtype=int)
    cells = (who, np.searchsorted(classes, y_true), np.searchsorted(classes, y_pred))
    np.add.at(counts, cells, 1)
    return names, counts


def confusion_uar(counts):
    """Return the UAR of confusion counts (..., n_true, n_predicted)."""
    return _uar_and_wa(*_hits_and_support(counts))[0]


def confusion_wa(counts):
    """Return the WA of confusion counts (..., n_true, n_predicted)."""
    return _uar_and_wa(*_hits_and_support(counts))[1]


def _hits_and_support(counts):
    """Return how many were right and how many there were, of each true class."""
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1)


def _uar_and_wa(hits, support):
    """Return UAR and WA of hits and support, both (..., n_classes)."""
    recalls = hits / np.maximum(support, 1)
    uar = recalls.sum(axis=-1) / (support > 0).sum(axis=-1)
    return uar, hits.sum(axis=-1) / support.sum(axis=-1)


def bootstrap_scores(hits, support, n_bootstrap, random_state, *, n_alike=None):
    """Return the UAR and the WA of each bootstrap sample of units.

    A unit is what is drawn, such as a speaker or an utterance.

    Parameters
    ----------
    hits, support : ndarray of shape (n_units, n_classes)
        How many rows of a class each unit got right, and how many it has.
    n_bootstrap : int
        Number of samples, each of as many units as there are.
    random_state : int, sequence of int, Generator, RandomState or None
        Seed of the draws.
    n_alike : ndarray of int of shape (n_units,), default=None
        How many units each row stands for; None is one. Utterances are of few kinds,
        whatever their number, so that rows which stand for many save memory and time.

    Returns
    -------
    uars, was : ndarray of shape (n_bootstrap,)
        NaN if there is one unit only, which says nothing of the spread.
    """
    n_alike = np.ones(len(hits), dtype=int) if n_alike is None else n_alike
    n_units = int(n_alike.sum())
    if n_units == 1:
        return np.full((2, n_bootstrap), np.nan)
    if not isinstance(random_state, np.random.RandomState):
        random_state = np.random.default_rng(random_state)
    draws = random_state.multinomial(n_units, n_alike / n_units, size=n_bootstrap)
    draws = draws.astype(float)  # for BLAS; counts stay exact
    return _uar_and_wa(draws @ hits, draws @ support)


def percentile_interval(scores, confidence_level):
    """Return the quantiles that enclose a share of the scores; NaN without scores."""
    if not len(scores) or np.isnan(scores).any():
        return np.nan, np.nan
    tails = (1 - confidence_level) / 2, (1 + confidence_level) / 2
    return tuple(np.quantile(scores, tails).tolist())


def bootstrap_confusions(counts, n_bootstrap, random_state):
    """Return `bootstrap_scores` of the confusion counts of each unit."""
    return bootstrap_scores(*_hits_and_support(counts), n_bootstrap, random_state)


def bootstrap_speakers(counts, n_bootstrap, confidence_level, random_state):
    """Return intervals of UAR and WA, resampling the first axis of confusion counts."""
    scores = bootstrap_confusions(counts, n_bootstrap, random_state)
    return tuple(percentile_interval(values, confidence_level) for values in scores)


@dataclass(frozen=True)
class ProbeScore:
    """What a probe read from an embedding.

    Attributes
    ----------
    score : float
        Balanced accuracy of the probe on utterances it was not trained on.
    chance : float
        That of a guess: 1 / n_classes.
    interval : (float, float)
        Bootstrap interval of the score, over groups or else over utterances.
    """

    score: float
    chance: float
    interval: tuple

    @property
    def above_chance(self):
        """The score minus chance: what the embedding knows."""
        return self.score - self.chance


def speaker_probe_score(
    embeddings,
    speakers,
    *,
    X=None,
    groups=None,
    probe="linear",
    cv=5,
    n_bootstrap=1000,
    confidence_level=0.95,
    random_state=0,
):
    """Tell how well a fresh probe reads the speaker from an embedding.

    A probe that was not the training's adversary is trained on some utterances and
    asked who speaks in others.

    Parameters
    ----------
    embeddings : array-like of shape (n_samples, n_embedding), or estimator
        Embeddings; or a fitted classifier or pipeline, which then embeds `X`. Its
        steps that request the speakers get them.
    speakers : array-like of shape (n_samples,)
        Who speaks.
    X : recordings or sequences, default=None
        What the estimator takes.
    groups : array-like of shape (n_samples,), default=None
        The text of each utterance: the probe is tested on texts that it was not
        trained on. None splits by utterance.
    probe : {"linear", "mlp"} or classifier, default="linear"
        Logistic regression, or a network of 64 hidden units, on standardised
        embeddings; or a classifier of one's own.
    cv : int, default=5
        Folds; fewer where there are fewer groups, or utterances of a speaker.
    n_bootstrap : int, default=1000
        Draws for the interval; 0 for none.
    confidence_level : float, default=0.95
        Coverage of the interval.
    random_state : int, default=0
        Seeds the folds, the probe and the draws.

    Returns
    -------
    ProbeScore
        With the fields `score`, `chance`, `interval` and `above_chance`.

    Raises
    ------
    ValueError
        If lengths differ, if there is one speaker only, or too few groups or
        utterances of a speaker for two folds.
    TypeError
        If an estimator has no embedding, or comes without `X`.

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
    return _probe_score(
        "speakers",
        embeddings,
        speakers,
        X,
        groups,
        probe=probe,
        cv=cv,
        n_bootstrap=n_bootstrap,
        confidence_level=confidence_level,
        random_state=random_state,
    )


def emotion_probe_score(embeddings, y, *, X=None, groups=None, **options):
    """Tell how well a fresh probe reads the emotion from an embedding.

    Parameters
    ----------
    embeddings : array-like of shape (n_samples, n_embedding), or estimator
        Embeddings; or a fitted classifier or pipeline, which then embeds `X`. Its
        steps that request the speakers get `groups`.
    y : array-like of shape (n_samples,)
        Emotions.
    X : recordings or sequences, default=None
        What the estimator takes.
    groups : array-like of shape (n_samples,), default=None
        The speakers: the probe is tested on speakers that it was not trained on.
        None splits by utterance.
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
        As :func:`speaker_probe_score`.

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
    return _probe_score("y", embeddings, y, X, groups, **options)


def _probe_score(
    name,
    embeddings,
    target,
    X,
    groups,
    *,
    probe="linear",
    cv=5,
    n_bootstrap=1000,
    confidence_level=0.95,
    random_state=0,
):
    if hasattr(embeddings, "fit"):
        from sklearn_ser import embed

        if X is None:
            raise TypeError("X must be given for an estimator to embed.")
        speakers = target if name == "speakers" else groups
        embeddings = embed(embeddings, X, speakers=speakers)
    embeddings, target = check_array(embeddings), column_or_1d(target)
    check_consistent_length(embeddings, target, groups)
    classes, codes, support = np.unique(target, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"{name} has one class only ({classes[0]!r}).")
    n_splits, units, splitter = min(cv, support.min()), None, StratifiedKFold
    if groups is not None:
        units = np.unique(column_or_1d(groups), return_inverse=True)[1]
        n_splits, splitter = min(n_splits, units.max() + 1), StratifiedGroupKFold
    if n_splits < 2:
        raise ValueError(
            f"{name} and groups leave {n_splits} fold(s), expected at least 2: each "
            "class needs two utterances, and there must be two groups."
        )
    folds = splitter(n_splits, shuffle=True, random_state=random_state)
    predicted = cross_val_predict(
        _make_probe(probe, random_state),
        embeddings,
        codes,
        cv=list(folds.split(embeddings, codes, units)),
    )
    hits, support, n_alike = _units(codes, predicted == codes, units, len(classes))
    uars, _ = bootstrap_scores(
        hits, support, n_bootstrap, random_state, n_alike=n_alike
    )
    support = np.bincount(codes)
    recalls = np.bincount(codes[predicted == codes], minlength=len(classes)) / support
    return ProbeScore(
        score=float(recalls.mean()),
        chance=1 / len(classes),
        interval=percentile_interval(uars, confidence_level),
    )


def _units(codes, is_hit, groups, n_classes):
    """Return hits and support of the units to draw, and how many each stands for."""
    if groups is None:
        # An utterance is a hit or a miss of its class: that many kinds there are.
        kind = 2 * codes + is_hit
        n_alike = np.bincount(kind, minlength=2 * n_classes)
        support = np.repeat(np.eye(n_classes), 2, axis=0)
        hits = support * np.tile([0, 1], n_classes)[:, None]
        return hits, support, n_alike
    cell, n_cells = groups * n_classes + codes, (groups.max() + 1) * n_classes
    shape = -1, n_classes
    hits = np.bincount(cell[is_hit], minlength=n_cells).reshape(shape)
    return hits, np.bincount(cell, minlength=n_cells).reshape(shape), None


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
