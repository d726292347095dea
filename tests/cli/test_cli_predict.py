"""The command predict: timelines, windows, and raw audio from standard input."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import threading
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from sklearn.pipeline import make_pipeline

from sklearn_ser import LogMelTransformer
from sklearn_ser.baseline import make_baseline
from sklearn_ser.cli import main
from sklearn_ser.persistence import save

pytest.importorskip("skops")

RATE = 16000
# The process has Python's own handler of Ctrl-C, though this one may run without.
COMMAND = (
    "import signal, sys\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from sklearn_ser.cli import main\n"
    "sys.exit(main(sys.argv[1:]))\n"
)


@pytest.fixture(scope="module")
def model(corpus, tmp_path_factory):
    front = LogMelTransformer(n_mels=16, top_db=50)
    pipeline = make_pipeline(front, make_baseline(of_frames=True))
    path = tmp_path_factory.mktemp("model") / "model.skops"
    save(pipeline.fit(corpus.waveforms, corpus.y), path)
    return path


@pytest.fixture
def talk(tmp_path, corpus):
    """Five seconds of speech, as a file and as raw samples."""
    wave = np.concatenate(corpus.waveforms)[: 5 * RATE]
    assert len(wave) == 5 * RATE
    samples = (wave * 2**15).astype("<i2")
    soundfile.write(tmp_path / "talk.wav", samples, RATE)
    return tmp_path / "talk.wav", samples.tobytes()


def fails(capsys, *argv):
    with pytest.raises(SystemExit) as caught:
        main([str(arg) for arg in argv])
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    return printed.err


def rows(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def printed_rows(text):
    return [line.split() for line in text.splitlines()]


# ----------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["a.wav", "--window", "0.05"], "--window: must be at least 0.1 and at most"),
        (["a.wav", "--window", "inf"], "--window: must be at least 0.1 and at most"),
        (["a.wav", "--hop", "0"], "--hop: must be at least 0.01"),
        (["a.wav", "--hop", "11"], "--hop: must be at most the window of 10 s"),
        (["-", "--hop", "4"], "--hop: must be at most the window of 3 s"),
        (["a.wav", "--rate", "8000"], "--rate: files tell their own"),
        (["-", "--rate", "2e6"], "--rate: must be at least 1 and at most 1e+06"),
        (["-", "a.wav"], "- allows no other beside it"),
        (["a.wav", "--timeline", "out.png"], "'out.png' must end in .csv or .html"),
        (["a.wav", "--timeline", "no/such.csv"], "'no/such.csv' cannot be written"),
    ],
)
def test_wrong_arguments_end_in_one_line(capsys, monkeypatch, argv, message):
    with open(os.devnull) as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert message in fails(capsys, "predict", "m.skops", *argv)


def test_no_header_stands_above_nothing(capsys, model, talk):
    assert main(["predict", str(model), "nosuch.wav"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "nosuch.wav: recording ('nosuch.wav') is missing" in printed.err
    assert main(["predict", str(model), "nosuch.wav", str(talk[0])]) == 1
    lines = printed_rows(capsys.readouterr().out)
    assert [line[0] for line in lines] == ["file", str(talk[0])]


def test_the_hop_is_half_a_window_or_what_is_asked_for(capsys, model, talk):
    for options, expected in (
        (["--window", "2"], [0, 1, 2, 3]),
        (["--window", "2", "--hop", "1.5"], [0, 1.5, 3]),
        (["--hop", "1"], [0]),
    ):
        assert main(["predict", str(model), str(talk[0]), *options]) == 0
        _, *lines = printed_rows(capsys.readouterr().out)
        assert [float(line[1]) for line in lines] == expected


def test_a_timeline_is_a_table_and_a_summary(capsys, model, talk, tmp_path):
    other = tmp_path / "other.wav"
    soundfile.write(other, np.linspace(-0.1, 0.1, RATE), RATE)
    out = tmp_path / "out.csv"
    argv = ["predict", str(model), str(talk[0]), str(other)]
    assert main([*argv, "--timeline", str(out), "--hop", "1"]) == 0
    summary = capsys.readouterr().out
    assert main([*argv, "--window", "3", "--hop", "1", "--csv", f"{out}2"]) == 0
    assert rows(out) == rows(f"{out}2")
    header, *lines = rows(out)
    assert header == ["file", "start", "end", "emotion", "anger", "neutral", "sadness"]
    assert [line[:3] for line in lines] == [
        [str(talk[0]), "0.00", "3.00"],
        [str(talk[0]), "1.00", "4.00"],
        [str(talk[0]), "2.00", "5.00"],
        [str(other), "0.00", "1.00"],
    ]
    first, second = summary.strip().split("\n\n")
    assert first.startswith(f"{talk[0]}: 0:05 in 3 window(s)\n")
    assert second.startswith(f"{other}: 0:01 in 1 window(s)\n")
    shares = {line.split()[0]: line.split()[1:] for line in first.splitlines()[2:]}
    times = np.array([2.0, 1.0, 2.0]) / 5
    for column, emotion in enumerate(header[4:], 4):
        share = times[[line[3] == emotion for line in lines[:3]]].sum()
        mean = np.dot(times, [float(line[column]) for line in lines[:3]])
        np.testing.assert_allclose(
            [float(value) for value in shares[emotion]], [100 * share, mean], atol=0.051
        )


def test_a_timeline_is_a_page(capsys, model, talk, tmp_path):
    out = tmp_path / "out.html"
    argv = ["predict", str(model), "nosuch.wav", str(talk[0]), "--timeline", str(out)]
    assert main(argv) == 1
    texts = []
    parser = HTMLParser()
    parser.handle_data = texts.append
    parser.feed(out.read_text(encoding="utf-8"))
    assert str(talk[0]) in texts
    assert any(f"Predicted by {model}." in text for text in texts)
    assert "nosuch.wav" not in out.read_text()


# -------------------------------------------------------------------- standard input


def test_raw_samples_are_what_a_file_is(capsys, monkeypatch, model, talk, tmp_path):
    path, samples = talk
    options = ["--window", "1", "--hop", "0.75"]
    assert main(["predict", str(model), str(path), *options]) == 0
    expected = printed_rows(capsys.readouterr().out)
    raw = tmp_path / "talk.raw"
    raw.write_bytes(samples + b"\x01")  # half a sample more
    out = tmp_path / "out.csv"
    with open(raw) as file:
        monkeypatch.setattr(sys, "stdin", file)
        argv = ["predict", str(model), "-", *options, "--timeline", str(out)]
        assert main(argv) == 0
    table, summary = capsys.readouterr().out.split("\n\n")
    found = printed_rows(table)
    assert [line[1:] for line in found] == [line[1:] for line in expected]
    assert {line[0] for line in found[1:]} == {"stdin"}
    assert rows(out) == found
    assert summary.startswith("stdin: 0:05 in 7 window(s)\n")


def test_empty_standard_input_is_an_error(capsys, monkeypatch, model):
    for options in ([], ["--rate", "8000"]):
        with open(os.devnull) as file:
            monkeypatch.setattr(sys, "stdin", file)
            message = fails(capsys, "predict", model, "-", *options)
        assert "standard input is empty" in message


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal")
def test_a_terminal_sends_no_audio(capsys, monkeypatch, model):
    leader, follower = os.openpty()
    with open(follower) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        assert "is a terminal" in fails(capsys, "predict", model, "-")
    os.close(leader)


class Live:
    """The command in a process of its own, which is fed by and by."""

    def __init__(self, *argv):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        argv = [sys.executable, "-c", COMMAND, "predict", *map(str, argv)]
        self.run = subprocess.Popen(argv, **pipes, env=env)

    def __enter__(self):
        self.watchdog = threading.Timer(300, self.run.kill)  # a test must not hang
        self.watchdog.start()
        return self.run.__enter__()

    def __exit__(self, *error):
        self.run.__exit__(*error)
        self.watchdog.cancel()


def send(run, samples):
    run.stdin.write(samples)
    run.stdin.flush()


@pytest.mark.slow
def test_a_row_comes_with_its_window(model, talk):
    samples = np.frombuffer(talk[1], "<i2")[::2].tobytes()  # 8000 Hz
    options = "-", "--rate", 8000, "--window", 1, "--hop", 0.5
    with Live(model, *options) as run:
        send(run, samples[:20001])  # 1.25 s, and half a sample
        assert run.stdout.readline().split()[:2] == [b"file", b"start"]
        assert run.stdout.readline().split()[:3] == [b"stdin", b"0.00", b"1.00"]
        send(run, samples[20001:30000])  # up to 1.875 s
        assert run.stdout.readline().split()[:3] == [b"stdin", b"0.50", b"1.50"]
        send(run, samples[30000:30400])  # up to 1.9 s, and nothing more
        run.stdin.close()
        assert run.stdout.read().split()[:3] == [b"stdin", b"0.90", b"1.90"]
        assert run.stderr.read() == b""
    assert run.returncode == 0


@pytest.mark.slow
def test_ctrl_c_ends_it_and_keeps_what_was_found(model, talk, tmp_path):
    out = tmp_path / "out.html"
    with Live(model, "-", "--csv", tmp_path / "out.csv", "--timeline", out) as run:
        send(run, talk[1])  # windows of 3 s from 0 s and from 1.5 s on
        for _ in range(3):
            run.stdout.readline()
        run.send_signal(signal.SIGINT)
        assert run.stdout.read() == b""
        assert run.stderr.read() == b"sklearn-ser: interrupted\n"
    assert run.returncode == 130
    assert [row[1] for row in rows(tmp_path / "out.csv")] == ["start", "0.00", "1.50"]
    assert out.read_text().count("<section>") == 1


@pytest.mark.slow
def test_a_reader_that_has_enough_ends_it(model, talk, tmp_path):
    with Live(model, "-", "--csv", tmp_path / "out.csv", "--window", 1) as run:
        send(run, talk[1][: 2 * RATE])
        run.stdout.readline()
        run.stdout.readline()
        run.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # it may end before all is sent
            send(run, talk[1])
        with contextlib.suppress(BrokenPipeError):
            run.stdin.close()
        assert run.stderr.read() == b""
    assert run.returncode == 141
    assert len(rows(tmp_path / "out.csv")) >= 3
