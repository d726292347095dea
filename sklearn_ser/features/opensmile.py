"""openSMILE's features as a stateless scikit-learn transformer."""

from functools import partial
from importlib.metadata import version

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import Parallel, delayed

from .._validation import import_or_raise
from .audio import check_recordings, load_audio
from .cache import content_key, read_or_compute

_CHUNK = 16  # recordings a worker takes at once
_SHORTEST = 0.07  # seconds, for which every set has finite values
_LEVELS = {"functionals": "Functionals", "lld": "LowLevelDescriptors"}


def _is_vector(estimator):
    return estimator.level == "functionals"


class OpenSMILETransformer(TransformerMixin, BaseEstimator):
    """Turn recordings into features of openSMILE, such as eGeMAPS.

    The transformer learns nothing from the data. It needs
    ``pip install sklearn_ser[opensmile]``. The licence of openSMILE allows private,
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
    ):
        self.feature_set = feature_set
        self.level = level
        self.sampling_rate = sampling_rate
        self.channel = channel
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
        self : OpenSMILETransformer
            The transformer itself.

        Raises
        ------
        ImportError
            If opensmile is not installed.
        TypeError, ValueError
            If a parameter is out of its range, or `X` is not a batch of recordings.
        """
        _make_smile(self.feature_set, self.level)
        check_recordings(X)
        return self

    def transform(self, X):
        """Compute the features of each recording.

        Parameters
        ----------
        X : list or array of recordings, or array of shape (n_samples, n_times)
            A recording is a path, a waveform of shape (n_times,), or a mapping
            ``{"array": ..., "sampling_rate": ...}``.

        Returns
        -------
        features : array of shape (n_samples, n_features_out), list of arrays of \
                shape (n_features, n_frames), or array of shape (n_samples, \
                n_features, n_frames)
            The first form for functionals. For low-level descriptors the second, or the
            third if `X` is a 2-D array.

        Raises
        ------
        ImportError
            If opensmile is not installed.
        TypeError, ValueError
            If a parameter is out of its range, or a recording is missing, empty or not
            finite, or does not decode. The message names its index and path.
        """
        _make_smile(self.feature_set, self.level)
        batch = check_recordings(X)
        settings = self.feature_set, self.level, self.sampling_rate, self.channel
        extract = partial(_extract, settings=settings, cache_dir=self.cache_dir)
        if len(batch) == 1 or effective_n_jobs(self.n_jobs) == 1:
            features = extract(batch, 0)
        else:
            chunks = Parallel(n_jobs=self.n_jobs, prefer="threads")(
                delayed(extract)(batch[start : start + _CHUNK], start)
                for start in range(0, len(batch), _CHUNK)
            )
            features = [x for chunk in chunks for x in chunk]
        if _is_vector(self):
            return np.stack([np.asarray(x)[:, 0] for x in features])
        return np.stack(features) if isinstance(batch, np.ndarray) else features

    @available_if(_is_vector)
    def get_feature_names_out(self, input_features=None):
        """Return the names of the functionals in openSMILE.

        Parameters
        ----------
        input_features : ignored
            For the API's sake.

        Returns
        -------
        names : ndarray of str
            One for each column of what `transform` returns.
        """
        names = _make_smile(self.feature_set, self.level).feature_names
        return np.array(names, dtype=object)

    def set_output(self, *, transform=None):
        """Choose the container of functionals.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            The container. None does not change it. It is ignored for low-level
            descriptors, because sequences do not fit into a data frame.

        Returns
        -------
        self : OpenSMILETransformer
            The transformer itself.
        """
        return super().set_output(transform=transform) if _is_vector(self) else self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True  # a width is a length in time, not features
        tags.input_tags.string = True  # paths
        tags.input_tags.dict = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _make_smile(feature_set, level):
    opensmile = import_or_raise("opensmile", "opensmile", "OpenSMILETransformer needs")
    known = list(opensmile.FeatureSet.__members__)
    for name, value, choices in (
        ("feature_set", feature_set, known),
        ("level", level, list(_LEVELS)),
    ):
        if value not in choices:
            raise ValueError(f"{name} must be one of {choices}, got {value!r}.")
    return opensmile.Smile(
        opensmile.FeatureSet[feature_set], opensmile.FeatureLevel[_LEVELS[level]]
    )


def _extract(recordings, start, settings, cache_dir):
    """Features of consecutive recordings, the first of which is X[start]."""
    feature_set, level, sampling_rate, channel = settings
    smile = _make_smile(feature_set, level)  # its own in each thread
    key_of = partial(
        content_key, settings=("opensmile", version("opensmile"), *settings)
    )
    found = []
    for i, recording in enumerate(recordings, start):

        def compute(recording=recording, name=f"X[{i}]"):
            wave = load_audio(
                recording, sampling_rate=sampling_rate, channel=channel, name=name
            )
            n_missing = max(0, round(_SHORTEST * sampling_rate) - len(wave))
            features = smile(np.pad(wave, (0, n_missing)), sampling_rate)[0]
            return features.astype(np.float64 if level == "functionals" else np.float32)

        key = None if cache_dir is None else key_of(recording)
        found.append(
            compute() if key is None else read_or_compute(cache_dir, key, compute)
        )
    return found
