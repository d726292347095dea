"""Turn the committed rows into the tables and the figure of the READMEs.

``python -m benchmarks.report`` rewrites what stands between the markers; with
``--check`` it only tells whether that is up to date.
"""

import argparse
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from scipy.stats import wilcoxon

from . import rows, transfers
from .corpora import CONFIRMATION, DEVELOPMENT
from .methods import METHODS, parameters, with_settings
from .summaries import current, mean, summarise, table

HERE = Path(__file__).parent
README, FRONT = HERE / "README.md", HERE.parent / "README.md"
FIGURE = HERE / "results" / "uar.svg"
CORPORA = (*DEVELOPMENT, *CONFIRMATION)
SEEDS = (12, 22, 32)
TRANSDUCTIVE = [name for name, m in METHODS.items() if "by_speaker" in m.features]
INDUCTIVE = [name for name in METHODS if name not in TRANSDUCTIVE]
PROBES = (
    "speaker, seen",
    "speaker, unseen",
    "emotion, seen",
    "speaker in u, seen",
    "emotion in u, seen",
)
ENOUGH_SEEDS = 5  # fewer are preliminary and get no p-value
# On the same corpora by EmoBox (Table 4), frozen features, its own folds.
PUBLISHED = {
    "wav2vec2-base, frozen": {"ravdess": 54.3, "casia": 39.6, "emovo": 31.1},
    "HuBERT-large, frozen": {"ravdess": 70.0, "casia": 45.3, "emovo": 45.7},
    "WavLM-large, frozen": {"ravdess": 72.0, "casia": 52.1, "emovo": 48.8},
}


def missing(found):
    """Name the rows that the tables want and the file lacks, a line a method."""
    lines = []
    for method, description in METHODS.items():
        parts = []
        for corpus in CORPORA:
            runs = current(found, corpus, method)
            lacking = []
            for seed in SEEDS if description.seeded else (None,):
                own = runs.get(seed, [])
                if not own:
                    lacking.append("all" if seed is None else f"seed {seed}")
                elif len(own) < own[0]["n_folds"]:
                    n_lacking = own[0]["n_folds"] - len(own)
                    lacking.append(f"{n_lacking} folds of seed {seed}")
            if lacking:
                parts.append(f"{corpus} ({', '.join(lacking)})")
        if parts:
            lines.append(f"- `{method}`: {'; '.join(parts)}")
    return lines + transfers.missing(found, SEEDS)


def main_table(
    summaries, cell=lambda summary: summary.uar, published=False, methods=INDUCTIVE
):
    """UAR, or what ``cell`` says, of each method on each corpus."""
    body = []
    for method in methods:
        description = METHODS[method]
        own = [summaries[corpus, method] for corpus in CORPORA]
        if any(own):
            seeds = max(len(s.seeds) for s in own if s)
            seeds = str(seeds) if description.seeded else "-"
            cells = [cell(s) if s else "missing" for s in own]
            body.append([description.label, seeds, *cells])
    for label, figures in PUBLISHED.items() if published else ():
        cells = [str(figures.get(corpus, "-")) for corpus in CORPORA]
        body.append([f"*{label} (published, other folds)*", "-", *cells])
    return table(["method", "seeds", *(f"`{c}`" for c in CORPORA)], body)


def comparison_table(summaries, ours="dsnet"):
    """Ours against each other method, paired by speaker, seeds averaged."""
    body = []
    for method in INDUCTIVE:
        description = METHODS[method]
        pairs = [
            (a.per_speaker[who] - b.per_speaker[who])
            for corpus in CORPORA
            if (a := summaries[corpus, ours]) and (b := summaries[corpus, method])
            for who in a.per_speaker
        ]
        if method == ours or not pairs:
            continue
        seeds = [
            len(summaries[corpus, name].seeds)
            for name in (ours, method)
            for corpus in CORPORA
            if METHODS[name].seeded and summaries[corpus, name]
        ]
        p = "preliminary"
        if min(seeds) >= ENOUGH_SEEDS:
            p = f"{wilcoxon(pairs).pvalue:.3f}"
        better = sum(d > 0 for d in pairs)
        difference = f"{np.mean(pairs):+.1f}"
        body.append(
            [description.label, difference, f"{better} of {len(pairs)}", str(p)]
        )
    header = [f"{METHODS[ours].label} against", "points of UAR", "better on", "p"]
    return table(header, body)


def probe_table(summaries):
    """UAR, and what linear probes read above chance, of each method on each corpus."""
    body = []
    for method, description in METHODS.items():
        label = description.label + ", by speaker" * (method in TRANSDUCTIVE)
        for corpus in CORPORA:
            s = summaries[corpus, method]
            if s and s.probes:
                cells = [f"{s.probes[p]:.1f}" if p in s.probes else "-" for p in PROBES]
                body.append([label, f"`{corpus}`", mean(s.uars), *cells])
    return table(["method", "corpus", "UAR", *PROBES], body)


def settings_table(found):
    """UAR at other parameters than the method's own, by what differs."""
    groups = {}
    for row in found:
        method = METHODS.get(row["method"])
        if method is None:
            continue
        own = parameters(*with_settings(method, {}))
        changed = {k: v for k, v in row["params"].items() if own.get(k) != v}
        changed |= {k: None for k in own if k not in row["params"]}
        # The weight of an adversary has a table of its own.
        if changed and set(changed) != {"adversary_weight"}:
            text = ", ".join(
                f"{k.removeprefix('features__')}={v}"
                for k, v in sorted(changed.items())
            )
            runs = groups.setdefault((row["method"], text), {})
            runs.setdefault(row["corpus"], {}).setdefault(row["seed"], []).append(row)
    body = []
    for (method, text), by_corpus in sorted(groups.items()):
        own = [summarise(by_corpus.get(corpus, {})) for corpus in CORPORA]
        if any(own):
            cells = [f"{mean(s.uars)} ({len(s.seeds)})" if s else "-" for s in own]
            body.append([f"`{method}`", f"`{text}`", *cells])
    if not body:
        return "None yet."
    return table(["method", "setting", *(f"`{c}` (seeds)" for c in CORPORA)], body)


def tradeoff(found):
    """Summarise each adversary at each of its weights, on each corpus.

    Returns
    -------
    dict of (method, weight) to dict of corpus to Summary
        The weight is 0 for the plain net.
    """
    groups = {}
    for method in ("plain", "menan", "dat"):
        own = parameters(*with_settings(METHODS[method], {}))
        for row in (row for row in found if row["method"] == method):
            weight = row["params"].get("adversary_weight", 0.0)
            if row["params"] == own | {"adversary_weight": weight} or not weight:
                runs = groups.setdefault((method, weight), {})
                runs = runs.setdefault(row["corpus"], {})
                runs.setdefault(row["seed"], []).append(row)
    return {
        point: {
            corpus: s
            for corpus, runs in own.items()
            if (s := summarise(runs)) and s.probes
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
            body.append([METHODS[method].label, f"{weight:g}", *cells])
    return table(["method", "lambda", *(f"`{c}`" for c in CORPORA)], body)


@contextmanager
def _panels(path, height, xlabel, **options):
    """Yield a panel a corpus; save them as SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "sklearn_ser"
    from matplotlib import pyplot as plt

    fig, axes = plt.subplots(1, len(CORPORA), figsize=(11, height), **options)
    yield dict(zip(CORPORA, axes, strict=True))
    for corpus, ax in zip(CORPORA, axes, strict=True):
        ax.set(title=corpus, xlabel=xlabel)
        ax.spines[["top", "right"]].set_visible(False)
    fig.tight_layout()
    fig.savefig(path, metadata={"Date": None})
    plt.close(fig)


def figure(summaries, path):
    """Draw UAR with intervals."""
    shown = [m for m in INDUCTIVE if any(summaries[c, m] for c in CORPORA)]
    height = 0.35 * len(shown) + 1.2
    with _panels(path, height, "pooled UAR (%)", sharey=True) as axes:
        for corpus, ax in axes.items():
            for y, method in enumerate(shown):
                if s := summaries[corpus, method]:
                    color = "C0" if METHODS[method].seeded else "C7"
                    ax.plot(s.interval, [y, y], color=color, lw=1.5, alpha=0.5)
                    ax.plot(s.uars, [y] * len(s.uars), "o", color=color, ms=4)
            ax.grid(axis="x", alpha=0.3)
        first = axes[CORPORA[0]]
        first.set_yticks(range(len(shown)), [METHODS[m].label for m in shown])
        first.invert_yaxis()


def probe_figure(summaries, points, path):
    """Draw UAR against what a probe reads of the training speakers.

    An adversary's weights lie on a line, which begins at the plain net.
    """
    with _panels(path, 3, "speaker above chance (points)") as axes:
        for corpus, ax in axes.items():
            for i, (method, description) in enumerate(METHODS.items()):
                s = summaries[corpus, method]
                if s and s.probes:
                    marker = "s" if method in TRANSDUCTIVE else "o"
                    x, y = s.probes["speaker, seen"], s.uars.mean()
                    ax.plot(x, y, marker, color=f"C{i % 10}")
                    ax.annotate(description.label, (x, y), fontsize=7)
            for method, color in ("menan", "C2"), ("dat", "C3"):
                line = [
                    (own[corpus].probes["speaker, seen"], own[corpus].uars.mean())
                    for (name, _), own in sorted(points.items(), key=lambda p: p[0][1])
                    if name in ("plain", method) and corpus in own
                ]
                ax.plot(*np.transpose(line or [(np.nan, np.nan)]), ".-", color=color)
            ax.grid(alpha=0.3)
        axes[CORPORA[0]].set_ylabel("pooled UAR (%)")


def sections(found):
    """Return the generated parts of the READMEs by name, and the summaries."""
    summaries = {
        (corpus, method): summarise(current(found, corpus, method))
        for corpus in CORPORA
        for method in METHODS
    }
    parts = {
        "uar": main_table(summaries, published=True),
        "wa": main_table(summaries, lambda s: mean(s.was)),
        "cost": main_table(summaries, lambda s: f"{s.minutes:.1f} min, {s.peak_mb} MB"),
        "transductive": main_table(summaries, methods=TRANSDUCTIVE) or "None yet.",
        "probes": probe_table(summaries),
        "comparison": comparison_table(summaries),
        "tradeoff": tradeoff_table(tradeoff(found)),
        "transfer means": transfers.means_table(found),
        "transfers": transfers.by_transfer_table(found),
        "transfer weights": transfers.weights_table(found),
        "settings": settings_table(found),
        "missing": "\n".join(missing(found)) or "None.",
        "front": main_table(summaries, lambda s: mean(s.uars), published=True),
    }
    return parts, summaries


def fill(text, parts):
    """Replace what stands between the markers of each part that the text has."""
    for name, content in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if begin in text:
            head, _, rest = text.partition(begin)
            tail = rest.partition(end)[2]
            text = f"{head}{begin}\n{content}\n{end}{tail}"
    return text


def main(argv=None):
    """Write the report, or check it; return 1 if it is not up to date."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args(argv)
    files = sorted(rows.RESULTS.parent.glob("*.jsonl"))
    # By its key: an experiment that two files hold is one.
    found = [*{rows.key(r): r for path in files for r in rows.read(path)}.values()]
    parts, summaries = sections(found)
    stale = []
    for path in (README, FRONT):
        text = path.read_text()
        new = fill(text, parts)
        if new != text:
            stale.append(path.name)
        if not args.check:
            path.write_text(new)
    if args.check:
        print("stale:" if stale else "up to date", *stale)
        return int(bool(stale))
    figure(summaries, FIGURE)
    if any(s and s.probes for s in summaries.values()):
        probe_figure(summaries, tradeoff(found), FIGURE.with_name("probes.svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
