"""The benchmarks: rows that resume, honest summaries, the protocols of the corpora."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC
from sklearn.utils import Bunch

ROOT = Path(__file__).parents[2]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not part of the package", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from benchmarks import speed  # noqa: E402
from benchmarks.accuracy import (  # noqa: E402
    __main__,
    corpora,
    rivals,
    rows,
    speakers,
)
from sklearn_ser.metrics import uar_score  # noqa: E402


def tiny(name, n_speakers=8, shift=0.0):
    """A corpus of vectors: 14 recordings of each speaker, seven sentences."""
    n = 14 * n_speakers
    rng = np.random.default_rng(len(name))
    y = np.tile(["happiness", "sadness"], n // 2)
    X = rng.normal(size=(n, 5)) + 2 * (y == "sadness")[:, None] + shift
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
    return rows.read(results)


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
