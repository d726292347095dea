"""What the transformers of recordings have in common: one test for all of them."""

import os
import signal
import warnings
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from joblib import parallel_config
from joblib.externals.loky import get_reusable_executor
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

from sklearn_ser.features import (
    LogMelTransformer,
    OpenSMILETransformer,
    SpeechModelTransformer,
)
from sklearn_ser.features import recording_transformer as base

slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.fixture
def make(request):
    """Return a function of parameters to a transformer; "states" is a speech model."""
    if request.param == "log-mel":
        return LogMelTransformer
    if request.param == "openSMILE":
        pytest.importorskip("opensmile")
        return partial(OpenSMILETransformer, "IS09")  # the quickest set
    options = {"pooling": None if request.param == "states" else "mean_std"}
    model = request.getfixturevalue("tiny_speech_model")
    return partial(SpeechModelTransformer, model, frames_per_batch=30, **options)


def _entries(folder):
    return sorted(folder.rglob("*.npy"))


@pytest.mark.parametrize(
    "make", ["log-mel", slow("openSMILE"), "vectors", slow("states")], indirect=True
)
def test_sklearn_checks(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(make(), on_fail=None)
    assert [r["check_name"] for r in results if r["status"] == "failed"] == []
    assert {r["status"] for r in results} <= {"passed", "skipped"}
    assert sum(r["status"] == "passed" for r in results) >= 35
    assert len(results) == len(list(estimator_checks_generator(make())))


@pytest.mark.parametrize("make", ["log-mel", "states"], indirect=True)
def test_needs_no_fit(make):
    X = np.random.default_rng(0).normal(size=(2, 900))
    est = make()
    before = dict(vars(est))
    features = est.transform(X)
    assert vars(est) == before
    assert est.fit(X) is est
    np.testing.assert_array_equal(features, est.transform(X))


@pytest.fixture
def fresh_workers():
    """Leave joblib's workers to no other test.

    They know the memory of their first task: after one without torch, the next with it
    counts as a leak, and joblib's warning, an error here, stops its own thread.
    """
    yield
    get_reusable_executor().shutdown()


@pytest.mark.usefixtures("fresh_workers")
@pytest.mark.parametrize(
    ("make", "backend"),
    [
        ("log-mel", "threading"),
        slow("openSMILE", "threading"),
        ("states", "threading"),
        slow("log-mel", "loky"),
        slow("states", "loky"),
    ],
    indirect=["make"],
)
def test_jobs_and_the_cache_change_nothing(make, backend, tmp_path):
    rng = np.random.default_rng(0)
    waves = [0.1 * rng.normal(size=1000 + 30 * i) for i in range(40)]
    n_threads = torch.get_num_threads()
    expected = make().transform(waves)
    cached = make(cache_dir=tmp_path, n_jobs=2)
    with parallel_config(backend=backend):
        for _ in range(2):
            found = cached.transform(waves)
            assert type(found) is type(expected)
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
            assert len(_entries(tmp_path)) == 40
        waves[36] = np.full(1200, np.nan)
        with pytest.raises(ValueError, match=r"X\[36\] contains NaN"):
            cached.transform(waves)
    assert torch.get_num_threads() == n_threads


@pytest.mark.parametrize(
    ("make", "package"),
    [
        ("log-mel", "soundfile"),
        ("log-mel", "soxr"),
        ("log-mel", "libsndfile"),
        ("openSMILE", "opensmile"),
        ("states", "transformers"),
    ],
    indirect=["make"],
)
def test_other_versions_have_entries_of_their_own(make, package, tmp_path, monkeypatch):
    est, X = make(cache_dir=tmp_path), [np.random.default_rng(0).normal(size=2000)]
    est.transform(X)
    base.versions.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(soundfile, f"__{package}_version__", "0", raising=False)
        known = base.version
        patch.setattr(base, "version", lambda n: "0" if n == package else known(n))
        est.transform(X)
    base.versions.cache_clear()
    est.transform(X)
    assert len(_entries(tmp_path)) == 2


@pytest.fixture
def alarm():
    """End a test that waits for ever."""

    def stop(number, frame):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and devices")
@pytest.mark.parametrize("make", ["log-mel", "states"], indirect=True)
def test_pipe_and_device_are_refused_at_once(make, request, tmp_path):
    request.getfixturevalue("alarm")
    pipe = str(tmp_path / "a.wav")
    os.mkfifo(pipe)
    for path in (pipe, "/dev/zero"):
        message = rf"^X\[0\] \('{path}'\) does not decode: it is a folder, "
        for recording in (path, {"path": path}):
            for cache in (None, tmp_path / "cache"):
                with pytest.raises(ValueError, match=message):
                    make(cache_dir=cache).transform([recording])
