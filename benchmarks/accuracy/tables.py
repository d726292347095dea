"""Comparisons over the frozen protocols, and their rows in the summary."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler

from sklearn_ser import SpeakerNormalizer
from sklearn_ser.metrics import uar_score
from sklearn_ser.model_selection import compare

from . import corpora, methods, rows

KEY = ("features", "protocol", "kind", "method")
ENOUGH_SEEDS = 5
_ENDS = "", "_std", "_low", "_high"
COLUMNS = (
    *KEY,
    *("seeds", "speakers"),
    *(f"{what}{end}" for what in ("uar", "wa", "unheard", "control") for end in _ENDS),
    *("reference", "difference", "difference_low", "difference_high", "wins", "p"),
    *("by_speaker", "unheard_by_speaker", *rows.PROVENANCE),
)


def within(args):
    """Compare methods within corpora, on unheard speakers and on unheard sentences."""
    for name in args.corpus or corpora.CORPORA:
        corpus = corpora.load(name)
        _compare(args, name, corpus, [_input(corpus, args)], cv=corpus.cv)


def sentences(args):
    """Compare methods on heard and unheard sentences, and on as few recordings."""
    for name in args.corpus or corpora.CORPORA:
        corpus = corpora.load(name)
        folds = {"cv": corpora.by_speaker_and_text(name), "control": True}
        _compare(args, f"{name}-sentences", corpus, [_input(corpus, args)], **folds)


def pools(args):
    """Compare methods on several corpora as one, each centred on its training rows."""
    for name in args.corpus or corpora.POOLS:
        corpus = corpora.load(name)
        X = corpora.with_corpora(corpora.vectors(corpus, args.cache), corpus.corpora)
        front = (corpora.CorpusCenterer(),)
        _compare(args, name, corpus, [X], front, cv=corpus.cv, texts=None)


def transfers(args):
    """Compare methods from corpus to corpus, or from all corpora but one to that."""
    names = corpora.CORPORA if args.leave_one_out else corpora.FOUR
    members = [corpora.load(name) for name in args.corpus or names]
    corpus = corpora.join("transfers", members)
    parts = [corpora.vectors(member, args.cache) for member in members]
    how = "leave_one_out" if args.leave_one_out else "pairs"
    own = {"corpora": corpus.corpora, "transfers": how, "texts": None}
    name = "leave-one-out" if args.leave_one_out else "transfers"
    _compare(args, name, corpus, parts, **own)


def _input(corpus, args):
    is_log_mel = args.features == "log-mel"
    return corpus.data if is_log_mel else corpora.vectors(corpus, args.cache)


def _normalised(parts, kind, corpus):
    """Return all rows, normalised by corpus or by speaker where the kind says so."""
    if kind == "by corpus":
        parts = [StandardScaler().fit_transform(part) for part in parts]
    X = np.concatenate(parts) if len(parts) > 1 else parts[0]
    if kind not in ("by speaker", "adapted"):
        return X
    normalizer = SpeakerNormalizer(scale=True, relevance_factor=0)
    return normalizer.fit_transform(X, speakers=corpus.speakers)


def _compare(args, protocol, corpus, parts, front=(), **options):
    """Print the table of each kind, and put its complete rows into the summary."""
    options = {"texts": corpus.texts, **options}
    for kind in args.kind:
        X, known = _normalised(parts, kind, corpus), methods.KINDS.get(kind, (None, {}))
        how = args.features, known[0], args.cache, front
        comparison = compare(
            {methods.LABELS[name]: methods.make(name, *how) for name in args.method},
            X,
            corpus.target,
            corpus.speakers,
            seeds=args.seeds,
            n_jobs=args.jobs,
            checkpoint_dir=Path(args.cache, "folds"),
            verbose=1,
            **options,
            **known[1],
        )
        print(f"{protocol}, {args.features}, {kind}\n{comparison}\n", flush=True)
        own = {"features": args.features, "protocol": protocol, "kind": kind}
        splits = repr(dict(sorted(options.items())))
        own |= rows.provenance(X, corpus.target, corpus.speakers, splits)
        rows.replace(args.results, summary(comparison, own), KEY)


def summary(comparison, common):
    """Return rows in %, of methods that have no seed or enough of them.

    The rows of pools and transfers are followed by those of their parts.
    """
    names = {"n_seeds": "seeds", "n_speakers": "speakers", "p_holm": "p"}
    frame = comparison.to_frame().rename(columns=names).assign(**common)
    frame = frame[frame.seeds.isna() | (frame.seeds >= ENOUGH_SEEDS)]
    frame = frame.rename(columns=lambda c: re.sub("^(unheard|control)_uar", r"\1", c))
    shares = [c for c in frame if re.match("uar|wa|unheard|control|difference", c)]
    frame[shares] = (100 * frame[shares]).round(3)
    frame = frame.astype(dict.fromkeys(("seeds", "speakers", "wins"), "Int64"))
    found = {name: list(comparison.results[name].values()) for name in frame.method}
    unheard = {n: [getattr(r, "unheard_texts", None) for r in found[n]] for n in found}
    frame["by_speaker"] = [_by_speaker(own) for own in found.values()]
    frame["unheard_by_speaker"] = [_by_speaker(own) for own in unheard.values()]
    parts = [
        {"protocol": part.format(common["protocol"]), "uar": round(np.mean(uars), 3)}
        | {"uar_std": round(np.std(uars, ddof=1), 3) if len(uars) > 1 else np.nan}
        | {name: getattr(row, name) for name in ("features", "kind", "method", "seeds")}
        for row in frame.itertuples()
        for part, uars in _parts(found[row.method]).items()
    ]
    frame = pd.concat([frame, pd.DataFrame(parts)]) if parts else frame
    named = {"method": methods.NAMES, "reference": methods.NAMES}
    return frame.replace(named)[list(COLUMNS)]


def _by_speaker(results):
    """Return the UAR of each speaker, averaged over seeds, as text."""
    found = {}
    for part in (part for result in results if result for part in result.parts()):
        for group in part.groups(part.speakers):
            found.setdefault(group.value, []).append(100 * group.uar)
    return " ".join(f"{who}={np.mean(found[who]):.3f}" for who in sorted(found))


def _parts(results):
    """Return the UAR by seed of each transfer, or of each corpus of a pool."""
    found = {}
    for result in results:
        for each in getattr(result, "transfers", ()):
            pair = f"{'+'.join(np.ravel(each.source))}:{each.target}"
            found.setdefault(pair, []).append(100 * each.uar)
        names = [str(w).partition("/")[0] for w in getattr(result, "speakers", ())]
        for name in set(names) & set(corpora.CORPORA):
            own = np.array(names) == name
            uar = uar_score(result.y_true[own], result.predictions[own])
            found.setdefault(f"{{}}/{name}", []).append(100 * uar)
    return found
