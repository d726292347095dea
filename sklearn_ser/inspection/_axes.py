"""Helpers that the displays share."""

import numpy as np

from .._sklearn import check_matplotlib_support


def axes_of(display, ax, shape=(1, 1), size=(5.0, 4.0)):
    """Return the figure and axes to draw in, those of the caller or new ones.

    Parameters
    ----------
    display : object
        The display, which the message names if matplotlib is missing.
    ax : matplotlib Axes, array-like of Axes, or None
        The axes of the caller.
    shape : (int, int)
        Rows and columns of axes.
    size : (float, float)
        Width and height of each, in inches.

    Returns
    -------
    figure : matplotlib Figure
    axes : ndarray of Axes, of that shape
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

    Parameters
    ----------
    ax : matplotlib Axes
        The axes to draw in.
    values : ndarray of shape (n_rows, n_columns)
        Between 0 and 1; NaN is left blank.
    rows, columns : list of str
        Names at the axes.
    missing : str
        The text of blank cells.
    vmin, vmax : float
        The values at the ends of the colour map.

    Returns
    -------
    image : matplotlib AxesImage
    """
    image = ax.imshow(values, cmap="Blues", vmin=vmin, vmax=vmax, aspect="auto")
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    ax.set_yticks(range(len(rows)), rows)
    for (i, j), value in np.ndenumerate(values):
        known = np.isfinite(value)
        dark = known and value > (vmin + vmax) / 2
        text = f"{100 * value:.0f}" if known else missing
        ax.text(j, i, text, ha="center", va="center", color="w" if dark else "k")
    return image
