"""Checks for splits with the same speaker or recording in training and test."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import get_tags

from .._csv import person_key
from .._validation import check_column
from ..datasets.duplicates import (
    duplicates_if_audio,
    find_duplicates,
    overlapping_segments,
    rows_of,
    source_of,
)
from ..features._audio_files import WHOLE
from ..features.audio import describe, times_of
from ._results import shorten
from ._resume import once

_NEARLY_ALL = 0.8  # of the speakers


class CheckedSplits(list):
    """Pairs (train, test) of row indices without leakage.

    Its attribute `transductive` is True if a fold tests a row or a speaker that is
    among its unlabelled training rows.
    """

    def __init__(self, splits, transductive):
        super().__init__(splits)
        self.transductive = transductive


def check_speaker_leakage(
    splits: Iterable, speakers: ArrayLike, *, unlabelled: ArrayLike | None = None
) -> CheckedSplits:
    """Refuse splits that have a speaker in both training and test.

    Parameters
    ----------
    splits : iterable of (train, test)
        Row indices, or boolean masks, of each fold.
    speakers : array-like of shape (n_samples,)
        The speaker of each row.
    unlabelled : array-like of bool of shape (n_samples,), default=None
        The rows that train without their labels, such as the target of a domain
        adaptation. The test may contain these rows, and other rows of their speakers. A
        labelled training row of a tested speaker is still an error.

    Returns
    -------
    splits : list of (train, test)
        The same splits as arrays of row indices. The list has an attribute
        `transductive`. It is True if a fold tests a row or a speaker that is among its
        unlabelled training rows. Call the figures of such folds transductive.

    Raises
    ------
    ValueError
        If a fold, counted from 1, shares a speaker or a row between its two parts. If a
        part is empty or has a row outside of `speakers`, or if there is no fold. If
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
    speakers = check_column(speakers, "speakers")
    if unlabelled is None:
        unlabelled = np.zeros(len(speakers), dtype=bool)
    unlabelled = np.asarray(unlabelled)
    if unlabelled.dtype != bool or unlabelled.shape != speakers.shape:
        raise ValueError(
            f"unlabelled must be None or {len(speakers)} booleans, one per row; got "
            f"shape {unlabelled.shape} of {unlabelled.dtype}."
        )
    names, codes = np.unique(speakers, return_inverse=True)
    checked, transductive = [], False
    for number, split in enumerate(splits, 1):
        try:
            train, test = split
        except (TypeError, ValueError):
            raise ValueError(f"Fold {number} is not a pair (train, test).") from None
        train = _check_rows(train, len(speakers), f"Fold {number}: train")
        test = _check_rows(test, len(speakers), f"Fold {number}: test")
        labelled, adapted_to = train[~unlabelled[train]], train[unlabelled[train]]
        trains, tests = (_mask(part, len(codes)) for part in (labelled, test))
        speaks, is_tested = (_mask(codes[p], len(names)) for p in (labelled, test))
        for what, shared in (
            ("rows", np.flatnonzero(trains & tests)),
            ("speakers", names[speaks & is_tested]),
        ):
            if len(shared):
                raise ValueError(
                    f"Fold {number}: {what} {shared.tolist()} are in both train and "
                    "test. Split by speaker, for example with GroupKFold and "
                    "groups=speakers."
                )
        # This covers shared rows: a row shares its speaker with itself.
        transductive |= bool((_mask(codes[adapted_to], len(names)) & is_tested).any())
        checked.append((train, test))
    if not checked:
        raise ValueError("splits is empty, expected at least one fold.")
    return CheckedSplits(checked, transductive)


def check_duplicate_leakage(
    splits: Iterable, recordings: Any, *, unlabelled: ArrayLike | None = None
) -> None:
    """Refuse splits that have a recording in both training and test.

    The function compares recordings by their audio, not by their names and speakers. A
    corpus may hold copies, and two corpora may share recordings. Segments of one
    recording may overlap.

    Parameters
    ----------
    splits : iterable of (train, test)
        Row indices of each fold.
    recordings : list or array of length n_samples
        Paths, waveforms or mappings, or arrays of their features.
    unlabelled : array-like of bool of shape (n_samples,), default=None
        The rows that train without their labels. The test may contain copies of them.

    Raises
    ------
    ValueError
        If a fold, counted from 1, has the same audio in training and test, or segments
        of a recording that have half of the shorter one in common.

    See Also
    --------
    sklearn_ser.datasets.find_duplicates : Find copies in a corpus.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser.model_selection import check_duplicate_leakage
    >>> x, y = np.random.default_rng(0).normal(size=(2, 800))
    >>> check_duplicate_leakage([([0, 1], [2])], [x, y, x])
    Traceback (most recent call last):
    ValueError: Fold 1: rows 0 (train) and 2 (test) hold the same audio. Remove one.
    """
    recordings = rows_of(recordings)
    checked = [
        [
            _check_rows(rows, len(recordings), f"Fold {number}: {part}")
            for rows, part in zip(split, ("train", "test"), strict=True)
        ]
        for number, split in enumerate(splits, 1)
    ]
    refuse_duplicates(checked, recordings, find_duplicates(recordings), unlabelled)


def duplicates_in(X, estimator):
    """Return the rows of each recording that `X` holds more than once.

    Vectors of one length may be waveforms or features. They are waveforms if a step of
    the estimator takes recordings, or if `estimator` is None.
    """
    parts = [] if estimator is None else [estimator, *estimator.get_params().values()]
    tags = [
        get_tags(part).input_tags
        for part in parts
        if hasattr(part, "__sklearn_tags__") and not isinstance(part, type)
    ]
    takes_recordings = any(tag.string and tag.dict for tag in tags)
    return _duplicates(X, estimator is None or takes_recordings)


@once
def _duplicates(X, are_recordings):
    return duplicates_if_audio(X, vectors_are_waveforms=are_recordings)


def refuse_enrolled_copies(plans, recordings, duplicates):
    """Refuse draws that enroll a recording and score a copy of it."""
    for fold, ((_, test), _, draws) in enumerate(plans, 1):
        for enrolled, scored in draws:
            if not np.isin(scored, enrolled).any():  # else all are enrolled
                pair = test[enrolled], test[scored]
                what = "enrolled", "scored"
                refuse_duplicates([pair], recordings, duplicates, what=what, first=fold)


def doubts_about_names(y, speakers, corpora=None):
    """Return sentences on columns that may not name persons, or emotions, and warn.

    A corpus of one speaker is told, and no reason to warn: it may be a new voice.
    """
    alone, found = [], []
    for corpus in [] if corpora is None else np.unique(corpora):
        who = np.unique(speakers[corpora == corpus])
        if len(who) == 1:
            alone.append(
                f"speakers: {corpus} has one speaker only, {who[0]}. Its figures are "
                "those of one voice, and have no interval."
            )
    names, codes, counts = np.unique(speakers, return_inverse=True, return_counts=True)
    emotions = np.unique(
        np.column_stack([codes, np.unique(y, return_inverse=True)[1]]), axis=0
    )
    n_emotions = np.bincount(emotions[:, 0])
    several = counts > 1
    if (n_single := int((~several).sum())) >= _NEARLY_ALL * len(names):
        found.append(
            f"speakers: {n_single} of {len(names)} speakers have one recording only. "
            "If the column names recordings instead of persons, the figure is that of "
            "a random split, which is too high."
        )
    elif (n_emotions[several] == 1).mean() >= _NEARLY_ALL:
        n_alike = int((n_emotions[several] == 1).sum())
        found.append(
            f"speakers: {n_alike} of {several.sum()} speakers with several recordings "
            "have one emotion only. A figure cannot tell their voices from their "
            "emotions, and the column may not name persons."
        )
    for column, told, then in (
        ("speakers", names, "If they are one person, the same voice trains and tests"),
        ("y", np.unique(y), "Each of them counts as an emotion of its own"),
    ):
        spellings = {}
        for name in told.tolist():
            spellings.setdefault(person_key(name), []).append(name)
        twins = [group for group in spellings.values() if len(group) > 1]
        if twins:
            found.append(
                f"{column}: {len(twins)} name(s) have several spellings, such as "
                f"{twins[0]!a}. {then}: write each name in one way."
            )
    for sentence in found:
        warnings.warn(sentence, stacklevel=3)
    return [*alone, *found]


def lone_emotions(splits, y, speakers):
    """Return a sentence for each tested emotion that a fold's training rows lack."""
    found = []
    for number, (train, test) in enumerate(splits, 1):
        for emotion in np.setdiff1d(y[test], y[train]):
            who = shorten(np.unique(speakers[test][y[test] == emotion]))
            found.append(
                f"Fold {number}: no training recording has the emotion '{emotion}', "
                f"which only {who} has. Its {(y[test] == emotion).sum()} recordings "
                "cannot be recognised, and lower the UAR."
            )
    return found


def refuse_duplicates(
    splits, recordings, duplicates, unlabelled=None, what=("train", "test"), first=1
):
    """Refuse splits that have rows of one list of `duplicates` in both parts."""
    if not duplicates:
        return
    recordings = rows_of(recordings)
    # Rows of the same audio have the same number; -1 is audio that occurs once.
    audio = np.full(len(recordings), -1)
    for number, rows in enumerate(duplicates):
        audio[rows] = number
    for fold, (train, test) in enumerate(splits, first):
        if unlabelled is not None:
            train = train[~np.asarray(unlabelled)[train]]
        shared = np.intersect1d(audio[train], audio[test])
        for number in shared[shared >= 0][:1]:
            rows = [part[audio[part] == number] for part in (train, test)]
            (one, other), how = _copies(recordings, *rows)
            names = [
                f"{row} ({part}{_path_of(recordings[row])})"
                for row, part in zip((one, other), what, strict=True)
            ]
            raise ValueError(f"Fold {fold}: rows {' and '.join(names)} {how}")


def _copies(recordings, train, test):
    """Return a row of each part that are the same recording, and in which way."""
    rows = [*train, *test]
    for pair in overlapping_segments([recordings[row] for row in rows]):
        one, other = sorted(pair)
        if one < len(train) <= other:
            return (rows[one], rows[other]), (
                "are segments of one recording that overlap. Remove one, or keep the "
                "segments of a recording together, with groups."
            )
    return (train[0], test[0]), "hold the same audio. Remove one."


def heard_sessions(splits, recordings):
    """Return a sentence on tested segments of recordings that are trained on, too."""
    recordings = rows_of(recordings)
    with contextlib.suppress(TypeError, ValueError):  # whoever reads them tells
        if all(times == WHOLE for times in list(map(times_of, recordings))):
            return []
        known = {}
        sources = [known.setdefault(source_of(r), len(known)) for r in recordings]
        sources = np.array(sources)
        n_heard = sum(
            np.isin(sources[test], sources[train]).sum() for train, test in splits
        )
        if n_heard:
            return [
                f"{n_heard} tested segments are of recordings whose other segments "
                "train: their room, microphone and voices are known. With groups that "
                "keep the segments of a recording together, they are not."
            ]
    return []


def _path_of(recording):
    return describe(recording, "").replace(" (", ", ", 1).removesuffix(")")


def _check_rows(rows, n_rows, what):
    """Return the row indices of one part of a fold."""
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


def _mask(rows, n_rows):
    mask = np.zeros(n_rows, dtype=bool)
    mask[rows] = True
    return mask
