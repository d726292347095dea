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

_LONGEST_NAME = 1023  # bytes of a path that libsndfile keeps
_MP3 = ("MP3", "MPEG")
# Where the chunks of a format begin, the byte order and width of their sizes, and the
# name of the chunk with the samples.
_CHUNKS = {
    **dict.fromkeys(("WAV", "WAVEX", "RF64"), (12, "little", 4, b"data")),
    "AIFF": (12, "big", 4, b"SSND"),
    "CAF": (8, "big", 8, b"data"),
}
# Chunks that may follow the samples, even if the file ends within them.
_BEHIND = rb"LIST|JUNK|PAD |FLLR|PEAK|bext|cue |id3 |ID3 |iXML|smpl|junk"
_OTHER_CHUNKS = re.compile(_BEHIND)  # in any case, a search takes ten times as long
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
    regular may never end, and is an OSError; so is one of a format whose files do not
    store their length.
    """
    import soundfile

    with contextlib.ExitStack() as stack:
        stack.enter_context(naming_content(source))
        if not isinstance(source, bytes):
            check_regular(source)
        data = stack.enter_context(_content(source))
        try:
            file = soundfile.SoundFile(_decoded(source, data))
        except RuntimeError:
            file = soundfile.SoundFile(_Part(data, _first_frame(data)))
        stack.enter_context(file)
        if file.format not in _FORMATS:
            raise OSError(
                f"it has the format {file.format}, whose files do not store their "
                f"length. Convert it to one of {', '.join(_FORMATS)}."
            )
        _, mended = _FORMATS[file.format]
        if part := mended and mended(data, file, source):
            file = stack.enter_context(soundfile.SoundFile(part))
        yield file


def _decoded(source, data):
    """Return what libsndfile reads of a file: its name, where that is possible."""
    start = _behind_tags(data) if data[:3] == b"ID3" else 0
    # Of other files behind a tag, libsndfile loses the end, or cannot seek.
    if start and not _size_of_frame(data[start : start + 4]):
        return _Part(data, start)
    if isinstance(source, bytes):
        return io.BytesIO(source)
    name = os.fspath(source)
    if os.name == "posix":
        name = os.fsencode(name)  # names need not be UTF-8
    return name if len(name) <= _LONGEST_NAME else _Part(data, 0)


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


class _Part(io.RawIOBase):
    """The content of a file from `start` to `end`, behind a `head` of its own.

    It is read where it is decoded: an hour may be larger than the memory to spare.
    """

    def __init__(self, data, start, end=None, head=b""):
        self._data, self._start, self._head, self._at = data, start, head, 0
        self._size = len(head) + (len(data) if end is None else end) - start

    def seek(self, offset, whence=os.SEEK_SET):
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self):
        return self._at

    def readinto(self, buffer):
        n_wanted = max(0, min(len(buffer), self._size - self._at))
        data = self._head[self._at : self._at + n_wanted]
        start = self._start + max(0, self._at - len(self._head))
        data += self._data[start : start + n_wanted - len(data)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def is_estimate(file, source):
    """Tell whether nothing counts the frames of an MP3 file, not even a new header."""
    if file.format not in _MP3 or isinstance(file.name, _Part):
        return False
    with _content(source) as data:
        return _has_no_count(data)


def length_fault(file, source):
    """Return what is wrong with the length in a header: `CUT`, a text, or None.

    The text tells what lies behind the end that the header names. The header of a
    streamed file was written before its end was known: it has no fault.
    """
    return _fault(source, file.format, file.frames, file.extra_info)


@once_a_file
def _fault(source, format, frames, log):
    fault_of, _ = _FORMATS[format]
    with _content(source) as data:
        return fault_of(data, format, frames, log)


def _more(found, where):
    return f"holds more than its header says: found {found} behind {where}"


def _number(data, at, width, order="big"):
    return int.from_bytes(data[at : at + width], order)


# Chunks: their names and their sizes stand in front of them


def _fault_of_chunks(data, format, frames, log):
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


def _mended_wav(data, file, source):
    start, claim, layout = _samples_chunk(data, file.format)
    is_known = 0 < claim < _STREAMED or (claim == 0 and file.frames)
    if is_known or _is_no_sound(data, start, layout):
        return None
    chunks = (found.start() for found in _OTHER_CHUNKS.finditer(data, start))
    end = next((at for at in chunks if _are_chunks(data, at, layout)), len(data))
    if claim and end == len(data):
        return None  # libsndfile reads to the end
    size = (end - start).to_bytes(4, layout[0])
    return _Part(data, start, end, data[_behind_tags(data) : start - 4] + size)


def _samples_chunk(data, format):
    """Return start and size of the samples, and the layout of the chunks behind them.

    libsndfile's log is bounded, and other chunks may fill it.
    """
    if format == "AU":
        order = "big" if data[:4] == b".snd" else "little"
        return _number(data, 4, 4, order), _number(data, 8, 4, order), None
    first, order, width, wanted = _CHUNKS[format]
    tags = _behind_tags(data)
    layout = "big" if data[tags : tags + 4] == b"RIFX" else order, width
    for name, start, claim in _chunks(data, tags + first, *layout):
        if name == wanted:
            if format == "RF64" and claim == 0xFFFFFFFF:  # it is in the chunk ds64
                claim = _number(data, tags + 28, 8, "little")
            return start, claim, layout
    return len(data), 0, layout


def _chunks(data, at, order, width):
    """Yield name, start and size of each chunk, also of one that is cut short."""
    while at + 4 + width <= len(data):
        name, start = data[at : at + 4], at + 4 + width
        size = _number(data, at + 4, width, order)
        yield name, start, size
        at = start + size + size % 2 * (width == 4)


def _are_chunks(data, at, layout):
    """Tell whether chunks fill a file from here to its end."""
    end = at
    for name, start, size in _chunks(data, at, *layout):
        if not all(32 <= byte < 127 for byte in name):
            return False
        end = start + size
    return end == len(data) or (end % 2 == 1 and end + 1 == len(data))


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
        if not is_name and not re.fullmatch(_BEHIND, name, re.IGNORECASE):
            return False
    return True


# Formats whose length libsndfile's log or the number of samples tells


def _fault_of_nist(data, format, frames, log):
    claim = _NIST_COUNT.search(data[:1024])
    claim = int(claim[1]) if claim else frames
    if 0 < claim < frames - _NIST_BLOCK:
        return _more(f"{frames - claim} samples", f"the first {claim}")
    return CUT if frames < claim else None


def _fault_in_log(data, format, frames, log):
    for claim, found in (map(int, pair) for pair in _W64_CLAIM.findall(log)):
        if found - _SHORT_REST > claim > 0:
            return _more(f"{found - claim} bytes", f"the first {claim}")
        return CUT if found + 1 < claim < _STREAMED else None
    if _SEVERAL in log:
        return _more("another block", "the first one")
    return CUT if _TRUNCATED in log else None


# Ogg: pages


def _fault_of_ogg(data, format, frames, log):
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


# FLAC: frames with a number and a checksum


def _fault_of_flac(data, format, frames, log):
    head = data.find(b"fLaC")
    if _START_OF_FLAC.search(data, head + 4):
        return _more("another recording", "the end of the first one")
    found = _length_of_flac(data)
    if found is None or found <= frames:
        return None
    return _more(f"samples up to number {found}", f"the first {frames}")


def _mended_flac(data, file, source):
    n_times = _length_of_flac(data) if file.frames == UNKNOWN_LENGTH else None
    if not n_times:
        return None
    head = data.find(b"fLaC")
    count = (data[head + 21] & 0xF0) << 32 | n_times  # behind four other bits
    new = data[head : head + 21] + count.to_bytes(5, "big")
    return _Part(data, head + 26, head=new)


def _length_of_flac(data):
    """Return the number of samples up to the end of the last frame, if there is one."""
    head = data.find(b"fLaC")
    at, is_last = head + 4, False
    while not is_last and at + 4 <= len(data):
        is_last = data[at] & 128
        at += 4 + _number(data, at + 1, 3)
    first, block = data[at : at + 4], _number(data, head + 8, 2)
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
    if ones in (1, 8) or code == 0 or len(head) <= end or _crc8(head[: end + 1]):
        return None
    number = head[4] & 0x7F >> ones
    for byte in head[5:number_end]:
        number = number << 6 | byte & 63
    if length_end > number_end:
        length = _number(head, number_end, length_end - number_end) + 1
    else:
        length = 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8
    return (number if head[1] & 1 else number * fixed_block) + length


def _crc8(data):
    """Return a checksum, which is 0 of data that end in their own one."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 ^ (0x107 if crc & 128 else 0)
    return crc


# MP3: frames that are found from one to the next, and tags


def _fault_of_mp3(data, format, frames, log):
    return CUT if _has_no_count(data) and mp3_is_cut(data) else None


def _has_no_count(data):
    start = _first_frame(data)
    start = data[start : start + 4096]
    return not any(mark in start for mark in (b"Xing", b"Info"))


def mp3_is_cut(data):
    """Tell whether the last frame of an MP3 file is incomplete.

    A file that is cut between two frames cannot be told from a whole one.
    """
    at, _ = _walk(data, _first_frame(data))
    rest = data[at : at + 4]
    return at > len(data) or (len(rest) < 4 and rest[:1] == b"\xff")


def _mended_mp3(data, file, source):
    """Give an MP3 file a header that counts its frames, if its own one does not.

    Without the count, libsndfile guesses the length from the size of the first frame.
    A count that is too small is that of the first of several joined files.
    """
    first = _first_frame(data)
    size = _size_of_frame(data[first : first + 4])
    if not size:
        return None  # of another layer
    bits = _number(data, first, 4)
    is_mpeg1, is_mono = bits >> 19 & 3 == 3, bits >> 6 & 3 == 3
    side = 4 + (17 if is_mpeg1 == is_mono else 32 if is_mpeg1 else 9)
    side += 0 if bits >> 16 & 1 else 2  # a checksum
    head = data[first : first + size + 12]
    is_counted = head[side : side + 4] in (b"Xing", b"Info")
    has_claim = is_counted and head[side + 7] & 1
    # Of a header of Fraunhofer's encoder, libsndfile does not take the count.
    is_header = is_counted or head[36:40] == b"VBRI"
    start = first + size if is_header else first
    found = _count_frames(source, start, bits & _MPEG_KIND)
    if has_claim and found <= _number(head, side + 8, 4) + 1:  # some count their own
        return None
    mark = b"Xing" + (1).to_bytes(4, "big") + found.to_bytes(4, "big")
    new = data[first : first + 4] + bytes(side - 4) + mark
    return _Part(data, start, head=new.ljust(size, b"\0"))


@once_a_file
def _count_frames(source, at, kind):
    """Count the frames of an MP3 file, over tags and damage between them."""
    count = 0
    with _content(source) as data:
        while at >= 0:
            at, n_found = _walk(data, at, kind=kind)
            count += n_found
            if data[at : at + 3] == b"ID3":
                at = _behind_tag(data, at)
                continue
            at = data.find(b"\xff", at + 1)
            while at >= 0 and _walk(data, at, 2, kind)[1] < 2:
                at = data.find(b"\xff", at + 1)
    return count


def _first_frame(data):
    """Return where the first MP3 frame begins, also behind the rest of a cut one.

    A recording of a radio stream starts anywhere.
    """
    start = at = _behind_tags(data)
    if _number(data, at, 2) >> 5 == 0x7FF and data[at + 1] >> 1 & 3 in (2, 3):
        return start  # of another layer
    while start <= at < start + _LONGEST_REST:
        if _walk(data, at, 3)[1] == 3:  # one or two may be chance
            return at
        at = data.find(b"\xff", at + 1)
    return start


def _walk(data, at, most=None, kind=None):
    """Return where MP3 frames end that follow each other, and their number."""
    count = 0
    while count != most:
        head = data[at : at + 4]
        is_other = kind is not None and int.from_bytes(head, "big") & _MPEG_KIND != kind
        if is_other or not (size := _size_of_frame(head)):
            break
        at, count = at + size, count + 1
    return at, count


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


def _behind_tags(data):
    """Return where a file begins behind its tags and zeros."""
    at = _ZEROS.match(data).end()
    while data[at : at + 3] == b"ID3":
        at = _ZEROS.match(data, _behind_tag(data, at)).end()
    return at


def _behind_tag(data, at):
    size = data[at + 6 : at + 10]
    return at + 10 + sum(byte << 7 * i for i, byte in enumerate(size[::-1]))


# Of each format: what finds its fault, and what makes a part of the file with a header
# that tells the length. It returns None if the file's own one does.
_FORMATS = {
    **dict.fromkeys(("WAV", "WAVEX"), (_fault_of_chunks, _mended_wav)),
    "RF64": (_fault_of_chunks, None),
    "W64": (_fault_in_log, None),
    **dict.fromkeys(("AIFF", "AU", "CAF"), (_fault_of_chunks, None)),
    "NIST": (_fault_of_nist, None),
    **dict.fromkeys(("VOC", "HTK"), (_fault_in_log, None)),
    "FLAC": (_fault_of_flac, _mended_flac),
    "OGG": (_fault_of_ogg, None),
    **dict.fromkeys(_MP3, (_fault_of_mp3, _mended_mp3)),
}
