"""The losses and scores of a training by epoch."""

from sklearn.utils.validation import check_is_fitted

from ..pipeline import flat_steps, training_history
from ._axes import axes_of


class HistoryDisplay:
    """Every loss term of a training, and the validation score, by epoch.

    Use :meth:`from_estimator`; the arguments are stored as attributes.

    Parameters
    ----------
    terms : dict of str to list of float
        Each recorded value by epoch, under its name in the history.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that holds the plot.
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
        ax : array-like of matplotlib Axes, default=None
            Axes to draw in, one for each term; None makes a new figure.

        Returns
        -------
        display : HistoryDisplay
            The display, drawn.

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

    def plot(self, *, ax=None):
        """Draw the display.

        Parameters
        ----------
        ax : array-like of matplotlib Axes, default=None
            Axes to draw in, one for each term; None makes a new figure.

        Returns
        -------
        display : HistoryDisplay
            The display itself.
        """
        shape, size = (1, len(self.terms)), (2.8, 2.6)
        self.figure_, axes = axes_of(self, ax, shape, size)
        self.axes_, self.lines_ = axes[0], []
        for axis, (name, values) in zip(self.axes_, self.terms.items(), strict=True):
            epochs = range(1, len(values) + 1)
            self.lines_ += axis.plot(epochs, values, marker="." * (len(values) < 3))
            axis.set(title=name.replace("_", " "), xlabel="epoch")
        return self
