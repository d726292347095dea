"""Evaluation on speakers that are not in the training data."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from .._validation import check_column
from ..datasets.protocols import Protocol
from ..metrics._bootstrap import accuracy, as_generator, mean_interval, uar_and_wa
from ._enrollment import (
    Task,
    check_enrollment,
    draw,
    kind_of,
    run_task,
)
from ._evaluations import Fold, SpeakerCVResult
from ._leakage import (
    doubts_about_names,
    duplicates_in,
    heard_sessions,
    lone_emotions,
    refuse_duplicates,
    refuse_enrolled_copies,
)
from ._results import Part, shorten, slices, with_sentences
from ._resume import describe, jobs_of_parts, name_of, returns, text_of
from ._sentences import plan_texts, split_texts
from ._splits import (
    Plan,
    check_evaluation,
    check_target,
    split_by_speaker,
    validation_masks,
)


@returns(SpeakerCVResult)
def speaker_cross_validate(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    speakers: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    texts: ArrayLike | None = None,
    control: bool = False,
    cv: Any = None,
    enrollment: int | str | None = None,
    enrollment_label: Any = None,
    n_draws: int = 3,
    target: str | None = None,
    fit_params: dict[str, Any] | None = None,
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
    texts : array-like of shape (n_samples,), default=None
        The sentence of each row, as a code or in words. The result then has two
        figures: on unheard speakers, and on unheard speakers and sentences. A row
        without a text, which is None, NaN or empty, is a sentence of its own. There are
        five folds of sentences for each fold of speakers, or as many as there are
        sentences, and each is one more fit.
    control : bool, default=False
        With `texts`, a third figure: the test sentences stay in training, and as many
        training rows of each emotion are taken away at random, of other sentences.
    cv : int, splitter or iterable of (train, test), default=None
        None leaves one group out. An int is the number of folds of a
        :class:`~sklearn.model_selection.GroupKFold`. For a
        :class:`~sklearn_ser.datasets.Protocol`, the result has its name and hash. If
        the protocol has validation rows, a `fit` that requests `validation` gets them
        as a boolean mask of the training rows. A classifier of this library keeps its
        best epoch on them. Any other estimator trains on them, too. A
        :class:`SpeakerTextKFold` sets the numbers of both kinds of folds for `texts`.
    enrollment : int, "all" or None, default=None
        Number of recordings of each test speaker to enroll after the fit, without their
        labels: see :func:`~sklearn_ser.enroll`. They are drawn at random and not
        scored. At most half of a speaker's recordings are enrolled, and on unheard
        sentences none of a scored sentence. ``"all"`` enrolls
        and scores all recordings, and the figure is transductive. None enrolls nothing,
        and the figure is inductive.
    enrollment_label : label of `y`, default=None
        Draw only recordings with this label, such as ``"neutral"``.
    n_draws : int, default=3
        Number of random draws of an enrolment. The pool holds the scored rows of all
        draws.
    target : {"test speakers"} or None, default=None
        "test speakers" adapts to them: a `fit` that requests `sample_domain`, or a
        :class:`~sklearn.semi_supervised.SelfTrainingClassifier`, also gets the test
        rows, without their labels. The figure is then transductive. Any other estimator
        trains on the training rows only, as all do with None.
    fit_params : dict, default=None
        More metadata for `fit`, such as ``{"sample_weight": w}``. Each value has length
        n_samples, and `fit` gets the training rows of it. Steps of a pipeline must
        request them. A `validation` here replaces the one of the protocol.
    recordings : list of length n_samples, default=None
        The recordings, if `X` has features that were computed before the call. The
        check for copies then compares the recordings.
    front_end : estimator, default=None
        The transformer that computed `X` before the call. The settings of the result
        describe it, too.
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
        A folder that keeps each finished fold. After an interruption or a crash, the
        same call reads the finished folds from the folder. The result is the same to
        the bit if `estimator` has a fixed `random_state`. A fold is found by the
        content of its data, the parameters that have an effect, the weights of a speech
        model and the versions of the packages, so evaluations may share a folder. The
        folder holds figures and predictions, but no model. So it cannot be combined
        with `return_estimator`.

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
        :class:`~sklearn_ser.SpeakerNormalizer` for an enrolment. If `texts` holds one
        sentence only, or leaves no training row of a tested emotion. If all speakers
        have names of emotions, as those of swapped columns.

    Warns
    -----
    UserWarning
        If nearly every speaker has one recording, or recordings of one emotion. The
        column may then name recordings or emotions instead of persons. If texts are
        missing.

    Notes
    -----
    The interval is a bootstrap (BCa) over speakers. The fitted models stay the same.
    With fewer than ten speakers the interval is too narrow.

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
    UAR 50.0 % [50.0, 50.0], chance 50.0 %: the data do not show that it beats guessing.
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
    optional = {"texts": texts, "recordings": recordings}
    kept = checkpoint_dir, return_estimator
    bootstrap = n_bootstrap, confidence_level, random_state
    check_evaluation(estimator, columns | fit_params, optional, bootstrap, kept)
    if len(np.unique(speakers)) < 2:
        raise ValueError(
            f"speakers holds one speaker only, {speakers[:1].tolist()}: an "
            "evaluation on unseen speakers needs at least two."
        )
    asked = enrollment, enrollment_label, n_draws
    check_enrollment(estimator, *asked, y)
    adapts_to = check_target(target, estimator, y, enrollment)
    # Before something is drawn, which changes a generator.
    described, seeded = describe(estimator, front_end), text_of(random_state)
    cv, columns, plans, caveats = _plan_folds(
        cv, columns, by_default, texts, control, asked, as_generator(random_state)
    )
    parts = [plan for part in plans.values() for plan in part]
    source = (X, estimator) if recordings is None else (recordings, None)
    copies = duplicates_in(*source)
    refuse_duplicates([plan.split for plan in plans["heard"]], source[0], copies)
    refuse_enrolled_copies(parts, source[0], copies)
    heard = heard_sessions([plan.split for plan in plans["heard"]], source[0])
    caveats = [*doubts_about_names(y, speakers), *caveats, *heard]

    tasks = [_task(n, plan, columns, adapts_to) for n, plan in enumerate(parts, 1)]
    jobs = ((clone(estimator), columns, fit_params, task) for task in tasks)
    described |= {"target": adapts_to} if adapts_to else {}
    checkpoint = checkpoint_dir, described, columns | fit_params
    try:
        *outputs, estimators = yield jobs_of_parts(
            run_task, jobs, "fold", parts, checkpoint
        )
    except KeyboardInterrupt as error:
        vars(error)["finished"] = {  # for whoever tells the user
            number: _scored(columns, parts[number - 1], predicted, *more)
            for number, (predicted, _, *more, _) in sorted(
                vars(error).get("finished", {}).items()
            )
        }
        raise
    kind = kind_of(enrollment, enrollment_label, plans["heard"], speakers)
    protocol = repr(cv) if isinstance(cv, Protocol) else None
    common = {
        "confidence_level": confidence_level,
        "caveats": tuple(caveats),
        "protocol": protocol,
        "kind": "transductive" if adapts_to else kind,
        "settings": described
        | {"random_state": seeded, "cv": protocol or name_of(cv)}
        | {"enrollment": repr(asked) if enrollment else "None"},
    }
    results = {
        name: SpeakerCVResult(
            **_pooled(columns, parts[own], [each[own] for each in outputs], bootstrap),
            **common,
            sentences=None if texts is None else name,
            estimators=estimators[own] if return_estimator else None,
        )
        for name, own in slices(plans)
    }
    return with_sentences(results, *bootstrap)


def _plan_folds(cv, columns, by_default, texts, control, asked, rng):
    """Return the splitter, the columns with the sentences, the folds, and doubts."""
    y, speakers = columns["y"], columns["speakers"]
    cv, texts, text_folds, caveats = split_texts(cv, texts, control)
    cv, splits = split_by_speaker(cv, columns, by_default)
    draws, masks = draw(splits, y, speakers, *asked, rng), validation_masks(cv, splits)
    plans = {"heard": list(map(Plan, splits, masks, draws))}
    if texts is not None:
        columns = columns | {"texts": texts}
        plans |= plan_texts(plans["heard"], columns, text_folds, asked, control, rng)
    return cv, columns, plans, [*caveats, *lone_emotions(splits, y, speakers)]


def _task(number, plan, columns, adapts_to):
    (train, test), validation, draws = plan
    y, speakers = columns["y"], np.unique(columns["speakers"][test])
    return Task(
        where=f"In fold {number}, test speakers: {shorten(speakers)}.",
        classes=np.unique(y),
        train=train,
        adapt=test if adapts_to else test[:0],
        test=test,
        domain=np.ones(len(train), dtype=int) if adapts_to else None,
        validation=validation,
        draws=draws,
    )


def _pooled(columns, plans, outputs, bootstrap):
    """Return the scored rows of all folds and their figures, by their names."""
    predictions, probabilities, *more = outputs
    each = zip(plans, predictions, *more, strict=True)
    folds = tuple(_scored(columns, *own) for own in each)
    rows = np.concatenate([fold.test for fold in folds])
    y_true, predicted = columns["y"][rows], np.concatenate(predictions)
    some_lack = any(part is None for part in probabilities)
    figures = {
        "rows": rows,
        "draws": np.concatenate([fold.draws() for fold in folds]),
        "speakers": columns["speakers"][rows],
        "y_true": y_true,
        "predictions": predicted,
        "probabilities": None if some_lack else np.concatenate(probabilities),
        "classes": np.unique(columns["y"]),
        **dict(zip(("uar", "wa"), uar_and_wa(y_true, predicted), strict=True)),
    }
    part = Part(name="", **figures)
    return figures | {
        "folds": folds,
        "uar_interval": mean_interval([part], *bootstrap),
        "wa_interval": mean_interval([part], *bootstrap, score=accuracy),
        "confusion": part.confusion,
    }


def _scored(columns, plan, predicted, seconds, history):
    """Return a fold with its figures."""
    (train, test), _, draws = plan
    y, test_speakers = columns["y"], np.unique(columns["speakers"][test])
    enrolled = tuple(test[of_draw.enrolled] for of_draw in draws)
    if draws:
        test = np.concatenate([test[of_draw.scored] for of_draw in draws])
    scores = uar_and_wa(y[test], predicted)
    return Fold(train, test, test_speakers, *scores, *seconds, history, enrolled)
