"""The program as a whole: wrong arguments, help, interrupts, and what it prints."""

import os
import subprocess
import sys
import warnings

import pytest

import sklearn_ser
from sklearn_ser.cli import main, make_parser
from sklearn_ser.cli.terminal import printable

EVALUATE = [
    (["--method", "hmm"], "'hmm' (choose from"),
    (["--folds", "1"], "--folds: must be at least 2, got 1"),
    (["--folds", "two"], "--folds: invalid integer value: 'two'"),
    (["--epochs", "0"], "--epochs: must be at least 1"),
    (["--seed", "-1"], "--seed: must be at least 0"),
    (["--jobs", "0"], "--jobs: must not be 0"),
    (["--layer", "3"], "--layer: log-mel features have no layers"),
    (["--features", "opensmile", "--layer", "3"], "opensmile features have no layers"),
    (["--layer", "top"], "must be a number, middle or last, got 'top'"),
    (["--channel", "left"], "--channel: must be a number, mean, got 'left'"),
    (["--channel", "-1"], "--channel: must be at least 0, got -1"),
    (["--method", "baseline", "--epochs", "3"], "--epochs: the baseline has no epochs"),
    (["--method", "baseline", "--device", "cpu"], "the baseline runs on the CPU"),
    (["--method", "didan"], "--method: didan adapts to a corpus"),
    (["--method", "lidan"], "--method: lidan adapts to a corpus"),
    (["--method", "menan", "--neutral-label", "n"], "menan needs no neutral speech"),
    (["--target", "t.csv"], "--target: needs --manifest"),
    (["--namesakes"], "--namesakes: needs --target"),
    (["--audio"], "--audio: needs --out"),
    (["--protocol", "emodb-loso"], "--protocol: needs --corpus"),
    (["--emotion-column", "l"], "--emotion-column: needs --manifest"),
    (["--corpus", "emodb", "--manifest", "m"], "not allowed with"),
    (["--corpus", "nobody"], "--corpus: must be one of"),
    (["--corpus", "x.csv", "y.csv"], "--corpus: must be an existing file"),
    (["--corpus", "emodb", "--data-home", os.devnull], "--data-home: must be a folder"),
    (["--resume", "no/such"], "--resume: no evaluation in 'no/such'"),
    (["--resume", "x", "--seed", "3"], "--seed: --resume takes the options"),
    (["--from", "no.json"], "--from: no evaluation in 'no.json'"),
    (["--from", "x", "--resume", "y"], "--from: goes on from another evaluation"),
    (["--from", "x", "--epochs", "3"], "--epochs: --from takes the options"),
    (["--out", "/dev/null/x"], "--out: no folder '/dev/null/x'"),
    (["--manifest", "no/such.csv"], "--manifest: must be an existing file, found none"),
    (["--manifest", "a" * 5000], "--manifest: must be an existing file"),
    (["my.csv"], "my.csv: a table is given by --manifest"),
]
TRAIN = [
    (["--out", "m.skops"], "one of the arguments --manifest --corpus is required"),
    (["--manifest", "no/such.csv", "--out", "m.skops"], "no/such.csv"),
    (["--manifest", "m.csv", "--out", "no/such/m"], "'no/such/m' cannot"),
    (["--manifest", "m.csv", "--out", "."], "'.' cannot be"),
    (["--manifest", "m.csv", "--out", "m", "--method", "lidan"], "'lidan' (choose"),
]
PREDICT = [
    (["a.wav", "--csv", "no/such/o"], "'no/such/o' cannot"),
    (["a.wav", "--csv", "x/"], "'x/' cannot be"),
    (["a.wav", "--csv", "a" * 5000], "a' cannot be"),
    (["a.wav", "--csv", "a\0b"], "cannot be written"),
    ([], "required: FILE-OR-FOLDER"),
    (["a.wav"], "no model file 'm.skops'"),
    (["a.wav", "--window", "0.05"], "--window: must be at least 0.1 and at most"),
    (["a.wav", "--window", "inf"], "--window: must be at least 0.1 and at most"),
    (["a.wav", "--hop", "0"], "--hop: must be at least 0.01"),
    (["a.wav", "--hop", "11"], "--hop: must be at most the window of 10 s"),
    (["-", "--hop", "4"], "--hop: must be at most the window of 3 s"),
    (["a.wav", "--rate", "8000"], "--rate: it is the rate of standard input"),
    (["-", "--rate", "2e6"], "--rate: must be at least 1 and at most 1e+06"),
    (["-", "a.wav"], "- allows no other beside it"),
    (["a.wav", "--timeline", "out.png"], "'out.png' must end in .csv or .html"),
    (["a.wav", "--timeline", "no/such.csv"], "'no/such.csv' cannot be written"),
]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: {evaluate,compare,train,predict}"),
        (["train-all"], "train-all"),
        *((["evaluate", *argv], message) for argv, message in EVALUATE),
        *((["train", *argv], message) for argv, message in TRAIN),
        *((["predict", "m.skops", *argv], message) for argv, message in PREDICT),
        (["predict", "m\0.skops", "a.wav"], "cannot be read"),
    ],
)
def test_wrong_arguments_end_in_one_line(fails, monkeypatch, argv, message):
    with open(os.devnull) as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert message in fails(*argv)


def test_options_and_features_are_not_guessed(fails, manifest, monkeypatch):
    message = fails("evaluate", "--manifest", manifest, "--fold", 4)
    assert "unrecognized arguments: --fold 4" in message
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    argv = "evaluate", "--manifest", manifest, "--features"
    assert "Is log-mel meant in --features?" in fails(*argv, "logmel")
    assert "Is opensmile meant in --features?" in fails(*argv, "OpenSmile")
    assert "meant" not in fails(*argv, "no-such/wav2vec2")


def test_every_option_says_what_it_does():
    commands = make_parser()._subparsers._group_actions[0].choices
    assert len(commands) >= 3
    for name, command in commands.items():
        for action in command._actions:
            assert action.help, (name, action.option_strings)
            assert not action.help.startswith("default"), (name, action.option_strings)
        assert "default: [" not in command.format_help(), name


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"sklearn-ser {sklearn_ser.__version__}\n"


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_warning_is_told_once_in_one_line(run, manifest, jobs):
    path = manifest.with_name("no-neutral.csv")
    path.write_text(manifest.read_text().replace("neutral", "joy"))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        argv = "--manifest", path, "--epochs", 1, "--jobs", jobs
        said = run("evaluate", *argv).err
    lines = said.replace("\r", "\n").split("\n")
    (line,) = (line for line in lines if "by --neutral-label, if there is one" in line)
    assert line.startswith("sklearn-ser: warning: ")
    assert ".py:" not in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[2Jann", r"\x1b[2Jann"),
        ("a\rb", r"a\x0db"),
        ("\x9b31m", r"\x9b31m"),
        ("gpj.\u202ewav", r"gpj.\u202ewav"),
        (b"\xff.wav".decode(errors="surrogateescape"), r"\xff.wav"),
        ("Zoë\t\u200dनी\n", "Zoë\t\u200dनी\n"),
    ],
)
def test_no_text_steers_the_terminal(text, expected):
    assert printable(text) == expected


def test_a_name_in_a_table_does_not_steer_the_terminal(run, fails, manifest):
    path = manifest.with_name("steering.csv")
    path.write_text(manifest.read_text().replace("s00", "s\x1b[2J"))
    argv = "evaluate", "--manifest", path, "--method", "baseline"
    printed = run(*argv)
    assert "s[2J" in printed.out  # the table itself drops what is hidden
    message = fails(*argv, "--emotion-column", "\x1b[31m")
    assert "\x1b" not in printed.out + printed.err + message


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
