"""What the evaluations by speaker and by corpus share."""

import numbers
import os

import numpy as np
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.pipeline import Pipeline
from sklearn.utils import check_scalar, get_tags
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    get_routing_for_object,
)
from sklearn.utils.parallel import Parallel
from tqdm.auto import tqdm

from sklearn_ser._cv_result import shorten
from sklearn_ser._sklearn import BaseSearchCV, num_samples
from sklearn_ser.datasets.duplicates import duplicates_if_audio, find_duplicates
from sklearn_ser.sequences import is_missing


class CheckedSplits(list):
    """Pairs (train, test) of row indices without leakage.

    `transductive` tells whether a tested row or speaker is among the unlabelled rows
    of its training part.
    """

    def __init__(self, splits, transductive):
        super().__init__(splits)
        self.transductive = transductive


def check_speaker_leakage(splits, speakers, *, unlabelled=None):
    """Refuse splits in which a speaker both trains and tests.

    Parameters
    ----------
    splits : iterable of (train, test)
        Row indices, or boolean masks, of each fold.
    speakers : array-like of shape (n_samples,)
        The speaker of each row.
    unlabelled : array-like of bool of shape (n_samples,), default=None
        The rows that train without their labels, as the target of a domain
        adaptation does. They may train, and they or their speakers be tested. A
        labelled training row of a tested speaker is refused as ever.

    Returns
    -------
    splits : list of (train, test)
        The same splits as arrays of row indices. The list has an attribute
        `transductive`: whether a fold tests a row or a speaker that is among its
        unlabelled training rows. Figures of such folds are to be called so.

    Raises
    ------
    ValueError
        If a fold, counted from 1, shares a speaker or a row between its two parts, if
        a part is empty or points outside of `speakers`, if there is no fold, or if
        `unlabelled` is not a mask of the rows.

    Examples
    --------
    >>> from sklearn_ser.model_selection import check_speaker_leakage
    >>> check_speaker_leakage([([0, 1], [2])], speakers=["ann", "bob", "bob"])
    Traceback (most recent call last):
    ValueError: Fold 1: speakers ['bob'] are in both train and test. Split by speaker, \
for example with GroupKFold and groups=speakers.
    >>> splits = check_speaker_leakage(
    ...     [([0, 1], [2])], ["ann", "bob", "bob"], unlabelled=[False, True, True]
    ... )
    >>> splits.transductive
    True
    """
    speakers = check_labels(speakers, "speakers")
    if unlabelled is None:
        unlabelled = np.zeros(len(speakers), dtype=bool)
    unlabelled = np.asarray(unlabelled)
    if unlabelled.dtype != bool or unlabelled.shape != speakers.shape:
        raise ValueError(
            f"unlabelled must be None or {len(speakers)} booleans, one per row; got "
            f"shape {unlabelled.shape} of {unlabelled.dtype}."
        )
    checked, transductive = [], False
    for number, split in enumerate(splits, 1):
        try:
            train, test = split
        except (TypeError, ValueError):
            raise ValueError(f"Fold {number} is not a pair (train, test).") from None
        train = _check_rows(train, len(speakers), f"Fold {number}: train")
        test = _check_rows(test, len(speakers), f"Fold {number}: test")
        labelled, seen = train[~unlabelled[train]], train[unlabelled[train]]
        for what, shared in (
            ("rows", np.intersect1d(labelled, test)),
            ("speakers", np.intersect1d(speakers[labelled], speakers[test])),
        ):
            if len(shared):
                raise ValueError(
                    f"Fold {number}: {what} {shared.tolist()} are in both train and "
                    "test. Split by speaker, for example with GroupKFold and "
                    "groups=speakers."
                )
        # A row that is in both parts shares its speaker, too.
        transductive |= bool(np.isin(speakers[test], speakers[seen]).any())
        checked.append((train, test))
    if not checked:
        raise ValueError("splits holds no fold.")
    return CheckedSplits(checked, transductive)


def check_duplicate_leakage(splits, recordings, *, unlabelled=None):
    """Refuse splits in which the same recording both trains and tests.

    Another name, or another speaker's, does not make it another recording: corpora
    hold copies, and joined corpora hold each other's.

    Parameters
    ----------
    splits : iterable of (train, test)
        Row indices of each fold.
    recordings : list or array of length n_samples
        Paths, waveforms or mappings, or arrays made of them.
    unlabelled : array-like of bool of shape (n_samples,), default=None
        The rows that train without their labels; copies of these may be tested.

    Raises
    ------
    ValueError
        If a fold, counted from 1, trains and tests the same audio.

    See Also
    --------
    sklearn_ser.datasets.find_duplicates : Finds them in a corpus.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser.model_selection import check_duplicate_leakage
    >>> x, y = np.random.default_rng(0).normal(size=(2, 800))
    >>> check_duplicate_leakage([([0, 1], [2])], [x, y, x])
    Traceback (most recent call last):
    ValueError: Fold 1: rows 0 (train) and 2 (test) hold the same audio. Leave one out.
    """
    recordings = list(recordings)
    checked = [
        tuple(
            _check_rows(rows, len(recordings), f"Fold {number}: {part}")
            for rows, part in zip(split, ("train", "test"), strict=True)
        )
        for number, split in enumerate(splits, 1)
    ]
    refuse_duplicates(checked, recordings, find_duplicates(recordings), unlabelled)


def duplicates_in(X, estimator):
    """Return the rows of each recording that `X` holds more than once.

    Vectors of one length may be waveforms or features: whether a step of the estimator
    takes recordings decides.
    """
    parts = [estimator, *estimator.get_params().values()]
    parts = [part for part in parts if not isinstance(part, type)]
    tags = [get_tags(part) for part in parts if hasattr(part, "__sklearn_tags__")]
    takes_recordings = any(
        tag.input_tags.string and tag.input_tags.dict for tag in tags
    )
    return duplicates_if_audio(X, vectors_are_waveforms=takes_recordings)


def refuse_duplicates(splits, recordings, duplicates, unlabelled=None):
    """Refuse splits that train and test the same of the duplicates."""
    if not duplicates:
        return
    recordings = list(recordings)
    # The number of each row's recording, among those that are there more than once.
    number_of = np.full(len(recordings), -1)
    for number, rows in enumerate(duplicates):
        number_of[rows] = number
    for fold, (train, test) in enumerate(splits, 1):
        if unlabelled is not None:
            train = train[~np.asarray(unlabelled)[train]]
        shared = np.intersect1d(number_of[train], number_of[test])
        for number in shared[shared >= 0][:1]:
            seen = train[number_of[train] == number][0]
            tested = test[number_of[test] == number][0]
            names = [
                f"{row} ({part}{_name(recordings[row])})"
                for row, part in ((seen, "train"), (tested, "test"))
            ]
            raise ValueError(
                f"Fold {fold}: rows {' and '.join(names)} hold the same audio. Leave "
                "one out."
            )


def _name(recording):
    return f", {str(recording)!r}" if isinstance(recording, str | os.PathLike) else ""


class LeaveOneCorpusOut(LeaveOneGroupOut):
    """Split so that each corpus is tested by a model of all the others.

    For estimators that do not adapt to the tested corpus; see
    :func:`cross_corpus_validate` for those that do, which a splitter cannot serve.

    See Also
    --------
    cross_corpus_validate : Also adapts, pairs corpora and leaves out other classes.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.model_selection import cross_validate
    >>> from sklearn_ser.model_selection import LeaveOneCorpusOut
    >>> corpora = np.repeat(["casia", "emodb", "emovo"], 4)
    >>> X, y = np.zeros((12, 1)), np.tile(["angry", "sad"], 6)
    >>> scores = cross_validate(
    ...     DummyClassifier(), X, y, groups=corpora, cv=LeaveOneCorpusOut()
    ... )
    >>> scores["test_score"]
    array([0.5, 0.5, 0.5])
    """

    def split(self, X, y=None, groups=None):
        """Generate the row indices of each fold.

        Parameters
        ----------
        X : list or array-like of length n_samples
            Recordings, sequences or features.
        y : array-like of shape (n_samples,), default=None
            Not used.
        groups : array-like of shape (n_samples,)
            The corpus of each row.

        Returns
        -------
        splits : iterator of (train, test)
            In the order of the corpora's names.
        """
        return super().split(X, y, check_corpora(groups, "groups"))

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of corpora.

        Parameters
        ----------
        X, y : object, default=None
            Not used.
        groups : array-like of shape (n_samples,)
            The corpus of each row.

        Returns
        -------
        n_splits : int
            How many folds there are.
        """
        return super().get_n_splits(X, y, check_corpora(groups, "groups"))


def run_jobs(jobs, total, unit, n_jobs, verbose):
    """Run jobs that return (number, *outputs); the outputs by kind, in their order."""
    done = {}
    bar = tqdm(total=total, desc=f"{unit}s", unit=unit, disable=not verbose)
    with bar:
        parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
        for number, *output in parallel(jobs):
            done[number] = output
            bar.update()
    return zip(*(done[number] for number in sorted(done)), strict=True)


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


def check_lengths(columns):
    """Refuse columns, by name, of unequal lengths."""
    lengths = {name: num_samples(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise ValueError(f"One entry per recording is expected, but {found}.")


def check_bootstrap(n_bootstrap, confidence_level):
    """Refuse bad settings of a bootstrap."""
    check_scalar(n_bootstrap, "n_bootstrap", numbers.Integral, min_val=0)
    if not 0 < confidence_level < 1:
        raise ValueError(
            f"confidence_level must lie between 0 and 1, got {confidence_level!r}."
        )


def check_predictions(estimator, predicted, n_rows, classes):
    """Refuse predictions that are not one of the classes for each row."""
    if predicted.shape != (n_rows,) or not np.isin(predicted, classes).all():
        raise ValueError(
            f"{type(estimator).__name__}.predict must give one label of y for each of "
            f"{n_rows} rows, among {classes.tolist()}; got shape {predicted.shape} "
            f"with {shorten(np.unique(predicted))}."
        )


def check_labels(values, name):
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


def check_corpora(corpora, name):
    """The corpus of each row, two or more."""
    if corpora is None:
        raise ValueError(f"{name} must be given: the corpus of each row.")
    corpora = check_labels(corpora, name)
    if len(found := np.unique(corpora)) < 2:
        raise ValueError(
            f"{name} holds one corpus only, {found.tolist()}: an evaluation across "
            "corpora needs two or more."
        )
    return corpora


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
