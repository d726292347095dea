"""Enrolment of new voices, wherever the speaker normalisation stands in a pipeline."""

from typing import Any

from numpy.typing import ArrayLike
from sklearn import config_context
from sklearn.pipeline import Pipeline


def enroll(estimator: Any, X: Any, speakers: ArrayLike) -> Any:
    """Add voices to a fitted pipeline, known by a few unlabelled recordings each.

    The recordings pass the steps in front of the :class:`SpeakerNormalizer`, which
    keeps the statistics of each voice. Nothing else changes.

    Parameters
    ----------
    estimator : estimator
        A fitted :class:`SpeakerNormalizer`, a pipeline that has one, or a search over
        such a pipeline. It is changed in place.
    X : recordings or sequences
        What the estimator's ``predict`` takes.
    speakers : array-like of shape (n_samples,)
        Who speaks. A speaker that is known already is replaced.

    Returns
    -------
    estimator : estimator
        The same one.

    Raises
    ------
    TypeError
        If the estimator has no :class:`SpeakerNormalizer`.

    Examples
    --------
    >>> import numpy as np
    >>> import sklearn
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_ser import SpeakerNormalizer, enroll
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    >>> speakers = np.repeat(["ann", "bob"], 20)
    >>> model = make_pipeline(SpeakerNormalizer(), LogisticRegression())
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     model = model.fit(X, y, speakers=speakers)
    ...     model = enroll(model, X[:4] + 5, ["cem"] * 4)
    ...     model.predict(X[4:6] + 5, speakers=["cem", "cem"]).shape
    (2,)
    """
    pipeline = getattr(estimator, "best_estimator_", estimator)
    if hasattr(pipeline, "enroll"):
        pipeline.enroll(X, speakers)
        return estimator
    if isinstance(pipeline, Pipeline):
        with config_context(enable_metadata_routing=True):
            for _, step in pipeline.steps:
                if hasattr(step, "enroll") or _has_normalizer(step):
                    enroll(step, X, speakers)
                    return estimator
                if hasattr(step, "transform"):
                    X = step.transform(X)
    raise TypeError(
        f"estimator is a {type(estimator).__name__} without a SpeakerNormalizer: "
        "enrolment needs a pipeline that has one."
    )


def _has_normalizer(step):
    """Tell whether a step is a pipeline that has a step with voices."""
    return isinstance(step, Pipeline) and any(
        hasattr(inner, "enroll") or _has_normalizer(inner) for _, inner in step.steps
    )


def can_enroll(estimator):
    """Tell whether :func:`enroll` knows what to do with an estimator, fitted or not."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    estimator = getattr(estimator, "estimator", estimator)  # of a search
    return hasattr(estimator, "enroll") or _has_normalizer(estimator)
