"""Displays of evaluations: the recall by speaker, the UAR of transfers."""

import numpy as np

from ..metrics._bootstrap import confusion_uar, speaker_confusions
from ..model_selection import cross_corpus_validate
from ._axes import AS_IT_IS, Display, axes_of, percent_map


class SpeakerRecallDisplay(Display):
    """Recall by speaker and emotion, beside the confusion matrix.

    Use :meth:`from_predictions` or :meth:`from_result`; the arguments are stored as
    attributes.

    Parameters
    ----------
    confusions : ndarray of shape (n_speakers, n_classes, n_classes)
        Counts of each speaker. Rows are true classes, and columns are predicted
        classes.
    speakers : ndarray of shape (n_speakers,)
        The names of the speakers.
    classes : ndarray of shape (n_classes,)
        The emotions.

    Attributes
    ----------
    recall : ndarray of shape (n_speakers, n_classes)
        Recall of each emotion for each speaker. It is NaN if the speaker has no
        utterance of the emotion.
    figure_ : matplotlib Figure
        The figure that holds the plot.
    axes_ : ndarray of Axes of shape (2,)
        The recall on the left, the confusion matrix on the right.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn_ser.inspection import SpeakerRecallDisplay
    >>> y_true, y_pred = ["anger", "sadness"] * 2, ["anger", "anger"] * 2
    >>> speakers = ["ann", "ann", "bob", "bob"]
    >>> display = SpeakerRecallDisplay.from_predictions(y_true, y_pred, speakers)
    >>> display.recall
    array([[1., 0.],
           [1., 0.]])
    >>> plt.close(display.figure_)
    """

    def __init__(self, confusions, *, speakers, classes):
        self.confusions = confusions
        self.speakers = speakers
        self.classes = classes

    @property
    def recall(self):
        """Recall of each emotion for each speaker."""
        hits = np.diagonal(self.confusions, axis1=1, axis2=2)
        return _shares(hits, self.confusions.sum(axis=2))

    @classmethod
    def from_predictions(cls, y_true, y_pred, speakers, *, ax=None):
        """Draw predictions.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n_samples,)
            True and predicted emotions.
        speakers : array-like of shape (n_samples,)
            The speaker of each row.
        ax : array-like of two matplotlib Axes, default=None
            Axes to draw in; None makes a new figure.

        Returns
        -------
        display : SpeakerRecallDisplay
            The display, drawn.
        """
        classes = np.unique(np.concatenate([np.asarray(y_true), np.asarray(y_pred)]))
        names, counts = speaker_confusions(y_true, y_pred, speakers, classes)
        return cls(counts, speakers=names, classes=classes).plot(ax=ax)

    @classmethod
    def from_result(cls, result, *, ax=None):
        """Draw the out-of-fold predictions of a cross-validation by speaker.

        Parameters
        ----------
        result : SpeakerCVResult
            The result of :func:`~sklearn_ser.model_selection.speaker_cross_validate`.
        ax : array-like of two matplotlib Axes, default=None
            Axes to draw in; None makes a new figure.

        Returns
        -------
        display : SpeakerRecallDisplay
            The display, drawn.
        """
        return cls.from_predictions(
            result.y_true, result.predictions, result.speakers, ax=ax
        )

    def _draw(self, ax):
        high = max(3.6, 1.4 + 0.3 * len(self.speakers))
        self.figure_, axes = axes_of(self, ax, (1, 2), (5.0, high))
        self.axes_ = axes[0]
        classes = [str(name) for name in self.classes]
        uars = confusion_uar(self.confusions)
        rows = [
            f"{speaker} ({100 * uar:.0f})"
            for speaker, uar in zip(self.speakers, uars, strict=True)
        ]
        percent_map(self.axes_[0], self.recall, rows, classes)
        self.axes_[0].set(title="recall (%) by speaker (UAR)", xlabel="true emotion")
        pooled = self.confusions.sum(axis=0)
        share = _shares(pooled, pooled.sum(axis=1, keepdims=True))
        percent_map(self.axes_[1], share, classes, classes)
        self.axes_[1].set(title="confusion (%)", xlabel="predicted", ylabel="true")


def _shares(counts, support):
    shares = np.full(counts.shape, np.nan)
    return np.divide(counts, support, shares, where=support > 0)


class TransferMatrixDisplay(Display):
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

    def _draw(self, ax):
        sources = list(self.table)
        targets = sorted({target for row in self.table.values() for target in row})
        values = np.array(
            [[self.table[s].get(t, np.nan) for t in targets] for s in sources]
        )
        size = 1.8 + 0.8 * len(targets), 1.2 + 0.6 * len(sources)
        self.figure_, ((self.ax_,),) = axes_of(self, ax, size=size)
        self.image_ = percent_map(self.ax_, values, sources, targets, missing="-")
        self.ax_.set(xlabel="target", ylabel="source")
        self.ax_.set_title(self.title, **AS_IT_IS)
