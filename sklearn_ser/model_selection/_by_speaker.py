"""Evaluation on speakers that a model was not trained on."""

import numbers
import time
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, check_cv
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import delayed

from sklearn_ser._confusions import (
    bootstrap_speakers,
    confusion_uar,
    confusion_wa,
    speaker_confusions,
)
from sklearn_ser._sklearn import safe_indexing
from sklearn_ser.datasets._splitter import Protocol
from sklearn_ser.metrics import uar_score, wa_score
from sklearn_ser.model_selection._checks import (
    check_bootstrap,
    check_column,
    check_lengths,
    check_predictions,
    run_jobs,
)
from sklearn_ser.model_selection._enrollment import (
    check_enrollment,
    draw,
    predict_enrolled,
)
from sklearn_ser.model_selection._leakage import (
    check_speaker_leakage,
    duplicates_in,
    refuse_duplicates,
)
from sklearn_ser.model_selection._result import Fold, SpeakerCVResult, shorten
from sklearn_ser.model_selection._routing import requested


def speaker_cross_validate(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    speakers: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    cv: Any = None,
    enrollment: int | str | None = None,
    enrollment_label: Any = None,
    n_draws: int = 3,
    fit_params: dict[str, Any] | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
    n_bootstrap: int = 2000,
    confidence_level: float = 0.95,
    random_state: Any = 0,
    return_estimator: bool = False,
) -> SpeakerCVResult:
    """Evaluate an estimator on speakers that it was not trained on.

    The rows are split first, splits that share a speaker or a recording are refused,
    and only then is one clone fitted per fold. The training rows' `speakers` reach
    every step that requests them and no other (metadata routing is on inside the loop,
    whatever the caller's configuration), so that any classifier can be evaluated;
    `groups` reach the splitter of a :class:`~sklearn.model_selection.GridSearchCV`
    likewise. In prediction, a search passes the test rows' speakers on to its best
    estimator.

    Parameters
    ----------
    estimator : estimator
        A classifier, a pipeline or a search; cloned for each fold.
    X : list or array-like of length n_samples
        Recordings, sequences or features, whatever `estimator` takes.
    y : array-like of shape (n_samples,)
        The emotions.
    speakers : array-like of shape (n_samples,)
        The speaker of each row.
    groups : array-like of shape (n_samples,), default=None
        What a split keeps together, such as sessions. None takes the speakers.
    cv : int, splitter or iterable of (train, test), default=None
        None leaves one group out; an int is the number of folds of
        :class:`~sklearn.model_selection.GroupKFold`. The result carries name and hash
        of a :class:`~sklearn_ser.datasets.Protocol`. If the protocol has validation
        rows, a `fit` that requests `validation` gets them as a boolean mask of the
        training rows: a classifier of this library keeps its best epoch on them. Any
        other estimator trains on them as on the rest.
    enrollment : int, "all" or None, default=None
        Recordings of each test speaker that are enrolled after the fit, without their
        labels: see :func:`~sklearn_ser.enroll`. A number is drawn, or half of what the
        speaker has if that is less, and not scored. ``"all"`` enrolls and scores all of
        them, which is a transductive figure. None enrolls nothing, which is inductive.
    enrollment_label : label of `y`, default=None
        Draw among the recordings with this label only, such as ``"neutral"``.
    n_draws : int, default=3
        How often an enrolment is drawn. What each draw scores joins the pool.
    fit_params : dict, default=None
        More metadata for `fit`, such as ``{"sample_weight": w}``, of length n_samples
        each and sliced to the training rows. Steps of a pipeline must request them.
        A `validation` here takes the place of the protocol's.
    n_jobs : int, default=None
        Number of folds that run at the same time.
    verbose : int, default=0
        Above 0, a progress bar is shown on stderr.
    n_bootstrap : int, default=2000
        Number of bootstrap samples; 0 computes no intervals.
    confidence_level : float, default=0.95
        Coverage of the intervals.
    random_state : int, Generator, RandomState or None, default=0
        Seed of the bootstrap and of what is enrolled. None draws a fresh one. Global
        generators are neither read nor changed.
    return_estimator : bool, default=False
        Whether to keep the fitted estimators.

    Returns
    -------
    result : SpeakerCVResult
        It prints as a table.

    Raises
    ------
    ValueError
        If lengths differ, labels are missing, there is one speaker only, a fold shares
        a speaker or a recording between train and test, the estimator predicts other
        labels than those of `y`, or has no :class:`~sklearn_ser.SpeakerNormalizer` for
        an enrolment.

    Notes
    -----
    The interval is a percentile bootstrap over speakers: who speaks varies, while the
    fitted models stay the same. With fewer than ten speakers it is too narrow.

    Recordings are compared by their audio, sequences of frames by their values. The
    rows of a table may be equal, and so may vectors of one length in a list. Where a
    step of the estimator takes recordings, as :class:`~sklearn_ser.LogMelTransformer`
    does, these are waveforms and are compared, too.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn_ser.model_selection import speaker_cross_validate
    >>> y = ["angry", "sad"] * 6
    >>> speakers = np.repeat(["ann", "bob", "cem"], 4)
    >>> speaker_cross_validate(DummyClassifier(), np.zeros((12, 1)), y, speakers)
    fold    test speakers   n  UAR % [95% interval]  WA % [95% interval]
    1       ann             4   50.0                  50.0
    2       bob             4   50.0                  50.0
    3       cem             4   50.0                  50.0
    pooled  3 speakers     12   50.0 [50.0, 50.0]     50.0 [50.0, 50.0]
    """
    y, speakers = check_column(y, "y"), check_column(speakers, "speakers")
    default_groups = groups is None
    groups = speakers if default_groups else check_column(groups, "groups")
    fit_params = dict(fit_params or {})
    columns = {"X": X, "y": y, "speakers": speakers, "groups": groups}
    check_lengths({**columns, **fit_params})
    check_classification_targets(y)
    if len(np.unique(speakers)) < 2:
        raise ValueError(
            f"speakers holds one speaker only, {speakers[:1].tolist()}: an evaluation "
            "on unseen speakers needs two or more."
        )
    check_bootstrap(n_bootstrap, confidence_level)
    kind = check_enrollment(estimator, enrollment, enrollment_label, n_draws, y)
    if cv is None:
        cv = LeaveOneGroupOut()
    elif isinstance(cv, numbers.Integral):
        cv = GroupKFold(cv)
    with warnings.catch_warnings():
        if default_groups:  # PredefinedSplit ignores groups, which nobody passed
            warnings.filterwarnings("ignore", "The groups parameter is ignored")
        splits = list(check_cv(cv).split(X, y, groups))
    splits = check_speaker_leakage(splits, speakers)
    refuse_duplicates(splits, X, duplicates_in(X, estimator))

    asked = enrollment, enrollment_label, n_draws, random_state
    of_folds = (_validation_masks(cv, splits), draw(splits, y, speakers, *asked))
    data = X, y, speakers, groups, fit_params
    jobs = (
        delayed(_run_fold)(number, clone(estimator), *data, *of_fold, *split)
        for number, (split, *of_fold) in enumerate(
            zip(splits, *of_folds, strict=True), 1
        )
    )
    folds, predictions, probabilities, estimators = run_jobs(
        jobs, len(splits), "fold", n_jobs, verbose
    )
    rows, predictions = (
        np.concatenate(parts) for parts in ([fold.test for fold in folds], predictions)
    )
    classes = np.unique(y)
    counts = speaker_confusions(y[rows], predictions, speakers[rows], classes)[1]
    confusion = counts.sum(axis=0)
    uar_interval, wa_interval = bootstrap_speakers(
        counts, n_bootstrap, confidence_level, random_state
    )
    proba = None if probabilities[0] is None else np.concatenate(probabilities)
    return SpeakerCVResult(
        folds=folds,
        uar=float(confusion_uar(confusion)),
        wa=float(confusion_wa(confusion)),
        uar_interval=uar_interval,
        wa_interval=wa_interval,
        confidence_level=confidence_level,
        rows=rows,
        y_true=y[rows],
        predictions=predictions,
        probabilities=proba,
        classes=classes,
        speakers=speakers[rows],
        confusion=confusion,
        estimators=estimators if return_estimator else None,
        protocol=repr(cv) if isinstance(cv, Protocol) else None,
        kind=kind,
    )


def _validation_masks(cv, splits):
    """Return each fold's mask of validation rows among its training rows, or None."""
    validation = cv.validation if isinstance(cv, Protocol) else None
    if validation is None:
        return [None] * len(splits)
    masks = [
        np.isin(train, rows)
        for (train, _), rows in zip(splits, validation, strict=True)
    ]
    return [mask if mask.any() else None for mask in masks]


def _run_fold(
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
    if proba is not None:
        columns = getattr(estimator, "classes_", np.unique(y[train]))
        of_training, proba = proba, np.zeros((len(test), len(classes)))
        proba[:, np.searchsorted(classes, columns)] = of_training
    fold = Fold(
        train=train,
        test=test,
        test_speakers=test_speakers,
        uar=uar_score(y[test], predicted),
        wa=wa_score(y[test], predicted),
        fit_time=fitted - start,
        score_time=scored - fitted,
        enrolled=enrolled,
    )
    return number, fold, predicted, proba, estimator
