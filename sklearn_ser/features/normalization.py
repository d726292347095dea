"""Normalisation by speaker, for speakers of the fit and for enrolled speakers."""

from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from .._csv import find_twin
from .._sklearn import Interval, StrOptions
from ..exceptions import OneSidedEnrollmentWarning, SpeakersMissingWarning, warn_caller
from ..sequences import check_batch, frame_statistics, is_ragged, standardized
from ._speaker_groups import normalized_by_group, numbered
from ._speaker_offsets import effective_number, enroll_voices, fit_voices


class SpeakerNormalizer(TransformerMixin, BaseEstimator):
    """Centre the features of each speaker, in the fit or enrolled later.

    A speaker's mean is shrunk towards the mean of the training speakers (MAP adaptation
    [1]_). The fewer recordings the speaker has, the stronger it is shrunk, so one
    recording does no harm. A new voice needs no labels. If the fit has labels, the mean
    of a new voice is corrected for the emotions that its recordings seem to show,
    because calm speech changes the mean, too.

    Parameters
    ----------
    unseen : {"global", "utterance"} or None, default="global"
        How ``transform`` normalises a recording of an unknown speaker. "global" uses
        the statistics of the training speakers, "utterance" uses the recording itself,
        and None raises an error. Without `speakers`, all speakers are unknown: scorers
        and ``cross_val_predict`` of scikit-learn pass none.
    center : bool, default=True
        If True, subtract the mean of the speaker.
    scale : bool, default=False
        If True, divide by the deviation of the speaker, shrunk in the same way.
    relevance_factor : float, default=3
        The number of recordings at which a speaker's offset counts half. With 0,
        nothing is shrunk.

    Attributes
    ----------
    mean_, scale_ : array of shape (n_features,)
        Mean and deviation of the average training speaker.
    speaker_statistics_ : dict
        Mean and scale of each speaker of the fit and each enrolled speaker.
    emotions_ : array of shape (n_classes,) or None
        The sorted labels of the fit, or None if it had no labels.
    emotion_model_ : dict of str to array
        The values for enrolment: the average recording and, if the fit had labels, the
        offset of each emotion and a discriminant that predicts the emotions.
    n_features_in_ : int
        Number of features of a sequence.

    Notes
    -----
    m is the mean of k recordings, g the mean of the training speakers, mu_c the offset
    of emotion c, and q_c the share of c in the recordings::

        offset = k / (k + relevance_factor) * (m - g - sum_c q_c mu_c)

    A linear discriminant analysis predicts the shares p_c after the offset is
    subtracted. If the offset is wrong, these shares are wrong, too. If they contain all
    emotions, equal shares are a better estimate. So q = (1 - e) p + e / n_classes,
    where e is the effective share of the classes, exp(entropy(p)) / n_classes. The
    offset and the shares are computed in turn, ten times. Training speakers are centred
    by their labels.

    Three kinds of figures belong in separate tables. Inductive figures enroll nothing
    of a test speaker, enrolled figures enroll some recordings and do not score them,
    and transductive figures enroll all. The parameter `enrollment` of
    ``speaker_cross_validate`` chooses the kind.

    References
    ----------
    .. [1] Reynolds, Quatieri and Dunn, "Speaker Verification Using Adapted Gaussian
       Mixture Models", Digital Signal Processing 10, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser.features import SpeakerNormalizer
    >>> X = np.array([[1.0], [3.0], [8.0], [8.0]])
    >>> normalizer = SpeakerNormalizer().fit(X, speakers=["ann", "ann", "bob", "bob"])
    >>> normalizer = normalizer.enroll([[11.0]] * 7, ["cem"] * 7)
    >>> normalizer.transform([[11.0]], speakers=["cem"])
    array([[1.8]], dtype=float32)
    """

    __metadata_request__fit: ClassVar = {"speakers": True}
    __metadata_request__transform: ClassVar = {"speakers": True}

    _parameter_constraints: ClassVar = {
        "unseen": [StrOptions({"utterance", "global"}), None],
        "center": ["boolean"],
        "scale": ["boolean"],
        "relevance_factor": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self, unseen="global", *, center=True, scale=False, relevance_factor=3.0
    ):
        self.unseen = unseen
        self.center = center
        self.scale = scale
        self.relevance_factor = relevance_factor

    def fit(self, X, y=None, *, speakers=None):
        """Compute the statistics of each speaker and of the average speaker.

        Parameters
        ----------
        X : list or object array of (n_features, n_frames) arrays, or array of \
                shape (n_samples, n_features, n_frames) or (n_samples, n_features)
            Sequences. A row of a 2-D array is a sequence of one frame.
        y : array-like of shape (n_samples,), default=None
            Emotions. With emotions, a speaker's mean does not depend on the frequency
            of each emotion, and enrolment knows the emotions. They are ignored if a
            value is -1, which masks the label of a target domain.
        speakers : array-like of shape (n_samples,), default=None
            The speaker of each recording. A fit without speakers warns, unless `unseen`
            is "utterance".

        Returns
        -------
        self : object
            Fitted transformer.

        Raises
        ------
        ValueError, TypeError
            If X or speakers are not as described. The message names the place.
        """
        self._validate_params()
        fresh = clone(self)  # a fit that fails leaves this one as it was
        sequences = check_batch(X, estimator=fresh, reset=True)
        options = {"scale": self.scale, "relevance_factor": self.relevance_factor}
        vars(fresh).update(fit_voices(sequences, y, speakers, **options))
        if speakers is None and self.unseen != "utterance":
            warn_caller(_MISSING, SpeakersMissingWarning)
        vars(self).pop("feature_names_in_", None)
        fitted = {n: value for n, value in vars(fresh).items() if n.endswith("_")}
        vars(self).update(fitted)
        return self

    def enroll(self, X, speakers):
        """Add new voices, from a few unlabelled recordings each.

        Parameters
        ----------
        X : sequences
            As in ``fit``.
        speakers : array-like of shape (n_samples,)
            The speaker of each recording. A call replaces a known speaker, so pass all
            recordings of a speaker in one call.

        Returns
        -------
        self : object
            The transformer itself. Saving it keeps the voices.

        Raises
        ------
        ValueError, TypeError
            If X or speakers are not as described. The message names the place, and no
            voice is added.

        Warns
        -----
        OneSidedEnrollmentWarning
            If five or more recordings of a voice seem to show mainly one emotion.
        """
        for name, (shares, n_recordings) in self._add_voices(X, speakers).items():
            # One emotion alone has 0, equally frequent ones have 1.
            variety = (effective_number(shares) - 1) / (len(shares) - 1)
            if n_recordings >= _MANY and variety < _ONE_SIDED:
                top = int(np.argmax(shares))
                warn_caller(
                    f"The recordings of speaker {name!r} seem to show mostly "
                    f"{self.emotions_.tolist()[top]!r}. The voice is enrolled, but "
                    "recordings of several emotions would work better.",
                    OneSidedEnrollmentWarning,
                )
        return self

    def _add_voices(self, X, speakers):
        """Add voices without a warning, and return the emotions of each."""
        check_is_fitted(self)
        if not hasattr(self, "emotion_model_"):
            raise ValueError(
                "This SpeakerNormalizer was fitted by an earlier version and lacks "
                "the values for enrolment. Fit it again."
            )
        sequences = check_batch(X, estimator=self, reset=False)
        if speakers is None:
            raise ValueError("speakers is None, expected a speaker for each recording.")
        voices, seen = enroll_voices(
            sequences,
            speakers,
            self.emotion_model_,
            self.scale_,
            scale=self.scale,
            relevance_factor=self.relevance_factor,
        )
        self.speaker_statistics_ = self.speaker_statistics_ | voices
        return seen

    def transform(self, X, *, speakers=None):
        """Normalise sequences.

        Parameters
        ----------
        X : sequences
            As in ``fit``.
        speakers : array-like of shape (n_samples,), default=None
            The speaker of each recording. The statistics of the speaker normalise the
            recordings of a known speaker. `unseen` decides for any other speaker.

        Returns
        -------
        list or array like `X`, float32
            The normalised sequences.

        Raises
        ------
        ValueError
            If `unseen` is None, and `speakers` is None or has an unknown speaker.

        Warns
        -----
        UserWarning
            If an unknown speaker is a known one in another type or spelling: "1" for 1.
        """
        check_is_fitted(self)
        sequences = check_batch(X, estimator=self, reset=False)
        names, codes = numbered(speakers, len(sequences))
        self._tell_twins(names or [])
        statistics = [self._statistics(name) for name in names or [None]]
        if isinstance(sequences, np.ndarray) and sequences.ndim == 2:
            return self._normalized_vectors(sequences, codes, statistics)
        Z = []
        for x, code in zip(sequences, codes, strict=True):
            mean, scale = statistics[code] or frame_statistics([x])
            mean = mean if self.center else np.zeros_like(mean)
            scale = scale if self.scale else np.ones_like(scale)
            Z.append(standardized(x, mean, scale))
        return Z if is_ragged(X) else np.stack(Z)

    def _tell_twins(self, names):
        """Warn about unknown speakers that seem to be known ones, written otherwise."""
        unknown = [name for name in names if name not in self.speaker_statistics_]
        twins = [(name, find_twin(name, self.speaker_statistics_)) for name in unknown]
        told = [f"{one!r} for {other!r}" for one, other in twins if other is not None]
        if told:
            warn_caller(
                f"speakers has {len(told)} unknown speaker(s) that seem to be known, "
                f"such as {told[0]}. They count as unknown: expected the type and the "
                "spelling of the fit or the enrolment."
            )

    def _statistics(self, name):
        """Return mean and scale for a speaker, or None if a recording has its own."""
        if name is not None and name in self.speaker_statistics_:
            return self.speaker_statistics_[name]
        if self.unseen == "global":
            return self.mean_, self.scale_
        if self.unseen == "utterance":
            return None
        if name is None:
            raise ValueError(_MISSING)
        raise ValueError(
            f"Speaker {name!r} is neither in the fit nor enrolled. Enroll it, "
            'or set unseen="global".'
        )

    def _normalized_vectors(self, X, codes, statistics):
        """Normalise vectors, sequences of one frame, without a loop over them."""
        alone = np.array([own is None for own in statistics])
        statistics = [own or (self.mean_, self.scale_) for own in statistics]
        means, scales = map(np.stack, zip(*statistics, strict=True))
        Z = normalized_by_group(
            X, codes, means if self.center else None, scales if self.scale else None
        )
        if alone.any():  # one frame is its own mean and has no deviation
            rows = alone[codes]
            Z[rows] = 0 if self.center else X[rows]
        return Z

    def fit_transform(self, X, y=None, *, speakers=None):
        """Fit, then normalise the same sequences.

        Parameters
        ----------
        X : sequences
            As in ``fit``.
        y : array-like of shape (n_samples,), default=None
            Emotions.
        speakers : array-like of shape (n_samples,), default=None
            The speaker of each recording.

        Returns
        -------
        list or array like `X`, float32
            The normalised sequences.
        """
        return self.fit(X, y, speakers=speakers).transform(X, speakers=speakers)

    def __setstate__(self, state):
        """Take the state of a pickle; earlier versions divided and did not shrink."""
        earlier = {"center": True, "scale": True, "relevance_factor": 0.0}
        super().__setstate__((earlier if "scale" not in state else {}) | state)

    def set_output(self, *, transform=None):
        """Do nothing, because sequences do not fit into a data frame.

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


# An enrolment of fewer recordings cannot show many emotions.
_MANY = 5
# Below this variety an enrolment is called one-sided. On four corpora, ten recordings
# drawn from all emotions had 0.44 or more.
_ONE_SIDED = 0.4

_MISSING = (
    "SpeakerNormalizer needs speakers and got none. Pass them as fit_transform(X, "
    "speakers=s) and transform(X, speakers=s), use "
    "sklearn_ser.model_selection.speaker_cross_validate, or set "
    'unseen="utterance", which needs none.'
)
