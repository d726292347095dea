"""A log-mel spectrogram over time in seconds and frequency in hertz."""

import numpy as np

from ..features import LogMelTransformer
from ..pipeline import flat_steps, transform
from ._axes import axes_of


class LogMelDisplay:
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

    def plot(self, *, ax=None):
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes a new figure.

        Returns
        -------
        display : LogMelDisplay
            The display itself.
        """
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
        return self
