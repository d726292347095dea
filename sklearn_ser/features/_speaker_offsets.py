"""The offset of a voice from the average voice, from few recordings of any emotion."""

from dataclasses import dataclass
from numbers import Number

import numpy as np
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.utils.multiclass import type_of_target

from .._columns import as_column
from ..baseline import EqualPriorsLDA
from ..sequences import check_length, check_speakers, usable_scale

# Discriminant scores of new voices are overconfident: they are divided by this.
_SOFTENING = 4.0
_N_ROUNDS = 10


def fit_voices(sequences, y, speakers, *, scale, relevance_factor):
    """Return what `SpeakerNormalizer` learns, as a dict of its attributes."""
    means, variances = _recording_statistics(sequences)
    rows = _rows_by_speaker(speakers, len(sequences))
    y = _usable_labels(y, len(sequences)) if rows else None
    vectors = _vectors(means, variances, with_deviations=variances.any())
    offsets, model = speaker_offsets(vectors, y, list(rows.values()), relevance_factor)
    n_features = means.shape[1]
    mean = model["mean"][:n_features]
    centred = means - mean
    for own, offset in zip(rows.values(), offsets, strict=True):
        centred[own] -= offset[:n_features]
    average = _deviation(variances + centred**2, means)
    statistics = {}
    for (name, own), offset in zip(rows.items(), offsets, strict=True):
        shrink = relevance_factor if scale else None
        deviation = _shrunk_deviation(means[own], variances[own], average, shrink)
        statistics[name] = mean + offset[:n_features], deviation
    return {
        "mean_": mean,
        "scale_": average,
        "speaker_statistics_": statistics,
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
    rows = _rows_by_speaker(speakers, len(sequences))
    means, variances = _recording_statistics(sequences)
    model, n_features = EmotionModel(**model), len(average)
    with_deviations = len(model.mean) > n_features
    vectors = _vectors(means, variances, with_deviations=with_deviations)
    voices, seen = {}, {}
    for name, own in rows.items():
        offset, shares = model.offset(vectors[own], relevance_factor)
        shrink = relevance_factor if scale else None
        deviation = _shrunk_deviation(means[own], variances[own], average, shrink)
        voices[name] = (model.mean + offset)[:n_features], deviation
        if shares is not None:
            seen[name] = shares, len(own)
    return voices, seen


def _rows_by_speaker(speakers, n_samples):
    """Return the rows of each speaker, or nothing without speakers."""
    if speakers is None:
        return {}
    check_speakers(speakers, n_samples)
    rows = {}
    for row, name in enumerate(np.asarray(speakers).tolist()):
        rows.setdefault(name, []).append(row)
    return rows


def _recording_statistics(sequences):
    """Return mean and variance over the frames of each recording, in float64."""
    means, variances = [], []
    for x in sequences:
        frames = np.asarray(x, np.float64)
        means.append(frames.mean(axis=1))
        variances.append(frames.var(axis=1))
    return np.stack(means), np.stack(variances)


def _vectors(means, variances, *, with_deviations):
    """Return a vector for each recording: its mean, and its deviation if needed."""
    return np.hstack([means, np.sqrt(variances)]) if with_deviations else means


def _deviation(squares, values):
    """Return the root mean square, or 1 if it is only rounding of the values."""
    magnitude = np.abs(values).mean(axis=0)
    return usable_scale(np.sqrt(squares.mean(axis=0)), magnitude)


def _shrunk_deviation(means, variances, average, relevance_factor):
    """Return a speaker's deviation, shrunk towards the average deviation."""
    if relevance_factor is None:
        return average
    mean, k = means.mean(axis=0), len(means)
    squares = (variances + (means - mean) ** 2).sum(axis=0)
    shrunk = (squares + relevance_factor * average**2) / (k + relevance_factor)
    return _deviation(shrunk[None], means)


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


def speaker_offsets(vectors, y, rows, relevance_factor):
    """Return the offset of each training speaker, and the model for later ones.

    Parameters
    ----------
    vectors : ndarray of shape (n_recordings, n_dimensions)
        One vector for each recording.
    y : ndarray of shape (n_recordings,) or None
        Emotions.
    rows : list of list of int
        The recordings of each speaker.
    relevance_factor : float
        The number of recordings whose mean counts half.

    Returns
    -------
    offsets : list of ndarray of shape (n_dimensions,)
        How far each speaker is from the mean.
    model : dict of str to ndarray
        The arguments of :class:`EmotionModel`.
    """
    shrink = [len(own) / (len(own) + relevance_factor) for own in rows]
    if y is None:
        mean = vectors.mean(axis=0)
        gaps = (vectors[own].mean(axis=0) - mean for own in rows)
        offsets = [s * gap for s, gap in zip(shrink, gaps, strict=True)]
        return offsets, {"mean": mean}
    classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    rows = [np.asarray(own) for own in rows]
    shown = [np.unique(codes[own]) for own in rows]  # the emotions of each speaker
    means = [
        np.stack([vectors[own[codes[own] == c]].mean(axis=0) for c in of_speaker])
        for own, of_speaker in zip(rows, shown, strict=True)
    ]
    # A speaker that lacks an emotion is compared in those that it has. Where all have
    # all, the first round is exact.
    centred = vectors
    for _ in range(_N_ROUNDS):
        emotions = np.stack([centred[codes == c].mean(0) for c in range(len(classes))])
        offsets = [
            s * (mean - emotions[of_speaker]).mean(axis=0)
            for s, mean, of_speaker in zip(shrink, means, shown, strict=True)
        ]
        centred = vectors.copy()
        for own, offset in zip(rows, offsets, strict=True):
            centred[own] -= offset
    middle = centred.mean(axis=0)
    scale = _deviation((centred - middle) ** 2, vectors)
    # The covariance within a class of one recording is zero either way, but
    # scikit-learn warns of one row.
    twice = np.repeat(np.arange(len(y)), np.where(counts[codes] == 1, 2, 1))
    lda = EqualPriorsLDA().fit((centred / scale)[twice], codes[twice]).lda_
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
