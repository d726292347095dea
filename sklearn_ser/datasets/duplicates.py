"""Recordings that are there more than once, under whatever names."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from sklearn_ser.features.audio import load_audio

# Shorter ones, and constant ones, repeat by themselves: silence, counts, toy data.
_MIN_VALUES = 64


def find_duplicates(recordings):
    """Find recordings that decode to the same audio.

    Copies under other names, in other folders, in other lossless containers or of
    another bit depth are found; those cut, filtered, resampled or compressed are not.

    Parameters
    ----------
    recordings : list of recordings, or array of shape (n_samples, ...)
        Paths, waveforms or mappings, as :class:`~sklearn_ser.LogMelTransformer` takes
        them; log-mels or other arrays are compared as they are.

    Returns
    -------
    duplicates : list of list of int
        The rows of each recording that is there more than once. Constant ones, and
        those of fewer than 64 values, are never called duplicates.

    Raises
    ------
    TypeError, ValueError
        If a recording is missing or does not decode.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser.datasets import find_duplicates
    >>> rng = np.random.default_rng(0)
    >>> once, twice = rng.normal(size=800), rng.normal(size=800)
    >>> find_duplicates([twice, once, twice])
    [[0, 2]]
    """
    if isinstance(recordings, str | bytes | os.PathLike | Mapping):
        raise TypeError(
            f"recordings must be a list, got one of type {type(recordings).__name__}."
        )
    by_length = defaultdict(list)
    for row, recording in enumerate(recordings):
        by_length[_length(recording, row)].append(row)
    by_content = defaultdict(list)
    for rows in by_length.values():
        # Decoding is what costs: only recordings of one length can be the same.
        for row in rows if len(rows) > 1 else ():
            if (content := _content(recordings[row], row)) is not None:
                by_content[content].append(row)
    return sorted(rows for rows in by_content.values() if len(rows) > 1)


def duplicates_if_audio(X):
    """Return the duplicates in what may be recordings or anything else.

    A table that is no array of numbers, or files that cannot be read, are for the
    estimator to judge.
    """
    is_batch = isinstance(X, list | tuple) or (
        isinstance(X, np.ndarray) and (X.dtype == object or X.dtype.kind in "fiuU")
    )
    if not is_batch:
        return []
    try:
        return find_duplicates(X)
    except (TypeError, ValueError):
        return []


def _path(recording):
    if isinstance(recording, Mapping) and recording.get("array") is None:
        recording = recording.get("path")
    return recording if isinstance(recording, str | os.PathLike) else None


def _length(recording, row):
    """What recordings of the same audio have in common, from the header alone."""
    path = _path(recording)
    if path is None:
        return np.shape(_array(recording))[-1:]
    return (_info(path, row).frames,)


def _info(path, row):
    import soundfile

    try:
        return soundfile.info(os.fspath(path))
    except (OSError, RuntimeError):
        load_audio(path, name=f"recordings[{row}]")  # raises, and says why
        raise


def _content(recording, row):
    """A digest of the audio; None where equality says nothing."""
    path = _path(recording)
    array = None if path is not None else np.asarray(_array(recording))
    if array is None or (array.ndim == 1 and array.dtype.kind in "fiu"):
        rate = _info(path, row).samplerate if path is not None else 16000
        array = load_audio(
            recording if array is None else array,
            sampling_rate=rate,
            name=f"recordings[{row}]",
        )
    elif isinstance(recording, Mapping):
        array = load_audio(recording, sampling_rate=recording["sampling_rate"])
    if array.dtype.kind not in "fiu" or array.size < _MIN_VALUES:
        return None
    if (array == array.flat[0]).all():
        return None
    array = np.ascontiguousarray(array, np.float32)
    return array.shape, hashlib.sha256(array.tobytes()).digest()


def _array(recording):
    return recording["array"] if isinstance(recording, Mapping) else recording
