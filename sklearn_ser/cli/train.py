"""The command ``train``: fit a method on all recordings, and save the model."""

import os

from .evaluate_corpora import (
    as_columns,
    as_text,
    card_tables,
    leave_each_out,
    transform,
    weights_for,
)
from .options import (
    LINEAR,
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
DESCRIPTION = (
    "Train a method on all recordings of a corpus, or of several ones, and save the "
    "model. Of several corpora, each is also left out of a training in turn, and a "
    "card beside the model shows what that found."
)


def add_arguments(parser):
    """Add the options of the command."""
    parser.set_defaults(command=run)
    add_corpus_options(parser, required=True, several=True)
    add_method_options(parser, METHODS.keys() - {"didan", "lidan"})  # they adapt
    option = parser.add_argument_group("what is kept").add_argument
    option(
        "--out",
        metavar="MODEL",
        required=True,
        help="file to save the model to; several corpora also write a card, MODEL with "
        "the end .md",
    )
    option(
        "--enrollable",
        action="store_true",
        help="put SpeakerNormalizer in front, so that predict --enroll can add voices",
    )


def run(args):
    """Fit the pipeline and save it."""
    from sklearn.pipeline import make_pipeline

    from ..calibration import remark_on
    from ..features import SpeakerNormalizer
    from ..persistence import import_skops, save

    check_method(args)
    several = isinstance(args.corpus, list)
    card_path = f"{os.path.splitext(args.out)[0]}.md"
    check_writable("--out", args.out)
    if several:
        check_writable("--out", card_path)
    import_skops()
    corpus = load_recordings(args)
    front = make_front(args, corpus)
    print_line(shown_title(args, front, corpus))
    classifier = make_classifier(args)
    is_net = args.method not in LINEAR
    steps = [classifier.set_params(verbose=1)] if is_net else [*classifier]
    steps = [SpeakerNormalizer(), *steps] if args.enrollable else steps
    weights, columns = None, None
    X = corpus.data
    if several:
        print_line(corpus.table)
        X = transform(front, corpus, args)
        columns = as_columns(leave_each_out(X, corpus, args))
        print_line(as_text(columns))
        weights = weights_for(args, corpus.target, corpus.corpora)
        model = make_pipeline(*steps)
    else:
        model = make_pipeline(front, *steps)
    _fit(model, X, corpus, weights)
    model = make_pipeline(front, *model) if several else model
    if said := remark_on(getattr(model[-1], "temperature_", 1.0)):
        print_note(said)
    for step in model:
        quiet = {"verbose": 0, "n_jobs": None}
        known = step.get_params()
        step.set_params(**{k: v for k, v in quiet.items() if k in known})
    save(model, args.out)
    print_line(f"Saved to {args.out}: {', '.join(map(str, model.classes_))}.")
    if several:
        _write_card(model, columns, card_path)


def _fit(model, X, corpus, weights):
    """Fit a pipeline, whose steps get the speakers and whose last step the weights."""
    from sklearn import config_context

    from ..pipeline import consumes

    given = {
        f"{name}__speakers": corpus.speakers
        for name, step in model.steps
        if consumes(step, "fit", "speakers")
    }
    if weights is not None:
        given[f"{model.steps[-1][0]}__sample_weight"] = weights
    with config_context(enable_metadata_routing=False):
        model.fit(X, corpus.target, **given)


def _write_card(model, columns, path):
    """Write the card, with the table of the corpora that were left out."""
    from .._files import atomic_write
    from ..model_card import make_model_card

    card = make_model_card(model, tables=card_tables(columns))
    with atomic_write(path) as file:
        file.write(card.render().encode())
    print_line(f"Written to {path}: the model's card.")
