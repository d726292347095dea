"""UAR on unseen speakers by the number of training speakers, on crema78."""

import time

import numpy as np

from sklearn_ser import embed
from sklearn_ser.metrics import expected_calibration_error, speaker_probe_score
from sklearn_ser.model_selection import speaker_cross_validate
from sklearn_ser.pipeline import flat_steps

from . import corpora, methods, rows

CORPUS, N_TEST = "crema78", 18
SIZES, DRAWS = (4, 8, 15, 30, 60), 10
METHODS = ("lda", "logistic", "rbf-svm", "plain", "dat", "menan")
KEY = ("draw", "size", "method")
COLUMNS = (
    *KEY,
    *("uar", "wa", "ece", "enrolled", "speaker_seen", "speaker_unseen"),
    *("seconds", *rows.PROVENANCE),
)


def draw_speakers(speakers, draw):
    """Return 18 test speakers, and the others in the order in which they train."""
    order = np.random.default_rng(draw).permutation(np.unique(speakers))
    return order[:N_TEST], order[N_TEST:]


def run(args):
    """Append the rows that are missing, each when it is finished."""
    corpus = corpora.load(CORPUS)
    X, done = corpora.vectors(corpus, args.cache), rows.read(args.results)
    known = {tuple(row[name] for name in KEY) for row in done}
    for draw in range(args.draws):
        test, others = draw_speakers(corpus.speakers, draw)
        for size in args.sizes:
            split = [
                np.flatnonzero(np.isin(corpus.speakers, who))
                for who in (others[:size], test)
            ]
            for name in args.method or METHODS:
                key = str(draw), str(size), name
                if key in known:
                    continue
                row = dict(zip(KEY, key, strict=True)) | _score(X, corpus, split, *key)
                row |= rows.provenance(X, corpus.target, corpus.speakers, split)
                rows.append(args.results, row, COLUMNS)
                figures = {k: row[k] for k in COLUMNS[3:9] if k in row}
                print(*key, figures, flush=True)


def _score(X, corpus, split, draw, size, name):
    """Return the figures of a method that is trained on a few speakers."""
    data, start = (X, corpus.target, corpus.speakers), time.perf_counter()
    options = {"cv": [tuple(split)], "n_bootstrap": 0, "random_state": int(draw)}
    method = rows.seeded(methods.make(name), int(draw))
    result = speaker_cross_validate(method, *data, **options, return_estimator=True)
    (_, k), model = methods.KINDS["enrolled"], result.estimators[0]
    method = rows.seeded(methods.make(name, kind="enrolled"), int(draw))
    enrolled = speaker_cross_validate(method, *data, **options, enrollment=k)
    figures = {"uar": result.uar, "wa": result.wa, "enrolled": enrolled.uar}
    if result.probabilities is not None:
        figures["ece"] = expected_calibration_error(
            result.y_true, result.probabilities, result.classes
        )
    if hasattr(flat_steps(model)[-1], "embed"):
        for what, part in zip(("seen", "unseen"), split, strict=True):
            probe = speaker_probe_score(
                embed(model, X[part]),
                corpus.speakers[part],
                groups=corpus.texts[part],
                n_bootstrap=0,
            )
            figures[f"speaker_{what}"] = probe.above_chance
    figures = {name: f"{100 * value:.2f}" for name, value in figures.items()}
    return figures | {"seconds": f"{time.perf_counter() - start:.1f}"}
