"""Long recordings: read block by block, resampled as they come, cut into windows."""

import os
from collections.abc import Mapping
from math import ceil

import numpy as np

from ..exceptions import SilentRecordingWarning, warn_caller
from ._audio_files import (
    CUT,
    UNKNOWN_LENGTH,
    is_estimate,
    length_fault,
    naming_faults,
    open_audio,
    sample_range,
    skip,
    wrong_header,
)
from .audio import FEWEST_SAMPLES, describe, file_of, load_with_remark, times_of

LONGEST = 24 * 3600.0
"""Longest recording in seconds that is read block by block."""

_ZEROS = "its few samples are all zero"
_BLOCK = 2**18  # samples over all channels that are decoded at once, or come of it


def read_blocks(recording, sampling_rate, channel="mean", name="recording"):
    """Yield a recording as mono blocks; one on disk is never in memory as a whole.

    Arguments and errors are those of `load_audio`, and so are the joined blocks. A file
    may last `LONGEST` seconds, and that it is cut short may show only at its end. A
    recording that is silent as a whole is a `SilentRecordingWarning`.
    """
    path, times = file_of(recording), times_of(recording, name)
    is_content = isinstance(recording, Mapping) and recording.get("bytes") is not None
    if isinstance(path, str | os.PathLike) and not is_content:
        name = describe(recording, name)
        what = yield from _read_file(path, sampling_rate, channel, name, times)
    else:
        wave, remark = load_with_remark(recording, sampling_rate, channel, name)
        yield wave
        name, what = remark or (name, None if np.any(wave) else _ZEROS)
    if what is not None:
        warn_caller(f"{name} is silent: {what}.", SilentRecordingWarning)


def _read_file(path, sampling_rate, channel, name, times):
    """Yield blocks, and return what makes the recording silent, if it is."""
    n_read, silent, is_silent, is_zero = 0, None, True, True
    with naming_faults(name), open_audio(path) as file:
        rate, resample = file.samplerate, Resampler(file.samplerate, sampling_rate)
        known = file.frames != UNKNOWN_LENGTH and not is_estimate(file, path)
        first, last = sample_range(times, rate, file.frames, name)
        n_wanted = last - first
        if known and n_wanted > LONGEST * rate:
            raise _too_long(name, n_wanted / rate)
        fault = length_fault(file, path)
        if fault is not None:
            raise _cut(name) if fault == CUT else ValueError(wrong_header(name, fault))
        dtype = "int16" if file.subtype == "PCM_16" else "float32"
        size = min(_BLOCK // file.channels, int(_BLOCK * rate / sampling_rate))
        size = max(1, size)
        skip(file, first, dtype)
        while len(block := file.read(min(size, n_wanted - n_read), dtype)):
            if n_read > LONGEST * rate:
                raise _too_long(name, n_read / rate)
            what = f"{name}, from {(first + n_read) / rate:.2f} s on,"
            n_read += len(block)
            part = {"array": block.T, "sampling_rate": rate}
            wave, remark = load_with_remark(part, rate, channel, what)
            is_zero = is_zero and not np.any(wave)
            if remark is not None:
                silent = remark[1]
            elif len(block) >= FEWEST_SAMPLES:
                is_silent = False
            yield resample(wave)
        if known and n_read < n_wanted:
            raise _cut(name)
        yield resample(np.empty(0, np.float32), last=True)
    if n_read == 0:
        raise ValueError(f"{name} is empty: found 0 samples, expected at least one.")
    if is_zero and silent is None:
        return _ZEROS
    return silent if is_silent else None


def _too_long(name, seconds):
    return ValueError(
        f"{name} is too long: found {seconds:.6g} s, expected at most {LONGEST:g} s."
    )


def _cut(name):
    return ValueError(
        f"{name} is cut short: it holds fewer samples than its header says. Copy or "
        "download it again."
    )


class Resampler:
    """Change the rate of a waveform that comes in blocks, as `load_audio` does."""

    def __init__(self, rate, sampling_rate):
        import soxr

        self.ratio = sampling_rate / rate
        self.stream = None
        if rate != sampling_rate:
            self.stream = soxr.ResampleStream(rate, sampling_rate, 1, quality="HQ")
        self.n_in = self.n_out = 0

    def __call__(self, block, last=False):
        """Return the known part of the output. The last block completes it."""
        if self.stream is None:
            return block
        out = self.stream.resample_chunk(block, last=last)
        self.n_in += len(block)
        if last:
            n_left = ceil(self.n_in * self.ratio) - self.n_out
            out = np.pad(out, (0, max(0, n_left - len(out))))[:n_left]
        self.n_out += len(out)
        return out


def cut_windows(blocks, length, hop):
    """Yield start, end and samples of each window of a waveform that comes in blocks.

    A window has `length` samples, and the next one starts `hop` samples later, at most
    `length`. The last one ends with the waveform. A waveform that is shorter than a
    window is one.
    """
    held, start, n_found = np.empty(0, np.float32), 0, 0  # from the last window on
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) >= length + (hop if n_found else 0):
            if n_found:
                held, start = held[hop:], start + hop
            n_found += 1
            yield start, start + length, held[:length]
    rest = len(held) if n_found == 0 else len(held) - length
    if rest:
        end = start + len(held)
        yield max(0, end - length), end, held[-length:]
