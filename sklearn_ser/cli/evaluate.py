"""The command ``evaluate``: scores on voices that a method has not heard."""

import json
import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import replace

from . import evaluate_corpora, rerun
from .options import (
    BASELINE,
    LINEAR,
    LOG_MEL,
    METHODS,
    add_corpus_options,
    add_fold_options,
    add_method_options,
    at_least,
    check_method,
    check_speakers,
    duration,
    find_folds,
    find_splits,
    fit_seconds,
    is_synthetic,
    known_texts,
    load_recordings,
    make_classifier,
    make_folder,
    make_front,
    read_manifest,
    refuse,
    shown_title,
)
from .rerun import (
    PLACES,
    command_of,
    data_of,
    portable,
    take_options,
    told_changes,
)
from .terminal import print_line, print_note

HELP = "train and test on separate speakers, print UAR and WA"
DESCRIPTION = (
    "Train and test a method on separate speakers, print unweighted average recall "
    "(UAR) and accuracy (WA) per fold and pooled, beside a linear baseline."
)
_COMMAND = "command.json"
# Columns that a result has itself, or that say nothing of a group of speakers.
_TAKEN = {"row", "fold", "draw", "file", "speaker", "emotion", "source", "target"}
_TAKEN |= {"y_true", "prediction"}


def add_arguments(parser):
    """Add the options of the command."""
    parser.set_defaults(command=run, parser=parser)
    add_corpus_options(parser, required=False, several=True)
    add_method_options(parser, METHODS)
    option = parser.add_argument_group("evaluation").add_argument
    option(
        "--target",
        metavar="FILE",
        help="the manifest of another corpus: train on the first, with didan and lidan "
        "also on the target's recordings without their labels, and score on the "
        "target. Who is in both tables does not train",
    )
    option(
        "--namesakes",
        action="store_true",
        help="people of one name in --manifest and --target are different people",
    )
    option(
        "--enroll",
        type=at_least(1),
        metavar="K",
        help="tell SpeakerNormalizer, in front, the voice of each test speaker by K "
        "unlabelled recordings, which are not scored: at most half of what the "
        "speaker has",
    )
    option(
        "--enrollable",
        action="store_true",
        help="of several corpora: show, beside the UAR of unknown voices, that of "
        "voices which enrolled K recordings (--enroll, else 10) or all of theirs",
    )
    add_fold_options(option, "; with --target, for corpora that share sentences")
    option = parser.add_argument_group("what is kept").add_argument
    option(
        "--out",
        metavar="FOLDER",
        help="where to write result.json, predictions.csv and report.html, and to keep "
        "each finished fold or transfer",
    )
    option(
        "--resume",
        metavar="FOLDER",
        help="go on with an evaluation that was interrupted, with its own options",
    )
    rerun.add_argument(option, "result.json", "--manifest, --target and --features")
    option(
        "--audio",
        action="store_true",
        help="put the recordings of the worst mistakes into report.html",
    )


def run(args):
    """Print the table of an evaluation, and write what --out asks for."""
    from ..model_selection import check_duplicate_leakage

    before = {}
    if args.resume is not None or args.rerun is not None:
        before = _take_options(args)
    if isinstance(args.corpus, list):
        evaluate_corpora.run(args)
        return
    _check(args)
    command = before["command"] if args.resume else command_of(args)
    corpus = load_recordings(args)
    corpus.caveats = ()
    if args.target is None:
        check_speakers(corpus, args)
    else:
        corpus = _join(corpus, args)
    _check_sentences(corpus, args)
    data = data_of(corpus) if args.out or before else {}  # it reads all files
    settings = {"command": command, **data}
    front, classifier = make_front(args, corpus), make_classifier(args)
    title = shown_title(args, front, corpus)
    title = f"SpeakerNormalizer and {title}" if args.enroll else title
    if args.out is not None and args.resume is None:
        _keep(settings, args.out)
    print_line(title)
    for note in getattr(corpus, "notes", ()):
        print_line(f"note on {args.corpus}: {note}")
    splits = _splits(corpus, args)
    if args.features != LOG_MEL:  # before minutes of work
        check_duplicate_leakage(splits, corpus.data)
    # Features know nothing of other recordings: computed once, they leak nothing.
    X = front.fit(corpus.data).transform(corpus.data)
    if args.method not in LINEAR and args.resume is None:
        _print_estimate(classifier, X, corpus, splits, args)
    elif args.unheard_sentences:
        print_note(f"{_n_fits(corpus, splits, args)} fit(s) on features computed once")
    validate = _by_speaker if args.target is None else _by_corpus
    result, baseline = validate(classifier, X, front, corpus, args), None
    if args.method != BASELINE:
        linear = make_classifier(args, BASELINE)
        baseline = validate(linear, X, front, corpus, args, like=result)
        result = result.against(baseline)
    caveats = [*told_changes(before, data), *result.caveats, *corpus.caveats]
    caveats += _heard_sentences(corpus, splits, args)
    settings = result.settings | settings
    result = replace(result, settings=settings, caveats=tuple(caveats))
    print_line(result)
    for remark in result.remarks():
        print_line(remark)
    if args.out is not None:
        _write(result, baseline, title, corpus, args)


def _write(result, baseline, title, corpus, args):
    """Write the figures, the predictions and the report."""
    import numpy as np

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


def _check(args):
    check_method(args)
    refuse(args.enrollable, "--enrollable", "is for several names in --corpus")
    adapts = args.method in ("didan", "lidan")
    refuse(
        adapts and args.target is None,
        "--method",
        f"{args.method} adapts to a corpus: give --target",
    )
    of_one = "is for test speakers of one corpus"
    refuse(args.target and args.manifest is None, "--target", "needs --manifest")
    refuse(args.namesakes and args.target is None, "--namesakes", "needs --target")
    refuse(args.target and args.folds, "--folds", "a transfer has no folds")
    refuse(args.protocol and args.folds, "--folds", "the protocol has its own")
    refuse(args.target and args.enroll, "--enroll", of_one)
    refuse(args.audio and args.out is None, "--audio", "needs --out")
    if args.out is None or args.resume is not None:
        return
    refuse(
        os.path.exists(os.path.join(args.out, _COMMAND)),
        "--out",
        f"'{args.out}' holds an evaluation already: take another folder, or go on with "
        f"--resume {args.out}",
    )
    make_folder(args.out)
    unwritable = not os.access(args.out, os.W_OK)
    refuse(unwritable, "--out", f"'{args.out}' cannot be written to")


def _check_sentences(corpus, args):
    """Refuse unheard sentences where none is known, or heard."""
    if known_texts(corpus, args) is not None:
        refuse(
            args.target and not _shared_texts(corpus),
            "--unheard-sentences",
            "--manifest and --target have no sentence in common",
        )


def _shared_texts(corpus):
    """Return the sentences that both corpora of a transfer have."""
    is_source = corpus.corpora == corpus.transfer[0]
    return {*corpus.texts[is_source]} & {*corpus.texts[~is_source]} - {None}


def _heard_sentences(corpus, splits, args):
    """Return a remark on test recordings whose sentence is in the training."""
    texts = getattr(corpus, "texts", None)
    if is_synthetic(args) or args.unheard_sentences or texts is None:
        return []
    n_heard = n_tested = 0
    for train, test in splits:
        trained = {texts[row] for row in train if texts[row]}
        n_heard += sum(texts[row] in trained for row in test)
        n_tested += len(test)
    if not n_heard:
        return []
    return [
        f"{n_heard} of {n_tested} test recordings have their sentence in the training. "
        "On five corpora this was worth 3 to 7 points of UAR (Whisper base and LDA); "
        "--unheard-sentences says what it is worth here."
    ]


def _join(source, args):
    """Return one corpus of the source's rows and those of the target.

    The same name in both tables is the same person, who does not train.
    """
    import numpy as np
    from sklearn.utils import Bunch

    from .._csv import unify_texts

    target = read_manifest("--target", args)
    kept, caveats = _kept_rows(source.speakers, target.speakers, args)
    first, second = (
        os.path.splitext(os.path.basename(path))[0]
        for path in (args.manifest, args.target)
    )
    second += " (target)" * (first == second)
    shared = source.frame.keys() & target.frame.keys()
    return Bunch(
        data=[*(source.data[row] for row in kept), *target.data],
        target=np.concatenate([source.target[kept], target.target]),
        speakers=np.concatenate([source.speakers[kept], target.speakers]),
        texts=unify_texts([*source.texts[kept], *target.texts]),
        corpora=np.repeat([first, second], [len(kept), len(target.data)]),
        transfer=(first, second),
        frame={
            name: np.concatenate([source.frame[name][kept], target.frame[name]])
            for name in source.frame
            if name in shared
        },
        DESCR=f"source: {source.DESCR} Target: {target.DESCR}",
        caveats=caveats,
    )


def _kept_rows(source, target, args):
    """Return the rows of the source that train, and remarks on speakers in both."""
    import numpy as np

    from .._csv import person_key

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
    n_rows = is_shared.sum()
    return rows[~is_shared], (
        f"{both}: their {n_rows} recording(s) in --manifest did not train, since the "
        "same name is the same person unless --namesakes is given.",
    )


def _by_speaker(classifier, X, front, corpus, args, like=None):
    """Evaluate by speaker; in the folds of another result, if one is given."""
    import numpy as np
    from sklearn.pipeline import make_pipeline

    from ..features import SpeakerNormalizer
    from ..model_selection import speaker_cross_validate

    if args.enroll:
        classifier = make_pipeline(SpeakerNormalizer(), classifier)
    cv = find_folds(corpus, args)
    if like is not None:
        # The whole test part, of which an enrolment draws the same rows again.
        parts = [np.concatenate([f.test, *f.enrolled]) for f in like.folds]
        cv = [(f.train, np.unique(p)) for f, p in zip(like.folds, parts, strict=True)]
    try:
        return speaker_cross_validate(
            classifier,
            X,
            corpus.target,
            corpus.speakers,
            cv=cv,
            enrollment=args.enroll,
            **_options(front, corpus, args, like, "folds"),
        )
    except KeyboardInterrupt as error:
        _print_folds(getattr(error, "finished", {}), args)
        raise


def _by_corpus(classifier, X, front, corpus, args, like=None):
    """Train on the source, score on the target."""
    from ..model_selection import cross_corpus_validate

    return cross_corpus_validate(
        classifier,
        X,
        corpus.target,
        corpus.corpora,
        corpus.speakers,
        transfers=[corpus.transfer],
        **_options(front, corpus, args, like, "transfers"),
    )


def _options(front, corpus, args, like, folder):
    """Return what both evaluations take; a baseline is quiet, and nothing is kept."""
    is_first = like is None
    keeps = is_first and args.out is not None
    return {
        "texts": corpus.texts if args.unheard_sentences and is_first else None,
        "recordings": corpus.data,
        "front_end": front,
        "n_jobs": args.jobs,
        "verbose": int(is_first),
        "random_state": args.seed,
        "checkpoint_dir": os.path.join(args.out, folder) if keeps else None,
    }


def _splits(corpus, args):
    """Return the rows of training and test of each fold, or of the transfer."""
    import numpy as np

    if args.target is None:
        return find_splits(corpus, args)
    is_source = corpus.corpora == corpus.transfer[0]
    return [(np.flatnonzero(is_source), np.flatnonzero(~is_source))]


def _print_estimate(classifier, X, corpus, splits, args):
    """Train a few epochs of the first fold, and say how long all folds take."""
    import numpy as np
    from joblib import effective_n_jobs
    from sklearn.base import clone

    from .._sklearn import safe_indexing

    rows, tested = splits[0]
    known = {}
    if args.method in ("didan", "lidan"):
        domain = np.repeat([1, -1], [len(rows), len(tested)])
        rows, known = np.concatenate([rows, tested]), {"sample_domain": domain}
    data = safe_indexing(X, rows), corpus.target[rows]

    def trial(epochs):
        (n,) = epochs.values()
        start = time.perf_counter()
        model = clone(classifier).set_params(max_epochs=n)
        model.fit(*data, speakers=corpus.speakers[rows], **known)
        return {args.method: time.perf_counter() - start}

    n_epochs, n_jobs = classifier.max_epochs, effective_n_jobs(args.jobs)
    n_fits = _n_fits(corpus, splits, args)
    seconds = fit_seconds(trial, {args.method: n_epochs})[args.method]
    took = duration(seconds * -(-n_fits // n_jobs))
    print_note(
        f"training takes {took}: {n_fits} fit(s) of {n_epochs} epoch(s), {n_jobs} at a "
        "time. More --jobs or fewer --epochs take less; --method baseline takes seconds"
    )


def _n_fits(corpus, splits, args):
    """Return how many models are trained: one a fold, and one a fold of sentences."""
    from ..model_selection._sentences import TEXT_SPLITS

    if not args.unheard_sentences:
        return len(splits)
    texts = set(corpus.texts)
    if args.target is not None:  # only sentences of both corpora are heard
        texts = _shared_texts(corpus)
    return len(splits) * (1 + min(TEXT_SPLITS, len(texts)))


def _keep(settings, folder):
    """Write down the command, and what tells its data, for --resume."""
    from .._files import atomic_write

    kept = {"settings": settings}
    with atomic_write(os.path.join(folder, _COMMAND)) as file:
        file.write(json.dumps(kept, indent=2).encode() + b"\n")


def _take_options(args):
    """Take the options of an evaluation that is there, and return its settings."""
    both = args.resume is not None and args.rerun is not None
    refuse(both, "--from", "goes on from another evaluation than --resume")
    if args.resume is None:
        asked, before = args.audio, take_options(args, args.rerun, "--from")
        args.audio = asked or (args.audio and args.out is not None)
        return before
    path = os.path.join(args.resume, _COMMAND)
    before = take_options(args, path, "--resume", shown=args.resume)
    args.out = args.resume
    return before


def _print_folds(finished, args):
    """Print the folds that were finished before an interrupt."""
    for number in sorted(finished):
        fold = finished[number][0]
        speakers = ", ".join(map(str, fold.test_speakers))
        print_line(
            f"fold {number}: {len(fold.test)} recordings of {speakers}, "
            f"UAR {100 * fold.uar:.1f}%, WA {100 * fold.wa:.1f}%"
        )
    told = "with --out FOLDER they are kept"
    if args.out is not None:
        words = ["evaluate", "--resume", args.out]
        for name in PLACES:
            value = vars(args)[name]
            kept = os.path.join(args.out, portable(value, args.out)) if value else ""
            if value and os.path.exists(value) and not os.path.exists(kept):
                words += [f"--{name}", value]
        told = f"go on with: {shlex.join(words)}"
    print_note(f"{len(finished)} fold(s) finished; {told}")
