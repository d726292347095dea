"""How far a voice is from the average one, told from few recordings of any emotion."""

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax
from scipy.stats import entropy

from ..baseline import EqualPriorsLDA

# Discriminant scores of new voices are overconfident: they are divided by this.
_SOFTENING = 4.0
_N_ROUNDS = 10


def recording_statistics(sequences):
    """Return mean and variance over the frames of each recording, in float64."""
    means, variances = [], []
    for x in sequences:
        frames = np.asarray(x, np.float64)
        means.append(frames.mean(axis=1))
        variances.append(frames.var(axis=1))
    return np.stack(means), np.stack(variances)


def speaker_offsets(vectors, y, rows, relevance_factor):
    """Return the offset of each training speaker, and the model for later ones.

    Parameters
    ----------
    vectors : ndarray of shape (n_recordings, n_features)
        One vector for each recording.
    y : ndarray of shape (n_recordings,) or None
        Emotions.
    rows : list of list of int
        The recordings of each speaker.
    relevance_factor : float
        The number of recordings whose mean counts half.

    Returns
    -------
    offsets : list of ndarray of shape (n_features,)
        How far each speaker is from the mean.
    model : dict of str to ndarray
        The arguments of :class:`MixModel`.
    """
    shrink = [len(own) / (len(own) + relevance_factor) for own in rows]
    if y is None:
        mean = vectors.mean(axis=0)
        offsets = [s * (vectors[own].mean(0) - mean) for s, own in zip(shrink, rows, strict=True)]
        return offsets, {"mean": mean}
    classes, codes = np.unique(y, return_inverse=True)
    centred, offsets = vectors, []
    # A speaker that lacks an emotion is compared in those that it has. Where all have
    # all, the first round is exact.
    for _ in range(_N_ROUNDS):
        emotions = np.stack([centred[codes == c].mean(0) for c in range(len(classes))])
        centred, offsets = vectors.copy(), []
        for s, own in zip(shrink, rows, strict=True):
            own = np.asarray(own)
            gaps = [
                vectors[own[codes[own] == c]].mean(0) - emotions[c]
                for c in np.unique(codes[own])
            ]
            offsets.append(s * np.mean(gaps, axis=0))
            centred[own] -= offsets[-1]
    deviation = centred.std(axis=0)
    deviation[deviation <= 1e-6] = 1.0
    lda = EqualPriorsLDA().fit(centred / deviation, codes).lda_
    mean = emotions.mean(axis=0)
    return offsets, {
        "mean": mean,
        "emotions": emotions - mean,
        "coef": lda.coef_ / deviation,
        "intercept": lda.intercept_,
    }


@dataclass(frozen=True)
class MixModel:
    """What the training speakers tell of a new voice; see `SpeakerNormalizer`.

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
            even = self.evenness(shares)
            mix = (1 - even) * shares + even / len(shares)
            offset = shrink * (gap - mix @ self.emotions)
        return offset, shares

    def _probabilities(self, vectors):
        scores = vectors @ self.coef.T + self.intercept
        if scores.shape[1] == 1:  # of two classes, the second one's score
            scores = np.hstack([np.zeros_like(scores), scores])
        return softmax(scores / _SOFTENING, axis=1)

    @staticmethod
    def evenness(shares):
        """Return the effective share of the emotions: 1 if all are equally frequent."""
        return float(np.exp(entropy(shares))) / len(shares)
