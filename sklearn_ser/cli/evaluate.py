"""The command ``evaluate``: scores on voices that a method has not heard."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .._csv import person_key, unify_texts
from .._files import atomic_write
from . import evaluate_corpora, options, rerun
from .options import BASELINE, LINEAR, LOG_MEL, refuse
from .terminal import print_line, print_note

HELP = "train and test on separate speakers, print UAR and WA"
DESCRIPTION = (
    "Train and test a method on separate speakers, print unweighted average recall "
    "(UAR) and accuracy (WA) per fold and pooled, beside a linear baseline."
)
_EVALUATION = """
--target FILE
    the manifest of another corpus: train on the first, with didan and lidan also on the
    target's recordings without their labels, and score on the target. Who is in both
    tables does not train
--namesakes
    people of one name in --manifest and --target are different people
--enroll K
    tell SpeakerNormalizer, in front, the voice of each test speaker by K unlabelled
    recordings, which are not scored: at most half of what the speaker has
--enrollable
    of several corpora: show, beside the UAR of unknown voices, that of voices which
    enrolled K recordings (--enroll, else 10) or all of theirs
"""
_KEPT = """
--out FOLDER
    where to write result.json, predictions.csv and report.html, and to keep each
    finished fold or transfer
--resume FOLDER
    go on with an evaluation that was interrupted, with its own options
--from RESULT
    run the evaluation of a result.json again, with its own options; --manifest,
    --target and --features say where its files are now
--audio
    put the recordings of the worst mistakes into report.html
"""
# Columns that a result has itself, or that say nothing of a group of speakers.
_TAKEN = {"row", "fold", "draw", "file", "speaker", "emotion", "source", "target"}
_TAKEN |= {"y_true", "prediction"}


def add_arguments(parser):
    """Add the options of the command."""
    parser.set_defaults(command=run, parser=parser)
    options.add_corpus_options(parser, required=False, several=True)
    options.add_method_options(parser, options.METHODS)
    group = parser.add_argument_group("evaluation")
    options.add_options(group, _EVALUATION, enroll={"type": options.at_least(1)})
    options.add_fold_options(group, "; with --target, for corpora that share sentences")
    group = parser.add_argument_group("what is kept")
    options.add_options(group, _KEPT, **{"from": {"dest": "rerun"}})


def run(args):
    """Print the table of an evaluation, and write what --out asks for."""
    from ..model_selection import check_duplicate_leakage

    before = rerun.take_options(args)
    if isinstance(args.corpus, list):
        evaluate_corpora.run(args)
        return
    _check(args)
    corpus = _load(args)
    settings, changes = rerun.settings_of(args, corpus, before)
    front, classifier = options.make_front(args, corpus), options.make_classifier(args)
    title = options.shown_title(args, front, corpus)
    title = f"SpeakerNormalizer and {title}" if args.enroll else title
    if args.out is not None and args.resume is None:
        with atomic_write(os.path.join(args.out, rerun.COMMAND)) as file:
            file.write(json.dumps({"settings": settings}, indent=2).encode() + b"\n")
    print_line(title)
    for note in getattr(corpus, "notes", ()):
        print_line(f"note on {args.corpus}: {note}")
    if args.features != LOG_MEL:  # before minutes of work
        check_duplicate_leakage(corpus.splits, corpus.data)
    # Features know nothing of other recordings: computed once, they leak nothing.
    X = front.fit(corpus.data).transform(corpus.data)
    n_fits = len(corpus.splits) * options.fits_of_fold(corpus.scripted)
    if args.method not in LINEAR and args.resume is None:
        _print_estimate(classifier, X, corpus, n_fits, args)
    elif args.unheard_sentences:
        print_note(f"{n_fits} fit(s) on features computed once")
    result, baseline = _validate(classifier, X, front, corpus, args), None
    if args.method != BASELINE:
        linear = options.make_classifier(args, BASELINE)
        baseline = _validate(linear, X, front, corpus, args, like=result)
        result = result.against(baseline)
    caveats = [*changes, *result.caveats, *corpus.caveats]
    caveats += _heard_sentences(corpus, args)
    settings = result.settings | settings
    result = replace(result, settings=settings, caveats=tuple(caveats))
    print_line(result)
    for remark in result.remarks():
        print_line(remark)
    if args.out is not None:
        _write(result, baseline, title, corpus, args)


def _check(args):
    options.check_method(args)
    refuse(args.enrollable, "--enrollable", "is for several names in --corpus")
    refuse(
        args.method in options.ADAPTING and args.target is None,
        "--method",
        f"{args.method} adapts to a corpus: give --target",
    )
    options.check_needs(args, "manifest", ["target"])
    options.check_needs(args, "target", ["namesakes"])
    options.check_needs(args, "out", ["audio"])
    if args.target is not None:
        options.refuse_given(args, ["folds"], "a transfer has no folds")
        options.refuse_given(args, ["enroll"], "is for test speakers of one corpus")
    if args.protocol is not None:
        options.refuse_given(args, ["folds"], "the protocol has its own")
    if args.out is None or args.resume is not None:
        return
    refuse(
        os.path.exists(os.path.join(args.out, rerun.COMMAND)),
        "--out",
        f"'{args.out}' holds an evaluation already: take another folder, or go on with "
        f"--resume {args.out}",
    )
    options.make_folder(args.out)
    unwritable = not os.access(args.out, os.W_OK)
    refuse(unwritable, "--out", f"'{args.out}' cannot be written to")


# --- recordings and folds -----------------------------------------------------------


def _load(args):
    """Return the recordings with the rows of their folds, or of one transfer.

    The sentences for ``--unheard-sentences`` are `scripted`, None without the option.
    """
    corpus = options.load_recordings(args)
    if args.target is None:
        options.check_speakers(corpus, args)
        corpus.caveats, corpus.splits = (), options.find_splits(corpus, args)
    else:
        corpus = _join(corpus, args)
    corpus.scripted = options.known_texts(corpus, args)
    if args.target is not None and args.unheard_sentences:
        ((source, target),) = corpus.splits  # only sentences of both are heard
        corpus.scripted = {*corpus.texts[source]} & {*corpus.texts[target]} - {None}
        refuse(
            not corpus.scripted,
            "--unheard-sentences",
            "--manifest and --target have no sentence in common",
        )
    return corpus


def _join(source, args):
    """Return one corpus of the source's rows and those of the target.

    The same name in both tables is the same person, who does not train.
    """
    from sklearn.utils import Bunch

    target = options.read_manifest("--target", args)
    kept, caveats = _kept_rows(source.speakers, target.speakers, args)
    first, second = (
        os.path.splitext(os.path.basename(path))[0]
        for path in (args.manifest, args.target)
    )
    second += " (target)" * (first == second)
    sizes = [len(kept), len(target.data)]
    return Bunch(
        data=[*(source.data[row] for row in kept), *target.data],
        target=np.concatenate([source.target[kept], target.target]),
        speakers=np.concatenate([source.speakers[kept], target.speakers]),
        texts=unify_texts([*source.texts[kept], *target.texts]),
        corpora=np.repeat([first, second], sizes),
        transfer=(first, second),
        splits=[np.split(np.arange(sum(sizes)), sizes[:1])],
        frame={
            name: np.concatenate([source.frame[name][kept], target.frame[name]])
            for name in source.frame
            if name in target.frame
        },
        DESCR=f"source: {source.DESCR} Target: {target.DESCR}",
        caveats=caveats,
    )


def _kept_rows(source, target, args):
    """Return the rows of the source that train, and remarks on speakers in both."""
    tested = {person_key(name) for name in target.tolist()}
    is_shared = np.array([person_key(name) in tested for name in source.tolist()])
    rows = np.arange(len(source))
    if not is_shared.any():
        return rows, ()
    names = np.unique(source[is_shared])
    shown = ", ".join(names[:3]) + (f", +{len(names) - 3}" if len(names) > 3 else "")
    both = f"{len(names)} speaker(s) of --manifest are speakers of --target ({shown})"
    if args.namesakes:
        return rows, (f"{both}; --namesakes says that they are different people.",)
    refuse(
        is_shared.all(),
        "--target",
        f"{both}, and nobody else is left to train on. If they are different people of "
        "the same names, add --namesakes",
    )
    return rows[~is_shared], (
        f"{both}: their {is_shared.sum()} recording(s) in --manifest did not train, "
        "since the same name is the same person unless --namesakes is given.",
    )


def _heard_sentences(corpus, args):
    """Return a remark on test recordings whose sentence is in the training."""
    texts = getattr(corpus, "texts", None)
    if options.is_synthetic(args) or args.unheard_sentences or texts is None:
        return []
    n_heard = n_tested = 0
    for train, test in corpus.splits:
        trained = {*texts[train]} - {None, ""}
        n_heard += sum(text in trained for text in texts[test])
        n_tested += len(test)
    if not n_heard:
        return []
    return [
        f"{n_heard} of {n_tested} test recordings have their sentence in the training. "
        "On five corpora this was worth 3 to 7 points of UAR (Whisper base and LDA); "
        "--unheard-sentences says what it is worth here."
    ]


# --- the evaluation -----------------------------------------------------------------


def _validate(classifier, X, front, corpus, args, like=None):
    """Evaluate by speaker or on the target; a baseline in the folds of its like."""
    from sklearn.pipeline import make_pipeline

    from ..features import SpeakerNormalizer
    from ..model_selection import cross_corpus_validate, speaker_cross_validate

    is_first = like is None  # a baseline is quiet, and nothing of it is kept
    folder = "folds" if args.target is None else "transfers"
    keeps = is_first and args.out is not None
    common = {
        "texts": corpus.texts if args.unheard_sentences and is_first else None,
        "recordings": corpus.data,
        "front_end": front,
        "n_jobs": args.jobs,
        "verbose": int(is_first),
        "random_state": args.seed,
        "checkpoint_dir": os.path.join(args.out, folder) if keeps else None,
    }
    y, speakers = corpus.target, corpus.speakers
    if args.target is not None:
        common["transfers"] = [corpus.transfer]
        return cross_corpus_validate(
            classifier, X, y, corpus.corpora, speakers, **common
        )
    if args.enroll:
        classifier = make_pipeline(SpeakerNormalizer(), classifier)
    cv = options.find_folds(corpus, args)
    if like is not None:
        # The whole test part, of which an enrolment draws the same rows again.
        parts = [np.concatenate([f.test, *f.enrolled]) for f in like.folds]
        cv = [(f.train, np.unique(p)) for f, p in zip(like.folds, parts, strict=True)]
    common |= {"cv": cv, "enrollment": args.enroll}
    try:
        return speaker_cross_validate(classifier, X, y, speakers, **common)
    except KeyboardInterrupt as error:
        _print_folds(getattr(error, "finished", {}), args)
        raise


def _print_folds(finished, args):
    """Print the folds that were finished before an interrupt."""
    for number, fold in finished.items():
        speakers = ", ".join(map(str, fold.test_speakers))
        print_line(
            f"fold {number}: {len(fold.test)} recordings of {speakers}, "
            f"UAR {100 * fold.uar:.1f}%, WA {100 * fold.wa:.1f}%"
        )
    told = "with --out FOLDER they are kept"
    if args.out is not None:
        told = f"go on with: {rerun.command_to_resume(args)}"
    print_note(f"{len(finished)} fold(s) finished; {told}")


def _print_estimate(classifier, X, corpus, n_fits, args):
    """Train a few epochs of the first fold, and say how long all folds take."""
    from joblib import effective_n_jobs
    from sklearn.base import clone

    from .._sklearn import safe_indexing

    rows, tested = corpus.splits[0]
    known = {}
    if args.method in options.ADAPTING:
        known["sample_domain"] = np.repeat([1, -1], [len(rows), len(tested)])
        rows = np.concatenate([rows, tested])
    data = safe_indexing(X, rows), corpus.target[rows]

    def trial(epochs):
        start = time.perf_counter()
        model = clone(classifier).set_params(max_epochs=epochs[args.method])
        model.fit(*data, speakers=corpus.speakers[rows], **known)
        return {args.method: time.perf_counter() - start}

    n_epochs, n_jobs = classifier.max_epochs, effective_n_jobs(args.jobs)
    seconds = options.fit_seconds(trial, {args.method: n_epochs})[args.method]
    took = options.duration(seconds * -(-n_fits // n_jobs))
    print_note(
        f"training takes {took}: {n_fits} fit(s) of {n_epochs} epoch(s), {n_jobs} at a "
        "time. More --jobs or fewer --epochs take less; --method baseline takes seconds"
    )


def _write(result, baseline, title, corpus, args):
    """Write the figures, the predictions and the report."""
    frame = getattr(corpus, "frame", None) or {}
    by = {
        str(name): np.asarray(frame[name])
        for name in frame
        if name not in _TAKEN and not name.startswith("p_")
    }
    paths = [x.get("path") if isinstance(x, Mapping) else x for x in corpus.data]
    are_files = all(isinstance(path, str | os.PathLike) for path in paths)
    files = {"file": np.array(paths, dtype=object)} if are_files else {}
    result.save(args.out, by=files | by)
    if baseline is not None:
        baseline.save(os.path.join(args.out, "baseline"), by=files | by)
    report = os.path.join(args.out, "report.html")
    sounds = {"recordings": corpus.data, "audio": args.audio}
    by = {name: by[name] for name in by if name not in ("start", "end")}
    result.to_html(report, what=title, by=by, **sounds)
    print_line(f"Written to {args.out}: result.json, predictions.csv, report.html.")
