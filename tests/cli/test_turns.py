"""The option --turns of predict: files of turns, channels, and voices."""

import numpy as np
import pytest
import soundfile

from sklearn_ser import emotion_timeline
from sklearn_ser.persistence import load

pytest.importorskip("skops")

RATE = 16000
TURNS = "start,end,speaker\n0,1.5,ann\n2,3.5,bob\n3,5,ann\n5.5,5.7,bob\n"
HEADER = ["file", "speaker", "start", "end", "seconds", "overlap", "kind", "emotion"]


@pytest.fixture
def call(tmp_path, corpus):
    """Six seconds of speech, and its turns."""
    wave = np.resize(np.concatenate(corpus.waveforms), 6 * RATE)
    soundfile.write(tmp_path / "call.wav", wave, RATE)
    (tmp_path / "call.csv").write_text(TURNS)
    return tmp_path / "call.wav", tmp_path / "call.csv"


def test_a_row_for_each_turn(run, rows, enrollable, call, tmp_path):
    path, turns = call
    out = tmp_path / "out.csv"
    options = "--turns", turns, "--enroll", "self", "--csv", out
    printed = run("predict", enrollable, path, *options)
    header, lines = rows(out)
    assert header == [*HEADER, "anger", "neutral"]
    assert [line.split()[:4] for line in printed.lines[1:]] == [
        row[:4] for row in lines
    ]
    expected = emotion_timeline(load(enrollable), path, turns=turns, enroll="self")
    assert [line[6] for line in lines] == expected.kinds.tolist()
    assert expected.kinds.tolist() == ["transductive"] * 4
    assert [line[5] for line in lines] == ["0.00", "0.50", "0.50", "0.00"]
    assert lines[3][7:] == ["too short", "", ""]
    found = np.array([line[8:] for line in lines[:3]], float)
    np.testing.assert_allclose(found, expected.probabilities[:3], atol=1e-4)


def test_a_folder_has_turns_for_each(run, rows, model, call, tmp_path):
    path, _ = call
    other = tmp_path / "in" / "other.wav"
    other.parent.mkdir()
    soundfile.write(other, soundfile.read(path)[0], RATE)
    (tmp_path / "other.rttm").write_text(
        "SPEAKER other 1 0 2 <NA> <NA> cem <NA> <NA>\n"
    )
    pages = tmp_path / "out.html", tmp_path / "table.csv"
    options = "--turns", tmp_path, "--timeline", pages[0], "--csv", pages[1]
    printed = run("predict", model, path, other, *options)
    assert "call.wav: 4 turn(s) of 2 speaker(s)" in printed.out
    assert "other.wav: 1 turn(s) of 1 speaker(s)" in printed.out
    assert [line[1] for line in rows(pages[1])[1]] == [
        "ann",
        "bob",
        "ann",
        "bob",
        "cem",
    ]
    assert pages[0].read_text().count("<section") == 2


def test_a_speaker_of_the_table_is_known(run, rows, enrollable, call, tmp_path):
    path, turns = call
    calls, out = tmp_path / "calls.csv", tmp_path / "out.csv"
    calls.write_text("file,speaker\ncall.wav,ANN\n")
    run("predict", enrollable, path, "--turns", turns, "--enroll", calls, "--csv", out)
    kinds = {line[1]: line[6] for line in rows(out)[1]}
    assert kinds == {"ANN": "enrolled", "bob": "inductive"}


def test_channels_are_turns(run, rows, model, call, tmp_path):
    wave, _ = soundfile.read(call[0])
    stereo = np.zeros((len(wave), 2))
    stereo[: 2 * RATE, 0], stereo[3 * RATE : 5 * RATE, 1] = 0.1, 0.1
    stereo *= np.random.default_rng(0).normal(size=stereo.shape)
    path, out = tmp_path / "stereo.flac", tmp_path / "out.csv"
    soundfile.write(path, stereo, RATE)
    run("predict", model, path, "--turns", "channels", "--csv", out)
    assert [line[1] for line in rows(out)[1]] == ["channel 0", "channel 1"]
    message = run("predict", model, call[0], "--turns", "channels", status=1).err
    assert "needs a recording with one speaker on each channel" in message


def test_recordings_enroll_themselves(run, rows, enrollable, call, tmp_path):
    """Without turns each recording is one voice, or has one in a table."""
    path, _ = call
    out = tmp_path / "out.csv"
    printed = run("predict", enrollable, path, "--enroll", "self", "--csv", out)
    assert "transductive" in printed.err
    alone = rows(out)[1]
    page = tmp_path / "out.html"
    run("predict", enrollable, path, "--enroll", "self", "--timeline", page)
    assert "enroll themselves (transductive)" in page.read_text()
    run("predict", enrollable, path, "--csv", out)
    assert rows(out)[1] != alone
    table = tmp_path / "today.csv"
    table.write_text("file,speaker\ncall.wav,cem\n")
    run("predict", enrollable, table, "--enroll", "self", "--csv", out)
    assert [row[1:] for row in rows(out)[1]] == [row[1:] for row in alone]
    table.write_text("file,speaker,start,end\ncall.wav,cem,0,1\ncall.wav,ben,1,2\n")
    run("predict", enrollable, table, "--enroll", "self", "--csv", out)
    assert [row[1] for row in rows(out)[1]] == ["0.00", "1.00"]


def test_what_does_not_fit_is_one_line(fails, model, enrollable, call, tmp_path):
    path, turns = call
    message = fails("predict", model, path, "--turns", turns, "--enroll", "self")
    assert "has no SpeakerNormalizer" in message
    message = fails("predict", model, path, path, "--turns", turns)
    assert "is one file for 2 recordings; give a folder" in message
    message = fails("predict", model, path, "--turns", tmp_path / "no.rttm")
    assert "argument --turns: must be an existing file or folder, found" in message
    assert "no.rttm" in message
    message = fails("predict", model, "-", "--turns", turns)
    assert "known at its end" in message
    message = fails("predict", enrollable, "-", "--enroll", "self")
    assert "known at its end" in message
    message = fails("predict", model, turns, "--turns", turns)
    assert "give recordings, not the table(s)" in message
    turns.write_text("start,end,speaker\n0,1,\n")
    message = fails("predict", model, path, "--turns", turns)
    assert "call.csv', line 2: the speaker is empty" in message
    turns.with_suffix(".rttm").write_text("")
    message = fails("predict", model, path, "--turns", tmp_path)
    assert "has 'call.csv' and 'call.rttm' for '" in message
    message = fails("predict", model, path, "--turns", tmp_path.parent)
    assert "has no turns of '" in message


def test_a_file_of_turns_is_of_one_recording(fails, model, call, tmp_path):
    path, _ = call
    other = tmp_path / "in" / "call.wav"
    other.parent.mkdir()
    other.write_bytes(path.read_bytes())
    told = fails("predict", model, path, other, "--turns", tmp_path)
    assert "has the turns of one" in str(told)
