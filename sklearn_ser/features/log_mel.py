"""Log-mel spectrograms as a stateless scikit-learn transformer."""

import os
from functools import partial

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.parallel import Parallel, delayed

from ._by_recording import normalize_sequence
from .audio import check_recordings, load_audio
from .cache import content_key, read_or_compute
from .spectrogram import check_settings, fix_length, log_mel, trim_silence

_CHUNK = 32  # recordings that a worker takes at once


class LogMelTransformer(  # type: ignore[call-arg]
    TransformerMixin, BaseEstimator, auto_wrap_output_keys=None
):
    """Turn recordings into log-mel spectrograms.

    The result equals ``librosa.feature.melspectrogram(center=True, pad_mode="constant",
    power=2)`` followed by ``librosa.power_to_db(ref=1.0)``, and is several times
    faster. The transformer learns nothing from the data.

    Parameters
    ----------
    sampling_rate : float, default=16000
        Sampling rate in Hz. Bare waveforms are assumed to have this rate. Files and
        mappings name their own rate, and are resampled to this one.
    n_fft : int, default=512
        Samples in a Fourier transform.
    win_length : int, default=400
        Samples in the Hann window, at most `n_fft`.
    hop_length : int, default=160
        Samples between the starts of two neighbouring frames.
    n_mels : int, default=80
        Mel bands (Slaney's filterbank).
    fmin : float, default=0
        Lowest frequency in Hz.
    fmax : float, default=None
        Highest frequency in Hz; None is half of `sampling_rate`.
    top_db : float, default=80
        Range below the recording's peak in dB. Lower cells are raised to the lower end
        of the range. None raises no cell.
    duration : float, default=None
        Length of all recordings in seconds. A longer recording is cut at its end, and
        `length_mode` extends a shorter one.
    length_mode : {"wrap", "constant"}, default="wrap"
        "wrap" repeats a short recording, and "constant" appends zeros.
    normalize : {"level", "utterance"}, default=None
        ``"level"`` subtracts each recording's mean level, so its gain has no effect.
        ``"utterance"`` gives each band of each recording zero mean and unit variance
        over the frames. None changes nothing.
    trim : float, default=None
        Remove the frames at both ends that are more than this many dB below the loudest
        frame, before `duration` applies. ``librosa.effects.trim`` does the same with
        frames of `win_length`. None removes no frame.
    channel : "mean" or int, default="mean"
        The number of the channel to use, or the mean of all channels.
    dtype : {"float16", "float32", "float64"}, default="float32"
        Type of the features.
    n_jobs : int, default=None
        Number of recordings transformed in parallel by joblib, in threads unless
        ``joblib.parallel_config`` sets another backend. None means 1, and -1 means all
        processors.
    cache_dir : str or PathLike, default=None
        Folder that keeps the features of each recording. A later run finds them by the
        recording's content and the parameters above. The result is then a list of
        read-only array-likes that ``np.asarray`` reads from disk, so the features may
        be larger than the memory.

    See Also
    --------
    load_audio : Read the waveform of a recording.

    Notes
    -----
    A recording shorter than a window is padded. The computation runs in single
    precision. It differs from librosa by less than 1e-3 dB in cells within 60 dB of the
    peak, and by less than 1e-2 dB in other cells. Double precision is used with
    ``dtype="float64"``, with a `top_db` above 80 or of None, and if a sound outside the
    bands is much louder than the sounds within.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser.features import LogMelTransformer
    >>> rng = np.random.default_rng(0)
    >>> waveforms = [rng.normal(size=16000), rng.normal(size=24000)]
    >>> [features.shape for features in LogMelTransformer().transform(waveforms)]
    [(80, 101), (80, 151)]
    >>> LogMelTransformer(duration=1.5).transform(waveforms).shape
    (2, 80, 151)
    """

    def __init__(
        self,
        *,
        sampling_rate=16000,
        n_fft=512,
        win_length=400,
        hop_length=160,
        n_mels=80,
        fmin=0,
        fmax=None,
        top_db=80,
        duration=None,
        length_mode="wrap",
        normalize=None,
        trim=None,
        channel="mean",
        dtype="float32",
        n_jobs=None,
        cache_dir=None,
    ):
        self.sampling_rate = sampling_rate
        self.n_fft = n_fft
        self.win_length = win_length
        self.hop_length = hop_length
        self.n_mels = n_mels
        self.fmin = fmin
        self.fmax = fmax
        self.top_db = top_db
        self.duration = duration
        self.length_mode = length_mode
        self.normalize = normalize
        self.trim = trim
        self.channel = channel
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.cache_dir = cache_dir

    def fit(self, X, y=None):
        """Check the parameters and the form of X, and learn nothing.

        Parameters
        ----------
        X : list or array of recordings, or array of shape (n_samples, n_times)
            As in `transform`. No recording is decoded.
        y : ignored
            For the API's sake.

        Returns
        -------
        self : LogMelTransformer
            The transformer itself.

        Raises
        ------
        TypeError, ValueError
            If a parameter is out of its range, or `X` is not a batch of recordings.
        """
        self._check()
        check_recordings(X)
        return self

    def transform(self, X):
        """Compute the log-mel spectrogram of each recording.

        Parameters
        ----------
        X : list or array of recordings, or array of shape (n_samples, n_times)
            A recording is a path, a waveform of shape (n_times,), or a mapping
            ``{"array": ..., "sampling_rate": ...}``.

        Returns
        -------
        features : list of arrays of shape (n_mels, n_frames), or array of shape \
                (n_samples, n_mels, n_frames)
            Levels in dB, unless normalised. The result is one array if `duration` is
            set, or if `X` is a 2-D array and `trim` is None.

        Raises
        ------
        TypeError, ValueError
            If a parameter is out of its range, or a recording is missing, empty or not
            finite, or does not decode. The message names its index and path.
        """
        settings = self._check()
        batch = check_recordings(X)
        extract = partial(_extract, settings=settings, cache_dir=self.cache_dir)
        if len(batch) == 1 or effective_n_jobs(self.n_jobs) == 1:
            features = extract(batch, 0)
        else:
            chunks = Parallel(n_jobs=self.n_jobs, prefer="threads")(
                delayed(extract)(batch[start : start + _CHUNK], start)
                for start in range(0, len(batch), _CHUNK)
            )
            features = [x for chunk in chunks for x in chunk]
        stackable = isinstance(batch, np.ndarray) and settings.trim is None
        if stackable or settings.n_times is not None:
            return np.stack(features)
        return features

    def set_output(self, *, transform=None):
        """Do nothing, because sequences do not fit into a data frame.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            Ignored.

        Returns
        -------
        self : LogMelTransformer
            The transformer itself.
        """
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True  # a width is a length in time, not features
        tags.input_tags.string = True  # paths
        tags.input_tags.dict = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _check(self):
        if not isinstance(self.cache_dir, str | os.PathLike | None):
            raise TypeError(
                f"cache_dir must be a path or None, got {self.cache_dir!r}."
            )
        return check_settings(self)


def _extract(recordings, start, settings, cache_dir):
    """Return the sequences of consecutive recordings, which start at X[start]."""
    sequences = []
    for i, recording in enumerate(recordings, start):
        compute = partial(_sequence, recording, f"X[{i}]", settings)
        key = None if cache_dir is None else content_key(recording, settings)
        sequences.append(
            compute() if key is None else read_or_compute(cache_dir, key, compute)
        )
    return sequences


def _sequence(recording, name, settings):
    wave = load_audio(
        recording,
        sampling_rate=settings.sampling_rate,
        channel=settings.channel,
        name=name,
    )
    if settings.trim is not None:
        wave = trim_silence(wave, settings)
    if settings.n_times is not None:
        wave = fix_length(wave, settings)
    features = normalize_sequence(log_mel(wave, settings), settings.normalize)
    return features.astype(settings.dtype, copy=False)
