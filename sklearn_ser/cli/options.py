"""What the commands ``evaluate`` and ``train`` share: options, corpora, methods."""

import argparse
import sys
import warnings
from contextlib import contextmanager
from importlib import import_module

LOG_MEL = "log-mel"
BASELINE = "baseline"
_MANIFEST = "a CSV table with the columns file, speaker and emotion"
_COLUMNS = ("file", "speaker", "emotion")

# The noise between words, and how loud all is, differ by room rather than by emotion.
# What a warning says to a caller, and to who types a command.
_IN_OPTIONS = {
    "as neutral_label, or set calibration_weight=0": "by --neutral-label, if there is "
    "one"
}
# name -> (module, class or function) of the classifier
METHODS = {
    "baseline": ("sklearn_ser.baseline", "make_baseline"),
    "didan": ("sklearn_ser.didan", "DIDANDomainAdapter"),
    "dsnet": ("sklearn_ser.dsnet", "DSNetClassifier"),
    "speaker-adversarial": (
        "sklearn_ser.speaker_adversarial",
        "SpeakerAdversarialClassifier",
    ),
}


def add_corpus_options(parser, *, required):
    """Add the options that name a corpus."""
    group = parser.add_argument_group("recordings")
    either = group.add_mutually_exclusive_group(required=required)
    what = _MANIFEST if required else f"{_MANIFEST}; default: a small synthetic corpus"
    either.add_argument("--manifest", metavar="FILE", help=what)
    either.add_argument(
        "--corpus", metavar="NAME", help="a known corpus, such as emodb or crema-d"
    )
    option = group.add_argument
    option(
        "--protocol",
        metavar="NAME",
        help="a frozen protocol of --corpus: its classes and folds",
    )
    option(
        "--data-home",
        metavar="FOLDER",
        help="where --corpus lies; default: the environment variable SKLEARN_SER_DATA",
    )
    for name in _COLUMNS:
        option(
            f"--{name}-column",
            metavar="COLUMN",
            help=f"the table's column of the {name}; default: {name}",
        )


def add_method_options(parser, methods):
    """Add the options of features and of the classifier."""
    option = parser.add_argument_group("features and method").add_argument
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
        choices=sorted(methods),
        default="dsnet",
        help="baseline is linear discriminant analysis with shrinkage, the others are "
        "networks; default: %(default)s",
    )
    option(
        "--neutral-label",
        metavar="EMOTION",
        help="what dsnet calibrates with; default: the emotion that looks neutral",
    )
    option(
        "--epochs",
        type=at_least(1),
        metavar="N",
        help="passes over the recordings; default: the method's own number",
    )
    option(
        "--device",
        metavar="DEVICE",
        help="what trains, such as cpu or cuda:1; default: the fastest",
    )
    option(
        "--seed",
        type=at_least(0),
        default=0,
        metavar="N",
        help="fixes all random choices; default: %(default)s",
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


def at_least(low):
    """Return a type of options that are integers from `low` on."""

    def integer(text):
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}, got {value}")
        return value

    return integer


def check_options(args):
    """Refuse options that contradict each other, before anything is read."""
    of_manifest = [f"{name}_column" for name in _COLUMNS]
    for name, needless, reason in (
        ("jobs", args.jobs == 0, "must not be 0"),
        (
            "layer",
            args.features == LOG_MEL and args.layer is not None,
            "log-mel features have no layers",
        ),
        *(
            (name, args.method == BASELINE and vars(args)[name] is not None, reason)
            for name, reason in (
                ("epochs", "the baseline has no epochs"),
                ("device", "the baseline runs on the CPU"),
            )
        ),
        (
            "neutral-label",
            args.method != "dsnet" and args.neutral_label is not None,
            f"the method {args.method} needs no neutral speech",
        ),
        *(
            (
                name,
                args.corpus is None and vars(args)[dest] is not None,
                "needs --corpus",
            )
            for name, dest in (("protocol", "protocol"), ("data-home", "data_home"))
        ),
        *(
            (
                dest.replace("_", "-"),
                args.manifest is None and vars(args)[dest] is not None,
                "needs --manifest",
            )
            for dest in of_manifest
        ),
    ):
        if needless:
            raise ValueError(f"argument --{name}: {reason}")


def load_recordings(args):
    """Return the corpus that the options name."""
    corpus = _load(args)
    emotions = sorted(set(corpus.target.tolist()))
    if args.neutral_label not in (None, *emotions):
        raise ValueError(
            f"argument --neutral-label: no recording is {args.neutral_label!r}, "
            f"expected one of {emotions}"
        )
    return corpus


def _load(args):
    from ..datasets import load_corpus, make_emotional_speech

    if args.manifest is not None:
        return read_manifest(args.manifest, args)
    if args.corpus is None:
        return make_emotional_speech(random_state=args.seed)
    corpus = load_corpus(args.corpus, args.data_home, protocol=args.protocol)
    n_speakers = len(set(corpus.speakers.tolist()))
    corpus.DESCR = (
        f"{len(corpus.data)} recordings by {n_speakers} speakers of {args.corpus}"
    )
    corpus.DESCR += f", {corpus.protocol}." if args.protocol else "."
    return corpus


def read_manifest(path, args):
    """Return the corpus of a table, whose columns the options may name."""
    from ..datasets import load_manifest

    given = {name: vars(args)[f"{name}_column"] for name in _COLUMNS}
    columns = {name: column for name, column in given.items() if column is not None}
    try:
        return load_manifest(path, columns=columns)
    except ValueError as error:
        if "columns" in str(error):
            error.add_note(
                "Other names are given by --file-column, --speaker-column and "
                "--emotion-column"
            )
        raise


def make_front(args):
    """Return the transformer of recordings, and what its features are called."""
    import numpy as np

    from ..features import LogMelTransformer, SpeechModelTransformer
    from ..features._hub import locate

    if args.features == LOG_MEL:
        front = LogMelTransformer(n_jobs=args.jobs)
        return front, "log-mel spectrograms"
    front = SpeechModelTransformer(
        args.features,
        layer="middle" if args.layer is None else args.layer,
        pooling="mean_std",
    )
    # A tenth of a second of sound tells whether the model is there and runs.
    front.transform([np.linspace(-0.1, 0.1, 1600, dtype=np.float32)])
    source = locate(args.features)
    layer = f"layer {source.layer(front.layer)} of {source.n_layers}"
    return front.set_params(n_jobs=args.jobs, verbose=1), f"{args.features}, {layer}"


def make_classifier(args, method=None):
    """Return the classifier, and its name."""
    method = method or args.method
    module, name = METHODS[method]
    make = getattr(import_module(module), name)
    if method == BASELINE:
        return make(of_frames=args.features == LOG_MEL), "Shrinkage LDA"
    params = {
        "max_epochs": args.epochs,
        "device": args.device,
        "neutral_label": args.neutral_label,
    }
    given = {name: value for name, value in params.items() if value is not None}
    return make(random_state=args.seed, **given), name


@contextmanager
def warnings_in_lines():
    """Print each warning once, in one line without source, above a bar."""
    told = set()

    def show(message, *args, **kwargs):
        from tqdm.auto import tqdm

        text = " ".join(str(message).split())
        for called, typed in _IN_OPTIONS.items():
            text = text.replace(called, typed)
        if text not in told:
            told.add(text)
            tqdm.write(f"sklearn-ser: warning: {text}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
