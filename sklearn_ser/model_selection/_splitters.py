"""A splitter by corpus."""

from sklearn.model_selection import LeaveOneGroupOut

from ._checks import check_corpora


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
