"""The command predict: windows, timelines, voices, and raw audio from a pipe."""

import contextlib
import os
import shutil
import signal
import sys
import threading
from html.parser import HTMLParser

import numpy as np
import pytest
import sklearn
import soundfile

from sklearn_ser import LogMelTransformer, enroll
from sklearn_ser.features import load_audio
from sklearn_ser.persistence import load

pytest.importorskip("skops")

RATE = 16000


@pytest.fixture
def talk(tmp_path, corpus):
    """Five seconds of speech, as a file and as raw samples."""
    wave = np.concatenate(corpus.waveforms)[: 5 * RATE]
    samples = (wave * 2**15).astype("<i2")
    soundfile.write(tmp_path / "talk.wav", samples, RATE)
    return tmp_path / "talk.wav", samples.tobytes()


def starts(lines):
    return [float(line.split()[1]) for line in lines[1:]]


# ----------------------------------------------------------------------------- files


def test_it_says_what_the_saved_model_says(run, rows, model, formats, tmp_path):
    out = tmp_path / "out.csv"
    printed = run("predict", model, formats.parent, "--csv", out)
    assert printed.err == ""
    header, lines = rows(out)
    assert header == ["file", "start", "end", "emotion", "anger", "neutral"]
    assert len(lines) == len(printed.lines) - 1 == 5
    loaded = load(model)
    for cells, line in zip(lines, printed.lines[1:], strict=True):
        name, *times, emotion = cells[:4]
        assert times == ["0.00", "1.00"]
        expected = loaded.predict_proba([name])[0]
        np.testing.assert_allclose(np.array(cells[4:], float), expected, atol=2e-4)
        assert emotion == loaded.predict([name])[0]
        assert name in line
        assert emotion in line


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [0]),
        (["--window", 2], [0, 1, 2, 3]),
        (["--window", 2, "--hop", 1.5], [0, 1.5, 3]),
    ],
)
def test_windows_overlap_by_half_or_as_is_asked(run, model, talk, options, expected):
    assert starts(run("predict", model, talk[0], *options).lines) == expected


def test_segments_of_a_table_have_the_times_of_their_file(run, model, talk):
    path, _ = talk
    table = path.with_name("turns.csv")
    table.write_text("file,start,end\ntalk.wav,0.5,1.5\ntalk.wav,2,\n")
    first, second = run("predict", model, table).lines[1:]
    assert first.split()[:3] == [str(path), "0.50", "1.50"]
    assert second.split()[:3] == [str(path), "2.00", "5.00"]
    (expected,) = load(model).predict_proba([{"path": path, "start": 0.5, "end": 1.5}])
    found = [float(cell) for cell in first.split()[4:]]
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_what_does_not_decode_is_told_and_the_others_go_on(
    run, rows, model, formats, tmp_path
):
    (formats / "broken.wav").write_bytes(b"this is no audio")
    (formats / "empty.flac").write_bytes(b"")
    out = tmp_path / "out.csv"
    printed = run("predict", model, "absent.wav", formats, "--csv", out, status=1)
    errors = printed.err.splitlines()
    for line, name in zip(errors[:-1], ("absent", "broken", "empty"), strict=True):
        assert line.startswith("sklearn-ser: error: ")
        assert name in line
    assert errors[-1] == "sklearn-ser: 3 of 8 recordings were not predicted"
    assert len(rows(out)[1]) == 5
    printed = run("predict", model, "absent.wav", status=1)
    assert printed.out == ""  # no header stands above nothing


@pytest.mark.skipif(os.name != "posix", reason="names of bytes, pipes and links")
def test_strange_files_in_a_folder_are_told_and_the_others_go_on(
    run, rows, model, formats, tmp_path
):
    os.mkfifo(formats / "pipe.wav")
    (formats / "loop.wav").symlink_to(formats / "loop.wav")
    (formats / "loop").symlink_to(formats)
    shutil.copy(formats / "web.ogg", os.fsencode(formats) + b"/\xff\xfe.ogg")
    deep = os.path.join(formats, *["d" * 200] * 6)
    os.makedirs(deep)
    shutil.copy(formats / "web.ogg", os.path.join(deep, "deep.ogg"))
    out = tmp_path / "out.csv"
    argv = "predict", model, formats, "a\0b.wav", "n" * 5000, "--csv", out
    errors = run(*argv, status=1).err.splitlines()
    assert len(errors) == 5
    assert all(e.startswith("sklearn-ser: error: ") for e in errors[:-1])
    names = [line[0] for line in rows(out)[1]]
    assert len(names) == 7
    assert any(name.endswith("deep.ogg") for name in names)
    assert any(name.endswith(r"/\xff\xfe.ogg") for name in names)


def test_what_is_skipped_in_a_folder_is_told(run, fails, model, formats, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no audio file below" in fails("predict", model, tmp_path / "empty")
    for folder in (tmp_path / "empty", formats):
        (folder / "talk.m4a").touch()
    message = fails("predict", model, tmp_path / "empty")
    assert "ffmpeg -i talk.m4a talk.wav" in message
    shutil.copy(formats / "web.ogg", formats / "._web.ogg")
    printed = run("predict", model, formats)
    assert len(printed.lines) == 6
    assert "ffmpeg -i talk.m4a talk.wav" in printed.err


@pytest.mark.filterwarnings("default::sklearn_ser.SilentRecordingWarning")
def test_silence_is_told_however_short_it_is(run, model, tmp_path):
    soundfile.write(tmp_path / "zeros.wav", np.zeros(3), RATE)
    soundfile.write(tmp_path / "sound.wav", [0.1, 0.0, -0.1], RATE)
    printed = run("predict", model, tmp_path)
    assert len(printed.lines) == 3
    [line] = printed.err.splitlines()
    assert line.startswith("sklearn-ser: warning: recording ('")
    assert line.endswith("zeros.wav') is silent: its few samples are all zero.")


def test_no_cell_of_a_table_is_a_formula(run, rows, model, formats, monkeypatch):
    monkeypatch.chdir(formats)
    names = ["=1+2.ogg", "+a.ogg", "-b.ogg", "@c.ogg", "d.ogg", "-1"]
    for name in names:
        shutil.copy("web.ogg", name)
    run("predict", model, "--csv", "out.csv", "--", *names)
    expected = [f"'{name}" for name in names[:4]] + names[4:]
    assert [line[0] for line in rows("out.csv")[1]] == expected


# ------------------------------------------------------------------------- timelines


def test_a_timeline_is_a_table_and_a_summary(run, rows, model, talk, tmp_path):
    other, out = tmp_path / "other.wav", tmp_path / "out.csv"
    soundfile.write(other, np.random.default_rng(0).normal(size=RATE) / 9, RATE)
    argv = "predict", model, talk[0], other
    summary = run(*argv, "--timeline", out, "--hop", 1).out
    run(*argv, "--window", 3, "--hop", 1, "--csv", f"{out}2")
    assert rows(out) == rows(f"{out}2")
    header, lines = rows(out)
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
        found = [float(value) for value in shares[emotion]]
        np.testing.assert_allclose(found, [100 * share, mean], atol=0.051)


def test_a_timeline_is_a_page(run, model, talk, tmp_path):
    out = tmp_path / "out.html"
    run("predict", model, "nosuch.wav", talk[0], "--timeline", out, status=1)
    texts = []
    parser = HTMLParser()
    parser.handle_data = texts.append
    parser.feed(out.read_text(encoding="utf-8"))
    assert str(talk[0]) in texts
    assert "Predicted by model.skops." in " ".join(texts)
    assert str(model.parent) not in out.read_text()
    assert "nosuch.wav" not in out.read_text()


# ---------------------------------------------------------------------------- voices


@pytest.fixture
def calls(tmp_path, formats):
    """Tables of what two speakers said, beside the recordings."""
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text("File, Speaker\nin/nested/web.ogg,ann\nin/nested/phone.mp3,Ann\n")
    two.write_text("file,speaker\nin/nested/web.ogg,ann\nin/nested/phone.mp3,bob\n")
    return one, two


def test_voices_change_the_prediction(run, rows, enrollable, calls, formats, tmp_path):
    one, two = calls
    out = tmp_path / "out.csv"

    def probabilities(*options):
        run("predict", enrollable, "--csv", out, *options)
        return {
            line[0].split("/")[-1]: np.array(line[4:], float) for line in rows(out)[1]
        }

    plain = probabilities(formats)
    by_one = probabilities(formats, "--enroll", one)
    model = load(enrollable)
    wave = [load_audio(formats / name) for name in ("web.ogg", "phone.mp3")]
    enroll(model, wave, ["ann", "ann"])
    with sklearn.config_context(enable_metadata_routing=True):
        expected = model.predict_proba(
            [formats / n for n in by_one], speakers=["ann"] * 5
        )
    np.testing.assert_allclose([*by_one.values()], expected, atol=1e-3)
    assert not np.allclose([*plain.values()], [*by_one.values()], atol=1e-3)
    assert probabilities(two, "--enroll", two).keys() == {"web.ogg", "phone.mp3"}
    spelt = tmp_path / "spelt.csv"
    spelt.write_text("file,speaker\nin\\nested\\WEB.ogg,A\u200bNN\n", encoding="utf-16")
    found = probabilities(spelt, "--enroll", one)
    assert found["web.ogg"].tolist() == by_one["web.ogg"].tolist()
    files = tmp_path / "files.csv"
    files.write_text("note;File\na;in/nested/web.ogg\n")  # of a spreadsheet in Europe
    assert probabilities(files)["web.ogg"].tolist() == plain["web.ogg"].tolist()


@pytest.mark.parametrize("name", ["S00", "s00\u200b"])
def test_a_spelling_is_the_voice_of_the_training(
    run, rows, enrollable, formats, tmp_path, name
):
    found = []
    for spelling in ("s00", name):
        table = formats / "table.csv"
        table.write_text(f"file,speaker\nweb.ogg,{spelling}\n", encoding="utf-8")
        run("predict", enrollable, table, "--csv", tmp_path / "out.csv")
        found.append(rows(tmp_path / "out.csv")[1])
    assert found[0] == found[1]


def test_long_recordings_are_enrolled_in_pieces(run, enrollable, tmp_path, monkeypatch):
    enrolled = []
    monkeypatch.setattr(
        "sklearn_ser.pipeline.enroll",
        lambda model, X, names: enrolled.append((X, names)),
    )
    wave = np.random.default_rng(0).normal(size=16000 * 24).astype("float32") / 10
    for name, n_samples in (("long.wav", 24 * RATE), ("short.wav", 1000)):
        soundfile.write(tmp_path / name, wave[:n_samples], RATE, subtype="FLOAT")
    calls = tmp_path / "calls.csv"
    calls.write_text("file,speaker\nlong.wav,s00\nshort.wav,s00\n")
    run("predict", enrollable, tmp_path / "short.wav", "--enroll", calls)
    [(pieces, names)] = enrolled
    assert [len(piece["array"]) for piece in pieces] == [160000, 160000, 1000]
    np.testing.assert_array_equal(pieces[2]["array"], wave[:1000])
    assert names == ["s00"] * 3


def test_what_cannot_be_enrolled(fails, model, enrollable, calls, formats, tmp_path):
    one, two = calls
    predict = "predict", enrollable
    message = fails("predict", model, formats, "--enroll", one)
    assert "trained without --enrollable and has no SpeakerNormalizer" in message
    message = fails(*predict, formats, "--enroll", two)
    assert "2 speakers, and nothing says which of them speaks in" in message
    assert "columns file and speaker" in message
    message = fails(*predict, two, "--enroll", one)
    assert "one.csv' has no recording of 'bob'" in message
    message = fails(*predict, formats, "--enroll", "no.csv")
    assert "--enroll: must be an existing file, found none at 'no.csv'" in message
    bad = tmp_path / "bad.csv"
    for text, expected in (
        ("file,name\na.wav,a\n", "lacks the columns ['speaker']; it has ['file', 'na"),
        ("file,speaker\na.wav,\n", "has empty cells: row 2 'speaker'"),
        ("file,speaker\n", "has a header but no rows"),
        ("file,speaker,start\nin/nested/web.ogg,ann,1.5\n", "beyond the end of the"),
        ("file,speaker\nabsent.wav,ann\n", "absent.wav"),
    ):
        bad.write_text(text)
        assert expected in fails(*predict, formats, "--enroll", bad)


# -------------------------------------------------------------------- standard input


def test_raw_samples_are_what_a_file_is(run, rows, monkeypatch, model, talk, tmp_path):
    path, samples = talk
    options = "--window", 1, "--hop", 0.75
    expected = [line.split() for line in run("predict", model, path, *options).lines]
    raw, out = tmp_path / "talk.raw", tmp_path / "out.csv"
    raw.write_bytes(samples + b"\x01")  # half a sample more
    with open(raw) as file:
        monkeypatch.setattr(sys, "stdin", file)
        printed = run("predict", model, "-", *options, "--timeline", out).out
    table, summary = printed.split("\n\n")
    found = [line.split() for line in table.splitlines()]
    assert [line[1:] for line in found] == [line[1:] for line in expected]
    assert {line[0] for line in found[1:]} == {"stdin"}
    assert [rows(out)[0], *rows(out)[1]] == found
    assert summary.startswith("stdin: 0:05 in 7 window(s)\n")


@pytest.mark.parametrize("options", [[], ["--rate", 8000]])
def test_empty_standard_input_is_an_error(fails, monkeypatch, model, options):
    with open(os.devnull) as file:
        monkeypatch.setattr(sys, "stdin", file)
        message = fails("predict", model, "-", *options)
    assert "standard input is empty" in message


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal")
def test_a_terminal_sends_no_audio(fails, monkeypatch, model):
    leader, follower = os.openpty()
    with open(follower) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        assert "is a terminal" in fails("predict", model, "-")
    os.close(leader)


@pytest.fixture
def live(start, model):
    """Start the command on standard input; a watchdog ends it if it hangs."""

    @contextlib.contextmanager
    def live(*options):
        with start("predict", model, "-", *options) as process:
            watchdog = threading.Timer(300, process.kill)
            watchdog.start()
            yield process
            watchdog.cancel()

    return live


def send(process, samples):
    process.stdin.write(samples)
    process.stdin.flush()


@pytest.mark.slow
def test_a_row_comes_with_its_window(live, talk):
    samples = np.frombuffer(talk[1], "<i2")[::2].tobytes()  # 8000 Hz
    with live("--rate", 8000, "--window", 1, "--hop", 0.5) as process:
        send(process, samples[:20001])  # 1.25 s, and half a sample
        assert process.stdout.readline().split()[:2] == [b"file", b"start"]
        assert process.stdout.readline().split()[:3] == [b"stdin", b"0.00", b"1.00"]
        send(process, samples[20001:30000])  # up to 1.875 s
        assert process.stdout.readline().split()[:3] == [b"stdin", b"0.50", b"1.50"]
        send(process, samples[30000:30400])  # up to 1.9 s, and nothing more
        process.stdin.close()
        assert process.stdout.read().split()[:3] == [b"stdin", b"0.90", b"1.90"]
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.slow
def test_ctrl_c_ends_it_and_keeps_what_was_found(rows, live, talk, tmp_path):
    table, page = tmp_path / "out.csv", tmp_path / "out.html"
    with live("--csv", table, "--timeline", page) as process:
        send(process, talk[1])  # windows of 3 s from 0 s and from 1.5 s on
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b""
        assert process.stderr.read() == b"sklearn-ser: interrupted\n"
    assert process.returncode == 130
    assert [row[1] for row in rows(table)[1]] == ["0.00", "1.50"]
    assert page.read_text().count("<section") == 1


def test_ctrl_c_among_files_keeps_those_before_it(
    run, rows, model, talk, tmp_path, monkeypatch
):
    table, page = tmp_path / "out.csv", tmp_path / "out.html"
    transform, seen = LogMelTransformer.transform, []

    def interrupted(self, X):
        seen.append(X)
        if len(seen) > 3:
            raise KeyboardInterrupt
        return transform(self, X)

    monkeypatch.setattr(LogMelTransformer, "transform", interrupted)
    files, options = [talk[0]] * 5, ("--csv", table, "--timeline", page)
    printed = run("predict", model, *files, *options, status=130)
    assert printed.err == "sklearn-ser: interrupted\n"
    assert len(rows(table)[1]) == 9  # three windows of each of three files
    assert page.read_text().count("<section") == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "table_is_wanted"),
    [("files", False), ("files", True), ("standard input", True)],
)
def test_a_reader_that_has_enough_ends_it(
    rows, start, live, model, talk, formats, tmp_path, source, table_is_wanted
):
    """As head -1 does; a table is written to its end where files are read."""
    out = tmp_path / "out.csv"
    options = ["--csv", out] if table_is_wanted else []
    of_files = source == "files"
    with (
        start("predict", model, formats, *options)
        if of_files
        else live("--window", 1, *options)
    ) as process:
        if not of_files:
            send(process, talk[1][: 2 * RATE])
        assert process.stdout.readline().startswith(b"file ")
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # it may end before all is sent
            send(process, b"" if of_files else talk[1])
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == (0 if of_files and table_is_wanted else 141)
    if table_is_wanted:
        assert len(rows(out)[1]) == 5 if of_files else len(rows(out)[1]) >= 1
