"""Displays of evaluations: recall by speaker, UAR of transfers, compared methods."""

import numpy as np

from ..metrics._bootstrap import confusion_uar, speaker_confusions
from ..model_selection import cross_corpus_validate
from ..model_selection._comparison import printable
from ._axes import AS_IT_IS, Display, axes_of, percent_map, shared_help


@shared_help
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
    {figure}
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
        {drawn}
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
        {drawn}
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


@shared_help
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
    {figure and axes}
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
        {drawn}
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


@shared_help
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
    {figure}
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
        {drawn}
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
