"""The command ``train``: fit a method on all recordings, and save the model."""

import os

from .._files import atomic_write
from . import evaluate_corpora, options
from .terminal import print_line, print_note

HELP = "train on a corpus and save the model"
DESCRIPTION = (
    "Train a method on all recordings of a corpus, or of several ones, and save the "
    "model. Of several corpora, each is also left out of a training in turn, and a "
    "card beside the model shows what that found."
)
_KEPT = """
--out MODEL
    file to save the model to; several corpora also write a card, MODEL with the end .md
--enrollable
    put SpeakerNormalizer in front, so that predict --enroll can add voices
"""


def add_arguments(parser):
    """Add the options of the command."""
    parser.set_defaults(command=run)
    options.add_corpus_options(parser, required=True, several=True)
    options.add_method_options(parser, {*options.METHODS} - {*options.ADAPTING})
    group = parser.add_argument_group("what is kept")
    options.add_options(group, _KEPT, out={"required": True})


def run(args):
    """Fit the pipeline and save it."""
    from sklearn.pipeline import make_pipeline

    from ..calibration import remark_on
    from ..features import SpeakerNormalizer
    from ..persistence import import_skops, save

    options.check_method(args)
    several = isinstance(args.corpus, list)
    card_path = f"{os.path.splitext(args.out)[0]}.md"
    for path in (args.out, card_path) if several else (args.out,):
        options.check_writable("--out", path)
    import_skops()
    corpus = options.load_recordings(args)
    front = options.make_front(args, corpus)
    print_line(options.shown_title(args, front, corpus))
    classifier = options.make_classifier(args)
    is_net = args.method not in options.LINEAR
    steps = [classifier.set_params(verbose=1)] if is_net else [*classifier]
    steps = [SpeakerNormalizer(), *steps] if args.enrollable else steps
    if several:
        X, _, columns = evaluate_corpora.print_table(front, corpus, args)
        weights = evaluate_corpora.weights_for(args, corpus.target, corpus.corpora)
        model = make_pipeline(front, *_fit(make_pipeline(*steps), X, corpus, weights))
    else:
        model = _fit(make_pipeline(front, *steps), corpus.data, corpus)
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


def _fit(model, X, corpus, weights=None):
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
        return model.fit(X, corpus.target, **given)


def _write_card(model, columns, path):
    """Write the card, with the table of the corpora that were left out."""
    from ..model_card import make_model_card

    card = make_model_card(model, tables=evaluate_corpora.card_tables(columns))
    with atomic_write(path) as file:
        file.write(card.render().encode())
    print_line(f"Written to {path}: the model's card.")
