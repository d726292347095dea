"""Recordings that occur more than once in a corpus, under any name."""

import contextlib
import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.sparse import issparse

from ..features._audio_files import (
    UNKNOWN_LENGTH,
    WHOLE,
    is_estimate,
    naming_faults,
    open_audio,
    sample_range,
)
from ..features.audio import as_mapping, describe, file_of, load_audio, times_of

# Shorter or constant arrays may be equal by chance: silence, counts, toy data.
_MIN_VALUES = 64
_SAME = 0.5  # of the shorter of two segments: more in common makes them one recording
_ROUNDING = 1e-6  # seconds, less than a sample


def find_duplicates(recordings: Any) -> list[list[int]]:
    """Find recordings that decode to the same audio, and segments that overlap.

    Copies may have other names, folders or lossless formats. Those that were cut,
    filtered, resampled or compressed are not found. Segments of one file or array that
    have half of the shorter one in common, or more, count as one recording, and so do
    those that others link, as windows do.

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
    if any(
        isinstance(entry, str | os.PathLike | Mapping)
        or hasattr(entry, "get_all_samples")
        for entry in batch
    ):
        return False
    try:
        shapes = set(map(np.shape, batch))
    except ValueError:  # lists of unequal lengths
        return False
    return len(shapes) == 1 and all(n == 1 for n in shapes.pop()[1:])


def _duplicates(recordings, strict):
    untold = () if strict else (TypeError, ValueError)  # the estimator tells
    by_length, by_content = defaultdict(list), defaultdict(list)
    for row, recording in enumerate(recordings):
        with contextlib.suppress(*untold):
            by_length[_length(as_mapping(recording), f"recordings[{row}]")].append(row)
    for rows in by_length.values():
        # Decoding takes time, and recordings of different lengths differ anyway.
        for row in rows if len(rows) > 1 else ():
            with contextlib.suppress(*untold):
                content = _content(as_mapping(recordings[row]), f"recordings[{row}]")
                by_content[content].append(row)
    by_content.pop(None, None)
    copies = [rows for rows in by_content.values() if len(rows) > 1]
    return _joined([*copies, *overlapping_segments(recordings)])


def _joined(groups):
    """Return sorted lists of rows; those with a row in common are one list."""
    group_of = {}
    for rows in groups:
        joined = {*rows}.union(*(group_of[row] for row in rows if row in group_of))
        group_of |= dict.fromkeys(joined, joined)
    return sorted(map(list, {tuple(sorted(group)) for group in group_of.values()}))


def overlapping_segments(recordings):
    """Return pairs of rows whose segments have most of the shorter one in common.

    A whole recording overlaps with each of its segments. No recording is decoded.
    """
    by_source, pairs = defaultdict(list), []
    for row, recording in enumerate(recordings):
        with contextlib.suppress(TypeError, ValueError):  # whoever reads it tells
            by_source[source_of(recording)].append((row, times_of(recording)))
    for spans in by_source.values():
        if len(spans) < 2 or all(times == WHOLE for _, times in spans):
            continue
        before = []
        for start, end, row in sorted(
            (start, _end(recordings[row], end), row) for row, (start, end) in spans
        ):
            before = [other for other in before if other[1] > start]
            for other_start, other_end, other in before:
                shared = min(end, other_end) - start
                shorter = min(end - start, other_end - other_start)
                if shared >= _SAME * shorter - _ROUNDING:
                    pairs.append([other, row])
            before.append((start, end, row))
    return pairs


def _end(recording, end):
    """Return the end of a segment in seconds, or infinity if no header tells it."""
    if end is not None:
        return end
    found = length_of(recording)
    return np.inf if found is None else found[1] / found[0]


def source_of(recording):
    """Return what is equal for the segments of one file or array, and differs else."""
    source = file_of(recording)
    if source is None:
        return id(_array(recording))
    return source if isinstance(source, bytes) else os.path.realpath(source)


def length_of(recording):
    """Return rate and number of samples of a recording by its header, or None.

    None stands for a recording that does not open, or whose header does not tell it.
    """
    try:
        rate, n_times, is_known = _header(recording, "recording")
    except (OSError, RuntimeError, TypeError, ValueError):
        return None
    return (rate, n_times) if is_known and rate is not None else None


def _array(recording):
    return recording.get("array") if isinstance(recording, Mapping) else recording


def _header(recording, name):
    """Return the rate, or None, the number of samples or frames, and if it is known."""
    source = file_of(recording)
    if source is not None:
        with naming_faults(describe(recording, name)), open_audio(source) as file:
            is_known = file.frames != UNKNOWN_LENGTH and not is_estimate(file, source)
            return file.samplerate, file.frames, is_known
    rate = None
    if isinstance(recording, Mapping):
        rate = recording.get("sampling_rate")
        if "array" not in recording:
            raise TypeError(
                f"{name} is a mapping with neither 'array' nor 'path', found "
                f"keys {sorted(map(str, recording))}."
            )
    shape = np.shape(_array(recording))
    return rate, (shape or (None,))[-1], bool(shape)


def _length(recording, name):
    """Return the number of samples or frames, from the header of a file alone."""
    times = times_of(recording, name)
    rate, n_times, _ = _header(recording, name)
    if times == WHOLE:
        return n_times
    if rate is None:
        load_audio(recording, name=name)  # raises, and says why
    first, last = sample_range(times, rate, n_times, describe(recording, name))
    return last - first


def _content(recording, name):
    """Return a digest of the audio, or None if it could be equal by chance."""
    rate, *_ = _header(recording, name)
    array = None if rate else np.asarray(_array(recording))
    if rate or (array.ndim == 1 and array.dtype.kind in "fiu"):
        # Equal audio has equal digests, whether in a file, a mapping or an array.
        source = recording if rate else array
        array = load_audio(source, sampling_rate=rate or 16000, name=name)
    is_number = array.dtype.kind in "fiu"
    if not is_number or array.size < _MIN_VALUES or (array == array.flat[0]).all():
        return None
    array = np.ascontiguousarray(array, np.float32)
    return rate or 16000, array.shape, hashlib.sha256(array.tobytes()).digest()
