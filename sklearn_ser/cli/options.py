"""What the commands share: options, corpora, folds, front-ends and methods."""

import argparse
import contextlib
import os
import re
from collections import Counter
from difflib import get_close_matches
from importlib import import_module

import numpy as np

from .terminal import name_rows

LOG_MEL, OPENSMILE = "log-mel", "opensmile"
BASELINE, LOGISTIC = "baseline", "logistic"
LINEAR = BASELINE, LOGISTIC
ADAPTING = "didan", "lidan"

# name -> (transformer, title) of features without a speech model
FEATURES = {
    LOG_MEL: ("LogMelTransformer", "log-mel spectrograms"),
    OPENSMILE: ("OpenSMILETransformer", "openSMILE functionals"),
}

_ADVERSARIAL = "speaker_adversarial", "SpeakerAdversarialClassifier"
_ADAPTER = "didan", "DIDANDomainAdapter"
# name -> (module, class or function, parameters, title) of the classifier
METHODS = {
    BASELINE: ("baseline", "make_baseline", {}, "Shrinkage LDA"),
    "dat": (*_ADVERSARIAL, {"method": "dat"}, "SpeakerAdversarialClassifier (DAT)"),
    "didan": (*_ADAPTER, {}, "DIDANDomainAdapter"),
    "dsnet": ("dsnet", "DSNetClassifier", {}, "DSNetClassifier"),
    "lidan": (*_ADAPTER, {"alignment": "lidan"}, "DIDANDomainAdapter (LIDAN)"),
    LOGISTIC: ("baseline", "make_logistic", {}, "Logistic regression"),
    "menan": (*_ADVERSARIAL, {}, "SpeakerAdversarialClassifier"),
    "speaker-adversarial": (*_ADVERSARIAL, {}, "SpeakerAdversarialClassifier"),
}

_COLUMNS = ("file", "speaker", "emotion")
_COLUMN_OPTIONS = [f"{name}_column" for name in _COLUMNS]
# arguments of the loaders, with which their errors begin
_ARGUMENTS = ("name", "corpora", "data_home", "emotions", "rename", "protocol")

# --- options, told as in a manual ---------------------------------------------------

_CORPUS = """
--manifest FILE
    a CSV table with the columns file, speaker and emotion{default}
--corpus NAME
    a known corpus, such as emodb or crema-d{several}
"""
_OF_CORPUS = """
--protocol NAME
    a frozen protocol of --corpus: its classes and folds
--data-home FOLDER
    where --corpus lies; default: the environment variable SKLEARN_SER_DATA
"""
_OF_CORPORA = """
--emotions EMOTION
    of several corpora: the emotions to keep; default: all
--rename NAME=EMOTION
    of several corpora: more names of emotions to bring together, such as calm=neutral
"""
_OF_TABLE = """
--{0}-column COLUMN
    the table's column of the {0}; default: {0}
"""
_METHOD = """
--features FEATURES
    log-mel, opensmile, or a pre-trained speech model in front: its name on the Hugging
    Face Hub or a directory; default: log-mel
--layer LAYER
    of the speech model: a number, middle or last; default: middle
--channel CHANNEL
    of recordings with several channels: a number from 0 on, or mean; default: the
    channel that --corpus declares, else mean
--method
    baseline is linear discriminant analysis with shrinkage, logistic is logistic
    regression, {about}
--neutral-label EMOTION
    what dsnet calibrates with; default: the emotion that looks neutral
--epochs N
    passes over the recordings; default: the method's own number
--device DEVICE
    what trains, such as cpu or cuda:1; default: the fastest
--seed N
    fixes all random choices; default: %(default)s
--jobs N
    processes, -1 for all cores; default: %(default)s
"""
_ABOUT_METHODS = (
    "and both take seconds; the others are networks, which take minutes; "
    "speaker-adversarial is menan; default: dsnet, and logistic for several corpora"
)
_FOLDS = """
--folds N
    number of folds; default: one per speaker, 4 for the synthetic corpus
--unheard-sentences
    score on unheard speakers and sentences, too: a corpus with a script, or the column
    text of --manifest, says which sentence a recording has{more}
"""


def add_options(group, text, **more):
    """Add options from their manual: a line with the name, then what it does.

    `more` has the other arguments of argparse, by the option's destination.
    """
    for told in re.split(r"\n(?=-)", text.strip()):
        head, *about = told.splitlines()
        name, *metavar = head.split()
        given = more.get(name[2:].replace("-", "_"), {})
        if metavar:
            given = given | {"metavar": metavar[0]}
        elif not given:
            given = {"action": "store_true"}
        group.add_argument(name, help=" ".join(map(str.strip, about)), **given)


def add_corpus_options(parser, *, required, several=False):
    """Add the options that name a corpus, or several ones."""
    group = parser.add_argument_group("recordings")
    either = group.add_mutually_exclusive_group(required=required)
    default = "" if required else "; default: a small synthetic corpus"
    more = "; several names, and tables like that of --manifest, are one big corpus"
    many = {"nargs": "+"}
    told = _CORPUS.format(default=default, several=more * several)
    add_options(either, told, corpus=many | {"action": _OneOrMore} if several else {})
    add_options(group, _OF_CORPUS)
    if several:
        pairs = many | {"type": _pair}
        add_options(group, _OF_CORPORA, emotions=many, rename=pairs)
    for name in _COLUMNS:
        add_options(group, _OF_TABLE.format(name))


def add_method_options(parser, methods, about=_ABOUT_METHODS, *, several=False):
    """Add the options of features and of the classifier, or of several ones."""
    many = {"nargs": "+"} if several else {}
    methods = {"choices": sorted(methods), **many}
    add_options(
        parser.add_argument_group("features and method"),
        _METHOD.format(about=about),
        features={"default": [LOG_MEL] if several else LOG_MEL, **many},
        layer={"type": _word_or_number("middle", "last")},
        channel={"type": _word_or_number("mean")},
        method={"default": [BASELINE, "dsnet"] if several else None, **methods},
        epochs={"type": at_least(1)},
        seed={"type": at_least(0), "default": 0},
        jobs={"type": int, "default": 1},
    )


def add_fold_options(group, more=""):
    """Add the options of what is tested in turn."""
    add_options(group, _FOLDS.format(more=more), folds={"type": at_least(2)})


class _OneOrMore(argparse.Action):
    """Store one value as it is, and several ones as a list."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, values if len(values) > 1 else values[0])


def _pair(text):
    """Return the two names of NAME=EMOTION."""
    name, sign, emotion = text.partition("=")
    if not (sign and name.strip() and emotion.strip()):
        message = f"must be NAME=EMOTION, such as calm=neutral, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return name.strip(), emotion.strip()


def _word_or_number(*words):
    """Return a type of options that are one of the words, or an integer."""

    def word_or_number(text):
        if text in words:
            return text
        try:
            return int(text)
        except ValueError:
            message = f"must be a number, {' or '.join(words)}, got {text!r}"
            raise argparse.ArgumentTypeError(message) from None

    return word_or_number


def at_least(low):
    """Return a type of options that are integers from `low` on."""

    def integer(text):
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}, got {value}")
        return value

    return integer


# --- what is refused ----------------------------------------------------------------


def refuse(bad, option, reason):
    """Raise an error about an option if something is bad."""
    if bad:
        raise ValueError(f"argument {option}: {reason}")


def refuse_given(args, names, reason):
    """Refuse options, by their destinations, if they are given."""
    for name in names:
        value = vars(args).get(name)
        is_given = value is not None and value is not False
        refuse(is_given, f"--{name.replace('_', '-')}", reason)


def check_needs(args, needed, names):
    """Refuse options that need another one, which is not given."""
    if vars(args)[needed] is None:
        refuse_given(args, names, f"needs --{needed}")


def check_writable(option, path):
    """Refuse what cannot be written before minutes of work."""
    bad = path.endswith(("/", os.sep)) or os.path.isdir(path)
    folder = os.path.dirname(path) or os.curdir
    try:
        bad = bad or not os.access(folder, os.X_OK) or not os.stat(path)
    except FileNotFoundError:
        bad = not os.access(folder, os.W_OK)
    except (OSError, ValueError):  # a name too long, with a NUL, or a loop of links
        bad = True
    refuse(bad, option, f"'{path}' cannot be written as a file")


def make_folder(path):
    """Make the folder of ``--out``, or refuse it."""
    try:
        os.makedirs(path, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"argument --out: no folder '{path}' ({error})") from error


def check_method(args):
    """Refuse options that contradict each other, before anything is read."""
    several = isinstance(args.corpus, list)
    args.method = args.method or (LOGISTIC if several else "dsnet")
    method = f"the method {args.method}"
    negative = args.channel not in (None, "mean") and args.channel < 0
    refuse(args.jobs == 0, "--jobs", "must not be 0")
    if args.features in FEATURES:
        refuse_given(args, ["layer"], f"{args.features} features have no layers")
    refuse(negative, "--channel", f"must be at least 0, got {args.channel}")
    if args.method in LINEAR:
        what = "the baseline" if args.method == BASELINE else method
        refuse_given(args, ["epochs"], f"{what} has no epochs")
        refuse_given(args, ["device"], f"{what} runs on the CPU")
    if args.method != "dsnet":
        refuse_given(args, ["neutral_label"], f"{method} needs no neutral speech")
    if several:
        refuse_given(args, ["protocol"], "is for one corpus")
    else:
        needs = "needs several names in --corpus"
        refuse_given(args, ["emotions", "rename"], needs)
        check_needs(args, "manifest", _COLUMN_OPTIONS)
    check_needs(args, "corpus", ["protocol", "data_home"])


def check_speakers(corpus, args):
    """Refuse too few speakers before minutes of work."""
    n_speakers = len(set(corpus.speakers.tolist()))
    if n_speakers < 2:
        raise ValueError(
            "1 speaker found, but 2 or more are needed to train and test on separate "
            "ones."
        )
    refuse(
        (args.folds or 2) > n_speakers,
        "--folds",
        f"{args.folds} folds need as many speakers, found {n_speakers}",
    )


# --- recordings and folds -----------------------------------------------------------


def load_recordings(args):
    """Return the corpus that the options name, described without a path."""
    from ..datasets import make_emotional_speech

    if args.manifest is not None:
        corpus = read_manifest("--manifest", args)
    elif args.corpus is not None:
        with _naming_options():
            corpus = _load_corpora(args)
    else:
        corpus = make_emotional_speech(random_state=args.seed)
    emotions = sorted(set(corpus.target.tolist()))
    refuse(
        args.neutral_label not in (None, *emotions),
        "--neutral-label",
        f"no recording is {args.neutral_label!r}, expected one of {emotions}",
    )
    return corpus


def _load_corpora(args):
    """Return the corpus of a name, or the one of several names and tables."""
    from ..datasets import load_corpora, load_corpus

    if not isinstance(args.corpus, list):
        refuse(
            os.path.isfile(args.corpus),
            "--corpus",
            f"'{args.corpus}' is a table: give it to --manifest, or several ones here",
        )
        corpus = load_corpus(args.corpus, args.data_home, protocol=args.protocol)
        protocol = f", {corpus.protocol}" if args.protocol else ""
        corpus.DESCR = f"{_size(corpus)} of {args.corpus}{protocol}."
        return corpus
    renamed = Counter(name for name, _ in {*(args.rename or ())})
    twice = [name for name, count in renamed.items() if count > 1]
    refuse(twice, "--rename", f"{twice} would get several names")
    corpus = load_corpora(
        args.corpus,
        args.data_home,
        emotions=args.emotions,
        rename=dict(args.rename or ()),
        columns=_columns(args) or None,
    )
    corpus.DESCR = f"{_size(corpus)} of {', '.join(corpus.channels)}."
    return corpus


@contextlib.contextmanager
def _naming_options():
    """Let an error about an argument of a loader name the option that it came by."""
    try:
        yield
    except ValueError as error:
        name = re.match(r"(\w*)(\[\d+\])?:? ?", str(error))
        if name[1] not in _ARGUMENTS:
            raise
        option = "corpus" if name[1] in ("name", "corpora") else name[1]
        text = f"--{option.replace('_', '-')}: {str(error)[name.end() :]}"
        raise ValueError(f"argument {text}") from error


def read_manifest(option, args):
    """Return the corpus of an option's table, whose columns the options may name."""
    from ..datasets.manifest import read_corpus

    path = vars(args)[option.removeprefix("--")]
    try:
        corpus = read_corpus(path, f"argument {option}:", columns=_columns(args))
    except ValueError as error:
        if "columns" in str(error):
            error.add_note(
                "Other names are given by --file-column, --speaker-column and "
                "--emotion-column"
            )
        raise
    table = os.path.basename(path)
    corpus.DESCR = f"{_size(corpus)} listed in {table}."
    name_rows(table, corpus.data, corpus.rows)
    return corpus


def _columns(args):
    """Return the table's names of columns that the options give."""
    given = zip(_COLUMNS, map(vars(args).get, _COLUMN_OPTIONS), strict=True)
    return {name: column for name, column in given if column is not None}


def _size(corpus):
    n_speakers = len(set(corpus.speakers.tolist()))
    return f"{len(corpus.data)} recordings by {n_speakers} speakers"


def is_synthetic(args):
    """Tell whether no option names a corpus."""
    return args.manifest is None and args.corpus is None


def find_folds(corpus, args):
    """Return the folds by speaker: a protocol, a number, or None for one a speaker."""
    protocol = getattr(corpus, "protocol", None)
    return protocol or args.folds or (4 if is_synthetic(args) else None)


def find_splits(corpus, args):
    """Return the rows of training and test of each fold."""
    from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, check_cv

    cv = find_folds(corpus, args) or LeaveOneGroupOut()
    cv = check_cv(GroupKFold(cv) if isinstance(cv, int) else cv)
    return [*cv.split(corpus.data, corpus.target, corpus.speakers)]


def known_texts(corpus, args):
    """Return the sentences for ``--unheard-sentences``, or None without the option."""
    if not args.unheard_sentences:
        return None
    texts = getattr(corpus, "texts", None)
    refuse(
        texts is None or not any(texts),
        "--unheard-sentences",
        "no sentence of the recordings is known; a table names them in its column text",
    )
    return texts


# --- features and methods -----------------------------------------------------------


def make_front(args, corpus):
    """Return the transformer of recordings, after a try of what may be missing."""
    from .. import features

    if args.features in FEATURES:
        front = getattr(features, FEATURES[args.features][0])()
    else:
        options = {"layer": "middle" if args.layer is None else args.layer}
        options["pooling"] = "mean_std"
        front = features.SpeechModelTransformer(args.features, **options)
    try:
        try_front(front)
    except Exception as error:
        # a real name is never refused: only what fails may be a slip
        for name in get_close_matches(args.features.lower(), FEATURES, 1):
            if name != args.features:
                error.add_note(f"Is {name} meant in --features?")
        raise
    if args.features != LOG_MEL:  # which takes seconds
        front.set_params(verbose=1)
    declared = getattr(corpus, "channel", "mean")
    channel = declared if args.channel is None else args.channel
    return front.set_params(channel=channel, n_jobs=args.jobs)


def try_front(front):
    """Transform a tenth of a second, which fails if weights or a package miss."""
    tone = 0.1 * np.sin(np.arange(1600) / 4).astype(np.float32)
    n_channels = (1,) if front.channel == "mean" else (front.channel + 1, 1)
    front.transform([{"array": np.tile(tone, n_channels), "sampling_rate": 16000}])


def make_classifier(args, method=None):
    """Return the classifier, unfitted."""
    method = method or args.method
    module, name, params, _ = METHODS[method]
    make = getattr(import_module(f"..{module}", __package__), name)
    if method in LINEAR:
        return make(of_frames=args.features == LOG_MEL)
    given = {
        "max_epochs": args.epochs,
        "device": args.device,
        "neutral_label": args.neutral_label,
    }
    given = {name: value for name, value in given.items() if value is not None}
    return make(random_state=args.seed, **params, **given)


def shown_title(args, front, corpus):
    """Return what is trained on which features of which recordings, without a path."""
    from ..features._hub import locate

    if args.features in FEATURES:
        features = FEATURES[args.features][1]
    else:
        source = locate(args.features)
        is_folder = os.path.isdir(args.features)
        name = os.path.basename(source.directory) if is_folder else args.features
        features = f"{name}, layer {source.layer(front.layer)} of {source.n_layers}"
    if front.channel != "mean":
        features += f" of channel {front.channel}"
    return f"{METHODS[args.method][3]} on {features}: {corpus.DESCR}"


# --- how long it takes --------------------------------------------------------------


def fits_of_fold(texts):
    """Return how many models a fold trains: one, and one for each fold of sentences."""
    from ..model_selection._sentences import TEXT_SPLITS

    return 1 if texts is None else 1 + min(TEXT_SPLITS, len(set(texts)))


def fit_seconds(trial, epochs):
    """Return the seconds of a fit of each method, by trials of one and three epochs.

    `epochs` has a number for each name, or None if the method has none. A trial gets
    such a dict, and returns the seconds of a fit by name. What a fit costs once,
    whatever its epochs, counts once.
    """
    seconds = trial(dict.fromkeys(epochs, 1))
    few = {name: min(3, n) for name, n in epochs.items() if n is not None}
    if not few:
        return seconds
    again = trial(dict.fromkeys(few, 1))  # the first fit of a process is slower
    longer = trial(few)
    for name, n in few.items():
        seconds[name] = min(seconds[name], again[name])
        an_epoch = max(0, longer[name] - seconds[name]) / max(1, n - 1)
        seconds[name] += an_epoch * (epochs[name] - 1)
    return seconds


def duration(seconds):
    """Return an estimate of time in words."""
    minutes = seconds / 60
    if minutes > 90:
        return f"about {minutes / 60:.1f} hours"
    return f"about {minutes:.0f} minutes" if minutes >= 1.5 else "a minute or less"
