import csv
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import soxr
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sklearn_ser.__main__ import main
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.persistence import load, save


@pytest.fixture(scope="module")
def manifest(tmp_path_factory, write_corpus):
    """Three speakers, two emotions, two utterances each, on disk."""
    return write_corpus(
        tmp_path_factory.mktemp("corpus") / "corpus.csv",
        n_speakers=3,
        n_utterances=2,
        emotions=("neutral", "anger"),
        duration=0.5,
    )


def fails(capsys, *argv):
    """Run a command that must fail; return its one line."""
    with pytest.raises(SystemExit) as caught:
        main([str(arg) for arg in argv])
    assert caught.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("sklearn-ser: error: ")
    return message


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: command"),
        (["train-all"], "train-all"),
        (["evaluate", "--method", "hmm"], "'hmm' (choose from"),
        (["evaluate", "--folds", "1"], "--folds: must be at least 2, got 1"),
        (["evaluate", "--folds", "two"], "--folds: invalid integer value: 'two'"),
        (["evaluate", "--epochs", "0"], "--epochs: must be at least 1"),
        (["evaluate", "--seed", "-1"], "--seed: must be at least 0"),
        (["evaluate", "--jobs", "0"], "--jobs: must not be 0"),
        (["evaluate", "--folds", "9"], "8 speaker(s) found, but 9"),
        (["evaluate", "--manifest", "no/such.csv"], "no/such.csv"),
        (["train", "--out", "m.skops"], "required: --manifest"),
        (["train", "--manifest", "no/such.csv", "--out", "m.skops"], "no/such.csv"),
        (["train", "--manifest", "m.csv", "--out", "no/such/m"], "'no/such/m' cannot"),
        (["train", "--manifest", "m.csv", "--out", "."], "'.' cannot be"),
        (["predict", "no-such.skops", "a.wav"], "no model file 'no-such.skops'"),
        (["predict", "m.skops", "a.wav", "--csv", "no/such/o"], "'no/such/o' cannot"),
        (["predict", "no-such.skops"], "required: FILE-OR-FOLDER"),
        (["predict", "m", "a.wav", "--window", "0"], "--window: must be at least 0.1"),
    ],
)
def test_wrong_arguments_end_in_one_line(capsys, argv, message):
    assert message in fails(capsys, *argv)


def test_one_speaker_is_an_error(capsys, manifest):
    path = manifest.with_name("one.csv")
    path.write_text("file,speaker,emotion\n0.wav,ann,anger\n1.wav,ann,neutral\n")
    assert "1 speaker(s) found" in fails(capsys, "evaluate", "--manifest", path)


def test_a_recording_that_does_not_decode_is_an_error(capsys, manifest):
    broken = manifest.with_name("broken.wav")
    broken.write_bytes(b"this is no audio")
    path = manifest.with_name("broken.csv")
    path.write_text(manifest.read_text().replace("\n3.wav", "\nbroken.wav"))
    assert "broken.wav" in fails(capsys, "evaluate", "--manifest", path)


def test_one_emotion_is_an_error(capsys, manifest):
    path = manifest.with_name("calm.csv")
    path.write_text(manifest.read_text().replace("anger", "neutral"))
    message = fails(capsys, "evaluate", "--manifest", path, "--epochs", 1)
    assert "class" in message


def test_an_interrupt_ends_with_130(capsys, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("sklearn_ser.datasets.make_emotional_speech", interrupt)
    assert main(["evaluate"]) == 130
    assert capsys.readouterr().err == "sklearn-ser: interrupted\n"


def check_table(text, folds, pooled):
    lines = text.splitlines()
    assert lines[0].startswith("DSNetClassifier: ")
    assert lines[1].split()[:4] == ["fold", "test", "speakers", "n"]
    assert [line.split()[0] for line in lines[2:-1]] == [str(i + 1) for i in folds]
    figures = np.array([line.split()[-2:] for line in lines[2:-1]], dtype=float)
    assert ((figures >= 0) & (figures <= 100)).all()
    assert lines[-1].startswith("pooled")
    assert lines[-1].split()[:4] == ["pooled", *pooled.split()]
    assert lines[-1].count("[") == 2


def test_evaluate_a_manifest(capsys, manifest):
    argv = ["evaluate", "--manifest", str(manifest), "--epochs", "1", "--seed", "3"]
    assert main(argv) == 0
    first = capsys.readouterr()
    check_table(first.out, range(3), "3 speakers  12")
    assert "3/3" in first.err
    assert main(argv) == 0
    assert capsys.readouterr().out == first.out


def test_evaluate_the_synthetic_corpus(capsys):
    assert main(["evaluate", "--epochs", "1", "--folds", "2"]) == 0
    check_table(capsys.readouterr().out, range(2), "8 speakers  320")


# --------------------------------------------------------------- train and predict


@pytest.fixture(scope="module")
def model(manifest):
    """A model trained by the command on the manifest's corpus."""
    path = manifest.with_name("model.skops")
    argv = ["train", "--manifest", manifest, "--out", path, "--epochs", 1]
    assert main([str(arg) for arg in argv]) == 0
    return path


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


def rows(path):
    with open(path, newline="") as file:
        header, *lines = csv.reader(file)
    return header, lines


def test_predict_says_what_the_saved_model_says(capsys, model, formats, tmp_path):
    out = tmp_path / "out.csv"
    assert main(["predict", str(model), str(formats.parent), "--csv", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    header, lines = rows(out)
    assert header == ["file", "start", "end", "emotion", "anger", "neutral"]
    assert len(lines) == 5
    assert len(printed.out.splitlines()) == 6
    loaded = load(model)
    for name, start, end, emotion, *probabilities in lines:
        assert (start, end) == ("0.00", "1.00")
        expected = loaded.predict_proba([name])[0]
        np.testing.assert_allclose(np.array(probabilities, float), expected, atol=2e-4)
        assert emotion == loaded.predict([name])[0]
        assert any(name in line and emotion in line for line in printed.out.split("\n"))


def test_a_long_recording_is_predicted_in_overlapping_windows(capsys, model, tmp_path):
    wave = np.random.default_rng(0).normal(size=16000 * 5).astype("float32") / 10
    soundfile.write(tmp_path / "long.wav", wave, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "short.wav", wave[:32000], 16000, subtype="FLOAT")
    argv = ["predict", str(model), str(tmp_path), "--window", "2"]
    assert main([*argv, "--csv", str(tmp_path / "out.csv")]) == 0
    lines = rows(tmp_path / "out.csv")[1]
    times = [(float(start), float(end)) for _, start, end, *_ in lines]
    assert times == [(0, 2), (1, 3), (2, 4), (3, 5), (0, 2)]
    part = {"array": wave[48000:], "sampling_rate": 16000}
    found = np.array(lines[3][4:], float)
    expected = load(model).predict_proba([part])[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert capsys.readouterr().err == ""


def test_what_does_not_decode_is_reported_and_the_others_go_on(
    capsys, model, formats, tmp_path
):
    (formats / "broken.wav").write_bytes(b"this is no audio")
    (formats / "empty.flac").write_bytes(b"")
    argv = ["predict", str(model), "absent.wav", str(formats)]
    assert main([*argv, "--csv", str(tmp_path / "out.csv")]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 4
    for line, name in zip(errors, ("absent", "broken", "empty"), strict=False):
        assert line.startswith("sklearn-ser: error: ")
        assert name in line
    assert errors[-1] == "sklearn-ser: 3 of 8 recordings were not predicted"
    assert len(rows(tmp_path / "out.csv")[1]) == 5


def test_a_model_without_features_is_an_error(capsys, tmp_path, formats):
    path = tmp_path / "svm.skops"
    X, y = np.random.default_rng(0).normal(size=(8, 2)), np.arange(8) % 2
    save(make_pipeline(StandardScaler(), LinearSVC()).fit(X, y), path)
    assert "starts with LogMelTransformer" in fails(capsys, "predict", path, formats)
    path.write_bytes(b"something else")
    assert "no model saved" in fails(capsys, "predict", path, formats)


def test_without_skops_nothing_is_trained(capsys, manifest, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    argv = ["--manifest", manifest, "--out", tmp_path / "m.skops"]
    assert "sklearn_ser[skops]" in fails(capsys, "train", *argv)


def test_a_folder_without_audio_is_an_error(capsys, model, tmp_path):
    assert "no audio file below" in fails(capsys, "predict", model, tmp_path)


def test_run_as_a_module_without_torch_for_errors():
    code = (
        "import sys; sys.argv[1:] = ['evaluate', '--method', 'hmm']\n"
        "import runpy\n"
        "try: runpy.run_module('sklearn_ser', run_name='__main__')\n"
        "except SystemExit as error: assert error.code == 2\n"
        "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env
    )
    assert run.returncode == 0, run.stderr
    assert len(run.stderr.splitlines()) == 1
