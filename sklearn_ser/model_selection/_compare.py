"""Several methods on the same folds, over seeds: the table of a paper."""

from __future__ import annotations

import json
import numbers
import unicodedata
from collections.abc import Iterator, Sequence
from copy import copy
from functools import partial
from itertools import islice
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from .._sklearn import BaseSearchCV
from ..pipeline import has_normalizer
from ._by_corpus import cross_corpus_validate
from ._by_speaker import speaker_cross_validate
from ._comparison import Comparison, rows_of_methods
from ._resume import Jobs, describe, finish, run_jobs, sharing
from ._splits import adapts, noting


def compare(
    estimators: dict[str, Any],
    X: Any,
    y: ArrayLike,
    speakers: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    cv: Any = None,
    texts: ArrayLike | None = None,
    control: bool = False,
    corpora: ArrayLike | None = None,
    transfers: str | Sequence = "leave_one_out",
    seeds: int | Sequence[int] = 1,
    enrollment: int | str | None = None,
    enrollment_label: Any = None,
    target: str | None = "test speakers",
    reference: str | Sequence[str] | None = None,
    n_jobs: int | None = None,
    n_bootstrap: int = 2000,
    confidence_level: float = 0.95,
    random_state: int = 0,
    checkpoint_dir: str | PathLike | None = None,
    verbose: int = 0,
) -> Comparison:
    """Compare methods on speakers that are not in their training data.

    All methods get the same folds and seeds. The first steps of pipelines, if they need
    no fit, compute the features once for all methods, folds and seeds.

    Parameters
    ----------
    estimators : dict of str to estimator
        The methods: classifiers, pipelines or searches, by their names in the table.
    X : list or array-like of length n_samples
        Recordings, sequences or features.
    y : array-like of shape (n_samples,)
        The emotions.
    speakers : array-like of shape (n_samples,)
        The speaker of each row.
    groups : array-like of shape (n_samples,), default=None
        The groups that a split keeps together. None takes the speakers.
    cv : int, splitter or iterable of (train, test), default=None
        As for :func:`speaker_cross_validate`. None leaves one group out.
    texts : array-like of shape (n_samples,), default=None
        The sentence of each row, as for :func:`speaker_cross_validate`. Each method
        then has both figures, on unheard speakers, and on unheard speakers and
        sentences. The latter are compared. With `corpora`, these share a script, as
        for :func:`cross_corpus_validate`.
    control : bool, default=False
        With `texts`, a third figure, as for :func:`speaker_cross_validate`.
    corpora : array-like of shape (n_samples,), default=None
        The corpus of each row. If given, the methods are trained on some corpora and
        scored on another, as in :func:`cross_corpus_validate`, without `cv`, `groups`
        and `enrollment`.
    transfers : {"leave_one_out", "pairs"} or list of (source, target), \
            default="leave_one_out"
        The transfers between `corpora`.
    seeds : int or list of int, default=1
        The seeds, or their number. Each `random_state` of a method is set to each seed,
        and so is that of the folds of a search if it is not fixed. A method without one
        runs once.
    enrollment : int, "all" or None, default=None
        The recordings of each test speaker that methods with a
        :class:`~sklearn_ser.SpeakerNormalizer` enroll, as for
        :func:`speaker_cross_validate`.
    enrollment_label : label of `y`, default=None
        Enroll only recordings with this label, such as ``"neutral"``.
    target : {"test speakers"} or None, default="test speakers"
        What adaptation methods adapt to: the unlabelled test rows. With None they train
        on the source only, and the table says so.
    reference : str, list of str or None, default=None
        The method that others are compared with. Figures of different kinds are not
        compared: if there are several kinds, give one name for each kind. None takes
        the first method of each kind.
    n_jobs : int, default=None
        Number of fits that run at the same time, of all methods, folds and seeds.
    n_bootstrap : int, default=2000
        Number of bootstrap samples; 0 computes no intervals.
    confidence_level : float, default=0.95
        Coverage of the intervals.
    random_state : int, default=0
        Seed of the bootstrap and of the draws of an enrolment.
    checkpoint_dir : str or path-like, default=None
        A folder that keeps each finished fold. The same call reads the finished folds
        from it, with further methods or seeds, too.
    verbose : int, default=0
        A value above 0 shows a progress bar on stderr.

    Returns
    -------
    comparison : Comparison
        ``print(comparison)`` shows the table.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described. Nothing has been computed then.

    See Also
    --------
    speaker_cross_validate : One method, one seed.
    sklearn_ser.inspection.ComparisonDisplay : Draw the differences.

    Notes
    -----
    A figure is the mean over the seeds of the UAR of all test rows. Its deviation is
    over the seeds, and its interval is a bootstrap over the speakers. A difference has
    the interval of the same drawn speakers for both methods. The number of wins and
    Wilcoxon's signed-rank test take the UAR of each speaker, averaged over the seeds.
    The p-values of a block are corrected by Holm's method, and need five seeds.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_ser.model_selection import compare
    >>> y, speakers = np.tile(["angry", "sad"], 12), np.repeat(list("abcdef"), 4)
    >>> X = (y == "sad")[:, None] + np.random.default_rng(0).normal(size=(24, 1))
    >>> methods = {"guess": DummyClassifier(strategy="prior"), "bayes": GaussianNB()}
    >>> comparison = compare(methods, X, y, speakers)
    >>> comparison.rows[1].wins, comparison.rows[1].n_speakers
    (6, 6)
    """
    asked = {"enrollment": enrollment, "enrollment_label": enrollment_label}
    methods = _check_methods(estimators, seeds, asked, target)
    references = _check_reference(reference, {n: m.kind for n, m in methods.items()})
    if isinstance(random_state, bool) or not isinstance(random_state, numbers.Integral):
        raise TypeError(f"random_state must be an integer, got {random_state!r}.")
    common = {"n_bootstrap": n_bootstrap, "confidence_level": confidence_level}
    common |= {"random_state": random_state, "checkpoint_dir": checkpoint_dir}
    common |= {"texts": texts, "control": control}
    if corpora is None:
        common |= {"groups": groups, "cv": _fixed(cv, random_state), "target": target}
        steps = speaker_cross_validate.steps
    else:
        for name, value in {"groups": groups, "cv": cv, **asked}.items():
            if value is not None:
                raise ValueError(f"{name} cannot be combined with corpora.")
        mode = "source-only" if target is None else "transductive"
        common |= {"corpora": corpora, "transfers": transfers, "mode": mode}
        steps = cross_corpus_validate.steps
    evaluate = partial(steps, X=X, y=y, speakers=speakers, **common)
    with sharing():
        results = _run(methods, X, evaluate, n_jobs, verbose)
    bootstrap = n_bootstrap, confidence_level, random_state
    rows = rows_of_methods(methods, results, references, bootstrap)
    return Comparison(tuple(rows), results, confidence_level)


def _fixed(cv, random_state):
    """Return a splitter, or folds, that are the same for all methods."""
    if _draws_anew(cv):
        cv = copy(cv)
        cv.random_state = random_state
    return list(cv) if isinstance(cv, Iterator) else cv


class Method(NamedTuple):
    """How an estimator is evaluated."""

    estimator: Any
    kind: str
    note: str
    seeds: list
    options: dict

    def seeded(self, seed):
        """Return a clone that starts from a seed, if it is one."""
        seeded = clone(self.estimator)
        states = _random_states(self.estimator) if seed is not None else {}
        for name, value in states.items():
            states[name] = _fixed(value, seed) if _draws_anew(value) else seed
        return seeded.set_params(**states)


def _random_states(estimator):
    """Return the parameters that a seed sets: of a search, its random folds, too."""
    return {
        name: value
        for name, value in estimator.get_params().items()
        if name.rsplit("__")[-1] == "random_state" or _draws_anew(value)
    }


def _draws_anew(cv):
    """Tell whether a value is a splitter whose folds differ from call to call."""
    is_random = hasattr(cv, "split") and getattr(cv, "shuffle", True)
    return is_random and not isinstance(
        getattr(cv, "random_state", 0), numbers.Integral
    )


def _check_methods(estimators, seeds, asked, target):
    """Return the methods by their names."""
    methods, seeds = {}, _check_seeds(seeds)
    enrollment, label = asked.values()
    if enrollment is None and label is not None:
        raise ValueError(
            f"enrollment_label={label!r} needs a number as enrollment, got None."
        )
    for name, estimator in _check_names(estimators):
        for needed in ("get_params", "fit", "predict"):
            if isinstance(estimator, type) or not _has(estimator, needed):
                raise TypeError(
                    "estimators must hold instances of classifiers, but "
                    f"{name!r} is {estimator!r}, which has no {needed}."
                )
        kind, note, options, adapting = "inductive", "", {}, adapts(estimator)
        if adapting and target is not None:
            kind = "transductive"
        elif enrollment is not None and has_normalizer(estimator):
            options = asked
            kind = "transductive" if enrollment == "all" else "enrolled"
        if adapting and target is None:
            note = "source-only"
        own = seeds if _random_states(estimator) else [None]
        methods[name] = Method(estimator, kind, note, own, options)
    if enrollment is not None and not any(m.options for m in methods.values()):
        raise ValueError(
            f"enrollment={enrollment!r} needs a method with a SpeakerNormalizer that "
            "does not adapt otherwise."
        )
    return methods


def _has(estimator, name):
    """Tell whether an estimator has a method, which a default may bring with the fit.

    So it is with the final estimator of a StackingClassifier.
    """
    if hasattr(estimator, name) or name != "predict":
        return hasattr(estimator, name)
    known = hasattr(estimator, "__sklearn_tags__") and is_classifier(estimator)
    return known and getattr(estimator, "refit", True)


def _check_names(estimators):
    """Return the methods and their names, which differ for a reader, too."""
    pairs = estimators.items() if hasattr(estimators, "items") else estimators
    try:
        pairs = [(name, estimator) for name, estimator in pairs]
    except (TypeError, ValueError):
        pairs = []
    if not pairs:
        raise TypeError(
            "estimators must be a dict of one or more names and estimators, got "
            f"{estimators!r}."
        )
    known = {}
    for name, _ in pairs:
        if not isinstance(name, str) or not name.strip():
            raise TypeError(f"estimators must have names of text, got {name!r}.")
        plain_name = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        if plain_name in known:
            raise ValueError(
                f"estimators has equal names, {known[plain_name]!r} and {name!r}: the "
                "rows of the table could not be told apart."
            )
        known[plain_name] = name
    return pairs


def _check_seeds(seeds):
    """Return the seeds as integers."""
    is_number = isinstance(seeds, numbers.Integral) and not isinstance(seeds, bool)
    many = list(range(seeds)) if is_number else seeds
    is_list = not isinstance(many, str | bytes) and np.iterable(many)
    many = list(many) if is_list else [None]
    if not many or not all(
        isinstance(seed, numbers.Integral)
        and not isinstance(seed, bool)
        and 0 <= seed < 2**32
        for seed in many
    ):
        raise ValueError(
            "seeds must be a number of seeds, at least 1, or a list of integers from 0 "
            f"to 2**32 - 1, got {seeds!r}."
        )
    if len(set(many)) < len(many):
        raise ValueError(f"seeds holds a seed twice: {seeds!r}.")
    return [int(seed) for seed in many]


def _check_reference(reference, kinds):
    """Return the name of the reference of each kind."""
    if reference is None:
        return {kind: name for name, kind in reversed(kinds.items())}
    is_list = not isinstance(reference, str) and np.iterable(reference)
    named = list(reference) if is_list else [reference]
    for name in named:
        if name not in [*kinds]:
            raise ValueError(
                f"reference {name!r} is not among the estimators {list(kinds)}."
            )
    found = {kinds[name]: name for name in named}
    if found.keys() != set(kinds.values()) or len(found) < len(named):
        listed = ", ".join(f"{name!r} is {kind}" for name, kind in kinds.items())
        raise ValueError(
            f"reference={reference!r} does not name one method of each kind, and "
            f"figures of different kinds are not compared: {listed}. Give one name for "
            "each kind, or None for the first of each."
        )
    return found


def _run(methods, X, evaluate, n_jobs, verbose):
    """Return the result of each method and seed; their folds are jobs of one run."""
    cells = []
    for name, method in methods.items():
        with noting(f"In method {name!r}."):
            for seed in method.seeds:
                evaluation = evaluate(method.seeded(seed), **method.options)
                cells.append((name, seed, evaluation, next(evaluation)))
    pending = [name for name, *_, own in cells if len(own.done) < own.total]
    features = _features(methods, dict.fromkeys(pending), X, n_jobs)

    def jobs_of_all():
        for cell, (name, seed, _, own) in enumerate(cells):
            where = f"In method {name!r}, seed {seed}."
            for number, estimator, columns, *rest in own.jobs:
                front, rows = features[name]
                estimator.set_params(**dict.fromkeys(front, "passthrough"))
                columns = columns | {"X": rows}
                yield own.run, (cell, number), where, estimator, columns, *rest

    def keep(key, *output):
        cell, number = key
        if (keep_own := cells[cell][-1].keep) is not None:
            keep_own(number, *output)

    done = {
        (cell, number): output
        for cell, (*_, own) in enumerate(cells)
        for number, output in own.done.items()
    }
    total, unit = sum(own.total for *_, own in cells), cells[0][-1].unit
    asked = Jobs(_run_cell, jobs_of_all(), total, unit, done, keep)
    outputs, results = zip(*run_jobs(asked, n_jobs, verbose), strict=True), {}
    for name, seed, evaluation, own in cells:
        found = zip(*islice(outputs, own.total), strict=True)
        results.setdefault(name, {})[seed] = finish(evaluation, found)
    return results


def _run_cell(run, key, where, estimator, columns, *rest):
    """Run a fold of a method and seed; the fitted model is not kept."""
    with noting(where):
        _, *output, _ = run(key[1], estimator, columns, *rest)
    return key, *output, None


def _front(estimator):
    """Return the names of the first steps that compute features without a fit."""
    prefix, tuned = "", ()
    if isinstance(estimator, BaseSearchCV):
        grids = vars(estimator).get(
            "param_grid", vars(estimator).get("param_distributions")
        )
        grids = [grids] if hasattr(grids, "keys") else grids
        tuned = {name for grid in grids or () for name in grid}
        estimator, prefix = estimator.estimator, "estimator__"
    if type(estimator) is not Pipeline:
        return ()
    names = []
    for name, step in estimator.steps[:-1]:
        chosen = any(key == name or key.startswith(f"{name}__") for key in tuned)
        if chosen or not _needs_no_fit(step):
            break
        names.append(prefix + name)
    return tuple(names)


def _needs_no_fit(step):
    """Tell whether a step makes the same features of a recording in every fold."""
    if not hasattr(step, "transform") or not hasattr(step, "__sklearn_tags__"):
        return step in (None, "passthrough")
    return not get_tags(step).requires_fit and not _random_states(step)


def _features(methods, names, X, n_jobs):
    """Return the steps in front and the features; equal steps compute them once."""
    known, features = {}, {}
    for name in names:
        front = _front(methods[name].estimator)
        params, rows, key = methods[name].estimator.get_params(), X, ""
        for step in (params[step] for step in front):
            if not hasattr(step, "transform"):
                continue
            key += json.dumps(describe(step))
            if key not in known:
                step = clone(step)
                if step.get_params().get("n_jobs", 0) is None:
                    step.set_params(n_jobs=n_jobs)
                with noting(f"In the features of method {name!r}."):
                    known[key] = step.fit(rows).transform(rows)
            rows = known[key]
        features[name] = front, rows
    return features
