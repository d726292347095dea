"""The rows of folds and transfers."""

import functools
import numbers
import warnings

import numpy as np
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, check_cv

from .._validation import check_column
from ..datasets._splitter import Protocol
from ._leakage import check_speaker_leakage
from ._results import join


class LeaveOneCorpusOut(LeaveOneGroupOut):
    """Split so that each fold tests one corpus and trains on all others.

    Use it for estimators that do not adapt to the tested corpus. A splitter cannot
    serve an estimator that adapts: see :func:`cross_corpus_validate`.

    See Also
    --------
    cross_corpus_validate : Evaluation across corpora, with and without adaptation.

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
            The folds, in the order of the corpora's names.
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
            Number of folds.
        """
        return super().get_n_splits(X, y, check_corpora(groups, "groups"))


def check_corpora(corpora, name):
    """Return the corpus of each row, and refuse fewer than two corpora."""
    if corpora is None:
        raise ValueError(f"{name} must hold the corpus of each row, got None.")
    corpora = check_column(corpora, name)
    if len(found := np.unique(corpora)) < 2:
        raise ValueError(
            f"{name} holds one corpus only, {found.tolist()}: an evaluation "
            "across corpora needs at least two."
        )
    return corpora


def split_by_speaker(cv, columns, default_groups):
    """Return a splitter, and splits that share no speaker."""
    if cv is None:
        cv = LeaveOneGroupOut()
    elif isinstance(cv, numbers.Integral):
        cv = GroupKFold(cv)
    X, y, speakers, groups = columns.values()
    with warnings.catch_warnings():
        if default_groups:  # PredefinedSplit ignores groups, which nobody passed
            warnings.filterwarnings("ignore", "The groups parameter is ignored")
        splits = list(check_cv(cv).split(X, y, groups))
    return cv, check_speaker_leakage(splits, speakers)


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


def check_transfers(transfers, names):
    """Return pairs (tuple of sorted source corpora, target corpus)."""
    if isinstance(transfers, str) and transfers == "pairs":
        return [((a,), b) for a in names for b in names if a != b]
    if isinstance(transfers, str) and transfers == "leave_one_out":
        return [(tuple(a for a in names if a != b), b) for b in names]
    if isinstance(transfers, str) or not np.iterable(transfers):
        raise ValueError(
            'transfers must be "pairs", "leave_one_out" or a list of (source, target), '
            f"got {transfers!r}."
        )
    checked = []
    for number, pair in enumerate(transfers):
        what = f"transfers[{number}]"
        if isinstance(pair, str) or not np.iterable(pair) or len(pair) != 2:
            raise ValueError(f"{what} must be a pair (source, target), got {pair!r}.")
        source, target = pair
        many = isinstance(source, (list, tuple, np.ndarray))
        source = list(source) if many else [source]
        unknown = [name for name in (*source, target) if name not in names]
        if unknown or not source:
            raise ValueError(
                f"{what} must name corpora in {names}, got {unknown or source}."
            )
        if target in source or len(set(source)) < len(source):
            raise ValueError(f"{what} names a corpus twice: {source} -> {target}.")
        checked.append((tuple(sorted(source)), target))
    if len(set(checked)) < len(checked) or not checked:
        raise ValueError(
            f"transfers must hold one or more different transfers, got {transfers}."
        )
    return checked


def plan_of(source, target, columns, mode, seed):
    """Return a transfer: source, target, classes, and train, adapt and test rows."""
    _, y, corpora, keys = columns.values()
    name = f"Transfer {join(source)} -> {target}"
    members = {corpus: np.unique(y[corpora == corpus]) for corpus in (*source, target)}
    classes = functools.reduce(np.intersect1d, members.values())
    if len(classes) < 2:
        each = "; ".join(f"{corpus} has {c.tolist()}" for corpus, c in members.items())
        raise ValueError(
            f"{name} needs two or more classes that all its corpora share, found "
            f"{classes.tolist()}: {each}."
        )
    is_shared = np.isin(y, classes)
    train = np.flatnonzero(is_shared & np.isin(corpora, source))
    test = np.flatnonzero(is_shared & (corpora == target))
    if mode == "transductive":
        return source, target, classes, train, test, test
    people = np.unique(keys[test])
    if len(people) < 2:
        raise ValueError(
            f'{name}: mode="inductive" needs two or more target speakers, found '
            f"{people.tolist()} with the classes {classes.tolist()}."
        )
    half = np.random.default_rng(seed).permutation(people)[: len(people) // 2]
    adapting = np.isin(keys[test], half)
    return source, target, classes, train, test[adapting], test[~adapting]


def mark(y):
    """Return the label of unlabelled rows: of the type of y, but no class of it."""
    return "" if y.dtype.kind == "U" else -1
