"""Normalisation by speaker, for speakers of the fit and for enrolled speakers.

The estimator keeps what `fit_voices` and `add_voices` find: the offset of a voice from
the average voice, also from few recordings of any emotion.
"""

from numbers import Number, Real
from typing import ClassVar

import numpy as np
from scipy.sparse import csc_array
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from .._csv import find_twin
from .._sklearn import Interval, StrOptions
from .._validation import as_column
from ..baseline import EqualPriorsLDA
from ..exceptions import OneSidedEnrollmentWarning, SpeakersMissingWarning, warn_caller
from ..sequences import (
    check_batch,
    check_length,
    check_speakers,
    frame_moments,
    frame_statistics,
    is_ragged,
    standardized,
    usable_scale,
)

# Discriminant scores of new voices are overconfident: they are divided by this.
_SOFTENING = 4.0
_N_ROUNDS = 10
_BLOCK = 256  # rows in double precision at once
MANY = 5
"""An enrolment of fewer recordings cannot show many emotions."""
ONE_SIDED = 0.4
"""Below this variety an enrolment is called one-sided. On four corpora, ten recordings
drawn from all emotions had 0.44 or more."""

_MISSING = (
    "SpeakerNormalizer needs speakers and got none. Pass them as fit_transform(X, "
    "speakers=s) and transform(X, speakers=s), use "
    "sklearn_ser.model_selection.speaker_cross_validate, or set "
    'unseen="utterance", which needs none.'
)
_ONE_FRAME = (
    'unseen="utterance" normalises a recording by its own frames, but {} recording(s) '
    "of unknown speakers have one frame. The statistics of the training speakers are "
    "used for them."
)


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
        the statistics of the training speakers, "utterance" uses the recording itself
        if it has several frames, and None raises an error. Without `speakers`, all
        speakers are unknown: scorers and ``cross_val_predict`` of scikit-learn pass
        none.
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
        learned = fit_voices(sequences, y, speakers, self.scale, self.relevance_factor)
        vars(fresh).update(learned)
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
        for name, (shares, n_recordings, _) in add_voices(self, X, speakers).items():
            if n_recordings >= MANY and variety(shares) < ONE_SIDED:
                top = int(np.argmax(shares))
                warn_caller(
                    f"The recordings of speaker {name!r} seem to show mostly "
                    f"{self.emotions_.tolist()[top]!r}. The voice is enrolled, but "
                    "recordings of several emotions would work better.",
                    OneSidedEnrollmentWarning,
                )
        return self

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
            If `unseen` is "utterance", and a recording of an unknown speaker has one
            frame. The statistics of the training speakers normalise it.
        """
        check_is_fitted(self)
        sequences = check_batch(X, estimator=self, reset=False)
        names, codes = numbered(speakers, len(sequences))
        self._tell_twins(names or [])
        statistics = [self._statistics(name) for name in names or [None]]
        alone = np.array([own is None for own in statistics])[codes]
        average = self.mean_, self.scale_
        statistics = [self._used(*(own or average)) for own in statistics]
        are_vectors = isinstance(sequences, np.ndarray) and sequences.ndim == 2
        short = [are_vectors or x.shape[1] == 1 for x in sequences]
        alone, n_short = alone & ~np.array(short), np.sum(alone & short)
        if n_short and (self.center or self.scale):
            warn_caller(_ONE_FRAME.format(n_short))
        if are_vectors:
            means, scales = map(np.stack, zip(*statistics, strict=True))
            return normalized_by_group(sequences, codes, means, scales)
        Z = []
        for x, code, is_alone in zip(sequences, codes, alone, strict=True):
            own = self._used(*frame_statistics([x])) if is_alone else statistics[code]
            Z.append(standardized(x, *own))
        return Z if is_ragged(X) else np.stack(Z)

    def _used(self, mean, scale):
        """Return what is subtracted, and what is divided by."""
        mean = mean if self.center else np.zeros_like(mean)
        return mean, scale if self.scale else np.ones_like(scale)

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


def add_voices(normalizer, X, speakers):
    """Add voices without a warning, and return what the recordings of each show.

    This is a dict of speaker to the share of each emotion, the number of recordings,
    and the shares by sharp scores. It is empty if the fit had no labels.
    """
    check_is_fitted(normalizer)
    sequences = check_batch(X, estimator=normalizer, reset=False)
    if speakers is None:
        raise ValueError("speakers is None, expected a speaker for each recording.")
    names, codes = numbered(speakers, len(sequences))
    means, variances = _recording_statistics(sequences)
    model, average = normalizer.emotion_model_, normalizer.scale_
    factor, n_features = normalizer.relevance_factor, len(average)
    with_deviations = len(model["mean"]) > n_features
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order])) + 1
    voices, seen = {}, {}
    for name, own in zip(names, np.split(order, starts), strict=True):
        parts = means[own], None if variances is None else variances[own]
        vectors = _vectors(*parts, with_deviations=with_deviations).astype(np.float64)
        offset, shares = _offset(model, vectors, factor)
        deviation = average
        if normalizer.scale:
            values = vectors[:, :n_features]
            mean = values.mean(axis=0)
            squares = ((values - mean) ** 2).sum(axis=0)
            if variances is not None:
                squares += parts[1].sum(axis=0)
            deviation = _shrunk_deviation(squares, mean, len(own), average, factor)
        voices[name] = (model["mean"] + offset)[:n_features], deviation
        if shares is not None:
            _, sharp_shares = _offset(model, vectors, factor, is_sharp=True)
            seen[name] = shares, len(own), sharp_shares
    normalizer.speaker_statistics_ = normalizer.speaker_statistics_ | voices
    return seen


def fit_voices(sequences, y, speakers, scale, relevance_factor):
    """Return what `SpeakerNormalizer` learns, as a dict of its attributes."""
    means, variances = _recording_statistics(sequences)
    names, codes = numbered(speakers, len(means))
    y = _usable_labels(y, len(means)) if names else None
    vectors = _vectors(means, variances, with_deviations=variances is not None)
    groups = Groups(vectors, codes)
    offsets, model = speaker_offsets(vectors, y, groups, relevance_factor)
    voices = model["mean"] + offsets
    n_features = means.shape[1]
    squares = groups.squares_about(voices)[:, :n_features]
    within = groups.squares_about(groups.means)[:, :n_features]
    if variances is not None:
        of_frames = sums_by_group(variances, codes, len(squares))
        squares, within = squares + of_frames, within + of_frames
    own_means = groups.means[:, :n_features]
    average = _deviation(squares, own_means, groups.counts)
    deviations = [average] * len(voices)
    if scale:
        k = groups.counts[:, None]
        deviations = _shrunk_deviation(within, own_means, k, average, relevance_factor)
    own = zip(voices[:, :n_features], deviations, strict=True)
    return {
        "mean_": model["mean"][:n_features],
        "scale_": average,
        "speaker_statistics_": dict(zip(names, own, strict=False)),
        "emotions_": None if y is None else np.unique(y),
        "emotion_model_": model,
    }


def _recording_statistics(sequences):
    """Return mean and variance over the frames of each recording.

    The variances are None if no recording varies. Vectors are their own means.
    """
    if isinstance(sequences, np.ndarray) and sequences.ndim == 2:
        return sequences, None
    means, variances = map(np.stack, zip(*map(frame_moments, sequences), strict=True))
    return means, variances if variances.any() else None


def _vectors(means, variances, *, with_deviations):
    """Return a vector for each recording: its mean, and its deviation if needed."""
    if not with_deviations:
        return means
    deviations = np.zeros_like(means) if variances is None else np.sqrt(variances)
    return np.hstack([means, deviations])


def _deviation(squares, means, counts):
    """Return the root mean square over all speakers, or 1 if it is only rounding.

    Where a feature hardly varies, its values have the size of the speakers' means.
    """
    size = np.average(np.abs(means), axis=0, weights=counts)
    return usable_scale(np.sqrt(squares.sum(axis=0) / counts.sum()), size)


def _shrunk_deviation(squares, mean, count, average, relevance_factor):
    """Return a speaker's deviation, shrunk towards the average deviation."""
    shrunk = (squares + relevance_factor * average**2) / (count + relevance_factor)
    return usable_scale(np.sqrt(shrunk), np.abs(mean))


def _usable_labels(y, n_samples):
    """Return the emotions, or None if y has none to learn from."""
    if y is None:
        return None
    values = np.asarray(y, dtype=object)  # where -1 may stand beside text
    if values.ndim != 1:
        return None
    check_length("y", values, n_samples)
    # The marks of unlabelled rows, of numbers and of text.
    if any(isinstance(v, Number | str) and v in (-1, "") for v in values.tolist()):
        return None
    y = as_column(y, "y")
    if type_of_target(y, input_name="y") not in ("binary", "multiclass"):
        return None
    return y if 1 < len(np.unique(y)) < n_samples else None


def speaker_offsets(vectors, y, groups, relevance_factor):
    """Return the offset of each training speaker, and the model for later ones.

    There is one vector for each recording. Without emotions, the model is a mean.
    """
    n_recordings, counts = len(vectors), groups.counts[:, None]
    shrink = counts / (counts + relevance_factor)
    if y is None:
        mean = (counts * groups.means).sum(axis=0) / n_recordings
        return shrink * (groups.means - mean), {"mean": mean}
    classes, codes, frequencies = np.unique(y, return_inverse=True, return_counts=True)
    # The recordings of a speaker in an emotion count by their sum only.
    cells, cell, sizes = np.unique(
        groups.codes * len(classes) + codes, return_inverse=True, return_counts=True
    )
    speaker, emotion = np.divmod(cells, len(classes))
    sums, sizes = sums_by_group(vectors, cell, len(cells)), sizes[:, None]
    n_shown = np.bincount(speaker)[:, None]
    # A speaker that lacks an emotion is compared in those that it has. Where all have
    # all, the first round is exact.
    offsets = np.zeros_like(groups.means)
    for _ in range(_N_ROUNDS):
        centred = sums - sizes * offsets[speaker]
        emotions = sums_by_group(centred, emotion, len(classes)) / frequencies[:, None]
        gaps = sums / sizes - emotions[emotion]
        offsets = shrink * sums_by_group(gaps, speaker, len(counts)) / n_shown
    middle = (counts * (groups.means - offsets)).sum(axis=0) / n_recordings
    squares = groups.squares_about(middle + offsets)
    scale = _deviation(squares, groups.means, groups.counts)
    # The covariance within a class of one recording is zero either way, but
    # scikit-learn warns of one row.
    twice = np.repeat(np.arange(len(y)), np.where(frequencies[codes] == 1, 2, 1))
    centred = (vectors - offsets[groups.codes]) / scale
    lda = EqualPriorsLDA(temperature=None).fit(centred[twice], codes[twice])
    mean = emotions.mean(axis=0)
    return offsets, {
        "mean": mean,
        "emotions": emotions - mean,
        "coef": lda.coef_ / scale,
        "intercept": lda.intercept_,
    }


def _offset(model, vectors, relevance_factor, *, is_sharp=False):
    """Return a new voice's offset, and the share of each emotion in its recordings.

    The shares are None if the model is only a mean. Sharp scores take all that
    recordings seem to show for emotion, and so tell a mix of all emotions from one of
    mostly one.
    """
    k = len(vectors)
    shrink = k / (k + relevance_factor)
    gap = vectors.mean(axis=0) - model["mean"]
    if "emotions" not in model:
        return shrink * gap, None
    offset = np.zeros_like(gap)
    for _ in range(_N_ROUNDS):
        scores = (vectors - offset) @ model["coef"].T + model["intercept"]
        if scores.shape[1] == 1:  # of two classes, the second one's score
            scores = np.hstack([np.zeros_like(scores), scores])
        softening = 1 if is_sharp else _SOFTENING
        shares = mix = softmax(scores / softening, axis=1).mean(axis=0)
        if not is_sharp:
            even = effective_number(shares) / len(shares)
            mix = (1 - even) * shares + even / len(shares)
        offset = shrink * (gap - mix @ model["emotions"])
    return offset, shares


def effective_number(shares):
    """Return the number of equally frequent emotions with the entropy of the shares."""
    return float(np.exp(entropy(shares)))


def variety(shares):
    """Return 0 for one emotion alone, and 1 for equally frequent ones."""
    return (effective_number(shares) - 1) / (len(shares) - 1)


def numbered(speakers, n_samples):
    """Return the speakers as they appear, and the number of each recording's one.

    Without speakers, all recordings are of one that has no name.
    """
    if speakers is None:
        return [], np.zeros(n_samples, int)
    codes = check_speakers(speakers, n_samples)
    return list(dict.fromkeys(np.asarray(speakers).tolist())), codes


class Groups:
    """Counts, means and squares of the recordings of each speaker.

    `codes` has the number of each recording's speaker.
    """

    def __init__(self, vectors, codes):
        self.codes, self.counts = codes, np.bincount(codes)
        n = len(self.counts)
        self.means = sums_by_group(vectors, codes, n) / self.counts[:, None]
        self._squares = sums_by_group(vectors, codes, n, about=self.means)

    def squares_about(self, centres):
        """Return the sum of squared differences from a point for each speaker."""
        gaps = np.square(self.means - centres)
        return self._squares + self.counts[:, None] * gaps


def sums_by_group(values, codes, n_groups, about=None):
    """Add up the rows of each group in float64, without a loop over rows.

    With a point for each group, the squared differences from it are added up.
    """
    sums = np.zeros((n_groups, values.shape[1]))
    order = np.argsort(codes, kind="stable")  # a block meets few groups
    for start in range(0, len(order), _BLOCK):
        rows = order[start : start + _BLOCK]
        own, n = codes[rows], len(rows)
        x = values[rows].astype(np.float64, copy=False)
        x = x if about is None else np.square(x - about[own])
        shape = own[-1] - own[0] + 1, n
        members = csc_array((np.ones(n), own - own[0], np.arange(n + 1)), shape=shape)
        sums[own[0] : own[-1] + 1] += members @ x
    return sums


def normalized_by_group(values, codes, means, scales):
    """Subtract from each row the mean of its group, and divide by its scale.

    The rows are float32 and computed in float64.
    """
    normalized = np.empty_like(values)
    for start in range(0, len(values), _BLOCK):
        rows = slice(start, start + _BLOCK)
        own, x = codes[rows], values[rows].astype(np.float64)
        x -= means[own]
        x /= scales[own]
        normalized[rows] = x
    return normalized
