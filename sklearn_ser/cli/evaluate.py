"""The command ``evaluate``: scores on voices that a method has not heard."""

import json
import os
import sys

from .options import (
    BASELINE,
    LOG_MEL,
    METHODS,
    add_corpus_options,
    add_method_options,
    at_least,
    check_options,
    load_recordings,
    make_classifier,
    make_front,
    read_manifest,
)

_COMMAND = "command.json"
_PATHS = ("manifest", "target", "data_home")
# Columns that a result has itself, or that say nothing of a group of speakers.
_TAKEN = {"row", "fold", "file", "speaker", "emotion", "source", "target"}
_TAKEN |= {"y_true", "prediction"}


def add_arguments(parser):
    """Add the options of the command."""
    parser.set_defaults(command=evaluate, parser=parser)
    add_corpus_options(parser, required=False)
    add_method_options(parser, METHODS)
    option = parser.add_argument_group("evaluation").add_argument
    option(
        "--target",
        metavar="FILE",
        help="the manifest of another corpus: train on the first, with didan also on "
        "the target's recordings without their labels, and score on the target",
    )
    option(
        "--folds",
        type=at_least(2),
        metavar="N",
        help="number of folds; default: one per speaker, 4 for the synthetic corpus",
    )
    option(
        "--enroll",
        type=at_least(1),
        metavar="K",
        help="tell SpeakerNormalizer, in front, the voice of each test speaker by K "
        "unlabelled recordings, which are not scored",
    )
    option = parser.add_argument_group("what is kept").add_argument
    option(
        "--out",
        metavar="FOLDER",
        help="where to write result.json, predictions.csv and report.html, beside a "
        "linear baseline, and to keep each finished fold or transfer",
    )
    option(
        "--resume",
        metavar="FOLDER",
        help="go on with an evaluation that was interrupted, with its own options",
    )
    option(
        "--audio",
        action="store_true",
        help="put the recordings of the worst mistakes into report.html",
    )


def evaluate(args):
    """Print the table of an evaluation, and write what --out asks for."""
    import numpy as np

    if args.resume is not None:
        _take_options(args)
    _check(args)
    corpus = load_recordings(args)
    if args.target is None:
        _check_speakers(corpus, args)
    else:
        corpus = _join(corpus, args)
    front, what = make_front(args)
    classifier, name = make_classifier(args)
    if args.enroll:
        name = f"SpeakerNormalizer and {name}"
    what = f"{name} on {what}: {corpus.DESCR}"
    if args.out is not None and args.resume is None:
        _keep_options(args)
    print(what, flush=True)
    if args.features != LOG_MEL:
        _refuse_copies(corpus, args)
    # Features know nothing of other recordings: computed once, they leak nothing.
    X = front.fit(corpus.data).transform(corpus.data)
    validate = _by_speaker if args.target is None else _by_corpus
    result = validate(classifier, X, corpus, args)
    print(result)
    for remark in result.remarks():
        print(remark)
    if args.out is None:
        return
    baseline = None
    if args.method != BASELINE:
        linear = make_classifier(args, BASELINE)[0]
        baseline = validate(linear, X, corpus, args, of=result)
    frame = getattr(corpus, "frame", None) or {}
    by = {
        str(name): np.asarray(frame[name])
        for name in frame
        if name not in _TAKEN and not name.startswith("p_")
    }
    paths = all(isinstance(x, str | os.PathLike) for x in corpus.data)
    files = {"file": np.array(corpus.data, dtype=object)} if paths else {}
    result.save(args.out, by=files | by)
    if baseline is not None:
        baseline.save(os.path.join(args.out, "baseline"), by=files | by)
    report = os.path.join(args.out, "report.html")
    result.to_html(
        report,
        what=what,
        baseline=baseline,
        by=by,
        recordings=corpus.data,
        audio=args.audio,
    )
    print(f"Written to {args.out}: result.json, predictions.csv, report.html.")


def _check(args):
    check_options(args)
    if (args.method == "didan") and args.target is None:
        raise ValueError("argument --method: didan adapts to a corpus: give --target")
    for name, needless, reason in (
        ("target", args.target and args.manifest is None, "needs --manifest"),
        ("folds", args.target and args.folds, "a transfer has no folds"),
        ("folds", args.protocol and args.folds, "the protocol has its own"),
        ("enroll", args.target and args.enroll, "is for test speakers of one corpus"),
        ("audio", args.audio and args.out is None, "needs --out"),
    ):
        if needless:
            raise ValueError(f"argument --{name}: {reason}")
    if args.out is None or args.resume is not None:
        return
    if os.path.exists(os.path.join(args.out, _COMMAND)):
        raise ValueError(
            f"argument --out: '{args.out}' holds an evaluation already: take another "
            f"folder, or go on with --resume {args.out}"
        )
    try:
        os.makedirs(args.out, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"argument --out: no folder '{args.out}' ({error})") from error
    if not os.access(args.out, os.W_OK):
        raise ValueError(f"argument --out: '{args.out}' cannot be written to")


def _check_speakers(corpus, args):
    """Refuse too few speakers before minutes of work."""
    n_speakers, needed = len(set(corpus.speakers.tolist())), args.folds or 2
    if n_speakers < needed:
        raise ValueError(
            f"{n_speakers} speaker(s) found, but {needed} or more are needed to train "
            "and test on separate ones."
        )


def _join(source, args):
    """Return one corpus of the source's rows and those of the target."""
    import numpy as np
    from sklearn.utils import Bunch

    target = read_manifest(args.target, args)
    rows = len(source.data), len(target.data)
    shared = source.frame.keys() & target.frame.keys()
    return Bunch(
        data=[*source.data, *target.data],
        target=np.concatenate([source.target, target.target]),
        speakers=np.concatenate([source.speakers, target.speakers]),
        corpora=np.repeat(["source", "target"], rows),
        frame={
            name: np.concatenate([source.frame[name], target.frame[name]])
            for name in source.frame
            if name in shared
        },
        DESCR=f"source: {source.DESCR} Target: {target.DESCR}",
    )


def _by_speaker(classifier, X, corpus, args, of=None):
    """Evaluate by speaker; in the folds `of` another result, if one is given."""
    import numpy as np
    from sklearn.pipeline import make_pipeline

    from ..features import SpeakerNormalizer
    from ..model_selection import speaker_cross_validate

    if args.enroll:
        classifier = make_pipeline(SpeakerNormalizer(), classifier)
    cv = _folds(corpus, args)
    if of is not None:
        # The whole test part, of which an enrolment draws the same rows again.
        parts = [np.concatenate([f.test, *f.enrolled]) for f in of.folds]
        cv = [(f.train, np.unique(p)) for f, p in zip(of.folds, parts, strict=True)]
    try:
        return speaker_cross_validate(
            classifier,
            X,
            corpus.target,
            corpus.speakers,
            cv=cv,
            n_jobs=args.jobs,
            verbose=int(of is None),
            random_state=args.seed,
            enrollment=args.enroll,
            checkpoint_dir=_kept_in(args, "folds", of),
        )
    except KeyboardInterrupt as error:
        _print_folds(getattr(error, "finished", {}), args.out)
        raise


def _folds(corpus, args):
    synthetic = args.manifest is None and args.corpus is None
    return getattr(corpus, "protocol", None) or args.folds or (4 if synthetic else None)


def _refuse_copies(corpus, args):
    """Refuse the same recording in training and test, before minutes of work.

    An evaluation cannot see it in the vectors of a speech model.
    """
    import numpy as np
    from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, check_cv

    from ..datasets.duplicates import duplicates_if_audio
    from ..model_selection._leakage import refuse_duplicates

    if args.target is not None:
        is_source = corpus.corpora == "source"
        splits = [(np.flatnonzero(is_source), np.flatnonzero(~is_source))]
    else:
        cv = _folds(corpus, args) or LeaveOneGroupOut()
        cv = check_cv(GroupKFold(cv) if isinstance(cv, int) else cv)
        splits = cv.split(corpus.data, corpus.target, corpus.speakers)
    copies = duplicates_if_audio(corpus.data, vectors_are_waveforms=True)
    refuse_duplicates(splits, corpus.data, copies)


def _kept_in(args, name, of):
    """Return the folder that keeps what is finished, unless it is the baseline's."""
    keep = args.out is not None and of is None
    return os.path.join(args.out, name) if keep else None


def _print_folds(finished, folder):
    """Print the folds that were finished before an interrupt."""
    for number in sorted(finished):
        fold = finished[number][0]
        speakers = ", ".join(map(str, fold.test_speakers))
        print(
            f"fold {number}: {len(fold.test)} recordings of {speakers}, "
            f"UAR {100 * fold.uar:.1f}%, WA {100 * fold.wa:.1f}%"
        )
    told = "with --out FOLDER they are kept"
    if folder is not None:
        told = f"go on with: evaluate --resume {folder}"
    print(f"{len(finished)} fold(s) finished; {told}", file=sys.stderr)


def _by_corpus(classifier, X, corpus, args, of=None):
    """Train on the source, score on the target."""
    from ..model_selection import cross_corpus_validate

    return cross_corpus_validate(
        classifier,
        X,
        corpus.target,
        corpus.corpora,
        corpus.speakers,
        transfers=[("source", "target")],
        n_jobs=args.jobs,
        verbose=int(of is None),
        random_state=args.seed,
        checkpoint_dir=_kept_in(args, "transfers", of),
    )


def _keep_options(args):
    """Write the options down, for --resume."""
    from .._files import atomic_write

    options = {
        name: os.path.abspath(value) if value and name in _PATHS else value
        for name, value in vars(args).items()
        if name not in ("command", "parser", "out", "resume", "jobs")
    }
    if args.features != LOG_MEL and os.path.isdir(args.features):
        options["features"] = os.path.abspath(args.features)
    with atomic_write(os.path.join(args.out, _COMMAND)) as file:
        file.write(json.dumps(options, indent=2).encode() + b"\n")


def _take_options(args):
    """Read the options of the evaluation that is to go on."""
    for name, value in vars(args).items():
        if name in ("command", "parser", "resume", "jobs"):
            continue
        if value != args.parser.get_default(name):
            raise ValueError(
                f"argument --{name.replace('_', '-')}: --resume takes the options of "
                "the evaluation that it goes on with"
            )
    path = os.path.join(args.resume, _COMMAND)
    try:
        with open(path, encoding="utf-8") as file:
            options = json.load(file)
        known = {name: options[name] for name in vars(args) if name in options}
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"argument --resume: no evaluation in '{args.resume}' ({error})"
        ) from error
    vars(args).update(known, out=args.resume)
