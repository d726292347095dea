"""The command evaluate: tables, files, resumed and repeated runs, other corpora."""

import json
import os
import re
import shutil
import sys
import warnings

import numpy as np
import pytest
import soundfile

from sklearn_ser.baseline import EqualPriorsLDA
from sklearn_ser.cli import make_parser
from sklearn_ser.cli.options import fit_seconds, make_classifier
from sklearn_ser.features import release_speech_models


@pytest.fixture
def table(manifest, tmp_path, monkeypatch):
    """The corpus below the working folder, with names of its own and a gender."""
    shutil.copytree(manifest.parent, tmp_path / "data")
    path = tmp_path / "data" / "own.csv"
    cells = [line.split(",") for line in manifest.read_text().splitlines()[1:]]
    lines = [f"{f},{s},{e},{'fm'[s > 's01']}" for f, s, e in cells]
    path.write_text("\n".join(["Clip,who,label,gender", *lines]))
    monkeypatch.chdir(tmp_path)
    return "data/own.csv"


OWN = ["--file-column", "clip", "--speaker-column", "WHO", "--emotion-column", "label"]
LINEAR = ["--method", "baseline"]


def files(folder, rows):
    """Return the predictions of an evaluation, and its figures without seconds."""
    result = json.loads((folder / "result.json").read_text())
    for fold in result["folds"]:
        del fold["fit_time"], fold["score_time"]
    return rows(folder / "predictions.csv"), result


# ------------------------------------------------------------------------ the screen


@pytest.mark.slow
def test_the_table_of_a_network(run, manifest):
    argv = "evaluate", "--manifest", manifest, "--epochs", 1, "--seed", 3
    printed = run(*argv)
    first, verdict, baseline, kind, head, *folds, pooled = printed.lines[:9]
    assert first == (
        "DSNetClassifier on log-mel spectrograms: 12 recordings by 3 speakers listed "
        "in corpus.csv."
    )
    assert verdict.startswith("UAR ")
    assert "chance 50.0 %" in verdict
    assert baseline.startswith("Baseline ")
    assert "points [" in baseline
    assert kind.startswith("inductive: ")
    assert head.split()[:4] == ["fold", "test", "speakers", "n"]
    assert [line.split()[0] for line in folds] == ["1", "2", "3"]
    assert pooled.split()[:4] == ["pooled", "3", "speakers", "12"]
    assert "3/3 folds" in printed.err
    estimate = "training takes a minute or less: 3 fit(s) of 1 epoch(s), 1 at a time"
    assert estimate in printed.err
    assert printed.err.index(estimate) < printed.err.index("0/3 folds")
    assert run(*argv).out == printed.out


@pytest.mark.parametrize(
    ("options", "title", "n"),
    [
        pytest.param(
            *(["--folds", 2], "Shrinkage LDA on log-mel spectrograms: Synthetic"),
            "320",
            marks=pytest.mark.slow,
        ),
        (["--manifest", "M"], "Shrinkage LDA on log-mel spectrograms: 12", "12"),
        (
            ["--manifest", "M", "--channel", 0],
            "LDA on log-mel spectrograms of ch",
            "12",
        ),
        (["--manifest", "M", "--features", "opensmile"], "on openSMILE functio", "12"),
        (["--manifest", "M", "--features", "T"], "LDA on tiny, layer 1 of 2", "12"),
        (
            ["--manifest", "M", "--features", "T", "--layer", "last"],
            "LDA on tiny, layer 2 of 2: ",
            "12",
        ),
    ],
)
def test_corpora_and_features_of_the_baseline(
    run, manifest, tiny_speech_model, options, title, n
):
    if "opensmile" in options:
        pytest.importorskip("opensmile")
    paths = {"M": manifest, "T": tiny_speech_model}
    printed = run("evaluate", *(paths.get(each, each) for each in options), *LINEAR)
    assert title in printed.lines[0]
    (pooled,) = (line for line in printed.lines if line.startswith("pooled"))
    assert pooled.split()[3] == n
    assert "training takes" not in printed.err
    assert not any(line.startswith("Baseline") for line in printed.lines)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("dsnet", {"neutral_label": "calm"}),
        ("dat", {"method": "dat"}),
        ("menan", {"method": "menan"}),
        ("speaker-adversarial", {"method": "menan"}),
        ("didan", {"alignment": "didan"}),
        ("lidan", {"alignment": "lidan"}),
    ],
)
def test_methods_by_their_names(name, params):
    words = "--method", name, "--epochs", "3", "--seed", "2", "--device", "cpu"
    words = *words, *["--neutral-label", "calm"] * (name == "dsnet")
    classifier = make_classifier(make_parser().parse_args(["evaluate", *words]))
    params |= {"max_epochs": 3, "random_state": 2, "device": "cpu"}
    assert params.items() <= classifier.get_params().items()


def write_noise(folder, stems):
    """Write recordings of two levels of noise, by turns."""
    rng = np.random.default_rng(0)
    for i, stem in enumerate(stems):
        wave = rng.normal(size=(4000, 2)) / 9 * (1 + i % 2)
        soundfile.write(folder / f"{stem}.wav", wave, 16000)


def test_a_known_corpus_and_its_protocol(run, fails, tmp_path):
    texts = [f"{who}a0{text}" for who in ("03", "08") for text in "127"]
    write_noise(tmp_path, [f"{text}{how}a" for text in texts for how in "WN"])
    argv = ["evaluate", "--corpus", "EmoDB", "--data-home", tmp_path]
    argv += ["--protocol", "emodb-loso", *LINEAR]
    with warnings.catch_warnings():  # the frozen protocol has more classes
        warnings.simplefilter("default")
        first, *lines = run(*argv).lines
    assert "12 recordings by 2 speakers of EmoDB, Protocol('emodb-loso'" in first
    assert any(line.startswith("Protocol('emodb-loso'") for line in lines)
    assert "the protocol has its own" in fails(*argv, "--folds", 2)


def test_the_channel_and_the_notes_of_a_corpus(run, tmp_path):
    stems = [f"{{}}-{who}-b{n}" for who in ("f1", "m1") for n in "12"]
    write_noise(tmp_path, [s.format(how) for s in stems for how in ("rab", "neu")])
    argv = "evaluate", "--corpus", "emovo", "--data-home", tmp_path, *LINEAR
    first, *lines = run(*argv).lines
    assert "log-mel spectrograms of channel 0: 8 recordings" in first
    assert "note on emovo: The two channels are two microphones" in lines[0]
    assert "of channel 1" in run(*argv, "--channel", 1).lines[0]
    assert "of channel" not in run(*argv, "--channel", "mean").lines[0]


def with_texts(table, path):
    """Write a table with a column of two sentences, by turns."""
    head, *lines = table.read_text().splitlines()
    rows = [f"{line},{'ab'[i % 2]}" for i, line in enumerate(lines)]
    path.write_text("\n".join([f"{head},text", *rows]))
    return path


@pytest.fixture
def script(manifest):
    """The table with a column of sentences, which both emotions have."""
    return with_texts(manifest, manifest.with_name("script.csv"))


def test_unheard_sentences_have_a_figure(run, fails, manifest, script, tmp_path):
    argv = "evaluate", "--manifest", script, *LINEAR
    remark = "12 of 12 test recordings have their sentence in the training"
    assert remark in run(*argv).out
    printed = run(*argv, "--unheard-sentences", "--out", tmp_path / "out")
    assert "9 fit(s) on features computed once" in printed.err
    assert remark not in printed.out
    assert "On unheard sentences, too, UAR" in printed.out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "On unheard sentences, too, UAR" in page
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert "--unheard-sentences" in result["settings"]["command"]
    argv = "evaluate", "--manifest", manifest, "--unheard-sentences"
    assert "no sentence of the recordings is known" in fails(*argv)


def test_unheard_sentences_of_another_corpus(run, fails, manifest, script, target):
    second = target("ann", "bob")
    second = with_texts(second, second.with_name("target_script.csv"))
    second.write_text(second.read_text().replace(",a\n", ",A.\n"))
    argv = "evaluate", "--manifest", script, "--target", second, *LINEAR
    assert "4 of 4 test recordings have their sentence" in run(*argv).out
    printed = run(*argv, "--unheard-sentences")
    assert "3 fit(s) on features computed once" in printed.err
    assert "On unheard sentences, too, UAR" in printed.out
    argv = "--manifest", manifest, "--target", second, "--unheard-sentences"
    assert "have no sentence in common" in fails("evaluate", *argv)


def test_what_a_fit_costs_once_is_not_multiplied():
    trials = []

    def trial(epochs):
        trials.append(epochs)
        costs = {"lda": 4.0, "net": 10 + 5 * (len(trials) == 1)}
        return {name: costs[name] + 2 * n for name, n in epochs.items()}

    found = fit_seconds(trial, {"lda": None, "net": 50})
    assert found == {"lda": 6.0, "net": 110.0}
    assert trials == [{"lda": 1, "net": 1}, {"net": 1}, {"net": 3}]
    assert fit_seconds(trial, {"net": 1}) == {"net": 12.0}
    assert len(trials) == 6


def test_enrolled_recordings_are_not_scored(run, rows, manifest, tmp_path):
    argv = "evaluate", "--manifest", manifest, "--method", "logistic", "--enroll", 1
    lines = run(*argv, "--out", tmp_path / "out").lines
    assert lines[0].startswith("SpeakerNormalizer and Logistic regression on log-mel")
    assert any(line.startswith("enrolled (1): ") for line in lines)
    assert "enrolled (1): this many" in (tmp_path / "out" / "report.html").read_text()
    scored = [
        [line[:3] for line in rows(folder / "predictions.csv")[1]]
        for folder in (tmp_path / "out", tmp_path / "out" / "baseline")
    ]
    assert scored[0] == scored[1]
    assert len(scored[0]) == 27  # three of four, thrice


def test_a_result_by_chance_says_so(run, tmp_path):
    rng, lines = np.random.default_rng(0), ["file,speaker,emotion"]
    for i in range(16):
        soundfile.write(tmp_path / f"{i}.wav", rng.normal(size=3000) / 9, 16000)
        lines.append(f"{i}.wav,s{i // 4},{('anger', 'joy')[i % 2]}")
    (tmp_path / "noise.csv").write_text("\n".join(lines))
    printed = run("evaluate", "--manifest", tmp_path / "noise.csv", *LINEAR)
    assert "the data do not show that it beats guessing" in printed.lines[1]


@pytest.mark.filterwarnings("default:speakers")
def test_speakers_that_are_numbers_of_recordings_are_doubted(run, manifest):
    head, *lines = manifest.read_text().splitlines()
    cells = [line.split(",") for line in lines]
    path = manifest.with_name("numbered.csv")
    numbered = [f"{f},u{i},{e}" for i, (f, _, e) in enumerate(cells)]
    path.write_text("\n".join([head, *numbered]))
    printed = run("evaluate", "--manifest", path, *LINEAR)
    assert any("one recording" in line for line in printed.lines[-3:]), printed.out


# ---------------------------------------------------------------------- wrong tables


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("emotion", "Gefühl", "--speaker-column and --emotion-column."),
        ("s01", "s00", "--folds: 3 folds need as many speakers, found 2"),
        ("anger", "neutral", "class"),
        ("\n3.wav", "\nbroken.wav", "broken.wav"),
    ],
)
def test_a_table_that_cannot_be_evaluated(fails, manifest, old, new, message):
    manifest.with_name("broken.wav").write_bytes(b"this is no audio")
    path = manifest.with_name("wrong.csv")
    path.write_text(manifest.read_text().replace(old, new))
    options = "--epochs", 1, "--folds", 3
    assert message in fails("evaluate", "--manifest", path, *options)


def test_an_emotion_that_nobody_shows_is_not_neutral(fails, manifest):
    argv = "evaluate", "--manifest", manifest, "--neutral-label", "calm"
    assert "no recording is 'calm', expected one of ['anger'" in fails(*argv)


def test_a_speech_model_is_tried_before_minutes_of_work(
    fails, manifest, tiny_speech_model, monkeypatch
):
    argv = "evaluate", "--manifest", manifest, "--features", tiny_speech_model
    message = fails(*argv, "--layer", 7)
    assert "int from -3 to 2" in message
    assert "got 7" in message
    release_speech_models()
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert 'pip install "sklearn_ser[speech-model]"' in fails(*argv)
    assert "'no/such/dir', but there is no" in fails(*argv[:-1], "no/such/dir")


@pytest.mark.parametrize("features", ["log-mel", "tiny"])
@pytest.mark.parametrize("target", [False, True])
def test_copies_are_refused(
    fails, manifest, tiny_speech_model, tmp_path, target, features
):
    """Also those whose vectors do not show that they are of one recording."""
    shutil.copytree(manifest.parent, tmp_path, dirs_exist_ok=True)
    head, *lines = (tmp_path / manifest.name).read_text().splitlines()
    other = [f"copy_of_{line}".replace(",s00,", ",s99,") for line in lines]
    for line in lines:
        name = line.partition(",")[0]
        shutil.copy(tmp_path / name, tmp_path / f"copy_of_{name}")
    table, second = tmp_path / "copies.csv", tmp_path / "second.csv"
    table.write_text("\n".join([head, *lines, *([] if target else other)]))
    second.write_text("\n".join([head, *other]))
    features = tiny_speech_model if features == "tiny" else features
    argv = ["evaluate", "--manifest", table, "--features", features, *LINEAR]
    argv += ["--target", second, "--namesakes"] if target else []
    assert "hold the same audio" in fails(*argv)


# ------------------------------------------------------------------------- the files


def test_it_writes_what_it_found(run, rows, fails, table, tmp_path):
    out = tmp_path / "new" / "out"
    argv = ["evaluate", "--manifest", table, *OWN, "--out", out, "--audio"]
    argv += ["--epochs", 1, "--neutral-label", "neutral", "--device", "cpu"]
    assert run(*argv).lines[-1].startswith(f"Written to {out}")
    result = json.loads((out / "result.json").read_text())
    assert result["settings"]["estimator.neutral_label"] == "'neutral'"
    assert result["settings"]["estimator.device"] == "'cpu'"
    assert result["settings"]["front_end.top_db"] == "50"
    assert result["n_recordings"] == 12
    base = json.loads((out / "baseline" / "result.json").read_text())
    assert [f["n"] for f in base["folds"]] == [f["n"] for f in result["folds"]]
    header, lines = rows(out / "predictions.csv")
    assert {"row", "fold", "speaker", "y_true", "prediction"} < {*header}
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
    assert "holds an evaluation already" in fails(*argv)
    # All folds are there: nothing is fitted, and the figures are the same.
    run("evaluate", "--resume", out, "--jobs", 1)
    assert json.loads((out / "result.json").read_text()) == result


@pytest.mark.parametrize("features", ["log-mel", "tiny"])
def test_no_file_has_a_path_of_this_machine(
    run, manifest, tiny_speech_model, tmp_path, features
):
    features = tiny_speech_model if features == "tiny" else features
    argv = "--manifest", manifest, "--features", features, *LINEAR
    run("evaluate", *argv, "--out", tmp_path / "out")
    folders = {str(p) for p in (manifest.parent, tiny_speech_model.parent, tmp_path)}
    written = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert len(written) > 6
    for path in written:
        assert not any(folder in path.read_text("latin-1") for folder in folders), path


def test_an_interrupted_evaluation_goes_on(run, rows, table, tmp_path, monkeypatch):
    argv = "evaluate", "--manifest", table, *OWN, *LINEAR, "--out"
    fit, fits = EqualPriorsLDA.fit, []

    def interrupted(self, X, y, **given):
        fits.append(len(y))
        if len(fits) == 3:
            raise KeyboardInterrupt
        return fit(self, X, y, **given)

    run(*argv, "whole")
    monkeypatch.setattr(EqualPriorsLDA, "fit", interrupted)
    printed = run(*argv, "out", status=130)
    assert [line.split(",")[0] for line in printed.lines[-2:]] == [
        f"fold {i}: 4 recordings of s0{i - 1}" for i in (1, 2)
    ]
    assert "2 fold(s) finished; go on with: evaluate --resume out\n" in printed.err
    assert not os.path.exists("out/result.json")
    os.mkdir("elsewhere")
    monkeypatch.chdir("elsewhere")
    run("evaluate", "--resume", "../out")
    assert len(fits) == 4
    assert files(tmp_path / "out", rows) == files(tmp_path / "whole", rows)


@pytest.mark.parametrize("features", ["log-mel", "tiny"])
def test_a_result_is_run_again(
    run, fails, rows, table, tiny_speech_model, tmp_path, features
):
    """By its own options; what lies in another folder now is told."""
    options = ["--manifest", table, *OWN, *LINEAR, "--seed", 3, "--folds", 2]
    if features == "tiny":
        shutil.copytree(tiny_speech_model, "data/tiny")
        options += ["--features", "data/tiny", "--layer", -1]
    run("evaluate", *options, "--out", "out")
    run("evaluate", "--from", "out/result.json", "--out", "again")
    first, again = (files(tmp_path / name, rows) for name in ("out", "again"))
    assert first == again
    shutil.move("data", "moved")
    argv = ["evaluate", "--from", "out/result.json"]
    assert "say where it is by --manifest" in fails(*argv)
    argv += ["--manifest", "moved/own.csv"]
    argv += ["--features", "moved/tiny"] if features == "tiny" else []
    run(*argv, "--out", "third")
    assert files(tmp_path / "third", rows)[1]["confusion"] == first[1]["confusion"]


def test_a_result_is_run_again_on_its_own_corpus_and_features(
    run, fails, rows, table, tmp_path
):
    (tmp_path / table).write_text((tmp_path / table).read_text().replace("label", "-l"))
    own = "--manifest", table, *OWN[:4], "--emotion-column=-l", *LINEAR, "--folds", 2
    run("evaluate", *own, "--audio", "--out", "out")
    os.mkdir("out/log-mel")  # no speech model
    again = "evaluate", "--from", "out/result.json"
    run(*again, "--out", "again")
    first, second = (files(tmp_path / name, rows) for name in ("out", "again"))
    assert first == second
    run(*again)  # nothing is written, so --audio has no place
    message = "--features: says where a file is now, but the evaluation of --from had"
    assert f"{message} log-mel" in fails(*again, "--features", "opensmile")
    had_none = "--target: says where a file is now, but the evaluation of --from had no"
    assert had_none in fails(*again, "--target", table)
    path = tmp_path / "of.json"
    for settings, told in (
        ({"command": "evaluate --corpus emovo"}, "--manifest: says"),
        ({"command": 5}, "does not name the command"),
        ({}, "does not name the command"),
        ({"command": "evaluate --from a.json"}, "takes the options of another one"),
        ({"command": "evaluate --out folder"}, "takes the options of another one"),
    ):
        path.write_text(json.dumps({"settings": settings}))
        assert told in fails("evaluate", "--from", path, "--manifest", table)


def test_data_that_changed_are_told(run, rows, table, tmp_path):
    """Of a result that is run again, and of an evaluation that goes on."""
    run("evaluate", "--manifest", table, *OWN, *LINEAR, "--out", "out")
    text, told = (tmp_path / table).read_text(), "are not those of the evaluation"
    path = tmp_path / "data" / rows(tmp_path / table)[1][0][0]
    sound = path.read_bytes()
    for change, what in (
        (lambda: None, None),
        (lambda: path.write_bytes(sound[:-2] + b"\1\2"), "recordings"),
        (lambda: (tmp_path / table).write_text(text.replace("s00", "bob")), "speakers"),
    ):
        change()
        printed = run("evaluate", "--from", "out/result.json").out
        assert (told in printed) == (what is not None)
        assert what is None or f"{what} {told}" in printed
    (tmp_path / table).write_text("\n".join(text.splitlines()[:-1]))
    said = f"recordings and emotions and speakers {told}"
    assert said in run("evaluate", "--resume", "out").out
    assert said in (tmp_path / "out" / "result.json").read_text()


# -------------------------------------------------------------------- another corpus


@pytest.fixture
def target(tmp_path, write_corpus):
    """Return a function that writes another corpus, by speakers of given names."""

    def target(*names):
        folder = tmp_path / "other"
        folder.mkdir()
        emotions = "neutral", "anger"
        path = write_corpus(
            folder / "target.csv",
            n_speakers=len(names),
            n_utterances=1,
            emotions=emotions,
            random_state=9,
        )
        text = path.read_text()
        for i, name in enumerate(names):
            text = text.replace(f",s{i:02d},", f",{name},")
        path.write_text(text)
        return path

    return target


def test_adaptation_to_another_corpus(run, manifest, target, tmp_path):
    argv = "--manifest", manifest, "--target", target("ann", "bob"), "--epochs", 1
    printed = run("evaluate", *argv, "--method", "lidan", "--out", tmp_path / "out")
    assert "transductive: target utterances" in printed.out
    assert "from    to target" in printed.out
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["settings"]["estimator.alignment"] == "'lidan'"
    (transfer,) = result["transfers"]
    assert (transfer["n_source"], transfer["n_unlabelled"]) == (12, 4)
    base = json.loads((tmp_path / "out" / "baseline" / "result.json").read_text())
    assert base["protocol"] == "source-only"
    assert "corpus to target" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.filterwarnings("default:speakers")  # one speaker is left
@pytest.mark.parametrize(
    ("names", "options", "n_source", "said"),
    [
        (["ann", "bob"], [], 12, None),
        (["S00", "bob"], [], 8, "1 speaker(s) of --manifest are speakers of --target"),
        (["s00", "s01"], [], 4, "(s00, s01): their 8 recording(s) in --manifest did"),
        (["s00", "bob"], ["--namesakes"], 12, "says that they are different people"),
    ],
)
def test_one_name_in_both_corpora_is_one_person(
    run, manifest, target, tmp_path, names, options, n_source, said
):
    argv = "--manifest", manifest, "--target", target(*names), *options, *LINEAR
    printed = run("evaluate", *argv, "--out", tmp_path / "out")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["transfers"][0]["n_source"] == n_source
    page = (tmp_path / "out" / "report.html").read_text()
    for text in (printed.out, " ".join(page.split())):
        assert (said or "--namesakes") in text or said is None
        assert ("--manifest are speakers of" in text) == (said is not None)


def test_zeros_that_a_program_took_away_make_no_other_person(run, manifest, target):
    table = manifest.with_name("numbered.csv")
    table.write_text(manifest.read_text().replace(",s00,", ",007,"))
    argv = "evaluate", "--manifest", table, "--target", target("7", "bob"), *LINEAR
    assert "(007): their 4 recording(s) in --manifest did not train" in run(*argv).out


def test_nobody_is_left_to_train_on(fails, manifest, target):
    argv = "--manifest", manifest, "--target", target("s00", "s01", "s02"), *LINEAR
    message = fails("evaluate", *argv)
    assert "nobody else is left to train on" in message
    assert "add --namesakes" in message


@pytest.fixture
def calls(manifest, tmp_path):
    """The recordings of each speaker in one file, and the table of their segments."""
    header, *lines = manifest.read_text().splitlines()
    parts, rows = {}, [f"{header},start,end"]
    for line in lines:
        cells = dict(zip(header.split(","), line.split(","), strict=True))
        wave, rate = soundfile.read(manifest.parent / cells["file"], dtype="int16")
        own = parts.setdefault(cells["speaker"], [])
        start, end = sum(map(len, own)) / rate, (sum(map(len, own)) + len(wave)) / rate
        own.append(wave)
        cells["file"] = f"{cells['speaker']}.flac"
        rows.append(
            ",".join([*cells.values(), f"{start}", f"0 days 00:00:{end:09.6f}"])
        )
    for speaker, own in parts.items():
        soundfile.write(tmp_path / f"{speaker}.flac", np.concatenate(own), rate)
    path = tmp_path / "calls.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.slow
def test_segments_have_the_figures_of_their_recordings(run, rows, manifest, calls):
    printed = [
        run("evaluate", "--manifest", table, *LINEAR, "--out", calls.parent / name)
        for name, table in (("whole", manifest), ("parts", calls))
    ]
    assert printed[0].lines[1:-1] == printed[1].lines[1:-1]
    whole, parts = (
        rows(calls.parent / name / "predictions.csv") for name in ("whole", "parts")
    )
    assert {*parts[0]} == {*whole[0], "start", "end"}
    files = [row[parts[0].index("file")] for row in parts[1]]
    assert {*files} == {f"{row[parts[0].index('speaker')]}.flac" for row in parts[1]}
    assert (calls.parent / "parts" / "report.html").exists()


def test_a_fault_is_named_by_the_row_of_the_table(fails, calls):
    lines = calls.read_text().splitlines()
    broken = calls.parent / lines[-1].split(",")[0]
    data = broken.read_bytes()
    broken.write_bytes(data[: len(data) // 2])
    message = fails("evaluate", "--manifest", calls, *LINEAR)
    row = int(re.search(r"error: row (\d+) of calls\.csv", message)[1])
    name, _, _, start, _ = lines[row - 1].split(",")
    assert f"({str(calls.parent / name)!r}, from {float(start):g} s to " in message
    assert "X[" not in message
    broken.write_bytes(data)
    calls.write_text("\n".join([*lines, lines[-1].rpartition(",")[0] + ",99"]))
    message = fails("evaluate", "--manifest", calls, *LINEAR)
    assert f"row {len(lines) + 1} (" in message
    assert "is beyond the end of the recording" in message
