"""Evaluation on speakers that are not in the training data."""

from itertools import chain
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from .._sklearn import safe_indexing
from .._validation import check_column
from ..datasets._splitter import Protocol
from ..metrics import uar_score, wa_score
from ..metrics._bootstrap import (
    bootstrap_speakers,
    confusion_uar,
    confusion_wa,
    speaker_confusions,
)
from ..pipeline import training_history
from ._enrollment import check_enrollment, draw
from ._evaluation import (
    Fitting,
    Testing,
    check_evaluation,
    fit_and_predict,
    noting,
    run_jobs,
)
from ._leakage import duplicates_in, refuse_duplicates
from ._results import Fold, SpeakerCVResult, shorten
from ._resume import Folds, describe, resume
from ._splits import split_by_speaker, validation_masks


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
    checkpoint_dir: str | PathLike | None = None,
) -> SpeakerCVResult:
    """Evaluate an estimator on speakers that are not in its training data.

    The function splits the rows first, and refuses a split that shares a speaker or a
    recording. Then it fits one clone for each fold. It works with any classifier: only
    the steps that request `speakers` get those of the training rows. Metadata routing
    is on inside the loop, whatever the caller's configuration. The splitter of a
    :class:`~sklearn.model_selection.GridSearchCV` gets the `groups`. In prediction, a
    search passes the speakers of the test rows to its best estimator.

    Parameters
    ----------
    estimator : estimator
        A classifier, a pipeline or a search. Each fold fits a clone of it.
    X : list or array-like of length n_samples
        Recordings, sequences or features, as `estimator` takes them.
    y : array-like of shape (n_samples,)
        The emotions.
    speakers : array-like of shape (n_samples,)
        The speaker of each row.
    groups : array-like of shape (n_samples,), default=None
        The groups that a split keeps together, such as sessions. None takes the
        speakers.
    cv : int, splitter or iterable of (train, test), default=None
        None leaves one group out. An int is the number of folds of a
        :class:`~sklearn.model_selection.GroupKFold`. For a
        :class:`~sklearn_ser.datasets.Protocol`, the result has its name and hash. If
        the protocol has validation rows, a `fit` that requests `validation` gets them
        as a boolean mask of the training rows. A classifier of this library keeps its
        best epoch on them. Any other estimator trains on them, too.
    enrollment : int, "all" or None, default=None
        Number of recordings of each test speaker to enroll after the fit, without their
        labels: see :func:`~sklearn_ser.enroll`. They are drawn at random and not
        scored. At most half of a speaker's recordings are enrolled. ``"all"`` enrolls
        and scores all recordings, and the figure is transductive. None enrolls nothing,
        and the figure is inductive.
    enrollment_label : label of `y`, default=None
        Draw only recordings with this label, such as ``"neutral"``.
    n_draws : int, default=3
        Number of random draws of an enrolment. The pool holds the scored rows of all
        draws.
    fit_params : dict, default=None
        More metadata for `fit`, such as ``{"sample_weight": w}``. Each value has length
        n_samples, and `fit` gets the training rows of it. Steps of a pipeline must
        request them. A `validation` here replaces the one of the protocol.
    n_jobs : int, default=None
        Number of folds that run at the same time.
    verbose : int, default=0
        A value above 0 shows a progress bar on stderr.
    n_bootstrap : int, default=2000
        Number of bootstrap samples; 0 computes no intervals.
    confidence_level : float, default=0.95
        Coverage of the intervals.
    random_state : int, Generator, RandomState or None, default=0
        Seed of the bootstrap and of the draws. None takes a random seed. The function
        neither reads nor changes global generators.
    return_estimator : bool, default=False
        If True, the result keeps the fitted estimators.
    checkpoint_dir : str or path-like, default=None
        A folder that keeps each finished fold of this one evaluation. After an
        interruption or a crash, the same call reads the finished folds from the folder.
        The result is the same to the bit if `estimator` has a fixed `random_state`. The
        folder holds figures, predictions and hashes of the data, but no model. So it
        cannot be combined with `return_estimator`.

    Returns
    -------
    result : SpeakerCVResult
        ``print(result)`` shows a table.

    Raises
    ------
    ValueError
        If lengths differ, labels are missing, or there is only one speaker. If a fold
        shares a speaker or a recording between train and test. If the estimator
        predicts labels that are not in `y`, or has no
        :class:`~sklearn_ser.SpeakerNormalizer` for an enrolment. If `checkpoint_dir`
        holds folds of another evaluation.

    Notes
    -----
    The interval is a percentile bootstrap over speakers. The fitted models stay the
    same. With fewer than ten speakers the interval is too narrow.

    The check for copies compares recordings by their audio, and sequences by their
    values. Rows of a table may be equal, and so may vectors of one length in a list.
    But if a step of the estimator takes recordings, as
    :class:`~sklearn_ser.LogMelTransformer` does, such vectors are waveforms and must
    differ.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn_ser.model_selection import speaker_cross_validate
    >>> y = ["angry", "sad"] * 6
    >>> speakers = np.repeat(["ann", "bob", "cem"], 4)
    >>> speaker_cross_validate(DummyClassifier(), np.zeros((12, 1)), y, speakers)
    inductive: no recording of a test speaker was enrolled
    fold    test speakers   n  UAR % [95% interval]  WA % [95% interval]
    1       ann             4   50.0                  50.0
    2       bob             4   50.0                  50.0
    3       cem             4   50.0                  50.0
    pooled  3 speakers     12   50.0 [50.0, 50.0]     50.0 [50.0, 50.0]
    """
    y, speakers = check_column(y, "y"), check_column(speakers, "speakers")
    by_default = groups is None
    groups = speakers if by_default else check_column(groups, "groups")
    fit_params = dict(fit_params or {})
    columns = {"X": X, "y": y, "speakers": speakers, "groups": groups}
    bootstrap = n_bootstrap, confidence_level
    check_evaluation(
        estimator, columns | fit_params, *bootstrap, checkpoint_dir, return_estimator
    )
    if len(np.unique(speakers)) < 2:
        raise ValueError(
            f"speakers holds one speaker only, {speakers[:1].tolist()}: an "
            "evaluation on unseen speakers needs at least two."
        )
    asked = enrollment, enrollment_label, n_draws
    kind = check_enrollment(estimator, *asked, y)
    cv, splits = split_by_speaker(cv, columns, by_default)
    refuse_duplicates(splits, X, duplicates_in(X, estimator))

    protocol = repr(cv) if isinstance(cv, Protocol) else None
    settings = describe(estimator, random_state)  # before something is drawn
    settings |= {
        "cv": protocol or type(cv).__name__,
        "enrollment": repr(asked) if enrollment else "None",
    }
    masks, classes = validation_masks(cv, splits), np.unique(y)
    draws = draw(splits, y, speakers, *asked, random_state)
    finished, keep = resume(
        checkpoint_dir,
        Folds(splits, speakers, classes),
        settings,
        columns | {f"fit_params {name}": fit_params[name] for name in fit_params},
        [*chain(*splits), *(mask for mask in masks if mask is not None)],
    )
    jobs = (
        (number, clone(estimator), columns, fit_params, part)
        for number, part in enumerate(zip(splits, masks, draws, strict=True), 1)
        if number not in finished
    )
    run = len(splits), "fold", n_jobs, verbose
    *outputs, estimators = run_jobs(_run_fold, jobs, *run, done=finished, keep=keep)
    return SpeakerCVResult(
        **_pooled(columns, outputs, *bootstrap, random_state),
        confidence_level=confidence_level,
        classes=classes,
        estimators=estimators if return_estimator else None,
        protocol=protocol,
        settings=settings,
        kind=kind,
    )


def _pooled(columns, outputs, n_bootstrap, confidence_level, random_state):
    """Return the scored rows of all folds and their figures, by their names."""
    _, y, speakers, _ = columns.values()
    folds, predictions, probabilities = outputs
    rows = np.concatenate([fold.test for fold in folds])
    scored = y[rows], np.concatenate(predictions), speakers[rows]
    counts = speaker_confusions(*scored, np.unique(y))[1]
    confusion = counts.sum(axis=0)
    uar_interval, wa_interval = bootstrap_speakers(
        counts, n_bootstrap, confidence_level, random_state
    )
    some_lack = any(part is None for part in probabilities)
    return {
        "folds": folds,
        "uar": float(confusion_uar(confusion)),
        "wa": float(confusion_wa(confusion)),
        "uar_interval": uar_interval,
        "wa_interval": wa_interval,
        "rows": rows,
        **dict(zip(("y_true", "predictions", "speakers"), scored, strict=True)),
        "probabilities": None if some_lack else np.concatenate(probabilities),
        "confusion": confusion,
    }


def _run_fold(number, estimator, columns, fit_params, part):
    """Fit on the training rows of a fold and predict its test rows."""
    (train, test), validation, draws = part
    X, y, speakers, groups = columns.values()
    classes, test_speakers = np.unique(y), np.unique(speakers[test])
    params = {name: safe_indexing(value, train) for name, value in fit_params.items()}
    more = {"groups": groups[train]}
    if validation is not None and "validation" not in params:
        more["validation"] = validation
    fitting = Fitting(train, y[train], {"speakers": speakers[train]}, more, params)
    metadata, more = {"speakers": speakers[test]}, {"groups": groups[test]}
    with noting(f"In fold {number}, test speakers: {shorten(test_speakers)}."):
        predicted, proba, seconds = fit_and_predict(
            estimator, X, classes, fitting, Testing(test, metadata, more, draws)
        )
    enrolled = tuple(test[of_draw.enrolled] for of_draw in draws)
    if draws:
        test = np.concatenate([test[of_draw.scored] for of_draw in draws])
    uar, wa = uar_score(y[test], predicted), wa_score(y[test], predicted)
    history = training_history(estimator)
    fold = Fold(train, test, test_speakers, uar, wa, *seconds, history, enrolled)
    return number, fold, predicted, proba, estimator
