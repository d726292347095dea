"""Audio files: how they are opened and decoded, and whether they are whole.

A file is cut short if it ends before its header says so. Its header has to be read to
notice that, since libsndfile decodes what is left of the file without an error.
"""

import contextlib
import os
import re

from sklearn_ser._files import check_regular

MAX_DURATION = 3600.0
"""Longest recording in seconds: a header that claims more is not decoded."""

MAX_SAMPLES = 2**29
"""Most samples, over all channels, that one file may decode to."""

_UNKNOWN_LENGTH = 2**63 - 1  # libsndfile's SF_COUNT_MAX
_LONGEST_NAME = 1023  # bytes of a path that libsndfile keeps
# libsndfile's remark on a chunk whose header claims more bytes than there are: the
# samples of AIFF and of AU, and the whole file of W64 and of RF64.
_CLAIM = re.compile(
    r"^\s*(?:SSND|Data Size|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)",
    re.MULTILINE,
)
_CAF_DATA = re.compile(r"^data : (\d+)$", re.MULTILINE)
_NIST_COUNT = re.compile(rb"^sample_count -i (\d+)", re.MULTILINE)
_STREAMED = 0x7FFFF000  # claims from here on stand for an unknown length
_TRUNCATED = "Seems to be a truncated file"  # libsndfile's remark on a VOC file
_LONGEST_PAGE = 27 + 255 + 255 * 255  # of Ogg, in bytes
_BYTES = {"PCM_S8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}


def read_file(path, name):
    """Decode a file.

    Parameters
    ----------
    path : str or PathLike
        The file.
    name : str
        What error messages call the recording.

    Returns
    -------
    wave : ndarray of shape (n_times,) or (n_channels, n_times)
        The samples, int16 or float32.
    rate : int
        The sampling rate in Hz.

    Raises
    ------
    ValueError
        If the file is missing, not a regular file, does not decode, has no length in
        its header, is too long or cut short.
    """
    try:
        with open_audio(path) as file:
            n_times, rate = file.frames, file.samplerate
            if n_times == _UNKNOWN_LENGTH:
                raise ValueError(
                    f"{name} was streamed: found no length in its header, expected "
                    "one. Encode it again."
                )
            if n_times > min(MAX_DURATION * rate, MAX_SAMPLES // file.channels):
                raise ValueError(too_long(name, n_times, rate, file.channels))
            # libsndfile's own conversion of 16-bit samples is the slower one.
            dtype = "int16" if file.subtype == "PCM_16" else "float32"
            # Formats without seeking, such as GSM 6.10, need the number of samples.
            wave = file.read(n_times, dtype=dtype)
            cut = len(wave) < n_times and not is_estimate(file, path)
            if cut or claims_more(file, path):
                raise ValueError(
                    f"{name} is cut short: found {len(wave)} samples at {rate} Hz, "
                    "expected as many as its header says. Copy or download it again; "
                    "to use what is left of it, decode it and pass the waveform."
                )
            return wave.T, rate
    except FileNotFoundError as error:
        raise ValueError(f"{name} is missing: found no such file.") from error
    except (OSError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"{name} does not decode: {error} Expected an audio file that "
            "soundfile can read."
        ) from error


def too_long(name, n_times, rate, n_channels=1):
    """Return the message for a recording beyond the limits."""
    return (
        f"{name} is too long: found {n_times} samples at {rate:g} Hz "
        f"({n_times / rate:.6g} s) in {n_channels} channel(s), expected at most "
        f"{MAX_DURATION:g} s and {MAX_SAMPLES} samples in all."
    )


@contextlib.contextmanager
def open_audio(path):
    """Open a regular file with soundfile, even if its name is long or not UTF-8.

    Parameters
    ----------
    path : str or PathLike
        The file.

    Yields
    ------
    file : soundfile.SoundFile
        The open file.

    Raises
    ------
    OSError, RuntimeError, TypeError
        If the file is missing, is not regular (such a file may never end) or not audio.
    """
    import soundfile

    check_regular(path)
    name = os.fspath(path)
    if os.name == "posix":
        name = os.fsencode(name)  # names need not be UTF-8
        if len(name) > _LONGEST_NAME:
            with (
                open(name, "rb") as stream,
                soundfile.SoundFile(stream.fileno(), closefd=False) as file,
            ):
                yield file
            return
    with soundfile.SoundFile(name) as file:
        yield file


def is_estimate(file, path):
    """Tell whether the number of samples of a file is libsndfile's guess.

    Parameters
    ----------
    file : soundfile.SoundFile
        The open file.
    path : str or PathLike
        Its path.

    Returns
    -------
    bool
        True for an MP3 file without a Xing or VBRI header.
    """
    if file.format not in ("MP3", "MPEG"):
        return False
    with open(path, "rb") as stream:
        start = stream.read(10)
        if start[:3] == b"ID3":  # a size of seven bits a byte
            size = sum(byte << 7 * i for i, byte in enumerate(start[:5:-1]))
            stream.seek(10 + size)
            start = b""
        start += stream.read(4096)
    return not any(mark in start for mark in (b"Xing", b"Info", b"VBRI"))


def claims_more(file, path):
    """Tell whether the header of a file claims more samples than follow it.

    Parameters
    ----------
    file : soundfile.SoundFile
        The open file.
    path : str or PathLike
        Its path.

    Returns
    -------
    bool
        False for a streamed file, whose header was written before its end was known.
    """
    if file.format == "OGG":
        return _ogg_is_cut(path)
    if file.format in ("WAV", "WAVEX"):
        claims = [_wav_claim(path)]
    elif file.format == "CAF" and file.subtype in _BYTES:
        size = file.frames * file.channels * _BYTES[file.subtype] + 4
        claims = [(claim, size) for claim in _CAF_DATA.findall(file.extra_info)]
    elif file.format == "NIST":
        with open(path, "rb") as stream:
            claims = _NIST_COUNT.findall(stream.read(1024))
        return any(file.frames < int(claim) for claim in claims)
    else:
        claims = _CLAIM.findall(file.extra_info)
    if any(int(found) + 1 < int(claim) < _STREAMED for claim, found in claims):
        return True  # by more than a byte of padding
    return _TRUNCATED in file.extra_info


def _wav_claim(path):
    """Return the bytes of samples that a WAV file claims, and those it has.

    libsndfile's log is bounded, and other chunks may fill it.
    """
    with open(path, "rb") as stream:
        total = os.fstat(stream.fileno()).st_size
        order = "big" if stream.read(12)[:4] == b"RIFX" else "little"
        while len(head := stream.read(8)) == 8:
            size = int.from_bytes(head[4:], order)
            if head[:4] == b"data":
                return size, total - stream.tell()
            stream.seek(size + size % 2, os.SEEK_CUR)
    return 0, 0


def _ogg_is_cut(path):
    """Tell whether the last page of an Ogg file is not whole, or not marked as last."""
    with open(path, "rb") as stream:
        stream.seek(-min(os.path.getsize(path), _LONGEST_PAGE), os.SEEK_END)
        data = stream.read()
    page = data[data.rfind(b"OggS") :]
    if len(page) < 27 or not page[5] & 4:  # the mark of the end of a stream
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
