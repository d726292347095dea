"""Commands that run in this process, a corpus on disk, and models of it."""

import csv
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import soxr

from sklearn_ser.cli import main
from sklearn_ser.datasets import make_emotional_speech

# The process has Python's own handler of Ctrl-C, though this one may run without.
_COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from sklearn_ser.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def run(capsys):
    """Run a command, and return what it printed: lines and errors."""

    def run(*argv, status=0):
        capsys.readouterr()
        assert main([str(arg) for arg in argv]) == status
        printed = capsys.readouterr()
        lines = printed.out.splitlines()
        return SimpleNamespace(out=printed.out, err=printed.err, lines=lines)

    return run


@pytest.fixture
def fails(capsys):
    """Run a command that must fail, and return its one line."""

    def fails(*argv):
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(arg) for arg in argv])
        assert caught.value.code == 2
        message = capsys.readouterr().err.splitlines()[-1]
        assert message.startswith("sklearn-ser: error: ")
        return message

    return fails


@pytest.fixture(scope="session")
def start():
    """Start a command in a process of its own."""

    def start(*argv):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", _COMMAND, *map(str, argv)]
        return subprocess.Popen(command, **pipes, env=env)

    return start


@pytest.fixture(scope="session")
def rows():
    """Return the header and the other lines of a CSV file."""

    def rows(path):
        with open(path, newline="") as file:
            header, *lines = csv.reader(file)
        return header, lines

    return rows


@pytest.fixture(scope="session")
def manifest(tmp_path_factory, write_corpus):
    """Three speakers, two emotions, two utterances each, on disk."""
    return write_corpus(
        tmp_path_factory.mktemp("corpus") / "corpus.csv",
        n_speakers=3,
        n_utterances=2,
        emotions=("neutral", "anger"),
        duration=0.5,
    )


@pytest.fixture(scope="session")
def trained(manifest, tmp_path_factory):
    """Train by the command on the manifest's corpus, and return the model's path."""

    def trained(*options):
        path = tmp_path_factory.mktemp("trained") / "model.skops"
        argv = ["train", "--manifest", manifest, "--out", path, *options]
        assert main([str(arg) for arg in argv]) == 0
        return path

    pytest.importorskip("skops")
    return trained


@pytest.fixture(scope="session")
def model(trained):
    return trained("--method", "baseline")


@pytest.fixture(scope="session")
def enrollable(trained):
    return trained("--method", "baseline", "--enrollable")


@pytest.fixture(scope="session")
def speech_pipeline(trained, tiny_speech_model, tmp_path_factory):
    """A pipeline over a copy of the speech model, which lies beside it."""
    weights = tmp_path_factory.mktemp("speech") / "weights"
    shutil.copytree(tiny_speech_model, weights)
    options = "--epochs", 1, "--features", weights, "--layer", -1
    return SimpleNamespace(path=trained(*options), weights=weights)


@pytest.fixture
def formats(tmp_path):
    """One utterance in five formats, rates and channel counts."""
    speech = make_emotional_speech(
        n_speakers=2, n_utterances=1, duration=1.0, random_state=0
    )
    folder = tmp_path / "in" / "nested"
    folder.mkdir(parents=True)
    for i, (name, rate, n_channels, options) in enumerate(
        [
            ("telephone.wav", 8000, 1, {"subtype": "ULAW"}),
            ("STUDIO.FLAC", 96000, 2, {"subtype": "PCM_24"}),
            ("web.ogg", 22050, 1, {}),
            ("phone.mp3", 44100, 2, {}),
            ("array.aiff", 48000, 5, {"subtype": "PCM_16"}),
        ]
    ):
        wave = soxr.resample(speech.data[i], speech.sampling_rate, rate)
        wave = np.tile(wave[:, None], (1, n_channels))
        soundfile.write(folder / name, wave, rate, **options)
    (folder / "notes.txt").write_text("no audio")
    return folder
