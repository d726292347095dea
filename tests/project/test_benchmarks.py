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
from sklearn.svm import LinearSVC
from sklearn.utils import Bunch

ROOT = Path(__file__).parents[2]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not part of the package", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from benchmarks import (  # noqa: E402
    condense,
    corpora,
    features,
    leaks,
    methods,
    report,
    rivals,
    rows,
    run,
    speed,
    tables,
    transfers,
)
from sklearn_ser import (  # noqa: E402
    DIDANDomainAdapter,
    DSNetClassifier,
    SpeakerAdversarialClassifier,
)
from sklearn_ser.baseline import EqualPriorsLDA  # noqa: E402
from sklearn_ser.metrics import uar_score  # noqa: E402

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


@pytest.mark.slow
def test_a_broken_run_resumes_to_the_same_rows(here, tmp_path, capsys):
    unbroken, broken = tmp_path / "unbroken.jsonl", tmp_path / "broken.jsonl"
    argv = ["--corpus", "tiny", "--method", "mfcc", "--results"]
    assert len(printed(capsys, *argv, unbroken)) == 4
    whole = unbroken.read_bytes().splitlines(keepends=True)
    broken.write_bytes(b"".join(whole[:2]) + whole[2][:30])
    assert len(printed(capsys, *argv, broken)) == 2
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
@pytest.mark.parametrize(
    "name", [pytest.param("tiny", marks=pytest.mark.slow), "casia"]
)
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


@pytest.mark.slow
def test_a_row_of_a_net_has_probes(here):
    (_, work), *_ = run.tasks(
        ["tiny"], ["dsnet"], [1], {"max_epochs": 2, "encoder": "conv"}
    )
    estimator, X, corpus, train, *_ = work
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


@pytest.mark.slow
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
    return {
        "corpus": transfer,
        "method": method,
        "seed": seed,
        "fold": 1,
        "n_folds": 1,
        "params": methods.own_parameters(method),
        "confusion": {"a": [[right, 10 - right], [0, 10]]},
        "uar": (right / 10 + 1) / 2,
        "fit_seconds": 1.0,
        "peak_mb": 1,
    }


def test_the_mean_over_transfers_wants_all_of_them():
    assert len(set(corpora.TRANSFERS)) == 12
    found = [transfer_row("source-only", t, 1, 4) for t in corpora.TRANSFERS]
    found += [transfer_row("lidan", t, 1, 6) for t in corpora.TRANSFERS]
    found = condense.condense(found)
    table = transfers.means_table(found)
    assert "| source only | by corpus | 70.0 (1) | 70.0 (1) | 70.0 (1) | - |" in table
    assert "| 80.0 (1) | 80.0 (1) | 80.0 (1) | +10.0 (12 of 12) |" in table
    assert "missing" in transfers.means_table(found[:-1])
    by_transfer = transfers.by_transfer_table(found)
    assert "| `casia:ravdess` | 70.0 | 80.0 |" in by_transfer
    assert "| `emovo:emodb4`† | 70.0 | 80.0 |" in by_transfer
    assert transfers.means_table(found, "speech-model") == "None yet."


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
    found = condense.condense(found)
    _, _, *body = transfers.weights_table(found).splitlines()
    assert body == [
        "| LIDAN | 0.3 | -0.500 | 4.000 | 70.0 |",
        "| LIDAN | 1 | -0.250 | 4.000 | 80.0 |",
    ]
    one_short = [row for row in found if row["corpus"] != "emovo:emodb4"]
    assert transfers.weights_table(one_short) == "None yet."


@pytest.mark.slow
def test_other_parameters_are_another_row(here, tmp_path):
    results = tmp_path / "rows.jsonl"
    argv = ["--corpus", "tiny", "--method", "mfcc", "--results", str(results)]
    for more in ([], ["--set", "svc__shrinking=False"], []):
        assert run.main([*argv, *more]) == 0
    assert len(rows.read(results)) == 8


@pytest.mark.slow
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

    def faulty(estimator, X, corpus, train, test, how):
        if "s01" in corpus.speakers[test]:
            raise RuntimeError("no luck")
        if "s02" in corpus.speakers[test]:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(estimator, X, corpus, train, test, how)

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


@pytest.mark.slow
def test_one_command_runs_all_that_the_tables_want(here, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tables, "wanted", lambda features: {"tiny": ["mfcc"]})
    argv = ["--results", tmp_path / "rows.jsonl"]
    assert len(printed(capsys, *argv)) == 4  # a fold for each speaker
    assert printed(capsys, *argv) == []
    with pytest.raises(SystemExit):
        run.main(["--corpus", "tiny"])
    assert "--corpus and --method must be given together" in capsys.readouterr().err


@pytest.mark.parametrize("features", ["log-mel", "speech-model"])
def test_the_tables_want_each_method_of_their_features(features):
    wanted = tables.wanted(features)
    names = {name for own in wanted.values() for name in own}
    known = {n for n, m in methods.ALL_METHODS.items() if features in m.sets}
    assert names == known - set(tables.OF_POOLS if features == "log-mel" else ())
    assert len([corpus for corpus in wanted if ":" in corpus]) == 12
    assert ("pooled44" in wanted) == (features == "speech-model")


@pytest.mark.slow
def test_two_runs_do_not_share_a_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    code = f"from benchmarks.rows import RowFile\nwith RowFile({str(path)!r}): pass\n"
    with rows.RowFile(path):
        other = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
        )
    assert other.returncode == 1
    assert "Another run writes to" in other.stderr


@pytest.mark.parametrize(
    ("name", "on"),
    [(name, on) for name, m in methods.ALL_METHODS.items() for on in m.sets],
)
def test_every_method_is_described_by_plain_parameters(name, on):
    method = methods.ALL_METHODS[name]
    estimator, wanted = methods.with_settings(method, {}, on)
    params = methods.parameters(estimator, wanted)
    assert params == json.loads(json.dumps(params)) == methods.own_parameters(name, on)
    assert params["features__kind"] in features.EXTRACTORS
    assert features.set_of({"params": params}) == on
    assert not any("random_state" in name for name in params)
    assert os.sep not in str(params.values())
    if method.seeded:
        epochs = "max_iter" if "mlp" in name else "max_epochs"
        epochs = f"mlpclassifier__{epochs}" if "mlp" in name else epochs
        ours, wanted = methods.with_settings(
            method, {epochs: 3, "features__trim": 40}, on
        )
        changed = methods.parameters(ours, wanted)
        differing = {k for k in changed if changed[k] != params.get(k)}
        differing = {
            k.removeprefix("estimator__") for k in differing - {"estimator", "steps"}
        }
        if "enrolled" in name:  # behind the normaliser
            differing = {k.removeprefix(f"{ours.steps[-1][0]}__") for k in differing}
        assert differing == {epochs, "features__trim"}
    with pytest.raises(ValueError, match="no such parameter"):
        methods.with_settings(method, {"magic": 1}, on)


@pytest.mark.parametrize(
    ("cls", "spectral"),
    [
        (DSNetClassifier, "conv_lstm"),
        (SpeakerAdversarialClassifier, "conv_lstm"),
        (DIDANDomainAdapter, "conv"),
    ],
)
def test_parameters_have_the_encoder_that_auto_takes(cls, spectral):
    now = methods.parameters(cls(), {"kind": "log_mel"})
    assert now["encoder"] == spectral == cls._auto_encoders["spectrogram"]
    assert "feature_noise" not in now  # spectrograms have none
    assert rows.deciding(now | {"feature_noise": 3.0}) == now
    on_vectors = {"kind": "speech_model", "pooling": "mean"}
    assert methods.parameters(cls(), on_vectors)["encoder"] == "pointwise"
    on_frames = {"kind": "speech_model", "pooling": None}
    assert methods.parameters(cls(), on_frames)["encoder"] == "statistics"


def test_the_committed_nets_have_todays_defaults():
    found = {(line["method"], line["params"]) for line in condense.read()}
    for name in ("dsnet", "plain", "menan", "dat"):
        assert (name, condense.params_hash(methods.own_parameters(name))) in found
    for name in ("menan", "dat"):
        weight = methods.own_parameters(name)["adversary_weight"]
        assert f"λ={weight:g}" in methods.METHODS[name].label
    defaults = SpeakerAdversarialClassifier().get_params()
    menan = methods.METHODS["menan"].estimator().get_params()
    assert menan == defaults | methods.BATCHES | {"adversary_lr": 3e-3}


def test_a_line_without_setting_has_the_parameters_of_today():
    """Otherwise a default has changed: a table would not show the line."""
    for line in condense.read():
        own = methods.own_parameters(line["method"], line["features"])
        of_today = line["params"] == condense.params_hash(own)
        assert of_today == (not line["setting"]), line


# ----------------------------------------------------------- features of speech models


@pytest.fixture
def with_speech(two, tiny_speech_model, tmp_path, monkeypatch):
    """The corpora, a tiny model by the name of the real one, and a cache."""
    monkeypatch.setenv("SKLEARN_SER_DATA", str(two))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "whisper-base").symlink_to(tiny_speech_model)
    monkeypatch.setenv("SKLEARN_SER_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("SKLEARN_SER_BENCHMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "_KEPT", {})
    monkeypatch.setattr(corpora, "POOLS", {"pooled44": ("tiny", "other")})
    return tmp_path


def on_speech(folder, corpus, *names, settings=()):
    """Run methods; return their rows."""
    results = folder / "rows.jsonl"
    argv = ["--corpus", corpus, "--method", *names, "--features", "speech-model"]
    argv += ["--seeds", "1", "--results", str(results)]
    if settings:
        argv += ["--set", *settings]
    assert run.main(argv) == 0
    return [row for row in rows.read(results) if row["corpus"] == corpus]


@pytest.mark.slow
def test_features_are_a_dimension_of_a_row(with_speech, tiny_speech_model):
    settings = ["max_epochs=1"]
    found = on_speech(with_speech, "tiny", "dsnet", "plain", settings=settings)
    found += on_speech(with_speech, "tiny", "lda", "linear-svc")[len(found) :]
    assert [row["method"] for row in found] == [
        name for name in ("dsnet", "plain", "lda", "linear-svc") for _ in range(4)
    ]
    (weights,) = {row["weights_hash"] for row in found}
    assert weights == features.weights_hash("whisper-base")
    for row in found:
        assert row["params"]["features__model"] == "whisper-base"
        assert row["params"]["features__layer"] == "middle"
        assert "transformers" in row["versions"]
        assert str(with_speech) not in json.dumps(row | {"command": None})
        assert str(tiny_speech_model) not in json.dumps(row)
    assert [row["chosen"] is None for row in found[::4]] == [True, True, True, False]
    assert [row["probes"] is None for row in found[::4]] == [False, False, True, True]
    assert found[0]["params"]["encoder"] == "pointwise"
    argv = ["--corpus", "tiny", "--method", "dsnet", "--seeds", "1", "--set"]
    argv += [*settings, "encoder=conv", "--results", str(with_speech / "rows.jsonl")]
    assert run.main(argv) == 0  # on log-mels the same method has rows of its own
    assert len(rows.read(with_speech / "rows.jsonl")) == 20


def test_features_are_extracted_once(with_speech, monkeypatch):
    corpus = corpora.load("tiny")
    first = features.extract(corpus, **features.SETS["speech-model"])
    assert first.shape == (len(corpus.data), 24)
    assert len(list((with_speech / "cache").rglob("*.npy"))) == len(corpus.data)

    def fail(*args, **kwargs):
        raise AssertionError("it was extracted again")

    monkeypatch.setattr("sklearn_ser.features.speech_model._features", fail)
    again = features.extract(corpus, **features.SETS["speech-model"])
    np.testing.assert_array_equal(again, first)  # from the process
    monkeypatch.setattr(features, "_KEPT", {})
    again = features.extract(corpus, **features.SETS["speech-model"])
    np.testing.assert_array_equal(again, first)  # from the disk


def test_a_model_is_named_and_not_a_path(with_speech, tiny_speech_model):
    with pytest.raises(ValueError, match="expected the name of a folder below"):
        on_speech(
            with_speech,
            "tiny",
            "lda",
            settings=[f"features__model={tiny_speech_model}"],
        )


def test_other_weights_are_another_row():
    row = dict.fromkeys(rows.KEY, "x") | {"params": {}}
    assert rows.key(row) != rows.key(row | {"weights_hash": "y"})
    without = {k: v for k, v in row.items() if k != "weights_hash"}
    assert rows.key(without) == rows.key(row | {"weights_hash": None})
    pair = [{"setting": "lr=1, model=m", "weights": "x"} for _ in range(2)]
    report._check_weights(pair)
    report._check_weights([*pair, {"setting": "", "weights": "z"}])
    pair[1] = pair[1] | {"weights": "y"}
    with pytest.raises(ValueError, match="two models by that name"):
        report._check_weights(pair)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--method", "egemaps"], "--method egemaps is run with --features log-mel"),
        (["--method", "nothing"], "invalid choice"),
    ],
)
def test_a_method_without_such_features_is_an_error(with_speech, capsys, argv, message):
    with pytest.raises(SystemExit):
        run.main(["--corpus", "tiny", "--features", "speech-model", *argv])
    assert message in capsys.readouterr().err


def test_without_models_it_says_what_it_needs(here, monkeypatch, capsys):
    monkeypatch.delenv("SKLEARN_SER_MODELS", raising=False)
    argv = ["--corpus", "tiny", "--method", "lda", "--features", "speech-model"]
    with pytest.raises(SystemExit):
        run.main(argv)
    assert "SKLEARN_SER_MODELS must name" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The predicted target domain labels")
def test_transfers_on_a_speech_model(with_speech):
    names = ["source-only", "didan-by-speaker", "dan-raw"]
    found = on_speech(with_speech, "tiny:other", *names, settings=["max_epochs=1"])
    linear = [
        f"{name}-transfer{how}"
        for name in ("linear-svc", "lda")
        for how in ("", "-raw", "-by-speaker")
    ]
    found = on_speech(with_speech, "tiny:other", *linear)
    assert [row["method"] for row in found] == [*names, *linear]
    assert [row["label_free"] is None for row in found] == [False] * 3 + [True] * 6
    assert all(row["n_folds"] == 1 and len(row["confusion"]) == 2 for row in found)


@pytest.mark.slow
def test_new_speakers_are_the_target_of_an_adaptation(with_speech):
    corpus = corpora.load("tiny")
    names = ["source-only-adapted", "self-training-adapted"]
    found = on_speech(with_speech, "tiny", names[0], settings=["max_epochs=1"])
    found = on_speech(with_speech, "tiny", names[1])
    assert {row["method"] for row in found} == set(names)
    assert all(row["params"]["features__adapted"] for row in found)
    for row in found:
        test = corpus.splits[row["fold"] - 1][1]
        assert row["confusion"].keys() == set(corpus.speakers[test])
        assert np.sum(list(row["confusion"].values())) == len(test)
    assert set(names) < set(tables.ADAPTED)
    assert not set(tables.ADAPTED) & {*tables.INDUCTIVE, *tables.TRANSDUCTIVE}


def test_a_pool_is_what_its_corpora_share(with_speech):
    corpus = corpora.load("pooled44")
    assert set(corpus.target) == {"neutral", "anger"}
    assert {who.split(":")[0] for who in corpus.speakers} == {"tiny", "other"}
    for fold, (train, test) in enumerate(corpus.splits):
        assert not set(corpus.speakers[train]) & set(corpus.speakers[test])
        who = set(corpus.speakers[test])
        assert who == {f"{name}:s0{fold}" for name in ("tiny", "other")} & set(
            corpus.speakers
        )
    X = features.extract(corpus, **features.SETS["speech-model"])
    assert len(X) == len(corpus.target) == len(corpus.speakers) == len(corpus.corpora)
    (tiny,) = (c for c in corpus.members if c.name == "tiny")
    own = features.extract(tiny, **features.SETS["speech-model"])
    shared = np.isin(tiny.target, ["neutral", "anger"])
    np.testing.assert_array_equal(X[corpus.corpora == "tiny"], own[shared])


def test_each_corpus_is_centred_on_its_training_rows(with_speech, log_mels):
    corpus = corpora.load("pooled44")
    X = features.extract(corpus, **features.SETS["speech-model"])
    train = corpus.splits[0][0]
    Z = features.centre(X, corpus.corpora, train)
    for name in ("tiny", "other"):
        rows_of = corpus.corpora == name
        seen = np.intersect1d(np.flatnonzero(rows_of), train)
        np.testing.assert_allclose(Z[seen].mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(
            Z[rows_of], X[rows_of] - X[seen].mean(axis=0), atol=1e-5
        )
    which = np.repeat(["a", "b"], [10, len(log_mels) - 10])
    sequences = features.centre(log_mels, which, np.arange(5, 20))
    mean = np.hstack(log_mels[5:10]).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(sequences[0], log_mels[0] - mean, atol=1e-3)
    with pytest.raises(ValueError, match="no training row is of the corpus 'b'"):
        features.centre(log_mels, which, np.arange(5))


@pytest.mark.slow
def test_a_pool_is_reported_apart_and_together(with_speech, monkeypatch):
    found = on_speech(with_speech, "pooled44", "lda", "lda-centred")
    assert {row["n_folds"] for row in found} == {4}
    monkeypatch.setattr(tables, "POOLS", corpora.POOLS)
    summaries = tables.summaries_of(condense.condense(found), "speech-model")
    whole = summaries["pooled44", "lda"]
    apart = [summaries[f"pooled44/{name}", "lda"] for name in ("tiny", "other")]
    assert len(whole.per_speaker) == sum(len(s.per_speaker) for s in apart) == 6
    monkeypatch.setattr("benchmarks.summaries.POOLS", corpora.POOLS)
    text = tables.pool_table(summaries, "pooled44", ["lda", "lda-centred"])
    header, _, *body = text.splitlines()
    assert header.endswith("| seeds | all of `pooled44` | `tiny` | `other` |")
    assert [line.split(" | ")[1] for line in body] == ["no", "yes"]
    assert f"{apart[0].uars.mean():.1f}" in body[0]


@pytest.mark.slow
def test_the_pool_of_the_real_corpora(real):
    corpus = corpora.load("pooled44")
    assert sorted(set(corpus.target)) == ["anger", "happiness", "neutral", "sadness"]
    assert len(np.unique(corpus.speakers)) == 44
    assert [len(np.unique(corpus.speakers[test])) for _, test in corpus.splits] == [
        3 + 2 + 6 + 1,
        3 + 2 + 6 + 1,
        2 + 1 + 6 + 1,
        2 + 1 + 6 + 1,
    ]


@pytest.fixture(scope="module")
def real():
    home = os.environ.get("SKLEARN_SER_DATA")
    if not home or not Path(home, "emodb4").is_dir():
        pytest.skip("SKLEARN_SER_DATA names no directory with the corpora")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*corpora.PROTOCOLS, *corpora.TRANSFERS[:3]])
def test_the_protocols_are_those_of_the_committed_lines(real, name):
    corpus = corpora.load(name)
    splits = [(train.tolist(), test.tolist()) for train, test in corpus.splits]
    hashes = corpora.digest(splits), corpus.manifest_hash, corpus.audio_hash
    committed = {line["data"] for line in condense.read() if line["corpus"] == name}
    assert committed == {condense.data_hash(*hashes)}
    assert corpus.protocol.hash in (ROOT / "benchmarks" / "README.md").read_text()
    for train, test in corpus.splits:
        if ":" not in name:
            assert not set(corpus.speakers[train]) & set(corpus.speakers[test])


# ------------------------------------------------------------------------ the report


def made_up(method, corpus, seed, hits, on="log-mel"):
    """Rows of a run, two speakers, where ``hits`` of 10 are right in either class."""
    return [
        {
            "corpus": corpus,
            "method": method,
            "seed": seed,
            "fold": fold,
            "n_folds": 2,
            "params": methods.own_parameters(method, on),
            "confusion": {who: [[right, 10 - right], [10 - right, right]]},
            "fit_seconds": 30.0,
            "peak_mb": 100 * fold,
        }
        for fold, (who, right) in enumerate(zip("ab", hits, strict=True), 1)
    ]


def sections(found, on="log-mel"):
    return report.sections(condense.condense(found), on)


def table(text):
    lines = [line.strip("| ").split(" | ") for line in text.splitlines()]
    return {line[0]: line[1:] for line in lines[2:]}


def test_the_report_averages_seeds_and_shows_what_is_missing():
    found = made_up("dsnet", "emodb4", 12, (6, 8)) + made_up(
        "dsnet", "emodb4", 22, (8, 8)
    )
    found += made_up("mfcc", "emodb4", None, (5, 9))
    found += made_up("dsnet", "emovo", 12, (9, 9))[:1]  # a fold is still to run
    parts, summaries = sections(found)
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
    assert against == ["+5.0", "-", "1 of 2", "preliminary"]


def test_a_summary_keeps_what_the_tables_need(tmp_path):
    first = made_up("dsnet", "emodb4", 12, (6, 8)) + made_up(
        "mfcc", "emovo", None, (5, 9)
    )
    first[1]["params"] = first[0]["params"] = first[0]["params"] | {"lr": 1.5}
    torn = made_up("dsnet", "emodb4", 22, (8, 8))[:1]
    path, results = tmp_path / "rows.jsonl", tmp_path / "summary.csv"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in first + torn))
    condense.main(path, results)
    found = condense.read(results)
    assert [(x["method"], x["setting"], x["seed"], x["uar"]) for x in found] == [
        ("dsnet", "lr=1.5", 12, 70.0),
        ("mfcc", "", None, 70.0),
    ]
    assert [x["recalls"] for x in found] == [
        "a=6/10,6/10 b=8/10,8/10",
        "a=5/10,5/10 b=9/10,9/10",
    ]
    assert found == sorted(condense.condense(first), key=lambda x: x["corpus"])
    counts = condense.confusions(found[0])
    assert {who: own.tolist() for who, own in counts.items()} == first[0][
        "confusion"
    ] | first[1]["confusion"]
    again = torn + made_up("dsnet", "emodb4", 22, (8, 8))[1:]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in again))
    condense.main(path, results)  # the rows of before are not there any more
    assert [x["seed"] for x in condense.read(results)] == [22, 12, None]


def test_a_p_value_takes_five_seeds_of_each():
    found = made_up("mfcc", "emodb4", None, (5, 7))
    for seed in range(5):
        found += made_up("dsnet", "emodb4", seed, (8, 9))
        cell = table(sections(found)[0]["comparison"])["MFCC statistics + SVM"]
        assert cell[:3] == ["+25.0", "-", "2 of 2"]
        assert (cell[3] == "preliminary") == (seed < 4)
    assert float(cell[3]) == 0.5  # two speakers cannot say more


def test_each_set_of_features_has_tables_of_its_own():
    found = made_up("dsnet", "ravdess", 12, (6, 8))
    found += made_up("dsnet", "ravdess", 12, (8, 8), "speech-model")
    found += made_up("lda", "ravdess", None, (7, 7), "speech-model")
    parts, _ = sections(found)
    of_speech, _ = sections(found, "speech-model")
    assert table(parts["uar"])["DSNet"][3].startswith("70.0")
    shown = table(of_speech["uar speech-model"])
    assert shown["DSNet"][3].startswith("80.0")
    assert shown["shrinkage LDA"][:2] == ["-", "missing"]
    assert "shrinkage LDA" not in table(parts["uar"])
    against = table(of_speech["comparison speech-model"])["shrinkage LDA"]
    assert against == ["+10.0", "+10.0", "2 of 2", "preliminary"]
    for text in (parts["uar"], of_speech["uar speech-model"]):
        assert "| `emodb4`† | `emovo`† | `ravdess` | `casia` |" in text


def test_rows_at_other_parameters_stand_apart():
    found = made_up("dsnet", "emodb4", 12, (6, 8))
    for row in found:
        row["params"]["max_epochs"] = 7
    parts, _ = sections(found)
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
    found = condense.condense(found)
    points = tables.tradeoff(found, "log-mel")
    lines = tables.tradeoff_table(points).splitlines()[2:]
    assert [line.split(" | ")[:2] for line in lines] == [
        ["| DAT", "0.3"],
        ["| MEnAN", "0.1"],
        ["| MEnAN", "0.7"],
        ["| plain net", "0"],
    ]
    assert "| 70.0 / 32.0 |" in lines[2]
    assert tables.settings_table(found, "log-mel") == "None yet."
    assert not tables.tradeoff(found, "speech-model")
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


@pytest.mark.slow
def test_the_readmes_show_the_committed_summary(capsys):
    assert report.main(["--check"]) == 0
    assert capsys.readouterr().out == "up to date\n"


def test_the_front_page_shows_both_features_and_chance(tmp_path):
    summaries = {}
    for name in ("log-mel", "speech-model"):
        found = made_up("dsnet", "emodb4", 12, (6, 8), name)
        summaries[name] = sections(found, name)[1]
    lines = tables.front_table(summaries).splitlines()
    assert [line.split(" | ")[:3] for line in lines[2:]] == [
        ["| chance", "-", "50.0"],
        ["| log-mels + DSNet", "1", "70.0"],
        ["| Whisper base + DSNet", "1", "70.0"],
    ]
    report.front_figure(summaries, tmp_path / "front.svg")
    assert (tmp_path / "front.svg").stat().st_size > 1000


def test_the_figure_is_drawn(tmp_path):
    _, summaries = sections(made_up("dsnet", "emodb4", 12, (6, 8)))
    report.figure(summaries, tmp_path / "uar.svg")
    assert "<svg" in (tmp_path / "uar.svg").read_text()


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
    own = {"target": y, "speakers": rows // 32, "frame": {"text_id": texts}}
    monkeypatch.setattr(leaks, "load", lambda name: Bunch(protocol=None, **own))
    monkeypatch.setattr(leaks, "extract", lambda corpus, **options: X)
    monkeypatch.setattr(leaks, "N_FOLDS", 3)
    monkeypatch.setattr(leaks, "MODELS", {"LDA": leaks.FastLDA()})
    ((*told, at_random, heard, control, unheard),) = leaks.rows_of("tiny")
    assert told == ["tiny", 3, 4, "LDA"]
    assert min(map(float, (at_random, heard, control))) > 85 > float(unheard) + 15
    fast, slow = leaks.FastLDA().fit(X, y), EqualPriorsLDA().fit(X, y)
    assert fast.predict(X).tolist() == slow.predict(X).tolist()
