"""The command line: ``python -m sklearn_ser`` or ``sklearn-ser``."""

import argparse
import sys
from importlib import import_module

# name -> (module, class) of the classifier
METHODS = {
    "dsnet": ("sklearn_ser.dsnet", "DSNetClassifier"),
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
        0, or 130 after an interrupt.

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
        args.command(args)
    except KeyboardInterrupt:
        print("sklearn-ser: interrupted", file=sys.stderr)
        return 130
    except (OSError, TypeError, ValueError) as error:
        texts = [str(error), *getattr(error, "__notes__", [])]  # which fold it was
        parser.error(". ".join(text.rstrip(".") for text in texts) + ".")
    return 0


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
        help="a CSV table with the columns file, speaker and emotion; default: a small "
        "synthetic corpus",
    )
    option("--method", choices=sorted(METHODS), default="dsnet", help="default: dsnet")
    option(
        "--folds",
        type=_at_least(2),
        metavar="N",
        help="number of folds; default: one per speaker of a manifest, 4 for the "
        "synthetic corpus",
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
    return parser


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

    if args.jobs == 0:
        raise ValueError("argument --jobs: must not be 0")
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
    log_mel = LogMelTransformer(normalize="level", n_jobs=args.jobs)
    X = log_mel.transform(corpus.data)
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


def _make_classifier(args):
    module, name = METHODS[args.method]
    params = {} if args.epochs is None else {"max_epochs": args.epochs}
    return getattr(import_module(module), name)(random_state=args.seed, **params)


if __name__ == "__main__":
    sys.exit(main())
