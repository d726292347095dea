"""Normalisation of a recording by its own statistics."""

import numpy as np

# A band that varies by less than this, in dB, is constant up to rounding.
_FLAT = 1e-4


def _utterance(features):
    """Give each band zero mean and unit variance over the frames of the recording."""
    centred = features - features.mean(axis=1, keepdims=True, dtype=np.float64)
    std = np.sqrt(np.square(centred).mean(axis=1, keepdims=True))
    centred[std[:, 0] < _FLAT] = 0.0
    return np.divide(centred, std, out=centred, where=std >= _FLAT)


def _level(features):
    """Subtract the mean over all cells, the level of the recording."""
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
