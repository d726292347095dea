"""Embeddings of a fitted classifier, alone or in a pipeline."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn import config_context
from sklearn.pipeline import Pipeline

from .model_selection._routing import requested


def embed(
    estimator: Any, X: Any, *, speakers: ArrayLike | None = None, **params: Any
) -> np.ndarray:
    """Return the embeddings of a fitted classifier, or of a pipeline that ends in one.

    Parameters
    ----------
    estimator : estimator
        A fitted classifier of this library, a pipeline, or a search over either.
    X : recordings or sequences
        The input of the estimator's ``predict``.
    speakers : array-like of shape (n_samples,), default=None
        The speaker of each recording. The function passes them to each step whose
        ``transform`` requests them, such as :class:`SpeakerNormalizer`, with and
        without metadata routing.
    **params
        Passed to the classifier's ``embed``, such as ``subspace="irrelevant"``.

    Returns
    -------
    array of shape (n_samples, n_embedding), float32
        One row per recording.

    Raises
    ------
    TypeError
        If the estimator has no ``embed``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_ser import DSNetClassifier, embed
    >>> X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    >>> model = make_pipeline(
    ...     StandardScaler(), DSNetClassifier(calibration_weight=0, max_epochs=1)
    ... ).fit(X, y)
    >>> embed(model, X).shape
    (20, 256)
    """
    estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, Pipeline):
        with config_context(enable_metadata_routing=True):
            for _, step in estimator.steps[:-1]:
                if step not in (None, "passthrough"):
                    X = step.transform(X, **_requested_speakers(step, speakers))
        return embed(estimator.steps[-1][1], X, speakers=speakers, **params)
    if not hasattr(estimator, "embed"):
        raise TypeError(
            f"estimator is a {type(estimator).__name__}, expected a classifier with "
            "embed, or a pipeline that ends in one."
        )
    return estimator.embed(X, **params)


def _requested_speakers(step, speakers):
    if speakers is None:
        return {}
    return requested(step, "transform", {}, if_requested={"speakers": speakers})
