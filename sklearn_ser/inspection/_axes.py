"""What the displays share: help, axes, maps of percentages, names shown as they are."""

import inspect

import numpy as np

from .._sklearn import check_matplotlib_support

# Of text with names of users, in which $ is no formula.
AS_IT_IS = {"parse_math": False}

# What stands in the docstrings of several displays, by its marker in them.
_PARAGRAPHS = {
    "{figure}": """\
figure_ : matplotlib Figure
    The figure that holds the plot.""",
    "{figure and axes}": """\
figure_ : matplotlib Figure
    The figure that holds the plot.
ax_ : matplotlib Axes
    The axes that hold the plot.""",
    "{drawn}": """\
ax : matplotlib Axes or array-like of these, default=None
    Axes to draw in, as many as the display has; None makes a new figure.

Returns
-------
display : {name}
    The display, drawn.""",
}


def shared_help(cls):
    """Fill in the markers of a display's docstrings, which lose their indentation."""
    methods = [m.__func__ for m in vars(cls).values() if isinstance(m, classmethod)]
    for documented in (cls, *methods):
        if documented.__doc__:
            doc = inspect.cleandoc(documented.__doc__) + "\n"
            for marker, text in _PARAGRAPHS.items():
                doc = doc.replace(marker, text)
            documented.__doc__ = doc.replace("{name}", cls.__name__)
    return cls


class Display:
    """A picture that `plot` draws. Subclasses draw in `_draw`."""

    def plot(self, *, ax=None):
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of these, default=None
            Axes to draw in, as many as the display has; None makes a new figure.

        Returns
        -------
        display : object
            The display itself.
        """
        self._draw(ax)
        return self


def axes_of(display, ax, shape=(1, 1), size=(5.0, 4.0)):
    """Return the figure and axes to draw in, those of the caller or new ones.

    `shape` is the rows and columns of axes, and `size` is that of each, in inches.
    """
    check_matplotlib_support(f"{type(display).__name__}.plot")
    import matplotlib.pyplot as plt

    if ax is None:
        wide, high = shape[1] * size[0], shape[0] * size[1]
        figure, axes = plt.subplots(
            *shape, figsize=(wide, high), squeeze=False, layout="constrained"
        )
        return figure, axes
    axes = np.array(ax, dtype=object).reshape(-1)
    if len(axes) != shape[0] * shape[1]:
        raise ValueError(f"ax must hold {shape[0] * shape[1]} axes, got {len(axes)}.")
    return axes[0].figure, axes.reshape(shape)


def percent_map(ax, values, rows, columns, *, missing="", vmin=0.0, vmax=1.0):
    """Draw shares as a map of percentages, with the number in each cell.

    NaN is left blank, with the text `missing`. `vmin` and `vmax` are the values at the
    ends of the colour map.
    """
    image = ax.imshow(values, cmap="Blues", vmin=vmin, vmax=vmax, aspect="auto")
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right", **AS_IT_IS)
    ax.set_yticks(range(len(rows)), rows, **AS_IT_IS)
    for (i, j), value in np.ndenumerate(values):
        known = np.isfinite(value)
        dark = known and value > (vmin + vmax) / 2
        text = f"{100 * value:.0f}" if known else missing
        ax.text(j, i, text, ha="center", va="center", color="w" if dark else "k")
    return image


def add_legend(ax, handles, names, **options):
    """Add a legend that shows every name, also one like "_a" or "$5"."""
    places = [str(place) for place in range(len(handles))]
    legend = ax.legend(handles, places, **options)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=str(name), **AS_IT_IS)
