"""How much of the speaker networks know, and UAR by the number of training speakers."""

import time

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp
from sklearn.base import clone

from sklearn_ser import DSNetClassifier, embed
from sklearn_ser.metrics import (
    emotion_probe_score,
    expected_calibration_error,
    speaker_probe_score,
)
from sklearn_ser.model_selection import speaker_cross_validate
from sklearn_ser.pipeline import flat_steps

from . import corpora, methods, rows

CORPUS, N_TEST = "crema78", 18
SIZES, DRAWS = (4, 8, 15, 30, 60), 10
METHODS = ("lda", "logistic", "rbf-svm", "plain", "dat", "menan")
KEY = ("draw", "size", "method")
FIGURES = ("uar", "wa", "ece", "enrolled", "speaker_seen", "speaker_unseen")
COLUMNS = (*KEY, *FIGURES, "seconds", *rows.PROVENANCE)
CURVE, PROBED = (rows.RESULTS / f"{name}.csv" for name in ("speakers", "probes"))
DRAWN = {
    "uar": "UAR (%)",
    "enrolled": "UAR (%), ten recordings enrolled",
    "speaker_unseen": "unseen speaker, read by a probe\n(points above chance)",
}
PROTOCOLS = (*corpora.CORPORA, *corpora.POOLS)
PROBE_KEY = ("features", "protocol", "kind", "method", "seed")
PROBES = ("speaker_seen", "speaker_unseen", "emotion_seen", "speaker_u_seen")
PROBES += ("emotion_u_seen",)


def draw_speakers(speakers, draw):
    """Return 18 test speakers, and the others in the order in which they train."""
    order = np.random.default_rng(draw).permutation(np.unique(speakers))
    return order[:N_TEST], order[N_TEST:]


def curve(args):
    """Score methods by the number of their training speakers."""
    corpus = corpora.load(CORPUS)
    X = corpora.vectors(corpus, args.cache)
    for draw in range(args.draws):
        test, others = draw_speakers(corpus.speakers, draw)
        for size in args.sizes:
            who = others[:size], test
            split = [np.flatnonzero(np.isin(corpus.speakers, own)) for own in who]
            for name in args.method:
                row = dict(zip(KEY, (str(draw), str(size), name), strict=True))
                if not _is_done(args.results, row):
                    row |= _score(X, corpus, split, draw, name)
                    row |= rows.provenance(X, corpus.target, corpus.speakers, split)
                    frame = pd.DataFrame([row], columns=COLUMNS)
                    rows.replace(args.results, frame, KEY)


def against(figures, ours):
    """Return the differences of one method to others, in columns."""
    return figures.drop(columns=ours).rsub(figures[ours], axis=0)


def by_size(curve, *whats, ours=None):
    """Return texts by method and size: means, or how one method differs from others.

    A difference has the interval of its mean over the draws.
    """
    curve = rows.numbers(curve, ["size", *whats])
    if ours is None:
        found = curve.groupby(["method", "size"])[[*whats]].mean().dropna()
        cells = found.map("{:.1f}".format).agg(" / ".join, axis=1).unstack().dropna()
    else:
        found = curve.pivot(index=["size", "draw"], columns="method", values=whats[0])
        gains = against(found, ours).dropna(axis="columns").groupby("size")
        cells = gains.agg(_mean_of_draws).T
    return cells.rename(columns="{:.0f}".format).rename_axis(columns=ours)


def _mean_of_draws(gains):
    low, high = ttest_1samp(gains, 0).confidence_interval()
    return f"{gains.mean():+.1f} [{low:+.1f}, {high:+.1f}]"


def draw(curve, axes):
    """Draw UAR, UAR of enrolled voices, and the speaker, by training speakers."""
    curve = rows.numbers(curve, ["size", *DRAWN])
    names = [name for name in methods.LABELS if name in set(curve.method)]
    sizes = sorted(set(curve["size"]))
    axes[1].sharey(axes[0])
    for (what, title), ax in zip(DRAWN.items(), axes, strict=True):
        for color, name in enumerate(names):
            own = curve[curve.method == name].dropna(subset=what).groupby("size")
            mean, error = own[what].mean(), own[what].sem()
            options = {"marker": "o", "ms": 4, "color": f"C{color}"}
            if len(mean):
                options["label"] = methods.LABELS[name]
                ax.errorbar(mean.index, mean, error, **options)
        ax.set(title=title, xlabel="training speakers", xscale="log")
        ax.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
        ax.minorticks_off()
    axes[2].set_ylim(bottom=0)
    axes[0].legend(frameon=False, loc="upper left", fontsize=8)


def probes(args):
    """Read speaker and emotion from the embeddings of networks, by linear probes."""
    for protocol in args.corpus or PROTOCOLS:
        corpus, front = corpora.load(protocol), ()
        X = corpora.vectors(corpus, args.cache)
        if protocol in corpora.POOLS:
            X = corpora.with_corpora(X, corpus.corpora)
            front = (corpora.CorpusCenterer(),)
        known = X, corpus.target, corpus.speakers
        for name in args.method:
            for seed in range(args.seeds):
                key = "speech-model", protocol, "inductive", name, str(seed)
                row = dict(zip(PROBE_KEY, key, strict=True))
                if _is_done(args.results, row):
                    continue
                method = _seeded(name, seed, front=front)
                options = {"cv": corpus.cv, "n_bootstrap": 0, "return_estimator": True}
                result = speaker_cross_validate(method, *known, **options)
                found = [
                    probe(model, X, corpus, (fold.train, fold.test))
                    for model, fold in zip(result.estimators, result.folds, strict=True)
                ]
                row |= {"uar": f"{100 * result.uar:.2f}"} | {
                    what: f"{100 * np.mean([each[what] for each in found]):.2f}"
                    for what in set.intersection(*map(set, found))
                }
                row |= rows.provenance(*known, repr(corpus.cv))
                columns = (*PROBE_KEY, "uar", *PROBES, *rows.PROVENANCE)
                frame = pd.DataFrame([row], columns=columns)
                rows.replace(args.results, frame, PROBE_KEY)


def _score(X, corpus, split, draw, name):
    """Return the figures of a method that is trained on a few speakers."""
    data, start = (X, corpus.target, corpus.speakers), time.perf_counter()
    options = {"cv": [tuple(split)], "n_bootstrap": 0, "random_state": draw}
    method = _seeded(name, draw)
    result = speaker_cross_validate(method, *data, **options, return_estimator=True)
    normalizer, enrolling = methods.KINDS["enrolled"]
    method = _seeded(name, draw, normalizer=normalizer)
    enrolled = speaker_cross_validate(method, *data, **options, **enrolling)
    found = {"uar": result.uar, "wa": result.wa, "enrolled": enrolled.uar}
    if result.probabilities is not None:
        known = result.y_true, result.probabilities, result.classes
        found["ece"] = expected_calibration_error(*known)
    read = probe(result.estimators[0], X, corpus, split)
    found |= {name: value for name, value in read.items() if name in FIGURES}
    found = {name: f"{100 * value:.2f}" for name, value in found.items()}
    return found | {"seconds": f"{time.perf_counter() - start:.1f}"}


def _is_done(path, row):
    """Tell whether a file has a row of this key."""
    found = rows.read(path)
    return len(found) > 0 and (found[[*row]] == pd.Series(row)).all(axis=1).any()


def _seeded(name, seed, **options):
    method = methods.make(name, **options)
    names = [n for n in method.get_params() if n.endswith("random_state")]
    return clone(method).set_params(**dict.fromkeys(names, seed))


def probe(model, X, corpus, split):
    """Return what probes read above chance: the speaker across texts, the emotion.

    Of training speakers (seen) and test speakers, and of the subspace u of a DSNet.
    """
    classifier, found = flat_steps(model)[-1], {}
    spaces = {"_u": {"subspace": "irrelevant"}} | {"": {}}
    for what, part in zip(("seen", "unseen"), split, strict=True):
        speakers, of_text = corpus.speakers[part], {"groups": corpus.texts[part]}
        if not hasattr(classifier, "embed") or len(set(speakers.tolist())) < 2:
            continue
        for end, space in spaces.items():
            if end and not isinstance(classifier, DSNetClassifier):
                continue
            Z, of_speaker = embed(model, X[part], **space), {"groups": speakers}
            read = {
                f"speaker{end}_{what}": speaker_probe_score(
                    Z, speakers, **of_text, n_bootstrap=0
                ),
                f"emotion{end}_{what}": emotion_probe_score(
                    Z, corpus.target[part], **of_speaker, n_bootstrap=0
                ),
            }
            found |= {n: s.above_chance for n, s in read.items() if n in PROBES}
    return found
