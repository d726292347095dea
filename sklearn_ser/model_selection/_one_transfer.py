"""One transfer of an evaluation across corpora: its rows, a fit, its predictions."""

import functools
import time

import numpy as np
from sklearn import config_context

from .._sklearn import safe_indexing
from ..pipeline import predict_once, requested
from ._checks import check_predictions
from ._table import spread_columns
from ._transfers import join


def run_transfer(number, estimator, X, y, corpora, keys, plan):
    """Fit on the source and the unlabelled target, and predict the test rows."""
    source, target, classes, train, adapt, test = plan
    rows = np.concatenate([train, adapt])
    labels, domain = y[train], np.searchsorted(source, corpora[train]) + 1
    if len(adapt):
        labels = np.concatenate([labels, np.full(len(adapt), mark(y))])
        domain = np.concatenate([domain, np.full(len(adapt), -1)])
    try:
        with config_context(enable_metadata_routing=True):
            start = time.perf_counter()
            metadata = {"speakers": keys[rows], "sample_domain": domain}
            params = requested(estimator, "fit", metadata, {"groups": keys[rows]})
            estimator.fit(safe_indexing(X, rows), labels, **params)
            fitted = time.perf_counter()
            predicted, proba = predict_once(
                estimator,
                safe_indexing(X, test),
                ("predict", "predict_proba"),
                metadata={"speakers": keys[test]},
                if_requested={
                    "groups": keys[test],
                    "sample_domain": np.full(len(test), -1),
                },
            )
            scored = time.perf_counter()
        check_predictions(estimator, predicted, len(test), classes)
    except Exception as error:
        error.add_note(f"In transfer {join(source)} -> {target}.")
        raise
    # The mark may have changed the type of the labels, as from bool to int.
    predicted = classes[np.searchsorted(classes, predicted)]
    proba = spread_columns(proba, getattr(estimator, "classes_", classes), classes)
    return number, predicted, proba, (fitted - start, scored - fitted), estimator


def plan_of(source, target, y, corpora, keys, mode, seed):
    """Return the classes of a transfer, and its train, adapt and test rows."""
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
        return classes, train, test, test
    people = np.unique(keys[test])
    if len(people) < 2:
        raise ValueError(
            f'{name}: mode="inductive" needs two or more target speakers, found '
            f"{people.tolist()} with the classes {classes.tolist()}."
        )
    half = np.random.default_rng(seed).permutation(people)[: len(people) // 2]
    adapting = np.isin(keys[test], half)
    return classes, train, test[adapting], test[~adapting]


def mark(y):
    """Return the label of unlabelled rows: of the type of y, but no class of it."""
    return "" if y.dtype.kind == "U" else -1
