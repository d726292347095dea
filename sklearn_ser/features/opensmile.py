"""openSMILE's features as a stateless scikit-learn transformer."""

from functools import partial

import numpy as np

from .._validation import import_or_raise
from .recording_transformer import RecordingTransformer, check_option

_SHORTEST = 0.07  # seconds, for which every set has finite values
_LEVELS = {"functionals": "Functionals", "lld": "LowLevelDescriptors"}


class OpenSMILETransformer(RecordingTransformer):
    """Turn recordings into features of openSMILE, such as eGeMAPS.

    The transformer learns nothing from the data. It needs
    ``pip install "sklearn_ser[opensmile]"``. The licence of openSMILE allows private,
    educational and research use. Read it before any other use.

    Parameters
    ----------
    feature_set : str, default="eGeMAPSv02"
        A name in ``opensmile.FeatureSet``, such as ``"eGeMAPSv02"`` (88 functionals) or
        ``"ComParE_2016"`` (6373).
    level : {"functionals", "lld"}, default="functionals"
        "functionals" gives one vector of statistics for each recording. "lld" gives the
        sequence of low-level descriptors, one vector for each 10 ms.
    sampling_rate : float, default=16000
        Sampling rate in Hz. Bare waveforms are assumed to have this rate. Files and
        mappings name their own rate, and are resampled to this one.
    channel : "mean" or int, default="mean"
        The number of the channel to use, or the mean of all channels.
    n_jobs : int, default=None
        Number of recordings transformed in parallel by joblib, in threads unless
        ``joblib.parallel_config`` sets another backend. None means 1, and -1 means all
        processors.
    cache_dir : str or PathLike, default=None
        Folder that keeps the features of each recording. A later run finds them by the
        recording's content, the parameters above and the version of openSMILE.
    verbose : int, default=0
        A positive value shows a progress bar over the recordings.

    See Also
    --------
    LogMelTransformer : Spectrograms, on which the networks do better.

    Notes
    -----
    A recording shorter than 70 ms is padded with zeros to that length.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser.features import OpenSMILETransformer
    >>> rng = np.random.default_rng(0)
    >>> waveforms = [rng.normal(size=16000), rng.normal(size=24000)]
    >>> smile = OpenSMILETransformer("eGeMAPSv02")
    >>> smile.transform(waveforms).shape
    (2, 88)
    >>> smile.get_feature_names_out()[0]
    'F0semitoneFrom27.5Hz_sma3nz_amean'
    """

    def __init__(
        self,
        feature_set="eGeMAPSv02",
        *,
        level="functionals",
        sampling_rate=16000,
        channel="mean",
        n_jobs=None,
        cache_dir=None,
        verbose=0,
    ):
        self.feature_set = feature_set
        self.level = level
        self.sampling_rate = sampling_rate
        self.channel = channel
        self.n_jobs = n_jobs
        self.cache_dir = cache_dir
        self.verbose = verbose

    _packages = ("opensmile",)
    _chunk = 16

    @property
    def _gives_vectors(self):
        return self.level == "functionals"

    def _check(self):
        _make_smile(self.feature_set, self.level)

    def _computation(self):
        settings = self.feature_set, self.level, self.sampling_rate
        return partial(_features, settings=settings), (*settings, self.channel)

    def _feature_names(self):
        return _make_smile(self.feature_set, self.level).feature_names


def _make_smile(feature_set, level):
    opensmile = import_or_raise("opensmile", "opensmile", "OpenSMILETransformer needs")
    known = list(opensmile.FeatureSet.__members__)
    check_option("feature_set", feature_set, known)
    check_option("level", level, list(_LEVELS))
    return opensmile.Smile(
        opensmile.FeatureSet[feature_set], opensmile.FeatureLevel[_LEVELS[level]]
    )


def _features(waves, settings):
    """Yield the features of each waveform."""
    feature_set, level, sampling_rate = settings
    smile = _make_smile(feature_set, level)  # its own in each thread
    dtype = np.float64 if level == "functionals" else np.float32
    for wave in waves(sampling_rate):
        n_missing = max(0, round(_SHORTEST * sampling_rate) - len(wave))
        features = smile(np.pad(wave, (0, n_missing)), sampling_rate)[0]
        yield features.astype(dtype)
