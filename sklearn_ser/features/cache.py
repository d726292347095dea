"""A resumable cache of features, one file for each recording.

An entry is found by the SHA-256 of the recording (the bytes of the file, or of the
waveform and its rate), of its times if it is a segment, and of the settings that shape
the features. So a renamed file keeps its entry, and a changed parameter gets a new one.
An entry is written to a temporary name and then renamed: another process sees all of it
or nothing.

An entry is a ``.npy`` file, followed by a checksum of its key and its bytes. An entry
that is damaged, or belongs to another recording, is computed again.
"""

import hashlib
import io
import os
from collections.abc import Mapping

import numpy as np

from .._files import atomic_write, check_regular, once_a_file
from ..sequences import CachedSequence
from ._audio_files import WHOLE, sample_range
from .audio import as_mapping, file_of, times_of

# Raise this number whenever the same settings begin to give other features.
_FORMAT = 1
_MARK = b"sklearn-ser entry"
_CHECKSUM = 16  # bytes


def content_key(recording, settings):
    """Hash a recording's content together with the repr of the settings.

    The key is None if the content cannot be read. Loading the recording then says why.
    """
    digest = hashlib.sha256(f"{_FORMAT}:{settings!r}:".encode())
    try:
        source, rate = as_mapping(recording), None
        times, file = times_of(source), file_of(source)
        if file is not None:
            _update_by_file(digest, file, times)
            return digest.hexdigest()
        if isinstance(source, Mapping):
            source, rate = source.get("array"), source.get("sampling_rate")
        wave = np.asarray(source)
        if times != WHOLE:
            n_times = wave.shape[-1]
            wave = wave[..., slice(*sample_range(times, rate, n_times, "recording"))]
        wave = np.ascontiguousarray(wave)
    except (IndexError, OSError, TypeError, ValueError):
        return None
    if wave.dtype.hasobject:
        return None
    digest.update(f"{wave.dtype.str}:{wave.shape}:{rate!r}:".encode())
    digest.update(wave.data.cast("B") if wave.size else b"")
    return digest.hexdigest()


def _update_by_file(digest, source, times):
    """Add the bytes of a file to a digest, or their own digest and times of a part.

    The many segments of one long file need it to be read once.
    """
    if not isinstance(source, bytes):
        check_regular(source)  # a device may never end
    if times != WHOLE:
        digest.update(f"{times!r}:".encode() + _digest_of_file(source))
    else:
        _read_into(digest, source)


@once_a_file
def _digest_of_file(source):
    return _read_into(hashlib.sha256(), source).digest()


def _read_into(digest, source):
    is_bytes = isinstance(source, bytes)
    with io.BytesIO(source) if is_bytes else open(source, "rb") as file:
        return hashlib.file_digest(file, lambda: digest)


def read(cache_dir, key):
    """Return the entry of a key, or None if it is missing or broken."""
    path = _path(cache_dir, key)
    try:
        with open(path, "rb") as file:
            data = file.read()
        content = memoryview(data)[: -len(_MARK) - _CHECKSUM]
        return CachedSequence(path) if data.endswith(_trailer(key, content)) else None
    except Exception:  # a damaged header may raise anything
        return None


def _trailer(key, content):
    digest = hashlib.blake2b(key.encode(), digest_size=_CHECKSUM)
    digest.update(content)
    return _MARK + digest.digest()


def write(cache_dir, key, array):
    """Store an array (n_features, n_frames) as the entry of a key, and return it.

    A folder that cannot be written is an OSError that names it.
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
    # An entry is read later, perhaps from another working directory.
    return os.path.join(os.path.abspath(cache_dir), key[:2], f"{key}.npy")
