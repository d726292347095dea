"""The walk through pipelines and searches: metadata for each step, embed, enroll."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn import config_context
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    get_routing_for_object,
)
from sklearn.utils.validation import check_is_fitted

from ._sklearn import BaseSearchCV
from .features.normalization import SpeakerNormalizer


def consumes(estimator, method, name):
    """Tell whether a method, or a step behind it, requests a metadata by that name."""
    try:
        return bool(get_routing_for_object(estimator).consumes(method, [name]))
    except NotImplementedError:  # a meta-estimator that routes nothing
        return False


def requested(estimator, method, metadata, if_requested):
    """Return the metadata to call a method with, under the names that it requests.

    scikit-learn refuses a method that takes one of `metadata` as an argument but has no
    request for it, so that none is left out unnoticed. What is in `if_requested` is
    passed on request and left out otherwise: names such as "groups" are too common to
    refuse.
    """
    try:
        get_routing_for_object(estimator)
    except NotImplementedError:
        return {}
    metadata = metadata | {
        name: value
        for name, value in if_requested.items()
        if consumes(estimator, method, name)
    }
    router = MetadataRouter(owner="cross-validation").add(
        estimator=estimator,
        method_mapping=MethodMapping().add(caller=method, callee=method),
    )
    routed = router.route_params(caller=method, params=metadata)
    return dict(routed.estimator[method])


def predict_once(estimator, X, methods, metadata, if_requested):
    """Return the predictions of each method, and transform `X` only once.

    All methods are called, since the most probable class need not be the prediction,
    but they share the steps before the classifier. Of a search the best estimator is
    called, so that metadata reach its steps.

    Parameters
    ----------
    estimator : estimator
        A fitted one.
    X : list or array-like of length n_samples
        Recordings, sequences or features, whatever `estimator` takes.
    methods : tuple of str
        Such as ``("predict", "predict_proba")``.
    metadata, if_requested : dict
        As of :func:`requested`.

    Returns
    -------
    outputs : tuple of (ndarray or None)
        One for each method, None where the estimator lacks it.
    """
    metadata = {"metadata": metadata, "if_requested": if_requested}
    if isinstance(estimator, BaseSearchCV) and hasattr(estimator, "best_estimator_"):
        return predict_once(estimator.best_estimator_, X, methods, **metadata)
    available = [method for method in methods if hasattr(estimator, method)]
    # Subclasses may skip steps in prediction, as imbalanced-learn's pipeline does.
    if type(estimator) is Pipeline and len(available) > 1:
        for _, step in estimator.steps[:-1]:
            if step not in (None, "passthrough"):
                X = step.transform(X, **requested(step, "transform", **metadata))
        return predict_once(estimator.steps[-1][1], X, methods, **metadata)
    outputs = {
        method: getattr(estimator, method)(
            X, **requested(estimator, method, **metadata)
        )
        for method in available
    }
    return tuple(
        np.asarray(outputs[method]) if method in outputs else None for method in methods
    )


def has_normalizer(estimator):
    """Tell whether an estimator, fitted or not, has a SpeakerNormalizer."""
    if isinstance(estimator, BaseSearchCV):
        found = getattr(estimator, "best_estimator_", estimator.estimator)
        return has_normalizer(found)
    if isinstance(estimator, Pipeline):
        return any(has_normalizer(step) for _, step in estimator.steps)
    return isinstance(estimator, SpeakerNormalizer)


def split_at_normalizer(pipeline):
    """Return the steps before the SpeakerNormalizer, and the steps from it on."""
    place = next(
        i for i, (_, step) in enumerate(pipeline.steps) if has_normalizer(step)
    )
    front = [step for _, step in pipeline.steps[:place] if hasattr(step, "transform")]
    return front, pipeline.steps[place:]


def find_normalizer(estimator):
    """Return the SpeakerNormalizer of a fitted estimator that has one."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, SpeakerNormalizer):
        return estimator
    _, ((_, first), *_) = split_at_normalizer(estimator)
    return find_normalizer(first)


def before_normalizer(estimator, X, speakers):
    """Return the fitted SpeakerNormalizer, and the output of the steps before it."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, SpeakerNormalizer):
        return estimator, X
    front, ((_, first), *_) = split_at_normalizer(estimator)
    with config_context(enable_metadata_routing=True):
        for step in front:
            params = requested(step, "transform", {}, {"speakers": speakers})
            X = step.transform(X, **params)
    return before_normalizer(first, X, speakers)


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
