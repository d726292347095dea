"""The baseline of the command line: shrinkage LDA on one vector per recording."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from .sequences import check_sequences


class FrameStatistics(TransformerMixin, BaseEstimator):
    """Mean and standard deviation over the frames of each sequence."""

    def fit(self, X, y=None):
        """Check the sequences; only the number of features is learnt.

        Parameters
        ----------
        X : batch of sequences
            The output of LogMelTransformer.
        y : ignored
            For the API's sake.

        Returns
        -------
        self : FrameStatistics
            The transformer itself.
        """
        check_sequences(X, estimator=self, reset=True)
        return self

    def transform(self, X):
        """Return a vector for each sequence.

        Parameters
        ----------
        X : batch of sequences
            As for `fit`.

        Returns
        -------
        vectors : ndarray of shape (n_samples, 2 * n_features)
            The means, then the deviations.
        """
        check_is_fitted(self)
        sequences = check_sequences(X, estimator=self, reset=False)
        return np.stack([_statistics(np.asarray(x, np.float64)) for x in sequences])


def _statistics(x):
    return np.concatenate([x.mean(axis=1), x.std(axis=1)])


class EqualPriorsLDA(ClassifierMixin, BaseEstimator):
    """Linear discriminant analysis with shrinkage, all classes equally probable.

    scikit-learn's class takes the priors as numbers, so its caller would have to know
    how many classes each training fold has.

    Attributes
    ----------
    lda_ : LinearDiscriminantAnalysis
        The fitted model.
    classes_ : ndarray
        The sorted classes.
    n_features_in_ : int
        Columns of `X`.
    """

    def fit(self, X, y):
        """Estimate the classes' means and their common covariance.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Vectors.
        y : array-like of shape (n_samples,)
            Labels.

        Returns
        -------
        self : EqualPriorsLDA
            The fitted classifier.
        """
        n_classes = len(np.unique(y))
        self.lda_ = LinearDiscriminantAnalysis(
            solver="lsqr",
            shrinkage="auto",
            priors=np.full(n_classes, 1 / max(n_classes, 1)),
        ).fit(X, y)
        self.classes_ = self.lda_.classes_
        self.n_features_in_ = self.lda_.n_features_in_
        return self

    def decision_function(self, X):
        """Return the score of each class for each vector.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Vectors.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes)
            One column for each class; for two classes, one number a vector.
        """
        check_is_fitted(self)
        return self.lda_.decision_function(X)

    def predict(self, X):
        """Return the most probable class of each vector.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Vectors.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            The predictions.
        """
        check_is_fitted(self)
        return self.lda_.predict(X)

    def predict_proba(self, X):
        """Return the probability of each class for each vector.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Vectors.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        check_is_fitted(self)
        return self.lda_.predict_proba(X)

    def predict_log_proba(self, X):
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Vectors.

        Returns
        -------
        logarithms : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        check_is_fitted(self)
        return self.lda_.predict_log_proba(X)


def make_baseline(of_frames):
    """Return the baseline, unfitted.

    Parameters
    ----------
    of_frames : bool
        True for sequences. Their statistics are then the vectors.

    Returns
    -------
    pipeline : Pipeline
        Shrinkage LDA on scaled vectors.
    """
    steps = [StandardScaler(), EqualPriorsLDA()]
    return make_pipeline(*([FrameStatistics()] if of_frames else []), *steps)
