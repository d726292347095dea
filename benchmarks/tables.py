"""The tables of what stays within a corpus, or within several as one."""

import numpy as np
from scipy.stats import wilcoxon

from . import transfers
from .condense import PROBES
from .corpora import CONFIRMATION, DEVELOPMENT, POOLS, TRANSFERS
from .methods import BY_SPEAKER, CENTRED, METHODS, own_parameters
from .summaries import current, mark, mean, only, summarise, table

CORPORA = (*DEVELOPMENT, *CONFIRMATION)
SEEDS = {"log-mel": (12, 22, 32), "speech-model": (12, 22, 32, 42, 52)}
TRANSDUCTIVE = [name for name, m in METHODS.items() if m.options == BY_SPEAKER]
ADAPTED = [name for name, m in METHODS.items() if "adapted" in m.options]
OF_POOLS = [name for name, m in METHODS.items() if m.options == CENTRED]
ENROLLED = [name for name, m in METHODS.items() if "enrollment" in m.options]
INDUCTIVE = [name for name, m in METHODS.items() if not m.options]
ENOUGH_SEEDS = 5  # fewer are preliminary and get no p-value
NONE = "None yet."
# What the front page shows: method and set of features, and their name there.
FRONT = {
    ("compare", "log-mel"): "openSMILE ComParE + linear SVM",
    ("dsnet", "log-mel"): "log-mels + DSNet",
    ("lda", "speech-model"): "Whisper base + shrinkage LDA",
    ("dsnet", "speech-model"): "Whisper base + DSNet",
    ("menan", "speech-model"): "Whisper base + MEnAN",
}
# On the same corpora by EmoBox (Table 4), frozen features, its own folds.
PUBLISHED = {
    "wav2vec2-base, frozen": {"ravdess": 54.3, "casia": 39.6, "emovo": 31.1},
    "HuBERT-large, frozen": {"ravdess": 70.0, "casia": 45.3, "emovo": 45.7},
    "WavLM-large, frozen": {"ravdess": 72.0, "casia": 52.1, "emovo": 48.8},
    "Whisper-large-v3, frozen": {"ravdess": 75.3, "casia": 59.6, "emovo": 57.8},
}
# What the rows of the adversaries' weights are called: the weight has a column.
_ADVERSARIES = {"plain": "plain net", "dat": "DAT", "menan": "MEnAN"}


def summaries_of(found, features):
    """Summarise all methods on a set of features: {(corpus, method): Summary}.

    The corpora of a pool, apart, are named ``pool/corpus``.
    """
    summaries = {}
    for method, description in METHODS.items():
        known = features in description.sets
        for corpus in (*CORPORA, *POOLS):
            lines = current(found, corpus, method, features) if known else []
            summaries[corpus, method] = summarise(lines)
            for member in POOLS.get(corpus, ()):
                summaries[f"{corpus}/{member}", method] = summarise(lines, member)
    return summaries


def wanted(features):
    """Return what the tables are made of: the methods that each corpus is run with."""
    pools, found = tuple(POOLS) if features != "log-mel" else (), {}
    for method, description in METHODS.items():
        if features in description.sets:
            for corpus in pools if method in OF_POOLS else (*CORPORA, *pools):
                found.setdefault(corpus, []).append(method)
    return found | dict.fromkeys(TRANSFERS, transfers.methods_on(features))


def main_table(
    summaries,
    cell=lambda summary: summary.uar,
    published=False,
    methods=INDUCTIVE,
    corpora=CORPORA,
):
    """UAR, or what ``cell`` says, of each method on each corpus."""
    body = []
    for method in methods:
        description = METHODS[method]
        own = [summaries[corpus, method] for corpus in corpora]
        if any(own):
            seeds = max(len(s.seeds) for s in own if s)
            seeds = str(seeds) if description.seeded else "-"
            cells = [cell(s) if s else "missing" for s in own]
            body.append([description.label, seeds, *cells])
    for label, figures in PUBLISHED.items() if published else ():
        cells = [str(figures.get(corpus, "-")) for corpus in corpora]
        body.append([f"*{label} (published, other folds)*", "-", *cells])
    header = ["method", "seeds", *(mark(c) for c in corpora)]
    return table(header, body) if body else NONE


def front_table(summaries):
    """UAR of a few methods on both sets of features, below chance."""
    body, chances = [], {}
    for (method, features), label in FRONT.items():
        own = {c: summaries[features][c, method] for c in CORPORA}
        if any(own.values()):
            seeds = max(len(s.seeds) for s in own.values() if s)
            seeds = str(seeds) if METHODS[method].seeded else "-"
            cells = [mean(s.uars) if s else "missing" for s in own.values()]
            body.append([label, seeds, *cells])
        chances |= {c: f"{s.chance:.1f}" for c, s in own.items() if s}
    header = ["method", "seeds", *(mark(c) for c in CORPORA)]
    chance = ["chance", "-", *(chances.get(c, "-") for c in CORPORA)]
    return table(header, [chance, *body]) if body else NONE


def pool_table(summaries, pool, methods):
    """UAR of a pool as one and of its corpora apart, each centred or not."""
    body, names = [], [pool, *(f"{pool}/{member}" for member in POOLS[pool])]
    for method in methods:
        own = [summaries[name, method] for name in names]
        if own[0]:
            seeds = str(len(own[0].seeds)) if METHODS[method].seeded else "-"
            how = "yes" if method in OF_POOLS else "no"
            cells = [own[0].uar, *(mean(s.uars) for s in own[1:])]
            body.append([METHODS[method].label, how, seeds, *cells])
    header = ["method", "centred by corpus", "seeds", f"all of {mark(pool)}"]
    header += [mark(member) for member in POOLS[pool]]
    return table(header, body) if body else NONE


def comparison_table(summaries, ours="dsnet", methods=INDUCTIVE, corpora=CORPORA):
    """Ours against each other method, paired by speaker, seeds averaged."""
    body = []
    for method in methods:
        pairs, confirming = [], []
        for corpus in corpora:
            if (a := summaries[corpus, ours]) and (b := summaries[corpus, method]):
                for who in a.per_speaker:
                    pairs.append(a.per_speaker[who] - b.per_speaker[who])
                    if {corpus, who.partition(":")[0]} & set(CONFIRMATION):
                        confirming.append(pairs[-1])
        if method == ours or not pairs:
            continue
        seeds = [
            len(summaries[corpus, name].seeds)
            for name in (ours, method)
            for corpus in corpora
            if METHODS[name].seeded and summaries[corpus, name]
        ]
        p = "preliminary"
        if min(seeds) >= ENOUGH_SEEDS:
            p = f"{wilcoxon(pairs).pvalue:.3f}"
        better = f"{sum(d > 0 for d in pairs)} of {len(pairs)}"
        points = [f"{np.mean(d):+.1f}" if d else "-" for d in (pairs, confirming)]
        body.append([METHODS[method].label, *points, better, p])
    header = [f"{METHODS[ours].label} against", "points of UAR, all", "without †"]
    header += ["better on, of all", "p, of all"]
    return table(header, body) if body else NONE


def probe_table(summaries):
    """UAR, and what linear probes read above chance, of each method on each corpus."""
    body = []
    for method, description in METHODS.items():
        label = description.label + ", by speaker" * (method in TRANSDUCTIVE)
        label += ", centred" * (method in OF_POOLS)
        for corpus in (*CORPORA, *POOLS):
            s = summaries[corpus, method]
            if s and s.probes:
                cells = [f"{s.probes[p]:.1f}" if p in s.probes else "-" for p in PROBES]
                body.append([label, mark(corpus), mean(s.uars), *cells])
    return table(["method", "corpus", "UAR", *PROBES], body) if body else NONE


def settings_table(found, features):
    """UAR at other parameters than the method's own, by what differs."""
    groups = {}
    for line in found:
        setting = line["setting"]
        if line["method"] not in METHODS or line["features"] != features:
            continue
        # The weight of an adversary has a table of its own.
        if setting and only(setting, "adversary_weight") is None:
            own = groups.setdefault((line["method"], setting), {})
            own.setdefault(line["corpus"], []).append(line)
    body, corpora = [], CORPORA if features == "log-mel" else (*CORPORA, *POOLS)
    for (method, text), by_corpus in sorted(groups.items()):
        own = [summarise(by_corpus.get(corpus)) for corpus in corpora]
        if any(own):
            cells = [f"{mean(s.uars)} ({len(s.seeds)})" if s else "-" for s in own]
            body.append([f"`{method}`", f"`{text}`", *cells])
    header = ["method", "setting", *(f"{mark(c)} (seeds)" for c in corpora)]
    return table(header, body) if body else NONE


def tradeoff(found, features):
    """Summarise each adversary at each of its weights, on each corpus.

    Returns
    -------
    dict of (method, weight) to dict of corpus to Summary
        The weight is 0 for the plain net.
    """
    groups = {}
    for method in _ADVERSARIES:
        own = own_parameters(method, features)
        for line in found:
            if line["method"] != method or line["features"] != features:
                continue
            weight = own.get("adversary_weight", 0.0)
            if line["setting"]:
                weight = only(line["setting"], "adversary_weight")
            if weight is not None:
                lines = groups.setdefault((method, weight), {})
                lines.setdefault(line["corpus"], []).append(line)
    return {
        point: {
            corpus: s
            for corpus, lines in own.items()
            if (s := summarise(lines)) and s.probes
        }
        for point, own in sorted(groups.items())
    }


def tradeoff_table(points):
    """UAR and what is read of the speaker, by adversary and weight."""
    body = []
    for (method, weight), own in points.items():
        cells = [
            f"{mean(s.uars)} / {s.probes['speaker, seen']:.1f}"
            if (s := own.get(corpus))
            else "-"
            for corpus in CORPORA
        ]
        if own:
            body.append([_ADVERSARIES[method], f"{weight:g}", *cells])
    header = ["method", "lambda", *(mark(c) for c in CORPORA)]
    return table(header, body) if body else NONE
