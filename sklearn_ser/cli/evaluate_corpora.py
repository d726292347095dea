"""Evaluation of several corpora: each is left out of the training in turn."""

import os

from .options import (
    BASELINE,
    check_method,
    load_recordings,
    make_classifier,
    make_folder,
    make_front,
    refuse,
    shown_title,
)
from .terminal import print_line, print_note

_ENROLLED = 10
_TITLE = "UAR in % on each corpus, left out of the training"
_ABOUT = {
    "raw": "nothing of a test speaker is known",
    "enrolled": "this many unlabelled recordings of each test speaker, half of them at "
    "most, are known and not scored",
    "by speaker": "all unlabelled recordings of each test speaker are known",
}


def run(args):
    """Print the UAR of each corpus, and write what --out asks for."""
    _check(args)
    corpus = load_recordings(args)
    front = make_front(args, corpus)
    print_line(shown_title(args, front, corpus))
    print_line(corpus.table)
    X = transform(front, corpus, args)
    results = leave_each_out(X, corpus, args, args.enroll or _ENROLLED)
    columns = as_columns(results)
    print_line(as_text(columns))
    for name, kinds in results.items():
        for kind, result in kinds.items() if args.out is not None else ():
            folders = [f.replace("/", "-").replace(" ", "-") for f in (name, kind)]
            result.save(os.path.join(args.out, *folders))
    if args.out is not None:
        from .._csv import write_csv

        table = [list(columns), *zip(*columns.values(), strict=True)]
        write_csv(os.path.join(args.out, "corpora.csv"), table)
        print_line(f"Written to {args.out}: corpora.csv, and a folder for each corpus.")


def _check(args):
    """Refuse options that are for one corpus."""
    check_method(args)
    for name in (
        *("target", "namesakes", "folds", "unheard_sentences", "resume", "rerun"),
        "audio",
    ):
        option = "--from" if name == "rerun" else f"--{name.replace('_', '-')}"
        refuse(vars(args)[name], option, "is for one corpus")
    adapts = args.method in ("didan", "lidan")
    refuse(adapts, "--method", f"{args.method} adapts to one corpus: give --target")
    refuse(
        args.enroll and not args.enrollable,
        "--enroll",
        "of several corpora needs --enrollable",
    )
    if args.out is not None:
        is_model = args.out.endswith(".skops")
        refuse(is_model, "--out", f"'{args.out}' is a model's file, expected a folder")
        make_folder(args.out)


def transform(front, corpus, args):
    """Return the features of all recordings, each corpus by its own channel."""
    import numpy as np

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


def weights_for(args, target, corpora):
    """Return the weights of recordings, or None if the method takes none."""
    from ..datasets import balanced_weights

    return None if args.method == BASELINE else balanced_weights(target, corpora)


def leave_each_out(X, corpus, args, n_enrolled=_ENROLLED):
    """Return the results of each corpus that is left out, by kind."""
    import numpy as np
    from sklearn.pipeline import make_pipeline

    from ..features import SpeakerNormalizer
    from ..model_selection import check_duplicate_leakage

    classifier = _weighed(make_classifier(args))
    kinds = {"raw": (classifier, None)}
    if args.enrollable:
        voiced = make_pipeline(SpeakerNormalizer(), classifier)
        kinds[f"enrolled ({n_enrolled})"] = voiced, n_enrolled
        kinds["by speaker"] = voiced, "all"
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
        split = np.flatnonzero(usable & ~is_test), np.flatnonzero(usable & is_test)
        splits[name] = split
    if not splits:
        raise ValueError("no corpus shares two emotions with the others.")
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


def _tell_namesakes(corpus, args):
    """Tell names that tables share. Those of named corpora are codes."""
    import numpy as np

    from .._csv import person_key
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


def _validate(estimator, X, corpus, split, n_enrolled, args):
    """Return the result on one corpus, of a training on the others."""
    import numpy as np

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


def as_columns(results):
    """Return the cells of each column of the table."""
    import numpy as np

    kinds = list(next(iter(results.values())))
    columns = {name: [] for name in ("corpus", "emotions", "speakers", *kinds)}
    for name, found in results.items():
        part = found["raw"]
        columns["corpus"].append(name)
        columns["emotions"].append(str(len(np.unique(part.y_true))))
        columns["speakers"].append(str(len(np.unique(part.speakers))))
        for kind, result in found.items():
            low, high = result.uar_interval
            between = f" [{100 * low:.1f}, {100 * high:.1f}]"
            between *= bool(np.isfinite(low))
            columns[kind].append(f"{100 * result.uar:.1f}{between}")
    means = {
        kind: f"{100 * np.mean([found[kind].uar for found in results.values()]):.1f}"
        for kind in kinds
    }
    last = {"corpus": "mean", "emotions": "", "speakers": ""} | means
    return {name: [*cells, last[name]] for name, cells in columns.items()}


def as_text(columns):
    """Return the table as text, with a line on each kind of figure."""
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    about = [f"{kind}: {text}" for kind, text in explained(columns).items()]
    return "\n".join([f"{_TITLE}, with a 95 % interval over speakers", *lines, *about])


def explained(columns):
    """Return what each kind of figure knows of a test speaker."""
    return {
        kind: text
        for kind in columns
        for start, text in _ABOUT.items()
        if kind.startswith(start)
    }


def card_tables(columns):
    """Return the tables of the model's card."""
    about = explained(columns)
    return {
        _TITLE: columns,
        "What was known of a test speaker": {
            "figure": list(about),
            "known": list(about.values()),
        },
    }
