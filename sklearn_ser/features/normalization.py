"""Normalisation without labels, of one sequence or of all sequences of a speaker."""

from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from .._sklearn import StrOptions
from ..exceptions import SpeakersMissingWarning, warn_caller
from ..sequences import (
    check_sequences,
    check_speakers,
    frame_statistics,
    is_ragged,
    standardized,
)

# A band that varies by less than this, in dB, is constant up to rounding.
_FLAT = 1e-4


def _utterance(features):
    """Give each band zero mean and unit variance over the frames of the recording."""
    centred = features - features.mean(axis=1, keepdims=True, dtype=np.float64)
    std = np.sqrt(np.square(centred).mean(axis=1, keepdims=True))
    centred[std[:, 0] < _FLAT] = 0.0
    return np.divide(centred, std, out=centred, where=std >= _FLAT)


def _level(features):
    """Subtract the mean over all cells, which is how loud the recording is."""
    return features - features.mean(dtype=np.float64).astype(features.dtype)


NORMALIZATIONS = {"level": _level, "utterance": _utterance}


def normalize_sequence(features, mode):
    """Normalise one sequence.

    Parameters
    ----------
    features : ndarray of shape (n_features, n_frames)
        The sequence; it is not changed.
    mode : {"level", "utterance"} or None
        ``"level"`` subtracts the mean over all cells; ``"utterance"`` gives each
        band zero mean and unit variance over the frames, and a band that does not
        vary becomes zero. None returns `features`.

    Returns
    -------
    normalized : ndarray of shape (n_features, n_frames)
        The normalised sequence.
    """
    return features if mode is None else NORMALIZATIONS[mode](features)


class SpeakerNormalizer(TransformerMixin, BaseEstimator):
    """Give the features of each speaker mean zero and variance one.

    The statistics are those of all frames of a speaker's utterances. They need no
    label, but they need the utterances of a test speaker together: figures obtained
    with them are *transductive* and belong in a separate table.

    Parameters
    ----------
    unseen : {"utterance", "global"} or None, default="global"
        What ``transform`` does without speakers: normalise each utterance by itself,
        normalise all by the statistics of all data of the fit, or raise an error.
        Scorers and ``cross_val_predict`` of scikit-learn pass no speakers to
        ``transform``.

    Attributes
    ----------
    mean_, scale_ : array of shape (n_features,)
        Statistics of all data of the fit.
    speaker_statistics_ : dict
        Mean and scale of each speaker of the fit.
    n_features_in_ : int
        Number of features of a sequence.

    Notes
    -----
    Each speaker is normalised by its own utterances, so that no data pass from one
    speaker to another. Applied once before a cross-validation by speaker, it gives the
    same features as inside of each fold::

        Z = SpeakerNormalizer().fit_transform(LogMelTransformer().transform(X),
                                              speakers=speakers)
        speaker_cross_validate(DSNetClassifier(), Z, y, speakers)

    Inside of a pipeline ``speaker_cross_validate`` passes the test speakers on.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser.features import SpeakerNormalizer
    >>> X = [np.full((2, 3), 1.0), np.full((2, 5), 3.0), np.full((2, 4), 8.0)]
    >>> Z = SpeakerNormalizer().fit_transform(X, speakers=["ann", "ann", "bob"])
    >>> [round(float(z[0, 0]), 2) for z in Z]
    [-1.29, 0.77, 0.0]
    """

    __metadata_request__fit: ClassVar = {"speakers": True}
    __metadata_request__transform: ClassVar = {"speakers": True}

    _parameter_constraints: ClassVar = {
        "unseen": [StrOptions({"utterance", "global"}), None],
    }

    def __init__(self, unseen="global"):
        self.unseen = unseen

    def fit(self, X, y=None, *, speakers=None):
        """Compute the statistics of each speaker, and those of all data.

        Parameters
        ----------
        X : list or object array of (n_features, n_frames) arrays, or array of \
                shape (n_samples, n_features, n_frames) or (n_samples, n_features)
            Sequences; a 2-D array holds one frame each.
        y : None
            Ignored.
        speakers : array-like of shape (n_samples,), default=None
            Who speaks. A fit without them warns, unless each utterance is to be
            normalised by itself.

        Returns
        -------
        self : object
            Fitted transformer.

        Raises
        ------
        ValueError, TypeError
            If X or speakers are not as described; the message says where.
        """
        self._validate_params()
        fresh = clone(self)  # a fit that fails leaves this one as it was
        sequences = check_sequences(X, estimator=fresh, reset=True)
        fresh.mean_, fresh.scale_ = frame_statistics(sequences)
        fresh.speaker_statistics_ = {}
        if speakers is not None:
            fresh.speaker_statistics_ = _by_speaker(sequences, speakers)
        elif self.unseen != "utterance":
            warn_caller(_MISSING, SpeakersMissingWarning)
        vars(self).pop("feature_names_in_", None)
        fitted = {n: value for n, value in vars(fresh).items() if n.endswith("_")}
        vars(self).update(fitted)
        return self

    def transform(self, X, *, speakers=None):
        """Normalise sequences.

        Parameters
        ----------
        X : sequences
            As in ``fit``.
        speakers : array-like of shape (n_samples,), default=None
            Who speaks. A speaker of the fit is normalised by the statistics of the fit,
            another one by those of its utterances in `X`.

        Returns
        -------
        list or array like `X`, float32
            The normalised sequences.

        Raises
        ------
        ValueError
            If both `speakers` and `unseen` are None.
        """
        check_is_fitted(self)
        sequences = check_sequences(X, estimator=self, reset=False)
        if speakers is not None:
            known = _by_speaker(sequences, speakers) | self.speaker_statistics_
            statistics = [known[speaker] for speaker in np.asarray(speakers).tolist()]
        elif self.unseen == "utterance":
            statistics = [frame_statistics([x]) for x in sequences]
        elif self.unseen == "global":
            statistics = [(self.mean_, self.scale_)] * len(sequences)
        else:
            raise ValueError(_MISSING)
        Z = [
            standardized(np.asarray(x), mean, scale)
            for x, (mean, scale) in zip(sequences, statistics, strict=True)
        ]
        if is_ragged(X):
            return Z
        return np.stack(Z).reshape(np.shape(np.asarray(X)))

    def fit_transform(self, X, y=None, *, speakers=None):
        """Fit, then normalise the same sequences.

        Parameters
        ----------
        X : sequences
            As in ``fit``.
        y : None
            Ignored.
        speakers : array-like of shape (n_samples,), default=None
            Who speaks.

        Returns
        -------
        list or array like `X`, float32
            The normalised sequences.
        """
        return self.fit(X, speakers=speakers).transform(X, speakers=speakers)

    def set_output(self, *, transform=None):
        """Do nothing, since sequences do not fit into a data frame.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            Ignored.

        Returns
        -------
        self : SpeakerNormalizer
            The transformer itself.
        """
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        return tags


_MISSING = (
    "SpeakerNormalizer needs speakers and got none. Pass them as fit_transform(X, "
    "speakers=s) and transform(X, speakers=s), use "
    "sklearn_ser.model_selection.speaker_cross_validate, or set "
    'unseen="utterance", which needs none.'
)


def _by_speaker(sequences, speakers):
    """Return the statistics of each speaker."""
    check_speakers(speakers, len(sequences))
    rows = {}
    for row, name in enumerate(np.asarray(speakers).tolist()):
        rows.setdefault(name, []).append(row)
    return {
        name: frame_statistics([sequences[row] for row in indices])
        for name, indices in rows.items()
    }
