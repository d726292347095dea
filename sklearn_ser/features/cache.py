"""A resumable cache of features, one file for each recording.

An entry is found by the SHA-256 of what was heard (the bytes of the file, or of
the waveform and its rate) and of the settings that shape the features, so neither
a renamed file nor a changed parameter can meet a stale one. It is written to a
temporary name and then renamed: another process sees all of it or nothing.
"""

import contextlib
import hashlib
import os
from collections.abc import Mapping

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .._files import atomic_write

# To be raised whenever the same settings come to give other features.
_FORMAT = 1


class CachedSequence(NDArrayOperatorsMixin):
    """A read-only array on disk that is opened only while it is read.

    A memory map would hold a file descriptor and a mapping for as long as it
    lives, which ends at some 1000 recordings under common limits. This holds a
    path, whatever their number: ``np.asarray`` reads the array, an index reads a
    part of it, and other attributes are those of the array.

    Parameters
    ----------
    path : str
        A ``.npy`` file that holds a 2-D array.

    Attributes
    ----------
    shape : tuple of int
        (n_features, n_frames).
    dtype : dtype
        The type on disk.
    ndim, size : int
        As for an array.

    Raises
    ------
    OSError, ValueError
        If the file is missing, truncated or holds something else.
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
        if name.startswith("_"):  # protocols that NumPy and pickle look for
            raise AttributeError(name)
        return getattr(np.asarray(self), name)

    def __repr__(self):
        return f"CachedSequence(shape={self.shape}, dtype={self.dtype})"


def content_key(recording, settings):
    """Hash a recording's content together with the settings.

    Parameters
    ----------
    recording : str, PathLike, array-like or mapping
        As `load_audio` takes it.
    settings : object
        Everything else that decides the features, told by its repr.

    Returns
    -------
    key : str or None
        None where there is no content to hash; reading it will tell why.
    """
    digest = hashlib.sha256(f"{_FORMAT}:{settings!r}:".encode())
    rate, path = None, recording
    if isinstance(recording, Mapping):
        rate, path = recording.get("sampling_rate"), recording.get("path")
        recording = recording.get("array")
        recording = path if recording is None else recording
    if isinstance(recording, str | os.PathLike):
        try:
            with open(recording, "rb") as file:
                hashlib.file_digest(file, lambda: digest)
        except (OSError, ValueError):
            return None
        return digest.hexdigest()
    try:
        wave = np.ascontiguousarray(recording)
    except ValueError:
        return None
    if wave.dtype.hasobject:
        return None
    digest.update(f"{wave.dtype.str}:{wave.shape}:{rate!r}:".encode())
    digest.update(wave.data.cast("B") if wave.size else b"")
    return digest.hexdigest()


def read_or_compute(cache_dir, key, compute):
    """Return the entry of this key, computed and stored first if need be.

    Parameters
    ----------
    cache_dir : str or PathLike
        The folder of the cache, made if absent.
    key : str
        As `content_key` gives it.
    compute : callable
        Called without arguments for a 2-D array where there is no sound entry.

    Returns
    -------
    sequence : CachedSequence
        The entry.
    """
    found = read(cache_dir, key)
    return write(cache_dir, key, compute()) if found is None else found


def read(cache_dir, key):
    """Return the entry of this key, or None where there is no sound one.

    Parameters
    ----------
    cache_dir : str or PathLike
        The folder of the cache.
    key : str
        As `content_key` gives it.

    Returns
    -------
    sequence : CachedSequence or None
        The entry.
    """
    # Whatever a broken entry raises, the remedy is to write it anew.
    with contextlib.suppress(OSError, ValueError, EOFError):
        return CachedSequence(_path(cache_dir, key))
    return None


def write(cache_dir, key, array):
    """Store an entry.

    Parameters
    ----------
    cache_dir : str or PathLike
        The folder of the cache, made if absent.
    key : str
        As `content_key` gives it.
    array : ndarray of shape (n_features, n_frames)
        What is kept.

    Returns
    -------
    sequence : CachedSequence
        The entry.
    """
    path = _path(cache_dir, key)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with atomic_write(path) as file:
        np.save(file, array, allow_pickle=False)
    return CachedSequence(path)


def _path(cache_dir, key):
    return os.path.join(cache_dir, key[:2], f"{key}.npy")
