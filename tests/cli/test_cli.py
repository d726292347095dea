import csv
import json
import os
import re
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import sklearn
import soundfile
import soxr
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sklearn_ser import enroll
from sklearn_ser.baseline import EqualPriorsLDA, FrameStatistics
from sklearn_ser.cli import _make_parser, main
from sklearn_ser.cli.enrollment import _cut
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.features import (
    SpeechModelTransformer,
    load_audio,
    release_speech_models,
)
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
        ([], "required: {evaluate,train,predict}"),
        (["train-all"], "train-all"),
        (["evaluate", "--method", "hmm"], "'hmm' (choose from"),
        (["evaluate", "--folds", "1"], "--folds: must be at least 2, got 1"),
        (["evaluate", "--folds", "two"], "--folds: invalid integer value: 'two'"),
        (["evaluate", "--epochs", "0"], "--epochs: must be at least 1"),
        (["evaluate", "--seed", "-1"], "--seed: must be at least 0"),
        (["evaluate", "--jobs", "0"], "--jobs: must not be 0"),
        (["evaluate", "--layer", "3"], "--layer: log-mel features have no layers"),
        (["evaluate", "--layer", "top"], "must be a number, middle or last, got 'top'"),
        (
            ["evaluate", "--method", "baseline", "--epochs", "3"],
            "--epochs: the baseline has no epochs",
        ),
        (["evaluate", "--method", "didan"], "--method: didan adapts to a corpus"),
        (["evaluate", "--target", "t.csv"], "--target: needs --manifest"),
        (["evaluate", "--audio"], "--audio: needs --out"),
        (["evaluate", "--protocol", "emodb-loso"], "--protocol: needs --corpus"),
        (["evaluate", "--emotion-column", "l"], "--emotion-column: needs --manifest"),
        (["evaluate", "--corpus", "emodb", "--manifest", "m"], "not allowed with"),
        (["evaluate", "--corpus", "nobody"], "name must be one of"),
        (
            ["evaluate", "--method", "speaker-adversarial", "--neutral-label", "n"],
            "--neutral-label: the method speaker-adversarial needs no neutral speech",
        ),
        (
            ["evaluate", "--method", "baseline", "--device", "cpu"],
            "--device: the baseline runs on the CPU",
        ),
        (["evaluate", "--resume", "no/such"], "--resume: no evaluation in 'no/such'"),
        (["evaluate", "--resume", "x", "--seed", "3"], "--seed: --resume takes the"),
        (["evaluate", "--out", "/dev/null/x"], "--out: no folder '/dev/null/x'"),
        (["evaluate", "--features", "no/such/dir"], "'no/such/dir', but there is no"),
        (["evaluate", "--folds", "9"], "8 speaker(s) found, but 9"),
        (["evaluate", "--manifest", "no/such.csv"], "no/such.csv"),
        (["evaluate", "my.csv"], "my.csv: a table is given by --manifest"),
        (
            ["train", "--out", "m.skops"],
            "one of the arguments --manifest --corpus is required",
        ),
        (["train", "--manifest", "no/such.csv", "--out", "m.skops"], "no/such.csv"),
        (["train", "--manifest", "m.csv", "--out", "no/such/m"], "'no/such/m' cannot"),
        (["train", "--manifest", "m.csv", "--out", "."], "'.' cannot be"),
        (["predict", "no-such.skops", "a.wav"], "no model file 'no-such.skops'"),
        (["predict", "m.skops", "a.wav", "--csv", "no/such/o"], "'no/such/o' cannot"),
        (["predict", "m.skops", "a.wav", "--csv", "x/"], "'x/' cannot be"),
        (["predict", "m.skops", "a.wav", "--csv", "a" * 5000], "a' cannot be"),
        (["predict", "m.skops", "a.wav", "--csv", "a\0b"], "cannot be written"),
        (["predict", "m\0.skops", "a.wav"], "cannot be read"),
        (["evaluate", "--manifest", "a" * 5000], "csv must be an existing file"),
        (["predict", "no-such.skops"], "required: FILE-OR-FOLDER"),
        (["predict", "m", "a.wav", "--window", "0"], "--window: must be at least 0.1"),
    ],
)
def test_wrong_arguments_end_in_one_line(capsys, argv, message):
    assert message in fails(capsys, *argv)


def test_other_names_of_columns_are_asked_for(capsys, manifest, tmp_path):
    table = tmp_path / "korpus.csv"
    table.write_text(manifest.read_text().replace("emotion", "Gefühl", 1))
    wrong = ["evaluate", "--manifest", str(table), "--emotion-column", "gefuehl"]
    for argv in wrong[:3], wrong:
        assert "--speaker-column and --emotion-column." in fails(capsys, *argv)


def test_an_emotion_that_nobody_shows_is_not_neutral(capsys, manifest):
    argv = ["evaluate", "--manifest", manifest, "--neutral-label", "calm"]
    assert "no recording is 'calm', expected one of ['anger'" in fails(capsys, *argv)


def test_every_option_says_what_it_does():
    commands = _make_parser()._subparsers._group_actions[0].choices
    assert len(commands) == 3
    for name, command in commands.items():
        for action in command._actions:
            assert action.help, (name, action.option_strings)
            assert not action.help.startswith("default"), (name, action.option_strings)


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
    end = next(i for i, line in enumerate(lines) if line.startswith("pooled")) + 1
    lines = lines[:end]  # remarks may follow
    assert lines[0].startswith("DSNetClassifier on log-mel spectrograms: ")
    assert lines[1].startswith("inductive: ")
    assert lines[2].split()[:4] == ["fold", "test", "speakers", "n"]
    assert [line.split()[0] for line in lines[3:-1]] == [str(i + 1) for i in folds]
    figures = np.array([line.split()[-2:] for line in lines[3:-1]], dtype=float)
    assert ((figures >= 0) & (figures <= 100)).all()
    assert lines[-1].startswith("pooled")
    assert lines[-1].split()[:4] == ["pooled", *pooled.split()]
    assert lines[-1].count("[") == 2


def test_evaluate_a_manifest(capsys, manifest):
    argv = ["evaluate", "--manifest", str(manifest), "--epochs", "1", "--seed", "3"]
    assert main(argv) == 0
    first = capsys.readouterr()
    check_table(first.out, range(3), "3 speakers  12")
    assert "3/3 folds" in first.err
    assert main(argv) == 0
    assert capsys.readouterr().out == first.out


def test_evaluate_the_synthetic_corpus(capsys):
    assert main(["evaluate", "--epochs", "1", "--folds", "2"]) == 0
    check_table(capsys.readouterr().out, range(2), "8 speakers  320")


def test_evaluate_the_baseline(capsys, manifest):
    assert main(["evaluate", "--manifest", str(manifest), "--method", "baseline"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("Shrinkage LDA on log-mel spectrograms: ")
    assert lines[5].split()[:4] == ["pooled", "3", "speakers", "12"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--method", "dsnet", "--epochs", "1"], "DSNetClassifier on {}, layer 1 of 2"),
        (["--method", "baseline", "--layer", "last"], "LDA on {}, layer 2 of 2"),
    ],
)
def test_evaluate_on_a_speech_model(capsys, manifest, tiny_speech_model, options, said):
    argv = ["evaluate", "--manifest", manifest, "--features", tiny_speech_model]
    assert main([str(arg) for arg in (*argv, *options)]) == 0
    printed = capsys.readouterr()
    assert said.format(tiny_speech_model) in printed.out.splitlines()[0]
    assert printed.out.splitlines()[6].split()[:2] == ["pooled", "3"]
    assert "12/12" in printed.err  # the recordings' features, once


@pytest.mark.parametrize("target", [False, True])
def test_copies_are_refused_before_the_features_of_a_speech_model(
    capsys, manifest, tiny_speech_model, tmp_path, target
):
    """Their vectors do not show that they are of one recording."""
    shutil.copytree(manifest.parent, tmp_path, dirs_exist_ok=True)
    head, *lines = (tmp_path / manifest.name).read_text().splitlines()
    other = [f"copy_of_{line}".replace(",s00,", ",s99,") for line in lines]
    for line in lines:
        name = line.partition(",")[0]
        shutil.copy(tmp_path / name, tmp_path / f"copy_of_{name}")
    table, second = tmp_path / "copies.csv", tmp_path / "second.csv"
    table.write_text("\n".join([head, *lines, *([] if target else other)]))
    second.write_text("\n".join([head, *other]))
    argv = ["evaluate", "--manifest", table, "--features", tiny_speech_model]
    argv += ["--target", second] if target else []
    assert "hold the same audio" in fails(capsys, *argv, "--method", "baseline")


def test_a_speech_model_is_tried_before_minutes_of_work(
    capsys, manifest, tiny_speech_model, monkeypatch
):
    argv = ["evaluate", "--manifest", manifest, "--features", tiny_speech_model]
    message = fails(capsys, *argv, "--layer", 7)
    assert "int from -3 to 2" in message
    assert "got 7" in message
    release_speech_models()
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "pip install sklearn_ser[speech-model]" in fails(capsys, *argv)


def test_the_baseline_has_equal_priors():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 4)), np.repeat([0, 1, 2], [200, 50, 50])
    X[:, 0] += y
    shares = np.bincount(EqualPriorsLDA().fit(X, y).predict(X)) / 300
    own = LinearDiscriminantAnalysis(
        solver="lsqr", shrinkage="auto", priors=np.full(3, 1 / 3)
    )
    model = EqualPriorsLDA().fit(X, y)
    np.testing.assert_array_equal(
        model.predict_proba(X), own.fit(X, y).predict_proba(X)
    )
    assert 0.5 < shares[0] < 0.66
    np.testing.assert_array_equal(
        model.decision_function(X).argmax(axis=1), model.predict(X)
    )


def test_frames_are_described_by_mean_and_deviation(log_mels):
    vectors = FrameStatistics().fit_transform(log_mels)
    assert vectors.shape == (len(log_mels), 32)
    np.testing.assert_allclose(vectors[3, :16], log_mels[3].mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(vectors[3, 16:], log_mels[3].std(axis=1), rtol=1e-5)


# --------------------------------------------------------- what evaluate writes


@pytest.fixture
def own_manifest(manifest):
    """The same corpus under names of columns of its own, with a gender."""
    path = manifest.with_name("own.csv")
    _, *lines = manifest.read_text().splitlines()
    cells = [line.split(",") for line in lines]
    table = [f"{f},{s},{e},{'fm'[s > 's01']}" for f, s, e in cells]
    path.write_text("\n".join(["Clip,who,label,gender", *table]))
    return path


OWN = ["--file-column", "clip", "--speaker-column", "WHO", "--emotion-column", "label"]


def test_evaluate_writes_what_it_found(capsys, own_manifest, tmp_path):
    out = tmp_path / "new" / "out"
    argv = ["evaluate", "--manifest", own_manifest, *OWN, "--out", out, "--audio"]
    argv += ["--epochs", 1, "--neutral-label", "neutral", "--device", "cpu"]
    argv = [str(arg) for arg in argv]
    assert main(argv) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"Written to {out}")
    result = json.loads((out / "result.json").read_text())
    assert result["settings"]["estimator.neutral_label"] == "'neutral'"
    assert result["settings"]["estimator.device"] == "'cpu'"
    assert result["n_recordings"] == 12
    base = json.loads((out / "baseline" / "result.json").read_text())
    assert [f["n"] for f in base["folds"]] == [f["n"] for f in result["folds"]]
    header, lines = rows(out / "predictions.csv")
    assert header[:5] == ["row", "fold", "speaker", "y_true", "prediction"]
    assert {"file", "gender", "p_anger", "p_neutral"} <= {*header}
    assert len(lines) == 12
    page = (out / "report.html").read_text()
    for said in (
        "DSNetClassifier on log-mel",
        "linear baseline",
        "By gender",
        "<audio",
    ):
        assert said in page
    assert "train_calibration" in page  # the training's course
    assert "holds an evaluation already" in fails(capsys, *argv)
    # All folds are there: nothing is fitted, and the figures are the same.
    assert main(["evaluate", "--resume", str(out), "--jobs", "1"]) == 0
    assert json.loads((out / "result.json").read_text()) == result


def results(folder):
    """Return the predictions without paths, and the figures without seconds."""
    lines = [[*line[:5], *line[6:]] for line in rows(folder / "predictions.csv")[1]]
    result = json.loads((folder / "result.json").read_text())
    for fold in result["folds"]:
        del fold["fit_time"], fold["score_time"]
    return lines, result


def test_an_interrupted_evaluation_goes_on(capsys, manifest, tmp_path, monkeypatch):
    out = tmp_path / "out"
    argv = ["evaluate", "--manifest", os.path.relpath(manifest), "--method", "baseline"]
    fit, fits = EqualPriorsLDA.fit, []

    def interrupted(self, X, y):
        fits.append(len(y))
        if len(fits) == 3:
            raise KeyboardInterrupt
        return fit(self, X, y)

    assert main([*argv, "--out", str(tmp_path / "whole")]) == 0
    whole = results(tmp_path / "whole")
    monkeypatch.setattr(EqualPriorsLDA, "fit", interrupted)
    capsys.readouterr()
    assert main([*argv, "--out", str(out)]) == 130
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [line.split(",")[0] for line in lines[-2:]] == [
        f"fold {i}: 4 recordings of s0{i - 1}" for i in (1, 2)
    ]
    assert f"2 fold(s) finished; go on with: evaluate --resume {out}" in printed.err
    assert not (out / "result.json").exists()
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--resume", "out"]) == 0
    assert len(fits) == 4
    assert results(out) == whole


def test_evaluate_on_another_corpus(capsys, manifest, own_manifest, tmp_path):
    argv = ["evaluate", "--manifest", manifest, "--target", manifest]
    message = fails(capsys, *argv, "--method", "baseline")
    assert "hold the same audio" in message
    path = tmp_path / "target.csv"
    speech = make_emotional_speech(
        n_speakers=2, n_utterances=1, emotions=("neutral", "anger"), random_state=9
    )
    lines = ["file,speaker,emotion"]
    for i, wave in enumerate(speech.data):
        soundfile.write(tmp_path / f"{i}.wav", wave, speech.sampling_rate)
        lines.append(f"{i}.wav,{speech.speakers[i]},{speech.target[i]}")
    path.write_text("\n".join(lines))
    argv = ["evaluate", "--manifest", manifest, "--target", path, "--epochs", 1]
    argv += ["--method", "didan", "--out", tmp_path / "out"]
    assert main([str(arg) for arg in argv]) == 0
    assert "transductive: target utterances" in capsys.readouterr().out
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    (transfer,) = result["transfers"]
    assert (transfer["n_source"], transfer["n_unlabelled"]) == (12, 4)
    base = json.loads((tmp_path / "out" / "baseline" / "result.json").read_text())
    assert base["protocol"] == "source-only"
    assert "source to target" in (tmp_path / "out" / "report.html").read_text()


def test_evaluate_a_known_corpus(capsys, tmp_path):
    rng = np.random.default_rng(0)
    stems = [
        f"{who}a0{text}{how}a" for who in ("03", "08") for text in "127" for how in "WN"
    ]
    for i, stem in enumerate(stems):
        wave = rng.normal(size=4000) / 9 * (1 + i % 2)
        soundfile.write(tmp_path / f"{stem}.wav", wave, 16000)
    argv = ["evaluate", "--corpus", "EmoDB", "--data-home", str(tmp_path)]
    argv += ["--protocol", "emodb-loso", "--method", "baseline"]
    assert main(argv) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert "12 recordings by 2 speakers of EmoDB, Protocol('emodb-loso'" in first
    assert any(line.startswith("Protocol('emodb-loso'") for line in lines)
    assert "the protocol has its own" in fails(capsys, *argv, "--folds", 2)


def test_a_result_by_chance_says_so(capsys, tmp_path):
    rng, lines = np.random.default_rng(0), ["file,speaker,emotion"]
    for i in range(16):
        soundfile.write(tmp_path / f"{i}.wav", rng.normal(size=3000) / 9, 16000)
        lines.append(f"{i}.wav,s{i // 4},{('anger', 'joy')[i % 2]}")
    (tmp_path / "noise.csv").write_text("\n".join(lines))
    argv = ["evaluate", "--manifest", str(tmp_path / "noise.csv")]
    assert main([*argv, "--method", "baseline"]) == 0
    assert "contains chance (50.0%)" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_warning_is_told_once_in_one_line(capsys, manifest, jobs):
    path = manifest.with_name("no-neutral.csv")
    path.write_text(manifest.read_text().replace("neutral", "joy"))
    argv = ["evaluate", "--manifest", str(path), "--epochs", "1", "--jobs", str(jobs)]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(argv) == 0
    said = capsys.readouterr().err
    lines = re.split(r"[\r\n]", said)
    (line,) = (line for line in lines if "by --neutral-label, if there is one" in line)
    assert line.startswith("sklearn-ser: warning: ")
    assert ".py:" not in said


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


def command_line(*arguments):
    """Return a command, and how to start it, with pipes for what it says."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "sklearn_ser", *arguments]
    return command, {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": env}


@pytest.mark.slow
def test_a_reader_that_has_enough_ends_it_without_a_word(model, formats):
    command, pipes = command_line("predict", model, formats)
    with subprocess.Popen(command, **pipes) as run:
        assert run.stdout.readline().startswith(b"file ")
        run.stdout.close()  # as head -1 does
        assert run.stderr.read() == b""
    assert run.returncode == 141


@pytest.mark.slow
def test_a_table_is_written_though_the_reader_has_enough(model, formats, tmp_path):
    out = tmp_path / "out.csv"
    command, pipes = command_line("predict", model, formats, "--csv", out)
    with subprocess.Popen(command, **pipes) as run:
        assert run.stdout.readline().startswith(b"file ")
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode == 0
    names = {os.path.basename(line[0]) for line in rows(out)[1]}
    assert len(names) == 5


@pytest.mark.skipif(os.name != "posix", reason="names of bytes, pipes and links")
def test_strange_files_in_a_folder_are_told_and_the_others_go_on(
    capsys, model, formats, tmp_path
):
    os.mkfifo(formats / "pipe.wav")
    (formats / "loop.wav").symlink_to(formats / "loop.wav")
    (formats / "loop").symlink_to(formats)
    shutil.copy(formats / "web.ogg", os.fsencode(formats) + b"/\xff\xfe.ogg")
    deep = os.path.join(formats, *["d" * 200] * 6)
    os.makedirs(deep)
    shutil.copy(formats / "web.ogg", os.path.join(deep, "deep.ogg"))
    out = tmp_path / "out.csv"
    argv = ["predict", str(model), str(formats), "a\0b.wav", "n" * 5000]
    assert main([*argv, "--csv", str(out)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 5
    assert all(e.startswith("sklearn-ser: error: ") for e in errors[:-1])
    names = [line[0] for line in rows(out)[1]]
    assert len(names) == 7
    assert any(name.endswith("deep.ogg") for name in names)
    assert any(name.endswith(r"/\xff\xfe.ogg") for name in names)


def test_no_cell_of_a_table_is_a_formula(capsys, model, formats, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["=1+2.ogg", "+a.ogg", "-b.ogg", "@c.ogg", "d.ogg", "-1"]
    for name in names:
        shutil.copy(formats / "web.ogg", name)
    assert main(["predict", str(model), "--csv", "out.csv", "--", *names]) == 0
    expected = [f"'{name}" for name in names[:4]] + names[4:]
    assert [line[0] for line in rows("out.csv")[1]] == expected


# ------------------------------------------------------------------------- voices


def test_evaluate_enrolls(capsys, manifest):
    argv = ["evaluate", "--manifest", str(manifest), "--method", "baseline"]
    assert main([*argv, "--enroll", "1"]) == 0
    first, kind, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("SpeakerNormalizer and Shrinkage LDA on log-mel")
    assert kind.startswith("enrolled (1): ")
    assert last.split()[:4] == [
        "pooled",
        "3",
        "speakers",
        "27",
    ]  # three of four, thrice


def test_evaluate_enrolls_and_writes_a_report(capsys, manifest, tmp_path):
    out = tmp_path / "out"
    argv = ["evaluate", "--manifest", manifest, "--epochs", 1, "--enroll", 1]
    assert main([*map(str, argv), "--out", str(out)]) == 0
    assert "enrolled (1): this many" in (out / "report.html").read_text()
    scored = [
        [row.split(",")[:4] for row in (folder / "predictions.csv").read_text().split()]
        for folder in (out, out / "baseline")
    ]
    assert scored[0] == scored[1]
    assert len(scored[0]) == 1 + 27


@pytest.fixture(scope="module")
def enrollable(manifest):
    """A model to which voices can be added, trained by the command."""
    path = manifest.with_name("enrollable.skops")
    argv = ["train", "--manifest", manifest, "--out", path, "--method", "baseline"]
    assert main([*map(str, argv), "--enrollable"]) == 0
    return path


@pytest.fixture
def calls(tmp_path, formats):
    """Tables of what two speakers said, beside the recordings."""
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text("File, Speaker\nin/nested/web.ogg,ann\nin/nested/phone.mp3,ann\n")
    two.write_text("file,speaker\nin/nested/web.ogg,ann\nin/nested/phone.mp3,bob\n")
    return one, two


def test_predict_by_voices(capsys, enrollable, calls, formats, tmp_path):
    one, two = calls
    out = tmp_path / "out.csv"
    argv = ["predict", str(enrollable), "--csv", str(out)]

    def probabilities(*options):
        assert main([*argv, *map(str, options)]) == 0
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
    by_two = probabilities(two, "--enroll", two)
    assert by_two.keys() == {"web.ogg", "phone.mp3"}
    spelt = tmp_path / "spelt.csv"
    spelt.write_text("file,speaker\nin\\nested\\WEB.ogg,A\u200bNN\n", encoding="utf-16")
    found = probabilities(spelt, "--enroll", one)
    assert found["web.ogg"].tolist() == by_one["web.ogg"].tolist()
    files = tmp_path / "files.csv"
    files.write_text("note;File\na;in/nested/web.ogg\n")  # of a spreadsheet in Europe
    assert probabilities(files)["web.ogg"].tolist() == plain["web.ogg"].tolist()


def test_long_recordings_are_enrolled_in_pieces(enrollable, tmp_path):
    wave = np.random.default_rng(0).normal(size=16000 * 24).astype("float32") / 10
    soundfile.write(tmp_path / "long.wav", wave, 16000, subtype="FLOAT")
    pieces = _cut(load(enrollable), tmp_path / "long.wav")
    assert [len(piece["array"]) for piece in pieces] == [160000, 160000]
    soundfile.write(tmp_path / "short.wav", wave[:1000], 16000, subtype="FLOAT")
    (piece,) = _cut(load(enrollable), tmp_path / "short.wav")
    np.testing.assert_array_equal(piece["array"], wave[:1000])


def test_what_cannot_be_enrolled(capsys, model, enrollable, calls, formats, tmp_path):
    one, two = calls
    predict = "predict", enrollable
    message = fails(capsys, "predict", model, formats, "--enroll", one)
    assert "trained without --enrollable and has no SpeakerNormalizer" in message
    message = fails(capsys, *predict, formats, "--enroll", two)
    assert "2 speakers" in message
    assert "columns file and speaker" in message
    message = fails(capsys, *predict, two, "--enroll", one)
    assert "one.csv' has no recording of 'bob'" in message
    message = fails(capsys, *predict, formats, "--enroll", "no.csv")
    assert "--enroll: csv must be an existing file, found none at 'no.csv'" in message
    bad = tmp_path / "bad.csv"
    for text, expected in (
        (
            "file,name\na.wav,ann\n",
            "lacks the columns ['speaker']; it has ['file', 'name']",
        ),
        ("file,speaker\na.wav,\n", "has empty cells: row 2 'speaker'"),
        ("file,speaker\n", "has a header but no rows"),
        ("file,speaker,start\nin/nested/web.ogg,ann,1.5\n", "a part of a recording"),
        ("file,speaker\nabsent.wav,ann\n", "absent.wav"),
    ):
        bad.write_text(text)
        assert expected in fails(capsys, *predict, formats, "--enroll", bad)


def test_a_model_without_features_is_an_error(capsys, tmp_path, formats):
    path = tmp_path / "svm.skops"
    X, y = np.random.default_rng(0).normal(size=(8, 2)), np.arange(8) % 2
    save(make_pipeline(StandardScaler(), LinearSVC()).fit(X, y), path)
    assert "starts with LogMelTransformer" in fails(capsys, "predict", path, formats)
    path.write_bytes(b"something else")
    assert "no model saved" in fails(capsys, "predict", path, formats)


@pytest.fixture(scope="module")
def speech_pipeline(manifest, tiny_speech_model, tmp_path_factory):
    """A pipeline over a copy of the speech model, trained by the command."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(tiny_speech_model, folder / "weights")
    path = folder / "model.skops"
    argv = ["train", "--manifest", manifest, "--out", path, "--epochs", 1]
    argv += ["--features", folder / "weights", "--layer", -1]
    assert main([str(arg) for arg in argv]) == 0
    return path


def test_a_speech_model_is_trained_saved_and_predicts(
    capsys, speech_pipeline, formats, tmp_path
):
    out = tmp_path / "out.csv"
    argv = ["predict", str(speech_pipeline), str(formats), "--csv", str(out)]
    assert main([*argv, "--window", "0.6"]) == 0
    assert capsys.readouterr().err == ""
    _, lines = rows(out)
    assert len(lines) == 5 * 3  # of one second each
    front, classifier = load(speech_pipeline)
    assert front.get_params() == SpeechModelTransformer(
        str(speech_pipeline.with_name("weights")), layer=-1, pooling="mean_std"
    ).get_params() | {"cache_dir": None}
    assert type(classifier).__name__ == "DSNetClassifier"
    wave = load_audio(lines[0][0])[: round(0.6 * 16000)]
    p = load(speech_pipeline).predict_proba([wave])[0]
    np.testing.assert_allclose(np.array(lines[0][4:], float), p, atol=2e-4)


def test_the_weights_may_lie_elsewhere_where_it_predicts(
    capsys, speech_pipeline, tiny_speech_model, formats, tmp_path
):
    argv = ["predict", speech_pipeline, formats / "web.ogg"]
    assert main([str(arg) for arg in argv]) == 0
    expected = capsys.readouterr().out
    hidden = speech_pipeline.with_name("weights").rename(tmp_path / "hidden")
    try:
        message = fails(capsys, *argv)
        assert "there is no such directory" in message
        assert "--features names where this machine has the model" in message
        argv += ["--features", tiny_speech_model]
        assert main([str(arg) for arg in argv]) == 0
        assert capsys.readouterr().out == expected
    finally:
        hidden.rename(speech_pipeline.with_name("weights"))
    other = tmp_path / "other"
    shutil.copytree(tiny_speech_model, other)
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    assert "other weights than those of the fit" in fails(capsys, *argv[:-1], other)


@pytest.mark.parametrize("features", [None, "tiny"])
def test_the_baseline_is_trained_saved_and_predicts(
    capsys, manifest, tiny_speech_model, formats, tmp_path, features
):
    path = tmp_path / "model.skops"
    argv = ["train", "--manifest", manifest, "--out", path, "--method", "baseline"]
    argv += ["--features", tiny_speech_model] if features else []
    assert main([str(arg) for arg in argv]) == 0
    assert main(["predict", str(path), str(formats)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Shrinkage LDA on ")
    found = [line.split()[-3:] for line in lines[-5:]]
    expected = load(path).predict_proba([str(formats / "web.ogg")])[0]
    names = [line.split()[0] for line in lines[-5:]]
    (row,) = (f for n, f in zip(names, found, strict=True) if n.endswith("web.ogg"))
    np.testing.assert_allclose(np.array(row[1:], float), expected, atol=2e-4)


def test_a_model_of_log_mels_takes_no_speech_model(capsys, model, formats):
    argv = ["predict", model, formats, "--features", "whisper"]
    assert "takes no speech model" in fails(capsys, *argv)


def test_without_skops_nothing_is_trained(capsys, manifest, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    argv = ["--manifest", manifest, "--out", tmp_path / "m.skops"]
    assert "sklearn_ser[skops]" in fails(capsys, "train", *argv)


def test_a_folder_without_audio_is_an_error(capsys, model, tmp_path):
    assert "no audio file below" in fails(capsys, "predict", model, tmp_path)
    (tmp_path / "talk.m4a").touch()
    message = fails(capsys, "predict", model, tmp_path)
    assert "ffmpeg -i talk.m4a talk.wav" in message


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
