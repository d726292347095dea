"""The forms of a recording, and its conversion to a mono float32 waveform."""

import os
from collections.abc import Mapping, Sequence
from math import ceil
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.sparse import issparse

from ._audio_files import (
    MAX_DURATION,
    MAX_SAMPLES,
    WHOLE,
    read_file,
    sample_range,
    too_long,
)

MAX_SAMPLING_RATE = 1e6
"""Highest rate in Hz of a recording, and of what it is resampled to."""

__all__ = [
    "MAX_DURATION",
    "MAX_SAMPLES",
    "MAX_SAMPLING_RATE",
    "check_recordings",
    "load_audio",
]

# Above 16-bit integers as floats, below unscaled integers of 24 or 32 bits.
_MAX_AMPLITUDE = 2.0**16
_MAX_CHANNELS = 64
_EXPECTED = "a path, a 1-D waveform or a mapping {'array': ..., 'sampling_rate': ...}"
_TIMES = ("start", "end")  # the keys of a segment
_LATEST = 1e9  # seconds, which any number of samples per second leaves countable
# A recording whose samples differ by no more than a step up and down of 16 bits, or
# whose mean over the channels has no more than this share of them, is silent.
_SILENT_RANGE = 2.0**-14
_SILENT_SHARE = 0.01
FEWEST_SAMPLES = 64
"""A shorter recording is never called silent: its samples may be equal by chance."""


def check_recordings(X):
    """Check the form of a batch of recordings, without decoding any.

    The batch is a list, or an array (n_samples, n_times) if it comes as a 2-D array of
    numbers. A single recording, a sparse matrix, an empty list and an array of another
    shape are refused, and so are times of a segment that are none.
    """
    if issparse(X):
        raise TypeError(
            "X is sparse: sparse data was passed, but dense recordings are "
            "required. Use `.toarray()` to convert."
        )
    if isinstance(X, str | bytes | os.PathLike | Mapping):
        raise ValueError(
            f"X must be a batch of recordings, got one of type {type(X).__name__}: "
            f"{_short(X)}. Pass a list, [X], if it is a single recording."
        )
    if isinstance(X, Sequence):
        batch = list(X)
        if batch and all(isinstance(x, Real | complex) for x in batch):
            batch = np.asarray(batch)
    elif hasattr(X, "__array__") or hasattr(X, "__array_interface__"):
        batch = np.asarray(X)
    else:
        raise TypeError(
            f"X must be a list or array of recordings, got {type(X).__name__}."
        )
    if isinstance(batch, np.ndarray):
        batch = _check_array(batch)
    if len(batch) == 0:
        raise ValueError("X must hold at least one recording, found 0 sample(s).")
    if not isinstance(batch, np.ndarray):
        for i, recording in enumerate(batch):
            times_of(recording, f"X[{i}]")
    return batch


def _check_array(X):
    if X.ndim == 1 and X.dtype.kind in "OUT":
        return X.tolist()
    if X.ndim == 1:
        raise ValueError(
            f"Expected 2D array, got 1D array instead:\narray={_short(X)}.\nX is a "
            "batch of recordings. Reshape your data using X.reshape(1, -1), or pass "
            "[X], if it is a single recording."
        )
    if X.ndim != 2:
        raise ValueError(
            f"X must be a list of recordings or a 2D array (n_samples, n_times), "
            f"got an array of shape {X.shape}."
        )
    if 0 in X.shape:
        what = "sample(s)" if X.shape[0] == 0 else "feature(s)"
        raise ValueError(
            f"X is empty: found array with 0 {what} (shape={X.shape}) while a minimum "
            "of 1 is required."
        )
    if X.dtype.kind == "O":
        try:
            return X.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"X is a 2D array of objects that are not all numbers: {error}. "
                "Expected a list of recordings."
            ) from error
    if X.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: X has dtype {X.dtype}.")
    return X


def load_audio(
    recording: Any,
    *,
    sampling_rate: float = 16000,
    channel: str | int = "mean",
    name: str = "recording",
) -> np.ndarray:
    """Read one recording as a mono waveform.

    Parameters
    ----------
    recording : str, PathLike, ndarray of shape (n_times,) or mapping
        A file that soundfile can decode (WAV, FLAC, OGG, MP3, ...), a waveform at
        `sampling_rate`, or a mapping with ``"array"`` of shape (n_times,) or
        (n_channels, n_times) and its ``"sampling_rate"`` in Hz, at most
        `MAX_SAMPLING_RATE`. A mapping without an array may hold the ``"bytes"`` of a
        file, or else its ``"path"``. An audio decoder of Hugging Face ``datasets`` is a
        recording, too, alone or as an ``"array"``. Integers of 8, 16 and 32 bits are
        scaled to [-1, 1]. int64 has no full scale in audio and is not scaled.

        A mapping with ``"start"`` or ``"end"``, in seconds, is a segment: only this
        part is read. Without the one it begins with the recording, and without the
        other it ends with it.
    sampling_rate : float, default=16000
        The rate in Hz of the waveform returned, from 1 to `MAX_SAMPLING_RATE`.
    channel : "mean" or int, default="mean"
        The number of the channel to use, or the mean of all channels.
    name : str, default="recording"
        The name of the recording in error messages.

    Returns
    -------
    waveform : ndarray of shape (n_times,), float32
        The waveform, resampled by soxr if the recording has another rate.

    Raises
    ------
    TypeError, ValueError
        If the recording is missing, empty, cut short, longer than `MAX_DURATION`
        seconds, not finite or beyond 65536, if it does not decode, or if it is not a
        recording. If a segment starts before 0, ends before it starts, or ends more
        than a sample behind the recording.

    Notes
    -----
    A file with fewer or more samples than its header says is an error. A streamed file
    is an exception. Its header has no length, or the largest possible one, because its
    end was not known. Such a file is read to its end.

    A segment has the samples that the whole recording has there, before it is
    resampled. Its times are rounded to samples.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser.features import load_audio
    >>> stereo = {"array": np.zeros((2, 44100)), "sampling_rate": 44100}
    >>> load_audio(stereo).shape
    (16000,)
    >>> load_audio({**stereo, "start": 0.25, "end": 0.75}).shape
    (8000,)
    """
    return load_with_remark(recording, sampling_rate, channel, name)[0]


def load_with_remark(recording, sampling_rate, channel, name):
    """Load a recording, and say if what was taken of it is silent.

    Parameters and errors are those of `load_audio`. The remark is the name of the
    recording, with its path, and what is wrong; None if there is sound.
    """
    _check_channel(channel)
    rate = _check_rate(sampling_rate, "sampling_rate is ", least=1)
    times = times_of(recording, name)
    recording = as_mapping(recording, name)
    if isinstance(recording, Mapping):
        name = describe(recording, name)
        wave, rate = _read_mapping(recording, name, times)
    else:
        wave = _as_array(recording, name, (1,))
    if wave.shape[-1] == 0:
        raise ValueError(f"{name} is empty: found 0 samples, expected at least one.")
    if wave.shape[-1] > MAX_DURATION * rate:
        raise ValueError(too_long(name, wave.shape[-1], rate))
    _check_rate(rate, f"{name} has sampling_rate=")  # a file's is unchecked so far
    source, wave = wave, _to_mono(wave, channel, name)
    low, high = wave.min(), wave.max()
    if not (high < _MAX_AMPLITUDE and low > -_MAX_AMPLITUDE):
        _raise_out_of_range(wave, source, name)
    what = _what_is_silent(high - low, source, channel)
    remark = None if what is None else (name, what)
    if rate == sampling_rate:
        return wave, remark
    if len(wave) * sampling_rate > MAX_SAMPLES * rate:
        n_times = round(len(wave) * sampling_rate / rate)
        raise ValueError(too_long(f"{name}, resampled,", n_times, sampling_rate))
    return _resample(wave, rate, sampling_rate), remark


def as_mapping(recording, name="recording"):
    """Return a path or an audio decoder as a mapping, and others as they are."""
    if isinstance(recording, str | os.PathLike):
        return {"path": recording}
    is_mapping = isinstance(recording, Mapping)
    decoder = recording.get("array") if is_mapping else recording
    if not hasattr(decoder, "get_all_samples"):
        return recording
    try:
        samples = decoder.get_all_samples()
        array, rate = np.asarray(samples.data), samples.sample_rate
    except RuntimeError as error:
        raise ValueError(f"{name} does not decode: {error}") from error
    others = recording if is_mapping else {}
    return {**others, "array": array, "sampling_rate": rate}


def file_of(recording):
    """Return the path or the bytes of a recording in a file, and None of another."""
    if not isinstance(recording, Mapping):
        return recording if isinstance(recording, str | os.PathLike) else None
    if recording.get("array") is not None:
        return None
    content = recording.get("bytes")
    return recording.get("path") if content is None else content


def times_of(recording, name="recording"):
    """Return start and end of a segment in seconds; `WHOLE` of any other recording.

    A segment that lacks one of both starts at 0, or ends with the recording: None.
    """
    if not isinstance(recording, Mapping):
        return WHOLE
    start, end = (recording.get(key) for key in _TIMES)
    for key, value in zip(_TIMES, (start, end), strict=True):
        if value is None:
            continue
        if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
            raise TypeError(
                f"{name} has {key}={value!r} of type {type(value).__name__}, expected "
                "a number of seconds."
            )
        if not 0 <= value < _LATEST:
            raise ValueError(
                f"{name} has {key}={value}, expected seconds from the start of the "
                "recording, at least 0."
            )
    start, end = float(start or 0.0), None if end is None else float(end)
    if end is not None and end <= start:
        raise ValueError(
            f"{name} has start={start:g} and end={end:g}, expected an end after the "
            "start."
        )
    return start, end


def as_segment(recording, start, end):
    """Return a part of a recording as a recording, its times in seconds or None."""
    if times_of(recording) != WHOLE:
        raise ValueError("recording is a segment already, expected a whole recording.")
    if not isinstance(recording, Mapping):
        is_path = isinstance(recording, str | os.PathLike)
        recording = {"path" if is_path else "array": recording}
    return {**recording, "start": start, "end": end}


def describe(recording, name):
    """Return the name of a recording in messages, with its path and its times."""
    if not isinstance(recording, Mapping):
        is_path = isinstance(recording, str | os.PathLike)
        return f"{name} ({str(recording)!r})" if is_path else name
    path, (start, end) = recording.get("path"), times_of(recording, name)
    told = [] if path is None else [repr(str(path))]
    if (start, end) != WHOLE:
        to = "to its end" if end is None else f"to {end:.10g} s"
        told.append(f"from {start:.10g} s {to}")
    return f"{name} ({', '.join(told)})" if told else name


def _read_mapping(recording, name, times):
    """Return a waveform (n_times,) or (n_channels, n_times), and its rate."""
    if recording.get("array") is not None:
        if "sampling_rate" not in recording:
            raise ValueError(
                f"{name} has no 'sampling_rate' beside its 'array', found keys "
                f"{sorted(map(str, recording))}."
            )
        wave = _as_array(recording["array"], name, (1, 2))
        rate = _check_rate(recording["sampling_rate"], f"{name} has sampling_rate=")
        first, last = sample_range(times, rate, wave.shape[-1], name)
        return wave[..., first:last], rate
    source = file_of(recording)
    if source is None:
        raise ValueError(
            f"{name} is a mapping without 'array', 'bytes' or 'path', found keys "
            f"{sorted(map(str, recording))}; expected {_EXPECTED}."
        )
    is_path = recording.get("bytes") is None
    key = "path" if is_path else "bytes"
    if not isinstance(source, str | os.PathLike if is_path else bytes):
        raise TypeError(
            f"{name} has a {key!r} of type {type(source).__name__}, expected "
            f"{_EXPECTED}."
        )
    return read_file(source, name, times)


def _what_is_silent(span, wave, channel):
    if wave.shape[-1] < FEWEST_SAMPLES:
        return None
    least, alive = _SILENT_RANGE, []
    if wave.ndim == 2 and len(wave) > 1:
        spans = np.ptp(_to_float32(wave), axis=1)
        alive = np.flatnonzero(spans > _SILENT_RANGE).tolist()
        if channel == "mean":
            least = max(least, _SILENT_SHARE * spans.max())
    if span > least:
        return None
    what = "its samples are all equal" if span == 0 else "its samples hardly differ"
    if not alive:
        return what
    if channel == "mean":
        what = f"the mean of its {len(wave)} channels cancels them"
    return f"{what}, but channel={alive[0]} has sound"


def _check_channel(channel):
    is_int = isinstance(channel, Integral) and not isinstance(channel, bool)
    if not is_int and not (isinstance(channel, str) and channel == "mean"):
        raise TypeError(
            f"channel is {channel!r} of type {type(channel).__name__}, expected 'mean' "
            "or an int."
        )
    if is_int and channel < 0:
        raise ValueError(f"channel is {channel}, expected 'mean' or an int from 0.")


def _check_rate(rate, told, least=0):
    """Return a rate; messages have `told` in front of it."""
    if isinstance(rate, bool) or not isinstance(rate, Real):
        raise TypeError(
            f"{told}{rate!r} of type {type(rate).__name__}, expected a number of Hz."
        )
    if not (0 < rate <= MAX_SAMPLING_RATE and rate >= least):
        limits = f"at least {least} and at most" if least else "at most"
        raise ValueError(
            f"{told}{rate!r}, expected a positive number of Hz, {limits} "
            f"{MAX_SAMPLING_RATE:g}."
        )
    return rate


def _as_array(recording, name, ndims):
    if isinstance(recording, bytes | bytearray) or issparse(recording):
        raise TypeError(
            f"{name} is of type {type(recording).__name__}, expected {_EXPECTED}."
        )
    try:
        wave = np.asarray(recording)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} is not a waveform: {error}. Expected {_EXPECTED}."
        ) from error
    if wave.dtype.kind == "c":
        raise ValueError(
            f"{name} is complex. Complex data not supported: found dtype "
            f"{wave.dtype}, expected real samples."
        )
    if wave.dtype.kind not in "fi" and wave.dtype != np.uint8:
        raise TypeError(
            f"{name} is of type {type(recording).__name__} with dtype {wave.dtype}, "
            f"expected {_EXPECTED}, of floats or signed integers."
        )
    if wave.ndim not in ndims:
        raise ValueError(
            f"{name} has shape {wave.shape}, expected a 1-D waveform; several "
            "channels go into a mapping, as {'array': (n_channels, n_times), "
            "'sampling_rate': ...}."
        )
    if wave.ndim == 2 and wave.shape[0] > _MAX_CHANNELS:
        raise ValueError(
            f"{name} has shape {wave.shape}, expected (n_channels, n_times) with at "
            f"most {_MAX_CHANNELS} channels. Is it transposed?"
        )
    return wave


def _to_mono(wave, channel, name):
    channels = np.atleast_2d(_to_float32(wave))
    if channel == "mean" and len(channels) > 1:
        return channels.mean(axis=0, dtype=np.float32)
    number = 0 if channel == "mean" else channel
    if number >= len(channels):
        raise ValueError(
            f"{name} has {len(channels)} channel(s), but channel is {channel}, "
            f"expected channel='mean' or an int below {len(channels)}."
        )
    return channels[number]


def _to_float32(wave):
    if wave.dtype == np.uint8:  # the one unsigned form of PCM, in WAV files
        wave = wave.astype(np.int16) - 128
        return np.multiply(wave, np.float32(2**-7), dtype=np.float32)
    if wave.dtype.kind == "i" and wave.dtype.itemsize < 8:
        scale = np.float32(2.0 ** (1 - 8 * wave.dtype.itemsize))
        return np.multiply(wave, scale, dtype=np.float32, casting="unsafe")
    with np.errstate(over="ignore"):  # becomes inf, which is reported
        return wave.astype(np.float32, copy=False)


def _raise_out_of_range(wave, source, name):
    bad = np.flatnonzero(~(np.abs(wave) < _MAX_AMPLITUDE))
    found = np.atleast_2d(source)[:, bad[0]]  # before float32
    found = found[np.argmax(~(np.abs(found) < _MAX_AMPLITUDE))]
    raise ValueError(
        f"{name} contains NaN, infinity or a value too large for audio: found "
        f"{found} at sample {bad[0]} ({len(bad)} in all), expected finite "
        f"samples, usually in [-1, 1] and within {_MAX_AMPLITUDE:g}. Integers of n "
        "bits as floats need a division by 2**(n - 1)."
    )


def _resample(wave, rate, sampling_rate):
    import soxr

    n_times = max(1, ceil(len(wave) * sampling_rate / rate))
    out = np.zeros(n_times, np.float32)
    resampled = soxr.resample(wave, rate, sampling_rate, quality="HQ")[:n_times]
    out[: len(resampled)] = resampled
    return out


def _short(X):
    text = repr(X)
    return text if len(text) <= 80 else text[:77] + "..."
