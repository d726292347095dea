"""The page of HTML that shows timelines, of windows or of turns."""

import numpy as np

from .._html import render
from .turns import EmotionTurns, find_overlaps, told_turns
from .windows import clock, colours_of, told_times

_POINTS = 1000  # of a picture: more are averaged, since no screen shows them
_GREY = "#8886"  # of a turn that is too short


def timeline_page(timelines, model=""):
    """Return a page that shows the emotions of recordings over time."""
    views = {True: _view_of_turns, False: _view}
    recordings = [views[isinstance(each, EmotionTurns)](each) for each in timelines]
    title = "Emotions over time"
    return render(
        "timeline/timeline.html", title=title, recordings=recordings, model=model
    )


def _view(timeline):
    """Return what the template shows of a timeline."""
    edges, n_windows = timeline.edges, len(timeline.starts)
    seconds = timeline.ends[0] - timeline.starts[0]
    colours = colours_of(timeline.classes)
    return {
        "name": timeline.name,
        "what": f"{told_times(timeline)} in {n_windows} window(s) of {seconds:.3g} s",
        "lanes": [
            {
                "speaker": None,
                "spans": _spans(timeline, colours),
                "areas": _areas(timeline, colours),
                "overlaps": [],
            }
        ],
        "times": _times(edges[0], edges[-1]),
        "emotions": [
            {
                "name": timeline.classes[i],
                "colour": colours[i],
                "share": timeline.shares[i],
                "mean": timeline.mean_probabilities[i],
            }
            for i in np.argsort(-timeline.shares, kind="stable")
        ],
        "remarks": [],
    }


def _view_of_turns(turns):
    """Return what the template shows of turns: a lane for each speaker."""
    colours, end = colours_of(turns.classes), turns.ends.max()
    spans = find_overlaps(turns.starts, turns.ends, turns.speakers)
    lanes = [
        {
            "speaker": who,
            "n_turns": len(lane.starts),
            "length": clock((lane.ends - lane.starts).sum()),
            "kind": lane.kinds[0],
            "shares": lane.shares,
            "spans": _spans_of_turns(lane, colours, end),
            "areas": _areas_of_turns(lane, colours, end),
            "overlaps": [
                (1000 * low / end, 1000 * (high - low) / end)
                for i in np.flatnonzero(turns.speakers == who)
                for low, high in spans[i]
            ],
        }
        for who, lane in turns.lanes.items()
    ]
    return {
        "name": turns.name,
        "what": told_turns(turns),
        "lanes": lanes,
        "times": _times(0, end),
        "emotions": [
            {"name": name, "colour": colour}
            for name, colour in zip(turns.classes, colours, strict=True)
        ],
        "remarks": turns.remarks,
    }


def _times(start, end):
    return [clock(time) for time in np.linspace(start, end, 5)]


def _spans_of_turns(lane, colours, end):
    """Return start, width and colour of each turn, on a scale of 1000."""
    best = lane.probabilities.argmax(axis=1)
    return [
        (
            1000 * start / end,
            1000 * (stop - start) / end,
            colours[i] if known else _GREY,
        )
        for start, stop, i, known in zip(
            lane.starts, lane.ends, best, lane.known, strict=True
        )
    ]


def _areas_of_turns(lane, colours, end):
    """Return the path and the colour of each emotion's columns, from the top down.

    A column ends soon below its own part, where the next one covers it: drawn over the
    whole of another one, it would mix with its colour at the edges.
    """
    rows = lane.known
    x, width = (
        1000 * lane.starts[rows] / end,
        1000 * (lane.ends - lane.starts)[rows] / end,
    )
    P = lane.probabilities[rows]
    tops = 1000 * (1 - np.cumsum(P, axis=1))
    ends = np.minimum(1000, tops + 1000 * P + 10)
    return [
        (
            " ".join(
                f"M{a:.2f},{top:.0f}h{w:.2f}V{low:.0f}h-{w:.2f}z"
                for a, w, top, low in zip(x, width, tops[:, i], ends[:, i], strict=True)
            ),
            colour,
        )
        for i, colour in reversed([*enumerate(colours)])
    ]


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
        (f"M0,1000 L{_points(x, tops[:, i])} L1000,1000Z", colour)
        for i, colour in reversed([*enumerate(colours)])
    ]


def _points(x, y):
    return " ".join(f"{a:.1f},{b:.0f}" for a, b in zip(x, y, strict=True))
