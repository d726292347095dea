"""Displays of recordings: the log-mel spectrogram, the emotions over time."""

import os

import numpy as np

from ..features import LogMelTransformer
from ..pipeline import flat_steps, transform
from ..timeline import emotion_timeline
from ..timeline.windows import COLOURS, clock
from ._axes import AS_IT_IS, Display, add_legend, axes_of


class LogMelDisplay(Display):
    """Log-mel spectrogram of one recording.

    Use :meth:`from_estimator`; the arguments are stored as attributes.

    Parameters
    ----------
    log_mel : ndarray of shape (n_mels, n_frames)
        Decibels.
    frequencies : ndarray of shape (n_mels,)
        Centres of the bands, in Hz.
    hop : float
        Seconds between the starts of two neighbouring frames.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that holds the plot.
    ax_ : matplotlib Axes
        The axes that hold the spectrogram.
    image_ : matplotlib QuadMesh
        The spectrogram.

    See Also
    --------
    sklearn_ser.LogMelTransformer : Compute log-mel spectrograms.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn_ser import LogMelTransformer
    >>> from sklearn_ser.datasets import make_emotional_speech
    >>> from sklearn_ser.inspection import LogMelDisplay
    >>> corpus = make_emotional_speech(n_speakers=1, n_utterances=1, random_state=0)
    >>> display = LogMelDisplay.from_estimator(LogMelTransformer(), corpus.data[0])
    >>> plt.close(display.figure_)
    """

    def __init__(self, log_mel, *, frequencies, hop):
        self.log_mel = log_mel
        self.frequencies = frequencies
        self.hop = hop

    @classmethod
    def from_estimator(cls, estimator, recording, *, ax=None):
        """Draw the spectrogram that a transformer computes, alone or in a pipeline.

        Parameters
        ----------
        estimator : LogMelTransformer, Pipeline or search
            The transformer, alone or in a pipeline. Steps before it transform the
            recording first, so they must be fitted if they need a fit.
        recording : str, PathLike, ndarray of shape (n_times,) or mapping
            One recording.
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes a new figure.

        Returns
        -------
        display : LogMelDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no `LogMelTransformer`.
        """
        steps = flat_steps(estimator)
        is_mel = [isinstance(step, LogMelTransformer) for step in steps]
        if not any(is_mel):
            raise TypeError(
                "estimator must be a LogMelTransformer or a pipeline with one, got "
                f"{type(estimator).__name__}."
            )
        import librosa

        position = is_mel.index(True)
        mel, front = steps[position], steps[:position]
        recordings = transform(front, [recording], {}, {})
        high = mel.sampling_rate / 2 if mel.fmax is None else mel.fmax
        edges = librosa.mel_frequencies(mel.n_mels + 2, fmin=mel.fmin, fmax=high)
        hop = mel.hop_length / mel.sampling_rate
        log_mel = np.asarray(mel.transform(recordings)[0])
        return cls(log_mel, frequencies=edges[1:-1], hop=hop).plot(ax=ax)

    def _draw(self, ax):
        self.figure_, ((self.ax_,),) = axes_of(self, ax, size=(7.0, 3.0))
        times = self.hop * np.arange(self.log_mel.shape[1])
        self.image_ = self.ax_.pcolormesh(
            times, np.arange(len(self.log_mel)), self.log_mel, cmap="magma"
        )
        marks = np.array([250, 500, 1000, 2000, 4000, 8000, 16000])
        low, high = self.frequencies[[0, -1]]
        marks = marks[(marks >= low) & (marks <= high)]
        bands = np.interp(marks, self.frequencies, np.arange(len(self.frequencies)))
        self.ax_.set_yticks(bands, [f"{mark:g}" for mark in marks])
        self.ax_.set(xlabel="time (s)", ylabel="frequency (Hz)")
        self.figure_.colorbar(self.image_, ax=self.ax_, label="dB")


_STRIP = 1.06, 0.1  # lower edge and height of the band of most probable emotions


class EmotionTimelineDisplay(Display):
    """Probability of each emotion over time, and the most probable emotion.

    Use :meth:`from_estimator` or :meth:`from_result`; the arguments are stored as
    attributes.

    Parameters
    ----------
    probabilities : ndarray of shape (n_windows, n_classes)
        The probability of each emotion in each window.
    edges : ndarray of shape (n_windows + 1,)
        The starts of the times that the windows stand for, and the last end, in
        seconds.
    classes : ndarray of shape (n_classes,)
        The emotions, in the order of the columns.
    title : str, default=""
        The title, such as the name of the recording.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that holds the plot.
    ax_ : matplotlib Axes
        The axes that hold the areas.
    areas_ : list of matplotlib PolyCollection
        One for each emotion.

    See Also
    --------
    sklearn_ser.emotion_timeline : Predict a timeline.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from sklearn_ser.inspection import EmotionTimelineDisplay
    >>> display = EmotionTimelineDisplay(
    ...     np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]),
    ...     edges=np.array([0, 2, 3, 5]),
    ...     classes=np.array(["neutral", "anger"]),
    ... ).plot()
    >>> plt.close(display.figure_)
    """

    def __init__(self, probabilities, *, edges, classes, title=""):
        self.probabilities = probabilities
        self.edges = edges
        self.classes = classes
        self.title = title

    @classmethod
    def from_estimator(cls, estimator, recording, *, window=3.0, hop=None, ax=None):
        """Predict the emotions of a long recording, and draw them.

        Parameters
        ----------
        estimator : estimator
            A fitted pipeline, or a search for one, that takes recordings.
        recording : str, PathLike, ndarray of shape (n_times,) or mapping
            The recording.
        window : float, default=3.0
            Length of a window in seconds.
        hop : float, default=None
            Seconds between the starts of two neighbouring windows. None means half a
            window.
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes a new figure.

        Returns
        -------
        display : EmotionTimelineDisplay
            The display, drawn.
        """
        result = emotion_timeline(estimator, recording, window=window, hop=hop)
        return cls.from_result(result, ax=ax)

    @classmethod
    def from_result(cls, result, *, ax=None):
        """Draw an existing timeline.

        Parameters
        ----------
        result : EmotionTimeline
            The result of :func:`~sklearn_ser.emotion_timeline`.
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes a new figure.

        Returns
        -------
        display : EmotionTimelineDisplay
            The display, drawn.
        """
        display = cls(
            result.probabilities,
            edges=result.edges,
            classes=result.classes,
            title=os.path.basename(result.name),
        )
        return display.plot(ax=ax)

    def _draw(self, ax):
        self.figure_, ((self.ax_,),) = axes_of(self, ax, size=(7.0, 3.0))
        edges, P = np.asarray(self.edges), np.asarray(self.probabilities)
        times = np.r_[edges[0], (edges[1:] + edges[:-1]) / 2, edges[-1]]
        colours = [COLOURS[i % len(COLOURS)] for i in range(len(self.classes))]
        self.areas_ = self.ax_.stackplot(
            times,
            P[np.r_[0, : len(P), -1]].T,
            colors=colours,
            linewidth=0,
        )
        low, height = _STRIP
        for i in np.unique(best := P.argmax(axis=1)):
            spans = np.c_[edges[:-1], np.diff(edges)][best == i]
            self.ax_.broken_barh(spans, (low, height), color=colours[i], linewidth=0)
        self.ax_.set(
            xlim=edges[[0, -1]],
            ylim=(0, low + height),
            xlabel="time (min:s)" if edges[-1] < 3600 else "time (h:min:s)",
            ylabel="probability",
        )
        self.ax_.set_title(self.title, **AS_IT_IS)
        self.ax_.set_yticks([0, 0.5, 1, low + height / 2], ["0", "0.5", "1", "emotion"])
        inches = self.ax_.get_window_extent().width / self.figure_.dpi
        self.ax_.xaxis.set_major_locator(_locator(edges[-1] - edges[0], inches))
        self.ax_.xaxis.set_major_formatter(lambda seconds, _: clock(seconds))
        longest = max(len(str(name)) for name in self.classes)
        add_legend(
            self.ax_,
            self.areas_,
            self.classes,
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            borderaxespad=4.5,  # below the times
            ncols=max(1, int(inches / (0.5 + 0.08 * longest))),
            fontsize="small",
            frameon=False,
        )


def _locator(seconds, inches):
    """Return a locator of round times, about an inch apart."""
    from matplotlib.ticker import MultipleLocator

    steps = np.array([1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200])
    return MultipleLocator(steps[np.searchsorted(steps[:-1], seconds / inches)])
