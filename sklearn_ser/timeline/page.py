"""The page of HTML that shows timelines."""

import numpy as np

from .._html import render
from .windows import COLOURS, clock

_POINTS = 1000  # of a picture: more are averaged, since no screen shows them


def timeline_page(timelines, model=""):
    """Return a page that shows the emotions of recordings over time."""
    recordings = [_view(timeline) for timeline in timelines]
    title = "Emotions over time"
    return render(
        "timeline/timeline.html", title=title, recordings=recordings, model=model
    )


def _view(timeline):
    """Return what the template shows of a timeline."""
    edges, n_windows = timeline.edges, len(timeline.starts)
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(timeline.classes))]
    return {
        "name": timeline.name,
        "length": clock(edges[-1] - edges[0]),
        "n_windows": n_windows,
        "seconds": timeline.ends[0] - timeline.starts[0],
        "spans": _spans(timeline, colours),
        "areas": _areas(timeline, colours),
        "times": [clock(t) for t in np.linspace(edges[0], edges[-1], 5)],
        "emotions": [
            {
                "name": timeline.classes[i],
                "colour": colours[i],
                "share": timeline.shares[i],
                "mean": timeline.mean_probabilities[i],
            }
            for i in np.argsort(-timeline.shares, kind="stable")
        ],
    }


def _spans(timeline, colours):
    """Return start, width and colour of the most probable emotions, 1000 wide.

    Neighbours that are equal are one.
    """
    edges, best = timeline.edges, timeline.probabilities.argmax(axis=1)
    first = np.flatnonzero(np.r_[True, best[1:] != best[:-1]])
    x = 1000 * (np.r_[edges[first], edges[-1]] - edges[0]) / (edges[-1] - edges[0])
    return [
        (*span, colours[best[i]])
        for *span, i in zip(x[:-1], np.diff(x), first, strict=True)
    ]


def _areas(timeline, colours):
    """Return points and colour of each emotion's area, the largest area first."""
    edges, P = timeline.edges, timeline.probabilities
    times = (edges[:-1] + edges[1:]) / 2
    groups = np.array_split(np.arange(len(P)), min(len(P), _POINTS))
    x = np.array([times[g].mean() for g in groups])
    x = 1000 * (np.r_[edges[0], x, edges[-1]] - edges[0]) / (edges[-1] - edges[0])
    means = np.array([P[g].mean(axis=0) for g in groups])
    tops = 1000 * (1 - np.cumsum(means, axis=1))[np.r_[0, : len(means), -1]]
    return [
        (" ".join(f"{a:.1f},{b:.0f}" for a, b in zip(x, tops[:, i], strict=True)), each)
        for i, each in reversed([*enumerate(colours)])
    ]
