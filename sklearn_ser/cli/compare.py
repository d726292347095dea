"""The command ``compare``: methods side by side, as the table of a paper."""

import argparse
import os
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np

from . import options, rerun
from .options import LINEAR, METHODS, refuse
from .terminal import print_line, print_note

HELP = "compare methods on separate speakers: the table of a paper"
DESCRIPTION = (
    "Train and test several methods on the same folds and seeds, print UAR and WA with "
    "intervals over speakers, and the paired difference to the first method."
)
_SVM = "opensmile-svm"
_ABOUT_METHODS = (
    f"and {_SVM} has its own features; the others are networks; default: baseline dsnet"
)
_COMPARISON = """
--seeds N
    number of trainings of each network, from --seed on; a table of fewer than five is
    preliminary; default: %(default)s
--reference METHOD
    what the others are compared with; default: the first, and the first of those that
    adapt
"""
_KEPT = """
--out FOLDER
    where to write comparison.csv, .md, .tex and .json and report.html, and to keep
    features and finished folds: the same command goes on
--from RESULT
    run the evaluation of a comparison.json again, with its own options; --manifest and
    --features say where its files are now
"""


def add_arguments(parser):
    """Add the options of the command."""
    parser.set_defaults(command=run, parser=parser)
    options.add_corpus_options(parser, required=False)
    methods = {*METHODS, _SVM} - {"speaker-adversarial"}
    options.add_method_options(parser, methods, _ABOUT_METHODS, several=True)
    group = parser.add_argument_group("comparison")
    seeds = {"type": options.at_least(1), "default": 1}
    options.add_options(group, _COMPARISON, seeds=seeds, reference={"nargs": "+"})
    options.add_fold_options(group)
    options.add_options(group, _KEPT, **{"from": {"dest": "rerun"}})


def run(args):
    """Print the table, and write what --out asks for."""
    from ..model_selection import compare

    before = rerun.take_options(args)
    _check(args)
    corpus = options.load_recordings(args)
    options.check_speakers(corpus, args)
    settings, changes = rerun.settings_of(args, corpus, before)
    for change in changes:
        print_note(f"warning: {change}")
    texts = options.known_texts(corpus, args)
    with TemporaryDirectory() as temporary:
        cache = temporary if args.out is None else os.path.join(args.out, "features")
        methods = _make_methods(args, corpus, cache)
        listed = (", " if len(args.features) == 1 else "; ").join(methods)
        for name in args.reference or ():
            unknown = f"{name!r} is not among {listed}"
            refuse(name not in methods, "--reference", unknown)
        print_line(f"{listed}: {corpus.DESCR}")
        _print_estimate(methods, corpus, texts, args)
        comparison = compare(
            methods,
            *(corpus.data, corpus.target, corpus.speakers),
            cv=options.find_folds(corpus, args),
            texts=texts,
            seeds=range(args.seed, args.seed + args.seeds),
            reference=args.reference,
            n_jobs=args.jobs,
            random_state=args.seed,
            checkpoint_dir=args.out and os.path.join(args.out, "folds"),
            verbose=1,
        )
    print_line(comparison)
    if args.out is None:
        return
    results = {  # each is told how to run it again
        name: {
            seed: replace(each, settings=each.settings | settings)
            for seed, each in own.items()
        }
        for name, own in comparison.results.items()
    }
    comparison = replace(comparison, results=results)
    comparison.save(args.out, figure=_figure(comparison), description=corpus.DESCR)
    names = "comparison.csv, comparison.md, comparison.tex, comparison.json"
    print_line(f"Written to {args.out}: {names}, report.html.")


def _check(args):
    for method in args.method:
        if method != _SVM:
            options.check_method(_one(args, method, args.features[0]))
    for name in ("method", "features"):
        values = vars(args)[name]
        refuse(len(set(values)) < len(values), f"--{name}", "names one twice")
    names = {*map(_name, args.features)}
    twice = f"the table could not tell {args.features} apart, of one name"
    refuse(len(names) < len(args.features), "--features", twice)
    refuse(args.protocol and args.folds, "--folds", "the protocol has its own")
    if args.out is not None:
        options.make_folder(args.out)


def _one(args, method, features):
    """Return the options of one method: those of others are left out."""
    own = {"method": method, "features": features}
    if method in (*LINEAR, _SVM):
        own |= {"epochs": None, "device": None}
    if method != "dsnet":
        own["neutral_label"] = None
    return argparse.Namespace(**vars(args) | own)


def _make_methods(args, corpus, cache):
    """Return the methods on recordings, by their names in the table."""
    from sklearn.pipeline import make_pipeline

    methods = {}
    for features in args.features:
        for method in args.method:
            if method == _SVM:
                if method not in methods:
                    methods[method] = _opensmile_svm(args, corpus, cache)
                continue
            own = _one(args, method, features)
            name = f"{method}, {_name(features)}" if len(args.features) > 1 else method
            front = options.make_front(own, corpus).set_params(cache_dir=cache)
            methods[name] = make_pipeline(front, options.make_classifier(own))
    return methods


def _name(features):
    return os.path.basename(os.path.normpath(features))


def _opensmile_svm(args, corpus, cache):
    """Return functionals and a linear SVM, whose C held-out speakers choose."""
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    from ..metrics import uar_scorer

    splits = options.find_splits(corpus, args)
    voices = [len(np.unique(corpus.speakers[train])) for train, _ in splits]
    refuse(
        min(voices) < 2,
        "--method",
        f"{_SVM} chooses its C by held-out speakers, but a fold trains on one speaker "
        "only",
    )
    front = options.make_front(_one(args, _SVM, options.OPENSMILE), corpus)
    front.set_params(cache_dir=cache, verbose=0)  # each fit of the search reads it
    svm = LinearSVC(class_weight="balanced", random_state=0, max_iter=20000)
    pipeline = make_pipeline(front, StandardScaler(), svm)
    grid = {"linearsvc__C": [0.001, 0.01, 0.1]}
    folds = GroupKFold(min(3, *voices))
    return GridSearchCV(pipeline, grid, scoring=uar_scorer, cv=folds)


def _print_estimate(methods, corpus, texts, args):
    """Run one fold with networks of few epochs, and say how long all will take."""
    from joblib import effective_n_jobs
    from sklearn.base import clone

    from ..model_selection import compare

    splits = options.find_splits(corpus, args)
    names, epochs, random = {}, {}, set()
    for name, method in methods.items():
        params = method.get_params()
        names[name] = [p for p in params if p.rpartition("__")[2] == "max_epochs"]
        epochs[name] = max((params[each] for each in names[name]), default=None)

    def trial(few):
        short = {
            name: clone(methods[name]).set_params(**dict.fromkeys(names[name], n))
            for name, n in few.items()
        }
        columns = corpus.data, corpus.target, corpus.speakers
        first = {"cv": splits[:1], "n_bootstrap": 0, "n_jobs": args.jobs}
        found = compare(short, *columns, **first).results
        random.update(name for name, own in found.items() if None not in own)
        return {
            name: result.folds[0].fit_time
            for name, own in found.items()
            for result in own.values()
        }

    print_note("reading the recordings, and training a short fold of each method")
    seconds = options.fit_seconds(trial, epochs)
    n_fits = len(splits) * options.fits_of_fold(texts)
    own = {name: n_fits * (args.seeds if name in random else 1) for name in seconds}
    n_jobs = effective_n_jobs(args.jobs)
    took = options.duration(sum(own[name] * seconds[name] for name in own) / n_jobs)
    print_note(f"all {sum(own.values())} fits take {took}, {n_jobs} at a time")


def _figure(comparison):
    """Return the figure of the report, or None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    from ..inspection import ComparisonDisplay

    figure = Figure(figsize=(7, 1 + 0.3 * len(comparison.rows)), layout="constrained")
    return ComparisonDisplay.from_result(comparison, ax=figure.subplots(1, 2)).figure_
