"""The page of HTML that shows timelines, of windows or of turns."""

import numpy as np

from ..report.page import render
from .turns import EmotionTurns, find_overlaps, told_turns
from .windows import clock, colours_of, told_times

_POINTS = 1000  # of a picture: more are averaged, since no screen shows them
_GREY = "#8886"  # of a turn that is too short


def timeline_page(timelines, model=""):
    """Return a page that shows the emotions of recordings over time."""
    recordings = [
        _view_of_turns(each) if isinstance(each, EmotionTurns) else _view(each)
        for each in timelines
    ]
    options = {"title": "Emotions over time", "recordings": recordings, "model": model}
    return render("timeline/timeline.html", **options)


def _times(start, end):
    return [clock(time) for time in np.linspace(start, end, 5)]


# --- pictures are 1000 wide and 1000 high -------------------------------------------


def _view(timeline):
    """Return what the template shows of a timeline."""
    edges, n_windows = timeline.edges, len(timeline.starts)
    seconds = timeline.ends[0] - timeline.starts[0]
    colours = colours_of(timeline.classes)
    shares, means = timeline.shares, timeline.mean_probabilities
    lane = {
        "speaker": None,
        "spans": _spans(timeline, colours),
        "areas": _areas(timeline, colours),
        "overlaps": [],
    }
    return {
        "name": timeline.name,
        "what": f"{told_times(timeline)} in {n_windows} window(s) of {seconds:.3g} s",
        "lanes": [lane],
        "times": _times(edges[0], edges[-1]),
        "emotions": [
            (timeline.classes[i], colours[i], shares[i], means[i])
            for i in np.argsort(-shares, kind="stable")
        ],
    }


def _spans(timeline, colours):
    """Return start, width and colour of each run of the same most probable emotion."""
    edges, best = timeline.edges, timeline.probabilities.argmax(axis=1)
    first = np.flatnonzero(np.r_[True, best[1:] != best[:-1]])
    x = 1000 * (np.r_[edges[first], edges[-1]] - edges[0]) / (edges[-1] - edges[0])
    fills = [colours[i] for i in best[first]]
    return list(zip(x[:-1], np.diff(x), fills, strict=True))


def _areas(timeline, colours):
    """Return path and colour of each emotion's area, the largest area first."""
    edges, P = timeline.edges, timeline.probabilities
    times = (edges[:-1] + edges[1:]) / 2
    groups = np.array_split(np.arange(len(P)), min(len(P), _POINTS))
    x = np.array([times[g].mean() for g in groups])
    x = 1000 * (np.r_[edges[0], x, edges[-1]] - edges[0]) / (edges[-1] - edges[0])
    means = np.array([P[g].mean(axis=0) for g in groups])
    tops = 1000 * (1 - np.cumsum(means, axis=1))[np.r_[0, : len(means), -1]]
    areas = []
    for top, colour in zip(tops.T[::-1], colours[::-1], strict=True):
        points = " ".join(f"{a:.1f},{b:.0f}" for a, b in zip(x, top, strict=True))
        areas.append((f"M0,1000 L{points} L1000,1000Z", colour))
    return areas


def _view_of_turns(turns):
    """Return what the template shows of turns: a lane for each speaker."""
    colours, end = colours_of(turns.classes), turns.ends.max()
    overlaps = find_overlaps(turns.starts, turns.ends, turns.speakers)
    lanes = []
    for who, lane in turns.lanes.items():
        x, widths = 1000 * lane.starts / end, 1000 * (lane.ends - lane.starts) / end
        known, best = lane.known, lane.probabilities.argmax(axis=1)
        fills = np.where(known, np.array(colours)[best], _GREY)
        columns = x[known], widths[known], lane.probabilities[known]
        lanes.append(
            {
                "speaker": who,
                "turns": lane,
                "length": clock((lane.ends - lane.starts).sum()),
                "spans": list(zip(x, widths, fills, strict=True)),
                "areas": _columns(*columns, colours),
                "overlaps": [
                    (1000 * low / end, 1000 * (high - low) / end)
                    for i in np.flatnonzero(turns.speakers == who)
                    for low, high in overlaps[i]
                ],
            }
        )
    return {
        "name": turns.name,
        "what": told_turns(turns),
        "lanes": lanes,
        "times": _times(0, end),
        "emotions": list(zip(turns.classes, colours, strict=True)),
        "remarks": turns.remarks,
    }


def _columns(x, widths, P, colours):
    """Return path and colour of each emotion's columns, from the top down.

    A column ends soon below its own part, where the next one covers it: drawn over the
    whole of another one, it would mix with its colour at the edges.
    """
    tops = 1000 * (1 - np.cumsum(P, axis=1))
    ends = np.minimum(1000, tops + 1000 * P + 10)
    areas = []
    for i, colour in reversed([*enumerate(colours)]):
        corners = zip(x, widths, tops[:, i], ends[:, i], strict=True)
        path = " ".join(
            f"M{a:.2f},{top:.0f}h{w:.2f}V{low:.0f}h-{w:.2f}z"
            for a, w, top, low in corners
        )
        areas.append((path, colour))
    return areas
