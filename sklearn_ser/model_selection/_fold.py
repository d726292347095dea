"""One fold of an evaluation by speaker: a fit and its predictions."""

import time

import numpy as np
from sklearn import config_context

from .._sklearn import safe_indexing
from ..datasets._splitter import Protocol
from ..metrics import uar_score, wa_score
from ..pipeline import requested
from ._checks import check_predictions
from ._enrollment import predict_enrolled
from ._result import Fold
from ._settings import training_history
from ._table import shorten, spread_columns


def validation_masks(cv, splits):
    """Return each fold's mask of validation rows among its training rows, or None."""
    validation = cv.validation if isinstance(cv, Protocol) else None
    if validation is None:
        return [None] * len(splits)
    masks = [
        np.isin(train, rows)
        for (train, _), rows in zip(splits, validation, strict=True)
    ]
    return [mask if mask.any() else None for mask in masks]


def run_fold(
    number,
    estimator,
    X,
    y,
    speakers,
    groups,
    fit_params,
    validation,
    draws,
    train,
    test,
):
    """Fit on the training rows of a fold and predict its test rows."""
    X_train, X_test = safe_indexing(X, train), safe_indexing(X, test)
    params = {name: safe_indexing(value, train) for name, value in fit_params.items()}
    test_speakers = np.unique(speakers[test])
    try:
        with config_context(enable_metadata_routing=True):
            start = time.perf_counter()
            if_requested = {"groups": groups[train]}
            if validation is not None and "validation" not in params:
                if_requested["validation"] = validation
            metadata = {"speakers": speakers[train]}
            params |= requested(estimator, "fit", metadata, if_requested)
            estimator.fit(X_train, y[train], **params)
            fitted = time.perf_counter()
            predicted, proba = predict_enrolled(
                estimator,
                X_test,
                ("predict", "predict_proba"),
                speakers[test],
                groups[test],
                draws,
            )
            scored = time.perf_counter()
    except Exception as error:
        error.add_note(f"In fold {number}, test speakers: {shorten(test_speakers)}.")
        raise

    enrolled = tuple(test[of_draw.enrolled] for of_draw in draws)
    if draws:
        test = np.concatenate([test[of_draw.scored] for of_draw in draws])
    classes = np.unique(y)
    check_predictions(estimator, predicted, len(test), classes)
    predicted = classes[np.searchsorted(classes, predicted)]
    columns = getattr(estimator, "classes_", np.unique(y[train]))
    proba = spread_columns(proba, columns, classes)
    fold = Fold(
        train=train,
        test=test,
        test_speakers=test_speakers,
        uar=uar_score(y[test], predicted),
        wa=wa_score(y[test], predicted),
        fit_time=fitted - start,
        score_time=scored - fitted,
        history=training_history(estimator),
        enrolled=enrolled,
    )
    return number, fold, predicted, proba, estimator
