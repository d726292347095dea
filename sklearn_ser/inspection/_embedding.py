"""Embeddings in two dimensions, by emotion and by speaker."""

from inspect import signature

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_array, check_consistent_length

from ..pipeline import embed, flat_steps
from ._axes import axes_of


class EmbeddingDisplay:
    """Embeddings in two dimensions, coloured by emotion and by speaker.

    Use :meth:`from_estimator` or :meth:`from_embeddings`; the arguments are stored as
    attributes.

    Parameters
    ----------
    points : dict of str to ndarray of shape (n_samples, 2)
        Coordinates of each embedding. Each embedding gets a row of panels.
    emotions, speakers : ndarray of shape (n_samples,)
        The labels that colour the points, left and right.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that holds the plot.
    axes_ : ndarray of Axes of shape (n_embeddings, 2)
        One column by emotion, one by speaker.

    See Also
    --------
    sklearn_ser.metrics.speaker_probe_score : How well a probe reads the speaker.

    Notes
    -----
    The axes are the first two principal components. Points that look mixed there may be
    apart in the other components.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from sklearn_ser.inspection import EmbeddingDisplay
    >>> Z = np.random.default_rng(0).normal(size=(8, 16))
    >>> emotions, speakers = ["anger", "sadness"] * 4, np.repeat(["ann", "bob"], 4)
    >>> display = EmbeddingDisplay.from_embeddings({"v": Z}, emotions, speakers)
    >>> plt.close(display.figure_)
    """

    def __init__(self, points, *, emotions, speakers):
        self.points = points
        self.emotions = emotions
        self.speakers = speakers

    @classmethod
    def from_estimator(cls, estimator, X, y, speakers, *, ax=None):
        """Draw the embeddings of recordings by a fitted classifier.

        DSNet has two embeddings, in two rows: the emotion-relevant r and the irrelevant
        u.

        Parameters
        ----------
        estimator : estimator
            A fitted classifier of this library, a pipeline or a search with one.
        X : recordings or sequences
            The input of its ``predict``.
        y : array-like of shape (n_samples,)
            The emotions.
        speakers : array-like of shape (n_samples,)
            The speakers. Steps that request the speakers get them.
        ax : array-like of matplotlib Axes, default=None
            Axes to draw in, two for each embedding; None makes a new figure.

        Returns
        -------
        display : EmbeddingDisplay
            The display, drawn.
        """
        method = getattr(flat_steps(estimator)[-1], "embed", None)
        if method is not None and "subspace" in signature(method).parameters:
            embeddings = {
                "r (relevant)": embed(estimator, X, speakers=speakers),
                "u (irrelevant)": embed(
                    estimator, X, speakers=speakers, subspace="irrelevant"
                ),
            }
        else:
            embeddings = {"embedding": embed(estimator, X, speakers=speakers)}
        return cls.from_embeddings(embeddings, y, speakers, ax=ax)

    @classmethod
    def from_embeddings(cls, embeddings, y, speakers, *, ax=None):
        """Draw embeddings.

        Parameters
        ----------
        embeddings : array-like of shape (n_samples, n_features) or dict of these
            One embedding, or several embeddings with names.
        y : array-like of shape (n_samples,)
            The emotions.
        speakers : array-like of shape (n_samples,)
            The speakers.
        ax : array-like of matplotlib Axes, default=None
            Axes to draw in, two for each embedding; None makes a new figure.

        Returns
        -------
        display : EmbeddingDisplay
            The display, drawn.
        """
        if not isinstance(embeddings, dict):
            embeddings = {"embedding": embeddings}
        points = {}
        for name, Z in embeddings.items():
            Z = check_array(Z, ensure_min_samples=2, ensure_min_features=2)
            check_consistent_length(Z, y, speakers)
            with np.errstate(invalid="ignore"):  # all embeddings may be equal
                points[name] = PCA(2, svd_solver="full").fit_transform(Z)
        emotions, speakers = np.asarray(y), np.asarray(speakers)
        return cls(points, emotions=emotions, speakers=speakers).plot(ax=ax)

    def plot(self, *, ax=None):
        """Draw the display.

        Parameters
        ----------
        ax : array-like of matplotlib Axes, default=None
            Axes to draw in, two for each embedding; None makes a new figure.

        Returns
        -------
        display : EmbeddingDisplay
            The display itself.
        """
        shape = len(self.points), 2
        self.figure_, self.axes_ = axes_of(self, ax, shape, (5.0, 3.2))
        for row, (name, Z) in zip(self.axes_, self.points.items(), strict=True):
            columns = ("emotion", self.emotions), ("speaker", self.speakers)
            for axis, (kind, labels) in zip(row, columns, strict=True):
                for label in np.unique(labels):
                    axis.scatter(
                        *Z[labels == label].T, s=14, alpha=0.8, label=str(label)
                    )
                axis.set(title=f"{name}, by {kind}", xticks=[], yticks=[])
                axis.legend(
                    fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5)
                )
        return self
