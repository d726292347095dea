"""The emotions of a conversation: one row for each turn, one lane for each voice."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import chain
from numbers import Real
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from .._csv import aligned, unify_names
from ..features._audio_files import (
    UNKNOWN_LENGTH,
    WHOLE,
    is_estimate,
    naming_faults,
    open_audio,
)
from ..features.audio import describe, times_of
from ..pipeline import find_normalizer, has_normalizer, with_own_voices
from .turn_sources import channel_turns, check_turns
from .windows import (
    BATCH,
    EmotionTable,
    clock,
    edges_of,
    enroll_windows,
    open_recording,
    predict_parts,
    recording_name,
    sampling_rate,
)

SHORTEST = 0.5
"""Seconds of speech below which a turn alone tells no emotion."""

INDUCTIVE, ENROLLED, TRANSDUCTIVE = "inductive", "enrolled", "transductive"

TURN_COLUMNS = (
    *("file", "speaker", "start", "end", "seconds", "overlap", "kind", "emotion"),
)
"""The columns of a table of turns, in front of the probabilities."""

_NEAR = 1.0  # seconds between a turn that is too short and the one that it is joined to
_SLACK = 0.5  # seconds that a turn may end behind the recording, by rounding
_TALKED_OVER = 0.5  # share of a turn; one with more does not show its speaker's voice


@dataclass(frozen=True)
class EmotionTurns(EmotionTable):
    """The probabilities of the emotions in each turn of a conversation.

    Attributes
    ----------
    name : str
        The path of the recording, or ``"recording"``.
    speakers : ndarray of shape (n_turns,)
        Who talks in each turn.
    starts, ends : ndarray of shape (n_turns,)
        Start and end of each turn, in seconds.
    seconds : ndarray of shape (n_turns,)
        How much speech the probabilities stand on. It is more than the length of a turn
        that was joined to its neighbour.
    overlaps : ndarray of shape (n_turns,)
        The seconds of each turn in which another speaker has a turn, too.
    kinds : ndarray of shape (n_turns,)
        What the model knows of the voice: nothing (``"inductive"``), recordings that
        were enrolled before or in the training (``"enrolled"``), or the turns
        themselves (``"transductive"``).
    probabilities : ndarray of shape (n_turns, n_classes)
        The probability of each emotion in each turn. NaN if the turn is too short, and
        no turn of the same speaker is near.
    classes : ndarray of shape (n_classes,)
        The emotions, in the order of the columns.

    See Also
    --------
    sklearn_ser.emotion_timeline : Predict the emotions of turns.
    sklearn_ser.inspection.EmotionTurnsDisplay : Draw a lane for each speaker.
    """

    _columns = TURN_COLUMNS

    name: str
    speakers: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    seconds: np.ndarray
    overlaps: np.ndarray
    kinds: np.ndarray
    probabilities: np.ndarray
    classes: np.ndarray

    @property
    def emotions(self):
        """The most probable emotion of each turn, or None if it is too short."""
        best = np.where(self.known, self.probabilities.argmax(axis=1), -1)
        names = self.classes.tolist()
        return np.array([None if i < 0 else names[i] for i in best], dtype=object)

    @property
    def known(self):
        """Whether each turn has probabilities."""
        return ~np.isnan(self.probabilities[:, 0])

    @property
    def shares(self):
        """The share of the speech in which each emotion is the most probable."""
        best = self.probabilities[self.known].argmax(axis=1)
        times = (self.ends - self.starts)[self.known]
        return np.bincount(best, times, len(self.classes)) / max(times.sum(), 1e-9)

    @property
    def mean_probabilities(self):
        """The mean probability of each emotion over the speech."""
        times = np.where(self.known, self.ends - self.starts, 0)
        return times @ np.nan_to_num(self.probabilities) / max(times.sum(), 1e-9)

    @property
    def lanes(self):
        """The turns of each speaker, as a dict, by the first of them."""
        names = [field.name for field in fields(self)][1:-1]
        lanes = {}
        for who in dict.fromkeys(self.speakers.tolist()):
            rows = self.speakers == who
            own = {name: getattr(self, name)[rows] for name in names}
            lanes[who] = replace(self, **own)
        return lanes

    def __str__(self):
        rows = [["speaker", "turns", "speech (s)", "voice", *map(str, self.classes)]]
        for who, lane in self.lanes.items():
            seconds = (lane.ends - lane.starts).sum()
            cells = [str(who), str(len(lane.starts)), f"{seconds:.1f}", lane.kinds[0]]
            rows.append([*cells, *(f"{100 * share:.1f}" for share in lane.shares)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        about = f"{self.name}: {told_turns(self)}; share of the speech in %"
        lines = [aligned(row, widths) for row in rows]
        return "\n".join([about, *lines, *self.remarks])

    @property
    def remarks(self):
        """Sentences about turns that are too short, and voices of their own turns."""
        n_short, n_over = np.sum(~self.known), np.sum(self.overlaps > 0)
        remarks = [
            (
                n_short,
                f"{n_short} turn(s) are too short: below {SHORTEST:g} s, and no other "
                f"turn of the speaker is within {_NEAR:g} s.",
            ),
            (n_over, f"{n_over} turn(s) overlap with another speaker's."),
            (
                TRANSDUCTIVE in self.kinds,
                "Voices marked transductive were enrolled with the turns that are "
                "predicted.",
            ),
        ]
        return [remark for is_true, remark in remarks if is_true]


def told_turns(turns):
    """Return the numbers of turns and speakers, and when the last turn ends."""
    n_speakers = len({*turns.speakers.tolist()})
    end = clock(turns.ends.max())
    return f"{len(turns.starts)} turn(s) of {n_speakers} speaker(s) up to {end}"


class _Unit(NamedTuple):
    """Turns that are predicted as one: their places, and their sound in samples."""

    places: list
    speaker: str
    channel: int | None
    pieces: list

    @property
    def length(self):
        return sum(end - start for start, end in self.pieces)

    def part(self, start, end):
        """Return the samples of a part of the joined sound, as spans."""
        spans, before = [], 0
        for first, last in self.pieces:
            low, high = max(first, first + start - before), first + end - before
            if low < min(last, high):
                spans.append((low, min(last, high)))
            before += last - first
        return tuple(spans)


class _Window(NamedTuple):
    """A part of a unit."""

    unit: int
    spans: tuple


class _Call(NamedTuple):
    """A recording with its turns, and how they are cut into windows of samples."""

    recording: object
    turns: list
    units: list
    size: int
    hop: int
    n_at_once: int
    verbose: int


def predict_turns(model, recording, turns, times, *, enroll=None, verbose=0):
    """Return the emotions of turns; `times` are window and hop in seconds.

    The other arguments are those of `emotion_timeline`.
    """
    rate = sampling_rate(model)
    if times_of(recording) != WHOLE:
        raise ValueError(
            f"{describe(recording, 'recording')} is a segment, expected a whole "
            "recording: turns have the times of a whole one."
        )
    seconds = None
    if isinstance(turns, str) and turns == "channels":
        turns = channel_turns(recording)
    else:
        turns = _respelled(check_turns(turns, recording), model)
        seconds = _known_length(recording, rate)
        _check_ends(turns, seconds)
    units = _units(turns, rate, seconds)
    units = [unit for unit in units if unit.length >= SHORTEST * rate]
    size, hop = (max(1, round(length * rate)) for length in times)
    n_at_once = int(BATCH * rate // size)
    call = _Call(recording, turns, units, size, hop, n_at_once, verbose)
    starts, ends, speakers = map(np.array, list(zip(*turns, strict=True))[:3])
    spans = find_overlaps(starts, ends, speakers)
    overlaps = np.array([sum(end - start for start, end in own) for own in spans])
    own, kept = set(), {}
    if enroll is not None:
        clear = overlaps <= _TALKED_OVER * (ends - starts)
        model, own, kept = _with_own_turns(model, call, clear)
    kind_of = dict.fromkeys(_voices(model), ENROLLED) | dict.fromkeys(own, TRANSDUCTIVE)
    P, seconds = np.full((len(turns), len(model.classes_)), np.nan), ends - starts
    for unit, row in zip(units, _predict(model, call, kept), strict=True):
        P[unit.places] = row
        seconds[unit.places] = unit.length / rate
    return EmotionTurns(
        recording_name(recording),
        speakers=speakers,
        starts=starts,
        ends=ends,
        seconds=seconds,
        overlaps=overlaps,
        kinds=np.array([kind_of.get(turn.speaker, INDUCTIVE) for turn in turns]),
        probabilities=P,
        classes=np.asarray(model.classes_),
    )


def _voices(model):
    """Return the voices that a model knows, by their names."""
    return find_normalizer(model).speaker_statistics_ if has_normalizer(model) else {}


def _respelled(turns, model):
    """Return turns whose speakers are spelt as the voices that the model knows."""
    names, _ = unify_names([turn.speaker for turn in turns], known=_voices(model))
    found = [t._replace(speaker=name) for t, name in zip(turns, names, strict=True)]
    numbers = [turn for turn in found if not isinstance(turn.speaker, str)]
    if not numbers:
        return found
    for turn in found:
        if isinstance(turn.speaker, str) and not turn.speaker.isdecimal():
            raise ValueError(
                f"{turn.where}: the speaker {turn.speaker!r} is a word, but the model "
                f"knows the speaker of {numbers[0].where} as the number "
                f"{numbers[0].speaker!r}, expected words or numbers alone."
            )
    kind = type(numbers[0].speaker)  # also of voices that the model does not know
    return [turn._replace(speaker=kind(turn.speaker)) for turn in found]


def _with_own_turns(model, call, clear):
    """Return the model with the voices of a call, whom it enrolled, and features.

    A unit without a `clear` turn, one that nobody else talks over, shows no voice.
    """
    if not has_normalizer(model):
        raise TypeError(
            "enroll='self' needs a model with a SpeakerNormalizer, which keeps voices, "
            f"but {type(model).__name__} has none."
        )
    model, windows = with_own_voices(model), []
    for i, unit in enumerate(call.units):
        if clear[unit.places].any():
            # A long turn counts as several recordings. A short rest is left out.
            starts = range(0, max(1, unit.length - call.size // 2), call.size)
            windows += [_Window(i, unit.part(s, s + call.size)) for s in starts]
    sound = _sound(model, call, windows, "voices")
    return model, *enroll_windows(model, sound, call.n_at_once)


def _predict(model, call, kept):
    """Return the probabilities of each unit, the mean over its windows.

    The features of some windows are `kept`.
    """
    windows = {}
    for i, unit in enumerate(call.units):
        starts = [*range(0, unit.length - call.size, call.hop)]
        starts = np.array([*starts, max(0, unit.length - call.size)])
        ends = np.minimum(starts + call.size, unit.length)
        shares = np.diff(edges_of(starts, ends)) / unit.length
        for start, end, share in zip(starts, ends, shares, strict=True):
            windows[_Window(i, unit.part(start, end))] = share
    P = np.zeros((len(call.units), len(model.classes_)))
    known = np.zeros(len(call.units))
    sound = _sound(model, call, windows, "turns", kept)
    if not has_normalizer(model):  # no step asks who speaks
        sound = ((window, wave, None) for window, wave, _ in sound)
    for window, row in predict_parts(model, sound, call.n_at_once, kept):
        P[window.unit] += windows[window] * row
        known[window.unit] += windows[window]
    return P / np.where(known > 0, known, np.nan)[:, None]


def _sound(model, call, windows, what, kept=()):
    """Yield each window with its samples and its speaker, channel by channel.

    Windows whose features are `kept` have None for samples. A progress bar says what
    the windows are for.
    """
    bar = tqdm(total=len(windows), desc=what, leave=False, disable=not call.verbose)
    with bar:
        for channel in dict.fromkeys(unit.channel for unit in call.units):
            own = [w for w in windows if call.units[w.unit].channel == channel]
            own.sort(key=lambda window: window.spans[-1][1])
            new = [window.spans for window in own if window not in kept]
            blocks = open_recording(model, call.recording, channel=channel)
            blocks = _until_the_end(blocks, call.turns, sampling_rate(model))
            waves = cut_spans(blocks, new) if new else iter(())
            for window in own:
                wave = None if window in kept else next(waves)[1]
                if wave is None or len(wave):  # else it is behind the end of a stream
                    yield window, wave, call.units[window.unit].speaker
                bar.update()
            next(waves, None)  # the rest of the blocks


def cut_spans(blocks, windows):
    """Yield the place and the samples of each window, as soon as it is whole.

    `blocks` are a waveform. A window is one span or several, (start, end) in samples,
    whose samples are joined. Only what a later window needs is held in memory.
    """
    windows = sorted(enumerate(windows), key=lambda window: window[1][-1][1])
    firsts = [spans[0][0] for _, spans in windows]
    needed = [*np.minimum.accumulate(firsts[::-1])[::-1], np.inf]  # from each window on
    held, start, n_done = np.empty(0, np.float32), 0, 0
    for block in chain(blocks, [None]):
        held = held if block is None else np.concatenate([held, block])
        for place, spans in windows[n_done:]:
            # A window may end a moment behind the recording.
            if block is not None and spans[-1][1] > start + len(held):
                break
            yield place, np.concatenate([held[a - start : b - start] for a, b in spans])
            n_done += 1
        drop = int(min(len(held), max(0, needed[n_done] - start)))
        held, start = held[drop:], start + drop


# --- turns and their times ----------------------------------------------------------


def _units(turns, rate, seconds):
    """Join a turn that is too short to its neighbour of the same speaker, if near."""
    units, last = [], {}
    n_times = np.inf if seconds is None else round(seconds * rate)
    for place, turn in enumerate(turns):
        voice = turn.speaker, turn.channel
        piece = round(turn.start * rate), min(round(turn.end * rate), n_times)
        unit = last.get(voice)
        if unit is not None:
            gap = turn.start - turns[unit.places[-1]].end
            shorter = min(unit.length, piece[1] - piece[0])
            if 0 <= gap <= _NEAR and shorter < SHORTEST * rate:
                unit.places.append(place)
                unit.pieces.append(piece)
                continue
        last[voice] = _Unit([place], *voice, [piece])
        units.append(last[voice])
    return units


def find_overlaps(starts, ends, speakers):
    """Return for each turn the spans in which another speaker has a turn, too.

    The turns are sorted by their starts.
    """
    found, longest = [], np.max(ends - starts)
    for start, end, speaker in zip(starts, ends, speakers, strict=True):
        spans = []
        first, last = np.searchsorted(starts, [start - longest, end])
        for i in range(first, last):
            low = max(starts[i], start, *(high for _, high in spans[-1:]))
            high = min(ends[i], end)
            if speakers[i] != speaker and low < high:
                spans.append((low, high))
        found.append(spans)
    return found


def _known_length(recording, rate):
    """Return the seconds of a recording, or None if only its end can tell."""
    if isinstance(recording, str | os.PathLike):
        name = f"recording ({str(recording)!r})"
        with naming_faults(name), open_audio(recording) as file:
            if file.frames == UNKNOWN_LENGTH or is_estimate(file, recording):
                return None
            return file.frames / file.samplerate
    if isinstance(recording, Mapping):
        shape = np.shape(recording.get("array"))
        own_rate = recording.get("sampling_rate")
        is_known = shape and isinstance(own_rate, Real) and own_rate > 0
        return shape[-1] / own_rate if is_known else None
    return len(recording) / rate if hasattr(recording, "__len__") else None


def _check_ends(turns, seconds):
    """Refuse turns beyond a recording; rounding may put an end a moment behind it."""
    for turn in turns:
        if seconds is not None and (
            turn.end > seconds + _SLACK or turn.start >= seconds
        ):
            raise ValueError(
                f"{turn.where}: the turn from {turn.start:g} s to {turn.end:g} s is "
                f"beyond the recording, which has {seconds:.6g} s."
            )


def _until_the_end(blocks, turns, rate):
    """Yield the blocks of a recording, and check at its end that it has all turns."""
    n_times = 0
    for block in blocks:
        n_times += len(block)
        yield block
    _check_ends(turns, n_times / rate)
