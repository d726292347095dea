"""Displays of recordings: the log-mel spectrogram, the emotions over time."""

import os
from textwrap import fill

import numpy as np

from ..features import LogMelTransformer
from ..pipeline import flat_steps, transform
from ..timeline import emotion_timeline
from ..timeline.turns import find_overlaps
from ..timeline.windows import clock, colours_of
from ._axes import AS_IT_IS, Display, add_legend, axes_of, shared_help

_STRIP = 1.06, 0.1  # lower edge and height of the band of most probable emotions
_COLUMN = 0.68  # height of the probabilities in a lane
# Rounded to whole pixels, the turns of an hour would vanish or join.
_EXACT = {"linewidth": 0, "snap": False}


@shared_help
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
    {figure and axes}
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
        {drawn}

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


@shared_help
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
    {figure and axes}
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
        {drawn}
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
        {drawn}
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
        colours = colours_of(self.classes)
        self.areas_ = self.ax_.stackplot(
            times,
            P[np.r_[0, : len(P), -1]].T,
            colors=colours,
            linewidth=0,
        )
        low, height = _STRIP
        for i in np.unique(best := P.argmax(axis=1)):
            spans = np.c_[edges[:-1], np.diff(edges)][best == i]
            self.ax_.broken_barh(spans, (low, height), color=colours[i], **_EXACT)
        self.ax_.set(ylim=(0, low + height), ylabel="probability")
        self.ax_.set_yticks([0, 0.5, 1, low + height / 2], ["0", "0.5", "1", "emotion"])
        _finish(self, *edges[[0, -1]], self.areas_)


@shared_help
class EmotionTurnsDisplay(Display):
    """The emotions of a conversation, with a lane for each speaker.

    In a lane each turn has a column with the probability of each emotion, and above it
    the most probable one. A dark line marks the time in which another speaker talks,
    too. A turn that is too short is grey.

    Use :meth:`from_estimator` or :meth:`from_result`; the argument is stored as an
    attribute.

    Parameters
    ----------
    turns : EmotionTurns
        The result of :func:`~sklearn_ser.emotion_timeline` with turns.

    Attributes
    ----------
    {figure and axes}
    areas_ : list of matplotlib PolyCollection
        The columns of each emotion.

    See Also
    --------
    sklearn_ser.emotion_timeline : Predict the emotions of turns.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from sklearn_ser.inspection import EmotionTurnsDisplay
    >>> from sklearn_ser.timeline import EmotionTurns
    >>> turns = EmotionTurns(
    ...     "call.wav",
    ...     speakers=np.array(["ann", "bob"]),
    ...     starts=np.array([0.0, 2.0]),
    ...     ends=np.array([2.5, 5.0]),
    ...     seconds=np.array([2.5, 3.0]),
    ...     overlaps=np.array([0.5, 0.5]),
    ...     kinds=np.array(["inductive", "inductive"]),
    ...     probabilities=np.array([[0.9, 0.1], [0.3, 0.7]]),
    ...     classes=np.array(["neutral", "anger"]),
    ... )
    >>> display = EmotionTurnsDisplay.from_result(turns)
    >>> plt.close(display.figure_)
    """

    def __init__(self, turns):
        self.turns = turns

    @classmethod
    def from_estimator(cls, estimator, recording, turns, *, enroll=None, ax=None):
        """Predict the emotions of turns, and draw them.

        Parameters
        ----------
        estimator : estimator
            A fitted pipeline, or a search for one, that takes recordings.
        recording : str, PathLike, ndarray of shape (n_times,) or mapping
            The recording.
        turns : str, PathLike or list of (start, end, speaker)
            Who talks when, as for :func:`~sklearn_ser.emotion_timeline`.
        enroll : {"self"} or None, default=None
            With "self", each speaker is enrolled with its own turns first.
        {drawn}
        """
        result = emotion_timeline(estimator, recording, turns=turns, enroll=enroll)
        return cls.from_result(result, ax=ax)

    @classmethod
    def from_result(cls, result, *, ax=None):
        """Draw existing turns.

        Parameters
        ----------
        result : EmotionTurns
            The result of :func:`~sklearn_ser.emotion_timeline` with turns.
        {drawn}
        """
        return cls(result).plot(ax=ax)

    def _draw(self, ax):
        from matplotlib.collections import PolyCollection

        turns, lanes = self.turns, [*self.turns.lanes]
        size = 7.0, 1.2 + 0.7 * len(lanes)
        self.figure_, ((self.ax_,),) = axes_of(self, ax, size=size)
        self.classes, self.title = turns.classes, os.path.basename(turns.name)
        # The first speaker is on top, and a lane is one high, with a space above it.
        base = len(lanes) - 1.0 - np.array([lanes.index(who) for who in turns.speakers])
        spans = np.c_[turns.starts, turns.ends - turns.starts]
        known, best = turns.known, turns.probabilities.argmax(axis=1)
        sums = np.cumsum(turns.probabilities, axis=1)
        tops = (base[:, None] + _COLUMN * np.c_[np.zeros(len(base)), sums])[known]
        left, right = turns.starts[known], turns.ends[known]
        self.areas_ = []
        for i, colour in enumerate(colours_of(turns.classes)):
            low, high = tops[:, i], tops[:, i + 1]
            x, y = np.c_[left, left, right, right], np.c_[low, high, high, low]
            corners = np.stack([x, y], axis=-1)
            columns = PolyCollection(corners, facecolors=colour, **_EXACT)
            self.areas_.append(self.ax_.add_collection(columns))
            self._strip(spans, base, known & (best == i), colour)
        self._strip(spans, base, ~known, "0.6")
        overlaps = find_overlaps(turns.starts, turns.ends, turns.speakers)
        for low, own in zip(base, overlaps, strict=True):
            if own:
                marks = [(start, end - start) for start, end in own]
                place = low + _COLUMN + 0.02, 0.03
                self.ax_.broken_barh(marks, place, color="k", **_EXACT)
        self.ax_.set_ylim(-0.05, len(lanes) - 0.05)
        names = [fill(str(who), 20, max_lines=3, placeholder="…") for who in lanes]
        self.ax_.set_yticks(np.arange(len(lanes))[::-1] + 0.45, names, **AS_IT_IS)
        self.ax_.tick_params(axis="y", length=0)
        _finish(self, 0.0, turns.ends.max(), self.areas_)

    def _strip(self, spans, base, rows, colour):
        """Draw the most probable emotion of some turns above their columns."""
        for low in np.unique(base[rows]):
            own = spans[rows & (base == low)]
            place = low + _COLUMN + 0.05, 0.12
            self.ax_.broken_barh(own, place, color=colour, **_EXACT)


def _finish(display, start, end, areas):
    """Draw the title, the time and the names of the emotions below it."""
    ax = display.ax_
    label = "time (min:s)" if end < 3600 else "time (h:min:s)"
    ax.set(xlim=(start, end), xlabel=label)
    ax.set_title(display.title, **AS_IT_IS)
    if layout := display.figure_.get_layout_engine():
        layout.execute(display.figure_)  # long names leave less width
    inches = ax.get_window_extent().width / display.figure_.dpi
    ax.xaxis.set_major_locator(_locator(end - start, inches))
    ax.xaxis.set_major_formatter(lambda seconds, _: clock(seconds))
    longest = max(len(str(name)) for name in display.classes)
    add_legend(
        ax,
        areas,
        display.classes,
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
