"""The benchmark harness: resumable, never the same row twice, honest tables."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not part of the package", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from benchmarks import (  # noqa: E402
    corpora,
    methods,
    report,
    rows,
    run,
    speed,
    transfers,
)

SEEDS = ["1", "2"]
# What two runs of one experiment need not share.
PASSING = {"fit_seconds", "score_seconds", "peak_mb", "command"}


@pytest.fixture(scope="module")
def home(tmp_path_factory, write_corpus):
    """A directory of corpora with one: four speakers, three emotions."""
    home = tmp_path_factory.mktemp("corpora")
    (home / "tiny").mkdir()
    write_corpus(
        home / "tiny" / "metadata.csv",
        n_speakers=4,
        n_utterances=3,
        emotions=("neutral", "anger", "sadness"),
        duration=0.3,
    )
    return home


@pytest.fixture(scope="module")
def two(home, write_corpus):
    """The same directory with a second corpus, which lacks one of the emotions."""
    (home / "other").mkdir()
    write_corpus(
        home / "other" / "metadata.csv",
        n_speakers=2,
        n_utterances=2,
        emotions=("neutral", "anger"),
        duration=0.3,
        random_state=1,  # other recordings: the same ones in two corpora are refused
    )
    return home


@pytest.fixture(scope="module")
def declared(home, write_corpus):
    """The same directory with a corpus that has a frozen protocol, as CASIA is laid."""
    (home / "casia").mkdir()
    table = home / "casia" / "metadata.csv"
    write_corpus(
        table,
        n_speakers=4,
        n_utterances=3,
        emotions=("neutral", "anger", "sadness"),
        duration=0.3,
        random_state=2,
    )
    names = ("ZhaoZuoxiang", "liuchanhg", "wangzhe", "zhaoquanyin")
    words = {"neutral": "neutral", "anger": "angry", "sadness": "sad"}
    lines = ["file,speaker,emotion"]
    for number, line in enumerate(table.read_text().splitlines()[1:]):
        file, who, emotion = line.split(",")
        who = names[int(who[1:])]
        name = f"{who}_{words[emotion]}_{number:03d}.wav"
        table.with_name(file).rename(table.with_name(name))
        lines.append(f"{name},{who},{emotion}")
    table.write_text("\n".join(lines))
    return home


@pytest.fixture
def here(home, monkeypatch):
    monkeypatch.setenv("SKLEARN_SER_DATA", str(home))
    return home


NET = ["--corpus", "tiny", "--method", "dsnet", "--seeds", *SEEDS, "--set"]
NET += ["max_epochs=2", "encoder=conv", "batch_size=8", "--results"]


def comparable(results):
    found = [
        {k: v for k, v in row.items() if k not in PASSING} for row in rows.read(results)
    ]
    return sorted(found, key=rows.key)


def printed(capsys, *argv):
    assert run.main([str(arg) for arg in argv]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_broken_run_resumes_to_the_same_rows(here, tmp_path, capsys):
    unbroken, broken = tmp_path / "unbroken.jsonl", tmp_path / "broken.jsonl"
    argv = ["--corpus", "tiny", "--method", "mfcc", "--results"]
    assert len(printed(capsys, *argv, unbroken)) == 4
    whole = unbroken.read_bytes().splitlines(keepends=True)
    broken.write_bytes(b"".join(whole[:2]) + whole[2][:30])
    assert len(printed(capsys, *argv, broken, "--jobs", "2")) == 2
    assert comparable(broken) == comparable(unbroken)
    assert broken.read_bytes().splitlines(keepends=True)[:2] == whole[:2]
    assert printed(capsys, *argv, broken) == []
    assert len(broken.read_bytes().splitlines()) == 4


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_rows(here, tmp_path, capsys):
    unbroken, broken = tmp_path / "unbroken.jsonl", tmp_path / "broken.jsonl"
    assert len(printed(capsys, *NET, unbroken)) == 8
    command = [sys.executable, "-m", "benchmarks.run", *NET, str(broken)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while len(rows.read(broken)) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = len(rows.read(broken))
    assert 2 <= kept < 8
    with broken.open("ab") as file:  # the kill may come within a write
        file.write(b'{"corpus": "tiny", "meth')
    assert len(printed(capsys, *NET, broken, "--jobs", "2")) == 8 - kept
    assert comparable(broken) == comparable(unbroken)
    assert printed(capsys, *NET, broken) == []
    assert len(broken.read_bytes().splitlines()) == 8


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize("name", ["tiny", "casia"])
def test_a_row_says_all_that_it_rests_on(here, tmp_path, name):
    results = tmp_path / "rows.jsonl"
    argv = ["--corpus", name, "--method", "mfcc", "--results", str(results)]
    assert run.main(argv) == 0
    found = rows.read(results)
    assert [row["fold"] for row in found] == [1, 2, 3, 4]
    corpus = corpora.load(name)
    for row, (train, test) in zip(found, corpus.splits, strict=True):
        who = np.unique(corpus.speakers[test])
        assert ("'casia-loso'" in str(row["protocol"])) is (name == "casia")
        assert row["seed"] is None
        assert row["chosen"]["svc__C"] in row["params"]["param_grid"]["svc__C"]
        assert list(row["recall_per_speaker"]) == who.tolist()
        assert set(row["classes"]) == {"neutral", "anger", "sadness"}
        confusion = sum(np.array(own) for own in row["confusion"].values())
        assert confusion.sum() == len(test)
        recall = confusion.diagonal() / confusion.sum(axis=1)
        assert row["uar"] == pytest.approx(recall.mean())
        assert list(row["recall"].values()) == pytest.approx(recall, abs=1e-4)
        assert row["wa"] == pytest.approx(confusion.trace() / len(test))
        assert row["manifest_hash"] == corpus.manifest_hash
        assert row["fit_seconds"] > 0
        assert 10 < row["peak_mb"] < 100_000
        assert {"python", "scikit-learn", "librosa"} <= set(row["versions"])
        assert not set(np.unique(corpus.speakers[train])) & set(who)


def test_a_row_of_a_net_has_probes(here):
    (_, work), *_ = run.tasks(
        ["tiny"], ["dsnet"], [1], {"max_epochs": 2, "encoder": "conv"}
    )
    estimator, X, corpus, train, _ = work
    estimator.fit(X, corpus.target, speakers=corpus.speakers)
    found = run.probes(estimator, X, corpus, train, train)
    assert found["seen"] == found["unseen"]
    assert found["seen"].keys() == {
        "speaker",
        "emotion",
        "speaker in u",
        "emotion in u",
    }
    assert [chance for _, chance in found["seen"].values()] == [1 / 3] * 4
    assert all(0 <= score <= 1 for score, _ in found["seen"].values())
    one = corpus.speakers[train] == corpus.speakers[train][0]
    assert list(run.probes(estimator, X, corpus, train, train[one])) == ["seen"]


ADAPTERS = ["didan", "lidan", "dan", "dann", "deepcoral"]


@pytest.mark.filterwarnings("ignore:The predicted target domain labels")
def test_a_transfer_is_a_fold_on_the_shared_classes(two, tmp_path, monkeypatch):
    monkeypatch.setenv("SKLEARN_SER_DATA", str(two))
    results = tmp_path / "rows.jsonl"
    argv = ["--corpus", "tiny:other", "--seeds", "1", "--results", str(results)]
    argv += ["--set", "max_epochs=2", "--method", "source-only", *ADAPTERS]
    assert run.main(argv) == 0
    found = rows.read(results)
    assert [row["method"] for row in found] == ["source-only", *ADAPTERS]
    for row in found:
        assert row["n_folds"] == 1
        assert row["classes"] == ["anger", "neutral"]
        assert sum(np.sum(c) for c in row["confusion"].values()) == 8
        assert len(row["confusion"]) == 2
        assert all(np.isfinite(list(row["label_free"].values())))
    assert len({row["split_hash"] for row in found}) == 1


@pytest.mark.parametrize("alignment", ["dan", "dann", "deepcoral"])
def test_a_rival_s_term_reaches_the_network(log_mels, corpus, alignment):
    from benchmarks.rivals import SkadaAdapter

    domain = np.where(corpus.speakers < "s02", 1, -1)
    states = []
    for weight in (0.0, 10.0):
        model = SkadaAdapter(
            alignment=alignment,
            alignment_weight=weight,
            max_epochs=2,
            batch_size=8,
            random_state=0,
        )
        model.fit(log_mels, corpus.y, sample_domain=domain)
        states.append(model.net_.module_.encoder.state_dict())
    plain, aligned = states
    assert any(not torch.equal(plain[k], aligned[k]) for k in plain)
    assert model.history_[-1]["train_alignment"] > 0


def transfer_row(method, transfer, seed, right):
    params = methods.ALL_METHODS[method]
    params = methods.parameters(*methods.with_settings(params, {}))
    return {
        "corpus": transfer,
        "method": method,
        "seed": seed,
        "fold": 1,
        "n_folds": 1,
        "params": params,
        "confusion": {"a": [[right, 10 - right], [0, 10]]},
        "uar": (right / 10 + 1) / 2,
        "fit_seconds": 1.0,
        "peak_mb": 1,
    }


def test_the_mean_over_transfers_wants_all_of_them():
    assert len(set(corpora.TRANSFERS)) == 12
    found = [transfer_row("source-only", t, 1, 4) for t in corpora.TRANSFERS]
    found += [transfer_row("lidan", t, 1, 6) for t in corpora.TRANSFERS]
    table = transfers.means_table(found)
    assert "| source only | yes | 70.0 (1) | 70.0 (1) | 70.0 (1) | - |" in table
    assert "| 80.0 (1) | 80.0 (1) | 80.0 (1) | +10.0 (12 of 12) |" in table
    assert "missing" in transfers.means_table(found[:-1])
    assert "| `casia:ravdess` | 70.0 | 80.0 |" in transfers.by_transfer_table(found)


def test_weights_are_compared_on_the_choosing_transfers_alone():
    found = []
    for weight, right, score in (0.3, 4, -0.5), (1.0, 6, -0.25):
        scores = {"PredictionEntropyScorer": score, "SoftNeighborhoodDensity": 4.0}
        for transfer in corpora.TRANSFERS:
            row = transfer_row("lidan", transfer, 1, right)
            if transfer not in transfers.CHOOSING:
                row["uar"] = 0.0
            row["params"] = row["params"] | {"alignment_weight": weight}
            found.append(row | {"label_free": scores})
    _, _, *body = transfers.weights_table(found).splitlines()
    assert body == [
        "| LIDAN | 0.3 | -0.500 | 4.000 | 70.0 |",
        "| LIDAN | 1 | -0.250 | 4.000 | 80.0 |",
    ]
    one_short = [row for row in found if row["corpus"] != "emovo:emodb4"]
    assert transfers.weights_table(one_short) == "None yet."


def test_other_parameters_are_another_row(here, tmp_path):
    results = tmp_path / "rows.jsonl"
    argv = ["--corpus", "tiny", "--method", "mfcc", "--results", str(results)]
    for more in ([], ["--set", "svc__shrinking=False"], []):
        assert run.main([*argv, *more]) == 0
    assert len(rows.read(results)) == 8


def test_other_data_is_another_row(here, tmp_path, monkeypatch):
    results = tmp_path / "rows.jsonl"
    argv = ["--corpus", "tiny", "--method", "mfcc", "--results", str(results)]
    assert run.main(argv) == 0
    corpus = corpora.load("tiny")
    corpus.audio_hash = "another"
    monkeypatch.setattr(corpora, "load", lambda name: corpus)
    assert run.main(argv) == 0
    assert len(rows.read(results)) == 8


def test_a_fold_that_fails_loses_no_other(here, tmp_path, monkeypatch, capfd):
    whole = run.run_fold

    def faulty(estimator, X, corpus, train, test):
        if "s01" in corpus.speakers[test]:
            raise RuntimeError("no luck")
        if "s02" in corpus.speakers[test]:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(estimator, X, corpus, train, test)

    monkeypatch.setattr(run, "run_fold", faulty)
    results = tmp_path / "rows.jsonl"
    argv = ["--corpus", "tiny", "--method", "mfcc", "--results", str(results)]
    assert run.main(argv) == 1
    assert len(rows.read(results)) == 2
    errors = capfd.readouterr().err
    assert "RuntimeError: no luck" in errors
    assert "died with exit code -9" in errors
    monkeypatch.undo()


def test_without_corpora_it_says_what_it_needs(monkeypatch, capsys):
    monkeypatch.delenv("SKLEARN_SER_DATA", raising=False)
    with pytest.raises(SystemExit) as end:
        run.main(["--corpus", "emodb4", "--method", "mfcc"])
    assert end.value.code == 2
    assert "SKLEARN_SER_DATA must name" in capsys.readouterr().err


def test_two_runs_do_not_share_a_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    code = f"from benchmarks.rows import RowFile\nwith RowFile({str(path)!r}): pass\n"
    with rows.RowFile(path):
        other = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
        )
    assert other.returncode == 1
    assert "Another run writes to" in other.stderr


@pytest.mark.parametrize("name", methods.METHODS)
def test_every_method_is_described_by_plain_parameters(name):
    method = methods.METHODS[name]
    estimator, features = methods.with_settings(method, {})
    params = methods.parameters(estimator, features)
    assert params == json.loads(json.dumps(params))
    assert params["features__kind"] in methods.EXTRACTORS
    assert not any("random_state" in name for name in params)
    if method.seeded:
        ours, wanted = methods.with_settings(
            method, {"max_epochs": 3, "features__trim": 40}
        )
        changed = methods.parameters(ours, wanted)
        differing = {k for k in changed if changed[k] != params.get(k)}
        assert {k.removeprefix("estimator__") for k in differing - {"estimator"}} == {
            "max_epochs",
            "features__trim",
        }
    with pytest.raises(ValueError, match="no such parameter"):
        methods.with_settings(method, {"magic": 1})


@pytest.fixture(scope="module")
def real():
    home = os.environ.get("SKLEARN_SER_DATA")
    if not home or not Path(home, "emodb4").is_dir():
        pytest.skip("SKLEARN_SER_DATA names no directory with the corpora")


@pytest.mark.parametrize("name", [*corpora.PROTOCOLS, *corpora.TRANSFERS[:3]])
def test_the_protocols_are_those_of_the_committed_rows(real, name):
    corpus = corpora.load(name)
    splits = [(train.tolist(), test.tolist()) for train, test in corpus.splits]
    hashes = corpora.digest(splits), corpus.manifest_hash, corpus.audio_hash
    results = Path(rows.RESULTS).parent.glob("*.jsonl")
    committed = {
        (row["split_hash"], row["manifest_hash"], row["audio_hash"])
        for file in results
        for row in rows.read(file)
        if row["corpus"] == name
    }
    assert committed == {hashes}
    assert corpus.protocol.hash in (ROOT / "benchmarks" / "README.md").read_text()
    for train, test in corpus.splits:
        if ":" not in name:
            assert not set(corpus.speakers[train]) & set(corpus.speakers[test])


# ------------------------------------------------------------------------ the report


def made_up(method, corpus, seed, hits):
    """Rows of a run, two speakers, where ``hits`` of 10 are right in either class."""
    estimator, features = methods.with_settings(methods.METHODS[method], {})
    return [
        {
            "corpus": corpus,
            "method": method,
            "seed": seed,
            "fold": fold,
            "n_folds": 2,
            "params": methods.parameters(estimator, features),
            "confusion": {who: [[right, 10 - right], [10 - right, right]]},
            "fit_seconds": 30.0,
            "peak_mb": 100 * fold,
        }
        for fold, (who, right) in enumerate(zip("ab", hits, strict=True), 1)
    ]


def table(text):
    lines = [line.strip("| ").split(" | ") for line in text.splitlines()]
    return {line[0]: line[1:] for line in lines[2:]}


def test_the_report_averages_seeds_and_names_what_is_missing():
    found = made_up("dsnet", "emodb4", 12, (6, 8)) + made_up(
        "dsnet", "emodb4", 22, (8, 8)
    )
    found += made_up("mfcc", "emodb4", None, (5, 9))
    found += made_up("dsnet", "emovo", 12, (9, 9))[:1]  # a fold is still to run
    parts, summaries = report.sections(found)
    assert table(parts["uar"])["DSNet"] == [
        "2",
        "75.0 ± 7.1 [70.0, 80.0]",
        "missing",
        "missing",
        "missing",
    ]
    assert table(parts["uar"])["MFCC statistics + SVM"][0] == "-"
    assert summaries["emodb4", "dsnet"].minutes == 1.0
    assert "200 MB" in table(parts["cost"])["DSNet"][1]
    # Speaker a: 70 against 50; speaker b: 80 against 90.
    against = table(parts["comparison"])["MFCC statistics + SVM"]
    assert against == ["+5.0", "1 of 2", "preliminary"]
    lacking = parts["missing"].splitlines()
    more = "(seed 12, seed 22, seed 32)"
    dsnet = "emodb4 (seed 32); emovo (1 folds of seed 12, seed 22, seed 32); "
    assert f"- `dsnet`: {dsnet}ravdess {more}; casia {more}" in lacking
    everything = ", ".join(f"12 transfers of seed {seed}" for seed in (12, 22, 32))
    assert f"- `lidan`: {everything}" in lacking
    assert "- `mfcc`: emovo (all); ravdess (all); casia (all)" in lacking


def test_a_p_value_takes_five_seeds_of_each():
    found = made_up("mfcc", "emodb4", None, (5, 7))
    for seed in range(5):
        found += made_up("dsnet", "emodb4", seed, (8, 9))
        cell = table(report.sections(found)[0]["comparison"])["MFCC statistics + SVM"]
        assert cell[:2] == ["+25.0", "2 of 2"]
        assert (cell[2] == "preliminary") == (seed < 4)
    assert float(cell[2]) == 0.5  # two speakers cannot say more


def test_rows_at_other_parameters_stand_apart():
    found = made_up("dsnet", "emodb4", 12, (6, 8))
    for row in found:
        row["params"]["max_epochs"] = 7
    parts, _ = report.sections(found)
    assert "DSNet" not in table(parts["uar"])
    assert table(parts["settings"])["`dsnet`"][0] == "`max_epochs=7`"


def test_an_adversary_s_weights_make_a_table_of_their_own(tmp_path):
    found = []
    for method, weight in ("plain", 0.0), ("menan", 0.1), ("menan", 0.7), ("dat", 0.3):
        for row in made_up(method, "emovo", 12, (6, 8)):
            if weight:
                row["params"]["adversary_weight"] = weight
            row["probes"] = {"seen": {"speaker": [0.5 + weight / 10, 0.25]}}
            found.append(row)
    points = report.tradeoff(found)
    lines = report.tradeoff_table(points).splitlines()[2:]
    assert [line.split(" | ")[:2] for line in lines] == [
        ["| DAT", "0.3"],
        ["| MEnAN", "0.1"],
        ["| MEnAN", "0.7"],
        ["| plain net", "0"],
    ]
    assert "| 70.0 / 32.0 |" in lines[2]
    assert report.settings_table(found) == "None yet."
    _, summaries = report.sections(found)
    report.probe_figure(summaries, points, tmp_path / "probes.svg")
    assert (tmp_path / "probes.svg").stat().st_size > 1000


def test_a_net_without_adversary_is_one_whatever_its_settings(tmp_path):
    (row, _) = made_up("plain", "emodb4", 12, (6, 8))
    row |= {"split_hash": "a", "manifest_hash": "b", "audio_hash": "c"}
    other = row | {"params": row["params"] | {"adversary_lr": 0.5}}
    with rows.RowFile(tmp_path / "rows.jsonl") as file:
        file.append(other)
        assert row in file
        assert row | {"params": row["params"] | {"lr": 0.5}} not in file
    assert rows.read(tmp_path / "rows.jsonl")[0]["params"] == row["params"]


def test_parts_go_between_their_markers():
    text = "a\n<!-- uar -->\nold\n<!-- /uar -->\nb"
    new = report.fill(text, {"uar": "new", "wa": "nowhere"})
    assert new == "a\n<!-- uar -->\nnew\n<!-- /uar -->\nb"


def test_the_readmes_show_the_committed_rows(capsys):
    assert report.main(["--check"]) == 0
    assert capsys.readouterr().out == "up to date\n"


def test_the_figure_is_drawn(tmp_path):
    _, summaries = report.sections(made_up("dsnet", "emodb4", 12, (6, 8)))
    report.figure(summaries, tmp_path / "uar.svg")
    assert "<svg" in (tmp_path / "uar.svg").read_text()


def test_speed_has_a_figure_for_each_way(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("SKLEARN_SER_DATA", raising=False)
    output = tmp_path / "speed.json"
    speed.main(["--epochs", "1", "--repeats", "1", "--output", str(output)])
    found = json.loads(output.read_text())
    assert found["training"].keys() == {
        "estimator",
        "plain torch loop",
        "stock skorch, padded",
    }
    assert found["prediction"]["bare"]["ratio"] == 1
    assert all(row["seconds"] > 0 for row in found["training"].values())
    assert len(capsys.readouterr().out.splitlines()) == 5
