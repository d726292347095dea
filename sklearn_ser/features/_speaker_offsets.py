"""The offset of a voice from the average voice, from few recordings of any emotion."""

from dataclasses import dataclass
from numbers import Number

import numpy as np
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.utils.multiclass import type_of_target

from .._validation import as_column
from ..baseline import EqualPriorsLDA
from ..sequences import check_length, usable_scale
from ._speaker_groups import Groups, numbered, sums_by_group

# Discriminant scores of new voices are overconfident: they are divided by this.
_SOFTENING = 4.0
_N_ROUNDS = 10


def fit_voices(sequences, y, speakers, *, scale, relevance_factor):
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


def enroll_voices(sequences, speakers, model, average, *, scale, relevance_factor):
    """Return the statistics of each voice, and the emotions of its recordings.

    Parameters
    ----------
    sequences : list of arrays of shape (n_features, n_frames)
        The recordings.
    speakers : array-like of shape (n_samples,)
        The speaker of each recording.
    model, average : dict and ndarray
        `emotion_model_` and `scale_` of the fit.
    scale, relevance_factor : bool and float
        As of `SpeakerNormalizer`.

    Returns
    -------
    voices : dict of speaker to (mean, scale)
        In the order in which they speak first.
    seen : dict of speaker to (shares, n_recordings)
        The share of each emotion; empty if the fit had no labels.
    """
    names, codes = numbered(speakers, len(sequences))
    means, variances = _recording_statistics(sequences)
    model, n_features = EmotionModel(**model), len(average)
    with_deviations = len(model.mean) > n_features
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order])) + 1
    voices, seen = {}, {}
    for name, own in zip(names, np.split(order, starts), strict=True):
        parts = means[own], None if variances is None else variances[own]
        vectors = _vectors(*parts, with_deviations=with_deviations).astype(np.float64)
        offset, shares = model.offset(vectors, relevance_factor)
        deviation = average
        if scale:
            values = vectors[:, :n_features]
            mean = values.mean(axis=0)
            squares = ((values - mean) ** 2).sum(axis=0)
            if variances is not None:
                squares += parts[1].sum(axis=0)
            deviation = _shrunk_deviation(
                squares, mean, len(own), average, relevance_factor
            )
        voices[name] = (model.mean + offset)[:n_features], deviation
        if shares is not None:
            seen[name] = shares, len(own)
    return voices, seen


def _recording_statistics(sequences):
    """Return mean and variance over the frames of each recording.

    The variances are None if no recording varies. Vectors are their own means.
    """
    if isinstance(sequences, np.ndarray) and sequences.ndim == 2:
        return sequences, None
    means, variances = [], []
    for x in sequences:
        frames = np.asarray(x, np.float64)
        means.append(frames.mean(axis=1))
        variances.append(frames.var(axis=1))
    variances = np.stack(variances)
    return np.stack(means), variances if variances.any() else None


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

    Parameters
    ----------
    vectors : ndarray of shape (n_recordings, n_dimensions)
        One vector for each recording.
    y : ndarray of shape (n_recordings,) or None
        Emotions.
    groups : Groups
        The recordings of each speaker.
    relevance_factor : float
        The number of recordings whose mean counts half.

    Returns
    -------
    offsets : ndarray of shape (n_speakers, n_dimensions)
        How far each speaker is from the mean.
    model : dict of str to ndarray
        The arguments of :class:`EmotionModel`.
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
    lda = EqualPriorsLDA().fit(centred[twice], codes[twice]).lda_
    mean = emotions.mean(axis=0)
    return offsets, {
        "mean": mean,
        "emotions": emotions - mean,
        "coef": lda.coef_ / scale,
        "intercept": lda.intercept_,
    }


@dataclass(frozen=True)
class EmotionModel:
    """The model of a new voice from the training speakers; see `SpeakerNormalizer`.

    Without emotions, the offset is that of the mean alone.
    """

    mean: np.ndarray
    emotions: np.ndarray | None = None
    coef: np.ndarray | None = None
    intercept: np.ndarray | None = None

    def offset(self, vectors, relevance_factor):
        """Return a voice's offset, and the share of each emotion in its recordings."""
        k = len(vectors)
        shrink = k / (k + relevance_factor)
        gap = vectors.mean(axis=0) - self.mean
        if self.emotions is None:
            return shrink * gap, None
        offset = np.zeros_like(gap)
        for _ in range(_N_ROUNDS):
            shares = self._probabilities(vectors - offset).mean(axis=0)
            even = effective_number(shares) / len(shares)
            mix = (1 - even) * shares + even / len(shares)
            offset = shrink * (gap - mix @ self.emotions)
        return offset, shares

    def _probabilities(self, vectors):
        scores = vectors @ self.coef.T + self.intercept
        if scores.shape[1] == 1:  # of two classes, the second one's score
            scores = np.hstack([np.zeros_like(scores), scores])
        return softmax(scores / _SOFTENING, axis=1)


def effective_number(shares):
    """Return the number of equally frequent emotions with the entropy of the shares."""
    return float(np.exp(entropy(shares)))
