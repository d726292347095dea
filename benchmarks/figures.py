"""The figures of the READMEs."""

from contextlib import contextmanager

import numpy as np

from .corpora import CONFIRMATION, DEVELOPMENT
from .methods import METHODS
from .tables import FRONT, INDUCTIVE, TRANSDUCTIVE

CORPORA = (*DEVELOPMENT, *CONFIRMATION)


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
        ax.set(title=corpus + " †" * (corpus in DEVELOPMENT), xlabel=xlabel)
        ax.spines[["top", "right"]].set_visible(False)
    fig.tight_layout()
    fig.savefig(path, metadata={"Date": None})
    plt.close(fig)


def front_figure(summaries, path):
    """Draw UAR of the front page's methods on both sets of features, and chance."""
    colors = {"log-mel": "#8a94a0", "speech-model": "#1c5d8a"}
    with _panels(path, 2.9, "UAR (%)", sharey=True) as axes:
        for corpus, ax in axes.items():
            for y, (method, features) in enumerate(FRONT):
                if s := summaries[features][corpus, method]:
                    uar, color = s.uars.mean(), colors[features]
                    ax.barh(y, uar, 0.72, color=color)
                    ax.plot(s.interval, [y, y], color="0.15", lw=1.2)
                    ax.text(
                        s.interval[1] + 2, y, f"{uar:.1f}", va="center", weight="bold"
                    )
                    ax.axvline(s.chance, color="#b4531f", ls="--", lw=1.5)
                    ax.text(s.chance + 2, -0.75, "chance", color="#b4531f", va="center")
            ax.set(xlim=(0, 126), xticks=(0, 50, 100))
        first = axes[CORPORA[0]]
        first.set_yticks(range(len(FRONT)), list(FRONT.values()))
        first.set_ylim(len(FRONT) - 0.5, -1)


def figure(summaries, path):
    """Draw UAR with intervals, inductive."""
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
