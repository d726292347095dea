"""The command line: ``python -m sklearn_ser`` or ``sklearn-ser``."""

import argparse
import os
import sys
from importlib import import_module

from sklearn_ser._cli_enroll import add_enroll_option, add_enrollable_option
from sklearn_ser._cli_predict import check_out, predict

LOG_MEL = "log-mel"
_BASELINE = "baseline"
_MANIFEST = "a CSV table with the columns file, speaker and emotion"

# The noise between words, and how loud all is, differ by room rather than by emotion.
FEATURES = {"top_db": 50, "normalize": "level"}
# name -> (module, class or function) of the classifier
METHODS = {
    "baseline": ("sklearn_ser.baseline", "make_baseline"),
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
        0; 1 if a recording could not be predicted; 130 after an interrupt; 141
        if nobody reads the output any more.

    Raises
    ------
    SystemExit
        With code 2 and one line on stderr after an error of the user.

    Examples
    --------
    >>> from sklearn_ser.cli import main
    >>> main(["evaluate", "--folds", "2", "--epochs", "2"])  # doctest: +SKIP
    """
    parser = _make_parser()
    args = parser.parse_args(argv)
    try:
        return args.command(args) or 0
    except KeyboardInterrupt:
        print("sklearn-ser: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read has enough, as head: what is still to be flushed goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as of a program that SIGPIPE ends
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
    option(
        "--enroll",
        type=_at_least(1),
        metavar="K",
        help="tell SpeakerNormalizer, in front, the voice of each test speaker by K "
        "unlabelled recordings, which are not scored",
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
    add_enrollable_option(option)
    _add_training_options(option)

    prediction = commands.add_parser(
        "predict",
        help="print the emotions of recordings",
        description="Print the emotion of each recording and the probabilities. A "
        "recording longer than a window is predicted in windows that overlap by half.",
    )
    prediction.set_defaults(command=predict)
    option = prediction.add_argument
    option("model", metavar="MODEL", help="a file that train saved")
    option(
        "paths",
        nargs="+",
        metavar="FILE-OR-FOLDER",
        help="folders with all below; a .csv table stands for the recordings in its "
        "column file, and says in its column speaker who speaks",
    )
    add_enroll_option(option)
    option("--csv", metavar="OUT", help="write the table to a CSV file too")
    option(
        "--features",
        metavar="MODEL-OR-DIRECTORY",
        help="where this machine has the speech model that MODEL was trained on; "
        "default: where it was then",
    )
    option(
        "--window",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="default: %(default)g",
    )
    return parser


def _add_training_options(option):
    option(
        "--features",
        default=LOG_MEL,
        metavar="FEATURES",
        help=f"{LOG_MEL}, or a pre-trained speech model in front: its name on the "
        "Hugging Face Hub or a directory; default: %(default)s",
    )
    option(
        "--layer",
        type=_layer,
        metavar="LAYER",
        help="of the speech model: a number, middle or last; default: middle",
    )
    option(
        "--method",
        choices=sorted(METHODS),
        default="dsnet",
        help="baseline is linear discriminant analysis with shrinkage; "
        "default: %(default)s",
    )
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


def _layer(text):
    if text in ("middle", "last"):
        return text
    try:
        return int(text)
    except ValueError:
        message = f"must be a number, middle or last, got {text!r}"
        raise argparse.ArgumentTypeError(message) from None


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
    from sklearn.pipeline import make_pipeline

    from sklearn_ser.datasets import load_manifest, make_emotional_speech
    from sklearn_ser.features import SpeakerNormalizer
    from sklearn_ser.model_selection import speaker_cross_validate

    _check(args)
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

    front, what = _make_front(args)
    classifier, name = _make_classifier(args)
    if args.enroll:
        classifier = make_pipeline(SpeakerNormalizer(), classifier)
        name = f"SpeakerNormalizer and {name}"
    print(f"{name} on {what}: {corpus.DESCR}", flush=True)
    # Features know nothing of other recordings: computed once, they leak nothing.
    X = front.fit(corpus.data).transform(corpus.data)
    result = speaker_cross_validate(
        classifier,
        X,
        corpus.target,
        corpus.speakers,
        cv=folds,
        n_jobs=args.jobs,
        verbose=1,
        random_state=args.seed,
        enrollment=args.enroll,
    )
    print(result)


def _train(args):
    from sklearn.pipeline import make_pipeline

    from sklearn_ser.datasets import load_manifest
    from sklearn_ser.features import SpeakerNormalizer
    from sklearn_ser.persistence import import_skops, save

    _check(args)
    check_out("--out", args.out)
    import_skops()
    corpus = load_manifest(args.manifest)
    front, what = _make_front(args)
    classifier, name = _make_classifier(args)
    steps = [SpeakerNormalizer()] if args.enrollable else []
    print(f"{name} on {what}: {corpus.DESCR}", flush=True)
    if args.method == _BASELINE:
        model = make_pipeline(front, *steps, *(step for _, step in classifier.steps))
    else:
        model = make_pipeline(front, *steps, classifier.set_params(verbose=1))
    speakers = {
        f"{step}__speakers": corpus.speakers
        for step in model.named_steps.keys() & {"speakernormalizer", name.lower()}
    }
    model.fit(corpus.data, corpus.target, **speakers)
    if args.method != _BASELINE:
        classifier.set_params(verbose=0)
    front.set_params(n_jobs=None)
    if args.features != LOG_MEL:
        front.set_params(verbose=0)
    save(model, args.out)
    print(f"Saved to {args.out}: {', '.join(model.classes_)}.")


def _check(args):
    """Refuse options that contradict each other, before anything is read."""
    if args.jobs == 0:
        raise ValueError("argument --jobs: must not be 0")
    if args.features == LOG_MEL and args.layer is not None:
        raise ValueError("argument --layer: log-mel features have no layers")
    if args.method == _BASELINE and args.epochs is not None:
        raise ValueError("argument --epochs: the baseline has no epochs")


def _make_front(args):
    """Return the transformer of recordings, and what its features are called."""
    import numpy as np

    from sklearn_ser.features import LogMelTransformer, SpeechModelTransformer
    from sklearn_ser.features._speech_source import locate

    if args.features == LOG_MEL:
        front = LogMelTransformer(**FEATURES, n_jobs=args.jobs)
        return front, "log-mel spectrograms"
    front = SpeechModelTransformer(
        args.features,
        layer="middle" if args.layer is None else args.layer,
        pooling="mean_std",
    )
    # A tenth of a second of silence tells whether the model is there and runs.
    front.transform([np.zeros(1600, np.float32)])
    source = locate(args.features)
    layer = f"layer {source.layer(front.layer)} of {source.n_layers}"
    return front.set_params(n_jobs=args.jobs, verbose=1), f"{args.features}, {layer}"


def _make_classifier(args):
    """Return the classifier, and its name."""
    module, name = METHODS[args.method]
    make = getattr(import_module(module), name)
    if args.method == _BASELINE:
        return make(of_frames=args.features == LOG_MEL), "Shrinkage LDA"
    params = {} if args.epochs is None else {"max_epochs": args.epochs}
    return make(random_state=args.seed, **params), name
