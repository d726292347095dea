"""Turns of a call with one speaker on each channel: speech by its energy."""

import os
from collections.abc import Mapping

import numpy as np

from ..exceptions import SilentRecordingWarning, warn_caller
from ..features._audio_files import naming_faults, open_audio
from ..features._audio_stream import read_blocks
from ..features.audio import as_mapping, describe
from .turn_files import Turn
from .windows import calm

_RATE = 16000
_FRAME = 0.02  # seconds of a level
_SILENT = -70.0  # dB of full scale: a channel whose speech is not above holds none
_RANGE = 30.0  # dB that speech may lie below the loud speech of its channel
_ABOVE = 0.3  # of the way from the noise to the loud speech
_CROSSTALK = 15.0  # dB: what is weaker beside another channel's speech is an echo of it
_PAUSE = 0.5  # seconds: a shorter pause is within a turn
_SHORTEST = 0.2  # seconds: a shorter sound is no turn
_MARGIN = 0.1  # seconds around a turn, in which speech begins and ends softly


def channel_turns(recording):
    """Return the turns of a recording that has one speaker on each channel.

    The speakers are called "channel 0", "channel 1" and so on. The recording is read
    once for each channel, in blocks.
    """
    n_channels = _count_channels(recording)
    if n_channels < 2:
        raise ValueError(
            "turns='channels' needs a recording with one speaker on each channel, "
            "found 1 channel."
        )
    levels = np.array([_levels(recording, channel) for channel in range(n_channels)])
    turns, without = [], []
    for channel, is_speech in enumerate(_speech(levels) if levels.size else levels):
        who, spans = f"channel {channel}", _spans(is_speech)
        if not len(spans):
            without.append(who)
        for start, end in spans:
            start, end = max(0.0, start - _MARGIN), end + _MARGIN
            turns.append(
                Turn(start, min(end, levels.shape[1] * _FRAME), who, who, channel)
            )
    if not turns:
        raise ValueError("turns='channels' found no speech in any channel.")
    if np.allclose(levels, levels[0]):
        raise ValueError(
            f"turns='channels' needs one speaker on each channel, but all {n_channels} "
            "channels hold the same sound."
        )
    if shown := ", ".join(without):
        warn_caller(
            f"{describe(recording, 'recording')} has no speech in {shown}.",
            SilentRecordingWarning,
        )
    return sorted(turns, key=lambda turn: turn[:3])


def _count_channels(recording):
    known = as_mapping(recording)
    if not isinstance(known, Mapping):
        return 1
    if known.get("array") is not None:
        shape = np.shape(known["array"])
        return shape[0] if len(shape) == 2 else 1
    source = known.get("bytes")
    source = known.get("path") if source is None else source
    if not isinstance(source, bytes | str | os.PathLike):
        return 1
    name = "recording" if isinstance(source, bytes) else f"recording ({str(source)!r})"
    with naming_faults(name), open_audio(source) as file:
        return file.channels


def _levels(recording, channel):
    """Return the level of each frame of a channel, in dB of full scale."""
    size, rest, levels = round(_FRAME * _RATE), np.empty(0, np.float32), []
    with calm():
        for block in read_blocks(recording, _RATE, channel):
            wave = np.concatenate([rest, block])
            n_frames = len(wave) // size
            frames, rest = (
                wave[: n_frames * size].reshape(-1, size),
                wave[n_frames * size :],
            )
            levels.append(np.square(frames).mean(axis=1))
    return 10 * np.log10(np.concatenate(levels) + 1e-10)


def _speech(levels):
    """Tell for each channel and frame whether the channel's own speaker talks."""
    noise, loud = np.percentile(levels, [10, 95], axis=1)[..., None]
    least = np.maximum(loud - _RANGE, noise + _ABOVE * (loud - noise))
    own = levels - loud
    return (levels > least) & (loud > _SILENT) & (own > own.max(axis=0) - _CROSSTALK)


def _spans(is_speech):
    """Return start and end of each turn in seconds."""
    edges = np.flatnonzero(np.diff(np.r_[False, is_speech, False])) * _FRAME
    starts, ends = edges[::2], edges[1::2]
    after = np.r_[True, starts[1:] - ends[:-1] >= _PAUSE]
    before = np.r_[after[1:], True]
    spans = np.c_[starts[after[: len(starts)]], ends[before[: len(ends)]]]
    return spans[spans[:, 1] - spans[:, 0] >= _SHORTEST]
