"""The walk through pipelines and searches: metadata for each step, embed, enroll."""

from __future__ import annotations

import numbers
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    get_routing_for_object,
)
from sklearn.utils.validation import check_is_fitted

from ._sklearn import BaseSearchCV
from .features.speaker_normalizer import SpeakerNormalizer

_routes: dict = {}  # for classes that were asked before
# skorch records these beside the losses; some differ when a training is repeated.
_BOOKKEEPING = ("batches", "dur", "train_batch_count", "valid_batch_count")


def flat_steps(estimator):
    """Return the steps of a pipeline, also of searches and of pipelines within it.

    A search stands for its best estimator, or for the one that it will fit.
    """
    if hasattr(estimator, "best_estimator_"):
        return flat_steps(estimator.best_estimator_)
    if isinstance(estimator, BaseSearchCV):
        return flat_steps(estimator.estimator)
    if isinstance(estimator, Pipeline):
        return [part for _, step in estimator.steps for part in flat_steps(step)]
    return [estimator]


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
    kind = _requests_of(estimator)
    key = kind, method, *metadata, "if requested", *if_requested
    names = None if kind is None else _routes.get(key)
    if names is None:
        names = _routes_of(estimator, method, metadata, if_requested)
        if kind is not None:
            _routes[key] = names
    given = metadata | if_requested
    return {name: given[own] for name, own in names.items()}


def _requests_of(estimator):
    """Return what decides on the requests of an estimator, or None if more does.

    Those of a class decide, if there is no request of its own, and those of all steps.
    """
    if type(estimator) is Pipeline:
        steps = [(name, _requests_of(step)) for name, step in estimator.steps]
        return None if any(own is None for _, own in steps) else tuple(steps)
    if estimator is None or isinstance(estimator, str):
        return str(estimator)  # "passthrough"
    routing = getattr(type(estimator), "get_metadata_routing", None)
    if routing is not BaseEstimator.get_metadata_routing:
        return None
    return None if "_metadata_request" in vars(estimator) else type(estimator)


def _routes_of(estimator, method, metadata, if_requested):
    """Return the name of the metadata for each argument, which takes milliseconds."""
    try:
        routing = get_routing_for_object(estimator)
    except NotImplementedError:
        return {}
    asked = [*metadata, *sorted(routing.consumes(method, if_requested))]
    router = MetadataRouter(owner="cross-validation").add(
        estimator=routing,
        method_mapping=MethodMapping().add(caller=method, callee=method),
    )
    params = {name: name for name in asked}
    routed = router.route_params(caller=method, params=params)
    return dict(routed.estimator[method])


def transform(steps, X, metadata, if_requested):
    """Return what steps make of `X`, each with the metadata that it requests.

    What cannot transform is skipped, as "passthrough" is.
    """
    with config_context(enable_metadata_routing=True):
        for step in steps:
            if hasattr(step, "transform"):
                params = requested(step, "transform", metadata, if_requested)
                X = step.transform(X, **params)
    return X


def predict_once(estimator, X, metadata, if_requested):
    """Return the predictions, and the probabilities if the estimator has them.

    Both methods are called, since the most probable class need not be the prediction,
    but they share the steps before the classifier. Of a search the best estimator is
    called, so that metadata reach its steps.
    """
    given = metadata, if_requested
    if isinstance(estimator, BaseSearchCV) and hasattr(estimator, "best_estimator_"):
        return predict_once(estimator.best_estimator_, X, *given)
    # Subclasses may skip steps in prediction, as imbalanced-learn's pipeline does.
    if type(estimator) is Pipeline and hasattr(estimator, "predict_proba"):
        *front, last = (step for _, step in estimator.steps)
        return predict_once(last, transform(front, X, *given), *given)
    return tuple(
        np.asarray(getattr(estimator, name)(X, **requested(estimator, name, *given)))
        if hasattr(estimator, name)
        else None
        for name in ("predict", "predict_proba")
    )


def training_history(estimator):
    """Return the numbers of each epoch of a training, or None."""
    history = getattr(flat_steps(estimator)[-1], "history_", None)
    if not isinstance(history, list):
        return None
    return [
        {
            name: float(value)
            for name, value in epoch.items()
            if isinstance(value, numbers.Real)
            and not isinstance(value, bool)
            and name not in _BOOKKEEPING
        }
        for epoch in history
    ]


def has_normalizer(estimator):
    """Tell whether an estimator, fitted or not, has a SpeakerNormalizer."""
    return any(isinstance(step, SpeakerNormalizer) for step in flat_steps(estimator))


def find_normalizer(estimator):
    """Return the SpeakerNormalizer of an estimator that has one."""
    return next(s for s in flat_steps(estimator) if isinstance(s, SpeakerNormalizer))


def with_own_voices(estimator):
    """Return a copy that shares all with a fitted estimator but the voices it keeps."""
    if not has_normalizer(estimator):
        return estimator
    own = copy(estimator)
    if hasattr(estimator, "best_estimator_"):
        own.best_estimator_ = with_own_voices(estimator.best_estimator_)
    elif isinstance(estimator, Pipeline):
        steps = estimator.steps
        own.steps = [(name, with_own_voices(step)) for name, step in steps]
    return own


def before_normalizer(estimator, X, speakers):
    """Return the fitted SpeakerNormalizer, and the output of the steps before it."""
    normalizer, steps = find_normalizer(estimator), flat_steps(estimator)
    front = steps[: steps.index(normalizer)]
    return normalizer, transform(front, X, {}, {"speakers": speakers})


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
    *front, last = flat_steps(estimator)
    if not hasattr(last, "embed"):
        raise TypeError(
            f"estimator is a {type(last).__name__}, expected a classifier with "
            "embed, or a pipeline that ends in one."
        )
    given = {} if speakers is None else {"speakers": speakers}
    return last.embed(transform(front, X, {}, given), **params)


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
