"""The command compare, from a table of recordings to the files of a paper."""

import shutil

import pytest


@pytest.mark.slow
def test_a_table_of_recordings_becomes_the_table_of_a_paper(
    run, rows, tmp_path, write_corpus
):
    pytest.importorskip("pandas")
    pytest.importorskip("opensmile")
    write_corpus(tmp_path / "my.csv", n_speakers=3, n_utterances=1)
    out = tmp_path / "results"
    command = ["compare", "--manifest", tmp_path / "my.csv", "--out", out]
    command += ["--method", "baseline", "lidan", "opensmile-svm", "--epochs", 1]
    command += ["--seeds", 2]
    printed = run(*command)
    assert "baseline, lidan, opensmile-svm: 12 recordings" in printed.out
    assert "Preliminary" in printed.out
    assert "all 15 fits take " in printed.err
    head, lines = rows(out / "comparison.csv")
    kinds = [dict(zip(head, line, strict=True))["kind"] for line in lines]
    assert kinds == ["inductive", "inductive", "transductive"]
    page = (out / "report.html").read_text()
    assert "<svg" in page
    assert "<p>12 recordings by 3 speakers listed in my.csv.</p>" in page
    kept = {path: path.stat().st_mtime_ns for path in (out / "folds").iterdir()}
    assert len(kept) == 15
    assert run(*command).out == printed.out
    assert kept == {path: path.stat().st_mtime_ns for path in (out / "folds").iterdir()}


def test_a_comparison_is_run_again(
    run, fails, rows, manifest, tmp_path, monkeypatch, tiny_speech_model
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(manifest.parent, "data")
    shutil.copytree(tiny_speech_model, "data/tiny")
    table, methods = f"data/{manifest.name}", ("baseline", "logistic")
    options = "--manifest", table, "--method", *methods, "--folds", 2
    options = *options, "--features", "data/tiny"
    run("compare", *options, "--out", "out")
    run("compare", "--from", "out/comparison.json", "--out", "again")
    assert rows("out/comparison.csv") == rows("again/comparison.csv")
    shutil.move("data", "moved")
    again = "compare", "--from", "out/comparison.json"
    assert "say where it is by --manifest" in fails(*again)
    moved = "--manifest", f"moved/{manifest.name}", "--features", "moved/tiny"
    printed = run(*again, *moved)
    assert printed.lines[0].startswith("baseline, logistic: 12 recordings")
    assert "are not those of the evaluation" not in printed.err
    shutil.copyfile("moved/0.wav", "moved/1.wav")
    changed = "warning: recordings are not those of the evaluation"
    assert changed in run(*again, *moved).err
    assert "--folds: --from takes the options" in fails(*again, "--folds", 3)
    assert "it is of the command compare" in fails("evaluate", *again[1:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "dsnet", "dsnet"], "--method: names one twice"),
        (["--features", "a/tiny", "b/tiny/"], "['a/tiny', 'b/tiny/'] apart"),
        (["--method", "svm"], "invalid choice"),
        (["--seeds", "0"], "at least 1"),
        (["--folds", "9"], "--folds: 9 folds need as many speakers, found"),
        (["--reference", "menan", "--folds", "2"], "'menan' is not among"),
        (["--method", "opensmile-svm", "--folds", "2"], "trains on one speaker only"),
        (["--channel", "-1"], "--channel"),
        (["--unheard-sentences", "--manifest", "my.csv"], "my.csv"),
        (["--out", "/dev/null/x"], "--out: no folder"),
    ],
)
def test_bad_options_end_in_one_line(fails, manifest, options, message):
    assert message in fails("compare", "--manifest", manifest, *options)
