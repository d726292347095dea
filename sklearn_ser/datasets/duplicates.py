"""Recordings that occur more than once in a corpus, under any name."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.sparse import issparse

from ..features._audio_files import open_audio
from ..features.audio import as_mapping, load_audio

# Shorter or constant arrays may be equal by chance: silence, counts, toy data.
_MIN_VALUES = 64


def find_duplicates(recordings: Any) -> list[list[int]]:
    """Find recordings that decode to the same audio.

    The function finds copies with other names, in other folders or in other lossless
    formats. It does not find copies that were cut, filtered, resampled or compressed.

    Parameters
    ----------
    recordings : list of recordings, or array of shape (n_samples, ...)
        Paths, waveforms or mappings, as for :class:`~sklearn_ser.LogMelTransformer`.
        Log-mels and other arrays are compared by their values.

    Returns
    -------
    duplicates : list of list of int
        The rows of each recording that occurs more than once. Constant recordings and
        recordings of fewer than 64 values never count as duplicates.

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
    if isinstance(recordings, str | bytes | os.PathLike | Mapping) or not np.iterable(
        recordings
    ):
        raise TypeError(
            f"recordings must be a list, got one of type {type(recordings).__name__}."
        )
    return _duplicates(rows_of(recordings), strict=True)


def rows_of(X):
    """Return a list of the rows of a list, an iterator, an array or a table."""
    is_table = hasattr(X, "__array__") and getattr(X, "ndim", 1) > 1
    return list(np.asarray(X)) if is_table else list(X)


def duplicates_if_audio(X, *, vectors_are_waveforms):
    """Return the duplicates in recordings or sequences; other input has none.

    A table of features has no duplicates, since two recordings may have equal features.
    A recording that cannot be read is skipped here: the estimator reports it.
    """
    if issparse(X):
        return []
    is_batch = isinstance(X, list | tuple) or hasattr(X, "__array__")
    batch = rows_of(X) if is_batch else []
    if _is_table(batch) and not vectors_are_waveforms:
        return []
    return _duplicates(batch, strict=False)


def _is_table(batch):
    """Tell whether all entries are vectors of one length, or sequences of one frame."""
    shapes = set()
    for entry in batch:
        is_decoder = hasattr(entry, "get_all_samples")
        if is_decoder or isinstance(entry, str | os.PathLike | Mapping):
            return False
        try:
            shapes.add(np.shape(entry))
        except ValueError:  # lists of unequal lengths
            return False
    return len(shapes) == 1 and all(n == 1 for n in shapes.pop()[1:])


def _duplicates(recordings, strict):
    by_length, by_content = defaultdict(list), defaultdict(list)
    for row, recording in enumerate(recordings):
        try:
            by_length[_length(as_mapping(recording), row)].append(row)
        except (TypeError, ValueError):
            if strict:
                raise
    for rows in by_length.values():
        # Decoding takes time, and recordings of different lengths differ anyway.
        for row in rows if len(rows) > 1 else ():
            try:
                content = _content(as_mapping(recordings[row]), row)
            except (TypeError, ValueError):
                if strict:
                    raise
                continue
            if content is not None:
                by_content[content].append(row)
    return sorted(rows for rows in by_content.values() if len(rows) > 1)


def _path(recording):
    if isinstance(recording, Mapping) and recording.get("array") is None:
        content = recording.get("bytes")
        return recording.get("path") if content is None else content
    return recording if isinstance(recording, str | os.PathLike) else None


def _length(recording, row):
    """Return the number of samples or frames, from the header of a file alone."""
    path = _path(recording)
    if path is None:
        return np.shape(_array(recording, row))[-1:]
    return (_info(path, row)[0],)


def _info(path, row):
    """Return the number of samples of a file, and its rate."""
    try:
        with open_audio(path) as file:
            return file.frames, file.samplerate
    except (OSError, RuntimeError, TypeError):
        load_audio(path, name=f"recordings[{row}]")  # raises, and says why
        raise


def _content(recording, row):
    """Return a digest of the audio, or None if it could be equal by chance."""
    path, rate = _path(recording), None
    array = None if path is not None else np.asarray(_array(recording, row))
    if path is not None:
        _, rate = _info(path, row)
    elif isinstance(recording, Mapping):
        rate = recording.get("sampling_rate")
    if rate or (array.ndim == 1 and array.dtype.kind in "fiu"):
        # Equal audio has equal digests, whether in a file, a mapping or an array.
        source = recording if rate else array
        name = f"recordings[{row}]"
        array = load_audio(source, sampling_rate=rate or 16000, name=name)
    if array.dtype.kind not in "fiu" or array.size < _MIN_VALUES:
        return None
    if (array == array.flat[0]).all():
        return None
    array = np.ascontiguousarray(array, np.float32)
    return rate or 16000, array.shape, hashlib.sha256(array.tobytes()).digest()


def _array(recording, row):
    if not isinstance(recording, Mapping):
        return recording
    if "array" not in recording:
        raise TypeError(
            f"recordings[{row}] is a mapping with neither 'array' nor 'path', found "
            f"keys {sorted(map(str, recording))}."
        )
    return recording["array"]
