"""The UAR of transfers between corpora."""

import numpy as np

from ..model_selection import cross_corpus_validate
from ._axes import axes_of, percent_map


class TransferMatrixDisplay:
    """UAR of each transfer: a row for each source, a column for each target.

    Use :meth:`from_result` or :meth:`from_estimator`; the arguments are stored as
    attributes.

    Parameters
    ----------
    table : dict of str to dict of str to float
        ``table[source][target]``, between 0 and 1.
    title : str, default=""
        The title of the plot.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that holds the plot.
    ax_ : matplotlib Axes
        The axes that hold the matrix.
    image_ : matplotlib AxesImage
        The matrix.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_ser.inspection import TransferMatrixDisplay
    >>> y = np.tile(["angry", "sad"], 8)
    >>> X = (y == "sad")[:, None]
    >>> corpora = np.repeat(["emodb", "emovo"], 8)
    >>> speakers = np.tile(np.repeat(["ann", "bob"], 4), 2)
    >>> display = TransferMatrixDisplay.from_estimator(
    ...     LogisticRegression(), X, y, corpora, speakers
    ... )
    >>> display.table["emodb"]["emovo"]
    1.0
    >>> plt.close(display.figure_)
    """

    def __init__(self, table, *, title=""):
        self.table = table
        self.title = title

    @classmethod
    def from_result(cls, result, *, ax=None):
        """Draw an evaluation across corpora.

        Parameters
        ----------
        result : CrossCorpusResult
            The result of :func:`~sklearn_ser.model_selection.cross_corpus_validate`.
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes a new figure.

        Returns
        -------
        display : TransferMatrixDisplay
            The display, drawn.
        """
        title = f"UAR (%), {result.protocol}, mean {100 * result.uar:.1f}"
        return cls(result.table(), title=title).plot(ax=ax)

    @classmethod
    def from_estimator(cls, estimator, X, y, corpora, speakers, *, ax=None, **params):
        """Evaluate an estimator across corpora, and draw its UAR.

        Parameters
        ----------
        estimator : estimator
            A classifier, a pipeline or a search.
        X : list or array-like of length n_samples
            Recordings, sequences or features.
        y : array-like of shape (n_samples,)
            The emotions.
        corpora : array-like of shape (n_samples,)
            The corpus of each row.
        speakers : array-like of shape (n_samples,)
            The speaker of each row.
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes a new figure.
        **params : dict
            Passed to :func:`~sklearn_ser.model_selection.cross_corpus_validate`.

        Returns
        -------
        display : TransferMatrixDisplay
            The display, drawn.
        """
        result = cross_corpus_validate(estimator, X, y, corpora, speakers, **params)
        return cls.from_result(result, ax=ax)

    def plot(self, *, ax=None):
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes a new figure.

        Returns
        -------
        display : TransferMatrixDisplay
            The display itself.
        """
        sources = list(self.table)
        targets = sorted({target for row in self.table.values() for target in row})
        values = np.array(
            [[self.table[s].get(t, np.nan) for t in targets] for s in sources]
        )
        size = 1.8 + 0.8 * len(targets), 1.2 + 0.6 * len(sources)
        self.figure_, ((self.ax_,),) = axes_of(self, ax, size=size)
        self.image_ = percent_map(self.ax_, values, sources, targets, missing="-")
        self.ax_.set(title=self.title, xlabel="target", ylabel="source")
        return self
