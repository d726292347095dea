"""Who talks when: turns from files, from rows or from channels, checked."""

import csv
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._csv import clean_name, read_table, read_text, seconds_of, unify_names
from .._validation import is_missing, shortened
from ..exceptions import SilentRecordingWarning, warn_caller
from ..features._audio_files import naming_faults, open_audio
from ..features._audio_stream import read_blocks
from ..features.audio import as_mapping, describe
from .windows import calm

_COLUMNS = ("start", "end", "speaker")
_EXPECTED = (
    "RTTM, a CSV table with the columns start, end and speaker, the labels of Audacity "
    "or the JSON of whisperX"
)
# The kinds of lines in RTTM, of which one kind is a turn, and comments.
_RTTM = (
    *("SPEAKER", "SPKR-INFO", "SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", ";;"),
    *("NON-LEX", "NON-SPEECH", "FILLER", "EDIT", "SU", "IP", "CB", "A/P"),
)
# What stands in RTTM where a waveform without a name was diarised.
_NO_FILE = ("<NA>", "waveform")
_NUMBER = re.compile(r"<NA>|[\d.,eE+-]+")  # a confidence in RTTM, which may lack

# Of the channels of a call.
_RATE = 16000
_FRAME = 0.02  # seconds of a level
_SILENT = -70.0  # dB of full scale: a channel whose speech is not above holds none
_RANGE = 30.0  # dB that speech may lie below the loud speech of its channel
_ABOVE = 0.3  # of the way from the noise to the loud speech
_CROSSTALK = 15.0  # dB: what is weaker beside another channel's speech is an echo of it
_PAUSE = 0.5  # seconds: a shorter pause is within a turn
_SHORTEST = 0.2  # seconds: a shorter sound is no turn
_MARGIN = 0.1  # seconds around a turn, in which speech begins and ends softly


class Turn(NamedTuple):
    """The time in which one speaker talks.

    Attributes
    ----------
    start, end : float
        Seconds from the start of the recording.
    speaker : str
        Who talks.
    where : str, default=""
        Where the turn comes from, for messages: the file and its line.
    channel : int, default=None
        The channel of the recording that holds the turn. None leaves it to the model.
    """

    start: float
    end: float
    speaker: str
    where: str = ""
    channel: int | None = None


def read_turns(
    path: str | os.PathLike, *, recording: str | os.PathLike | None = None
) -> list[Turn]:
    """Read who talks when from a file that another program wrote.

    The content tells the format: RTTM, as pyannote and NeMo write it; a CSV table with
    the columns ``start``, ``end`` and ``speaker``, or lines of these three without a
    header; the labels of Audacity; the JSON of whisperX. Times are in seconds, or
    on a clock, such as 0:01:02.5.

    Parameters
    ----------
    path : str or path-like
        The file, in UTF-8 or UTF-16. A comma, a semicolon or a tab separates the cells
        of a table, which may have more columns.
    recording : str or path-like, default=None
        The recording of the turns. Each line of RTTM names a file, and only the turns
        of this one are read. None is for RTTM of one file.

    Returns
    -------
    turns : list of Turn
        Named tuples (start, end, speaker, where, channel), by their starts. Spellings
        of a name that differ only in letter case, Unicode form or hidden characters are
        one speaker.

    Raises
    ------
    ValueError
        If the file is empty or fits no format, or a turn has no speaker, starts before
        zero, or does not end after its start. If RTTM has no turn of `recording`, or
        turns of several files and `recording` is None. The message names the line.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn_ser.timeline import read_turns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "call.rttm")
    ...     _ = path.write_text("SPEAKER call 1 0.5 2.0 <NA> <NA> ann <NA> <NA>\\n")
    ...     (turn,) = read_turns(path)
    >>> turn.start, turn.end, turn.speaker
    (0.5, 2.5, 'ann')
    """
    name = f"turns '{path}'"
    try:
        text = read_text(path)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} is not text in UTF-8 or UTF-16, expected {_EXPECTED}."
        ) from error
    lines = [(i, line.strip()) for i, line in enumerate(text.splitlines(), 1)]
    lines = [(f"{name}, line {i}", line) for i, line in lines if line]
    if not lines:
        raise ValueError(f"{name} is empty, expected {_EXPECTED}.")
    first = lines[0][1]
    if first[0] in "[{":
        found = _of_json(text, name)
    elif _has_header(path):  # which may begin with SPEAKER, as RTTM does
        found = _of_table(path, name)
    elif first.startswith(_RTTM):
        found = _of_rttm(lines, recording, name)
    else:
        found = _of_labels(lines)
    return _checked(found)


def check_turns(turns: Any, recording: Any) -> list[Turn]:
    """Return checked turns, from a file or from rows (start, end, speaker)."""
    if isinstance(turns, str | os.PathLike):
        is_path = isinstance(recording, str | os.PathLike)
        return read_turns(turns, recording=recording if is_path else None)
    if not isinstance(turns, Iterable) or isinstance(turns, Mapping | bytes):
        raise TypeError(
            f"turns is a {type(turns).__name__}, expected a path, or rows of start, "
            "end and speaker."
        )
    found = []
    for i, row in enumerate(turns):
        if not isinstance(row, tuple | list) or len(row) not in (3, len(Turn._fields)):
            raise TypeError(
                f"turns[{i}] is {shortened(repr(row))}, expected start, end and "
                "speaker."
            )
        start, end, speaker, *rest = row
        where = rest[0] if rest and rest[0] else f"turns[{i}]"
        found.append((where, start, end, speaker, *rest[1:]))
    if not found:
        raise ValueError("turns is empty, expected one turn at least.")
    return _checked(found)


def _checked(found):
    """Return turns by their starts. Each of `found` is where it is and its values."""
    turns = []
    for where, start, end, speaker, *channel in found:
        start, end = _seconds(start, "start", where), _seconds(end, "end", where)
        who = clean_name(speaker) if isinstance(speaker, str) else str(speaker)
        if is_missing(speaker) or not who:
            raise ValueError(f"{where}: the speaker is empty, expected a name.")
        if start < 0:
            raise ValueError(
                f"{where}: the start is {start:g} s, expected 0 s or later."
            )
        if end <= start:
            raise ValueError(
                f"{where}: the end at {end:g} s is not after the start at {start:g} s."
            )
        turns.append(Turn(start, end, who, where, *channel))
    names, _ = unify_names([turn.speaker for turn in turns])
    turns = [t._replace(speaker=name) for t, name in zip(turns, names, strict=True)]
    return sorted(turns, key=lambda turn: turn[:3])


def _seconds(value, what, where):
    try:
        number = seconds_of(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or not isinstance(value, str | Real):
        raise ValueError(
            f"{where}: the {what} is {shortened(repr(value))}, expected seconds."
        )
    return number


# --- the formats --------------------------------------------------------------------


def _of_rttm(lines, recording, name):
    found = {}
    for where, line in lines:
        kind, *cells = line.split()
        if not line.startswith(_RTTM):
            raise ValueError(
                f"{where}: found {shortened(repr(line))}, expected a line of RTTM, as "
                "the first one is."
            )
        if kind != "SPEAKER":
            continue
        if len(cells) < 7:
            raise ValueError(
                f"{where}: has {len(cells) + 1} cells, expected SPEAKER, the file, the "
                "channel, start, duration, two of text, and the speaker."
            )
        file, _, start, duration, _, _, speaker, *rest = cells
        if len(rest) > 2 or not all(map(_NUMBER.fullmatch, rest)):
            raise ValueError(
                f"{where}: found {shortened(repr(line))}, expected no more than two "
                "numbers or <NA> after the speaker; a name in RTTM has no spaces."
            )
        speaker = "" if speaker == "<NA>" else speaker
        begin = _seconds(start, "start", where)
        length = _seconds(duration, "duration", where)
        found.setdefault(file, []).append((where, begin, begin + length, speaker))
    if not found:
        raise ValueError(
            f"{name} is RTTM without a line SPEAKER, expected one at least."
        )
    first, *others = found
    if recording is None and others:
        raise ValueError(
            f"{found[others[0]][0][0]}: is of the file '{others[0]}', but the first "
            f"turn is of '{first}'; `recording` must say which one is meant."
        )
    if recording is None:
        return found[first]
    path = Path(os.fsdecode(recording))
    known = [path.stem, path.name, path.stem.replace(" ", "_"), *_NO_FILE]
    turns = [turn for file in dict.fromkeys(known) for turn in found.get(file, [])]
    if not turns:
        raise ValueError(
            f"{found[first][0][0]}: is of the file '{first}', and no line is of the "
            f"recording '{path.stem}'."
        )
    return turns


def _has_header(path):
    """Tell whether a table names its columns."""
    try:
        names, _ = read_table(path, _COLUMNS, errors="replace")
    except ValueError:
        return False
    return len({*_COLUMNS} & {*names}) > 1


def _of_table(path, name):
    names, rows = read_table(path, _COLUMNS)
    missing = [column for column in _COLUMNS if column not in names]
    if missing:
        raise ValueError(
            f"{name}, line 1: lacks the columns {missing}; it has {names}, expected "
            "start, end and speaker."
        )
    if not rows:
        raise ValueError(f"{name} has a header but no rows, expected one at least.")
    places = [names.index(column) for column in _COLUMNS]
    for number, row in rows:
        if len(row) > len(names):
            raise ValueError(
                f"{name}, line {number}: has {len(row)} cells, expected {len(names)}, "
                "as the header has; a comma in a cell needs quotes."
            )
        row = [*row, *[""] * (len(names) - len(row))]
        yield (f"{name}, line {number}", *(row[i] for i in places))


def _of_labels(lines):
    """Yield rows without a header: Audacity's labels, or a table of three columns."""
    delimiter = next((d for d in "\t;," if d in lines[0][1]), ",")
    for where, line in lines:
        if delimiter == "\t" and line.startswith("\\"):  # the frequencies of a label
            continue
        try:
            cells = map(str.strip, next(csv.reader([line], delimiter=delimiter)))
            start, end, *texts = cells
            [speaker] = texts or [""]  # more are those of times with commas, too
            seconds_of(start), seconds_of(end)
        except (ValueError, csv.Error) as error:
            raise ValueError(
                f"{where}: found {shortened(repr(line))}, expected {_EXPECTED}."
            ) from error
        yield where, start, end, speaker


def _of_json(text, name):
    """Return the segments of whisperX, or a list of mappings like them."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{name}, line {error.lineno}: is no JSON ({error.msg}), expected "
            f"{_EXPECTED}."
        ) from error
    segments = data.get("segments") if isinstance(data, dict) else data
    if not isinstance(segments, list) or not segments:
        raise ValueError(
            f"{name}, line 1: is JSON without a list 'segments', expected {_EXPECTED}."
        )
    dicts = [each for each in segments if isinstance(each, dict)]
    is_diarised = any("speaker" in each for each in dicts)
    more = "" if is_diarised else "; whisperX writes it with --diarize"
    for i, segment in enumerate(segments, 1):
        where = f"{name}, segment {i}"
        known = segment if isinstance(segment, dict) else {}
        lacking = [column for column in _COLUMNS if column not in known]
        if lacking:
            raise ValueError(f"{where}: has no {lacking[0]!r}{more}.")
        yield (where, *(segment[column] for column in _COLUMNS))


# --- one speaker on each channel: speech by its energy ------------------------------


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
        turns += [Turn(start, end, who, who, channel) for start, end in spans]
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
            frames = wave[: n_frames * size].reshape(-1, size)
            rest = wave[n_frames * size :]
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
    spans = spans[spans[:, 1] - spans[:, 0] >= _SHORTEST]
    return np.clip(np.add(spans, [-_MARGIN, _MARGIN]), 0, len(is_speech) * _FRAME)
