"""The rows of an evaluation: checked, and split into folds and transfers."""

import functools
import numbers
import warnings
from contextlib import contextmanager
from typing import ClassVar, NamedTuple

import numpy as np
from sklearn import config_context
from sklearn.model_selection import (
    BaseCrossValidator,
    GroupKFold,
    LeaveOneGroupOut,
    check_cv,
)
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils.multiclass import check_classification_targets

from .._csv import name_key
from .._sklearn import GroupsConsumerMixin, num_samples
from .._validation import check_column, is_missing, naming, shown
from ..datasets.protocols import Protocol
from ..pipeline import consumes, flat_steps
from ._enrollment import Draw, draw_recordings
from ._leakage import check_speaker_leakage
from ._results import join

TEXT_SPLITS = 5  # folds of sentences, unless a splitter says more


class Plan(NamedTuple):
    """A fold: training and test rows, its validation mask or None, and its draws."""

    split: tuple
    validation: np.ndarray | None
    draws: list


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
        speaker_folds, text_folds = self._fold_numbers(X, groups, texts)
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

    def _fold_numbers(self, X, groups, texts):
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
        lengths = {"X": X, "groups": groups, "texts": texts}
        check_lengths(
            {name: each for name, each in lengths.items() if each is not None}
        )
        codes, _ = _text_codes(texts)
        return (
            fold_numbers(
                check_column(groups, "groups"),
                self.n_speaker_splits,
                "groups",
                self.seed(),
            ),
            fold_numbers(codes, self.n_text_splits, "texts", self.seed()),
        )

    def seed(self):
        """Return the seed of the shuffling, or None."""
        if not self.shuffle:
            return None
        return (
            np.random.RandomState() if self.random_state is None else self.random_state
        )

    def of_speakers(self):
        """Return the splitter of the speakers alone."""
        n_splits, seed = self.n_speaker_splits, self.seed()
        if n_splits is None:
            return LeaveOneGroupOut()
        shuffle = {} if seed is None else {"shuffle": True, "random_state": seed}
        return GroupKFold(n_splits, **shuffle)


def check_evaluation(estimator, columns, checkpoint_dir, return_estimator):
    """Refuse bad arguments of an evaluation; `columns` has a column for each name."""
    if isinstance(estimator, type) or not hasattr(estimator, "get_params"):
        raise TypeError(
            f"estimator must be an instance of a scikit-learn estimator, got "
            f"{estimator!r}."
        )
    check_lengths(columns)
    check_classification_targets(columns["y"])
    labels = np.asarray(columns["y"]).tolist()
    if len(labels) and all(label == labels[0] for label in labels):
        raise ValueError(
            f"y has one class only ({shown(labels[0])}), expected at least two."
        )
    if checkpoint_dir is not None and return_estimator:
        raise ValueError(
            "return_estimator=True and checkpoint_dir cannot be combined, "
            "because a checkpoint keeps no models. Pass only one of them."
        )


def check_lengths(columns):
    """Refuse columns of different lengths."""
    lengths = {}
    for name, column in columns.items():
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
        cv = GroupKFold(cv)
    X, y, speakers, groups = columns.values()
    with warnings.catch_warnings():
        if default_groups:  # PredefinedSplit ignores groups, which nobody passed
            warnings.filterwarnings("ignore", "The groups parameter is ignored")
        splits = list(check_cv(cv).split(X, y, groups))
    return cv, check_speaker_leakage(splits, speakers)


def validation_masks(cv, splits):
    """Return each fold's mask of validation rows among its training rows, or None."""
    rows = cv.validation if isinstance(cv, Protocol) else None
    rows = [[]] * len(splits) if rows is None else rows
    return [
        _mask(np.isin(train, own)) for (train, _), own in zip(splits, rows, strict=True)
    ]


def _mask(mask):
    return mask if mask.any() else None


def split_texts(cv, texts, control):
    """Return the splitter of speakers, and the sentence and its fold of each row.

    The last value has a sentence on missing texts.
    """
    by_both = isinstance(cv, SpeakerTextKFold)
    if texts is None:
        for name, given in (("control=True", control), ("SpeakerTextKFold", by_both)):
            if given:
                raise ValueError(f"{name} needs texts, got texts=None.")
        return cv, None, None, []
    codes, unknown = _text_codes(texts)
    n_sentences = len(np.unique(codes))
    n_splits = cv.n_text_splits if by_both else min(TEXT_SPLITS, n_sentences)
    seed = cv.seed() if by_both else None
    folds = fold_numbers(codes, n_splits, "texts", seed)
    return cv.of_speakers() if by_both else cv, codes, folds, unknown


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
                mask = _mask(np.isin(own, of_validation))
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
    texts = [
        None if is_missing(text) or not str(text).strip() else text for text in texts
    ]
    missing = [row for row, text in enumerate(texts) if text is None]
    told = check_column([text for text in texts if text is not None], "texts").tolist()
    keys = {text: name_key(text) if isinstance(text, str) else text for text in told}
    known = [keys[text] for text in told]
    if len(set(known)) < 2:
        raise ValueError(
            f"texts holds fewer than two sentences, {sorted(set(map(str, told)))}: a "
            "split by sentence needs at least two."
        )
    codes = np.empty(len(texts), dtype=int)
    codes[missing] = np.arange(len(missing))
    is_known = ~np.isin(np.arange(len(texts)), missing)
    _, own = np.unique(known, return_inverse=True)
    codes[is_known] = len(missing) + own
    if not missing:
        return codes, []
    said = (
        f"texts has {len(missing)} missing values, the first at row {missing[0]}: each "
        "of these recordings counts as a sentence of its own."
    )
    warnings.warn(said, stacklevel=4)
    return codes, [said]


def fold_numbers(column, n_splits, name, seed=None):
    """Return the fold of each row: rows of one value are in one of equal folds."""
    n_values = len(np.unique(column))
    if n_splits is None:
        n_splits = n_values
    noun, kind = {"texts": ("sentences", "text"), "groups": ("speakers", "speaker")}[
        name
    ]
    if not 2 <= n_splits <= n_values:
        raise ValueError(
            f"{name} holds {n_values} {noun}, but n_{kind}_splits={n_splits} "
            f"needs a number from 2 to {n_values}."
        )
    if n_splits == n_values:
        return np.unique(column, return_inverse=True)[1]
    shuffle = {} if seed is None else {"shuffle": True, "random_state": seed}
    folds = np.empty(len(column), dtype=int)
    splits = GroupKFold(n_splits, **shuffle).split(column, groups=column)
    for number, (_, test) in enumerate(splits):
        folds[test] = number
    return folds


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
    if mode != "inductive":
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
        labels, mark = labels.astype(object), -1  # it takes no other mark
    if not n_target:
        return labels
    return np.concatenate([labels, np.full(n_target, mark)])


def _unlabelled_mark(y):
    """Return the label of unlabelled rows: of the type of y, but no class of it."""
    return "" if y.dtype.kind == "U" else -1
