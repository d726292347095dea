"""The command line: ``python -m sklearn_ser`` or ``sklearn-ser``."""

import argparse
import sys
from importlib import import_module
from pathlib import Path

_MANIFEST = "a CSV table with the columns file, speaker and emotion"

# The noise between words, and how loud all is, differ by room rather than by emotion.
FEATURES = {"top_db": 50, "normalize": "level"}
# name -> (module, class) of the classifier
METHODS = {
    "dsnet": ("sklearn_ser.dsnet", "DSNetClassifier"),
    "speaker-adversarial": (
        "sklearn_ser.speaker_adversarial",
        "SpeakerAdversarialClassifier",
    ),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        """End in one line, without the usage."""
        self.exit(2, f"sklearn-ser: error: {' '.join(message.split())}\n")


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, default=None
        The arguments, without the program's name. By default, those of the process.

    Returns
    -------
    status : int
        0; 1 if a recording could not be predicted; 130 after an interrupt.

    Raises
    ------
    SystemExit
        With code 2 and one line on stderr after an error of the user.

    Examples
    --------
    >>> from sklearn_ser.__main__ import main
    >>> main(["evaluate", "--folds", "2", "--epochs", "2"])  # doctest: +SKIP
    """
    parser = _make_parser()
    args = parser.parse_args(argv)
    try:
        return args.command(args) or 0
    except KeyboardInterrupt:
        print("sklearn-ser: interrupted", file=sys.stderr)
        return 130
    except (ImportError, OSError, TypeError, ValueError) as error:
        texts = [str(error), *getattr(error, "__notes__", [])]  # which fold it was
        return parser.error(". ".join(text.rstrip(".") for text in texts) + ".")


def _make_parser():
    parser = _Parser(prog="sklearn-ser", description="Speech emotion recognition.")
    commands = parser.add_subparsers(required=True, metavar="command")
    evaluate = commands.add_parser(
        "evaluate",
        help="train and test on separate speakers, print UAR and WA",
        description="Train and test a method on separate speakers, print unweighted "
        "average recall (UAR) and accuracy (WA) per fold and pooled.",
    )
    evaluate.set_defaults(command=_evaluate)
    option = evaluate.add_argument
    option(
        "--manifest",
        metavar="FILE",
        help=f"{_MANIFEST}; default: a small synthetic corpus",
    )
    _add_training_options(option)
    option(
        "--folds",
        type=_at_least(2),
        metavar="N",
        help="number of folds; default: one per speaker of a manifest, 4 for the "
        "synthetic corpus",
    )

    train = commands.add_parser(
        "train",
        help="train on a corpus and save the model",
        description="Train a method on all recordings of a corpus and save the model.",
    )
    train.set_defaults(command=_train)
    option = train.add_argument
    option("--manifest", metavar="FILE", required=True, help=_MANIFEST)
    option("--out", metavar="MODEL", required=True, help="file to save the model to")
    _add_training_options(option)

    predict = commands.add_parser(
        "predict",
        help="print the emotions of recordings",
        description="Print the emotion of each recording and the probabilities. A "
        "recording longer than a window is predicted in windows that overlap by half.",
    )
    predict.set_defaults(command=_predict)
    option = predict.add_argument
    option("model", metavar="MODEL", help="a file that train saved")
    option("paths", nargs="+", metavar="FILE-OR-FOLDER", help="folders with all below")
    option("--csv", metavar="OUT", help="write the table to a CSV file too")
    option(
        "--window",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="default: %(default)g",
    )
    return parser


def _add_training_options(option):
    option("--method", choices=sorted(METHODS), default="dsnet", help="default: dsnet")
    option("--epochs", type=_at_least(1), metavar="N", help="default: the method's own")
    option(
        "--seed", type=_at_least(0), default=0, metavar="N", help="default: %(default)s"
    )
    option(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="processes, -1 for all cores; default: %(default)s",
    )


def _seconds(text):
    value = float(text)
    if not 0.1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be at least 0.1, got {text}")
    return value


def _at_least(low):
    def integer(text):
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}, got {value}")
        return value

    return integer


def _evaluate(args):
    import numpy as np

    from sklearn_ser.datasets import load_manifest, make_emotional_speech
    from sklearn_ser.features import LogMelTransformer
    from sklearn_ser.model_selection import speaker_cross_validate

    _check_jobs(args)
    if args.manifest is None:
        corpus = make_emotional_speech(random_state=args.seed)
        folds = args.folds or 4
    else:
        corpus = load_manifest(args.manifest)
        folds = args.folds
    n_speakers = len(np.unique(corpus.speakers))
    if n_speakers < (folds or 2):  # before minutes of work
        raise ValueError(
            f"{n_speakers} speaker(s) found, but {folds or 2} or more are needed to "
            "train and test on separate ones."
        )

    classifier = _make_classifier(args)
    print(f"{type(classifier).__name__}: {corpus.DESCR}", flush=True)
    # Log-mels know nothing of other recordings: computed once, they leak nothing.
    X = LogMelTransformer(**FEATURES, n_jobs=args.jobs).transform(corpus.data)
    result = speaker_cross_validate(
        classifier,
        X,
        corpus.target,
        corpus.speakers,
        cv=folds,
        n_jobs=args.jobs,
        verbose=1,
        random_state=args.seed,
    )
    print(result)


def _train(args):
    from sklearn.pipeline import make_pipeline

    from sklearn_ser.datasets import load_manifest
    from sklearn_ser.features import LogMelTransformer
    from sklearn_ser.persistence import import_skops, save

    _check_jobs(args)
    _check_out("--out", args.out)
    import_skops()
    corpus = load_manifest(args.manifest)
    classifier = _make_classifier(args)
    name = type(classifier).__name__
    print(f"{name}: {corpus.DESCR}", flush=True)
    model = make_pipeline(
        LogMelTransformer(**FEATURES, n_jobs=args.jobs),
        classifier.set_params(verbose=1),
    )
    speakers = {f"{name.lower()}__speakers": corpus.speakers}
    model.fit(corpus.data, corpus.target, **speakers)
    model[0].set_params(n_jobs=None)
    model[1].set_params(verbose=0)
    save(model, args.out)
    print(f"Saved to {args.out}: {', '.join(model.classes_)}.")


def _predict(args):
    from sklearn_ser.features import LogMelTransformer
    from sklearn_ser.persistence import load

    if args.csv is not None:
        _check_out("--csv", args.csv)
    files = _audio_files(args.paths)
    model = load(args.model)
    first = getattr(model, "steps", [(None, None)])[0][1]
    if not isinstance(first, LogMelTransformer) or not hasattr(model, "classes_"):
        raise ValueError(
            f"'{args.model}' is no fitted pipeline that starts with LogMelTransformer"
        )
    classes = [str(name) for name in model.classes_]
    table, failed = [["file", "start", "end", "emotion", *classes]], 0
    widths = [max(4, *(len(str(file)) for file in files)), 7, 7]
    widths += [max(7, *map(len, classes)), *(max(6, len(name)) for name in classes)]
    print(_line(table[0], widths), flush=True)
    for file in files:
        try:
            rows = list(_predict_file(model, file, args.window))
        except (OSError, TypeError, ValueError) as error:
            failed += 1
            text = " ".join(str(error).split())
            print(f"sklearn-ser: error: {file}: {text}", file=sys.stderr, flush=True)
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


def _predict_file(model, file, window):
    """Yield a row of the table for each window of a recording."""
    from sklearn_ser.features import load_audio

    rate, channel = model[0].sampling_rate, model[0].channel
    wave = load_audio(file, sampling_rate=rate, channel=channel)
    spans = _windows(len(wave), round(window * rate))
    parts = [{"array": wave[a:b], "sampling_rate": rate} for a, b in spans]
    for (a, b), p in zip(spans, model.predict_proba(parts), strict=True):
        emotion = str(model.classes_[p.argmax()])
        times = f"{a / rate:.2f}", f"{b / rate:.2f}"
        yield [str(file), *times, emotion, *(f"{value:.4f}" for value in p)]


def _write_csv(path, table):
    import csv
    import io

    from sklearn_ser._files import atomic_write

    text = io.StringIO(newline="")
    csv.writer(text).writerows(table)
    with atomic_write(path) as out:
        out.write(text.getvalue().encode())


def _audio_files(paths):
    """Return the files, with those of audio below each folder in order."""
    import soundfile

    formats = set(soundfile.available_formats()) - {"RAW"}  # it has no header
    suffixes = {f".{name.lower()}" for name in formats}
    suffixes |= {".aif", ".aifc", ".oga", ".opus"}
    files = []
    for path in map(Path, paths):
        if not path.is_dir():
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


def _check_jobs(args):
    if args.jobs == 0:
        raise ValueError("argument --jobs: must not be 0")


def _check_out(option, path):
    """Refuse what cannot be written before minutes of work."""
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"argument {option}: '{path}' cannot be written as a file")


def _make_classifier(args):
    module, name = METHODS[args.method]
    params = {} if args.epochs is None else {"max_epochs": args.epochs}
    return getattr(import_module(module), name)(random_state=args.seed, **params)


if __name__ == "__main__":
    sys.exit(main())
