"""The tables and figures of the READMEs, from the committed results."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp, wilcoxon

from . import corpora, methods, rows, speakers

README = Path(__file__).parents[1] / "README.md"
FRONT = README.parents[1] / "README.md"
# In %, by the number of classes.
CHANCE = {"emodb4": 25.0, "emovo": 14.3, "ravdess": 12.5, "casia": 16.7}
SHOWN = {  # on the front page
    ("log-mel", "compare"): "openSMILE ComParE + linear SVM",
    ("speech-model", "lda"): "Whisper base + shrinkage LDA",
    ("speech-model", "dsnet"): "Whisper base + DSNet",
    ("speech-model", "menan"): "Whisper base + MEnAN",
}
NONE = "None yet."
_KINDS = {"enrolled": "ten", "enrolled-neutral": "ten neutral", "enrolled-1": "one"}


def figure(row, what="uar", interval=True):
    """Return mean, deviation over seeds and interval over speakers as text."""
    if not row[what]:
        return "-"
    deviation = float(row[f"{what}_std"] or 0)
    spread = f" ± {deviation:.1f}" if deviation else ""
    low, high = row[f"{what}_low"], row[f"{what}_high"]
    bounds = f" [{float(low):.1f}, {float(high):.1f}]" if low and interval else ""
    return f"{float(row[what]):.1f}{spread}{bounds}"


def _both(row):
    """Return the figure on unheard speakers, and on unheard sentences, if there is."""
    return figure(row) + (f" / {figure(row, 'unheard', False)}" if row.unheard else "")


def _three(row):
    whats = "uar", "control", "unheard"
    return " / ".join(figure(row, what, interval=False) for what in whats)


def mark(protocol):
    """Return a protocol as code; † is on those that choices were made on."""
    members = protocol.removesuffix("-sentences").split(":")
    return f"`{protocol}`" + "†" * (set(members) <= set(corpora.DEVELOPMENT))


def markdown(header, body):
    """Return a table in Markdown."""
    lines = [f"| {' | '.join(line)} |" for line in (header, *body)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def table(frame, protocols, cell=_both):
    """Return a table with a row for each method, and a column for each protocol."""
    protocols = [name for name in protocols if name in set(frame.protocol)]
    cells = {(r.kind, r.method, r.protocol): cell(r) for _, r in frame.iterrows()}
    several, body = frame[frame.protocol.isin(protocols)].kind.nunique() > 1, []
    for kind in dict.fromkeys(frame.kind):
        for name, label in methods.LABELS.items():
            own = [cells.get((kind, name, protocol), "-") for protocol in protocols]
            if set(own) - {"-"}:
                how = f", {_KINDS.get(kind, kind)}" if several else ""
                body.append([label + how, *own])
    return markdown(["method", *map(mark, protocols)], body) if protocols else NONE


def against(frame, protocols, ours="dsnet"):
    """Return the differences of one method to others, paired by speaker."""
    uars = {}
    for row in frame[frame.protocol.isin(protocols)].itertuples():
        for who, _, uar in (each.rpartition("=") for each in row.by_speaker.split()):
            uars.setdefault(row.method, {})[row.protocol, who] = float(uar)
    own, body = _from_ours(pd.DataFrame(uars), ours), []
    for name, label in methods.LABELS.items():
        if name in own:
            gains = own[name].dropna()
            better, p = f"{(gains > 0).sum()} of {len(gains)}", wilcoxon(gains).pvalue
            body.append([label, f"{gains.mean():+.1f}", better, f"{p:.3f}"])
    header = [f"{methods.LABELS[ours]} against", "points of UAR", "better on", "p"]
    return markdown(header, body)


def _from_ours(figures, ours):
    """Return the differences of a column to the others."""
    return figures.drop(columns=ours).rsub(figures[ours], axis=0)


def means(frame, keys, names):
    """Return the mean of columns by keys, methods and protocols by their labels."""
    if not len(frame):
        return NONE
    found = _numbers(frame, names).groupby(keys, sort=False)[[*names]].mean()
    label = methods.LABELS | {n: mark(n) for n in set(frame.get("protocol", ()))}
    body = [
        [*(label.get(key, key) for key in index)]
        + [f"{value:.1f}" if np.isfinite(value) else "-" for value in row]
        for index, row in zip(found.index, found.to_numpy(), strict=True)
    ]
    return markdown([*keys, *(name.replace("_", ", ") for name in names)], body)


def by_size(curve, *whats):
    """Return a table of figures, with a column for each number of training speakers."""
    if not len(curve):
        return NONE
    found = _numbers(curve, ["size", *whats]).groupby(["method", "size"])[[*whats]]
    cells = found.mean().dropna().map("{:.1f}".format).agg(" / ".join, axis=1)
    return _by_size("method", cells.unstack().dropna())


def differences(curve, what, ours="menan"):
    """Return differences of one method to others: mean and interval over the draws."""
    if not len(curve):
        return NONE
    found = _numbers(curve, ["size", what])
    found = found.pivot(index=["size", "draw"], columns="method", values=what)
    found = _from_ours(found, ours).dropna(axis="columns").groupby("size")
    return _by_size(f"{methods.LABELS[ours]} against", found.agg(_mean_of_draws).T)


def _mean_of_draws(gains):
    low, high = ttest_1samp(gains, 0).confidence_interval()
    return f"{gains.mean():+.1f} [{low:+.1f}, {high:+.1f}]"


def _by_size(corner, cells):
    known = [name for name in methods.LABELS if name in cells.index]
    body = [[methods.LABELS[name], *cells.loc[name]] for name in known]
    return markdown([corner, *(f"{size:.0f}" for size in cells)], body)


def _numbers(frame, names):
    """Return a table of texts in which some columns are numbers."""
    return frame.replace("", np.nan).astype(dict.fromkeys(names, float))


def sections(summary):
    """Return the parts of the READMEs by their names."""
    four, all_five = corpora.FOUR, list(corpora.CORPORA)
    pairs = [f"{a}:{b}" for a in four for b in four]
    pools = [(pool, *(f"{pool}/{c}" for c in all_five)) for pool in corpora.POOLS]
    parts, curve = {"front": front(summary)}, rows.read(rows.RESULTS / "speakers.csv")
    for features, end in ("log-mel", ""), ("speech-model", " speech-model"):
        kept = summary[summary.features == features]
        of = {kind: kept[kept.kind == kind] for kind in set(kept.kind)}
        own, accuracy = of["inductive"], partial(figure, what="wa", interval=False)
        parts |= {
            f"uar{end}": table(own, all_five),
            f"wa{end}": table(own, all_five, accuracy),
            f"transfer means{end}": table(kept, ["transfers", "leave-one-out"]),
            f"transfers{end}": table(of["by corpus"], pairs),
        }
    shown = ["uar", *speakers.PROBES]
    probed = rows.read(rows.RESULTS / "probes.csv")
    crossed = [f"{name}-sentences" for name in all_five]
    return parts | {
        "enrolled": table(kept[kept.kind.isin(_KINDS)], four),
        "transductive": table(of["by-speaker"], (*four, *corpora.POOLS)),
        "adapted": table(of["adapted"], four),
        "pools": table(own, sum(pools, ()), partial(figure, interval=False)),
        "comparison": against(own, four),
        "pool comparison": against(own, ["pooled44"]),
        "sentences": table(own, crossed, _three),
        "probes": means(probed, ["protocol", "method"], shown),
        "speakers": by_size(curve, "uar", "enrolled"),
        "speakers read": by_size(curve, "speaker_seen", "speaker_unseen"),
        "speakers calibrated": by_size(curve, "ece"),
        "speakers compared": differences(curve, "uar"),
        "speakers read compared": differences(curve, "speaker_unseen"),
    }


def front(summary):
    """Return the table of the front page."""
    chance = ["chance", *(f"{uar:.1f}" for uar in CHANCE.values())]
    body = [
        [label, *(figure(row, interval=False) for row in _shown(summary, *key))]
        for key, label in SHOWN.items()
    ]
    return markdown(["method", *map(mark, CHANCE)], [chance, *body])


def _shown(summary, features, method):
    own = summary[(summary.features == features) & (summary.method == method)]
    own = own[own.kind == "inductive"].set_index("protocol")
    return [own.loc[protocol] for protocol in CHANCE if protocol in own.index]


def fill(text, parts):
    """Return a text whose parts stand between the markers that it has for them."""
    for name, content in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if begin in text:
            head, _, rest = text.partition(begin)
            text = f"{head}{begin}\n{content}\n{end}{rest.partition(end)[2]}"
    return text


def draw(summary, labels, path):
    """Draw UAR and intervals of methods, whose keys are features and name."""
    fig, axes = _panels(len(CHANCE), 1.1 + 0.36 * len(labels), sharey=True)
    for y, key in enumerate(labels):
        for row in _shown(summary, *key):
            ax, uar = axes[list(CHANCE).index(row.name)], float(row.uar)
            interval = float(row.uar_low), float(row.uar_high)
            ax.plot(interval, [y, y], color="#1c5d8a", alpha=0.5)
            ax.plot(uar, y, "o", color="#1c5d8a")
            ax.text(104, y, f"{uar:.1f}", va="center")
    for (corpus, chance), ax in zip(CHANCE.items(), axes, strict=True):
        ax.axvline(chance, color="#b4531f", ls="--")
        title = corpus + " †" * (corpus in corpora.DEVELOPMENT)
        ax.set(title=title, xlabel="UAR (%)", xlim=(0, 100), xticks=(0, 50, 100))
    axes[0].set_yticks(range(len(labels)), list(labels.values()))
    axes[0].set_ylim(len(labels) - 0.5, -0.5)
    _save(fig, path)


def draw_curve(curve, path):
    """Draw UAR, UAR of enrolled voices, and the speaker, by training speakers."""
    titles = {
        "uar": "UAR (%)",
        "enrolled": "UAR (%), ten recordings enrolled",
        "speaker_unseen": "unseen speaker, read by a probe\n(points above chance)",
    }
    curve = _numbers(curve, ["size", *titles])
    names = [name for name in methods.LABELS if name in set(curve.method)]
    fig, axes = _panels(len(titles), 3.8)
    axes[1].sharey(axes[0])
    for (what, title), ax in zip(titles.items(), axes, strict=True):
        for color, name in enumerate(names):
            own = curve[curve.method == name].groupby("size")[what]
            mean = own.mean().dropna()
            label, error = methods.LABELS[name], own.sem()[mean.index]
            if len(mean):
                options = {"marker": "o", "ms": 4, "color": f"C{color}", "label": label}
                ax.errorbar(mean.index, mean, error, **options)
        sizes = sorted(set(curve["size"]))
        ax.set(title=title, xlabel="training speakers", xscale="log")
        ax.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
        ax.minorticks_off()
    axes[2].set_ylim(bottom=0)
    axes[0].legend(frameon=False, loc="upper left", fontsize=8)
    _save(fig, path)


def _panels(n, height, **options):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "sklearn_ser"
    from matplotlib import pyplot as plt

    fig, axes = plt.subplots(
        1, n, figsize=(11, height), layout="constrained", **options
    )
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.title.set_fontsize(10)
    return fig, axes


def _save(fig, path):
    fig.savefig(path, metadata={"Date": None})


def run(args):
    """Write tables and figures, or say whether they are up to date."""
    summary, stale = rows.read(rows.RESULTS / "summary.csv"), []
    parts = sections(summary)
    for path in (README, FRONT):
        text = path.read_text()
        new = fill(text, parts)
        stale += [path.name] * (new != text)
        if not args.check:
            path.write_text(new)
    if args.check:
        raise SystemExit(f"stale: {', '.join(stale)}" if stale else 0)
    draw(summary, SHOWN, rows.RESULTS / "front.svg")
    of_speech_model = [("speech-model", name) for name in methods.LABELS]
    known = [key for key in of_speech_model if _shown(summary, *key)]
    labels = {key: methods.LABELS[key[1]] for key in known}
    draw(summary, labels, rows.RESULTS / "uar-speech-model.svg")
    curve = rows.read(rows.RESULTS / "speakers.csv")
    if len(curve):
        draw_curve(curve, rows.RESULTS / "speakers.svg")
