"""The command line: ``python -m sklearn_ser`` or ``sklearn-ser``."""

import argparse
import sys

from .enrollment import add_enrollable_option
from .evaluate import add_arguments as add_evaluate_arguments
from .options import (
    BASELINE,
    LOG_MEL,
    METHODS,
    add_corpus_options,
    add_method_options,
    check_options,
    load_recordings,
    make_classifier,
    make_front,
    warnings_in_lines,
)
from .predict import add_arguments, check_out, predict
from .printing import discard_output


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        """End in one line, without the usage."""
        if message.startswith("unrecognized") and message.lower().endswith(".csv"):
            message += ": a table is given by --manifest"
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
        with warnings_in_lines():
            return args.command(args) or 0
    except KeyboardInterrupt:
        print("sklearn-ser: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        discard_output()  # whoever read has enough, as head
        return 141  # as of a program that SIGPIPE ends
    except (ImportError, OSError, TypeError, ValueError) as error:
        texts = [str(error), *getattr(error, "__notes__", [])]  # which fold it was
        return parser.error(". ".join(text.rstrip(".") for text in texts) + ".")


def _make_parser():
    parser = _Parser(prog="sklearn-ser", description="Speech emotion recognition.")
    commands = parser.add_subparsers(required=True, title="commands")
    evaluate = commands.add_parser(
        "evaluate",
        help="train and test on separate speakers, print UAR and WA",
        description="Train and test a method on separate speakers, print unweighted "
        "average recall (UAR) and accuracy (WA) per fold and pooled.",
    )
    add_evaluate_arguments(evaluate)

    train = commands.add_parser(
        "train",
        help="train on a corpus and save the model",
        description="Train a method on all recordings of a corpus and save the model.",
    )
    train.set_defaults(command=_train)
    add_corpus_options(train, required=True)
    add_method_options(train, METHODS.keys() - {"didan"})  # which needs a target
    option = train.add_argument_group("what is kept").add_argument
    option("--out", metavar="MODEL", required=True, help="file to save the model to")
    add_enrollable_option(option)

    prediction = commands.add_parser(
        "predict",
        help="print the emotions of recordings",
        description="Print the emotion of each recording and the probabilities. A "
        "recording longer than a window is predicted in windows that overlap.",
    )
    prediction.set_defaults(command=predict)
    add_arguments(prediction)
    return parser


def _train(args):
    from sklearn.pipeline import make_pipeline

    from ..features import SpeakerNormalizer
    from ..persistence import import_skops, save

    check_options(args)
    check_out("--out", args.out)
    import_skops()
    corpus = load_recordings(args)
    front, what = make_front(args)
    classifier, name = make_classifier(args)
    steps = [SpeakerNormalizer()] if args.enrollable else []
    print(f"{name} on {what}: {corpus.DESCR}", flush=True)
    if args.method == BASELINE:
        model = make_pipeline(front, *steps, *(step for _, step in classifier.steps))
    else:
        model = make_pipeline(front, *steps, classifier.set_params(verbose=1))
    speakers = {
        f"{step}__speakers": corpus.speakers
        for step in model.named_steps.keys() & {"speakernormalizer", name.lower()}
    }
    model.fit(corpus.data, corpus.target, **speakers)
    if args.method != BASELINE:
        classifier.set_params(verbose=0)
    front.set_params(n_jobs=None)
    if args.features != LOG_MEL:
        front.set_params(verbose=0)
    save(model, args.out)
    print(f"Saved to {args.out}: {', '.join(model.classes_)}.")
