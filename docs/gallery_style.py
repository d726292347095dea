"""How the figures of the gallery look: large enough to be read as a thumbnail."""

import matplotlib.pyplot as plt

STYLE = {
    "axes.grid": True,
    "axes.prop_cycle": plt.cycler(
        color=["#1c5d8a", "#d9722e", "#3a8f6b", "#8a4f9e", "#c2a12f", "#6b7480"]
    ),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 15,
    "axes.titleweight": "bold",
    "figure.figsize": (7.0, 4.9),
    "font.size": 14,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.linewidth": 2.5,
    "lines.markersize": 9,
    "savefig.dpi": 120,
}


def reset(gallery_conf, script):
    """Apply the style before each script; sphinx-gallery calls this."""
    plt.rcParams.update(STYLE)
