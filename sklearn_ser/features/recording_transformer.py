"""The base of the transformers of recordings: parameters, jobs, cache, output."""

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from importlib.metadata import version
from math import inf, isfinite
from numbers import Integral, Real

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import Parallel, delayed
from tqdm.auto import tqdm

from ..exceptions import SilentRecordingWarning, warn_caller
from .audio import check_recordings, load_with_remark
from .cache import content_key, read, write

_MOST_NAMED = 5  # silent recordings in a warning


class RecordingTransformer(TransformerMixin, BaseEstimator, ABC):
    """Turn recordings into features, in parallel and through a cache.

    A subclass has the parameters `channel`, `n_jobs` and `cache_dir`. One that gives
    vectors has a method `_feature_names`.
    """

    _gives_vectors = False
    _feature_names: Callable[[], Iterable[str]]
    _packages: tuple = ()  # that shape the features, beside those of decoding
    _chunk = 32  # recordings that a worker takes at once

    @abstractmethod
    def _computation(self):
        """Return a function of waveforms to features, and what shapes the features.

        The function gets `waves`, and yields an array (n_features, n_frames) for each
        waveform of ``waves(sampling_rate)``. It can be pickled.
        """

    def _check(self):
        """Refuse parameters that are out of their range."""

    def _learn(self):
        """Keep what a fit finds."""

    def _batches(self, batch, rows):
        """Divide rows of a batch into those of each job."""
        size = self._chunk
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    def _workers(self, n_workers):
        """Return the context in which the jobs run."""
        return contextlib.nullcontext()

    def fit(self, X, y=None):
        """Check the parameters and the form of X, and learn nothing from the data.

        Parameters
        ----------
        X : list or array of recordings, or array of shape (n_samples, n_times)
            As in `transform`. No recording is decoded.
        y : ignored
            For the API's sake.

        Returns
        -------
        self : object
            The transformer itself.

        Raises
        ------
        ImportError
            If a package is missing that the transformer needs.
        TypeError, ValueError
            If a parameter is out of its range or names no known model, or `X` is no
            batch of recordings.
        """
        self._checked(X)
        self._learn()
        return self

    def _checked(self, X):
        check_cache_dir(self.cache_dir)
        self._check()
        return check_recordings(X)

    def transform(self, X):
        """Compute the features of each recording.

        Parameters
        ----------
        X : list or array of recordings, or array of shape (n_samples, n_times)
            A recording is a path, a waveform of shape (n_times,) at the sampling rate
            of the transformer, a mapping ``{"array": ..., "sampling_rate": ...}`` or
            ``{"bytes": ..., "path": ...}``, or an audio decoder. A mapping with
            ``"start"`` and ``"end"`` in seconds is a segment of a recording.

        Returns
        -------
        features : array of shape (n_samples, n_features_out), list of arrays of \
                shape (n_features, n_frames), or array of shape (n_samples, \
                n_features, n_frames)
            The first form if the transformer gives a vector for each recording. Else
            the third form if a `duration` is set, or if `X` is a 2-D array whose rows
            are not trimmed.

        Raises
        ------
        ImportError
            If a package is missing that the transformer needs.
        TypeError, ValueError
            If a parameter is out of its range, or a recording is missing, empty or not
            finite, or does not decode. The message names its index and path.

        Warns
        -----
        SilentRecordingWarning
            If recordings are silent. The message names them.
        """
        batch = self._checked(X)
        compute, settings = self._computation()
        keys, features = [None] * len(batch), [None] * len(batch)
        if self.cache_dir is not None:
            settings = type(self).__name__, versions(self._packages), settings
            for i, recording in enumerate(batch):
                if (key := content_key(recording, settings)) is not None:
                    keys[i], features[i] = key, read(self.cache_dir, key)
        missing = [i for i, found in enumerate(features) if found is None]
        jobs = [
            (rows, [batch[i] for i in rows], [keys[i] for i in rows])
            for rows in self._batches(batch, missing)
        ]
        extract = partial(
            _extract, compute=compute, channel=self.channel, cache_dir=self.cache_dir
        )
        remarks = {}
        for rows, found, remarked in self._run(extract, jobs):
            for i, x in zip(rows, found, strict=True):
                features[i] = x
            remarks |= remarked
        if remarks:
            _warn_of_silence([remarks[i] for i in sorted(remarks)])
        if self._gives_vectors:
            return np.stack([np.asarray(x)[:, 0] for x in features])
        is_fixed = getattr(self, "duration", None) is not None
        is_even = isinstance(batch, np.ndarray) and getattr(self, "trim", None) is None
        return np.stack(features) if is_fixed or is_even else features

    def _run(self, extract, jobs):
        """Yield the result of each job; its first member is the rows."""
        n_workers = min(effective_n_jobs(self.n_jobs), len(jobs))
        results = (extract(*job) for job in jobs)
        total = sum(len(rows) for rows, *_ in jobs)
        is_quiet = not total or not getattr(self, "verbose", 0)
        bar = tqdm(total=total, desc="recordings", disable=is_quiet)
        with self._workers(n_workers), bar:
            if n_workers > 1:
                parallel = Parallel(
                    n_jobs=self.n_jobs,
                    prefer="threads",
                    return_as="generator_unordered",
                )
                results = parallel(delayed(extract)(*job) for job in jobs)
            for result in results:
                bar.update(len(result[0]))
                yield result

    @available_if(lambda self: self._gives_vectors)
    def get_feature_names_out(self, input_features=None):
        """Return the names of the features, where each recording has one vector.

        Parameters
        ----------
        input_features : ignored
            For the API's sake.

        Returns
        -------
        names : ndarray of str
            One for each column of what `transform` returns.
        """
        return np.array(self._feature_names(), dtype=object)

    def set_output(self, *, transform=None):
        """Choose the container of vectors.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            The container. None does not change it. It is ignored for sequences, which
            do not fit into a data frame.

        Returns
        -------
        self : object
            The transformer itself.
        """
        return super().set_output(transform=transform) if self._gives_vectors else self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True  # a width is a length in time, not features
        tags.input_tags.string = True  # paths
        tags.input_tags.dict = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _extract(rows, recordings, keys, *, compute, channel, cache_dir):
    """Return the features of some rows' recordings, and remarks on silent ones.

    Features are stored under their keys, one by one. Those of silent recordings are
    not, so that the next run names these recordings again.
    """
    remarks = {}

    def waves(sampling_rate):
        for i, recording in zip(rows, recordings, strict=True):
            wave, remark = load_with_remark(
                recording, sampling_rate, channel, f"X[{i}]"
            )
            if remark is not None:
                remarks[i] = remark
            yield wave

    features = []
    for i, key, x in zip(rows, keys, compute(waves), strict=True):
        is_kept = key is not None and i not in remarks
        features.append(write(cache_dir, key, x) if is_kept else x)
    return rows, features, remarks


def _warn_of_silence(remarks):
    named = [f"{name}: {what}" for name, what in remarks[:_MOST_NAMED]]
    more = len(remarks) - _MOST_NAMED
    if more > 0:
        named = [*named, f"and {more} more"]
    warn_caller(
        f"{len(remarks)} recording(s) are silent, so their features say nothing: "
        f"{'; '.join(named)}.",
        SilentRecordingWarning,
    )


@lru_cache
def versions(packages):
    """Return the versions of the packages that decode, resample and compute."""
    import soundfile

    names = ("soundfile", "soxr", *packages)
    return soundfile.__libsndfile_version__, *(f"{n} {version(n)}" for n in names)


def check_number(name, value, low, high=inf, *, kind=Real, optional=False):
    """Return a float, or an int for the kind Integral; None if that is allowed."""
    if optional and value is None:
        return None
    expected = "an int" if kind is Integral else "a number"
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} must be {expected}, got {value!r}.")
    if not (isfinite(value) and low <= value <= high):
        limits = f"of at least {low:g}" + ("" if high == inf else f", at most {high:g}")
        raise ValueError(f"{name} must be {expected} {limits}, got {value!r}.")
    return int(value) if kind is Integral else float(value)


check_integer = partial(check_number, kind=Integral)


def check_option(name, value, options):
    """Refuse what is not one of the options."""
    if not isinstance(value, str | None) or value not in options:
        raise ValueError(f"{name} must be one of {options}, got {value!r}.")


def check_dtype(dtype):
    """Return the name of a type of floats."""
    options = ("float16", "float32", "float64")
    try:
        name = None if dtype is None else np.dtype(dtype).name
    except (TypeError, ValueError) as error:
        raise TypeError(f"dtype must be one of {options}, got {dtype!r}.") from error
    check_option("dtype", name, options)
    return name


def check_channel(channel):
    """Return "mean" or an int."""
    if isinstance(channel, str) and channel == "mean":
        return channel
    return check_integer("channel, unless 'mean',", channel, 0)


def check_cache_dir(cache_dir):
    """Refuse what is no folder's path."""
    if not isinstance(cache_dir, str | os.PathLike | None):
        raise TypeError(f"cache_dir must be a path or None, got {cache_dir!r}.")
