"""Enrolment of new voices in a pipeline with speaker normalisation."""

from typing import Any

from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from ._sklearn import BaseSearchCV
from .model_selection._routing import before_normalizer, has_normalizer


def enroll(estimator: Any, X: Any, speakers: ArrayLike) -> Any:
    """Add new voices to a fitted pipeline, from a few unlabelled recordings each.

    The recordings pass the steps before the :class:`SpeakerNormalizer`. The normaliser
    stores the statistics of each voice, and nothing else changes.

    Parameters
    ----------
    estimator : estimator
        A fitted :class:`SpeakerNormalizer`, a pipeline that has one, or a search over
        such a pipeline. The call changes it in place.
    X : recordings or sequences
        The input of the estimator's ``predict``.
    speakers : array-like of shape (n_samples,)
        The speaker of each recording. A call replaces a known speaker, so pass all
        recordings of a speaker in one call.

    Returns
    -------
    estimator : estimator
        The same estimator. A saved estimator keeps the voices.

    Raises
    ------
    TypeError
        If the estimator has no :class:`SpeakerNormalizer`.
    ValueError
        If X or speakers are not as described. In this case no voice is added.

    Warns
    -----
    OneSidedEnrollmentWarning
        If five or more recordings of a voice seem to show mainly one emotion.

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
    >>> model = model.fit(X, y, speakernormalizer__speakers=speakers)
    >>> model = enroll(model, X[:4] + 5, ["cem"] * 4)
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     model.predict(X[4:6] + 5, speakers=["cem", "cem"]).shape
    (2,)
    """
    if not has_normalizer(estimator):
        raise TypeError(
            f"estimator is a {type(estimator).__name__} without a "
            "SpeakerNormalizer, expected a pipeline with one, such as "
            "make_pipeline(SpeakerNormalizer(), ...)."
        )
    is_search = isinstance(estimator, BaseSearchCV)
    check_is_fitted(estimator, "best_estimator_" if is_search else None)
    normalizer, X = before_normalizer(estimator, X, speakers)
    normalizer.enroll(X, speakers)
    return estimator
