"""The command ``predict``: emotions of recordings, window by window."""

import os
import sys
from pathlib import Path

_RATE = 16000  # of all speech models that are known


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
    from sklearn_ser._cli_enroll import by_speaker
    from sklearn_ser.persistence import load

    if args.csv is not None:
        check_out("--csv", args.csv)
    files = _audio_files(args.paths)
    model = load(args.model)
    _check_front(model, args)
    models = by_speaker(model, args, files)
    files = [file for file, _ in models]
    classes = [str(name) for name in model.classes_]
    table, failed = [["file", "start", "end", "emotion", *classes]], 0
    widths = [max(4, *(len(_shown(file)) for file in files)), 7, 7]
    widths += [max(7, *map(len, classes)), *(max(6, len(name)) for name in classes)]
    print(_line(table[0], widths), flush=True)
    for file, of_speaker in models:
        try:
            rows = list(_predict_file(of_speaker, file, args.window))
        except (OSError, TypeError, ValueError) as error:
            failed += 1
            text = " ".join(str(error).split())
            print(
                f"sklearn-ser: error: {_shown(file)}: {text}",
                file=sys.stderr,
                flush=True,
            )
            continue
        for row in rows:
            print(_line(row, widths), flush=True)
        table += rows
    if args.csv is not None:
        _write_csv(args.csv, table)
    if failed:
        print(
            f"sklearn-ser: {failed} of {len(files)} recordings were not predicted",
            file=sys.stderr,
        )
    return int(failed > 0)


def _check_front(model, args):
    """Refuse a pipeline that takes no recordings, or whose weights are not here."""
    import numpy as np

    from sklearn_ser.features import LogMelTransformer, SpeechModelTransformer

    front = getattr(model, "steps", [(None, None)])[0][1]
    kinds = LogMelTransformer, SpeechModelTransformer
    if not isinstance(front, kinds) or not hasattr(model, "classes_"):
        raise ValueError(
            f"'{args.model}' is no fitted pipeline that starts with LogMelTransformer "
            "or SpeechModelTransformer"
        )
    if isinstance(front, LogMelTransformer):
        if args.features is not None:
            raise ValueError(
                f"argument --features: '{args.model}' takes log-mel spectrograms, "
                "which need no speech model"
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


def _predict_file(model, file, window):
    """Yield a row of the table for each window of a recording."""
    from sklearn_ser.features import load_audio

    front = model[0]
    rate, channel = getattr(front, "sampling_rate", _RATE), front.channel
    wave = load_audio(file, sampling_rate=rate, channel=channel)
    spans = _windows(len(wave), round(window * rate))
    parts = [{"array": wave[a:b], "sampling_rate": rate} for a, b in spans]
    for (a, b), p in zip(spans, model.predict_proba(parts), strict=True):
        emotion = str(model.classes_[p.argmax()])
        times = f"{a / rate:.2f}", f"{b / rate:.2f}"
        yield [_shown(file), *times, emotion, *(f"{value:.4f}" for value in p)]


def _write_csv(path, table):
    import csv
    import io

    from sklearn_ser._files import atomic_write

    text = io.StringIO(newline="")
    csv.writer(text).writerows([_neutral(cell) for cell in row] for row in table)
    with atomic_write(path) as out:
        out.write(text.getvalue().encode())


def _neutral(cell):
    """Return a cell that no spreadsheet takes for a formula: with a quote in front."""
    if not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def _shown(path):
    """Return a path as text that can be printed, though its bytes may be no UTF-8."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _audio_files(paths):
    """Return the files, with those of audio below each folder in order."""
    import soundfile

    formats = set(soundfile.available_formats()) - {"RAW"}  # it has no header
    suffixes = {f".{name.lower()}" for name in formats}
    suffixes |= {".aif", ".aifc", ".oga", ".opus"}
    files = []
    for path in map(Path, paths):
        if not os.path.isdir(path):
            files.append(path)
            continue
        below = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes)
        if not below:
            raise ValueError(f"no audio file below the folder '{path}'")
        files += below
    return files


def _windows(n_times, length):
    """Return (start, end) of windows that overlap by half and end with the whole."""
    if n_times <= length:
        return [(0, n_times)]
    starts = [*range(0, n_times - length, length // 2), n_times - length]
    return [(start, start + length) for start in starts]


def _line(cells, widths):
    first, *rest = zip(cells, widths, strict=True)
    cells = [f"{first[0]:<{first[1]}}", *(f"{c:>{w}}" for c, w in rest)]
    return "  ".join(cells)
