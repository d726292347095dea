"""The feature cache: what it finds again, what it computes anew, what it leaves."""

import io
import json
import multiprocessing
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from sklearn_ser.features import LogMelTransformer
from sklearn_ser.features.cache import CachedSequence, content_key, read, write


def _noise(n_times=4000, seed=0):
    return np.random.default_rng(seed).normal(size=n_times) * 0.1


@pytest.fixture
def waves():
    return [_noise(4000 + 300 * i, seed=i) for i in range(6)]


def _entries(folder):
    return sorted(folder.rglob("*.npy"))


def _state(folder):
    return {path: path.stat().st_mtime_ns for path in _entries(folder)}


def _assert_equal(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def test_second_run_reads(tmp_path, waves):
    est = LogMelTransformer(cache_dir=str(tmp_path / "new" / "folder"))
    _assert_equal(est.transform(waves), LogMelTransformer().transform(waves))
    (entry,) = (p for p in _entries(tmp_path) if np.load(p).shape[1] == 26)
    # A mark that only reads show.
    write(est.cache_dir, entry.stem, np.full((80, 26), 7.0, np.float32))
    before = _state(tmp_path)
    features = est.transform(waves)
    assert _state(tmp_path) == before
    np.testing.assert_array_equal(features[0], 7.0)
    assert not (np.asarray(features[1]) == 7.0).any()


PARAMS = {
    "sampling_rate": 22050,
    "n_fft": 1024,
    "win_length": 320,
    "hop_length": 200,
    "n_mels": 40,
    "fmin": 50,
    "fmax": 4000,
    "top_db": 60,
    "duration": 1.0,
    "length_mode": "constant",
    "normalize": "utterance",
    "trim": 40,
    "channel": 0,
    "dtype": "float64",
}


def test_every_parameter_is_named():
    assert set(PARAMS) == set(LogMelTransformer().get_params()) - {
        "n_jobs",
        "cache_dir",
    }


@pytest.mark.parametrize("name", PARAMS)
def test_each_parameter_has_entries_of_its_own(tmp_path, waves, name):
    base = LogMelTransformer(cache_dir=tmp_path)
    base.transform(waves[:1])
    base.set_params(**{name: PARAMS[name]}).transform(waves[:1])
    assert len(_entries(tmp_path)) == 2


def test_equal_parameters_share_entries(tmp_path, waves):
    LogMelTransformer(cache_dir=tmp_path).transform(waves[:1])
    LogMelTransformer(
        cache_dir=tmp_path, fmin=0.0, fmax=8000, dtype=np.float32, n_jobs=2
    ).transform(waves[:1])
    assert len(_entries(tmp_path)) == 1


def test_content_decides_not_the_name(tmp_path):
    a, b = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(a, _noise(seed=0), 16000)
    b.write_bytes(a.read_bytes())
    cache = tmp_path / "cache"
    est = LogMelTransformer(cache_dir=cache)
    est.transform([a, b, str(a), {"path": a}])
    assert len(_entries(cache)) == 1
    soundfile.write(a, _noise(seed=1), 16000)  # the same name and length
    changed = est.transform([a])[0]
    assert len(_entries(cache)) == 2
    np.testing.assert_array_equal(changed, LogMelTransformer().transform([a])[0])


@pytest.mark.parametrize("bad", [[[1.0], [2.0, 3.0]], np.array([None, 1.0])])
def test_what_has_no_content_has_no_key_and_is_reported(tmp_path, bad):
    assert content_key(bad, "settings") is None
    with pytest.raises(TypeError, match=r"X\[1\] is"):
        LogMelTransformer(cache_dir=tmp_path).transform([_noise(), bad])


def test_keys_of_waveforms():
    wave = np.arange(6, dtype=np.float32)
    recordings = [
        wave,
        wave[::-1],
        wave.astype(np.int16),
        wave.view(np.int32),
        {"array": wave, "sampling_rate": 8000},
        {"array": wave, "sampling_rate": 16000},
        {"array": wave.reshape(2, 3), "sampling_rate": 16000},
        {"array": wave.reshape(3, 2), "sampling_rate": 16000},
    ]
    keys = [content_key(r, "settings") for r in recordings]
    assert len(set(keys)) == len(keys)
    assert content_key(wave.copy(), "settings") == keys[0]
    assert content_key(wave, "others") != keys[0]


def _saved(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


DAMAGES = {
    "truncated": lambda whole: whole[:-100],
    "empty": lambda whole: b"",
    "garbage": lambda whole: b"\x93NUMPY garbage" * 20,
    "pickle": lambda whole: _saved(np.array([[print]], dtype=object)),
    "1-D": lambda whole: _saved(np.zeros(5, np.float32)),
    "NaN": lambda whole: _saved(np.full((80, 29), np.nan, np.float32)),
    "header": lambda whole: whole.replace(b"'shape': (80", b"'shape': ((0", 1),
    "longer": lambda whole: whole + b"0",
}


@pytest.mark.parametrize("damage", [*DAMAGES, "another's"])
def test_broken_entry_is_computed_anew(tmp_path, waves, damage):
    est = LogMelTransformer(cache_dir=tmp_path)
    expected = LogMelTransformer().transform(waves)
    est.transform(waves)
    other, _, entry, *_ = _entries(tmp_path)
    whole = entry.read_bytes()
    damaged = DAMAGES.get(damage, lambda whole: other.read_bytes())(whole)
    assert damaged != whole
    entry.write_bytes(damaged)
    _assert_equal(est.transform(waves), expected)
    assert entry.read_bytes() == whole


@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.slow)])
def test_any_flipped_bit_is_found(tmp_path, step):
    key, array = "ab" * 32, np.arange(12, dtype=np.float32).reshape(3, 4)
    write(tmp_path, key, array)
    (entry,) = _entries(tmp_path)
    whole = entry.read_bytes()
    for i in range(0, 8 * len(whole), step):
        flipped = bytearray(whole)
        flipped[i // 8] ^= 1 << i % 8
        entry.write_bytes(flipped)
        assert read(tmp_path, key) is None, i
    entry.write_bytes(whole)
    np.testing.assert_array_equal(read(tmp_path, key), array)


def test_interrupted_write_leaves_nothing(tmp_path):
    class Interrupting:
        def __array__(self, dtype=None, copy=None):
            (temporary,) = tmp_path.rglob("*.tmp")
            assert temporary.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, "ab" * 32, Interrupting())
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_a_relative_folder_survives_a_change_of_the_working_directory(
    tmp_path, waves, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    expected = LogMelTransformer().transform(waves)
    features = LogMelTransformer(cache_dir="cache").transform(waves)
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    _assert_equal(features, expected)
    _assert_equal(pickle.loads(pickle.dumps(features)), expected)
    np.testing.assert_array_equal(features[0][1:3], expected[0][1:3])


def test_more_entries_than_file_descriptors(tmp_path):
    resource = pytest.importorskip("resource", reason="limits are a matter of POSIX")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    waves = [_noise(50, seed=i) for i in range(150)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
    try:
        features = LogMelTransformer(cache_dir=tmp_path).transform(waves)
        total = sum(np.asarray(x).sum() for x in features)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    expected = sum(x.sum() for x in LogMelTransformer().transform(waves))
    assert total == pytest.approx(expected)


# What an entry looks like


@pytest.fixture
def entry(tmp_path):
    array = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    return CachedSequence(str(tmp_path / "a.npy")), array


def test_cached_sequence_acts_as_its_array(entry):
    lazy, array = entry
    assert (lazy.shape, lazy.ndim, lazy.size, len(lazy)) == ((3, 7), 2, 21, 3)
    assert lazy.dtype == np.float32
    assert lazy.nbytes == array.nbytes
    np.testing.assert_array_equal(lazy, array)
    np.testing.assert_array_equal(lazy[1:, ::2], array[1:, ::2])
    assert lazy[2, 3] == array[2, 3]
    np.testing.assert_array_equal(lazy.T, array.T)
    np.testing.assert_array_equal(lazy.mean(axis=1), array.mean(axis=1))
    np.testing.assert_array_equal(array - lazy, 0)
    np.testing.assert_array_equal(2 * lazy, 2 * array)
    np.testing.assert_array_equal(list(lazy), array)
    np.testing.assert_array_equal(np.concatenate([lazy, lazy]), np.tile(array, (2, 1)))
    assert np.asarray(lazy, dtype=np.float64).dtype == np.float64
    assert "(3, 7)" in repr(lazy)
    with pytest.raises(AttributeError):
        lazy.no_such_thing  # noqa: B018


def test_cached_sequence_is_read_only_unless_copied(entry):
    lazy, array = entry
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(lazy)[0, 0] = 1.0
    own = np.array(lazy)
    own[0, 0] = 9.0
    np.testing.assert_array_equal(lazy, array)
    with pytest.raises(ValueError, match="a copy is needed"):
        lazy.__array__(copy=False)


def test_cached_sequence_pickles_as_its_path(entry):
    lazy, array = entry
    blob = pickle.dumps(lazy)
    assert array.tobytes() not in blob
    np.testing.assert_array_equal(pickle.loads(blob), array)


@pytest.mark.slow
def test_killed_run_resumes(tmp_path):
    code = (
        "import numpy as np\n"
        "from sklearn_ser.features import LogMelTransformer\n"
        "waves = [np.random.default_rng(i).normal(size=9000) for i in range(20000)]\n"
        f"LogMelTransformer(cache_dir={json.dumps(str(tmp_path))}).transform(waves)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    while len(_entries(tmp_path)) < 20:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    n_done = len(_entries(tmp_path))
    assert 20 <= n_done < 20000
    before = _state(tmp_path)
    waves = [np.random.default_rng(i).normal(size=9000) for i in range(n_done + 5)]
    features = LogMelTransformer(cache_dir=tmp_path).transform(waves)
    _assert_equal(features, LogMelTransformer().transform(waves))
    after = _state(tmp_path)
    assert len(after) == n_done + 5
    assert {path: after[path] for path in before} == before


def _fill(folder):
    waves = [_noise(seed=i) for i in range(30)]
    LogMelTransformer(cache_dir=folder).transform(waves)


@pytest.mark.slow
def test_several_processes_share_a_cache(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fill, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(_entries(tmp_path)) == 30
    assert not list(tmp_path.rglob("*.tmp"))
    waves = [_noise(seed=i) for i in range(30)]
    _assert_equal(
        LogMelTransformer(cache_dir=tmp_path).transform(waves),
        LogMelTransformer().transform(waves),
    )
