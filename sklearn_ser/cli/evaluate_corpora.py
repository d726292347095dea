"""Evaluation of several corpora: each is left out of the training in turn."""

import os

import numpy as np

from .._csv import aligned, person_key, write_csv
from . import options
from .options import BASELINE, refuse
from .terminal import print_line, print_note

_ENROLLED = 10
_TITLE = "UAR in % on each corpus, left out of the training"
_ABOUT = {
    "raw": "nothing of a test speaker is known",
    "enrolled": "this many unlabelled recordings of each test speaker, half of them at "
    "most, are known and not scored",
    "by speaker": "all unlabelled recordings of each test speaker are known",
}
_OF_ONE = ("target", "namesakes", "folds", "unheard_sentences", "resume", "audio")


def run(args):
    """Print the UAR of each corpus, and write what --out asks for."""
    _check(args)
    corpus = options.load_recordings(args)
    front = options.make_front(args, corpus)
    print_line(options.shown_title(args, front, corpus))
    _, results, columns = print_table(front, corpus, args, args.enroll or _ENROLLED)
    if args.out is None:
        return
    for name, kinds in results.items():
        for kind, result in kinds.items():
            folders = [f.replace("/", "-").replace(" ", "-") for f in (name, kind)]
            result.save(os.path.join(args.out, *folders))
    write_csv(os.path.join(args.out, "corpora.csv"), _rows(columns))
    print_line(f"Written to {args.out}: corpora.csv, and a folder for each corpus.")


def _check(args):
    """Refuse options that are for one corpus."""
    options.check_method(args)
    options.refuse_given(args, _OF_ONE, "is for one corpus")
    adapts = args.method in options.ADAPTING
    refuse(adapts, "--method", f"{args.method} adapts to one corpus: give --target")
    if not args.enrollable:
        options.refuse_given(args, ["enroll"], "of several corpora needs --enrollable")
    if args.out is not None:
        is_model = args.out.endswith(".skops")
        refuse(is_model, "--out", f"'{args.out}' is a model's file, expected a folder")
        options.make_folder(args.out)


def print_table(front, corpus, args, n_enrolled=_ENROLLED):
    """Return the features of all, the results, and the printed table's columns."""
    print_line(corpus.table)
    X = transform(front, corpus, args)
    results = leave_each_out(X, corpus, args, n_enrolled)
    columns = as_columns(results)
    print_line(_as_text(columns))
    return X, results, columns


def transform(front, corpus, args):
    """Return the features of all recordings, each corpus by its own channel."""
    front.fit(corpus.data)
    if args.channel is not None or len(set(corpus.channels.values())) == 1:
        return front.transform(corpus.data)
    parts, usual = [], front.channel
    for name, channel in corpus.channels.items():
        rows = np.flatnonzero(corpus.corpora == name)
        front.set_params(channel=channel)
        parts.append(front.transform([corpus.data[row] for row in rows]))
    front.set_params(channel=usual)
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [x for part in parts for x in part]


# --- each corpus is left out --------------------------------------------------------


def leave_each_out(X, corpus, args, n_enrolled=_ENROLLED):
    """Return the results of each corpus that is left out, by kind."""
    from sklearn.pipeline import make_pipeline

    from ..features import SpeakerNormalizer
    from ..model_selection import check_duplicate_leakage

    classifier = _weighed(options.make_classifier(args))
    kinds = {"raw": (classifier, None)}
    if args.enrollable:
        voiced = make_pipeline(SpeakerNormalizer(), classifier)
        kinds[f"enrolled ({n_enrolled})"] = voiced, n_enrolled
        kinds["by speaker"] = voiced, "all"
    splits = _splits(corpus)
    check_duplicate_leakage(splits.values(), corpus.data)
    _tell_namesakes(corpus, args)
    results = {}
    for number, (name, split) in enumerate(splits.items(), 1):
        print_note(f"training without '{name}', {number} of {len(splits)}")
        results[name] = {
            kind: _validate(estimator, X, corpus, split, k, args)
            for kind, (estimator, k) in kinds.items()
        }
    return results


def _splits(corpus):
    """Return the rows of each corpus and of the others, with the shared emotions."""
    splits = {}
    for name in corpus.channels:
        is_test = corpus.corpora == name
        shared = np.intersect1d(corpus.target[is_test], corpus.target[~is_test])
        usable = np.isin(corpus.target, shared)
        if len(shared) < 2:
            print_note(
                f"'{name}' shares {len(shared)} emotion(s) with the others, and two "
                "are needed to leave it out"
            )
            continue
        parts = usable & ~is_test, usable & is_test
        splits[name] = tuple(map(np.flatnonzero, parts))
    if not splits:
        raise ValueError("no corpus shares two emotions with the others.")
    return splits


def _tell_namesakes(corpus, args):
    """Tell names that tables share. Those of named corpora are codes."""
    from ..datasets.several import is_table

    first = {}
    for name, one in zip(corpus.channels, args.corpus, strict=True):
        own = corpus.frame["speaker"][corpus.corpora == name] if is_table(one) else ()
        for speaker in np.unique(own).tolist():
            other = first.setdefault(person_key(speaker), name)
            if other != name:
                print_note(
                    f"warning: '{other}' and '{name}' have a speaker {speaker!r}, who "
                    "counts as two people. If it is one, the figures are too good"
                )
                return


def _weighed(classifier):
    """Return a classifier whose last step asks for weights, if it takes them."""
    from sklearn import config_context
    from sklearn.utils.validation import has_fit_parameter

    from ..pipeline import flat_steps

    steps = flat_steps(classifier)
    with config_context(enable_metadata_routing=True):
        for step in steps:
            if has_fit_parameter(step, "sample_weight"):
                step.set_fit_request(sample_weight=step is steps[-1])
    return classifier


def weights_for(args, target, corpora):
    """Return the weights of recordings, or None if the method takes none."""
    from ..datasets import balanced_weights

    return None if args.method == BASELINE else balanced_weights(target, corpora)


def _validate(estimator, X, corpus, split, n_enrolled, args):
    """Return the result on one corpus, of a training on the others."""
    from ..model_selection import speaker_cross_validate

    train, weights = split[0], np.zeros(len(corpus.target))
    own = weights_for(args, corpus.target[train], corpus.corpora[train])
    weights[train] = 1.0 if own is None else own
    return speaker_cross_validate(
        estimator,
        X,
        corpus.target,
        corpus.speakers,
        cv=[split],
        enrollment=n_enrolled,
        fit_params=None if own is None else {"sample_weight": weights},
        random_state=args.seed,
    )


# --- the table ----------------------------------------------------------------------


def as_columns(results):
    """Return the cells of each column of the table."""
    raw = [found["raw"] for found in results.values()]
    columns = {
        "corpus": [*results, "mean"],
        "emotions": [*(str(len(np.unique(part.y_true))) for part in raw), ""],
        "speakers": [*(str(len(np.unique(part.speakers))) for part in raw), ""],
    }
    for kind in next(iter(results.values())):
        own = [found[kind] for found in results.values()]
        mean = np.mean([result.uar for result in own])
        columns[kind] = [*map(_figure, own), f"{100 * mean:.1f}"]
    return columns


def _figure(result):
    low, high = result.uar_interval
    between = f" [{100 * low:.1f}, {100 * high:.1f}]" if np.isfinite(low) else ""
    return f"{100 * result.uar:.1f}{between}"


def _rows(columns):
    return [list(columns), *zip(*columns.values(), strict=True)]


def _as_text(columns):
    """Return the table as text, with a line on each kind of figure."""
    widths = [max(map(len, [name, *cells])) for name, cells in columns.items()]
    lines = [aligned(row, widths, "<").rstrip() for row in _rows(columns)]
    about = [f"{kind}: {text}" for kind, text in _explained(columns).items()]
    return "\n".join([f"{_TITLE}, with a 95 % interval over speakers", *lines, *about])


def _explained(columns):
    """Return what each kind of figure knows of a test speaker."""
    words = {kind: kind.partition(" (")[0] for kind in columns}
    return {kind: _ABOUT[word] for kind, word in words.items() if word in _ABOUT}


def card_tables(columns):
    """Return the tables of the model's card."""
    about = _explained(columns)
    known = {"figure": list(about), "known": list(about.values())}
    return {_TITLE: columns, "What was known of a test speaker": known}
