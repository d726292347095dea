"""The command ``predict``: emotions of recordings, window by window."""

import argparse
import os
import sys
from pathlib import Path

from .._csv import write_csv
from .enrollment import add_enroll_option
from .printing import say

_WINDOW, _SHORT_WINDOW = 10.0, 3.0  # seconds; the second where time is looked at
_STDIN = "-"


def add_arguments(parser):
    """Add what the command takes to its parser."""
    option = parser.add_argument
    option("model", metavar="MODEL", help="a file that train saved")
    option(
        "paths",
        nargs="+",
        metavar="FILE-OR-FOLDER",
        help="recordings, or folders with all below; - reads 16-bit little-endian "
        "samples of one channel from standard input and prints a row for each window "
        "as it comes; a .csv table stands for the recordings in its column file, and "
        "says in its column speaker who speaks",
    )
    add_enroll_option(option)
    option("--csv", metavar="OUT", help="write the table to a CSV file too")
    option(
        "--timeline",
        metavar="OUT",
        help="write the windows to a file, a table (.csv) or a page with pictures "
        "(.html), and print a summary of each recording instead of its windows",
    )
    option(
        "--features",
        metavar="MODEL-OR-DIRECTORY",
        help="where this machine has the speech model that MODEL was trained on; "
        "default: where it was then",
    )
    option(
        "--window",
        type=_number(0.1, 3600),
        metavar="SECONDS",
        help="length of a window; default: 10, and 3 with --timeline or -",
    )
    option(
        "--hop",
        type=_number(0.01, 3600),
        metavar="SECONDS",
        help="from the start of a window to that of the next; default: half a window",
    )
    option(
        "--rate",
        type=_number(1, 1e6),
        metavar="HZ",
        help="sampling rate of standard input; default: that of the model",
    )


def _number(low, high):
    def number(text):
        value = float(text)
        if not low <= value <= high:
            message = f"must be at least {low:g} and at most {high:g}, got {text}"
            raise argparse.ArgumentTypeError(message)
        return value

    return number


def check_out(option, path):
    """Refuse what cannot be written before minutes of work."""
    bad = path.endswith(("/", os.sep)) or os.path.isdir(path)
    folder = os.path.dirname(path) or os.curdir
    try:
        bad = bad or not os.access(folder, os.X_OK) or not os.stat(path)
    except FileNotFoundError:
        bad = not os.access(folder, os.W_OK)
    except (OSError, ValueError):  # a name too long, with a NUL, or a loop of links
        bad = True
    if bad:
        raise ValueError(f"argument {option}: '{path}' cannot be written as a file")


def predict(args):
    """Print a row for each window of each recording; return 1 if one failed."""
    from ..persistence import load
    from ..timeline import collect, open_recording, predict_windows
    from .enrollment import by_speaker

    window, hop = _check_options(args)
    files = None if args.paths == [_STDIN] else _audio_files(args.paths)
    model = load(args.model)
    _check_front(model, args)
    if files is None:
        [(_, model)] = by_speaker(model, args, [_STDIN])
        return _follow(model, args, window, hop)
    models = by_speaker(model, args, files)
    files = [file for file, _ in models]
    wanted = bool(args.csv or args.timeline)
    table = _Table(map(_shown, files), model.classes_, file_is_wanted=wanted)
    timelines, failed = [], 0
    for file, of_speaker in models:
        try:
            rate, blocks = open_recording(model, file)
            found = predict_windows(of_speaker, blocks, rate, window, hop)
            timelines.append(collect(_shown(file), model, found))
        except (OSError, TypeError, ValueError) as error:
            failed += 1
            text = " ".join(str(error).split())
            print(
                f"sklearn-ser: error: {_shown(file)}: {text}",
                file=sys.stderr,
                flush=True,
            )
            continue
        if args.timeline is None:
            for row in _rows(timelines[-1]):
                table.show(row)
        else:
            say(f"{timelines[-1]}\n", wanted)
    _write(args, model.classes_, timelines)
    if failed:
        print(
            f"sklearn-ser: {failed} of {len(files)} recordings were not predicted",
            file=sys.stderr,
        )
    return int(failed > 0)


def _follow(model, args, window, hop):
    """Print a row for each window of standard input as it comes."""
    from ..timeline import collect, open_recording, predict_windows

    name, found = "stdin", []
    rate, _ = open_recording(model, _STDIN)
    blocks = _read_raw(args.rate or rate, rate)
    table = _Table([name], model.classes_, file_is_wanted=False)
    try:
        for row in predict_windows(model, blocks, rate, window, hop, batch=0):
            found.append(row)
            table.show(next(_rows(collect(name, model, [row]))))
    finally:  # a microphone has no other end than an interrupt
        if found:
            timeline = collect(name, model, found)
            _write(args, model.classes_, [timeline])
    if not found:
        raise ValueError("standard input is empty, expected one sample at least")
    if args.timeline is not None:
        print(f"\n{timeline}")


def _check_options(args):
    """Return window and hop; refuse before minutes of work what does not fit."""
    live = _STDIN in args.paths
    if live and len(args.paths) > 1:
        raise ValueError("argument FILE-OR-FOLDER: - allows no other beside it")
    if live and sys.stdin.isatty():
        raise ValueError(
            "standard input is a terminal, expected raw audio: pipe it in, as in "
            "ffmpeg -i talk.mp3 -f s16le -ac 1 -ar 16000 - | sklearn-ser predict "
            "model.skops -"
        )
    if args.rate is not None and not live:
        raise ValueError("argument --rate: files tell their own, it is for - alone")
    for option, path in (("--csv", args.csv), ("--timeline", args.timeline)):
        if path is not None:
            check_out(option, path)
    if args.timeline is not None and _suffix(args.timeline) not in (".csv", ".html"):
        raise ValueError(
            f"argument --timeline: '{args.timeline}' must end in .csv or .html"
        )
    short = live or args.timeline is not None
    window = args.window or (_SHORT_WINDOW if short else _WINDOW)
    hop = args.hop or window / 2
    if hop > window:
        raise ValueError(f"argument --hop: must be at most the window of {window:g} s")
    return window, hop


def _read_raw(rate, sampling_rate):
    """Yield what comes in: 16-bit samples, little-endian, of one channel."""
    import numpy as np

    from ..features._audio_stream import Resampler

    resample, rest = Resampler(rate, sampling_rate), b""
    while data := sys.stdin.buffer.read1(2**16):
        data = rest + data
        n_whole = len(data) // 2 * 2
        rest = data[n_whole:]  # half a sample
        samples = np.frombuffer(data[:n_whole], "<i2").astype(np.float32)
        yield resample(samples / 2**15)
    yield resample(np.empty(0, np.float32), last=True)


class _Table:
    """Rows on the screen, and a header above the first of them."""

    def __init__(self, names, classes, file_is_wanted):
        self.file_is_wanted = file_is_wanted
        classes = [str(name) for name in classes]
        self.header = ["file", "start", "end", "emotion", *classes]
        self.widths = [max(4, *map(len, names)), 7, 7, max(7, *map(len, classes))]
        self.widths += [max(6, len(name)) for name in classes]
        self.is_new = True

    def show(self, row):
        if self.is_new:
            self._print(self.header)
            self.is_new = False
        self._print(row)

    def _print(self, cells):
        first, *rest = zip(cells, self.widths, strict=True)
        cells = [f"{first[0]:<{first[1]}}", *(f"{c:>{w}}" for c, w in rest)]
        say("  ".join(cells), self.file_is_wanted)


def _rows(timeline):
    """Yield the cells of each window."""
    rows = timeline.starts, timeline.ends, timeline.emotions, timeline.probabilities
    for start, end, emotion, p in zip(*rows, strict=True):
        times = f"{start:.2f}", f"{end:.2f}"
        yield [timeline.name, *times, str(emotion), *(f"{value:.4f}" for value in p)]


def _write(args, classes, timelines):
    """Write the files that were asked for."""
    from .._files import atomic_write
    from ..timeline._page import timeline_page

    for path in filter(None, (args.csv, args.timeline)):
        if path == args.timeline and _suffix(path) == ".html":
            with atomic_write(path) as out:
                out.write(timeline_page(timelines, _shown(args.model)).encode())
        else:
            write_csv(path, _table_of(classes, timelines))


def _suffix(path):
    return os.path.splitext(path)[1].lower()


def _check_front(model, args):
    """Refuse a pipeline that takes no recordings, or whose weights are not here."""
    import numpy as np

    from ..features import (
        LogMelTransformer,
        OpenSMILETransformer,
        SpeechModelTransformer,
    )

    front = getattr(model, "steps", [(None, None)])[0][1]
    kinds = LogMelTransformer, SpeechModelTransformer, OpenSMILETransformer
    if not isinstance(front, kinds) or not hasattr(model, "classes_"):
        raise ValueError(
            f"'{args.model}' is no fitted pipeline that starts with LogMelTransformer, "
            "SpeechModelTransformer or OpenSMILETransformer"
        )
    if not hasattr(model, "predict_proba"):
        raise ValueError(f"'{args.model}' predicts no probabilities")
    if not isinstance(front, SpeechModelTransformer):
        if args.features is not None:
            raise ValueError(
                f"argument --features: '{args.model}' takes no speech model, but "
                f"the features of {type(front).__name__}"
            )
        return
    if args.features is not None:
        front.set_params(model=args.features, revision=None)
    try:
        front.transform([np.zeros(1600, np.float32)])  # a tenth of a second
    except ValueError as error:
        if args.features is None:
            error.add_note("--features names where this machine has the model")
        raise


def _table_of(classes, timelines):
    """Return the cells of all windows, below a header."""
    table = [["file", "start", "end", "emotion", *map(str, classes)]]
    for timeline in timelines:
        table += _rows(timeline)
    return table


def _shown(path):
    """Return a path as text that can be printed, though its bytes may be no UTF-8."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _audio_files(paths):
    """Return the files, with those of audio below each folder in order."""
    from ..datasets._search import find_recordings

    files = []
    for path in paths:
        if not os.path.isdir(path):
            files.append(Path(path))
            continue
        found = find_recordings(path)
        if not found.files:
            more = f": {found}" if str(found) else ""
            raise ValueError(f"no audio file below the folder '{path}'{more}")
        if str(found):
            print(f"sklearn-ser: warning: {found}", file=sys.stderr)
        files += map(Path, found.files)
    return files
