"""Recordings: every form, every format, every refusal."""

import os
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from scipy.sparse import csr_array

from sklearn_ser import SilentRecordingWarning
from sklearn_ser.datasets import find_duplicates
from sklearn_ser.datasets.loading import find_fault
from sklearn_ser.features import LogMelTransformer, load_audio
from sklearn_ser.features._audio_files import mp3_is_cut
from sklearn_ser.features._audio_stream import read_blocks
from sklearn_ser.features.audio import MAX_DURATION
from sklearn_ser.features.cache import content_key

RATE = 16000


def _noise(n_times=8000, seed=0, n_channels=None):
    shape = n_times if n_channels is None else (n_times, n_channels)
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.5, 0.5, size=shape).astype(np.float32)


def _write(path, wave, rate=RATE, **kwargs):
    soundfile.write(path, wave, rate, **kwargs)
    return path


def _stereo(left, right):
    return {"array": np.stack([left, right]), "sampling_rate": RATE}


class _Decoder:
    """As torchcodec's AudioDecoder, which Hugging Face datasets return."""

    def __init__(self, wave):
        self.wave = wave

    def get_all_samples(self):
        if self.wave is None:
            raise RuntimeError("no audio stream")
        data = torch.from_numpy(self.wave)[None]
        return SimpleNamespace(data=data, sample_rate=RATE)


ONE = _noise(900)


# Forms and formats


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE"])
def test_wav_equals_librosa_load(tmp_path, subtype):
    path = _write(tmp_path / "a.wav", _noise(), subtype=subtype)
    expected, _ = librosa.load(path, sr=None)
    wave = load_audio(path)
    assert wave.dtype == np.float32
    np.testing.assert_array_equal(wave, expected)


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("a.wav", 2**-14), ("a.flac", 2**-14), ("a.ogg", 0.2), ("a.mp3", 0.2)],
)
def test_formats_round_trip(tmp_path, name, tolerance):
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    decoded = load_audio(_write(tmp_path / name, wave))
    assert decoded.shape == wave.shape
    assert np.abs(decoded - wave).max() < tolerance
    assert np.corrcoef(decoded, wave)[0, 1] > 0.99


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_resampling_equals_librosa_load(tmp_path, rate, n_channels):
    path = _write(tmp_path / "a.flac", _noise(5000, n_channels=n_channels), rate)
    expected, _ = librosa.load(path, sr=RATE)
    np.testing.assert_allclose(load_audio(path), expected, atol=1e-6)


def test_one_sample_survives_resampling():
    one = {"array": np.ones(1), "sampling_rate": 48000}
    assert load_audio(one).shape == (1,)


@pytest.mark.parametrize(
    ("dtype", "wave", "expected"),
    [
        ("int8", [-128, 0, 64], [-1, 0, 0.5]),
        ("int16", [-(2**15), 0, 2**14], [-1, 0, 0.5]),
        ("int32", [-(2**31), 0, 2**30], [-1, 0, 0.5]),
        ("uint8", [0, 128, 192], [-1, 0, 0.5]),
        *((dtype, [-3, 0, 5], [-3, 0, 5]) for dtype in ("f2", "f8", ">f4", "int64")),
    ],
)
def test_integers_are_scaled_to_one(dtype, wave, expected):
    found = load_audio(np.array(wave, dtype))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("channel", ["mean", 0, 1, np.int64(1)])
def test_channel_of_file_and_mapping(tmp_path, channel):
    stereo = _noise(n_channels=2)
    path = _write(tmp_path / "a.wav", stereo, subtype="FLOAT")
    mapping = {"array": stereo.T, "sampling_rate": RATE}
    expected = stereo.mean(axis=1) if channel == "mean" else stereo[:, channel]
    for recording in (path, mapping):
        wave = load_audio(recording, channel=channel)
        np.testing.assert_allclose(wave, expected, rtol=1e-6)


def test_all_forms_agree(tmp_path):
    waves = np.stack([_noise(seed=i) for i in range(3)])
    paths = [
        _write(tmp_path / f"{i}.wav", wave, subtype="FLOAT")
        for i, wave in enumerate(waves)
    ]
    objects = np.empty(3, dtype=object)
    objects[:] = list(waves)
    batches = [
        waves,
        pd.DataFrame(waves),
        waves.astype(object),
        list(waves),
        tuple(waves.tolist()),
        objects,
        paths,
        np.array([str(p) for p in paths]),
        np.array(paths, dtype=object),
        pd.Series([str(p) for p in paths], index=[5, 6, 7]),
        [{"array": w, "sampling_rate": RATE} for w in waves],
        [{"array": w, "sampling_rate": RATE, "path": "gone.wav"} for w in waves],
        [{"array": None, "path": str(p)} for p in paths],
        [{"path": p} for p in paths],
        [{"bytes": p.read_bytes(), "path": "gone.wav"} for p in paths],
        [{"bytes": paths[0].read_bytes(), "path": paths[1]}, *paths[1:]],
        [_Decoder(w) for w in waves],
        [paths[0], waves[1], {"path": paths[2]}],
    ]
    expected = LogMelTransformer().transform(waves)
    assert expected.shape == (3, 80, 51)
    for X in batches:
        for cache in (None, tmp_path / "cache"):
            found = LogMelTransformer(cache_dir=cache).transform(X)
            np.testing.assert_array_equal(found, expected)
    twins = [paths[0], {"bytes": paths[0].read_bytes(), "path": "gone.wav"}]
    assert find_duplicates(twins) == [[0, 1]]
    assert find_duplicates([_Decoder(w) for w in waves[[0, 1, 0]]]) == [[0, 2]]


def test_input_is_left_alone():
    wave = _noise()
    before = wave.copy()
    wave.flags.writeable = False
    est = LogMelTransformer(trim=30, duration=2.0, normalize="utterance")
    est.transform([wave])
    np.testing.assert_array_equal(wave, before)


# Refusals: the message names the argument, the index, the path, what was found


def _transform_error(bad, kind=ValueError, **params):
    """The message for a bad recording that stands third in a batch."""
    with pytest.raises(kind) as info:
        LogMelTransformer(**params).transform([_noise(), _noise(), bad])
    message = str(info.value)
    assert message.startswith("X[2]")
    return message


@pytest.mark.parametrize(
    ("name", "content"), [("a.wav", b""), ("a.flac", b"no audio"), ("a.raw", b"1234")]
)
def test_undecodable_file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    message = _transform_error(path)
    assert f"({str(path)!r}) does not decode: " in message
    assert "Expected an audio file" in message


def test_empty_file(tmp_path):
    path = _write(tmp_path / "a.wav", np.zeros(0))
    assert f"({str(path)!r}) is empty: found 0 samples" in _transform_error(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e300, 1e39, 6e8, -(2.0**23)])
def test_not_finite(tmp_path, value):
    wave = _noise().astype(np.float64)
    wave[[17, 4000]] = value
    stereo = {"array": np.stack([_noise(), wave]), "sampling_rate": RATE}
    for bad in (wave, stereo):
        message = _transform_error(bad)
        assert "NaN, infinity" in message
        assert f"found {value} at sample 17 (2 in all)" in message
        assert "division by 2**(n - 1)" in message
    with pytest.raises(ValueError, match=r"X\[1\] contains NaN"):
        LogMelTransformer().transform(np.stack([_noise(), wave]))
    path = _write(tmp_path / "a.wav", wave, subtype="DOUBLE")
    assert repr(str(path)) in _transform_error(path)


BAD = {
    **{
        f"rate {rate}": ({"array": ONE, "sampling_rate": rate}, ValueError, message)
        for rate, message in (
            (0, "sampling_rate=0, expected a positive number"),
            (-16000, "sampling_rate=-16000, expected a positive"),
            (np.nan, "sampling_rate=nan, expected a positive"),
            (np.inf, "sampling_rate=inf, expected a positive"),
            (1e-3, "too long"),
        )
    },
    **{
        f"rate {rate!r}": (
            {"array": ONE, "sampling_rate": rate},
            TypeError,
            f"sampling_rate={rate!r} of type {type(rate).__name__}, expected a number",
        )
        for rate in ("16000", None, True, [16000], 1j)
    },
    **{
        f"kind {bad!r}": (bad, TypeError, f"of type {type(bad).__name__}")
        for bad in (None, b"a.wav", ["a", "b"], np.array([True]), ONE.astype("u2"))
    },
    **{
        f"shape {shape}": (
            np.ones(shape),
            ValueError,
            f"shape {shape}, expected a 1-D waveform",
        )
        for shape in ((), (2, 100), (1, 2, 3))
    },
    "no rate": (
        {"array": ONE, "path": "b.wav"},
        ValueError,
        "('b.wav') has no 'sampli",
    ),
    "no keys": ({"wave": ONE}, ValueError, "without 'array', 'bytes' or 'path'"),
    "path": ({"path": 3}, TypeError, "'path' of type int"),
    "bytes": ({"bytes": "a.wav"}, TypeError, "'bytes' of type str"),
    "decoder": (_Decoder(None), ValueError, "does not decode: no audio stream"),
    "complex": (ONE.astype(complex), ValueError, "Complex data not supported"),
    "cube": (_stereo(np.ones((3, 4)), np.ones((3, 4))), ValueError, "shape (2, 3, 4)"),
    "rows": ({"array": np.ones((80, 2)), "sampling_rate": 1}, ValueError, "transposed"),
    "ragged": ([[1.0], [1.0, 2.0]], TypeError, "not a waveform"),
    "folder": (".", ValueError, "does not decode"),
    "gone": ("no such.wav", ValueError, "('no such.wav') is missing"),
    "gone, mapping": ({"path": "no such.wav"}, ValueError, "is missing"),
    "empty": (np.zeros(0), ValueError, "empty: found 0 samples"),
    "empty, stereo": (_stereo(ONE[:0], ONE[:0]), ValueError, "empty: found 0 samples"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_recording(tmp_path, name):
    bad, kind, message = BAD[name]
    for cache in (None, tmp_path / "cache"):
        assert message in _transform_error(bad, kind, cache_dir=cache)


def test_the_name_of_a_file_is_no_content(tmp_path):
    bad = {"bytes": str(_write(tmp_path / "a.wav", _noise()))}
    with pytest.raises(TypeError, match="'bytes' of type str"):
        list(read_blocks(bad, RATE))


@pytest.mark.parametrize("rate", [1e15, 1e9])
def test_sampling_rate_that_would_take_for_ever(tmp_path, rate):
    bad = {"array": _noise(), "sampling_rate": rate}
    assert f"sampling_rate={rate!r}" in _transform_error(bad)
    assert f"sampling_rate is {rate!r}" in (
        _error_of(load_audio, _noise(), sampling_rate=rate)
    )
    path = _write(tmp_path / "a.wav", _noise())
    data = path.read_bytes()
    path.write_bytes(data[:24] + (2**31 - 1).to_bytes(4, "little") + data[28:])
    assert "sampling_rate=2147483647" in _transform_error(path)
    slow = {"array": _noise(), "sampling_rate": 3}
    error = _error_of(load_audio, slow, sampling_rate=1e6)
    assert "resampled, is too long" in error


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        ({"channel": "left"}, TypeError),
        ({"channel": True}, TypeError),
        ({"channel": -1}, ValueError),
        ({"sampling_rate": 0}, ValueError),
        ({"sampling_rate": np.nan}, ValueError),
        ({"sampling_rate": "16000"}, TypeError),
    ],
)
def test_arguments_of_load_audio(params, kind):
    ((name, value),) = params.items()
    with pytest.raises(kind, match=f"{name} is {value!r}.*expected"):
        load_audio(_noise(), **params)


@pytest.mark.skipif(os.name != "posix", reason="needs links and names of bytes")
def test_names_of_files(tmp_path):
    loop = tmp_path / "loop.wav"
    loop.symlink_to(loop)
    for path in (loop, "a\0b.wav", "n" * 5000):
        message = _transform_error(str(path))
        assert repr(str(path)) in message
        assert "does not decode" in message
        assert "does not decode" in _transform_error(path, cache_dir=tmp_path / "c")
    deep = os.path.join(tmp_path, *["d" * 200] * 6)
    os.makedirs(deep)
    for path in (
        os.path.join(deep, "a.wav"),
        os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav"),
    ):
        with open(path, "wb") as file:
            file.write(_write(tmp_path / "b.wav", _noise()).read_bytes())
        np.testing.assert_array_equal(load_audio(path), load_audio(tmp_path / "b.wav"))
        assert find_fault(path) is None
        assert len(find_duplicates([path, tmp_path / "b.wav"])) == 1


def test_missing_channel(tmp_path):
    path = _write(tmp_path / "a.wav", _noise(n_channels=2))
    assert "2 channel(s), but channel is 2" in (
        _error_of(load_audio, path, channel=2, name="X[0]")
    )
    assert "1 channel(s), but channel is 1" in _error_of(
        load_audio, _noise(), channel=1
    )


def _error_of(function, *args, **kwargs):
    with pytest.raises(ValueError) as info:  # noqa: PT011  (callers look closer)
        function(*args, **kwargs)
    return str(info.value)


def test_length_is_read_from_the_header_before_decoding(tmp_path):
    path = _write(tmp_path / "a.flac", _noise())
    path.write_bytes(_put(22, 2**32 - 1, order="big")(path.read_bytes()))
    message = _transform_error(path)
    assert repr(str(path)) in message
    assert f"too long: found {2**32 - 1} samples" in message
    assert f"at most {MAX_DURATION:g} s" in message


def test_too_long_in_total_over_its_channels(tmp_path, monkeypatch):
    monkeypatch.setattr("sklearn_ser.features._audio_files.MAX_SAMPLES", 15999)
    path = _write(tmp_path / "a.wav", _noise(8000, n_channels=2))
    assert "in 2 channel(s), expected at most" in _transform_error(path)
    assert load_audio(_write(path, _noise(7999, n_channels=2))).shape == (7999,)


# Files that end before their header says so

_WHOLE_OR_NOT = [
    ("a.wav", "PCM_16"),
    ("a.wav", "FLOAT"),
    ("a.wav", "GSM610"),
    ("a.flac", "PCM_16"),
    ("a.ogg", "VORBIS"),
    ("a.mp3", "MPEG_LAYER_III"),
    ("a.aiff", "PCM_16"),
    ("a.au", "PCM_16"),
    ("a.w64", "PCM_16"),
    ("a.caf", "PCM_24"),
    ("a.caf", "ULAW"),
    ("a.htk", "PCM_16"),
    ("a.nist", "PCM_16"),
    ("a.voc", "PCM_16"),
]


@pytest.mark.parametrize(("name", "subtype"), _WHOLE_OR_NOT)
def test_file_cut_short(tmp_path, name, subtype):
    path = _write(tmp_path / name, _noise(40000), subtype=subtype)
    whole = path.read_bytes()
    assert len(load_audio(path)) >= 40000
    assert find_fault(path) is None
    for length in (1200, 5000, len(whole) // 2, len(whole) - 3):
        if length < len(whole):
            path.write_bytes(whole[:length])
            error = _error_of(load_audio, path)
            assert "cut short" in error or "does not decode" in error
            assert repr(str(path)) in error
            assert find_fault(path) is not None
    path.write_bytes(whole[: len(whole) // 2])
    if path.suffix in (".wav", ".mp3"):
        assert "cut short" in _transform_error(path)


def test_cut_is_seen_behind_many_comments(tmp_path):
    data = _write(tmp_path / "a.wav", _noise()).read_bytes()
    comments = (b"ICMT" + (30).to_bytes(4, "little") + b"x" * 30) * 60
    chunk = b"LIST" + (len(comments) + 4).to_bytes(4, "little") + b"INFO" + comments
    (tmp_path / "a.wav").write_bytes(data[:36] + chunk + data[36:])
    assert len(load_audio(tmp_path / "a.wav")) == len(_noise())
    (tmp_path / "a.wav").write_bytes((data[:36] + chunk + data[36:])[:9000])
    assert "cut short" in _error_of(load_audio, tmp_path / "a.wav")


# Files that go on behind the end that their header names


def _put(at, value, width=4, order="little", extra=b""):
    """Return a function that writes a number behind a mark of a file."""

    def change(data):
        start = data.index(at) + len(at) if isinstance(at, bytes) else at
        number = value.to_bytes(width, order)
        return data[:start] + number + data[start + width :] + extra

    return change


def _without_header(data):
    """An MP3 file as it is streamed."""
    mark = max(data.find(b"Xing"), data.find(b"Info"))
    return data[data.find(data[:2], mark) :]


def _with_header_of_fraunhofer(data):
    """An MP3 file whose count of frames stands in a header of its own."""
    mark = max(data.find(b"Xing"), data.find(b"Info"))
    count = data[mark + 8 : mark + 12]
    header = b"VBRI" + bytes(10) + count + bytes(8)
    head = data[:mark] + bytes(4) + data[mark + 4 :]
    return head[:36] + header + head[36 + len(header) :]


TAG = b"ID3\3\0\0\0\0\1\0" + bytes(128)
LIST = b"LIST" + (4).to_bytes(4, "little") + b"abcd"
LONGER = {
    "WAV": ("a.wav", _put(b"data", 8000)),
    "WAV before comments": ("a.wav", _put(b"data", 8000, extra=LIST)),
    "WAV behind a tag": ("a.wav", lambda d: TAG + _put(b"data", 8000)(d)),
    "AIFF": ("a.aiff", _put(b"SSND", 8000, order="big")),
    "AU": ("a.au", _put(8, 8000, order="big")),
    "AU, no length": ("a.au", _put(8, 0, order="big")),
    "CAF": ("a.caf", _put(b"data", 8000, 8, "big")),
    "RF64": ("a.rf64", _put(28, 8000, 8)),
    "FLAC": ("a.flac", _put(22, 8000, order="big")),
    "W64, twice": ("a.w64", lambda data: data * 2),
    "NIST, twice": ("a.nist", lambda data: data * 2),
    "NIST": ("a.nist", lambda data: data.replace(b"-i 40000", b"-i 20000")),
    "VOC, twice": ("a.voc", lambda data: data * 2),
    "FLAC, twice": ("a.flac", lambda data: data * 2),
    "Ogg, twice": ("a.ogg", lambda data: data * 2),
}


@pytest.mark.parametrize("kind", LONGER)
def test_what_lies_behind_the_end_in_the_header_is_named(tmp_path, kind):
    name, change = LONGER[kind]
    path = _write(tmp_path / name, _noise(40000))
    path.write_bytes(change(path.read_bytes()))
    for recording in (path, {"bytes": path.read_bytes(), "path": path}):
        message = _transform_error(recording)
        assert repr(str(path)) in message
        assert "holds more than its header says: found " in message
    assert "holds more than its header says" in find_fault(path)
    with pytest.raises(ValueError, match="holds more than its header says"):
        list(read_blocks(path, RATE))


READ_ON = {
    "WAV, no length": ("a.wav", _put(b"data", 0)),
    "AIFF, no length": ("a.aiff", _put(b"SSND", 0, order="big")),
    "FLAC, no length": ("a.flac", _put(22, 0, order="big")),
    "MP3 without a count": ("a.mp3", _without_header),
    "MP3 with a tag behind": (
        "a.mp3",
        lambda d: _without_header(d) + b"TAG" + b"a" * 125,
    ),
    "MP3 of another count": ("a.mp3", _put(b"Xing\0\0\0\x0f", 20, order="big")),
    "MP3 of Fraunhofer's encoder": ("a.mp3", _with_header_of_fraunhofer),
    "MP3 before another": ("a.mp3", lambda d: d + _without_header(d)),
    "MP3 before another with a tag": (
        "a.mp3",
        lambda d: d + b"ID3\3\0\0\0\0\0\x0a" + b"\xff" * 10 + _without_header(d),
    ),
    "MP3 behind two tags, without a count": (
        "a.mp3",
        lambda d: TAG * 2 + _without_header(d),
    ),
    "WAV behind a tag": ("a.wav", lambda d: TAG + d),
    "FLAC behind a tag": ("a.flac", lambda d: TAG + d),
    "FLAC behind a tag, no length": (
        "a.flac",
        lambda d: TAG + _put(22, 0, order="big")(d),
    ),
    "WAV of a stream, behind a tag": (
        "a.wav",
        lambda d: TAG + _put(b"data", 0xFFFFFFFF, extra=LIST)(d),
    ),
    "WAV with comments": ("a.wav", lambda d: d + LIST),
    "WAV with cut comments": ("a.wav", lambda d: d + LIST[:7] + b"\1" + b"b" * 200),
    "WAV with zeros": ("a.wav", lambda d: d + LIST + bytes(2048)),
    "WAV, no length, with comments": (
        "a.wav",
        lambda d: _put(b"data", 0)(d) + LIST + b"id3 \3\0\0\0abc",
    ),
    "WAV of a stream": ("a.wav", _put(b"data", 0xFFFFFFFF)),
    "WAV of a stream, with comments": ("a.wav", _put(b"data", 0xFFFFFFFF, extra=LIST)),
    "WAV of a stream, with several chunks": (
        "a.wav",
        _put(b"data", 0x7FFFF000, extra=LIST + b"odd!\1\0\0\0b\0" + LIST),
    ),
    "MP3 behind zeros": ("a.mp3", lambda d: bytes(1000) + d),
    "MP3 behind zeros, without a count": (
        "a.mp3",
        lambda d: bytes(3) + _without_header(d),
    ),
    "MP3 behind a tag and zeros": (
        "a.mp3",
        lambda d: TAG + bytes(1000) + d,
    ),
    "MP3 of a radio stream": ("a.mp3", lambda d: _without_header(d)[50:]),
    "MP3 behind a page": ("a.mp3", lambda d: b"<html>" * 50 + _without_header(d)),
    "FLAC with a tag": ("a.flac", lambda d: d + b"TAG" + b"a" * 125),
}


@pytest.mark.parametrize("kind", READ_ON)
def test_a_file_is_read_to_its_end(tmp_path, kind):
    name, change = READ_ON[kind]
    # The first frames of an MP3 are the smallest or the largest ones.
    for order in (1, -1):
        wave = np.concatenate([np.zeros(30000, np.float32), _noise(60000)])[::order]
        options = {"bitrate_mode": "VARIABLE"} if name == "a.mp3" else {}
        path = _write(tmp_path / name, wave, **options)
        whole = load_audio(path)
        path.write_bytes(change(path.read_bytes()))
        found = load_audio(path)
        in_memory = load_audio({"bytes": path.read_bytes()})
        np.testing.assert_array_equal(in_memory, found)
        times = 2 if "another" in kind and "count" not in kind else 1
        assert abs(len(found) - times * len(whole)) < 3 * 1152 * times
        assert find_fault(path) is None
        blocks = np.concatenate(list(read_blocks(path, RATE)))
        np.testing.assert_allclose(blocks, found, atol=1e-6)
        if name != "a.mp3":
            np.testing.assert_array_equal(found, whole)
        else:  # the delay of the decoder may be another one
            at = np.argmax(np.correlate(found[:40000], whole[9000:31000]))
            np.testing.assert_allclose(
                found[at : at + 22000], whole[9000:31000], atol=1e-4
            )


@pytest.mark.parametrize(
    ("n_times", "subtype", "n_channels"),
    [(5000, "PCM_16", 1), (40000, "PCM_24", 2), (700001, "PCM_16", 2)],
)
def test_the_last_frame_of_flac_is_found(tmp_path, n_times, subtype, n_channels):
    wave = _noise(n_times, n_channels=n_channels)
    wave = wave.cumsum(axis=0) / abs(wave.cumsum(axis=0)).max()
    path = _write(tmp_path / "a.flac", wave, 44100, subtype=subtype)
    assert find_fault(path) is None
    path.write_bytes(_put(22, n_times - 1, order="big")(path.read_bytes()))
    assert f"found samples up to number {n_times} " in find_fault(path)


def test_an_mp3_without_a_count_that_is_cut_is_refused(tmp_path):
    path = _write(tmp_path / "a.mp3", _noise(60000), bitrate_mode="VARIABLE")
    frames = _without_header(path.read_bytes())
    for length in (2000, 5000, len(frames) // 2, len(frames) - 3):
        path.write_bytes(frames[:length])
        assert "cut short" in _error_of(load_audio, path)
        assert find_fault(path) == "is cut short"


def test_an_mp3_that_ends_to_decode_in_its_middle_is_refused(tmp_path):
    """A header of another layer in the damage ends what the decoder gives."""
    frames = _without_header(_write(tmp_path / "a.mp3", _noise(60000)).read_bytes())
    middle = frames.find(frames[:2], len(frames) // 2)
    damage = b"\xff\xfd\x80\x04" + bytes(800)
    path = tmp_path / "a.mp3"
    path.write_bytes(frames[:middle] + damage + frames[middle:])
    for recording in (path, {"path": path, "start": 1.0, "end": None}):
        assert "cut short" in _error_of(load_audio, recording)
        assert "cut short" in _error_of(lambda x: list(read_blocks(x, RATE)), recording)


@pytest.mark.parametrize(
    ("rate", "mode"),
    [
        (11025, "CONSTANT"),
        (16000, "VARIABLE"),
        (32000, "CONSTANT"),
        (44100, "VARIABLE"),
    ],
)
def test_every_frame_of_an_mp3_is_found(tmp_path, rate, mode):
    path = tmp_path / "a.mp3"
    _write(path, _noise(3 * rate), rate, bitrate_mode=mode, subtype="MPEG_LAYER_III")
    data = path.read_bytes()
    ends = [i for i in range(1, 4000) if not mp3_is_cut(data[:i])]
    assert len(ends) > 5
    assert (np.diff(ends) > 20).all()  # no two ends within one frame
    assert not mp3_is_cut(data)


@pytest.mark.parametrize(
    ("name", "format"), [("a.mat", "MAT5"), ("a.pvf", "PVF"), ("a.avr", "AVR")]
)
def test_formats_whose_files_tell_no_length_are_refused(tmp_path, name, format):
    path = _write(tmp_path / name, _noise(), format=format, subtype="PCM_16")
    message = _transform_error(path)
    assert f"it has the format {format}, whose files do not store" in message
    assert "Convert it to one of WAV, " in message
    assert "it has the format" in find_fault(path)


def test_tags_before_an_mp3_hide_no_header(tmp_path):
    """A long ID3 tag, such as one with a picture, comes before the first frame."""
    data = _write(tmp_path / "a.mp3", _noise(20000)).read_bytes()
    tag = b"ID3\x03\x00\x00\x00\x00" + bytes([9000 >> 7, 9000 & 127]) + bytes(9000)
    assert len(load_audio({"bytes": tag + data})) == 20000
    for n_lost in range(1, 300):  # also between two frames
        assert "cut short" in _error_of(load_audio, {"bytes": tag + data[:-n_lost]})


def test_an_mp3_without_a_count_is_never_in_memory(tmp_path):
    options = {"bitrate_mode": "CONSTANT", "compression_level": 0}
    path = _write(tmp_path / "a.mp3", _noise(44100), 44100, **options)
    path.write_bytes(_without_header(path.read_bytes()) * 200)
    tracemalloc.start()
    next(read_blocks(path, 44100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < path.stat().st_size / 3


# Recordings without sound


ZEROS, SOUND = np.zeros(4000, np.float32), _noise(4000)
CANCELS = "mean of its 2 channels cancels them, but channel=0 has sound"
SILENT = {
    "zeros": (ZEROS, {}, ": its samples are all equal"),
    "a constant": (ZEROS + 0.25, {}, "are all equal"),
    "a dead file": ("dead.wav", {}, r"\('dead.wav'\): its samples are all equal"),
    "a last bit": (np.resize([-1, 0, 1], 4000).astype("i2"), {}, "hardly differ"),
    "a dead channel": (_stereo(ZEROS, SOUND), {"channel": 0}, "but channel=1 has"),
    "channels that cancel": (_stereo(SOUND, -SOUND), {}, CANCELS),
    "channels that nearly cancel": (_stereo(SOUND, -0.99 * SOUND), {}, CANCELS),
    "two dead channels": (_stereo(ZEROS, ZEROS), {}, "all equal"),
}


@pytest.mark.parametrize("kind", SILENT)
def test_silence_is_named(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _write("dead.wav", np.zeros(4000))
    recording, params, message = SILENT[kind]
    X = [_stereo(SOUND, SOUND), recording, _stereo(SOUND, SOUND)]
    est = LogMelTransformer(cache_dir="cache", **params)
    for _ in range(2):  # also when the others are cached
        with pytest.warns(SilentRecordingWarning, match=rf"X\[1\].*{message}") as told:
            est.transform(X)
        assert told[0].filename == __file__
        assert "1 recording(s) are silent" in str(told[0].message)


def test_sound_is_not_called_silent():
    pause = np.r_[ZEROS, _noise(100), ZEROS]
    X = [_stereo(SOUND, ZEROS), pause, 1e-3 * SOUND, np.zeros(9)]
    assert len(LogMelTransformer().transform(X)) == 4


def test_many_silent_recordings_are_one_warning():
    X = np.zeros((40, 500))
    with pytest.warns(
        SilentRecordingWarning, match=r"^40 rec.*X\[4\].*and 35 more"
    ) as w:
        LogMelTransformer(n_jobs=2).transform(X)
    assert len(w) == 1


# Batches

SINGLE = ["a.wav", Path("a.wav"), {"path": "a.wav"}, b"a.wav"]


@pytest.mark.parametrize(
    ("X", "kind", "message"),
    [
        *((X, ValueError, r"X must be a batch.*Pass a list, \[X\]") for X in SINGLE),
        *(
            (X, ValueError, "Expected 2D array, got 1D array instead")
            for X in (np.ones(5), [0.1, 0.2], (1, 2), pd.Series([0.5, 1.0]))
        ),
        (np.ones((2, 5), complex), ValueError, "Complex data not supported: X has dt"),
        ([], ValueError, r"found 0 sample\(s\)"),
        (np.array([], dtype=object), ValueError, r"found 0 sample\(s\)"),
        (np.ones((0, 5)), ValueError, r"0 sample\(s\) \(shape=\(0, 5\)\)"),
        (np.ones((3, 0)), ValueError, r"0 feature\(s\) \(shape=\(3, 0\)\) while a min"),
        (np.ones((2, 3, 4)), ValueError, r"array of shape \(2, 3, 4\)"),
        (np.array(3.0), ValueError, r"array of shape \(\)"),
        (csr_array(np.eye(3)), TypeError, "X is sparse"),
        (np.array([["a", 1], ["b", 2]], object), TypeError, "not all numbers"),
        (np.array([["a", "b"]]), TypeError, r"X\[0\] is of type ndarray"),
        (None, TypeError, "got NoneType"),
        (7, TypeError, "got int"),
        ((w for w in [[1.0]]), TypeError, "got generator"),
    ],
)
def test_what_is_no_batch(X, kind, message):
    with pytest.raises(kind, match=message):
        LogMelTransformer().fit(X).transform(X)


# Segments: a part of a recording is a recording

_FORMATS = {
    "a.wav": {"subtype": "PCM_16"},
    "f.wav": {"subtype": "FLOAT"},
    "i.wav": {"subtype": "IMA_ADPCM"},
    "g.wav": {"subtype": "GSM610"},
    "a.flac": {},
    "a.aiff": {},
    "a.ogg": {"subtype": "VORBIS"},
    "a.opus": {"format": "OGG", "subtype": "OPUS"},
    "a.mp3": {},
    "b.mp3": {"bitrate_mode": "VARIABLE"},
    "streamed.mp3": {},
}


@pytest.mark.parametrize("name", _FORMATS)
def test_a_segment_has_the_samples_of_the_whole(tmp_path, name):
    wave = 0.2 * np.sin(np.arange(3 * RATE) ** 1.2 / 40)
    path = _write(tmp_path / name, wave, **_FORMATS[name])
    if name == "streamed.mp3":
        path.write_bytes(_without_header(path.read_bytes()))
    whole = load_audio(path)
    tolerance = 1e-6 if name.endswith(".mp3") else 0
    for start, end in [(0.5, 1.5), (1.23457, 1.3), (None, 0.7), (2.2, None), (0, 3)]:
        first = round(RATE * (start or 0))
        last = len(whole) if end is None else round(RATE * end)
        times = {"start": start, "end": end}
        for source in ({"path": path}, {"bytes": path.read_bytes(), "path": "x.wav"}):
            part = load_audio({**source, **times})
            np.testing.assert_allclose(part, whole[first:last], rtol=0, atol=tolerance)
        blocks = [*read_blocks({"path": path, **times}, 8000)]
        expected = load_audio({"path": path, **times}, sampling_rate=8000)
        np.testing.assert_allclose(np.concatenate(blocks), expected, atol=1e-5)


def test_an_mp3_in_blocks_has_no_joints(tmp_path):
    wave = 0.2 * np.sin(np.arange(300_000) ** 1.2 / 40)
    path = _write(tmp_path / "a.mp3", wave)
    first, second, _ = read_blocks(path, RATE)
    assert len(first) == 2**18
    np.testing.assert_array_equal(np.append(first, second), load_audio(path))


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_all_forms_of_a_segment_agree(tmp_path, rate):
    wave = _noise(2 * rate, n_channels=2)
    times = {"start": np.float32(0.25), "end": 1.5}
    path = _write(tmp_path / "a.wav", wave, rate, subtype="FLOAT")
    cut = {"array": wave[rate // 4 : 3 * rate // 2].T, "sampling_rate": rate}
    decoder = _Decoder(wave[:, 0])
    batch = [
        {"path": path, **times},
        {"path": str(path), **times},
        {"bytes": path.read_bytes(), "path": None, **times},
        {"array": wave.T, "sampling_rate": rate, "path": "gone.wav", **times},
        cut,
    ]
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        for x in LogMelTransformer(cache_dir=cache).transform(batch)[:-1]:
            expected = LogMelTransformer().transform([cut])[0]
            np.testing.assert_array_equal(x, expected)
    if rate == RATE:
        part = load_audio({"array": decoder, **times})
        np.testing.assert_array_equal(part, wave[4000:24000, 0])


def test_only_the_segment_of_a_file_is_decoded(tmp_path, monkeypatch):
    wave = _noise(4000 * 100)  # longer than an hour
    path = _write(tmp_path / "long.wav", wave, 100, subtype="FLOAT")
    with pytest.raises(ValueError, match="is too long"):
        load_audio(path)
    part = load_audio({"path": path, "start": 3990}, sampling_rate=100)
    np.testing.assert_array_equal(part, wave[399000:])
    with pytest.raises(ValueError, match=r"from 10 s to its end\) is too long"):
        load_audio({"path": path, "start": 10})
    monkeypatch.setattr("sklearn_ser.features._audio_files.MAX_DURATION", 1.0)
    path = _write(tmp_path / "a.mp3", _noise(3 * RATE))
    path.write_bytes(_without_header(path.read_bytes()))
    assert len(load_audio({"path": path, "start": 1.0, "end": 1.5})) == RATE // 2


@pytest.mark.parametrize(
    ("times", "kind", "message"),
    [
        ({"start": -0.1}, ValueError, "has start=-0.1, expected seconds from the st"),
        ({"end": np.nan}, ValueError, "has end=nan, expected seconds"),
        ({"end": np.inf}, ValueError, "has end=inf, expected seconds"),
        ({"start": 10**400}, ValueError, "has start=1000"),
        ({"start": "0.5"}, TypeError, "has start='0.5' of type str, expected a number"),
        ({"end": True}, TypeError, "has end=True of type bool"),
        ({"end": [1.0]}, TypeError, r"has end=\[1.0\] of type list"),
        ({"start": 0.4, "end": 0.4}, ValueError, "has start=0.4 and end=0.4, exp"),
        ({"start": 0.4, "end": 0.3}, ValueError, "has start=0.4 and end=0.3, exp"),
        ({"end": 0}, ValueError, "has start=0 and end=0, expected an end after"),
    ],
)
def test_times_that_are_none_are_told_before_anything_is_read(times, kind, message):
    batch = [{"path": "gone.wav"}, {"path": "b.wav", **times}]
    for call in (LogMelTransformer().fit, LogMelTransformer().transform):
        with pytest.raises(kind, match=rf"^X\[1\] {message}"):
            call(batch)
    with pytest.raises(kind, match=f"^recording {message}"):
        load_audio(batch[1])


def test_a_segment_beyond_the_recording_names_it(tmp_path):
    path = _write(tmp_path / "a.wav", _noise(8000))
    array = {"array": _noise(8000), "sampling_rate": RATE}
    for source in (array, {"path": path}, {"bytes": path.read_bytes()}):
        last = load_audio({**source, "start": 0.25, "end": 8001 / RATE})
        np.testing.assert_array_equal(last, load_audio(source)[4000:])
        for bad in ({"end": 8002 / RATE}, {"start": 9.0}, {"start": 1, "end": 2}):
            with pytest.raises(ValueError, match=r"^X\[0\].* is beyond the end of the"):
                LogMelTransformer().transform([{**source, **bad}])
        for bad in ({"start": 0.5}, {"start": 0.1, "end": 0.10001}):
            with pytest.raises(ValueError, match=r"X\[0\].* holds no sample"):
                LogMelTransformer().transform([{**source, **bad}])
    with pytest.raises(ValueError, match=r"^X\[0\] \('.*a.wav', from 1 s to 2 s\) is"):
        LogMelTransformer().transform([{"path": path, "start": 1, "end": 2}])
    with pytest.raises(ValueError, match=r"\(0\.5 s\)"):
        [*read_blocks({"path": path, "end": 0.6}, RATE)]
    with pytest.raises(ValueError, match="no 'sampling_rate' beside its 'array'"):
        load_audio({"array": _noise(), "start": 0.1})


def test_segments_are_cached_by_content_and_times(tmp_path):
    a, b = (_write(tmp_path / name, _noise(16000)) for name in ("a.wav", "b.wav"))
    times = {"start": 0.1, "end": 0.6}
    keys = [
        content_key({"path": a, **times}, "settings"),
        content_key({"path": b, "bytes": None, **times}, "settings"),
        content_key({"bytes": a.read_bytes(), **times}, "settings"),
    ]
    assert len({*keys}) == 1
    assert None not in keys
    others = [
        content_key({"path": a, **times, "end": 0.7}, "settings"),
        content_key({"path": a, "end": 0.6}, "settings"),
        content_key({"path": a}, "settings"),
        content_key({"path": a, **times}, "others"),
    ]
    assert len({*keys, *others}) == 5
    assert content_key({"path": a, "start": 0}, "settings") == others[2]
    soundfile.write(a, _noise(16000, seed=1), RATE)
    assert content_key({"path": a, **times}, "settings") != keys[0]
