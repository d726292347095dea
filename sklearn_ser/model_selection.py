"""Speaker-independent evaluation."""

import numbers
import time
import warnings

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, check_cv
from sklearn.utils import _safe_indexing, check_scalar
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    get_routing_for_object,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples
from tqdm.auto import tqdm

from sklearn_ser._cv_result import Fold, SpeakerCVResult, shorten
from sklearn_ser.metrics import (
    bootstrap_speakers,
    confusion_uar,
    confusion_wa,
    speaker_confusions,
    uar_score,
    wa_score,
)
from sklearn_ser.sequences import is_missing

__all__ = ["SpeakerCVResult", "check_speaker_leakage", "speaker_cross_validate"]


def check_speaker_leakage(splits, speakers):
    """Refuse splits in which a speaker both trains and tests.

    Parameters
    ----------
    splits : iterable of (train, test)
        Row indices, or boolean masks, of each fold.
    speakers : array-like of shape (n_samples,)
        The speaker of each row.

    Returns
    -------
    splits : list of (train, test)
        The same splits as arrays of row indices.

    Raises
    ------
    ValueError
        If a fold, counted from 1, shares a speaker or a row between its two parts, if
        a part is empty or points outside of `speakers`, or if there is no fold.

    Examples
    --------
    >>> from sklearn_ser.model_selection import check_speaker_leakage
    >>> check_speaker_leakage([([0, 1], [2])], speakers=["ann", "bob", "bob"])
    Traceback (most recent call last):
    ValueError: Fold 1: speakers ['bob'] are in both train and test. Split by speaker, \
for example with GroupKFold and groups=speakers.
    """
    speakers = _check_labels(speakers, "speakers")
    checked = []
    for number, split in enumerate(splits, 1):
        try:
            train, test = split
        except (TypeError, ValueError):
            raise ValueError(f"Fold {number} is not a pair (train, test).") from None
        train = _check_rows(train, len(speakers), f"Fold {number}: train")
        test = _check_rows(test, len(speakers), f"Fold {number}: test")
        for what, shared in (
            ("rows", np.intersect1d(train, test)),
            ("speakers", np.intersect1d(speakers[train], speakers[test])),
        ):
            if len(shared):
                raise ValueError(
                    f"Fold {number}: {what} {shared.tolist()} are in both train and "
                    "test. Split by speaker, for example with GroupKFold and "
                    "groups=speakers."
                )
        checked.append((train, test))
    if not checked:
        raise ValueError("splits holds no fold.")
    return checked


def speaker_cross_validate(
    estimator,
    X,
    y,
    speakers,
    *,
    groups=None,
    cv=None,
    fit_params=None,
    n_jobs=None,
    verbose=0,
    n_bootstrap=2000,
    confidence_level=0.95,
    random_state=0,
    return_estimator=False,
):
    """Evaluate an estimator on speakers that it was not trained on.

    Splits first, refuses splits that share a speaker, and only then fits one clone
    per fold. The training rows' `speakers` reach every step that requests them and
    no other (metadata routing is on inside the loop, whatever the caller's
    configuration), so any classifier runs in it; `groups` reach the splitter of a
    :class:`~sklearn.model_selection.GridSearchCV` likewise.

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
        What a split keeps together, such as sessions. By default, the speakers.
    cv : int, splitter or iterable of (train, test), default=None
        None leaves one group out; an int is the number of folds of
        :class:`~sklearn.model_selection.GroupKFold`.
    fit_params : dict, default=None
        More metadata for `fit`, such as ``{"sample_weight": w}``, of length n_samples
        each and sliced to the training rows. Steps of a pipeline must request them.
    n_jobs : int, default=None
        Number of folds that run at the same time.
    verbose : int, default=0
        Above 0, a progress bar on stderr.
    n_bootstrap : int, default=2000
        Number of bootstrap samples; 0 for no intervals.
    confidence_level : float, default=0.95
        Coverage of the intervals.
    random_state : int, Generator, RandomState or None, default=0
        Seed of the bootstrap alone. None draws a fresh one. Global generators are
        neither read nor changed.
    return_estimator : bool, default=False
        Whether to keep the fitted estimators.

    Returns
    -------
    result : SpeakerCVResult
        Prints as a table.

    Raises
    ------
    ValueError
        If lengths differ, labels are missing, there is one speaker only, a fold shares
        a speaker between train and test, or the estimator predicts other labels than
        those of `y`.

    Notes
    -----
    The interval is a percentile bootstrap over speakers: what varies is who speaks,
    the fitted models are held fixed. With fewer than ten speakers it is too narrow.

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
    y, speakers = _check_labels(y, "y"), _check_labels(speakers, "speakers")
    default_groups = groups is None
    groups = speakers if default_groups else _check_labels(groups, "groups")
    fit_params = dict(fit_params or {})
    lengths = {"X": X, "y": y, "speakers": speakers, "groups": groups, **fit_params}
    lengths = {name: _num_samples(column) for name, column in lengths.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise ValueError(f"One entry per recording is expected, but {found}.")
    check_classification_targets(y)
    if len(np.unique(speakers)) < 2:
        raise ValueError(
            f"speakers holds one speaker only, {speakers[:1].tolist()}: an evaluation "
            "on unseen speakers needs two or more."
        )
    check_scalar(n_bootstrap, "n_bootstrap", numbers.Integral, min_val=0)
    if not 0 < confidence_level < 1:
        raise ValueError(
            f"confidence_level must lie between 0 and 1, got {confidence_level!r}."
        )
    if cv is None:
        cv = LeaveOneGroupOut()
    elif isinstance(cv, numbers.Integral):
        cv = GroupKFold(cv)
    with warnings.catch_warnings():
        if default_groups:  # PredefinedSplit and its like have no use for them
            warnings.filterwarnings("ignore", "The groups parameter is ignored")
        splits = list(check_cv(cv).split(X, y, groups))
    splits = check_speaker_leakage(splits, speakers)

    jobs = (
        delayed(_run_fold)(
            number, clone(estimator), X, y, speakers, groups, fit_params, *split
        )
        for number, split in enumerate(splits, 1)
    )
    done = {}
    with tqdm(total=len(splits), desc="folds", unit="fold", disable=not verbose) as bar:
        parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
        for number, *output in parallel(jobs):
            done[number] = output
            bar.update()
    folds, predictions, probabilities, estimators = zip(
        *(done[number] for number in sorted(done)), strict=True
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
    )


def _run_fold(number, estimator, X, y, speakers, groups, fit_params, train, test):
    """Fit on the training rows and predict the test rows."""
    X_train, X_test = _safe_indexing(X, train), _safe_indexing(X, test)
    params = {name: _safe_indexing(value, train) for name, value in fit_params.items()}
    outputs = {}
    who = np.unique(speakers[test])
    try:
        with config_context(enable_metadata_routing=True):
            start = time.perf_counter()
            params |= _requested(estimator, "fit", speakers[train], groups[train])
            estimator.fit(X_train, y[train], **params)
            fitted = time.perf_counter()
            for method in ("predict", "predict_proba"):
                if method == "predict" or hasattr(estimator, method):
                    asked = _requested(estimator, method, speakers[test], groups[test])
                    output = getattr(estimator, method)(X_test, **asked)
                    outputs[method] = np.asarray(output)
            scored = time.perf_counter()
    except Exception as error:
        error.add_note(f"In fold {number}, test speakers: {shorten(who)}.")
        raise

    classes, predicted = np.unique(y), outputs["predict"]
    if predicted.shape != test.shape or not np.isin(predicted, classes).all():
        raise ValueError(
            f"{type(estimator).__name__}.predict must give one label of y for each of "
            f"{len(test)} rows, among {classes.tolist()}; got shape {predicted.shape} "
            f"with {shorten(np.unique(predicted))}."
        )
    proba = outputs.get("predict_proba")
    if proba is not None:
        columns = getattr(estimator, "classes_", np.unique(y[train]))
        narrow, proba = proba, np.zeros((len(test), len(classes)))
        proba[:, np.searchsorted(classes, columns)] = narrow
    figures = uar_score(y[test], predicted), wa_score(y[test], predicted)
    fold = Fold(train, test, who, *figures, fitted - start, scored - fitted)
    return number, fold, predicted, proba, estimator


def _requested(estimator, method, speakers, groups):
    """The metadata to call a method with, under the names that it asks for."""
    try:
        routing = get_routing_for_object(estimator)
    except NotImplementedError:  # a meta-estimator that routes nothing
        return {}
    # scikit-learn refuses a `speakers` argument without a request, so that it is never
    # left out unnoticed; `groups` arguments without one are too common for that.
    params = {"speakers": speakers}
    if routing.consumes(method, ["groups"]):
        params["groups"] = groups
    router = MetadataRouter(owner="speaker_cross_validate").add(
        estimator=estimator,
        method_mapping=MethodMapping().add(caller=method, callee=method),
    )
    return dict(router.route_params(caller=method, params=params).estimator[method])


def _check_labels(values, name):
    """A 1-D array of strings or of numbers, none of them missing."""
    values = np.asarray(values, dtype=object)
    if values.ndim != 1:
        raise ValueError(f"{name} must be 1-D, one label per row; got {values.ndim}-D.")
    missing = [row for row, value in enumerate(values) if is_missing(value)]
    if missing:
        raise ValueError(
            f"{name} has {len(missing)} missing values, the first at row {missing[0]}."
        )
    text = [isinstance(value, str) for value in values]
    if any(text) and not all(text):
        raise ValueError(f"{name} mixes strings and other values: {shorten(values)}.")
    return np.array(values.tolist())


def _check_rows(rows, n_rows, what):
    """Row indices of one part of a fold."""
    rows = np.asarray(rows)
    if rows.dtype == bool and rows.shape == (n_rows,):
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or not rows.size:
        raise ValueError(f"{what} must hold one or more row indices, got {rows!r}.")
    if rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= n_rows:
        raise ValueError(
            f"{what} must hold integers from 0 to {n_rows - 1}, got {shorten(rows)}."
        )
    return rows
