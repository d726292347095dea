"""Displays of trained models: the course of the training, the embeddings."""

from inspect import signature

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
)

from ..pipeline import embed, flat_steps, training_history
from ._axes import AS_IT_IS, Display, add_legend, axes_of, shared_help


@shared_help
class HistoryDisplay(Display):
    """Every loss term of a training, and the validation score, by epoch.

    Use :meth:`from_estimator`; the arguments are stored as attributes.

    Parameters
    ----------
    terms : dict of str to list of float
        Each recorded value by epoch, under its name in the history.

    Attributes
    ----------
    {figure}
    axes_ : ndarray of Axes of shape (n_terms,)
        One for each term, because terms differ by orders of magnitude.
    lines_ : list of matplotlib Line2D
        The curves.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn_ser import DSNetClassifier
    >>> from sklearn_ser.datasets import make_emotional_speech
    >>> from sklearn_ser.inspection import HistoryDisplay
    >>> from sklearn_ser import LogMelTransformer
    >>> corpus = make_emotional_speech(n_speakers=2, n_utterances=2, random_state=0)
    >>> Z = LogMelTransformer(n_mels=20).transform(corpus.data)
    >>> model = DSNetClassifier(max_epochs=2, random_state=0)
    >>> model = model.fit(Z, corpus.target, speakers=corpus.speakers)
    >>> display = HistoryDisplay.from_estimator(model)
    >>> list(display.terms)
    ['loss', 'task', 'calibration', 'orthogonality', 'reconstruction']
    >>> plt.close(display.figure_)
    """

    def __init__(self, terms):
        self.terms = terms

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Draw the training of a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            A fitted classifier of this library, a pipeline or a search with one.
        {drawn}

        Raises
        ------
        TypeError
            If the estimator records no history.
        NotFittedError
            If the estimator is not fitted.
        """
        model = flat_steps(estimator)[-1]
        if not hasattr(type(model), "embed"):
            raise TypeError(
                f"estimator is a {type(model).__name__}, expected a classifier of "
                "sklearn_ser, or a pipeline that ends in one."
            )
        check_is_fitted(model)
        history = training_history(model)
        names = [name for name in history[-1] if name != "epoch"]
        names.sort(key=lambda name: name != "train_loss")  # the sum comes first
        terms = {
            name.removeprefix("train_"): [epoch[name] for epoch in history]
            for name in names
        }
        return cls(terms).plot(ax=ax)

    def _draw(self, ax):
        shape, size = (1, len(self.terms)), (2.8, 2.6)
        self.figure_, axes = axes_of(self, ax, shape, size)
        self.axes_, self.lines_ = axes[0], []
        for axis, (name, values) in zip(self.axes_, self.terms.items(), strict=True):
            epochs = range(1, len(values) + 1)
            self.lines_ += axis.plot(epochs, values, marker="." * (len(values) < 3))
            axis.set_title(name.replace("_", " "), **AS_IT_IS)
            axis.set_xlabel("epoch")


@shared_help
class EmbeddingDisplay(Display):
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
    {figure}
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
        {drawn}
        """
        Z = embed(estimator, X, speakers=speakers)
        embeddings = {"embedding": Z}
        if "subspace" in signature(flat_steps(estimator)[-1].embed).parameters:
            other = embed(estimator, X, speakers=speakers, subspace="irrelevant")
            embeddings = {"r (relevant)": Z, "u (irrelevant)": other}
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
        {drawn}
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

    def _draw(self, ax):
        shape = len(self.points), 2
        self.figure_, self.axes_ = axes_of(self, ax, shape, (5.0, 3.2))
        for row, (name, Z) in zip(self.axes_, self.points.items(), strict=True):
            columns = ("emotion", self.emotions), ("speaker", self.speakers)
            for axis, (kind, labels) in zip(row, columns, strict=True):
                names = np.unique(labels)
                points = [
                    axis.scatter(*Z[labels == label].T, s=14, alpha=0.8)
                    for label in names
                ]
                axis.set(xticks=[], yticks=[])
                axis.set_title(f"{name}, by {kind}", **AS_IT_IS)
                place = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
                add_legend(axis, points, names, fontsize="small", **place)
