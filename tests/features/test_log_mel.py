"""LogMelTransformer: scikit-learn's checks, parity with librosa, its options."""

import warnings

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import config_context

from sklearn_ser.features.log_mel import LogMelTransformer, mel_filterbank

PLAIN = {"top_db": 80, "normalize": None}  # librosa's own settings


def _mel(wave, **params):
    """The levels of one recording."""
    (features,) = LogMelTransformer(**(PLAIN | params)).transform([wave])
    return features


def _noise(n_times=8000, seed=0, level=0.1):
    return level * np.random.default_rng(seed).normal(size=n_times)


def _speech(seconds, rate=16000, seed=0):
    """Harmonics that glide and fade, over faint noise: 80 dB of dynamics."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    pitch = np.cumsum(120 + 40 * np.sin(2 * np.pi * 1.3 * t)) / rate
    voice = sum(np.sin(2 * np.pi * k * pitch) / k**2 for k in range(1, 20))
    wave = voice * np.abs(np.sin(2 * np.pi * 0.8 * t)) ** 3
    return 0.3 * wave + 1e-5 * rng.normal(size=len(t))


def _librosa(wave, top_db=80, sampling_rate=16000, **kwargs):
    params = {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 80}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_fft=.* is too large|Empty filters")
        mel = librosa.feature.melspectrogram(
            y=np.asarray(wave, np.float32),
            sr=sampling_rate,
            pad_mode="constant",
            **(params | kwargs),
        )
    return librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=top_db)


def _assert_parity(features, expected):
    assert features.dtype == np.float32
    assert features.shape == expected.shape
    error = np.abs(features - expected)
    assert error[expected > expected.max() - 60].max() < 1e-3
    assert error.max() < 1e-2


# Parity with librosa

WAVES = {
    "noise": lambda n, rng: rng.normal(size=n),
    "quiet": lambda n, rng: 1e-4 * rng.normal(size=n),
    "tone": lambda n, rng: np.sin(0.37 * np.arange(n)),
    "low tone and noise": lambda n, rng: (
        np.sin(0.04 * np.arange(n)) + 1e-4 * rng.normal(size=n)
    ),
    "offset": lambda n, rng: 0.5 + 1e-3 * rng.normal(size=n),
    "step": lambda n, rng: (np.arange(n) > n // 2).astype(float),
    "impulse": lambda n, rng: (np.arange(n) == n // 3).astype(float),
    "silence": lambda n, rng: np.zeros(n),
}


@pytest.mark.filterwarnings("ignore:n_mels=.*stay empty:UserWarning")
@pytest.mark.filterwarnings("ignore::sklearn_ser.SilentRecordingWarning")
@given(
    kind=st.sampled_from(sorted(WAVES)),
    n_times=st.one_of(st.integers(1, 600), st.integers(600, 50000)),
    sampling_rate=st.sampled_from([8000, 16000, 22050, 44100]),
    n_fft=st.sampled_from([64, 255, 400, 512, 1024, 2048]),
    window_share=st.floats(0.1, 1),
    hop_length=st.integers(20, 700),
    n_mels=st.integers(1, 128),
    band=st.tuples(st.floats(0, 0.45), st.floats(0.5, 1)),
    top_db=st.sampled_from([80, 30, 0.5, 100, None]),
)
def test_parity_with_librosa(
    kind, n_times, sampling_rate, n_fft, window_share, hop_length, n_mels, band, top_db
):
    wave = WAVES[kind](n_times, np.random.default_rng(n_times)).astype(np.float32)
    params = {
        "sampling_rate": sampling_rate,
        "n_fft": n_fft,
        "win_length": max(2, int(window_share * n_fft)),
        "hop_length": hop_length,
        "n_mels": n_mels,
        "fmin": band[0] * sampling_rate / 2,
        "fmax": band[1] * sampling_rate / 2,
        "top_db": top_db,
    }
    _assert_parity(_mel(wave, **params), _librosa(wave, **params))


@pytest.mark.parametrize(
    ("rate", "n_fft", "n_mels", "fmin", "fmax"),
    [
        (16000, 512, 80, 0, 8000),
        (44100, 2048, 128, 20, 16000),
        (8000, 255, 23, 64, 3800),
        (22050.5, 1024, 40, 1500, 11025.25),
        (16000, 512, 20, 0, 900),
    ],
)
def test_the_filterbank_is_librosas_bit_for_bit(rate, n_fft, n_mels, fmin, fmax):
    expected = librosa.filters.mel(
        sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax
    )
    found = mel_filterbank(rate, n_fft, n_mels, fmin, fmax)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_bands_without_a_frequency_are_a_warning():
    with pytest.warns(UserWarning, match="n_mels=120 gives 9 bands .* n_fft=256"):
        _mel(_noise(), n_mels=120, n_fft=256, win_length=256)


@pytest.mark.parametrize(
    ("seconds", "params"),
    [(0.01, {}), (5.0, {}), (31.0, {"hop_length": 100})],
)
def test_parity_on_speech_like_sound(seconds, params):
    wave = _speech(seconds)
    _assert_parity(_mel(wave, **params), _librosa(wave, **params))


@pytest.mark.parametrize("level", [1e-2, 1e-4, 1e-5])
def test_parity_beside_a_loud_sound_outside_the_bands(level):
    wave = np.sin(0.3 * np.arange(9000)) + level * _noise(9000)
    params = {"fmin": 2000, "fmax": 7000}
    _assert_parity(_mel(wave, **params), _librosa(wave, **params))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", np.float64])
def test_dtype(dtype):
    wave = _noise()
    features = _mel(wave, dtype=dtype)
    assert features.dtype == dtype
    tolerance = 0.05 if dtype == "float16" else 1e-4
    np.testing.assert_allclose(features, _librosa(wave), atol=tolerance)


# What goes in and what comes out


def test_list_in_list_out_and_array_in_array_out():
    waves = [_noise(8000), _noise(9000, seed=1)]
    features = LogMelTransformer().transform(waves)
    assert isinstance(features, list)
    assert [f.shape for f in features] == [(80, 51), (80, 57)]
    assert isinstance(LogMelTransformer().transform([waves[0]] * 2), list)
    stacked = LogMelTransformer().transform(np.stack([waves[0], waves[0]]))
    assert stacked.shape == (2, 80, 51)
    np.testing.assert_array_equal(stacked[1], features[0])


@given(
    block=st.integers(1, 60),
    n_times=st.integers(1, 9000),
    hop_length=st.sampled_from([100, 160, 450]),
    top_db=st.sampled_from([80, None]),
)
def test_frames_are_transformed_alike_alone_and_with_others(
    block, n_times, hop_length, top_db
):
    params = {"hop_length": hop_length, "top_db": top_db}
    expected = _mel(_noise(n_times), **params)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sklearn_ser.features.log_mel._BLOCK", block)
        found = _mel(_noise(n_times), **params)
    np.testing.assert_array_equal(found, expected)


def test_duration_cuts_and_extends():
    short, long = _noise(5000), _noise(9000, seed=1)
    features = LogMelTransformer(duration=0.5).transform([short, long])
    assert features.shape == (2, 80, 51)
    for found, wave in zip(features, (np.tile(short, 2), long), strict=True):
        expected = LogMelTransformer().transform([wave[:8000]])[0]
        np.testing.assert_array_equal(found, expected)
    padded = _mel(short, duration=0.5, length_mode="constant")
    np.testing.assert_array_equal(padded, _mel(np.pad(short, (0, 3000))))


def test_without_top_db_nothing_is_raised():
    wave = np.r_[_speech(0.5), np.zeros(8000)]
    features = _mel(wave, top_db=None)
    assert features.max() - features.min() > 100
    np.testing.assert_allclose(features, _librosa(wave, top_db=None), rtol=0, atol=1e-2)


@pytest.mark.parametrize("trim", [20, 40, 60])
@pytest.mark.parametrize("sides", [(0, 0), (4000, 0), (0, 7001), (5555, 3210)])
def test_trim_equals_librosa(trim, sides):
    wave = np.r_[np.zeros(sides[0]), _speech(1.0), np.zeros(sides[1])]
    wave = (wave + 1e-4 * _noise(len(wave))).astype(np.float32)
    expected, _ = librosa.effects.trim(
        wave, top_db=trim, frame_length=400, hop_length=160
    )
    np.testing.assert_array_equal(_mel(wave, trim=trim), _mel(expected))
    assert not sum(sides) or len(expected) < len(wave)


@given(n_times=st.integers(1, 2000), at=st.floats(0, 1), hop_length=st.integers(1, 900))
def test_trim_leaves_a_frame(n_times, at, hop_length):
    wave = np.zeros(n_times)
    wave[round(at * (n_times - 1))] = 1.0
    features = _mel(wave, trim=10, hop_length=hop_length)
    assert features.shape[1] >= 1
    assert features.max() > -40 or hop_length > 200  # the impulse is still there


@pytest.mark.filterwarnings("ignore::sklearn_ser.SilentRecordingWarning")
def test_trim_keeps_silence_whole_and_is_blind_to_level():
    wave = np.r_[np.zeros(4000), _speech(0.5), np.zeros(4000)]
    loud, soft = LogMelTransformer(trim=40).transform([wave, 1e-3 * wave])
    assert loud.shape == soft.shape
    assert loud.shape[1] < 60
    assert _mel(np.zeros(8000), trim=40).shape == (80, 51)


def test_trim_precedes_duration_and_makes_rows_ragged():
    X = np.zeros((2, 16000))
    X[0, 8000:9000] = _noise(1000)
    X[1, 8000:12000] = _noise(4000)
    short, long = LogMelTransformer(trim=30).transform(X)
    assert short.shape[1] < long.shape[1]
    fixed = LogMelTransformer(trim=30, duration=0.05, **PLAIN).transform(X)
    assert fixed.shape == (2, 80, 6)
    assert fixed.min(axis=1).max() > -100  # no silence is left to be cut out


def test_the_default_is_a_range_of_50_db_without_the_level():
    wave = _speech(1.0)
    (features,) = LogMelTransformer().transform([wave])
    expected = _librosa(wave, top_db=50)
    assert np.ptp(features) == pytest.approx(50, abs=1e-3)
    np.testing.assert_allclose(features, expected - expected.mean(), atol=1e-3)


@pytest.mark.parametrize("gain_db", [-12.0, 12.0])
@pytest.mark.parametrize("normalize", ["level", "utterance"])
def test_normalisation_undoes_a_gain(normalize, gain_db):
    wave = _speech(1.0) + _noise(16000)  # no cell at the floor of -100 dB
    est = LogMelTransformer(top_db=80, normalize=normalize)
    quiet, loud = est.transform([wave, wave * 10 ** (gain_db / 20)])
    np.testing.assert_allclose(quiet, loud, atol=1e-3)


@pytest.mark.filterwarnings("ignore::sklearn_ser.SilentRecordingWarning")
@pytest.mark.parametrize("wave", [np.zeros(8000), _noise(100)])
def test_normalize_gives_zeros_where_nothing_varies(wave):
    np.testing.assert_array_equal(_mel(wave, normalize="utterance"), 0)


def test_normalize_utterance():
    x, found = _mel(_speech(1.0)), _mel(_speech(1.0), normalize="utterance")
    expected = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_normalize_level():
    x, found = _mel(_speech(1.0)), _mel(_speech(1.0), normalize="level")
    np.testing.assert_allclose(found, x - x.mean(), rtol=1e-5, atol=1e-5)


# Manners of an estimator


@pytest.mark.parametrize("transform", ["default", "pandas", "polars"])
def test_set_output_is_tolerated(transform):
    waves = [_noise(), _noise(9000)]
    est = LogMelTransformer()
    assert est.set_output(transform=transform) is est
    assert isinstance(est.fit_transform(waves), list)
    with config_context(transform_output=transform):
        assert isinstance(LogMelTransformer().fit_transform(waves), list)
        X = np.stack([waves[0]] * 2)
        assert type(LogMelTransformer().transform(X)) is np.ndarray


@pytest.mark.parametrize(
    ("params", "kind", "message"),
    [
        ({"sampling_rate": 0}, ValueError, "sampling_rate must be a number of at lea"),
        ({"sampling_rate": "16000"}, TypeError, "sampling_rate must be a number, got"),
        ({"sampling_rate": np.nan}, ValueError, "sampling_rate must be .*got nan"),
        ({"n_fft": 512.0}, TypeError, "n_fft must be an int, got 512.0"),
        ({"n_fft": 1}, ValueError, "n_fft must be an int of at least 2, got 1"),
        ({"n_fft": 256}, ValueError, "win_length must be at most n_fft.*400.*256"),
        ({"win_length": 0}, ValueError, "win_length must be an int of at least 2"),
        ({"hop_length": 0}, ValueError, "hop_length must be an int of at least 1"),
        ({"n_mels": 0}, ValueError, "n_mels must be an int of at least 1, got 0"),
        ({"n_mels": True}, TypeError, "n_mels must be an int, got True"),
        ({"fmin": -1}, ValueError, "fmin must be a number of at least 0, got -1"),
        ({"fmin": 8000}, ValueError, "fmin < fmax <= sampling_rate / 2, got fmin=8000"),
        ({"fmax": 8001}, ValueError, "fmin < fmax <= sampling_rate / 2.*fmax=8001"),
        ({"fmax": np.nan}, ValueError, "fmax must be .*got nan"),
        ({"top_db": -1}, ValueError, "top_db must be a number of at least 0, got -1"),
        ({"duration": 0}, ValueError, "duration must be a number of at least"),
        ({"duration": 1e9}, ValueError, "duration must be a number .*at most 3600"),
        ({"length_mode": "tile"}, ValueError, "length_mode must be one of .*'tile'"),
        ({"normalize": "speaker"}, ValueError, "normalize must be one of .*'speaker'"),
        ({"normalize": ["a"]}, ValueError, "normalize must be one of "),
        ({"trim": 0}, ValueError, "trim must be a number of at least"),
        ({"trim": True}, TypeError, "trim must be a number, got True"),
        ({"channel": -1}, ValueError, "channel, unless 'mean', must be .*got -1"),
        ({"channel": "left"}, TypeError, "channel, unless 'mean', must be .*'left'"),
        ({"dtype": "int16"}, ValueError, "dtype must be one of .*got 'int16'"),
        ({"dtype": None}, ValueError, "dtype must be one of .*got None"),
        ({"dtype": "float33"}, TypeError, "dtype must be one of .*got 'float33'"),
        ({"cache_dir": 5}, TypeError, "cache_dir must be a path or None, got 5"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "transform"])
def test_bad_parameter(params, kind, message, method):
    est = LogMelTransformer(**params)  # says nothing yet
    with pytest.raises(kind, match=message):
        getattr(est, method)([_noise()])
