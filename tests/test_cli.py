import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from sklearn_ser.__main__ import main
from sklearn_ser.datasets import make_emotional_speech


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Three speakers, two emotions, two utterances each, on disk."""
    folder = tmp_path_factory.mktemp("corpus")
    corpus = make_emotional_speech(
        n_speakers=3,
        n_utterances=2,
        emotions=("neutral", "anger"),
        duration=0.5,
        random_state=0,
    )
    lines = ["file,speaker,emotion"]
    for i, wave in enumerate(corpus.data):
        soundfile.write(folder / f"{i}.wav", wave, corpus.sampling_rate)
        lines.append(f"{i}.wav,{corpus.speakers[i]},{corpus.target[i]}")
    path = folder / "corpus.csv"
    path.write_text("\n".join(lines))
    return path


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
