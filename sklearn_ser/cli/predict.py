"""The command ``predict``: emotions of recordings, by windows or by turns."""

import argparse
import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from .._csv import aligned, unify_names, write_csv
from .._files import atomic_write, find_recordings
from . import archive
from .options import add_options, check_writable, refuse, refuse_given, try_front
from .terminal import print_line, print_note

HELP = "print the emotions of recordings"
DESCRIPTION = (
    "Print the emotion of each recording and the probabilities. A recording longer "
    "than a window is predicted in windows that overlap."
)
_PATHS = (
    "recordings, or folders with all below; - reads 16-bit little-endian samples of "
    "one channel from standard input and prints a row for each window as it comes; a "
    ".csv table stands for the recordings in its column file, and says in its column "
    "speaker who speaks"
)
_OPTIONS = """
--enroll CALLS
    a CSV table with the columns file and speaker: a few recordings that tell the
    voices; if it has one speaker, all recordings are by that one; self enrolls each
    speaker with what is predicted: its turns, or its recordings
--turns TURNS
    who talks when: RTTM, CSV (start, end, speaker), labels of Audacity or JSON of
    whisperX; a folder has a file of the same stem for each recording; channels means
    one speaker on each channel; prints a row for each turn
--csv OUT
    write the table to a CSV file too
--timeline OUT
    write the windows to a file, a table (.csv) or a page with pictures (.html), and
    print a summary of each recording instead of its windows
--features MODEL-OR-DIRECTORY
    where this machine has the speech model that MODEL was trained on; default: where it
    was then
--window SECONDS
    length of a window; default: 10, and 3 with --timeline or - if there are no turns
--hop SECONDS
    from the start of a window to that of the next; default: half a window
--rate HZ
    sampling rate of standard input; default: that of the model
"""
_WINDOW, _SHORT_WINDOW = 10.0, 3.0  # seconds; the second where time is looked at
_PIECE = 10  # seconds: a long recording counts as several in an enrolment
_STDIN, _SELF, _CHANNELS = "-", "self", "channels"
_TURNS = (".rttm", ".csv", ".tsv", ".txt", ".json")
_TIMES = ("start", "end", "seconds", "overlap")


def add_arguments(parser):
    """Add what the command takes to its parser."""
    parser.set_defaults(command=run)
    parser.add_argument("model", metavar="MODEL", help="a file that train saved")
    parser.add_argument("paths", nargs="+", metavar="FILE-OR-FOLDER", help=_PATHS)
    limits = {"window": (0.1, 3600), "hop": (0.01, 3600), "rate": (1, 1e6)}
    types = {name: {"type": _number(*limit)} for name, limit in limits.items()}
    add_options(parser, _OPTIONS, **types)
    archive.add_arguments(parser)


def _number(low, high):
    def number(text):
        value = float(text)
        if not low <= value <= high:
            message = f"must be at least {low:g} and at most {high:g}, got {text}"
            raise argparse.ArgumentTypeError(message)
        return value

    return number


def run(args):
    """Print a row for each window of each recording; return 1 if one failed."""
    from ..persistence import load

    times = _check_options(args)
    files = _audio_files(args.paths)
    talks = None if args.turns is None else _find_turns(args.turns, files)
    model = load(args.model)
    _check_model(model, args)
    voices = _voices(model, args, files)
    if args.paths == [_STDIN]:
        return _follow(model, args, *times, speaker=voices[0][1])
    if args.out is not None:
        named = [(_shown(file), file, speaker) for file, speaker in voices]
        return archive.run(args, model, named, times)
    wanted = bool(args.csv or args.timeline)
    show = _table(args, [_shown(file) for file, _ in voices], model.classes_, wanted)
    timelines = []
    try:
        for file, speaker in voices:
            try:
                timelines.append(_predict(model, args, file, speaker, times, talks))
            except (OSError, TypeError, ValueError) as error:
                print_note(f"error: {_shown(file)}: {error}")
                continue
            if args.timeline is None:
                show(timelines[-1])
            else:
                print_line(f"{timelines[-1]}\n", reader_may_leave=wanted)
    except KeyboardInterrupt:  # what was found before it is kept
        if timelines:
            _write(args, model.classes_, timelines)
        raise
    _write(args, model.classes_, timelines)
    n_failed = len(voices) - len(timelines)
    if n_failed:
        print_note(f"{n_failed} of {len(voices)} recordings were not predicted")
    return int(n_failed > 0)


def _predict(model, args, file, speaker, times, talks):
    """Return the windows of a recording, or its turns."""
    from ..timeline import predict_turns
    from ..timeline.windows import collect, predict_recording

    if talks is None:
        found = predict_recording(model, file, *times, speaker)
        return collect(_shown(file), model, found)
    enroll = _SELF if args.enroll == _SELF else None
    own, verbose = talks[file], sys.stderr.isatty()
    found = predict_turns(model, file, own, times, enroll=enroll, verbose=verbose)
    return replace(found, name=_shown(file))


def _follow(model, args, window, hop, speaker):
    """Print a row for each window of standard input as it comes."""
    from ..timeline.windows import collect, predict_windows, sampling_rate

    name, found = "stdin", []
    rate = sampling_rate(model)
    blocks = _read_raw(args.rate or rate, rate)
    show = _table(args, [name], model.classes_, False)
    options = {"batch": 0, "speaker": speaker}
    try:
        for row in predict_windows(model, blocks, window, hop, **options):
            found.append(row)
            show(collect(name, model, [row]))
    finally:  # a microphone has no other end than an interrupt
        if found:
            timeline = collect(name, model, found)
            _write(args, model.classes_, [timeline])
    if not found:
        raise ValueError("standard input is empty, expected one sample at least")
    if args.timeline is not None:
        print_line(f"\n{timeline}")


def _read_raw(rate, sampling_rate):
    """Yield what comes in: 16-bit samples, little-endian, of one channel."""
    from ..features._audio_stream import Resampler

    resample, rest = Resampler(rate, sampling_rate), b""
    while data := sys.stdin.buffer.read1(2**16):
        data = rest + data
        n_whole = len(data) // 2 * 2
        rest = data[n_whole:]  # half a sample
        samples = np.frombuffer(data[:n_whole], "<i2").astype(np.float32)
        yield resample(samples / 2**15)
    yield resample(np.empty(0, np.float32), last=True)


# --- what is asked ------------------------------------------------------------------


def _check_options(args):
    """Return window and hop; refuse before minutes of work what does not fit."""
    live, several = _STDIN in args.paths, len(args.paths) > 1
    archive.check_options(args)
    refuse(live and several, "FILE-OR-FOLDER", "- allows no other beside it")
    if live and sys.stdin.isatty():
        raise ValueError(
            "standard input is a terminal, expected raw audio: pipe it in, as in "
            "ffmpeg -i talk.mp3 -f s16le -ac 1 -ar 16000 - | sklearn-ser predict "
            "model.skops -"
        )
    refuse(
        args.rate is not None and not live,
        "--rate",
        "it is the rate of standard input (-); a file has its own rate in its header",
    )
    refuse(
        live and (args.turns is not None or args.enroll == _SELF),
        "FILE-OR-FOLDER",
        "what --turns or --enroll self know of a recording is known at its end, and - "
        "predicts it before",
    )
    for option, path in (("--csv", args.csv), ("--timeline", args.timeline)):
        if path is not None:
            check_writable(option, path)
    refuse(
        args.timeline is not None and _suffix(args.timeline) not in (".csv", ".html"),
        "--timeline",
        f"'{args.timeline}' must end in .csv or .html",
    )
    short = live or (args.timeline is not None and args.turns is None)
    window = args.window or (_SHORT_WINDOW if short else _WINDOW)
    hop = args.hop or window / 2
    refuse(hop > window, "--hop", f"must be at most the window of {window:g} s")
    return window, hop


def _audio_files(paths):
    """Return the files, with those of audio below each folder in order."""
    files = []
    for path in paths:
        if not os.path.isdir(path):
            files.append(path)
            continue
        found = find_recordings(path)
        if not found.files:
            more = f": {found}" if str(found) else ""
            raise ValueError(f"no audio file below the folder '{path}'{more}")
        if str(found):
            print_note(f"warning: {found}")
        files += found.files
    return files


def _check_model(model, args):
    """Refuse a pipeline that takes no recordings, or whose weights are not here."""
    from ..features import (
        LogMelTransformer,
        OpenSMILETransformer,
        SpeechModelTransformer,
    )
    from ..timeline.windows import first_step

    front = first_step(model)
    kinds = LogMelTransformer, SpeechModelTransformer, OpenSMILETransformer
    if not isinstance(front, kinds) or not hasattr(model, "classes_"):
        raise ValueError(
            f"'{args.model}' is no fitted pipeline that starts with LogMelTransformer, "
            "SpeechModelTransformer or OpenSMILETransformer"
        )
    if not hasattr(model, "predict_proba"):
        raise ValueError(f"'{args.model}' predicts no probabilities")
    if not isinstance(front, SpeechModelTransformer):
        takes = f"takes no speech model, but the features of {type(front).__name__}"
        refuse_given(args, ["features"], f"'{args.model}' {takes}")
        return
    if args.features is not None:
        front.set_params(model=args.features, revision=None)
    try:
        try_front(front)
    except ValueError as error:
        if args.features is None:
            error.add_note("--features names where this machine has the model")
        raise


# --- who speaks ---------------------------------------------------------------------


def _find_turns(where, files):
    """Return the turns of each recording by its file, or what stands for them."""
    from ..timeline import read_turns

    tables = [file for file in files if _suffix(file) == ".csv"]
    refuse(
        tables,
        "--turns",
        f"the turns say who speaks: give recordings, not the table(s) {tables}",
    )
    if where == _CHANNELS:
        return dict.fromkeys(files, _CHANNELS)
    paths = _files_of_turns(where, files)
    try:
        return {file: read_turns(path, recording=file) for file, path in paths.items()}
    except (OSError, ValueError) as error:
        raise ValueError(f"argument --turns: {error}") from error


def _files_of_turns(where, files):
    """Return the file of turns of each recording, the only one of its stem."""
    found = f"must be an existing file or folder, found none at '{where}'"
    refuse(not os.path.exists(where), "--turns", found)
    if not os.path.isdir(where):
        refuse(
            len(files) > 1,
            "--turns",
            f"'{where}' is one file for {len(files)} recordings; give a folder that "
            "has a file of the same stem for each",
        )
        return {files[0]: where}
    beside, paths, taken = {}, {}, {}
    for path in sorted(Path(where).iterdir()):
        if path.suffix.lower() in _TURNS:
            beside.setdefault(path.stem, []).append(path)
    for file in files:
        own = beside.get(Path(file).stem, [])
        refuse(not own, "--turns", f"'{where}' has no turns of '{file}'")
        names = " and ".join(f"'{path.name}'" for path in own)
        refuse(len(own) > 1, "--turns", f"'{where}' has {names} for '{file}'")
        paths[file], other = own[0], taken.setdefault(own[0], file)
        refuse(
            os.path.realpath(file) != os.path.realpath(other),
            "--turns",
            f"'{own[0]}' fits '{other}' and '{file}', and has the turns of one; give "
            "the recordings one by one, each with its file of turns",
        )
    return paths


def _voices(model, args, files):
    """Enroll what --enroll names, and return each file with its speaker, or None.

    A CSV table among the files stands for those that it lists.
    """
    from ..pipeline import enroll, find_normalizer, has_normalizer
    from ..timeline.windows import as_recording

    pairs = []
    for file in files:
        is_table = _suffix(file) == ".csv"
        pairs += _read_table(file, "FILE-OR-FOLDER") if is_table else [(file, None)]
    if not has_normalizer(model):
        lacks = "was trained without --enrollable and has no SpeakerNormalizer"
        refuse_given(args, ["enroll"], f"'{args.model}' {lacks}, which keeps voices")
        return [(file, None) for file, _ in pairs]
    if args.enroll == _SELF:
        return _enroll_themselves(model, args, pairs)
    calls = [] if args.enroll is None else _read_table(args.enroll, "--enroll")
    voices = find_normalizer(model).speaker_statistics_
    names = [name for _, name in [*calls, *pairs] if name is not None]
    spelling = dict(zip(names, unify_names(names, known=voices)[0], strict=True))
    if calls:
        pieces = [(part, name) for file, name in calls for part in _cut(model, file)]
        names = [spelling[name] for _, name in pieces]
        enroll(model, [as_recording(model, part) for part, _ in pieces], names)
    if args.turns is not None:
        return pairs
    enrolled = {spelling[name] for _, name in calls}
    found = []
    for file, name in pairs:
        refuse(
            name is None and len(enrolled) > 1,
            "--enroll",
            f"'{args.enroll}' has {len(enrolled)} speakers, and nothing says which of "
            f"them speaks in '{file}': give the recordings as a CSV table with the "
            "columns file and speaker",
        )
        name = next(iter(enrolled), None) if name is None else spelling[name]
        refuse(
            enrolled and name not in find_normalizer(model).speaker_statistics_,
            "--enroll",
            f"'{args.enroll}' has no recording of '{name}', who speaks in '{file}'",
        )
        found.append((file, name))
    return found


def _enroll_themselves(model, args, pairs):
    """Enroll each speaker with its recordings; one without a name is a voice itself."""
    from ..timeline.windows import enroll_windows

    if args.turns is not None:  # each recording has its own speakers
        return pairs
    names, _ = unify_names([name or _shown(file) for file, name in pairs])
    pairs = [(file, name) for (file, _), name in zip(pairs, names, strict=True)]

    def pieces():
        for file, name in pairs:
            # A recording that fails is told where it is predicted.
            with contextlib.suppress(OSError, TypeError, ValueError):
                for part in _cut(model, file):
                    yield None, part, name  # features of other windows are kept

    enroll_windows(model, pieces(), 6)
    print_note(
        "voices are enrolled from the recordings that are predicted: transductive"
    )
    return pairs


def _read_table(path, option):
    """Return the file and the speaker of each row of a CSV table, or None for him."""
    from ..datasets.manifest import read_recordings

    required = ("file", "speaker") if option == "--enroll" else ("file",)
    table = read_recordings(path, f"argument {option}:", required=required)
    speakers = table.columns.get("speaker", [None] * len(table.files))
    return [*zip(table.files, speakers, strict=True)]


def _cut(model, file):
    """Return a recording in pieces of ten seconds; a short rest is left out."""
    from ..timeline.windows import open_recording, sampling_rate

    wave = np.concatenate([*open_recording(model, file)])
    size = round(_PIECE * sampling_rate(model))
    starts = range(0, max(1, len(wave) - size // 2), size)
    return [wave[start : start + size] for start in starts]


# --- what is printed and written ----------------------------------------------------


def _table(args, names, classes, reader_may_leave):
    """Return what prints the windows of a timeline, the first ones below a header."""
    from ..timeline.windows import column_names

    columns = _columns(args)
    header = column_names(classes, columns)
    longest = max(len(str(name)) for name in classes)
    least = {"file": max(map(len, names)), "emotion": longest, "speaker": 10}
    least |= {"kind": 12, "overlap": 7, "start": 7, "end": 7}
    widths = [max(6, len(name), least.get(name, 0)) for name in header]
    above = [header]

    def show(timeline):
        for row in [*above, *_rows(timeline, columns)]:
            print_line(aligned(row, widths), reader_may_leave=reader_may_leave)
        above.clear()

    return show


def _columns(args):
    """Return the first columns of a table, of windows or of turns."""
    from ..timeline.turns import TURN_COLUMNS
    from ..timeline.windows import COLUMNS

    return COLUMNS if args.turns is None else TURN_COLUMNS


def _rows(timeline, columns):
    """Yield the cells of each window, or of each turn."""
    from ..timeline.windows import columns_of

    def text(name, cell):
        if name in _TIMES:
            return f"{cell:.2f}"
        return "too short" if cell is None else str(cell)

    cells = zip(*columns_of(timeline, columns), strict=True)
    for row, chances in zip(cells, timeline.probabilities, strict=True):
        shares = ("" if np.isnan(p) else f"{p:.4f}" for p in chances)
        yield [*map(text, columns, row), *shares]


def _write(args, classes, timelines):
    """Write the files that were asked for."""
    from ..timeline.page import timeline_page
    from ..timeline.windows import column_names

    columns = _columns(args)
    rows = [row for timeline in timelines for row in _rows(timeline, columns)]
    for path in filter(None, (args.csv, args.timeline)):
        if path == args.timeline and _suffix(path) == ".html":
            model = os.path.basename(_shown(args.model))
            if args.enroll == _SELF:
                model += ", with voices that enroll themselves (transductive)"
            with atomic_write(path) as out:
                out.write(timeline_page(timelines, model).encode())
        else:
            write_csv(path, [column_names(classes, columns), *rows])


def _suffix(path):
    return os.path.splitext(path)[1].lower()


def _shown(path):
    """Return a path as text that can be printed, though its bytes may be no UTF-8."""
    path = path["path"] if isinstance(path, Mapping) else path  # of a segment
    return os.fsencode(path).decode(errors="backslashreplace")
