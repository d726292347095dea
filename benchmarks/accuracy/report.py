"""The tables and figures of the READMEs, from the committed results."""

import re
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd
from scipy.stats import wilcoxon

from . import corpora, methods, rows, speakers
from .corpora import mark

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
    return " / ".join(
        figure(row, name, False) for name in ("uar", "control", "unheard")
    )


def markdown(header, body):
    """Return a table in Markdown."""
    lines = [f"| {' | '.join(line)} |" for line in (header, *body)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def table(frame, protocols, cell=_both):
    """Return a table with a row for each method, and a column for each protocol."""
    frame = frame[frame.protocol.isin(protocols)]
    protocols = [name for name in protocols if name in set(frame.protocol)]
    cells = {(r.kind, r.method, r.protocol): cell(r) for _, r in frame.iterrows()}
    body = []
    for kind in dict.fromkeys(frame.kind):
        how = f", {_KINDS.get(kind, kind)}" if frame.kind.nunique() > 1 else ""
        for name, label in methods.LABELS.items():
            own = [cells.get((kind, name, protocol), "-") for protocol in protocols]
            if set(own) != {"-"}:
                body.append([label + how, *own])
    return markdown(["method", *map(mark, protocols)], body) if body else "None yet."


def against(frame, protocols, ours="dsnet"):
    """Return the differences of one method to others, paired by speaker."""
    uars, cells = {}, {}
    for row in frame[frame.protocol.isin(protocols)].itertuples():
        for who, _, uar in (each.rpartition("=") for each in row.by_speaker.split()):
            uars.setdefault(row.method, {})[row.protocol, who] = float(uar)
    for name, gains in speakers.against(pd.DataFrame(uars), ours).items():
        gains = gains.dropna()
        better, p = f"{(gains > 0).sum()} of {len(gains)}", wilcoxon(gains).pvalue
        cells[name] = f"{gains.mean():+.1f}", better, f"{p:.3f}"
    head = pd.Index(["points of UAR", "better on", "p"], name=ours)
    return by_method(pd.DataFrame(cells, index=head).T)


def by_method(cells):
    """Return a table of texts, of methods or of one against them, the columns' name."""
    label, ours = methods.LABELS, cells.columns.name
    body = [[label[n], *cells.loc[n]] for n in label if n in cells.index]
    return markdown([f"{label[ours]} against" if ours else "method", *cells], body)


def means(frame, keys, names):
    """Return the mean of columns by keys, methods and protocols by their labels."""
    label = methods.LABELS | {n: mark(n) for n in set(frame.get("protocol", ()))}
    found = rows.numbers(frame, names).groupby(keys, sort=False)[[*names]].mean()
    found = found.map("{:.1f}".format).replace("nan", "-").reset_index()
    body = [[label.get(cell, cell) for cell in row] for row in found.to_numpy()]
    return markdown([*keys, *(name.replace("_", ", ") for name in names)], body)


def sections(summary, curve):
    """Return the parts of the READMEs by their names."""
    four, all_five = corpora.FOUR, list(corpora.CORPORA)
    pairs = [f"{a}:{b}" for a in four for b in four]
    parts = {}
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
    of_curve = partial(speakers.by_size, curve)
    probed, read = rows.read(speakers.PROBED), ["uar", *speakers.PROBES]
    crossed = [f"{name}-sentences" for name in all_five]
    for pool in corpora.POOLS:
        names = [pool, *(f"{pool}/{corpus}" for corpus in all_five)]
        parts[pool] = table(own, names, partial(figure, interval=False))
        parts[f"{pool} comparison"] = against(own, [pool])
    return parts | {
        "front": front(summary),
        "enrolled": table(kept[kept.kind.isin(_KINDS)], four),
        "transductive": table(of["by-speaker"], (*four, *corpora.POOLS)),
        "adapted": table(of["adapted"], four),
        "comparison": against(own, four),
        "pooled122 plain": against(own, ["pooled122"], ours="plain"),
        "sentences": table(own, crossed, _three),
        "probes": means(probed, ["protocol", "method"], read),
        "speakers": by_method(of_curve("uar", "enrolled")),
        "speakers read": by_method(of_curve("speaker_seen", "speaker_unseen")),
        "speakers calibrated": by_method(of_curve("ece")),
        "speakers compared": by_method(of_curve("uar", ours="menan")),
        "speakers read compared": by_method(of_curve("speaker_unseen", ours="menan")),
    }


def front(summary):
    """Return the table of the front page."""
    body = [["chance", *map("{:.1f}".format, CHANCE.values())]]
    for key, label in SHOWN.items():
        figures = [figure(row, interval=False) for row in _shown(summary, *key)]
        body.append([label, *figures])
    return markdown(["method", *map(mark, CHANCE)], body)


def _shown(summary, features, method):
    kind = {"features": features, "method": method, "kind": "inductive"}
    own = summary[(summary[[*kind]] == pd.Series(kind)).all(axis=1)]
    own = own.set_index("protocol")
    return [own.loc[protocol] for protocol in CHANCE if protocol in own.index]


def fill(text, parts):
    """Return a text whose parts stand between the markers that it has for them."""
    for name, content in parts.items():
        between = rf"(?<=<!-- {name} -->\n).*?(?=\n<!-- /{name} -->)"
        text = re.sub(between, content.replace("\\", r"\\"), text, flags=re.DOTALL)
    return text


def draw(summary, labels, path):
    """Draw UAR and intervals of methods, whose keys are features and name."""
    with panels(path, len(CHANCE), 1.1 + 0.36 * len(labels), sharey=True) as axes:
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


@contextmanager
def panels(path, n, height, **options):
    """Give the axes of a figure, which is written then."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "sklearn_ser"
    from matplotlib import pyplot as plt

    options |= {"figsize": (11, height), "layout": "constrained"}
    fig, axes = plt.subplots(1, n, **options)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.title.set_fontsize(10)
    yield axes
    fig.savefig(path, metadata={"Date": None})


def run(args):
    """Write tables and figures, or say whether they are up to date."""
    summary = rows.read(rows.RESULTS / "summary.csv")
    curve = rows.read(speakers.CURVE)
    parts, stale = sections(summary, curve), []
    for path in (README, FRONT):
        text = path.read_text()
        new = fill(text, parts)
        stale += [path.name] * (new != text)
        if not args.check:
            path.write_text(new)
    if args.check:
        raise SystemExit(f"stale: {', '.join(stale)}" if stale else 0)
    draw(summary, SHOWN, rows.RESULTS / "front.svg")
    labels = {("speech-model", name): text for name, text in methods.LABELS.items()}
    known = {key: text for key, text in labels.items() if _shown(summary, *key)}
    draw(summary, known, rows.RESULTS / "uar-speech-model.svg")
    with panels(rows.RESULTS / "speakers.svg", len(speakers.DRAWN), 3.8) as axes:
        speakers.draw(curve, axes)
