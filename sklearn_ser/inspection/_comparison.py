"""The methods of a comparison: each speaker, and the differences."""

import numpy as np

from ..model_selection._comparison import printable
from ._axes import Display, axes_of


class ComparisonDisplay(Display):
    """UAR of each speaker, beside the differences to the reference.

    On the left, a dot is a speaker, and the bar is the figure of the method. On the
    right, a line is the interval of a difference, and an open dot is the reference. A
    new figure has the width of one column of a paper.

    Use :meth:`from_result`; the arguments are stored as attributes.

    Parameters
    ----------
    rows : sequence of Row
        The rows of a :class:`~sklearn_ser.model_selection.Comparison`.
    per_speaker : dict of str to dict of speaker to float
        The UAR of each speaker, by method.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that holds the plot.
    axes_ : ndarray of Axes of shape (2,)
        The speakers on the left, the differences on the right.

    See Also
    --------
    sklearn_ser.model_selection.compare : Compare methods.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_ser.inspection import ComparisonDisplay
    >>> from sklearn_ser.model_selection import compare
    >>> y, speakers = np.tile(["angry", "sad"], 8), np.repeat(list("abcd"), 4)
    >>> methods = {"guess": DummyClassifier(strategy="prior"), "bayes": GaussianNB()}
    >>> comparison = compare(methods, (y == "sad")[:, None], y, speakers)
    >>> display = ComparisonDisplay.from_result(comparison)
    >>> display.per_speaker["bayes"]["a"]
    1.0
    >>> plt.close(display.figure_)
    """

    def __init__(self, rows, *, per_speaker):
        self.rows = rows
        self.per_speaker = per_speaker

    @classmethod
    def from_result(cls, result, *, ax=None):
        """Draw a comparison.

        Parameters
        ----------
        result : Comparison
            The result of :func:`~sklearn_ser.model_selection.compare`.
        ax : array-like of two matplotlib Axes, default=None
            Axes to draw in; None makes a new figure.

        Returns
        -------
        display : ComparisonDisplay
            The display, drawn.
        """
        return cls(result.rows, per_speaker=result.per_speaker()).plot(ax=ax)

    def _draw(self, ax):
        lines = list(self._lines())
        high = 0.75 + 0.22 * len(lines)
        self.figure_, axes = axes_of(self, ax, (1, 2), (1.75, high))
        self.axes_ = left, right = axes[0]
        for place, (_, row) in enumerate(lines):
            if row is not None:
                self._draw_row(place, row)
        right.axvline(0, color="0.6", linewidth=0.8, zorder=0)
        for axis, label in (left, "UAR (%)"), (right, "difference"):
            axis.set_ylim(len(lines) - 0.4, -0.6)
            axis.set_xlabel(label, fontsize=8)
            axis.tick_params(labelsize=8)
            axis.grid(axis="x", color="0.9", linewidth=0.6)
            axis.set_axisbelow(True)
            axis.spines[["top", "right", "left"]].set_visible(False)
        left.set_yticks(range(len(lines)), [text for text, _ in lines])
        right.set_yticks(range(len(lines)), [""] * len(lines))
        for axis in self.axes_:
            axis.tick_params(axis="y", length=0)
        for tick, (_, row) in zip(left.get_yticklabels(), lines, strict=True):
            tick.set_parse_math(False)
            tick.set_fontstyle("italic" if row is None else "normal")

    def _lines(self):
        """Yield the name and the row of each line; a line for each of several kinds."""
        kinds = dict.fromkeys(row.kind for row in self.rows)
        for kind in kinds:
            if len(kinds) > 1:
                yield kind, None
            for row in self.rows:
                if row.kind == kind:
                    yield printable(row.label), row

    def _draw_row(self, place, row):
        left, right = self.axes_
        uars = 100 * np.array(list(self.per_speaker[row.method].values()))
        dots = {"s": 12, "alpha": 0.5, "linewidths": 0, "color": "C0"}
        left.scatter(uars, np.full(len(uars), place), **dots)
        left.plot([100 * row.uar], [place], "|", color="k", markersize=9)
        if row.wins is None:
            right.plot([0], [place], "o", color="k", markersize=4, fillstyle="none")
            return
        low, high = row.difference_interval
        right.plot([100 * low, 100 * high], [place, place], color="k", linewidth=1)
        right.plot([100 * row.difference], [place], "o", color="k", markersize=4)
