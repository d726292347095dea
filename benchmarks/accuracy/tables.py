"""Comparisons over the frozen protocols, and their rows in the summary."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

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
        _compare(args, name, corpus, cv=corpus.cv)


def sentences(args):
    """Compare methods on heard and unheard sentences, and on as few recordings."""
    for name in args.corpus or corpora.CORPORA:
        cv = corpora.by_speaker_and_text(name)
        _compare(args, f"{name}-sentences", corpora.load(name), cv=cv, control=True)


def pools(args):
    """Compare methods on several corpora as one, each centred on its training rows."""
    for name in args.corpus or corpora.POOLS:
        corpus, front = corpora.load(name), (corpora.CorpusCenterer(),)
        _compare(args, name, corpus, front, cv=corpus.cv, texts=None)


def transfers(args):
    """Compare methods from corpus to corpus, or from all corpora but one to that."""
    names, how, protocol = corpora.FOUR, "pairs", "transfers"
    if args.leave_one_out:
        names, how, protocol = corpora.CORPORA, "leave_one_out", "leave-one-out"
    members = [corpora.load(member) for member in args.corpus or names]
    corpus = corpora.join("transfers", members)
    options = {"corpora": corpus.corpora, "transfers": how, "texts": None}
    _compare(args, protocol, corpus, **options)


def _compare(args, protocol, corpus, front=(), **options):
    """Print the table of each kind, and put its complete rows into the summary."""
    options = {"texts": corpus.texts, **options}
    for kind in args.kind:
        X = corpora.inputs(corpus, args.features, args.cache, kind)
        if front:
            X = corpora.with_corpora(X, corpus.corpora)
        normalizer, enrolling = methods.KINDS.get(kind, (None, {}))
        how = args.features, normalizer, args.cache, front
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
            **enrolling,
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
        for part, uars in _uars(found[row.method], _parts_of).items()
        if part
    ]
    frame = pd.concat([frame, pd.DataFrame(parts)]) if parts else frame
    named = {"method": methods.NAMES, "reference": methods.NAMES}
    return frame.replace(named)[list(COLUMNS)]


def _uars(results, column_of):
    """Return the UAR by seed of each value of a column of the scored rows."""
    found = {}
    for part in (part for result in results if result for part in result.parts()):
        for group in part.groups(column_of(part)):
            found.setdefault(group.value, []).append(100 * group.uar)
    return found


def _by_speaker(results):
    uars = _uars(results, lambda part: part.speakers)
    return " ".join(f"{who}={np.mean(uars[who]):.3f}" for who in sorted(uars))


def _parts_of(part):
    """Return the transfer of scored rows, or their corpora in a pool, or no text."""
    if part.name:
        return [part.name.replace(" to ", ":")] * len(part.rows)
    names = [str(speaker).rpartition("/")[0] for speaker in part.speakers]
    return [f"{{}}/{name}" if name in corpora.CORPORA else "" for name in names]
