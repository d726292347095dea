"""The rows of an evaluation: checked, and split into folds and transfers."""

import functools
import numbers
import os
import warnings
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from sklearn import config_context
from sklearn.model_selection import (
    GroupKFold,
    LeaveOneGroupOut,
    check_cv,
)
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets

from .._sklearn import num_samples
from .._validation import check_column, naming, refuse_emotions_as_speakers, shown
from ..datasets.protocols import Protocol
from ..metrics._bootstrap import check_bootstrap
from ..pipeline import consumes, flat_steps
from ._leakage import check_speaker_leakage
from ._results import join


class Plan(NamedTuple):
    """A fold: training and test rows, its validation mask or None, and its draws."""

    split: tuple
    validation: np.ndarray | None
    draws: list


class TransferPlan(NamedTuple):
    """A transfer: its corpora, the classes that they share, and its rows."""

    source: tuple
    target: str
    classes: np.ndarray
    train: np.ndarray
    adapt: np.ndarray
    test: np.ndarray


def check_evaluation(estimator, columns, optional, bootstrap, kept):
    """Refuse bad arguments of an evaluation.

    `columns` has a column for each name, and `optional` a column or None. `bootstrap`
    starts with its number of samples and its level. `kept` is a folder for finished
    parts, and whether the result keeps the models.
    """
    if isinstance(estimator, type) or not hasattr(estimator, "get_params"):
        raise TypeError(
            f"estimator must be an instance of a scikit-learn estimator, got "
            f"{estimator!r}."
        )
    tags = get_tags(estimator) if hasattr(estimator, "__sklearn_tags__") else None
    if tags is not None and tags.estimator_type not in (None, "classifier"):
        raise TypeError(
            f"estimator must be a classifier, but {type(estimator).__name__} is a "
            f"{tags.estimator_type}."
        )
    check_lengths(columns, optional)
    check_bootstrap(*bootstrap[:2])
    check_classification_targets(columns["y"])
    labels = np.asarray(columns["y"]).tolist()
    if len(labels) and all(label == labels[0] for label in labels):
        raise ValueError(
            f"y has one class only ({shown(labels[0])}), expected at least two."
        )
    refuse_emotions_as_speakers(columns["speakers"], "speakers")
    folder, return_estimator = kept
    if folder is not None and not os.fspath(folder):
        raise ValueError("checkpoint_dir is empty, expected a folder or None.")
    if folder is not None and return_estimator:
        raise ValueError(
            "return_estimator=True and checkpoint_dir cannot be combined, "
            "because a checkpoint keeps no models. Pass only one of them."
        )


def check_lengths(columns, optional):
    """Refuse columns of different lengths; an optional one may be None."""
    lengths = {}
    for name, column in (columns | optional).items():
        if name in columns or column is not None:
            with naming(name):
                lengths[name] = num_samples(column)
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise ValueError(f"Each column needs one entry per recording, but {found}.")


@contextmanager
def noting(where):
    """Add a note to an error that says where it was raised."""
    try:
        yield
    except Exception as error:
        error.add_note(where)
        raise


def check_corpora(corpora):
    """Return the corpus of each row, and refuse fewer than two corpora."""
    if corpora is None:
        raise ValueError("corpora must hold the corpus of each row, got None.")
    corpora = check_column(corpora, "corpora")
    if len(found := np.unique(corpora)) < 2:
        raise ValueError(
            f"corpora holds one corpus only, {found.tolist()}: an evaluation "
            "across corpora needs at least two."
        )
    return corpora


def split_by_speaker(cv, columns, default_groups):
    """Return a splitter, and splits that share no speaker."""
    if cv is None:
        cv = LeaveOneGroupOut()
    elif isinstance(cv, numbers.Integral):
        with naming("cv"):
            cv = GroupKFold(cv)
    X, y, speakers, groups = columns.values()
    with warnings.catch_warnings():
        if default_groups:  # PredefinedSplit ignores groups, which nobody passed
            warnings.filterwarnings("ignore", "The groups parameter is ignored")
        with naming("cv"):
            splits = list(check_cv(cv).split(X, y, groups))
    return cv, check_speaker_leakage(splits, speakers)


def validation_masks(cv, splits):
    """Return each fold's mask of validation rows among its training rows, or None."""
    rows = cv.validation if isinstance(cv, Protocol) else None
    if rows is None:
        return [None] * len(splits)
    trains = [train for train, _ in splits]
    return [mask_or_none(np.isin(*pair)) for pair in zip(trains, rows, strict=True)]


def mask_or_none(mask):
    """Return a mask, or None if it takes nothing."""
    return mask if mask.any() else None


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
                f"{what} must name corpora in {names}, got {shown(unknown or source)}."
            )
        if target in source or len(set(source)) < len(source):
            raise ValueError(f"{what} names a corpus twice: {source} -> {target}.")
        checked.append((tuple(sorted(source)), target))
    if len(set(checked)) < len(checked) or not checked:
        raise ValueError(
            f"transfers must hold one or more different transfers, got {transfers}."
        )
    return checked


def plan_transfer(source, target, columns, mode, seed):
    """Return the plan of a transfer from the source corpora to the target."""
    y, corpora, keys = (columns[name] for name in ("y", "corpora", "speakers"))
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
    if mode != "inductive":
        return TransferPlan(source, target, classes, train, test, test)
    people = np.unique(keys[test])
    if len(people) < 2:
        raise ValueError(
            f'{name}: mode="inductive" needs two or more target speakers, found '
            f"{people.tolist()} with the classes {classes.tolist()}."
        )
    half = np.random.default_rng(seed).permutation(people)[: len(people) // 2]
    adapting = np.isin(keys[test], half)
    rows = train, test[adapting], test[~adapting]
    return TransferPlan(source, target, classes, *rows)


def adapts(estimator):
    """Tell whether a fit takes unlabelled rows of a target."""
    if isinstance(flat_steps(estimator)[-1], SelfTrainingClassifier):
        return True
    with config_context(enable_metadata_routing=True):
        return consumes(estimator, "fit", "sample_domain")


def check_target(target, estimator, y, enrollment=None):
    """Return the target that a fit adapts to, or None; refuse what cannot be."""
    if target not in (None, "test speakers"):
        raise ValueError(f'target must be None or "test speakers", got {target!r}.')
    if target is None or not adapts(estimator):
        return None
    if enrollment is not None:
        raise ValueError(
            f"enrollment={enrollment!r} and target={target!r} cannot be combined for "
            f"{type(estimator).__name__}, which adapts. Pass only one of them."
        )
    if (y == (mark := _unlabelled_mark(y))).any():
        raise ValueError(
            f"y contains {mark!r}, but this label marks the unlabelled rows in the fit "
            "of an estimator that adapts. Give the class another label."
        )
    return target


def with_marks(estimator, labels, n_target):
    """Return the labels of the source, and then marks of unlabelled target rows."""
    mark = _unlabelled_mark(labels)
    if isinstance(flat_steps(estimator)[-1], SelfTrainingClassifier):
        mark = -1  # it takes no other, and text as objects only
        labels = labels.astype(object) if labels.dtype.kind == "U" else labels
    if not n_target:
        return labels
    return np.concatenate([labels, np.full(n_target, mark)])


def _unlabelled_mark(y):
    """Return the label of unlabelled rows: of the type of y, but no class of it."""
    return "" if y.dtype.kind == "U" else -1
