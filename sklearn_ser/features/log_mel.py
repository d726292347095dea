"""Log-mel spectrograms as a stateless scikit-learn transformer."""

from functools import partial

from .recording_transformer import RecordingTransformer
from .spectrogram import (
    check_settings,
    fix_length,
    log_mel,
    normalize_sequence,
    trim_silence,
)


class LogMelTransformer(RecordingTransformer):
    """Turn recordings into log-mel spectrograms.

    With ``normalize=None``, the result equals
    ``librosa.feature.melspectrogram(center=True, pad_mode="constant", power=2)``
    followed by ``librosa.power_to_db(top_db=50)``, and is several times faster.
    The transformer learns nothing from the data.

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
    top_db : float, default=50
        Range below the recording's peak in dB. Lower cells are raised to the lower end
        of the range, because the noise between words depends more on the room than on
        the emotion. None raises no cell.
    duration : float, default=None
        Length of all recordings in seconds. A longer recording is cut at its end, and
        `length_mode` extends a shorter one.
    length_mode : {"wrap", "constant"}, default="wrap"
        "wrap" repeats a short recording, and "constant" appends zeros.
    normalize : {"level", "utterance"} or None, default="level"
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
        recording's content, the parameters above and the versions of the packages that
        decode and resample. The result is then a list of
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
        top_db=50,
        duration=None,
        length_mode="wrap",
        normalize="level",
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

    def _check(self):
        check_settings(self)

    def _computation(self):
        settings = check_settings(self)
        return partial(_sequences, settings=settings), settings


def _sequences(waves, settings):
    """Yield the sequence of each waveform."""
    for wave in waves(settings.sampling_rate):
        if settings.trim is not None:
            wave = trim_silence(wave, settings)
        if settings.n_times is not None:
            wave = fix_length(wave, settings)
        x = normalize_sequence(log_mel(wave, settings), settings.normalize)
        yield x.astype(settings.dtype, copy=False)
