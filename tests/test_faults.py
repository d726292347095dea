"""Processes that are killed, disks that are full: what is left, and what goes on."""

import os
import signal
import subprocess
import sys
import threading
import time

import joblib
import numpy as np
import pytest

from sklearn_ser import DSNetClassifier
from sklearn_ser.features import LogMelTransformer
from sklearn_ser.model_selection import speaker_cross_validate
from sklearn_ser.persistence import load

posix = pytest.mark.skipif(os.name != "posix", reason="needs signals of POSIX")
# A limit for what must come to pass; nothing is measured by it.
PATIENCE = 120


def start(code, *args):
    """Start a process that runs code."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, *map(str, args)]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=env, **pipes)


def wait_for(condition, process=None):
    """Wait until a condition holds, as long as the process that brings it lives."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        if process is not None and process.poll() is not None:
            raise AssertionError(process.stderr.read())
        time.sleep(0.02)
    return found


def kill(process):
    """End a process by SIGKILL, which it cannot notice."""
    process.kill()
    process.wait()
    process.stderr.close()


def is_running(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:  # a zombie does not compute
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --------------------------------------------------------------------- worker processes

SLEEPERS = """
import os, sys, time
import numpy as np
from pathlib import Path
from sklearn.dummy import DummyClassifier
from sklearn_ser.model_selection import speaker_cross_validate

class Sleeper(DummyClassifier):
    def fit(self, X, y):
        Path(sys.argv[1], str(os.getpid())).touch()
        time.sleep(600)

if __name__ == "__main__":
    y, speakers = ["a", "b"] * 4, np.repeat(["s", "t", "u", "v"], 2)
    X = np.arange(8.0)[:, None]
    speaker_cross_validate(Sleeper(), X, y, speakers, n_jobs=2)
"""


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs a list of processes")
@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SLEEPERS)
    (tmp_path / "pids").mkdir()
    code = "import runpy, sys; runpy.run_path(sys.argv.pop(), run_name='__main__')"
    process = start(code, tmp_path / "pids", script)
    wait_for(lambda: len(os.listdir(tmp_path / "pids")) == 2, process)
    workers = [int(name) for name in os.listdir(tmp_path / "pids")]
    assert all(is_running(pid) for pid in workers)
    assert process.pid not in workers
    kill(process)
    try:
        wait_for(lambda: not any(is_running(pid) for pid in workers))
    finally:
        for pid in filter(is_running, workers):
            os.kill(pid, signal.SIGKILL)


@posix
@pytest.mark.slow
def test_the_folds_of_a_dask_worker_that_is_killed_are_computed_by_another():
    distributed = pytest.importorskip("distributed")
    X = list(np.random.default_rng(0).normal(size=(24, 8, 40)).astype(np.float32))
    y, speakers = np.arange(24) % 2, np.repeat(["s", "t", "u", "v"], 6)
    model = DSNetClassifier(
        encoder="conv", max_epochs=4, calibration_weight=0, random_state=0
    )
    expected = speaker_cross_validate(model, X, y, speakers, n_bootstrap=0)
    killed = []

    def kill_a_busy_worker():
        busy = wait_for(
            lambda: [worker for worker, jobs in client.processing().items() if jobs]
        )
        os.kill(pids[busy[0]], signal.SIGKILL)
        killed.append(pids[busy[0]])

    options = {"processes": True, "threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(n_workers=2, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        pids = client.run(os.getpid)
        killer = threading.Thread(target=kill_a_busy_worker)
        killer.start()
        with joblib.parallel_config("dask"):
            found = speaker_cross_validate(model, X, y, speakers, n_bootstrap=0)
        killer.join()
        assert not is_running(killed[0])
    assert len(found.folds) == 4
    for name in ("rows", "predictions", "probabilities", "uar"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


# ------------------------------------------------------------------------- saved models

SAVES = """
import sys
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_ser.persistence import save

X = np.arange(3.0)[:, None] * np.ones(200_000)
models = [make_pipeline(StandardScaler()).fit(X + i) for i in range(2)]
save(models[0], sys.argv[1])
while True:
    for model in models:
        save(model, sys.argv[1])
        print(flush=True)
"""


@pytest.mark.slow
@posix
def test_a_model_is_whole_when_saving_is_killed(tmp_path):
    path = tmp_path / "model.skops"
    for delay in (0.0, 0.02):
        process = start(SAVES, path)
        wait_for(path.exists, process)
        time.sleep(delay)
        kill(process)
        (step,) = load(path).named_steps.values()
        assert step.mean_[0] in (1.0, 2.0)
        assert (step.mean_ == step.mean_[0]).all()


# ------------------------------------------------------------------ disks that are full

FULL = """
import resource, sys
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_ser.features import LogMelTransformer
from sklearn_ser.persistence import save

resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))  # bytes of one file
model = make_pipeline(StandardScaler()).fit(np.ones((3, 5000)))
waves = [np.linspace(-1, 1, n) for n in (400, 16000)]  # the second is too large
cached = LogMelTransformer(cache_dir=sys.argv[2])
for write in (lambda: save(model, sys.argv[1]), lambda: cached.transform(waves)):
    try:
        write()
    except OSError as error:
        print("OSError:", error, file=sys.stderr)
"""


@pytest.mark.slow
@posix
def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    path, cache = tmp_path / "model.skops", tmp_path / "cache"
    path.write_bytes(b"old")
    process = start(FULL, path, cache)
    told = process.communicate()[1].splitlines()
    assert process.returncode == 0
    assert [line.partition(":")[0] for line in told] == ["OSError"] * 2
    assert f"cache_dir '{cache}' cannot be written" in told[1]
    assert path.read_bytes() == b"old"
    files = [p for p in tmp_path.rglob("*") if p.is_file() and p != path]
    assert len(files) == 1  # the entry that fitted
    assert files[0].suffix == ".npy"
    waves = [np.linspace(-1, 1, n) for n in (400, 16000)]
    found = LogMelTransformer(cache_dir=cache).transform(waves)
    for x, expected in zip(found, LogMelTransformer().transform(waves), strict=True):
        np.testing.assert_array_equal(x, expected)


def test_a_cache_that_cannot_be_written_is_named_and_still_read(tmp_path):
    waves = [np.linspace(-1, 1, 400), np.linspace(-1, 1, 800)]
    cached = LogMelTransformer(cache_dir=tmp_path)
    expected = cached.transform(waves[:1])
    for i in range(256):  # root may write where nobody may: files in place of folders
        if not (folder := tmp_path / f"{i:02x}").exists():
            folder.touch()
    np.testing.assert_array_equal(cached.transform(waves[:1])[0], expected[0])
    with pytest.raises(OSError, match=r"cache_dir '.*' cannot be written"):
        cached.transform([np.linspace(0, i, 400) for i in range(1, 10)])
    assert not list(tmp_path.rglob("*.tmp"))


# ----------------------------------------------------------------------------- training

TRAINS = """
import sys
from sklearn_ser.cli import main
main(["train", "--manifest", sys.argv[1], "--out", sys.argv[2], "--epochs", "100000"])
"""


@posix
@pytest.mark.slow
def test_a_training_that_is_killed_leaves_the_old_model(tmp_path, write_corpus):
    table = write_corpus(tmp_path / "corpus.csv", n_speakers=2, n_utterances=1)
    out = tmp_path / "model.skops"
    out.write_bytes(b"old")
    before = sorted(os.listdir(tmp_path))
    process = start(TRAINS, table, out)
    text = ""
    while "2/100000" not in text:  # of the progress bar
        found = process.stderr.read(1)
        assert found, text
        text += found
    kill(process)
    assert out.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == before


FORKS = """
import os, sys, threading, time, warnings
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from skorch.callbacks import Callback
from sklearn_ser import DSNetClassifier
from sklearn_ser.nn.process import _Threads

class Encoder(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.conv = nn.Conv1d(n_features, 4, 1)

    def forward(self, x, lengths):
        if self.training:
            time.sleep(0.01)  # while the process's generators are those of this fit
        return F.dropout(self.conv(x), 0.5, self.training), lengths

class Stops(Callback):
    def on_batch_end(self, net, **kwargs):
        started.set()
        if over.is_set():
            raise KeyboardInterrupt

def ends_well(child):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status == 0
        time.sleep(0.05)
    os.kill(child, 9)
    return False

warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside a thread
X = np.random.default_rng(0).normal(size=(24, 5)).astype(np.float32)
y = np.arange(24) % 2
started, over = threading.Event(), threading.Event()
Stops.__deepcopy__ = lambda self, memo: self
options = {"calibration_weight": 0, "encoder": Encoder, "random_state": 0}
expected = DSNetClassifier(max_epochs=1, **options).fit(X, y).predict_proba(X)
torch.manual_seed(3)
drawn = torch.initial_seed(), torch.get_rng_state()
endless = DSNetClassifier(max_epochs=10**6, callbacks=[Stops()], **options)
thread = threading.Thread(target=endless.fit, args=(X, y))
thread.start()
started.wait()
good = True
for i in range(4):
    time.sleep(0.007)
    child = os.fork()
    if not child:
        same = torch.equal(torch.get_rng_state(), drawn[1])
        model = DSNetClassifier(max_epochs=1, **options).fit(X, y)
        same &= bool((model.predict_proba(X) == expected).all())
        os._exit(0 if same and _Threads.running == 0 else 1)
    good &= ends_well(child)
over.set()
thread.join()
print("good" if good else "bad", file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_beside_a_training_can_train():
    process = start(FORKS)
    told = process.communicate()[1]
    assert told.splitlines()[-1] == "good", told
