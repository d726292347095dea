"""Audio files: opening, decoding, and checks that they are complete.

A file is cut short if it ends before its header says so. Its header has to be read to
notice that, since libsndfile decodes what is left of the file without an error.
"""

import contextlib
import os
import re

from .._files import check_regular

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
_NIST_COUNT = re.compile(rb"^sample_count -i (\d+)", re.MULTILINE)
_STREAMED = 0x7FFFF000  # claims from here on stand for an unknown length
_TRUNCATED = "Seems to be a truncated file"  # libsndfile's remark on a VOC file
_LONGEST_PAGE = 27 + 255 + 255 * 255  # of Ogg, in bytes
# kilobits per second of an MP3's frames, from the index 1 on: layer 3 of MPEG 1, and of
# MPEG 2 and 2.5
_BITRATES = (
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
_MPEG = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}

FORMATS = (
    *("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "VOC", "HTK"),
    *("FLAC", "OGG", "MP3", "MPEG"),
)
"""Formats of libsndfile whose files store their length, so a cut is noticed."""


def read_file(path, name):
    """Decode a file.

    Parameters
    ----------
    path : str or PathLike
        The file.
    name : str
        The name of the recording in error messages.

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
                    "expected as many as its header says. Copy or download it again. "
                    "To use the existing samples, decode them and pass the waveform."
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
        If the file is missing, is not regular (such a file may never end), is not audio
        or is of a format that is not in `FORMATS`.
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
                yield _known(file)
            return
    with soundfile.SoundFile(name) as file:
        yield _known(file)


def _known(file):
    if file.format not in FORMATS:
        raise OSError(
            f"it has the format {file.format}, whose files do not store their "
            f"length. Convert it to one of {', '.join(FORMATS)}."
        )
    return file


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
        stream.seek(_start_of_mp3(stream))
        start = stream.read(4096)
    return not any(mark in start for mark in (b"Xing", b"Info", b"VBRI"))


def _start_of_mp3(stream):
    """Return where the frames of an MP3 file begin, behind its tag."""
    start = stream.read(10)
    if start[:3] != b"ID3":
        return 0
    return 10 + sum(byte << 7 * i for i, byte in enumerate(start[:5:-1]))


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
    if is_estimate(file, path):
        with open(path, "rb") as stream:
            return mp3_is_cut(stream)
    if file.format in ("WAV", "WAVEX", "CAF"):
        claims = [_claim_of_chunk(path)]
    elif file.format == "NIST":
        with open(path, "rb") as stream:
            claims = _NIST_COUNT.findall(stream.read(1024))
        return any(file.frames < int(claim) for claim in claims)
    else:
        claims = _CLAIM.findall(file.extra_info)
    if any(int(found) + 1 < int(claim) < _STREAMED for claim, found in claims):
        return True  # by more than a byte of padding
    return _TRUNCATED in file.extra_info


def _claim_of_chunk(path):
    """Return the bytes of samples that a WAV or CAF file claims, and those it has.

    libsndfile's log is bounded, and other chunks may fill it.
    """
    with open(path, "rb") as stream:
        total = os.fstat(stream.fileno()).st_size
        kind = stream.read(8)[:4]
        order, width = ("big", 8) if kind == b"caff" else ("little", 4)
        order = "big" if kind == b"RIFX" else order
        stream.seek(8 if kind == b"caff" else 12)
        while len(head := stream.read(4 + width)) == 4 + width:
            size = int.from_bytes(head[4:], order)
            if head[:4] == b"data":
                return size, total - stream.tell()
            if size > total:
                break
            stream.seek(size + size % 2 * (width == 4), os.SEEK_CUR)
    return 0, 0


def mp3_is_cut(stream):
    """Tell whether the last frame of an MP3 file, open in binary, is incomplete.

    A file that is cut between two frames cannot be told from a whole one.
    """
    at = _start_of_mp3(stream)
    stream.seek(0)
    data = stream.read()
    while size := _size_of_frame(data[at : at + 4]):
        at += size
    rest = data[at : at + 4]
    return at > len(data) or (len(rest) < 4 and rest[:1] == b"\xff")


def _size_of_frame(head):
    """Return the bytes of the MP3 frame with this header of 4 bytes, or 0."""
    bits = int.from_bytes(head)
    version, bitrate, rate = bits >> 19 & 3, bits >> 12 & 15, bits >> 10 & 3
    known = len(head) == 4 and bits >> 21 == 0x7FF and bits >> 17 & 3 == 1
    if not known or version not in _MPEG or bitrate in (0, 15) or rate == 3:
        return 0
    rate = _MPEG[version][rate]
    per_second = 1000 * _BITRATES[version != 3][bitrate - 1]
    return (144 if version == 3 else 72) * per_second // rate + (bits >> 9 & 1)


def _ogg_is_cut(path):
    """Tell whether the last page of an Ogg file is incomplete or not marked as last."""
    with open(path, "rb") as stream:
        stream.seek(-min(os.path.getsize(path), _LONGEST_PAGE), os.SEEK_END)
        data = stream.read()
    page = data[data.rfind(b"OggS") :]
    if len(page) < 27 or not page[5] & 4:  # the mark of the end of a stream
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
