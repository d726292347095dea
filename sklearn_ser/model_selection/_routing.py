"""Metadata go to what requests them, and to nothing else."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    get_routing_for_object,
)

from sklearn_ser._sklearn import BaseSearchCV


def consumes(estimator, method, name):
    """Tell whether a method, or a step behind it, requests a metadata by that name."""
    try:
        return bool(get_routing_for_object(estimator).consumes(method, [name]))
    except NotImplementedError:  # a meta-estimator that routes nothing
        return False


def requested(estimator, method, metadata, if_asked):
    """The metadata to call a method with, under the names that it asks for.

    scikit-learn refuses an argument named in `metadata` without a request, so that it
    is never left out unnoticed; `if_asked` is for names too common for that.
    """
    try:
        get_routing_for_object(estimator)
    except NotImplementedError:
        return {}
    extra = {n: v for n, v in if_asked.items() if consumes(estimator, method, n)}
    router = MetadataRouter(owner="cross-validation").add(
        estimator=estimator,
        method_mapping=MethodMapping().add(caller=method, callee=method),
    )
    routed = router.route_params(caller=method, params={**metadata, **extra})
    return dict(routed.estimator[method])


def predict_once(estimator, X, metadata, if_asked):
    """Return predictions, and probabilities or None, transforming `X` only once.

    Both methods are called, since the most probable class need not be the prediction,
    but they share the steps before the classifier. In a search, its best estimator is
    asked, so that metadata reach its steps.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    X : list or array-like of length n_samples
        What it predicts from.
    metadata, if_asked : dict
        As of :func:`requested`.

    Returns
    -------
    predictions : ndarray of shape (n_samples,)
    probabilities : ndarray of shape (n_samples, n_classes) or None
    """
    if isinstance(estimator, BaseSearchCV) and hasattr(estimator, "best_estimator_"):
        return predict_once(estimator.best_estimator_, X, metadata, if_asked)
    # Subclasses may skip steps in prediction, as imbalanced-learn's pipeline does.
    if type(estimator) is Pipeline and hasattr(estimator, "predict_proba"):
        for _, step in estimator.steps[:-1]:
            if step not in (None, "passthrough"):
                params = requested(step, "transform", metadata, if_asked)
                X = step.transform(X, **params)
        return predict_once(estimator.steps[-1][1], X, metadata, if_asked)
    outputs = []
    for method in ("predict", "predict_proba"):
        call = getattr(estimator, method, None)
        params = requested(estimator, method, metadata, if_asked) if call else {}
        outputs.append(np.asarray(call(X, **params)) if call else None)
    return tuple(outputs)
