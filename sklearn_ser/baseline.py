"""Linear methods of the command line, on one vector per recording."""

from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_is_fitted

from ._sklearn import AUTO, POSITIVE
from ._validation import shown
from .calibration import left_out_temperature
from .sequences import check_sequences, check_speakers, frame_moments


class FrameStatistics(TransformerMixin, BaseEstimator):
    """Mean and standard deviation over the frames of each sequence."""

    def fit(self, X, y=None):
        """Check the sequences; only the number of features is learnt."""
        check_sequences(X, estimator=self, reset=True)
        return self

    def transform(self, X):
        """Return an array (n_samples, 2 * n_features): means, then deviations."""
        check_is_fitted(self)
        sequences = check_sequences(X, estimator=self, reset=False)
        moments = map(frame_moments, sequences)
        return np.stack([np.r_[mean, np.sqrt(variance)] for mean, variance in moments])


class EqualPriorsLDA(  # type: ignore[call-arg]
    LinearDiscriminantAnalysis, auto_wrap_output_keys=None
):
    """Linear discriminant analysis with shrinkage, all classes equally probable.

    scikit-learn's class takes the priors as numbers, so its caller would have to know
    how many classes each training fold has. Its scores are also far too large where
    there are more features than recordings, so a temperature divides them.

    Parameters
    ----------
    temperature : float, "auto" or None, default="auto"
        The scores are divided by it; the predicted classes stay. "auto" finds it with
        left-out speakers, so that the model is as sure of a new voice as it is right.
        If the fit gets no speakers, it leaves out recordings instead, and the model is
        too sure of a new voice. None is 1.

    Attributes
    ----------
    temperature_ : float
        What the scores, the coefficients and the intercepts are divided by.
    classes_ : ndarray
        The sorted classes.
    n_features_in_ : int
        Columns of `X`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser.baseline import EqualPriorsLDA
    >>> speakers, y = np.repeat([0, 1, 2], 10), np.arange(30) % 2
    >>> X = np.random.default_rng(0).normal(size=(30, 4)) + y[:, None]
    >>> model = EqualPriorsLDA().fit(X, y, speakers=speakers)
    >>> model.predict_proba(X).shape
    (30, 2)
    """

    __metadata_request__fit: ClassVar = {"speakers": True}

    # Checked by the fit of scikit-learn's class.
    _parameter_constraints: ClassVar = {"temperature": [AUTO, POSITIVE, None]}

    # Of scikit-learn's parameters; `get_params` names only those of the constructor.
    solver, shrinkage, covariance_estimator = "lsqr", "auto", None
    n_components, store_covariance, tol = None, False, 1e-4

    def __init__(self, *, temperature="auto"):
        self.temperature = temperature

    @property
    def priors(self):
        """The same number for each class."""
        return np.full(len(self.classes_), 1 / len(self.classes_))

    def fit(self, X, y, *, speakers=None):
        """Estimate the classes' means, their common covariance and the temperature."""
        super().fit(X, y)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y has one class only ({shown(self.classes_[0])}), expected "
                "at least 2."
            )
        self.temperature_ = self.temperature or 1.0
        if self.temperature == "auto":
            X = check_array(X, dtype=np.float64)
            codes = np.unique(np.asarray(y), return_inverse=True)[1].ravel()
            speakers = check_speakers(speakers, len(X))
            self.temperature_ = left_out_temperature(X, codes, speakers)
        self.coef_ = self.coef_ / self.temperature_
        self.intercept_ = self.intercept_ / self.temperature_
        return self

    @available_if(lambda self: False)
    def transform(self, X):
        """Hide what scikit-learn's class has with another solver."""

    fit_transform = transform

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags = None
        return tags


def make_baseline(of_frames):
    """Return the baseline, unfitted: shrinkage LDA on scaled vectors.

    With `of_frames` it takes sequences, whose statistics are the vectors.
    """
    return _on_vectors(EqualPriorsLDA(), of_frames)


def make_logistic(of_frames):
    """Return the same with logistic regression, which takes weights of recordings.

    Its penalty was chosen on two corpora, each left out of the training in turn.
    """
    return _on_vectors(LogisticRegression(C=1e-3, max_iter=1000), of_frames)


def _on_vectors(classifier, of_frames):
    """Return a classifier behind a scaler, and behind statistics of sequences."""
    statistics = [FrameStatistics()] if of_frames else []
    return make_pipeline(*statistics, StandardScaler(), classifier)
