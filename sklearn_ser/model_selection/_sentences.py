"""Unheard sentences: their splitter, and the rows of folds and transfers."""

import numbers
import warnings
from typing import ClassVar

import numpy as np
from sklearn.model_selection import BaseCrossValidator, GroupKFold, LeaveOneGroupOut
from sklearn.utils import check_scalar

from .._csv import text_key
from .._sklearn import GroupsConsumerMixin
from .._validation import check_column, is_missing
from ._enrollment import Draw, draw_recordings
from ._results import join
from ._splits import Plan, check_lengths, mask_or_none

_NOUNS = {"texts": ("text", "sentences"), "groups": ("speaker", "speakers")}
TEXT_SPLITS = 5  # folds of sentences, unless a splitter says more


class SpeakerTextKFold(GroupsConsumerMixin, BaseCrossValidator):
    """Folds whose training rows share neither a speaker nor a sentence with the test.

    Acted corpora have few sentences, which all speakers say. A split by speaker leaves
    the test sentences in training. This splitter puts speakers and sentences into
    folds, and tests each pair of a fold of speakers and a fold of sentences. Each row
    is tested once. The rows of other speakers and other sentences train, and the rest
    is left out.

    Parameters
    ----------
    n_speaker_splits : int, default=None
        Number of folds of speakers. None leaves one speaker out.
    n_text_splits : int, default=5
        Number of folds of sentences. None leaves one sentence out.
    shuffle : bool, default=False
        If True, speakers and sentences go to folds at random. Otherwise the folds have
        about the same number of rows.
    random_state : int or None, default=None
        Seed of the shuffling.

    See Also
    --------
    speaker_cross_validate : Both figures of an evaluation, with `texts`.

    Notes
    -----
    With metadata routing, `groups` and `texts` are passed by their names. Without it,
    scikit-learn passes `groups` alone, which may then have two columns, as in
    ``groups=np.column_stack([speakers, texts])``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.model_selection import cross_val_predict
    >>> from sklearn_ser.model_selection import SpeakerTextKFold
    >>> speakers, texts = np.repeat(["ann", "bob"], 4), np.tile(["hi", "yes"], 4)
    >>> X, y = np.zeros((8, 1)), ["anger", "anger", "sadness", "sadness"] * 2
    >>> cv = SpeakerTextKFold(n_text_splits=2)
    >>> for train, test in cv.split(X, y, speakers, texts):
    ...     print(train, test)
    [5 7] [0 2]
    [4 6] [1 3]
    [1 3] [4 6]
    [0 2] [5 7]
    >>> both = np.column_stack([speakers, texts])
    >>> cross_val_predict(DummyClassifier(), X, y, cv=cv, groups=both).shape
    (8,)
    """

    __metadata_request__split: ClassVar = {"groups": True, "texts": True}

    def __init__(
        self,
        n_speaker_splits=None,
        n_text_splits=5,
        *,
        shuffle=False,
        random_state=None,
    ):
        self.n_speaker_splits = n_speaker_splits
        self.n_text_splits = n_text_splits
        self.shuffle = shuffle
        self.random_state = random_state

    def split(self, X, y=None, groups=None, texts=None):
        """Return the row indices of each fold.

        Parameters
        ----------
        X : list or array-like of length n_samples
            Recordings, sequences or features.
        y : array-like of shape (n_samples,), default=None
            The emotions. A fold without a training row of a tested emotion is an error.
        groups : array-like of shape (n_samples,) or (n_samples, 2)
            The speaker of each row, or its speaker and its sentence.
        texts : array-like of shape (n_samples,), default=None
            The sentence of each row. A row without one, which is None, NaN or empty, is
            a sentence of its own.

        Returns
        -------
        splits : iterator of (train, test)
            The folds: for each fold of speakers, those of sentences.
        """
        speaker_folds, text_folds = self._fold_numbers(X, groups, texts, y)
        y = None if y is None else check_column(y, "y")
        splits = []
        for speaker_fold, text_fold in self._cells(speaker_folds, text_folds):
            heard = speaker_folds == speaker_fold, text_folds == text_fold
            train = np.flatnonzero(~heard[0] & ~heard[1])
            test = np.flatnonzero(heard[0] & heard[1])
            where = f"Fold {len(splits) + 1}"
            if not len(train):
                raise ValueError(f"{where} has no row of other speakers and sentences.")
            if y is not None:
                _check_emotions(y, train, test, where)
            splits.append((train, test))
        return iter(splits)

    def get_n_splits(self, X=None, y=None, groups=None, texts=None):
        """Return the number of folds, which have one or more rows to test.

        Parameters
        ----------
        X, y : object, default=None
            Not used.
        groups, texts : array-like
            As in :meth:`split`.

        Returns
        -------
        n_splits : int
            Number of folds.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # `split` warns
            return len(self._cells(*self._fold_numbers(None, groups, texts)))

    @staticmethod
    def _cells(speaker_folds, text_folds):
        return np.unique(np.column_stack([speaker_folds, text_folds]), axis=0).tolist()

    def _fold_numbers(self, X, groups, texts, y=None):
        """Return the fold of each row's speaker, and that of its sentence."""
        if groups is None:
            raise ValueError("groups must hold the speaker of each row, got None.")
        if texts is None and np.ndim(groups) == 2 and np.shape(groups)[1] == 2:
            groups, texts = np.asarray(groups, dtype=object).T
        if texts is None:
            raise ValueError(
                "texts must hold the sentence of each row, got None. Without metadata "
                "routing, pass groups=np.column_stack([speakers, texts])."
            )
        check_lengths({}, {"X": X, "y": y, "groups": groups, "texts": texts})
        groups, (codes, _) = check_column(groups, "groups"), _text_codes(texts)
        return (
            fold_numbers(groups, self.n_speaker_splits, "groups", self.seed()),
            fold_numbers(codes, self.n_text_splits, "texts", self.seed()),
        )

    def seed(self):
        """Return the seed of the shuffling, or None."""
        if self.shuffle and self.random_state is None:
            return np.random.RandomState()
        return self.random_state if self.shuffle else None

    def of_speakers(self):
        """Return the splitter of the speakers alone."""
        if self.n_speaker_splits is None:
            return LeaveOneGroupOut()
        return _group_folds(self.n_speaker_splits, self.seed())


def split_texts(cv, texts, control):
    """Return the splitter of speakers, and the sentence and its fold of each row.

    The last value has a sentence on missing texts.
    """
    by_both = isinstance(cv, SpeakerTextKFold)
    if texts is None and by_both:
        raise ValueError("SpeakerTextKFold needs texts, got texts=None.")
    codes, unknown = check_texts(texts, control)
    if codes is None:
        return cv, None, None, []
    n_sentences = len(np.unique(codes))
    n_splits = cv.n_text_splits if by_both else min(TEXT_SPLITS, n_sentences)
    seed = cv.seed() if by_both else None
    folds = fold_numbers(codes, n_splits, "texts", seed)
    return cv.of_speakers() if by_both else cv, codes, folds, unknown


def check_texts(texts, control):
    """Return a number for each sentence, and a sentence on rows without one.

    Without texts, the number is None.
    """
    if texts is not None:
        return _text_codes(texts)
    if control:
        raise ValueError("control=True needs texts, got texts=None.")
    return None, []


def plan_texts(plans, columns, text_folds, asked, control, rng):
    """Return the folds of unheard sentences within folds of speakers, and the control.

    A control keeps the tested sentences in training. It loses as many other recordings
    of each emotion as the fold of unheard sentences loses.
    """
    y, found = columns["y"], {"unheard": [], "control": []}
    for number, ((train, test), validation, draws) in enumerate(plans, 1):
        of_validation = np.empty(0, int) if validation is None else train[validation]
        for fold in np.unique(text_folds[test]):
            tested, heard = text_folds[test] == fold, text_folds[train] == fold
            kept = {"unheard": train[~heard]}
            _check_emotions(y, kept["unheard"], test[tested], f"Fold {number}")
            rows, drawn = test, _draw_others(columns, test, tested, draws, asked, rng)
            if not draws:
                rows = test[tested]
            if control:
                taken = _as_many(y[train], heard, rng)
                kept["control"] = np.delete(train, taken)
            for name, own in kept.items():
                mask = mask_or_none(np.isin(own, of_validation))
                found[name].append(Plan((own, rows), mask, drawn))
    return {name: part for name, part in found.items() if part}


def _draw_others(columns, test, scored, draws, asked, rng):
    """Return draws that score some rows, and enroll recordings of other sentences."""
    y, speakers = columns["y"][test], columns["speakers"][test]
    places = np.flatnonzero(scored)
    if asked[0] == "all":
        return [Draw(np.arange(len(test)), places)]
    return [
        Draw(draw_recordings(y, speakers, ~scored, *asked[:2], rng), places)
        for _ in draws
    ]


def plan_transfer_texts(plans, columns, control, rng):
    """Return the fits that score heard sentences of transfers as unheard ones.

    Each is a pair of the number of its transfer and a plan. Its labelled training rows
    lack the tested sentences, and so do its unlabelled rows of other speakers. A row
    whose sentence no training row has keeps its prediction. The second value has
    sentences on transfers that have only such rows. Without texts, both are empty.
    """
    if "texts" not in columns:
        return {}, []
    texts, found, caveats = columns["texts"], {"unheard": [], "control": []}, []
    for number, plan in enumerate(plans):
        name = f"{join(plan.source)} to {plan.target}"
        # A transductive fit sees the tested rows themselves, without their labels.
        of_others = plan.adapt[~np.isin(plan.adapt, plan.test)]
        trained = texts[np.concatenate([plan.train, of_others])]
        tested = plan.test[np.isin(texts[plan.test], trained)]
        if not len(tested):
            caveats.append(
                f"texts: no test sentence of {name} is in the training data, so its "
                "figures on heard and on unheard sentences are the same."
            )
            continue
        for fold in _folds_of_some(texts[tested]):
            pair = _without_sentences(plan, tested[fold], columns, control, rng)
            for kind, cell in zip(found, pair, strict=False):
                _check_emotions(columns["y"], cell.train, cell.test, f"Transfer {name}")
                found[kind].append((number, cell))
    if not found["unheard"]:
        raise ValueError(
            "texts: no test recording of a transfer has its sentence in the training "
            "data, so each figure is of unheard sentences. Leave texts out."
        )
    return {kind: part for kind, part in found.items() if part}, caveats


def _folds_of_some(texts):
    """Return a mask of the rows of each fold of sentences; one may be all there is."""
    n_splits = min(TEXT_SPLITS, len(np.unique(texts)))
    if n_splits == 1:
        return [np.ones(len(texts), dtype=bool)]
    numbers = fold_numbers(texts, n_splits, "texts")
    return [numbers == number for number in np.unique(numbers)]


def _without_sentences(plan, test, columns, control, rng):
    """Return a plan that tests some rows, and trains without their sentences.

    The second one is a control, if there is to be one: it keeps the sentences, and
    loses as many other recordings. Only those with labels are counted by emotion.
    """
    texts = columns["texts"]
    can_go = ~np.isin(plan.adapt, plan.test)
    parts = (plan.train, columns["y"][plan.train]), (plan.adapt, can_go)
    heard = [np.isin(texts[rows], texts[test]) for rows, _ in parts]
    heard[1] &= can_go
    cells = [
        plan._replace(
            train=plan.train[~heard[0]], adapt=plan.adapt[~heard[1]], test=test
        )
    ]
    if control:
        train, adapt = (
            np.delete(rows, _as_many(kinds, part, rng))
            for (rows, kinds), part in zip(parts, heard, strict=True)
        )
        cells.append(plan._replace(train=train, adapt=adapt, test=test))
    return cells


def _as_many(y, heard, rng):
    """Return places of other sentences, as many of each emotion as are heard."""
    taken = []
    for emotion in np.unique(y[heard]):
        others = np.flatnonzero(~heard & (y == emotion))
        n_heard = (heard & (y == emotion)).sum()
        taken.append(rng.permutation(others)[:n_heard])
    return np.concatenate([np.empty(0, int), *taken])


def _check_emotions(y, train, test, where):
    """Refuse a fold without a training row of a tested emotion."""
    lost = np.setdiff1d(y[test], y[train]).tolist()
    if lost:
        raise ValueError(
            f"{where}: no training row of other speakers and sentences has the "
            f"emotions {lost}, which are tested. Take fewer folds, or leave these "
            "emotions out."
        )


def _text_codes(texts):
    """Return a number for each sentence, and a sentence on rows without one."""
    if np.ndim(texts) != 1:
        raise ValueError(f"texts must be 1-D, one per row; got {np.ndim(texts)}-D.")
    lacks = [is_missing(text) or not str(text).strip() for text in texts]
    missing, is_known = np.flatnonzero(lacks), ~np.array(lacks, dtype=bool)
    told = [text for text, known in zip(texts, is_known, strict=True) if known]
    told = check_column(told, "texts").tolist()
    known = [text_key(text) if isinstance(text, str) else text for text in told]
    if len(set(known)) < 2:
        raise ValueError(
            f"texts holds fewer than two sentences, {sorted(set(map(str, told)))}: a "
            "split by sentence needs at least two."
        )
    codes = np.empty(len(texts), dtype=int)
    codes[missing] = np.arange(len(missing))
    codes[is_known] = len(missing) + np.unique(known, return_inverse=True)[1]
    if not len(missing):
        return codes, []
    said = (
        f"texts has {len(missing)} missing values, the first at row {missing[0]}: each "
        "of these recordings counts as a sentence of its own."
    )
    warnings.warn(said, stacklevel=4)
    return codes, [said]


def fold_numbers(column, n_splits, name, seed=None):
    """Return the fold of each row: rows of one value are in one of equal folds."""
    values, codes = np.unique(column, return_inverse=True)
    n_values = len(values)
    kind, noun = _NOUNS[name]
    n_splits = n_values if n_splits is None else n_splits
    check_scalar(n_splits, f"n_{kind}_splits", numbers.Integral)
    if not 2 <= n_splits <= n_values:
        raise ValueError(
            f"{name} holds {n_values} {noun}, but n_{kind}_splits={n_splits} "
            f"needs a number from 2 to {n_values}."
        )
    if n_splits == n_values:
        return codes
    folds = np.empty(len(column), dtype=int)
    splits = _group_folds(n_splits, seed).split(column, groups=column)
    for number, (_, test) in enumerate(splits):
        folds[test] = number
    return folds


def _group_folds(n_splits, seed):
    shuffle = {} if seed is None else {"shuffle": True, "random_state": seed}
    return GroupKFold(n_splits, **shuffle)
