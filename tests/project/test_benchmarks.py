"""The benchmarks: rows that resume, honest summaries, the protocols of the corpora."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GroupKFold, PredefinedSplit
from sklearn.svm import LinearSVC
from sklearn.utils import Bunch

ROOT = Path(__file__).parents[2]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not part of the package", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from benchmarks import leaks, speed  # noqa: E402
from benchmarks.accuracy import (  # noqa: E402
    __main__,
    corpora,
    methods,
    report,
    rivals,
    rows,
    speakers,
    tables,
)
from sklearn_ser.baseline import EqualPriorsLDA  # noqa: E402
from sklearn_ser.metrics import uar_score  # noqa: E402


def tiny(name, n_speakers=8, shift=0.0):
    """A corpus of vectors: 14 recordings of each speaker, seven sentences."""
    n = 14 * n_speakers
    rng = np.random.default_rng(len(name))
    y = np.tile(["happiness", "sadness"], n // 2)
    X = rng.normal(size=(n, 5)) + (y == "sadness")[:, None] + shift
    texts = np.tile(np.repeat(list("abcdefg"), 2), n_speakers)
    who = np.repeat([f"{i:02d}" for i in range(n_speakers)], 14)
    return Bunch(
        name=name,
        data=list(X),
        target=y,
        speakers=who,
        texts=texts,
        corpora=np.full(n, name),
        cv=4,
    )


@pytest.fixture
def fake(monkeypatch):
    """Corpora of vectors in the place of those on disk."""
    monkeypatch.setattr(corpora, "load", tiny)
    monkeypatch.setattr(corpora, "vectors", lambda corpus, _: np.array(corpus.data))


def run(tmp_path, *argv):
    results = tmp_path / "results.csv"
    common = ["--cache", str(tmp_path / "cache"), "--results", str(results)]
    __main__.main([*map(str, argv), *common])
    return rows.read(results).to_dict("records")


def test_a_stopped_curve_goes_on_and_keeps_its_rows(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(speakers, "N_TEST", 3)
    argv = ["speakers", "--draws", 2, "--sizes", 3, 5, "--method", "lda"]
    whole = run(tmp_path, *argv)
    assert [row["draw"] + row["size"] for row in whole] == ["03", "05", "13", "15"]
    assert all(50 <= float(row["uar"]) <= 100 for row in whole)
    path = tmp_path / "results.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][:20])  # torn within a write
    again = run(tmp_path, *argv)
    assert path.read_bytes().splitlines(keepends=True)[:3] == lines[:3]
    drop = {"seconds"}
    assert [{k: r[k] for k in r.keys() - drop} for r in again] == [
        {k: r[k] for k in r.keys() - drop} for r in whole
    ]


def test_methods_are_compared_over_the_draws():
    rows_of = [
        {"draw": str(draw), "size": size, "method": method, "uar": str(uar)}
        for size, gains in {"8": (1, 2, 6), "60": (-1, 0, 1)}.items()
        for draw, gain in enumerate(gains)
        for method, uar in {"lda": 80 - draw, "menan": 80 - draw + gain}.items()
    ]
    curve = pd.DataFrame(rows_of)
    assert report.by_method(speakers.by_size(curve, "uar")).splitlines()[2:] == [
        "| shrinkage LDA | 79.0 | 79.0 |",
        "| MEnAN | 82.0 | 79.0 |",
    ]
    half = 4.3027 * np.array([np.std([1, 2, 6], ddof=1), 1.0]) / np.sqrt(3)  # Student's
    cells = [
        f"{mean:+.1f} [{mean - own:+.1f}, {mean + own:+.1f}]"
        for mean, own in zip((3, 0), half, strict=True)
    ]
    compared = speakers.by_size(curve, "uar", ours="menan")
    assert report.by_method(compared).splitlines() == [
        "| MEnAN against | 8 | 60 |",
        "|---|---|---|",
        f"| shrinkage LDA | {' | '.join(cells)} |",
    ]


def test_test_speakers_never_train_and_sizes_are_nested():
    who = np.repeat(np.arange(78), 2)
    test, others = speakers.draw_speakers(who, 0)
    assert len(test) == 18
    assert sorted([*test, *others]) == list(range(78))
    assert not np.array_equal(test, speakers.draw_speakers(who, 1)[0])


@pytest.mark.parametrize("alignment", ["dan", "dann", "deepcoral"])
def test_a_rival_s_term_reaches_the_network(log_mels, corpus, alignment):
    domain = np.where(corpus.speakers < "s02", 1, -1)
    states = []
    for weight in (0.0, 10.0):
        model = rivals.SkadaAdapter(
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


@pytest.mark.slow
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
    assert found["mixed lengths"]["two calls"]["ratio"] == 1
    assert found["normalisation"]["bare means"]["ratio"] == 1
    assert all(row["seconds"] > 0 for row in found["training"].values())
    assert len(capsys.readouterr().out.splitlines()) == 11


def test_self_training_follows_a_target_that_moved():
    """The rows of a target that was moved and sheared move the border to it."""
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    source, target = (rng.normal(size=(200, 2)) + 4 * y[:, None] for _ in range(2))
    target = target @ [[1.0, 0.0], [2.0, 1.0]] + [0.0, 2.5]
    X, domain = np.r_[source, target], np.repeat([1, -1], 200)
    models, svm = [], LinearSVC(C=1e-3, class_weight="balanced", random_state=0)
    for hidden in ("unknown", "other"):
        labels = np.r_[np.array(["a", "b"])[y], [hidden] * 200]
        models.append(rivals.SelfTraining(svm).fit(X, labels, sample_domain=domain))
    first, second = (model.predict(target) for model in models)
    assert first.tolist() == second.tolist()  # labels of the target are not read
    alone = rivals.SelfTraining(svm, n_rounds=0).fit(X, labels, sample_domain=domain)
    truth = np.array(["a", "b"])[y]
    assert uar_score(truth, first) > uar_score(truth, alone.predict(target)) + 0.05


def test_the_table_of_leaks_is_that_of_its_command(monkeypatch):
    lines = leaks.TABLE.read_text().splitlines()
    assert lines[0].split(",") == leaks.HEAD
    found = [tuple(line.split(",")[i] for i in (0, 3)) for line in lines[1:]]
    assert found == [(name, how) for name in leaks.CORPORA for how in leaks.MODELS]

    rng, rows = np.random.default_rng(0), np.arange(96)
    y, texts = np.array(["anger", "joy"])[rows % 2], rows // 2 % 4
    # The sentence decides what tells the emotions apart.
    X = np.eye(4)[texts] * np.where(y == "joy", 1, -1)[:, None]
    X = X + rng.normal(scale=0.3, size=X.shape)
    own = {"target": y, "speakers": rows // 32, "texts": texts, "cv": GroupKFold(3)}
    monkeypatch.setattr(leaks, "load", lambda name: Bunch(**own))
    monkeypatch.setattr(leaks, "vectors", lambda corpus, cache: X)
    monkeypatch.setattr(leaks, "MODELS", {"LDA": leaks.FastLDA()})
    ((*told, at_random, heard, control, unheard),) = leaks.rows_of("tiny", None)
    assert told == ["tiny", 3, 4, "LDA"]
    assert min(map(float, (at_random, heard, control))) > 85 > float(unheard) + 15
    fast, slow = leaks.FastLDA().fit(X, y), EqualPriorsLDA().fit(X, y)
    assert fast.predict(X).tolist() == slow.predict(X).tolist()


@pytest.mark.slow
def test_a_network_needs_five_seeds_to_have_a_row(fake, tmp_path, monkeypatch, capsys):
    guess = DummyClassifier(strategy="stratified", random_state=0)
    monkeypatch.setitem(methods.METHODS, "plain", ("plain net", lambda: guess))
    argv = ["within", "--corpus", "casia", "--method", "lda", "plain", "--seeds"]
    assert [row["method"] for row in run(tmp_path, *argv, 1)] == ["lda"]
    found = run(tmp_path, *argv, 5)
    assert [(row["method"], row["seeds"]) for row in found] == [
        ("lda", ""),
        ("plain", "5"),
    ]
    printed = capsys.readouterr().out
    for row in found:
        assert f"{float(row['unheard']):.1f}" in printed
        assert len(row["by_speaker"].split()) == len(set(tiny("casia").speakers))
        assert row["reference"] == "lda"
    again = run(tmp_path, *argv, 5)  # from the folds that are kept
    assert again == found


def test_a_pool_deals_the_speakers_and_shows_its_corpora(fake, tmp_path, monkeypatch):
    names = ("emodb4", "crema78")
    monkeypatch.setitem(corpora.POOLS, "pooled44", (names, 4))
    whole = corpora.join("pooled44", [tiny(name) for name in names])
    folds = corpora.deal(whole, 4)
    for name in names:
        for i in range(8):
            own = whole.speakers == f"{name}/{i:02d}"
            assert set(folds[own]) == {i % 4}
    monkeypatch.setattr(
        corpora,
        "load",
        lambda name: Bunch(**whole, cv=PredefinedSplit(folds)),
    )
    found = run(tmp_path, "pools", "--corpus", "pooled44", "--method", "lda")
    uars = {row["protocol"]: float(row["uar"]) for row in found}
    assert uars.keys() == {"pooled44", "pooled44/emodb4", "pooled44/crema78"}
    assert min(uars.values()) <= uars["pooled44"] <= max(uars.values())


def test_a_corpus_is_centred_on_its_training_rows():
    X = np.array([[1.0, 0], [3, 0], [10, 1], [20, 1]])
    centred = corpora.CorpusCenterer().fit(X[[0, 2]])
    assert centred.transform(X).ravel().tolist() == [0, 2, 0, 10]


def test_transfers_have_a_mean_and_each_pair(fake, tmp_path):
    argv = ["transfers", "--corpus", "emovo", "casia", "--kind", "by corpus"]
    found = run(tmp_path, *argv, "--method", "lda", "self-training")
    assert {row["protocol"] for row in found} == {
        "transfers",
        "emovo:casia",
        "casia:emovo",
    }
    uars = {(row["method"], row["protocol"]): float(row["uar"]) for row in found}
    pairs = uars["lda", "emovo:casia"], uars["lda", "casia:emovo"]
    assert uars["lda", "transfers"] == pytest.approx(np.mean(pairs), abs=0.01)


def test_rows_replace_those_of_the_same_key(tmp_path):
    path, key = tmp_path / "rows.csv", ["method", "kind"]
    first = pd.DataFrame({"method": ["b", "a"], "kind": ["x", "x"], "uar": [1.5, 2]})
    rows.replace(path, first, key)
    rows.replace(path, first[:1].assign(uar=3.25), key)
    assert rows.read(path).to_dict("list") == {
        "method": ["a", "b"],
        "kind": ["x", "x"],
        "uar": ["2.0", "3.25"],
    }


def test_the_committed_rows_are_whole_and_known():
    found = rows.read(rows.RESULTS / "summary.csv")
    assert tuple(found.columns) == tables.COLUMNS
    assert not found.duplicated(list(tables.KEY)).any()
    assert set(found.method) <= set(methods.LABELS)
    assert set(found.features) == set(methods.OF_FEATURES)
    assert all(int(seeds) >= 5 for seeds in found.seeds if seeds)
    assert (found.uar.astype(float) <= 100).all()


@pytest.mark.slow
def test_the_readmes_show_the_committed_rows():
    with pytest.raises(SystemExit) as end:
        __main__.main(["report", "--check"])
    assert end.value.code == 0


def test_the_curve_is_drawn_and_averaged(tmp_path):
    curve = pd.DataFrame(
        [
            {"draw": draw, "size": size, "method": method, "ece": "", "wa": "50"}
            | {"uar": uar, "enrolled": "60", "speaker_seen": "", "speaker_unseen": ""}
            for method, uars in (("lda", ("50", "70")), ("plain", ("60", "80")))
            for draw, uar in enumerate(uars)
            for size in ("4", "8")
        ]
    )
    lines = report.means(curve, ["method", "size"], speakers.FIGURES).splitlines()
    assert lines[2].startswith("| shrinkage LDA | 4 | 60.0 | 50.0 | - | 60.0 |")
    with report.panels(tmp_path / "speakers.svg", 3, 3.8) as axes:
        speakers.draw(curve, axes)
    assert "<svg" in (tmp_path / "speakers.svg").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", corpora.FOUR)
def test_the_protocols_are_those_of_the_page(name):
    home = os.environ.get("SKLEARN_SER_DATA")
    if not home or not Path(home, name).is_dir():
        pytest.skip("SKLEARN_SER_DATA names no directory with the corpora")
    corpus = corpora.load(name)
    assert corpus.cv.hash in (ROOT / "benchmarks" / "README.md").read_text()
    for train, test in corpus.cv.split(corpus.data, corpus.target):
        assert not set(corpus.speakers[train]) & set(corpus.speakers[test])
