"""Log-mel spectrograms: the transformer, its settings and the computation."""

from collections import namedtuple
from functools import lru_cache, partial
from math import log

import numpy as np
from scipy import fftpack
from scipy.sparse import csr_array

from ..exceptions import warn_caller
from ..sequences import frame_moments
from .audio import MAX_DURATION
from .recording_transformer import (
    RecordingTransformer,
    check_channel,
    check_dtype,
    check_integer,
    check_number,
    check_option,
)

AMIN = 1e-10
"""librosa raises smaller powers to this one."""

FLAT = 1e-4
"""A band that varies by less than this, in dB, is constant up to rounding."""

_NORMALIZATIONS = (None, "level", "utterance")
# Single precision resolves this range below the peak, if the peak of all frequencies is
# at most so many times stronger than that of the bands.
_SINGLE_DB = 80
_SINGLE_RATIO = 10
_BREAK = 1000.0  # Hz, where Slaney's mel scale turns from linear to logarithmic
_MEL_STEP, _LOG_STEP = 200 / 3, np.log(6.4) / 27
_DB = 10 / log(10)  # of a power e times larger; NumPy's log is faster than its log10
_BLOCK = 320  # frames transformed at once; changes no bit


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


# Their repr is part of a cache entry's key.
LogMelSettings = namedtuple(
    "LogMelSettings",
    "sampling_rate n_fft win_length hop_length n_mels fmin fmax top_db n_times "
    "length_mode normalize trim channel dtype",
)


def check_settings(estimator):
    """Check an estimator's parameters, and return the settings of the features."""
    rate = check_number("sampling_rate", estimator.sampling_rate, 1, 1e6)
    fmin = check_number("fmin", estimator.fmin, 0)
    fmax = check_number("fmax", estimator.fmax, 0, optional=True)
    fmax = rate / 2 if fmax is None else fmax
    if not fmin < fmax <= rate / 2:
        raise ValueError(
            f"fmin and fmax must satisfy fmin < fmax <= sampling_rate / 2, got "
            f"fmin={fmin:g}, fmax={fmax:g}, sampling_rate={rate:g}."
        )
    n_fft = check_integer("n_fft", estimator.n_fft, 2)
    win_length = check_integer("win_length", estimator.win_length, 2)
    if win_length > n_fft:
        raise ValueError(
            f"win_length must be at most n_fft, got win_length={win_length}, "
            f"n_fft={n_fft}."
        )
    duration = check_number(
        "duration", estimator.duration, 1 / rate, MAX_DURATION, optional=True
    )
    check_option("length_mode", estimator.length_mode, ("wrap", "constant"))
    check_option("normalize", estimator.normalize, _NORMALIZATIONS)
    return LogMelSettings(
        sampling_rate=rate,
        n_fft=n_fft,
        win_length=win_length,
        hop_length=check_integer("hop_length", estimator.hop_length, 1),
        n_mels=check_integer("n_mels", estimator.n_mels, 1),
        fmin=fmin,
        fmax=fmax,
        top_db=check_number("top_db", estimator.top_db, 0, optional=True),
        n_times=None if duration is None else round(duration * rate),
        length_mode=estimator.length_mode,
        normalize=estimator.normalize,
        trim=check_number("trim", estimator.trim, 1e-3, optional=True),
        channel=check_channel(estimator.channel),
        dtype=check_dtype(estimator.dtype),
    )


def _sequences(waves, settings):
    """Yield the sequence of each waveform."""
    for wave in waves(settings.sampling_rate):
        if settings.trim is not None:
            wave = trim_silence(wave, settings)
        if settings.n_times is not None:
            wave = fix_length(wave, settings)
        x = normalize_sequence(log_mel(wave, settings), settings.normalize)
        yield x.astype(settings.dtype, copy=False)


def trim_silence(wave, settings):
    """Cut both ends as librosa.effects.trim does, but keep at least one frame."""
    width, hop = settings.win_length, settings.hop_length
    # Running sums give the energy of every frame without making any.
    total = np.zeros(len(wave) + 1)
    np.cumsum(np.square(wave, dtype=np.float64), out=total[1:])
    n_frames = 1 + (len(wave) + 2 * (width // 2) - width) // hop
    first = np.arange(n_frames) * hop - width // 2
    energy = total[np.minimum(first + width, len(wave))] - total[np.maximum(first, 0)]
    loud = np.flatnonzero(energy >= energy.max() * 10 ** (-settings.trim / 10))
    start = min(loud[0] * hop, len(wave) - 1)
    return wave[start : (loud[-1] + 1) * hop]


def fix_length(wave, settings):
    """Cut a waveform to the wanted length, or extend it."""
    if len(wave) >= settings.n_times:
        return wave[: settings.n_times]
    if settings.length_mode == "wrap":
        return np.resize(wave, settings.n_times)
    return np.pad(wave, (0, settings.n_times - len(wave)))


def log_mel(wave, settings):
    """Return the (n_mels, n_frames) levels of a waveform in dB."""
    top_db = settings.top_db
    mel = None
    if settings.dtype != "float64" and top_db is not None and top_db <= _SINGLE_DB:
        mel = _mel_power(wave, settings, "float32")
    if mel is None:
        mel = _mel_power(wave, settings, "float64")
    floor = AMIN if top_db is None else max(AMIN, mel.max() * 10 ** (-top_db / 10))
    np.log(np.maximum(mel, floor, out=mel), out=mel)
    mel *= _DB
    return mel


def _mel_power(wave, settings, precision):
    """Power in each band, or None where single precision cannot resolve it."""
    window, filterbank, heaviest = basis(
        settings.sampling_rate,
        settings.n_fft,
        settings.win_length,
        settings.n_mels,
        settings.fmin,
        settings.fmax,
        precision,
    )
    hop, width, margin = settings.hop_length, len(window), settings.n_fft // 2
    n_frames = 1 + (len(wave) + 2 * margin - settings.n_fft) // hop
    # Hops and frames are columns: what is done to a sample or a frequency of all frames
    # runs along memory, and the filterbank needs no transposed copy.
    hops = np.zeros((n_frames + (width - 1) // hop, hop), precision)
    before = margin - (settings.n_fft - width) // 2  # silence in the first frame
    heard = wave[: hops.size - before]
    hops.ravel()[before : before + len(heard)] = heard
    hops = np.ascontiguousarray(hops.T)
    mel = np.empty((settings.n_mels, n_frames), precision)
    loudest = 0.0
    for start in range(0, n_frames, _BLOCK):
        stop = min(start + _BLOCK, n_frames)
        parts = np.empty((settings.n_fft, stop - start), precision)
        parts[width:] = 0
        for k, first in enumerate(range(0, width, hop)):
            weights = window[first : first + hop, None]
            samples = hops[: len(weights), start + k : stop + k]
            np.multiply(samples, weights, out=parts[first : first + len(weights)])
        parts = fftpack.rfft(parts, axis=0, overwrite_x=True)
        np.square(parts, out=parts)
        loudest = max(loudest, 2 * parts.max())  # at least the power of a frequency
        mel[:, start:stop] = filterbank @ parts
    # If a sound between or outside the bands is much louder, its rounding errors hide
    # what is in the bands.
    drowned = loudest * heaviest > _SINGLE_RATIO * mel.max()
    return None if precision == "float32" and drowned else mel


def normalize_sequence(x, mode):
    """Normalise a sequence by its own statistics; it is not changed itself."""
    if mode is None:
        return x
    if mode == "level":  # the mean over all cells
        return x - x.mean(dtype=np.float64).astype(x.dtype)
    mean, variance = frame_moments(x)
    deviation = np.sqrt(variance)
    deviation = np.where(deviation < FLAT, np.inf, deviation)  # the band becomes zero
    return (x - mean[:, None]) / deviation[:, None]


@lru_cache(maxsize=32)
def basis(sampling_rate, n_fft, win_length, n_mels, fmin, fmax, precision):
    """The window, the filterbank (97 % zeros) and its largest weight.

    The filterbank has a column for each row of ``fftpack.rfft``: frequency 0, then real
    and imaginary part of each other one. Their squares need no sum in front of it.
    """
    filterbank = mel_filterbank(sampling_rate, n_fft, n_mels, fmin, fmax)
    phase = 2 * np.pi * np.arange(win_length) / win_length
    window = (0.5 - 0.5 * np.cos(phase)).astype(precision)
    window.flags.writeable = False
    packed = filterbank[:, np.arange(1, n_fft + 1) // 2].astype(precision)
    return window, csr_array(packed), filterbank.max()


def mel_filterbank(sampling_rate, n_fft, n_mels, fmin, fmax):
    """Return the weights of ``librosa.filters.mel``, in float32.

    They are made here because an import of librosa takes longer than the features of
    a hundred recordings: it imports a compiler.
    """
    mels = np.linspace(*_hz_to_mel(np.array([fmin, fmax])), n_mels + 2)
    edges = _MEL_STEP * mels
    high = mels >= _BREAK / _MEL_STEP
    edges[high] = _BREAK * np.exp(_LOG_STEP * (mels[high] - _BREAK / _MEL_STEP))
    ramps = edges[:, None] - np.fft.rfftfreq(n_fft, 1 / sampling_rate)
    widths = np.diff(edges)[:, None]
    triangles = np.minimum(-ramps[:-2] / widths[:-1], ramps[2:] / widths[1:])
    weights = np.maximum(0, triangles).astype(np.float32)
    weights *= 2 / (edges[2:] - edges[:-2])[:, None]
    empty = np.flatnonzero(~weights.any(axis=1))
    if len(empty):
        warn_caller(
            f"n_mels={n_mels} gives {len(empty)} bands that lie between two "
            f"frequencies of n_fft={n_fft} and stay empty: use fewer bands or a larger "
            "n_fft."
        )
    return weights


def _hz_to_mel(frequencies):
    """Slaney's scale: linear up to 1 kHz, logarithmic above."""
    above = np.log(np.maximum(frequencies, _BREAK) / _BREAK) / _LOG_STEP
    return np.minimum(frequencies, _BREAK) / _MEL_STEP + above
