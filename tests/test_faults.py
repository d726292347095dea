"""Processes that are killed, disks that are full: what is left, and what goes on."""

import os
import signal
import subprocess
import sys
import time

import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="needs signals of POSIX")
# A limit for what must come to pass; nothing is measured by it.
PATIENCE = 120


def start(code, *args):
    """Start a process that runs code."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


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


# ---------------------------------------------------------------- worker processes

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
