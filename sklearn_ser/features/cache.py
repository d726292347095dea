"""A resumable cache of features, one file for each recording.

An entry is found by the SHA-256 of the recording (the bytes of the file, or of the
waveform and its rate) and of the settings that shape the features. So a renamed file
keeps its entry, and a changed parameter gets a new one. An entry is written to a
temporary name and then renamed: another process sees all of it or nothing.

An entry is a ``.npy`` file, followed by a checksum of its key and its bytes. An entry
that is damaged, or belongs to another recording, is computed again. Earlier releases
wrote no checksums. Their entries are read if they are whole and finite.
"""

import hashlib
import io
import os
from collections.abc import Mapping

import numpy as np

from .._files import atomic_write, check_regular
from ..sequences import CachedSequence

# Raise this number whenever the same settings begin to give other features.
_FORMAT = 1
_MARK = b"sklearn-ser entry"
_CHECKSUM = 16  # bytes


def content_key(recording, settings):
    """Hash a recording's content together with the settings.

    Parameters
    ----------
    recording : str, PathLike, array-like or mapping
        As `load_audio` takes it.
    settings : object
        Everything else that shapes the features; its repr is hashed.

    Returns
    -------
    key : str or None
        None if the content cannot be read. Loading the recording then says why.
    """
    digest = hashlib.sha256(f"{_FORMAT}:{settings!r}:".encode())
    rate, path = None, recording
    if isinstance(recording, Mapping):
        rate, path = recording.get("sampling_rate"), recording.get("path")
        recording = recording.get("array")
        recording = path if recording is None else recording
    if isinstance(recording, str | os.PathLike):
        try:
            check_regular(recording)  # a device may never end
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
    """Return the entry of this key; compute and store it first if there is none.

    Parameters
    ----------
    cache_dir : str or PathLike
        The folder of the cache, which is created if it is missing.
    key : str
        As `content_key` gives it.
    compute : callable
        Called without arguments if there is no sound entry; it returns a 2-D array.

    Returns
    -------
    sequence : CachedSequence
        The entry.
    """
    found = read(cache_dir, key)
    return write(cache_dir, key, compute()) if found is None else found


def read(cache_dir, key):
    """Return the entry of this key, or None if it is missing or broken.

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
    path = _path(cache_dir, key)
    try:
        with open(path, "rb") as file:
            data = file.read()
        content = memoryview(data)[: -len(_MARK) - _CHECKSUM]
        if not data.endswith(_trailer(key, content)):
            _check_without_checksum(data)
        return CachedSequence(path)
    except Exception:  # a damaged header may raise anything
        return None


def _trailer(key, content):
    digest = hashlib.blake2b(key.encode(), digest_size=_CHECKSUM)
    digest.update(content)
    return _MARK + digest.digest()


def _check_without_checksum(data):
    """Refuse everything except one complete array of finite numbers."""
    stream = io.BytesIO(data)
    array = np.lib.format.read_array(stream, allow_pickle=False)
    if stream.read(1) or not np.isfinite(array).all():
        raise ValueError("the entry is damaged")


def write(cache_dir, key, array):
    """Store an entry.

    Parameters
    ----------
    cache_dir : str or PathLike
        The folder of the cache, which is created if it is missing.
    key : str
        As `content_key` gives it.
    array : ndarray of shape (n_features, n_frames)
        The features.

    Returns
    -------
    sequence : CachedSequence
        The entry.

    Raises
    ------
    OSError
        If the folder cannot be written, or has no space left.
    """
    path = _path(cache_dir, key)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with atomic_write(path) as file:
            content = io.BytesIO()
            np.save(content, array, allow_pickle=False)
            content = content.getbuffer()
            file.write(content)
            file.write(_trailer(key, content))
    except OSError as error:
        message = f"cache_dir '{cache_dir}' cannot be written: {error}"
        raise OSError(error.errno, message) from error
    return CachedSequence(path)


def _path(cache_dir, key):
    return os.path.join(cache_dir, key[:2], f"{key}.npy")
