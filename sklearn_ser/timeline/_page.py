"""A page of HTML that shows timelines, without a network or another file."""

from html import escape

import numpy as np

from . import COLOURS, clock

_POINTS = 1000  # of a picture: more are averaged, since no screen shows them
_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #666; }
@media (prefers-color-scheme: dark) { :root { --soft: #aaa; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto;
  padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2.5rem 0 0;
  overflow-wrap: anywhere; }
p { color: var(--soft); margin: .2rem 0 .8rem; }
svg { display: block; width: 100%; height: 9rem; border: 1px solid var(--line);
  box-sizing: border-box; }
svg.band { height: 1.2rem; margin-bottom: 3px; }
.times { display: flex; justify-content: space-between; font-size: .8rem;
  color: var(--soft); }
table { border-collapse: collapse; margin-top: .8rem; font-variant-numeric:
  tabular-nums; }
th, td { padding: .2rem 1rem .2rem 0; text-align: right; font-weight: normal; }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
thead th { color: var(--soft); font-size: .85rem; border-bottom: 1px solid var(--line);
  vertical-align: bottom; }
i { display: inline-block; width: .8em; height: .8em; border-radius: 2px;
  margin-right: .5em; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
section { break-inside: avoid; }
"""


def timeline_page(timelines, model=""):
    """Return a page that shows the emotions of recordings over time.

    Parameters
    ----------
    timelines : list of EmotionTimeline
        One for each recording.
    model : str
        The model that predicted them.

    Returns
    -------
    page : str
        HTML.
    """
    sections = "\n".join(map(_section, timelines))
    return f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Emotions over time</title>
<style>{_STYLE}</style>
<h1>Emotions over time</h1>
<p>Predicted by {escape(model)}. The upper band shows the most probable emotion, the
picture below it the probability of each. These are estimates, not facts about a
person.</p>
{sections}
</html>
"""


def _section(timeline):
    edges = timeline.edges
    length = edges[-1] - edges[0]
    times = (edges[:-1] + edges[1:]) / 2
    rows, P = [], timeline.probabilities
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(timeline.classes))]
    for i in np.argsort(-timeline.shares, kind="stable"):
        share, mean = 100 * timeline.shares[i], timeline.mean_probabilities[i]
        name = f'<i style="background:{colours[i]}"></i>{_text(timeline.classes[i])}'
        rows.append(f"<tr><td>{name}<td>{share:.1f}&#8239;%<td>{mean:.2f}")
    marks = "".join(
        f"<span>{clock(t)}</span>" for t in np.linspace(edges[0], edges[-1], 5)
    )
    n_windows = len(P)
    seconds = timeline.ends[0] - timeline.starts[0]
    return f"""<section>
<h2>{_text(timeline.name)}</h2>
<p>{clock(length)} in {n_windows} window(s) of {seconds:.3g} s</p>
{_band(edges, P.argmax(axis=1), colours)}
{_areas(times, P, edges, colours)}
<div class="times">{marks}</div>
<table><thead><tr><th>emotion<th>share of time<th>mean probability<tbody>
{chr(10).join(rows)}
</table>
</section>"""


def _band(edges, best, colours):
    """Draw the most probable emotion, and join equal neighbours."""
    first = np.flatnonzero(np.r_[True, best[1:] != best[:-1]])
    x = 1000 * (np.r_[edges[first], edges[-1]] - edges[0]) / (edges[-1] - edges[0])
    parts = "".join(
        f'<rect x="{a:.2f}" width="{b - a:.2f}" height="1" fill="{colours[best[i]]}"/>'
        for a, b, i in zip(x, x[1:], first, strict=False)
    )
    return _svg("band", 1, "most probable emotion over time", parts)


def _areas(times, P, edges, colours):
    """Draw the probabilities, each emotion on top of those before it."""
    groups = np.array_split(np.arange(len(P)), min(len(P), _POINTS))
    x = np.array([times[g].mean() for g in groups])
    x = 1000 * (np.r_[edges[0], x, edges[-1]] - edges[0]) / (edges[-1] - edges[0])
    means = np.array([P[g].mean(axis=0) for g in groups])
    tops = 1000 * (1 - np.cumsum(means, axis=1))[np.r_[0, : len(means), -1]]
    parts = []
    # Each reaches down to the bottom, so that no gap shows between neighbours.
    for i in reversed(range(len(colours))):
        points = " ".join(
            f"{a:.1f},{b:.0f}" for a, b in zip(x, tops[:, i], strict=True)
        )
        parts.append(f'<path d="M0,1000 L{points} L1000,1000Z" fill="{colours[i]}"/>')
    return _svg("areas", 1000, "probability of each emotion over time", "".join(parts))


def _svg(name, height, label, parts):
    return (
        f'<svg class="{name}" viewBox="0 0 1000 {height}" preserveAspectRatio="none" '
        f'role="img" aria-label="{label}">{parts}</svg>'
    )


def _text(value):
    """Return text for a page, without invalid characters."""
    return escape(str(value).encode(errors="backslashreplace").decode())
