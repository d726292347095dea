"""Batches of variable-length sequences, with their labels and speakers.

A sequence is a float32 array (n_features, n_frames). A batch of them is a list or
1-D object array of sequences, a 3-D array (n_samples, n_features, n_frames), or a
2-D array (n_samples, n_features): one frame each.
"""

import numbers
from collections.abc import Iterator, Mapping, Set

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from scipy.sparse import issparse
from sklearn import config_context
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, column_or_1d, validate_data

from ._validation import (
    as_column,
    check_one_kind,
    is_missing,
    naming,
    refuse_masked,
)
from .exceptions import warn_caller
from .nn.vectors import Vectors

_HINT = (
    "A sequence is an array (n_features, n_frames), as LogMelTransformer returns; "
    "recordings need it in front: make_pipeline(LogMelTransformer(), ...)."
)


class CachedSequence(NDArrayOperatorsMixin):
    """A read-only ``.npy`` array on disk that is opened only while it is read.

    A memory map would keep its file open, and common limits allow some 1000 open files.
    This class keeps a path only: ``np.asarray`` reads the array, an index reads a part
    of it, and other attributes are those of the array.
    """

    def __init__(self, path):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.ndim != 2 or array.dtype.kind != "f":
            raise ValueError(f"{path} holds no sequence")
        self._path = path
        self.shape, self.dtype = array.shape, array.dtype
        self.ndim, self.size = array.ndim, array.size

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("A cached sequence is read from disk: a copy is needed.")
        array = np.load(self._path, allow_pickle=False)
        array.flags.writeable = copy is True
        return array if dtype is None else array.astype(dtype, copy=False)

    def __getitem__(self, key):
        return np.array(np.load(self._path, mmap_mode="r", allow_pickle=False)[key])

    def __len__(self):
        return self.shape[0]

    def __getattr__(self, name):
        if name.startswith("_"):  # NumPy and pickle try many protocols
            raise AttributeError(name)
        return getattr(np.asarray(self), name)

    def __repr__(self):
        return f"CachedSequence(shape={self.shape}, dtype={self.dtype})"


class StandardizedSequence(CachedSequence):
    """A sequence on disk that is centred and scaled when it is read."""

    def __init__(self, cached, mean, scale):
        vars(self).update(vars(cached))
        mean, scale = mean[:, None], scale[:, None]
        if isinstance(cached, StandardizedSequence):  # both, one after the other
            first_mean, first_scale = cached._statistics
            mean, scale = first_mean + first_scale * mean, first_scale * scale
        self._statistics = mean, scale

    def __array__(self, dtype=None, copy=None):
        mean, scale = self._statistics
        return ((super().__array__(copy=copy) - mean) / scale).astype(
            dtype or np.float32
        )

    def __getitem__(self, key):
        return self.__array__()[key]


_NO_BATCH = (str, bytes, Mapping, Set, Iterator)  # the last two have no rows
# openSMILE's largest set, ComParE 2016, has 6373 functionals, while 7000 samples at
# 16 kHz are less than half a second of speech.
_MOST_FUNCTIONALS = 7000


def check_sequences(X, *, estimator, reset):
    """Check a batch of sequences; return a list, or Vectors if each has one frame.

    Arrays of float32 are not copied, not even memory-mapped ones, and sequences in the
    cache of LogMelTransformer stay on disk. The estimator gets ``n_features_in_`` if
    `reset`; otherwise X must have that many features.
    """
    X = check_batch(X, estimator=estimator, reset=reset)
    if isinstance(X, np.ndarray):
        if X.ndim == 3 and X.shape[2] > 1:
            return list(X)
        return Vectors(X if X.ndim == 2 else X[:, :, 0])
    if any(x.shape[1] != 1 for x in X):
        return X
    return Vectors(np.hstack([np.asarray(x) for x in X]).T)


def check_batch(X, *, estimator, reset):
    """Check a batch as `check_sequences` does, but return an array as an array."""
    no_batch = isinstance(X, _NO_BATCH) and not issparse(X)  # some are mappings
    if X is None or no_batch or hasattr(X, "__fspath__"):
        raise TypeError(f"X is a {type(X).__name__}, not a batch of sequences. {_HINT}")
    if isinstance(X, (list, tuple)) and not X:
        raise ValueError("X is empty: found 0 samples, expected at least one.")
    if is_ragged(X):
        sequences = [_check_sequence(x, i) for i, x in enumerate(X)]
        _check_n_features(sequences, estimator, reset)
        return sequences
    refuse_masked(X, "X")
    # What overflows is refused by scikit-learn, or is only its sum of all cells.
    quiet = np.errstate(over="ignore", invalid="ignore")
    # Its dispatch would leave tensors as they are, and knows no type of NumPy's then.
    with naming("X"), quiet, config_context(array_api_dispatch=False):
        X = validate_data(
            estimator, X, reset=reset, dtype=np.float32, allow_nd=True, order=None
        )
    if X.ndim > 3:
        raise ValueError(f"X has {X.ndim} dimensions, expected 2 or 3. {_HINT}")
    if X.ndim == 3 and X.shape[2] == 0:
        raise ValueError(f"X has 0 frames (shape={X.shape}), expected at least one.")
    is_fit = reset and not hasattr(estimator, "transform")
    if is_fit and X.ndim == 2 and X.shape[1] > _MOST_FUNCTIONALS:
        warn_caller(
            f"X is a table of {X.shape[1]} features, each row a sequence of one frame. "
            "If its rows are waveforms, put LogMelTransformer in front: "
            "make_pipeline(LogMelTransformer(), ...)."
        )
    return X


def is_ragged(X):
    """Tell whether X is a collection of sequences rather than one array."""
    if hasattr(X, "__array__"):  # a pandas Series, too
        one_by_one = getattr(X, "ndim", None) == 1 and len(X) > 0
        return one_by_one and np.asarray(X).dtype.kind in "OUS"
    # scikit-learn validates numbers and rows of numbers.
    return isinstance(X, (list, tuple)) and any(
        isinstance(x, (str, bytes, dict))
        or hasattr(x, "__fspath__")
        or _has_rows(x)
        or (isinstance(x, np.ndarray) and x.size != np.size(X[0]))
        for x in X
    )


def _has_rows(x):
    try:
        return np.ndim(x) > 1
    except ValueError:  # of unequal length, which is told with the index
        return True


def _check_sequence(x, index):
    if isinstance(x, (str, bytes, dict, numbers.Number)) or hasattr(x, "__fspath__"):
        raise TypeError(f"X[{index}] is a {type(x).__name__}, not a sequence. {_HINT}")
    refuse_masked(x, f"X[{index}]")
    try:
        cached, x = x, np.asarray(x)
    except ValueError as error:
        raise ValueError(f"X[{index}] is not a sequence: {error}. {_HINT}") from error
    if x.dtype.kind not in "fiub":
        raise TypeError(
            f"X[{index}] has dtype {x.dtype}, expected real numbers. {_HINT}"
        )
    if x.ndim != 2:
        raise ValueError(
            f"X[{index}] has shape {x.shape}, expected (n_features, n_frames). {_HINT}"
        )
    if 0 in x.shape:
        raise ValueError(
            f"X[{index}] is empty (shape {x.shape}), expected at least one feature "
            "and one frame."
        )
    source = x
    with np.errstate(over="ignore"):  # becomes infinity, which is reported
        x = x.astype(np.float32, copy=False)
    if not np.isfinite(x).all():
        row, frame = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(
            f"X[{index}] contains NaN, infinity or a value too large for float32: found"
            f" {source[row, frame]} at feature {row} of frame {frame}, expected finite "
            "values."
        )
    return cached if isinstance(cached, CachedSequence) else x


def _check_n_features(sequences, estimator, reset):
    n_features = len(sequences[0])
    for i, x in enumerate(sequences):
        if len(x) != n_features:
            raise ValueError(
                f"X[{i}] has {len(x)} features (shape {x.shape}), expected "
                f"{n_features} as in X[0]: sequences are (n_features, n_frames)."
            )
    if reset:
        estimator.n_features_in_ = n_features
        vars(estimator).pop("feature_names_in_", None)  # left by a fit on a data frame
    elif n_features != estimator.n_features_in_:
        raise ValueError(
            f"X has {n_features} features, but {type(estimator).__name__} is "
            f"expecting {estimator.n_features_in_} features as input."
        )


def frame_statistics(sequences):
    """Return mean and usable scale of each feature over all frames, in float64."""

    def parts():
        if isinstance(sequences, Vectors):
            return (rows.T for _, rows in sequences.chunks())
        return map(np.asarray, sequences)

    n = sum(x.shape[1] for x in parts())
    mean = sum(x.sum(axis=1, dtype=np.float64) for x in parts()) / n
    squares = (np.square(x - mean[:, None]) for x in parts())
    scale = np.sqrt(sum(x.sum(axis=1) for x in squares) / n)
    return mean, usable_scale(scale, np.abs(mean))


def frame_moments(x):
    """Return mean and variance of each feature over the frames of a sequence."""
    frames = np.asarray(x, np.float64)
    return frames.mean(axis=1), frames.var(axis=1)


def usable_scale(deviation, magnitude):
    """Return what to divide by: the deviation, or 1 where float32 rounds it away."""
    least = np.maximum(1e-6 * magnitude, np.finfo(np.float32).tiny)
    return np.where(deviation <= least, 1.0, deviation)


def standardized(x, mean, scale):
    """Return a sequence with each feature centred and scaled, or lazily if on disk."""
    if isinstance(x, CachedSequence):
        return StandardizedSequence(x, mean, scale)
    return ((x - mean[:, None]) / scale[:, None]).astype(np.float32)


def check_labels(y, n_samples, *, estimator, rows=None):
    """Check one class label per sample; `rows` are their numbers in the caller's y."""
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but "
            "the target y is None."
        )
    with naming("y"):
        y = column_or_1d(as_column(y, "y", rows), warn=True)
        if y.dtype.kind in "fc":
            assert_all_finite(y, input_name="y")
        if y.dtype.kind == "O":  # of a column (n_samples, 1), too
            check_one_kind(y.tolist(), "y", rows)
        check_classification_targets(y)
    check_length("y", y, n_samples)
    return y


def check_speakers(speakers, n_samples):
    """Check one speaker per sample; return an array, or None for None."""
    if speakers is None:
        return None
    speakers = as_column(speakers, "speakers")
    if speakers.ndim != 1:
        raise ValueError(
            f"speakers has shape {speakers.shape}, expected (n_samples,) = "
            f"({n_samples},)."
        )
    check_length("speakers", speakers, n_samples)
    names = speakers.tolist()
    # Speakers are numbered as they appear, so that their names have no influence.
    codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
    if any(map(is_missing, codes)):
        i = next(i for i, name in enumerate(names) if is_missing(name))
        raise ValueError(f"speakers[{i}] is {names[i]}, expected a speaker.")
    return np.array([codes[name] for name in names])


def check_length(name, values, n_samples):
    """Refuse a column whose length is not the number of samples."""
    if len(values) != n_samples:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: X has "
            f"{n_samples}, {name} has {len(values)}."
        )


def check_outputs(values):
    """Refuse outputs of a network that are not finite; return them."""
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise ValueError(
            f"X[{bad[0]}] has outputs that are not finite ({len(bad)} of "
            f"{len(values)} samples have), expected values like those of the "
            "fit."
        )
    return values
