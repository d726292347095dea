"""A frozen protocol over the rows of a corpus."""

import hashlib
import os
from collections import Counter
from pathlib import Path

import numpy as np


class Protocol:
    """The folds of a protocol over the rows of a corpus: a scikit-learn splitter.

    Two protocols with the same `hash` have the same utterances, labels and folds. The
    order of rows and files does not change the hash. :func:`load_corpus` and
    :func:`apply_protocol` make the protocols of the literature.

    Parameters
    ----------
    name : str
        Name of the protocol.
    utterances : list of str of length n_samples
        The name of each recording, without its folder. Letter case is ignored.
    labels : array-like of shape (n_samples,)
        The classes.
    folds : array-like of int of shape (n_samples,)
        The number of the fold that tests a row, from 0, or -1 if no fold tests it.
    validation : list of array-like of int, default=None
        For each fold, the rows of the paper's validation speaker. They are training
        rows. ``speaker_cross_validate`` passes their mask to a `fit` that requests
        `validation`.
    version : int, default=1
        Version of the protocol.
    data : list of str, default=None
        The recordings. If given, `split` refuses another order of them.

    Attributes
    ----------
    hash : str
        The first 16 hexadecimal digits of a SHA-256 over utterances, labels, folds and
        validation rows, but not over the name or the audio.

    See Also
    --------
    load_corpus : Load a corpus with its protocol.

    Examples
    --------
    >>> from sklearn_ser.datasets import Protocol
    >>> protocol = Protocol("mine", ["a1", "b1"], ["anger", "neutral"], folds=[0, 1])
    >>> protocol
    Protocol('mine', version=1, n_folds=2, hash='fe235df07142989e')
    >>> [(train.tolist(), test.tolist()) for train, test in protocol.split()]
    [([1], [0]), ([0], [1])]
    """

    def __init__(
        self,
        name,
        utterances,
        labels,
        folds,
        *,
        validation=None,
        version=1,
        data=None,
    ):
        self.name, self.version = name, version
        self._places = None if data is None else [place(path) for path in data]
        self._labels, self._folds = np.asarray(labels), np.asarray(folds)
        names = [str(utterance).lower() for utterance in utterances]
        lengths = [len(names), len(self._labels), len(self._folds)]
        lengths += [] if data is None else [len(data)]
        if len(set(lengths)) > 1 or not names:
            raise ValueError(
                "utterances, labels, folds and data must have the same length and "
                f"not be empty; got {lengths}."
            )
        numbers = np.unique(self._folds)
        if self._folds.ndim != 1 or not np.array_equal(
            numbers[numbers != -1], np.arange(len(numbers[numbers != -1]))
        ):
            raise ValueError(
                "folds must hold the number 0, 1, ... of the test fold of each row, "
                f"or -1; got {numbers.tolist()}."
            )
        self._folds = self._folds.astype(int)
        if self._folds.max() < 0:
            raise ValueError(
                "folds must hold the number of at least one test fold, got only -1."
            )
        repeated = [n for n, times in Counter(names).items() if times > 1]
        if repeated:
            raise ValueError(
                f"Several recordings have the names {repeated[:5]}, but a protocol "
                "needs a different name for each."
            )
        self.validation = self._check_validation(validation)
        self.hash = self._digest(names)

    def _check_validation(self, validation):
        if validation is None:
            return None
        if len(validation) != self.get_n_splits():
            raise ValueError(
                f"validation must hold the rows of {self.get_n_splits()} folds, got "
                f"{len(validation)}."
            )
        checked = [np.asarray(rows, dtype=int) for rows in validation]
        for number, rows in enumerate(checked):
            inside = (rows >= 0) & (rows < len(self._folds))
            if not inside.all() or (self._folds[rows] == number).any():
                raise ValueError(
                    f"validation[{number}] must hold training rows of fold {number}."
                )
        return checked

    def _digest(self, names):
        rows = zip(names, self._labels, self._folds, strict=True)
        lines = [f"{name}\t{label}\t{fold}" for name, label, fold in rows]
        for number, validating in enumerate(self.validation or []):
            lines += [f"{names[i]}\tvalidates\t{number}" for i in validating]
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]

    def split(self, X=None, y=None, groups=None):
        """Generate the row indices of each fold.

        Parameters
        ----------
        X : list or array-like of length n_samples, default=None
            The corpus's recordings, or any list with one entry for each recording.
        y : array-like of shape (n_samples,), default=None
            The corpus's target.
        groups : object, default=None
            Not used.

        Yields
        ------
        train, test : ndarray of int
            Row indices.

        Raises
        ------
        ValueError
            If `X` or `y` belong to another corpus, or have another order.
        """
        self._check(X, y)
        for number in range(self.get_n_splits()):
            test = self._folds == number
            yield np.flatnonzero(~test), np.flatnonzero(test)

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups : object, default=None
            Not used.

        Returns
        -------
        n_splits : int
            Number of folds.
        """
        return int(self._folds.max()) + 1

    def _check(self, X, y):
        for name, values in (("X", X), ("y", y)):
            if values is not None and len(values) != len(self._labels):
                raise ValueError(
                    f"{name} has {len(values)} entries, but the protocol "
                    f"'{self.name}' was made for {len(self._labels)} recordings."
                )
        paths = [None] if X is None or getattr(X, "ndim", 1) > 1 else list(X)
        if self._places and all(isinstance(x, str | os.PathLike) for x in paths):
            self._refuse_other("X", [place(path) for path in paths], self._places)
        labels = np.asarray(self._labels[:0] if y is None else y)
        if len(labels) and labels.dtype.kind in "OU":
            self._refuse_other("y", labels.tolist(), self._labels.tolist())

    def _refuse_other(self, name, values, expected):
        for row, (value, wanted) in enumerate(zip(values, expected, strict=True)):
            if value != wanted:
                raise ValueError(
                    f"{name} differs from the data of the protocol '{self.name}': row "
                    f"{row} is {value!r}, expected {wanted!r}."
                )

    def __repr__(self):
        return (
            f"Protocol('{self.name}', version={self.version}, "
            f"n_folds={self.get_n_splits()}, hash='{self.hash}')"
        )


def stem(path):
    """Return the name of a file, without folders and suffix."""
    return Path(path).stem.strip() if isinstance(path, str | os.PathLike) else ""


def place(path):
    """Return two folders and the stem of a path, to compare recordings."""
    path = Path(path) if isinstance(path, str | os.PathLike) else Path()
    return "/".join([*path.parts[-3:-1], path.stem.strip()])
