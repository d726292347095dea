"""Audio files: opening, decoding, and checks of the length in their header.

libsndfile believes a header: it decodes what is left of a cut file, and leaves out what
lies behind the end that the header names. So the files are looked at here, too.
"""

import contextlib
import io
import mmap
import os
import re

from .._files import check_regular, naming_content, once_a_file

MAX_DURATION = 3600.0
"""Longest recording in seconds: a header that claims more is not decoded."""

MAX_SAMPLES = 2**29
"""Most samples, over all channels, that one file may decode to."""

UNKNOWN_LENGTH = 2**63 - 1
"""libsndfile's number of samples in a streamed file."""

CUT = "is cut short"

WHOLE = (0.0, None)
"""Start and end in seconds of a recording that is no segment of a longer one."""

FORMATS = (
    *("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "VOC", "HTK"),
    *("FLAC", "OGG", "MP3", "MPEG"),
)
"""Formats of libsndfile whose files store their length, so a cut is noticed."""

_LONGEST_NAME = 1023  # bytes of a path that libsndfile keeps
# Where the chunks of a format begin, the byte order and width of their sizes, and the
# name of the chunk with the samples.
_CHUNKS = {
    **dict.fromkeys(("WAV", "WAVEX", "RF64"), (12, "little", 4, b"data")),
    "AIFF": (12, "big", 4, b"SSND"),
    "CAF": (8, "big", 8, b"data"),
}
# Chunks that may follow the samples, even if the file ends within them.
_BEHIND = (
    *(b"LIST", b"JUNK", b"PAD ", b"FLLR", b"PEAK", b"bext", b"cue ", b"id3 ", b"ID3 "),
    *(b"iXML", b"smpl", b"junk"),
)
_OTHER_CHUNKS = re.compile(b"|".join(_BEHIND), re.IGNORECASE)
_STREAMED = 0x7FFFF000  # claims from here on stand for an unknown length
_SHORT_REST = 128  # bytes behind the samples that may be anything, such as an ID3 tag
_W64_CLAIM = re.compile(r"^\s*riff\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_NIST_COUNT = re.compile(rb"^sample_count -i (\d+)", re.MULTILINE)
_ZEROS = re.compile(rb"\0*")
_START_OF_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_NIST_BLOCK = 512  # samples to which a NIST file may be filled up
# libsndfile's remarks on a VOC file
_TRUNCATED = "Seems to be a truncated file"
_SEVERAL = "Seems to be a multi-segment file"
_RESERVOIR = 32 * 1152  # samples of MP3 frames that may hold bits of a later frame
# kilobits per second of an MP3's frames, from the index 1 on: layer 3 of MPEG 1, and of
# MPEG 2 and 2.5
_BITRATES = (
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
_MPEG = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_LONGEST_REST = 2**16  # bytes before the first frame in which it is looked for
_MPEG_KIND = 0xFFFE0C00  # the bits of a frame's header that all frames share


def read_file(source, name, times=WHOLE):
    """Decode a path, or the bytes of a file, to its samples and its rate.

    The samples are int16 or float32, of shape (n_times,) or (n_channels, n_times). A
    file that is missing, not regular, too long or of another length than its header
    says is a ValueError, as is one that does not decode. Of a segment with the `times`
    start and end nothing else is decoded, where the format allows it.
    """
    with naming_faults(name), open_audio(source) as file:
        n_times, rate = file.frames, file.samplerate
        if n_times == UNKNOWN_LENGTH:
            raise ValueError(
                f"{name} was streamed: found no length in its header, expected "
                "one. Encode it again."
            )
        first, last = sample_range(times, rate, n_times, name)
        n_wanted = last - first
        if n_wanted > min(MAX_DURATION * rate, MAX_SAMPLES // file.channels):
            raise ValueError(too_long(name, n_wanted, rate, file.channels))
        # libsndfile's own conversion of 16-bit samples is the slower one.
        dtype = "int16" if file.subtype == "PCM_16" else "float32"
        skip(file, first, dtype)
        # Formats without seeking, such as GSM 6.10, need the number of samples.
        wave = file.read(n_wanted, dtype=dtype)
        fault = length_fault(file, source)
        if fault is None and len(wave) < n_wanted:
            if is_estimate(file, source):
                sample_range(times, rate, first + len(wave), name)
            else:
                fault = CUT
        if fault == CUT:
            raise ValueError(
                f"{name} is cut short: found {len(wave)} samples at {rate} Hz, "
                "expected as many as its header or its frames say. Copy or download it "
                "again. To use the existing samples, decode them and pass the waveform."
            )
        if fault is not None:
            raise ValueError(wrong_header(name, fault))
        return wave.T, rate


def sample_range(times, rate, n_times, name):
    """Return the first sample of a segment, and the number of its last one plus one.

    The times are rounded to samples. An end that is one sample behind the end of the
    recording, where another program rounded it, is the end of the recording.
    """
    start, end = times
    if times == WHOLE or n_times == 0:
        return 0, n_times
    if max(start, end or 0.0) * rate > n_times + 1.5:
        raise ValueError(
            f"{name} is beyond the end of the recording, which has {n_times} samples "
            f"at {rate:g} Hz ({n_times / rate:.6g} s)."
        )
    first = round(start * rate)
    last = n_times if end is None else min(round(end * rate), n_times)
    if first >= last:
        raise ValueError(
            f"{name} holds no sample of the recording, which has {n_times} samples at "
            f"{rate:g} Hz ({n_times / rate:.6g} s). Expected a segment of at least one."
        )
    return first, last


def skip(file, n_times, dtype):
    """Move an open file to a sample, so that what follows is as in the whole.

    A jump within Opus decodes other samples, and some formats allow no jump.
    """
    if n_times and file.seekable() and file.subtype != "OPUS":
        before = _RESERVOIR if file.format in ("MP3", "MPEG") else 0
        n_times -= file.seek(max(0, n_times - before))
    # Else soundfile jumps to where it is after each block, which damages MP3.
    file.seekable = lambda: False
    while n_times and (n_read := len(file.read(min(n_times, 2**18), dtype))):
        n_times -= n_read


@contextlib.contextmanager
def naming_faults(name):
    """Turn the errors of opening and decoding into a ValueError with a name."""
    try:
        yield
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


def wrong_header(name, fault):
    """Return the message for a file that goes on behind the end in its header."""
    return (
        f"{name} {fault}. Expected a header that tells the length of the recording. "
        "Write the file again with a correct header, or decode it and pass the "
        "waveform."
    )


@contextlib.contextmanager
def open_audio(source):
    """Open a path, or the bytes of a file, with soundfile.

    The name may be long or not UTF-8. A file whose header has no length, or an MP3 file
    whose header has one that is too small, is read to its end. A file that is not
    regular may never end, and is an OSError; so is one of a format that is not in
    `FORMATS`.
    """
    import soundfile

    with contextlib.ExitStack() as stack:
        stack.enter_context(naming_content(source))
        try:
            file = _open(source, stack)
        except RuntimeError:
            with _content(source) as data:
                bare = _Mended(source, b"", _first_frame(data), len(data))
            file = soundfile.SoundFile(stack.enter_context(bare))
        stack.enter_context(file)
        if file.format not in FORMATS:
            raise OSError(
                f"it has the format {file.format}, whose files do not store their "
                f"length. Convert it to one of {', '.join(FORMATS)}."
            )
        mended = _with_true_length(file, source)
        if mended is not None:
            content = stack.enter_context(_Mended(source, *mended))
            file = stack.enter_context(soundfile.SoundFile(content))
        yield file


class _Mended(io.RawIOBase):
    """A file, or its bytes, from `start` to `end` behind a `head` of its own.

    It is read where it is decoded: an hour may be larger than the memory to spare.
    """

    def __init__(self, source, head, start, end):
        is_bytes = isinstance(source, bytes)
        self._file = io.BytesIO(source) if is_bytes else open(source, "rb")  # noqa: SIM115
        self._head, self._start, self._at = head, start, 0
        self._size = len(head) + end - start

    def seek(self, offset, whence=os.SEEK_SET):
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self):
        return self._at

    def readinto(self, buffer):
        n_wanted = max(0, min(len(buffer), self._size - self._at))
        data = self._head[self._at : self._at + n_wanted]
        self._file.seek(self._start + max(0, self._at - len(self._head)))
        data += self._file.read(n_wanted - len(data))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self):
        self._file.close()
        super().close()


def _open(source, stack):
    import soundfile

    if not isinstance(source, bytes):
        check_regular(source)
    with _content(source) as data:
        start = _behind_tags(data) if data[:3] == b"ID3" else 0
        # Of other files behind a tag, libsndfile loses the end, or cannot seek.
        if start and not _size_of_frame(data[start : start + 4]):
            behind = _Mended(source, b"", start, len(data))
            return soundfile.SoundFile(stack.enter_context(behind))
    if isinstance(source, bytes):
        return soundfile.SoundFile(io.BytesIO(source))
    name = os.fspath(source)
    if os.name == "posix":
        name = os.fsencode(name)  # names need not be UTF-8
    if os.name == "posix" and len(name) > _LONGEST_NAME:
        descriptor = os.open(name, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        return soundfile.SoundFile(descriptor, closefd=False)
    return soundfile.SoundFile(name)


def _with_true_length(file, source):
    """Find a header that tells the length of a file; None if its own one does.

    It is a head of bytes, and the start and end of what follows in the file.
    """
    if file.format in ("MP3", "MPEG"):
        with _content(source) as data:
            return _with_true_count(data, source)
    if file.format == "FLAC" and file.frames == UNKNOWN_LENGTH:
        with _content(source) as data:
            head, n_times = data.find(b"fLaC"), _length_of_flac(data)
            if not n_times:
                return None
            count = (data[head + 21] & 0xF0) << 32 | n_times  # behind four other bits
            new = data[head : head + 21] + count.to_bytes(5, "big")
            return new, head + 26, len(data)
    if file.format in ("WAV", "WAVEX"):
        with _content(source) as data:
            start, claim, layout = _samples_chunk(data, file.format)
            is_known = 0 < claim < _STREAMED or (claim == 0 and file.frames)
            if is_known or _is_no_sound(data, start, layout):
                return None
            end = _end_of_samples(data, start, layout)
            if claim and end == len(data):
                return None  # libsndfile reads to the end
            size = (end - start).to_bytes(4, layout[0])
            return data[_behind_tags(data) : start - 4] + size, start, end
    return None


def _end_of_samples(data, start, layout):
    """Return where samples of unknown size end: before chunks that fill the rest."""
    ends = [len(data)]
    for name in _BEHIND:
        at = data.find(name, start)
        while at >= 0:
            if _are_chunks(data, at, layout):
                ends.append(at)
            at = data.find(name, at + 1)
    return min(ends)


def _are_chunks(data, at, layout):
    """Tell whether chunks fill a file from here to its end."""
    end = at
    for name, start, size in _chunks(data, at, *layout):
        if not all(32 <= byte < 127 for byte in name):
            return False
        end = start + size
    return end == len(data) or (end % 2 == 1 and end + 1 == len(data))


@contextlib.contextmanager
def _content(source):
    """Give the bytes of a file, which are read where they are looked at."""
    if isinstance(source, bytes):
        yield source
        return
    with open(source, "rb") as stream:
        if os.fstat(stream.fileno()).st_size == 0:
            yield b""
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def is_estimate(file, source):
    """Tell whether nothing counts the frames of an MP3 file, not even a new header."""
    if file.format not in ("MP3", "MPEG") or isinstance(file.name, _Mended):
        return False
    with _content(source) as data:
        return _has_no_count(data)


def _has_no_count(data):
    start = _first_frame(data)
    start = data[start : start + 4096]
    return not any(mark in start for mark in (b"Xing", b"Info"))


def length_fault(file, source):
    """Return what is wrong with the length in a header: `CUT`, a text, or None.

    The text tells what lies behind the end that the header names. The header of a
    streamed file was written before its end was known: it has no fault.
    """
    return _fault(source, file.format, file.frames, file.extra_info)


@once_a_file
def _fault(source, format, frames, log):
    with _content(source) as data:
        if format == "OGG":
            return _fault_of_ogg(data)
        if format == "FLAC":
            return _fault_of_flac(data, frames)
        if format in ("MP3", "MPEG"):
            return CUT if _has_no_count(data) and mp3_is_cut(data) else None
        if format in _CHUNKS or format == "AU":
            return _fault_of_chunks(data, format, frames)
        if format == "NIST":
            for claim in map(int, _NIST_COUNT.findall(data[:1024])):
                if 0 < claim < frames - _NIST_BLOCK:
                    return _more(f"{frames - claim} samples", f"the first {claim}")
                return CUT if frames < claim else None
    for claim, found in (map(int, pair) for pair in _W64_CLAIM.findall(log)):
        if found - _SHORT_REST > claim > 0:
            return _more(f"{found - claim} bytes", f"the first {claim}")
        return CUT if found + 1 < claim < _STREAMED else None
    if _SEVERAL in log:
        return _more("another block", "the first one")
    return CUT if _TRUNCATED in log else None


def _more(found, where):
    return f"holds more than its header says: found {found} behind {where}"


def _fault_of_chunks(data, format, frames):
    """Return the fault of a file whose samples have a start and a size in bytes."""
    start, claim, layout = _samples_chunk(data, format)
    left = len(data) - start
    if claim >= _STREAMED:
        return None
    if left + 1 < claim:  # by more than a byte of padding
        return CUT
    if claim == 0 and frames:  # it was read to the end
        return None
    if left - claim <= _SHORT_REST or _is_no_sound(data, start + claim, layout):
        return None
    return _more(f"{left - claim} bytes", f"the {claim} bytes of samples")


def _samples_chunk(data, format):
    """Return start and size of the samples, and the layout of the chunks behind them.

    libsndfile's log is bounded, and other chunks may fill it.
    """
    if format == "AU":
        order = "big" if data[:4] == b".snd" else "little"
        start, claim = (int.from_bytes(data[i : i + 4], order) for i in (4, 8))
        return start, claim, None
    first, order, width, wanted = _CHUNKS[format]
    tags = _behind_tags(data)
    layout = "big" if data[tags : tags + 4] == b"RIFX" else order, width
    for name, start, claim in _chunks(data, tags + first, *layout):
        if name == wanted:
            if format == "RF64" and claim == 0xFFFFFFFF:  # it is in the chunk ds64
                claim = int.from_bytes(data[tags + 28 : tags + 36], "little")
            return start, claim, layout
    return len(data), 0, layout


def _chunks(data, at, order, width):
    """Yield name, start and size of each chunk, also of one that is cut short."""
    while at + 4 + width <= len(data):
        name, start = data[at : at + 4], at + 4 + width
        size = int.from_bytes(data[at + 4 : start], order)
        yield name, start, size
        at = start + size + size % 2 * (width == 4)


def _is_no_sound(data, at, layout):
    """Tell whether the rest of a file is chunks or zeros."""
    if not data[at:].strip(b"\0"):
        return True
    if layout is None:
        return False
    order, width = layout
    at += at % 2 * (width == 4)
    for name, start, size in _chunks(data, at, order, width):
        rest = data[start - 4 - width :]
        if len(rest) <= _SHORT_REST or not rest.strip(b"\0"):
            return True
        is_name = all(32 <= byte < 127 for byte in name) and start + size <= len(data)
        if not is_name and not _OTHER_CHUNKS.fullmatch(name):
            return False
    return True


def _fault_of_ogg(data):
    """Walk through the pages: one recording, whose last page is marked and whole."""
    at, end, flags, sounds = data.find(b"OggS"), 0, 0, False
    while at >= 0 and at + 27 <= len(data):
        flags, n_segments = data[at + 5], data[at + 26]
        if flags & 2 and sounds:  # the start of a stream
            return _more("another recording", "the end of the first one")
        sounds = sounds or not flags & 2
        end = at + 27 + n_segments + sum(data[at + 27 : at + 27 + n_segments])
        at = data.find(b"OggS", end)
    is_whole = flags & 4 and 0 < end <= len(data) and at < 0
    return None if is_whole else CUT


def _fault_of_flac(data, n_times):
    head = data.find(b"fLaC")
    if _START_OF_FLAC.search(data, head + 4):
        return _more("another recording", "the end of the first one")
    found = _length_of_flac(data)
    if found is None or found <= n_times:
        return None
    return _more(f"samples up to number {found}", f"the first {n_times}")


def _length_of_flac(data):
    """Return the number of samples up to the end of the last frame, if there is one."""
    head = data.find(b"fLaC")
    at, is_last = head + 4, False
    while not is_last and at + 4 <= len(data):
        is_last = data[at] & 128
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    first, block = data[at : at + 4], int.from_bytes(data[head + 8 : head + 10], "big")
    if first[:1] != b"\xff":
        return None
    at = len(data)
    while (at := data.rfind(first[:2], head, at)) >= 0:
        found = data[at : at + 16]
        # All frames have the rate and the depth of the first one.
        if len(found) > 6 and not (found[2] ^ first[2] | found[3] ^ first[3]) & 15:
            end = _end_of_flac_frame(found, block)
            if end is not None:
                return end
    return None


def _end_of_flac_frame(head, fixed_block):
    """Return the number of samples up to the end of a frame, or None if it is none."""
    ones = 8 - (head[4] ^ 255).bit_length()  # the number is coded as in UTF-8
    code, rate = head[2] >> 4, head[2] & 15
    number_end = 4 + max(ones, 1)
    length_end = number_end + {6: 1, 7: 2}.get(code, 0)
    end = length_end + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if (
        ones in (1, 8)
        or code == 0
        or len(head) <= end
        or _crc8(head[:end]) != head[end]
    ):
        return None
    number = head[4] & 0x7F >> ones
    for byte in head[5:number_end]:
        number = number << 6 | byte & 63
    length = int.from_bytes(head[number_end:length_end], "big") + 1
    if length_end == number_end:
        length = 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8
    return (number if head[1] & 1 else number * fixed_block) + length


def _crc8(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 ^ (0x107 if crc & 128 else 0)
    return crc


def _behind_tags(data):
    """Return where a file begins behind its tags and zeros."""
    at = _ZEROS.match(data).end()
    while data[at : at + 3] == b"ID3":
        at = _ZEROS.match(data, _behind_tag(data, at)).end()
    return at


def _first_frame(data):
    """Return where the first MP3 frame begins, also behind the rest of a cut one.

    A recording of a radio stream starts anywhere.
    """
    start = at = _behind_tags(data)
    while start <= at < start + _LONGEST_REST and not _is_other_layer(data, start):
        end = at
        for _ in range(3):  # one or two may be chance
            size = _size_of_frame(data[end : end + 4])
            end += size
        if size:
            return at
        at = data.find(b"\xff", at + 1)
    return start


def _is_other_layer(data, at):
    bits = int.from_bytes(data[at : at + 2], "big")
    return bits >> 5 == 0x7FF and bits >> 1 & 3 in (2, 3)


def _behind_tag(data, at):
    size = data[at + 6 : at + 10]
    return at + 10 + sum(byte << 7 * i for i, byte in enumerate(size[::-1]))


def mp3_is_cut(data):
    """Tell whether the last frame of an MP3 file is incomplete.

    A file that is cut between two frames cannot be told from a whole one.
    """
    at = _first_frame(data)
    while size := _size_of_frame(data[at : at + 4]):
        at += size
    rest = data[at : at + 4]
    return at > len(data) or (len(rest) < 4 and rest[:1] == b"\xff")


def _with_true_count(data, source):
    """Find a header that counts the frames of an MP3 file; None if its own one does.

    Without the count, libsndfile guesses the length from the size of the first frame.
    A count that is too small is that of the first of several joined files.
    """
    first = _first_frame(data)
    size = _size_of_frame(data[first : first + 4])
    if not size:
        return None  # of another layer
    head = int.from_bytes(data[first : first + 4], "big")
    is_mpeg1, is_mono = head >> 19 & 3 == 3, head >> 6 & 3 == 3
    side = first + 4 + (17 if is_mpeg1 == is_mono else 32 if is_mpeg1 else 9)
    side += 0 if head >> 16 & 1 else 2  # a checksum
    claim, is_counted = None, data[side : side + 4] in (b"Xing", b"Info")
    if is_counted and data[side + 7] & 1:
        claim = int.from_bytes(data[side + 8 : side + 12], "big")
    # Of a header of Fraunhofer's encoder, libsndfile does not take the count.
    has_header = is_counted or data[first + 36 : first + 40] == b"VBRI"
    start = first + size if has_header else first
    found = _count_in_file(source, start, head & _MPEG_KIND)
    if claim is not None and found <= claim + 1:  # some count their own frame
        return None
    header = bytearray(size)
    header[:4] = data[first : first + 4]
    mark = b"Xing" + (1).to_bytes(4, "big") + found.to_bytes(4, "big")
    header[side - first : side - first + len(mark)] = mark
    return bytes(header), start, len(data)


@once_a_file
def _count_in_file(source, at, kind):
    with _content(source) as data:
        return _count_frames(data, at, kind)


def _count_frames(data, at, kind):
    """Count the frames of an MP3 file, over tags and damage between them."""

    def size_at(at):
        head = data[at : at + 4]
        known = int.from_bytes(head, "big") & _MPEG_KIND == kind
        return _size_of_frame(head) if known else 0

    count = 0
    while at >= 0:
        while size := size_at(at):
            at, count = at + size, count + 1
        if data[at : at + 3] == b"ID3":
            at = _behind_tag(data, at)
            continue
        at = data.find(b"\xff", at + 1)
        while at >= 0 and not ((size := size_at(at)) and size_at(at + size)):
            at = data.find(b"\xff", at + 1)
    return count


def _size_of_frame(head):
    """Return the bytes of the MP3 frame with this header of 4 bytes, or 0."""
    bits = int.from_bytes(head, "big")
    version, bitrate, rate = bits >> 19 & 3, bits >> 12 & 15, bits >> 10 & 3
    known = len(head) == 4 and bits >> 21 == 0x7FF and bits >> 17 & 3 == 1
    if not known or version not in _MPEG or bitrate in (0, 15) or rate == 3:
        return 0
    rate = _MPEG[version][rate]
    per_second = 1000 * _BITRATES[version != 3][bitrate - 1]
    return (144 if version == 3 else 72) * per_second // rate + (bits >> 9 & 1)
