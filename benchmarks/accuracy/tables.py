"""Comparisons over the frozen protocols, and their rows in the summary."""

import re
from pathlib import Path

import numpy as np
from sklearn.preprocessing import StandardScaler

from sklearn_ser import SpeakerNormalizer
from sklearn_ser.metrics import uar_score
from sklearn_ser.model_selection import compare

from . import corpora, methods, rows

KEY = ("features", "protocol", "kind", "method")
_ENDS = "", "_std", "_low", "_high"
COLUMNS = (
    *KEY,
    *("seeds", "speakers"),
    *(f"{what}{end}" for what in ("uar", "wa", "unheard", "control") for end in _ENDS),
    *("reference", "difference", "difference_low", "difference_high", "wins", "p"),
    *("by_speaker", "unheard_by_speaker", *rows.PROVENANCE),
)
ENOUGH_SEEDS = 5


def within(args):
    """Compare methods within corpora, on unheard speakers and on unheard sentences."""
    for name in args.corpus or corpora.CORPORA:
        corpus = corpora.load(name)
        X = _input(corpus, args)
        for kind in args.kind:
            own = {"cv": corpus.cv, "texts": corpus.texts}
            _compare(args, name, kind, X, corpus, **own)


def sentences(args):
    """Compare methods on heard and unheard sentences, and on as few recordings."""
    for name in args.corpus or corpora.CORPORA:
        corpus = corpora.load(name)
        own = {"cv": corpora.by_speaker_and_text(name), "texts": corpus.texts}
        X = _input(corpus, args)
        for kind in args.kind:
            _compare(args, f"{name}-sentences", kind, X, corpus, control=True, **own)


def pools(args):
    """Compare methods on several corpora as one, each centred on its training rows."""
    for name in args.corpus or corpora.POOLS:
        corpus = corpora.load(name)
        X = corpora.with_corpora(corpora.vectors(corpus, args.cache), corpus.corpora)
        for kind in args.kind:
            front = (corpora.CorpusCenterer(),)
            _compare(args, name, kind, X, corpus, front=front, cv=corpus.cv)


def transfers(args):
    """Compare methods from corpus to corpus, or from all corpora but one to that."""
    names, how = (corpora.FOUR, "pairs")
    if args.leave_one_out:
        names, how = tuple(corpora.CORPORA), "leave_one_out"
    members = [corpora.load(name) for name in args.corpus or names]
    corpus = corpora.join("transfers" if how == "pairs" else how, members)
    parts = [corpora.vectors(member, args.cache) for member in members]
    for normalised in args.normalised:
        if normalised == "corpus":
            X = np.concatenate([StandardScaler().fit_transform(part) for part in parts])
        elif normalised == "speaker":
            normalizer = SpeakerNormalizer(scale=True, relevance_factor=0)
            X = normalizer.fit_transform(
                np.concatenate(parts), speakers=corpus.speakers
            )
        else:
            X = np.concatenate(parts)
        own = {"corpora": corpus.corpora, "transfers": how}
        kind = f"by {normalised}" if normalised != "no" else "raw"
        _compare(args, corpus.name, kind, X, corpus, **own)


def _input(corpus, args):
    if args.features == "log-mel":
        return corpus.data
    return corpora.vectors(corpus, args.cache)


def _compare(args, protocol, kind, X, corpus, front=(), **options):
    """Print the table of a protocol, and put its complete rows into the summary."""
    known = kind if kind in methods.KINDS else "inductive"
    how = args.features, known, args.cache, front
    made = {methods.LABELS[name]: methods.make(name, *how) for name in args.method}
    comparison = compare(
        made,
        X,
        corpus.target,
        corpus.speakers,
        enrollment=methods.KINDS[known][1],
        seeds=args.seeds,
        n_jobs=args.jobs,
        checkpoint_dir=Path(args.cache, "folds"),
        verbose=1,
        **options,
    )
    print(f"{protocol}, {args.features}, {kind}\n{comparison}\n", flush=True)
    common = {"features": args.features, "protocol": protocol, "kind": kind}
    common |= rows.provenance(X, corpus.target, corpus.speakers, repr(options))
    rows.replace(args.results, list(summary(comparison, common)), COLUMNS, KEY)


def summary(comparison, common):
    """Yield rows in %, of methods that have no seed or enough of them.

    A row of a pool or of transfers is followed by those of its parts.
    """
    names = {label: name for name, label in methods.LABELS.items()}
    for row in comparison.rows:
        if row.n_seeds is not None and row.n_seeds < ENOUGH_SEEDS:
            continue
        own = common | {"method": names[row.method], "reference": names[row.reference]}
        own |= {"seeds": row.n_seeds or "", "speakers": row.n_speakers}
        own |= {"wins": "" if row.wins is None else row.wins}
        own |= {"p": "" if np.isnan(row.p_holm) else f"{row.p_holm:.4g}"}
        for name, value in row._asdict().items():
            name = re.sub("^(unheard|control)_uar", r"\1", name)
            if name.endswith("interval"):
                name = name.removesuffix("interval")
                own |= _percent({f"{name}low": value[0], f"{name}high": value[1]})
            elif isinstance(value, float) and not name.startswith("p_"):
                own |= _percent({name: value})
        results = list(comparison.results[row.method].values())
        own["by_speaker"] = _by_speaker(results)
        unheard = [getattr(result, "unheard_texts", None) for result in results]
        own["unheard_by_speaker"] = _by_speaker(unheard) if all(unheard) else ""
        yield own
        for part, uars in _parts(results).items():
            spread = np.std(uars, ddof=1) if len(uars) > 1 else np.nan
            figures = _percent({"uar": np.mean(uars), "uar_std": spread})
            shown = {k: own[k] for k in (*common, "method", "seeds")} | figures
            yield shown | {"protocol": part.format(common["protocol"])}


def _by_speaker(results):
    """Return the UAR of each speaker, averaged over seeds, as text."""
    found = {}
    for part in (part for result in results for part in result.parts()):
        for group in part.groups(part.speakers):
            found.setdefault(group.value, []).append(100 * group.uar)
    return " ".join(f"{who}={np.mean(found[who]):.2f}" for who in sorted(found))


def _parts(results):
    """Return the UAR by seed of each transfer, or of each corpus of a pool."""
    found = {}
    for result in results:
        for each in getattr(result, "transfers", ()):
            source = "+".join(np.ravel(each.source).tolist())
            found.setdefault(f"{source}:{each.target}", []).append(each.uar)
        if not hasattr(result, "transfers"):
            members = np.array([str(w).partition("/")[0] for w in result.speakers])
            for name in set(members) & set(corpora.CORPORA):
                own = members == name
                uar = uar_score(result.y_true[own], result.predictions[own])
                found.setdefault(f"{{}}/{name}", []).append(uar)
    return found


def _percent(figures):
    return {
        name: "" if np.isnan(value) else f"{100 * value:.2f}"
        for name, value in figures.items()
    }
