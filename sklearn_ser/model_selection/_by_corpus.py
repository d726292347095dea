"""Evaluation across corpora: train on some corpora, score on another."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils import check_scalar

from .._csv import joined_name
from .._validation import check_column
from ..metrics._bootstrap import as_generator, mean_interval, uar_and_wa
from ._enrollment import Task, run_task
from ._evaluations import CrossCorpusResult, Transfer
from ._leakage import (
    check_speaker_leakage,
    doubts_about_names,
    duplicates_in,
    refuse_duplicates,
)
from ._results import join, slices, with_sentences
from ._resume import describe, jobs_of_parts, returns, text_of
from ._sentences import check_texts, plan_transfer_texts
from ._splits import (
    check_corpora,
    check_evaluation,
    check_target,
    check_transfers,
    plan_transfer,
)


@returns(CrossCorpusResult)
def cross_corpus_validate(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    corpora: ArrayLike,
    speakers: ArrayLike,
    *,
    texts: ArrayLike | None = None,
    control: bool = False,
    transfers: str | Sequence = "pairs",
    mode: str = "transductive",
    recordings: Any = None,
    front_end: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
    n_bootstrap: int = 2000,
    confidence_level: float = 0.95,
    random_state: Any = 0,
    return_estimator: bool = False,
    checkpoint_dir: str | PathLike | None = None,
):
    """Train on one or several corpora, and score on another.

    An estimator whose `fit` requests `sample_domain` adapts to the target. Its fit gets
    the labelled source rows and the unlabelled target rows, with `sample_domain` 1, 2,
    ... for the source corpora and -1 for the target. A
    :class:`~sklearn.semi_supervised.SelfTrainingClassifier` gets the same rows. Any
    other estimator gets the source rows only. No fit gets a true label of the target.
    Target rows have the label -1, or an empty string if labels are strings.

    Parameters
    ----------
    estimator : estimator
        A classifier, a pipeline or a search. Each transfer fits a clone of it.
    X : list or array-like of length n_samples
        Recordings, sequences or features, as `estimator` takes them.
    y : array-like of shape (n_samples,)
        The emotions. A transfer uses the classes that its target and all its sources
        share, and leaves out the rows of other classes.
    corpora : array-like of shape (n_samples,)
        The corpus of each row. There are at least two corpora.
    speakers : array-like of shape (n_samples,)
        The speaker of each row. The same name in two corpora means two persons. An
        estimator that requests `speakers` gets strings ``"corpus/speaker"``.
    texts : array-like of shape (n_samples,), default=None
        The sentence of each row, as for :func:`speaker_cross_validate`, of corpora that
        share a script. The result then also has the figure on unheard sentences: up to
        five more fits of each transfer train without the sentences that they score. In
        the transductive mode, the fit still gets the scored rows without their labels.
    control : bool, default=False
        With `texts`, a third figure, as for :func:`speaker_cross_validate`.
    transfers : {"pairs", "leave_one_out"} or list of (source, target), \
            default="pairs"
        "pairs" takes all ordered pairs of corpora. "leave_one_out" trains on all other
        corpora for each target. In a list, a source is the name of a corpus or a list
        of names.
    mode : {"transductive", "inductive", "source-only"}, default="transductive"
        Transductive: all target rows train without labels, and all are scored.
        Inductive: half of the target's speakers train without labels, and the other
        half is scored. Source-only: no target row trains, and all are scored.
    recordings, front_end : list of length n_samples and estimator, default=None
        What `X` was computed from and by, as in :func:`speaker_cross_validate`.
    n_jobs, verbose, n_bootstrap, confidence_level : int and float
        As for :func:`speaker_cross_validate`, with transfers in the place of folds.
    random_state : int, Generator, RandomState or None, default=0
        Seed of the bootstrap and of the halves in the inductive mode. None takes a
        random seed. The function neither reads nor changes global generators.
    return_estimator, checkpoint_dir : bool, and str or path-like
        As for :func:`speaker_cross_validate`, with transfers in the place of folds.

    Returns
    -------
    result : CrossCorpusResult
        ``print(result)`` shows a table that names what the training saw of the target.

    Raises
    ------
    ValueError
        If lengths differ, labels are missing, there is only one corpus, or `transfers`
        names an unknown corpus. If the corpora of a transfer share fewer than two
        classes, or the inductive mode finds only one target speaker. If a labelled
        source row and a tested row hold the same audio. If `y` contains the label of
        unlabelled rows, or the estimator predicts a label that is not a class. If no
        transfer has a sentence of `texts` in both its training and its test data. If
        all speakers have names of emotions, as those of swapped columns.

    See Also
    --------
    speaker_cross_validate : The same within a corpus, by speaker.
    sklearn.model_selection.LeaveOneGroupOut : A splitter, with the corpora as groups,
        for estimators that do not adapt.

    Notes
    -----
    The interval is a bootstrap (BCa) over the speakers of the target. The fitted models
    stay the same, and transfers to the same target share the draws in the interval of
    the mean. With fewer than ten speakers the interval is too narrow.

    Estimators of skada adapt, too. They need integer labels >= 0.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_ser.model_selection import cross_corpus_validate
    >>> y = np.tile(["angry", "sad"], 8)
    >>> X = (y == "sad")[:, None]
    >>> corpora = np.repeat(["emodb", "emovo"], 8)
    >>> speakers = np.tile(np.repeat(["ann", "bob"], 4), 2)
    >>> cross_corpus_validate(LogisticRegression(), X, y, corpora, speakers)
    UAR 100.0 % [100.0, 100.0], chance 50.0 %: it beats guessing.
    source-only: no target utterance was seen in training
    UAR % [95% interval]
    from   to emodb              to emovo
    emodb      -                 100.0 [100.0, 100.0]
    emovo  100.0 [100.0, 100.0]      -
    mean of 2: 100.0 [100.0, 100.0]
    """
    y, speakers = check_column(y, "y"), check_column(speakers, "speakers")
    corpora = check_corpora(corpora)
    columns = {"X": X, "y": y, "corpora": corpora, "speakers": speakers}
    bootstrap = n_bootstrap, confidence_level
    kept = checkpoint_dir, return_estimator
    optional = {"texts": texts, "recordings": recordings}
    check_evaluation(estimator, columns, optional, bootstrap, kept)
    if mode not in (modes := ("transductive", "inductive", "source-only")):
        raise ValueError(f"mode must be one of {modes}, got {mode!r}.")
    target = None if mode == "source-only" else "test speakers"
    adapted = check_target(target, estimator, y) is not None
    texts, caveats = check_texts(texts, control)
    if texts is not None:
        columns["texts"] = texts
    names = np.unique(corpora).tolist()
    keys = np.array([*map(joined_name, corpora.tolist(), speakers.tolist())])
    data = columns | {"speakers": keys, "groups": keys}
    # Before something is drawn, which changes a generator.
    described, seeded = describe(estimator, front_end), text_of(random_state)
    # All transfers to a target share a seed: they halve and draw its speakers alike.
    seed = _draw_seed(random_state)
    seeds = {name: [seed, number] for number, name in enumerate(names)}
    plans = [
        plan_transfer(sources, corpus, data, mode, seeds[corpus])
        for sources, corpus in check_transfers(transfers, names)
    ]
    if not adapted:
        plans = [plan._replace(adapt=plan.adapt[:0]) for plan in plans]
    protocol = _check_leakage(plans, keys, X, recordings, estimator)
    cells, alike = plan_transfer_texts(plans, data, control, as_generator(seed))
    caveats = [*doubts_about_names(y, keys, corpora), *caveats, *alike]

    parts = [*plans, *(plan for part in cells.values() for _, plan in part)]
    tasks = [_task(plan, corpora) for plan in parts]
    fit_params: dict[str, Any] = {}
    jobs = ((clone(estimator), data, fit_params, task) for task in tasks)
    checkpoint = checkpoint_dir, described, columns
    *outputs, _, estimators = yield jobs_of_parts(
        run_task, jobs, "transfer", parts, checkpoint
    )
    outputs = list(zip(*outputs, strict=True))
    common = {
        "mode": mode,
        "protocol": protocol if adapted else "source-only",
        "adapted": adapted,
        "confidence_level": confidence_level,
        "settings": described
        | {"random_state": seeded, "mode": mode}
        | {"transfers": str([(plan.source, plan.target) for plan in plans])},
        "caveats": tuple(caveats),
    }
    results, cells = {}, {"heard": list(enumerate(plans)), **cells}
    for name, own in slices(cells):
        found = _merged(plans, outputs, cells[name], outputs[own])
        scored = [
            _scored(plan, output, data, (*bootstrap, seeds[plan.target]))
            for plan, output in zip(plans, found, strict=True)
        ]
        results[name] = CrossCorpusResult(
            transfers=tuple(scored),
            uar=float(np.mean([transfer.uar for transfer in scored])),
            uar_interval=mean_interval(scored, *bootstrap, seed),
            **common,
            sentences=None if texts is None else name,
            estimators=estimators[own] if return_estimator else None,
        )
    return with_sentences(results, *bootstrap, seed)


def _merged(plans, outputs, cells, found):
    """Return the outputs of the transfers, in which some rows have those of cells.

    The seconds of a transfer are those of all its cells, if it has any.
    """
    merged = []
    for number, plan in enumerate(plans):
        predicted, proba, seconds = outputs[number]
        own = [
            (np.isin(plan.test, cell.test), *output)
            for (place, cell), output in zip(cells, found, strict=True)
            if place == number
        ]
        some_lack = any(each is None for each in (proba, *(p for _, _, p, _ in own)))
        predicted, proba = predicted.copy(), None if some_lack else proba.copy()
        for rows, labels, each, _ in own:
            predicted[rows] = labels
            if not some_lack:
                proba[rows] = each
        if own:
            seconds = tuple(np.sum([each for *_, each in own], axis=0).tolist())
        merged.append((predicted, proba, seconds))
    return merged


def _draw_seed(random_state):
    if isinstance(random_state, numbers.Integral):
        return int(
            check_scalar(random_state, "random_state", numbers.Integral, min_val=0)
        )
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    return int(np.random.default_rng(random_state).integers(2**31))


def _scored(plan, output, columns, bootstrap):
    """Return a transfer with its figures."""
    predicted, proba, seconds = output
    source, target, *_, test = plan
    y, corpora, speakers = columns["y"], columns["corpora"], columns["speakers"]
    unused = np.isin(corpora, [*source, target]) & ~np.isin(y, plan[2])
    names, counts = np.unique(y[unused], return_counts=True)
    transfer = Transfer(
        *plan,
        predicted,
        len(np.unique(speakers[test])),
        *uar_and_wa(y[test], predicted),
        (np.nan, np.nan),
        *seconds,
        y[test],
        speakers[test],
        proba,
        dict(zip(names.tolist(), counts.tolist(), strict=True)),
    )
    return transfer._replace(uar_interval=mean_interval([transfer], *bootstrap))


def _check_leakage(plans, keys, X, recordings, estimator):
    """Refuse leakage, and tell whether test speakers are in unlabelled training."""
    source = (X, estimator) if recordings is None else (recordings, None)
    duplicates, transductive = duplicates_in(*source), False
    for *_, train, adapt, test in plans:
        split = np.concatenate([train, adapt]), test
        unlabelled = np.isin(np.arange(len(keys)), adapt)
        checked = check_speaker_leakage([split], keys, unlabelled=unlabelled)
        refuse_duplicates([split], source[0], duplicates, unlabelled)
        transductive |= checked.transductive
    return "transductive" if transductive else "inductive"


def _task(plan, corpora):
    source, target, classes, train, adapt, test = plan
    where = f"In transfer {join(source)} -> {target}."
    domain = np.searchsorted(source, corpora[train]) + 1
    return Task(where, classes, train, adapt, test, domain)
