"""The command ``train``: fit a method on all recordings, and save the model."""

from .options import (
    BASELINE,
    METHODS,
    add_corpus_options,
    add_method_options,
    check_method,
    check_writable,
    load_recordings,
    make_classifier,
    make_front,
    shown_title,
)
from .terminal import print_line, print_note

HELP = "train on a corpus and save the model"
DESCRIPTION = "Train a method on all recordings of a corpus and save the model."


def add_arguments(parser):
    """Add the options of the command."""
    parser.set_defaults(command=run)
    add_corpus_options(parser, required=True)
    add_method_options(parser, METHODS.keys() - {"didan", "lidan"})  # they adapt
    option = parser.add_argument_group("what is kept").add_argument
    option("--out", metavar="MODEL", required=True, help="file to save the model to")
    option(
        "--enrollable",
        action="store_true",
        help="put SpeakerNormalizer in front, so that predict --enroll can add voices",
    )


def run(args):
    """Fit the pipeline and save it."""
    from sklearn import config_context
    from sklearn.pipeline import make_pipeline

    from ..calibration import remark_on
    from ..features import SpeakerNormalizer
    from ..persistence import import_skops, save
    from ..pipeline import requested

    check_method(args)
    check_writable("--out", args.out)
    import_skops()
    corpus = load_recordings(args)
    front = make_front(args, corpus)
    classifier = make_classifier(args)
    print_line(shown_title(args, front, corpus))
    is_net = args.method != BASELINE
    steps = [classifier.set_params(verbose=1)] if is_net else [*classifier]
    steps = [SpeakerNormalizer(), *steps] if args.enrollable else steps
    model = make_pipeline(front, *steps)
    with config_context(enable_metadata_routing=True):
        speakers = requested(model, "fit", {}, {"speakers": corpus.speakers})
        model.fit(corpus.data, corpus.target, **speakers)
    if said := remark_on(getattr(model[-1], "temperature_", 1.0)):
        print_note(said)
    for step in model:
        quiet = {"verbose": 0, "n_jobs": None}
        known = step.get_params()
        step.set_params(**{k: v for k, v in quiet.items() if k in known})
    save(model, args.out)
    print_line(f"Saved to {args.out}: {', '.join(map(str, model.classes_))}.")
