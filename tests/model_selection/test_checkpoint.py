"""An evaluation that is interrupted goes on where it was, with the same result."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_ser import (
    DSNetClassifier,
    LogMelTransformer,
    SpeakerNormalizer,
    SpeechModelTransformer,
)
from sklearn_ser.cli import main
from sklearn_ser.datasets import Protocol, make_emotional_speech
from sklearn_ser.model_selection import cross_corpus_validate, speaker_cross_validate
from sklearn_ser.nn.progress import listening, report


class Fragile(ClassifierMixin, BaseEstimator):
    """A linear classifier that a test can interrupt; it counts its fits."""

    fits: ClassVar = []
    fail_at: ClassVar = None

    def __init__(self, loss="log_loss", random_state=0):
        self.loss = loss
        self.random_state = random_state

    def fit(self, X, y):
        if len(self.fits) == self.fail_at:
            raise KeyboardInterrupt
        self.fits.append(len(y))
        model = SGDClassifier(
            loss=self.loss, random_state=self.random_state, max_iter=20, tol=None
        )
        self.model_ = model.fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return self.model_.predict(X)

    def predict_proba(self, X):
        return self.model_.predict_proba(X)


@pytest.fixture(autouse=True)
def nothing_fitted(monkeypatch):
    monkeypatch.setattr(Fragile, "fits", [])
    monkeypatch.setattr(Fragile, "fail_at", None)


CORPORA = np.array(list("abc"))[np.arange(30) // 3 % 3]


@pytest.fixture
def data():
    """Thirty rows of five speakers."""
    rng = np.random.default_rng(0)
    y = np.array(["anger", "sadness", "joy"])[np.arange(30) % 3]
    X = rng.normal(size=(30, 4)) + (y == "joy")[:, None]
    return X, y, np.repeat([f"s{i}" for i in range(5)], 6)


def bits(result):
    """Everything in a result but the seconds."""
    parts = "folds" if hasattr(result, "folds") else "transfers"
    timeless = [p._replace(fit_time=0, score_time=0) for p in getattr(result, parts)]
    values = vars(result) | {parts: timeless}
    return {name: repr_of(value) for name, value in values.items()}


def repr_of(value):
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, list | tuple):
        return [repr_of(each) for each in value]
    return repr(value)


def within(data, estimator=None, **options):
    model = Fragile() if estimator is None else estimator
    return speaker_cross_validate(model, *data, **{"n_bootstrap": 50} | options)


def across(data, estimator=None, **options):
    X, y, speakers = data
    model = Fragile() if estimator is None else estimator
    options = {"n_bootstrap": 50} | options
    return cross_corpus_validate(model, X, y, CORPORA, speakers, **options)


def test_an_interrupt_before_the_first_job_stays_one(data, monkeypatch):
    def interrupted(**options):
        raise KeyboardInterrupt

    monkeypatch.setattr("sklearn_ser.model_selection._resume.tqdm", interrupted)
    with pytest.raises(KeyboardInterrupt):
        speaker_cross_validate(Fragile(), *data)


@pytest.mark.parametrize("evaluate", [within, across])
def test_finished_parts_are_taken_and_the_rest_computed(data, tmp_path, evaluate):
    whole = evaluate(data)
    n_parts = len(Fragile.fits)
    Fragile.fits.clear()
    Fragile.fail_at = 3
    folder = tmp_path / "new" / "one"
    with pytest.raises(KeyboardInterrupt):
        evaluate(data, checkpoint_dir=folder)
    assert len(list(folder.iterdir())) == 3
    Fragile.fits.clear()
    Fragile.fail_at = None
    for options in ({}, {"n_jobs": 2}):
        resumed = evaluate(data, checkpoint_dir=folder, **options)
        assert len(Fragile.fits) == n_parts - 3
        assert bits(resumed) == bits(whole)
    for path in folder.iterdir():
        with np.load(path, allow_pickle=False) as arrays:
            assert all(arrays[name].dtype.kind in "iufU" for name in arrays)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_a_damaged_fold_is_computed_again(data, tmp_path, damage):
    whole = within(data, checkpoint_dir=tmp_path)
    path = min(tmp_path.iterdir())
    content = bytearray(path.read_bytes())
    content[content.index(b"\n", content.index(b"NUMPY")) + 1] ^= 255  # of an array
    damaged = {"cut": content[:200], "flip": content, "empty": b"", "other": b"{}"}
    path.write_bytes(damaged[damage])
    Fragile.fits.clear()
    assert bits(within(data, checkpoint_dir=tmp_path)) == bits(whole)
    assert len(Fragile.fits) == 1


@pytest.mark.parametrize("enrollment", [1, "all"])
def test_an_evaluation_with_enrolment_goes_on(data, tmp_path, enrollment):
    model = make_pipeline(SpeakerNormalizer(), Fragile())
    asked = {"enrollment": enrollment, "n_draws": 2}
    whole = within(data, model, **asked)
    within(data, model, **asked, checkpoint_dir=tmp_path)
    min(tmp_path.iterdir()).unlink()
    Fragile.fits.clear()
    resumed = within(data, model, **asked, checkpoint_dir=tmp_path)
    assert len(Fragile.fits) == 1
    assert bits(resumed) == bits(whole)
    n_draws = {1: 2, "all": 1}[enrollment]
    assert all(len(fold.enrolled) == n_draws for fold in resumed.folds)
    Fragile.fits.clear()
    within(data, model, enrollment=2, checkpoint_dir=tmp_path)
    assert len(Fragile.fits) == 5


def test_labels_of_each_transfer_are_kept(data, tmp_path):
    X, y, speakers = data
    y = np.where((CORPORA == "b") & (y == "joy"), "fear", y)  # no joy in b
    whole = across((X, y, speakers))
    for _ in range(2):
        kept = across((X, y, speakers), checkpoint_dir=tmp_path)
        assert bits(kept) == bits(whole)
    assert {len(transfer.classes) for transfer in whole.transfers} == {2, 3}


# --- what counts --------------------------------------------------------------------


def n_fits(evaluate):
    Fragile.fits.clear()
    evaluate()
    return len(Fragile.fits)


def changed_row(data):
    X = data[0].copy()
    X[3, 2] = np.nextafter(X[3, 2], 9)
    return X, *data[1:]


@pytest.mark.parametrize("evaluate", [within, across])
@pytest.mark.parametrize(
    "change",
    [
        {"estimator": Fragile(loss="modified_huber")},
        {"estimator": Fragile(random_state=1)},
        {"data": changed_row},
        {"data": lambda d: (d[0], np.roll(d[1], 1), d[2])},
        {"data": lambda d: (*d[:2], np.char.upper(d[2]))},
    ],
)
def test_another_evaluation_has_parts_of_its_own(data, tmp_path, change, evaluate):
    whole = evaluate(data, checkpoint_dir=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    n_parts = len(Fragile.fits)
    changed = change.get("data", lambda same: same)(data)
    run = lambda: evaluate(  # noqa: E731
        changed, change.get("estimator"), checkpoint_dir=tmp_path
    )
    assert n_fits(run) == n_parts
    assert len(list(tmp_path.iterdir())) == 2 * n_parts
    assert (
        before.items() <= {p.name: p.read_bytes() for p in tmp_path.iterdir()}.items()
    )
    assert n_fits(run) == 0
    assert bits(evaluate(data, checkpoint_dir=tmp_path)) == bits(whole)


def test_other_options_of_an_evaluation_count_by_their_rows(data, tmp_path):
    kept = {"checkpoint_dir": tmp_path}
    within(data, **kept)
    assert n_fits(lambda: within(data, cv=2, **kept)) == 2
    texts = np.arange(30) // 3 % 2
    assert n_fits(lambda: within(data, texts=texts, **kept)) == 15
    assert n_fits(lambda: within(data, texts=texts, control=True, **kept)) == 10
    across(data, **kept)
    assert n_fits(lambda: across(data, transfers=[("a", "b")], **kept)) == 0
    assert n_fits(lambda: across(data, transfers="leave_one_out", **kept)) == 3


@pytest.mark.parametrize(
    "options",
    [
        {"n_bootstrap": 10, "confidence_level": 0.5},
        {"random_state": 7},
        {"random_state": np.random.RandomState(0)},
        {"n_jobs": 1, "verbose": 0},
    ],
)
def test_what_changes_no_fold_may_change(data, tmp_path, options):
    within(data, checkpoint_dir=tmp_path)
    assert n_fits(lambda: within(data, checkpoint_dir=tmp_path, **options)) == 0


def scaled_by(factor):
    return FunctionTransformer(lambda X: factor * X)


def encoder(sign):
    class Encoder(StandardScaler):
        def transform(self, X):
            return sign * super().transform(X)

    return Encoder


class Front(BaseEstimator, TransformerMixin):
    def __init__(self, kind, cache_dir=None, model=None, n_jobs=None):
        self.kind = kind
        self.cache_dir = cache_dir
        self.model = model
        self.n_jobs = n_jobs

    def fit(self, X, y=None):
        self.front_ = self.kind().fit(X)
        return self

    def transform(self, X):
        return self.front_.transform(X)


def search(values, **params):
    return GridSearchCV(Fragile(), {"random_state": values}, cv=2, **params)


@pytest.mark.parametrize(
    ("make", "same", "other"),
    [
        (lambda f: FunctionTransformer(f), lambda X: X, lambda X: -X),
        (lambda f: FunctionTransformer(f), lambda X: X, lambda X: X[:, [1, 0, 2]]),
        (lambda f: FunctionTransformer(partial(f)), lambda X: X, lambda X: 0 * X),
        (scaled_by, 2, 3),
        (lambda sign: Front(encoder(sign)), 1, -1),
        (lambda rng: Front(StandardScaler, model=rng), np.random.default_rng(0), 1),
    ],
)
def test_parameters_count_by_what_they_do(data, tmp_path, make, same, other):
    run = lambda value: within(  # noqa: E731
        data, make_pipeline(make(value), Fragile()), checkpoint_dir=tmp_path
    )
    whole = run(same)
    assert n_fits(lambda: run(other)) == 5
    assert n_fits(lambda: run(same)) == 0
    assert bits(run(same)) == bits(whole)


def test_a_search_counts_by_its_grid(data, tmp_path):
    run = lambda model: within(data, model, checkpoint_dir=tmp_path)  # noqa: E731
    assert n_fits(lambda: run(search([0, 1]))) == 25
    assert n_fits(lambda: run(search([0, 1], n_jobs=1, verbose=0))) == 0
    assert n_fits(lambda: run(search([0, 2]))) == 25


@pytest.mark.parametrize("evaluate", [within, across])
def test_a_scorer_may_hold_a_lambda(data, evaluate):
    scorer = make_scorer(lambda y, found: np.mean(y == found))
    settings = evaluate(data, search([0], scoring=scorer)).settings
    assert " at 0x" not in json.dumps(settings)


@pytest.mark.parametrize(
    "kind", [list, sparse.csr_matrix, pd.DataFrame, lambda X: X.astype(object)]
)
def test_kinds_of_X(data, tmp_path, kind):
    X, *columns = data
    run = lambda: within((kind(X), *columns), checkpoint_dir=tmp_path)  # noqa: E731
    assert [n_fits(run), n_fits(run)] == [5, 0]
    X[7, 1] += 1
    assert n_fits(run) == 5


def test_recordings_count_by_their_content(paths, corpus, tmp_path):
    class Lengths(Fragile):
        def fit(self, X, y):
            return super().fit([[len(str(path))] for path in X], y)

        def predict(self, X):
            return super().predict([[len(str(path))] for path in X])

        def predict_proba(self, X):
            return super().predict_proba([[len(str(path))] for path in X])

    moved = [str(tmp_path / f"{i}.wav") for i in range(len(paths))]
    for path, copy in zip(paths, moved, strict=True):
        shutil.copy(path, copy)
    rest, kept = (corpus.y, corpus.speakers), {"checkpoint_dir": tmp_path / "folds"}
    assert n_fits(lambda: within((paths, *rest), Lengths(), **kept)) == 4
    assert n_fits(lambda: within((moved, *rest), Lengths(), **kept)) == 0
    with open(moved[3], "ab") as file:
        file.write(b"\0")
    assert n_fits(lambda: within((moved, *rest), Lengths(), **kept)) == 4


@pytest.mark.parametrize("where", ["step", "front end", "grid"])
def test_a_model_counts_by_the_content_of_its_folder(
    data, tmp_path, tiny_speech_model, where
):
    """Not by its name, and not by what a cache or a number of jobs is."""
    folders = [tmp_path / name for name in ("one", "other name")]
    for folder in folders:
        shutil.copytree(tiny_speech_model, folder)

    class Skip(SpeechModelTransformer):
        def transform(self, X):
            return X

    def run(folder, **params):
        options = {"checkpoint_dir": tmp_path / "kept"}
        front = Skip(str(folder), **params)
        if where == "front end":
            return within(data, front_end=front, **options)
        if where == "step":
            return within(data, make_pipeline(front, Fragile()), **options)
        grid = {"front": [Front(StandardScaler, model=str(folder)), front]}
        steps = Pipeline([("front", "passthrough"), ("last", Fragile())])
        return within(data, GridSearchCV(steps, grid, cv=2), **options)

    assert n_fits(lambda: run(folders[0])) > 0
    params = {"cache_dir": tmp_path / "c", "n_jobs": 1, "local_files_only": True}
    assert n_fits(lambda: run(folders[1], **params)) == 0
    assert n_fits(lambda: run(folders[1], layer="last")) > 0
    weights = folders[1] / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert n_fits(lambda: run(folders[1])) > 0


@pytest.mark.parametrize("package", ["soundfile", "soxr", "transformers", "opensmile"])
def test_versions_count(data, tmp_path, monkeypatch, package):
    from sklearn_ser.model_selection import _resume

    run = lambda: within(data, checkpoint_dir=tmp_path)  # noqa: E731
    run()
    real = _resume.version
    new = lambda name: "99" if name == package else real(name)  # noqa: E731
    monkeypatch.setattr(_resume, "version", new)
    assert n_fits(run) == 5


def test_settings_are_enough_to_run_it_again_and_have_no_folder(
    data, tmp_path, tiny_speech_model
):
    front = SpeechModelTransformer(
        str(tiny_speech_model), layer=1, cache_dir=str(tmp_path)
    ).fit([np.zeros(99)])
    result = within(data, front_end=front, random_state=3)
    settings = result.settings
    assert settings["estimator.loss"] == "'log_loss'"
    assert settings["front_end.model"] == "'tiny'"
    assert settings["front_end.layer"] == "1"
    assert settings["front_end.weights_hash"] == repr(front.weights_hash_)
    assert settings["random_state"] == "3"
    assert settings["cv"] == "LeaveOneGroupOut()"
    assert settings["version of numpy"] == np.__version__
    assert "version of transformers" in settings
    assert all(isinstance(value, str) for value in settings.values())
    log_mels = within(data, front_end=LogMelTransformer(n_mels=24)).settings
    assert log_mels["front_end.n_mels"] == "24"
    paths = np.array([str(tmp_path / "deep" / f"{i}.wav") for i in range(30)])
    result.save(tmp_path / "out", by={"file": paths})
    for path in (tmp_path / "out").iterdir():
        assert str(tmp_path) not in path.read_text()
    assert "7.wav" in (tmp_path / "out" / "predictions.csv").read_text()


def test_validation_rows_count(data, tmp_path):
    names, folds = [str(i) for i in range(30)], np.arange(30) // 6

    def run(rows):
        validation = [rows] + [range(6)] * 4
        protocol = Protocol("mine", names, data[1], folds, validation=validation)
        within(data, cv=protocol, checkpoint_dir=tmp_path)

    assert n_fits(lambda: run(range(6, 12))) == 5
    assert n_fits(lambda: run(range(12, 18))) == 1


@pytest.mark.parametrize("evaluate", [within, across])
def test_models_are_not_kept(data, tmp_path, evaluate):
    with pytest.raises(ValueError, match="cannot be combined, because"):
        evaluate(data, checkpoint_dir=tmp_path, return_estimator=True)


def test_the_losses_of_each_epoch_are_kept(log_mels, corpus, tmp_path):
    model = DSNetClassifier(encoder="conv", max_epochs=2, random_state=0)
    for _ in range(2):
        result = speaker_cross_validate(
            model, log_mels, corpus.y, corpus.speakers, cv=2, checkpoint_dir=tmp_path
        )
        for fold in result.folds:
            assert [epoch["epoch"] for epoch in fold.history] == [1, 2]
            assert all(np.isfinite(epoch["train_loss"]) for epoch in fold.history)


def test_a_bar_moves_within_a_fold(log_mels, corpus, capsys):
    told = []
    model = DSNetClassifier(encoder="conv", max_epochs=3, batch_size=8, random_state=0)
    with listening(told.append):
        model.fit(log_mels, corpus.y, speakers=corpus.speakers)
    n_batches = sum(len(epoch["batches"]) for epoch in model.history_)
    assert told == sorted(told)
    assert len(told) == n_batches > 3
    assert 0 <= told[0] < told[-1] <= 1

    class Half(DummyClassifier):
        def fit(self, X, y):
            time.sleep(0.15)  # a bar is drawn ten times a second at most
            report(0.5)
            return super().fit(X, y)

    data = np.zeros((24, 1)), corpus.y, corpus.speakers
    speaker_cross_validate(Half(), *data, cv=2, verbose=1, n_bootstrap=0)
    shown = re.findall(
        r"([\d.]+)/2 folds \[\d\d:\d\d<([\d:?]+)", capsys.readouterr().err
    )
    assert [number for number, _ in shown][:3] == ["0", "0.5", "1.5"]
    assert shown[1][1] != "?"  # an estimate before the first fold is over


def evaluated(folder=None):
    """Return an evaluation of six folds; a process of the test below runs it, too."""
    corpus = make_emotional_speech(n_speakers=6, n_utterances=3, random_state=0)
    X = LogMelTransformer(n_mels=24).transform(corpus.data)
    model = DSNetClassifier(max_epochs=4, random_state=0)
    return speaker_cross_validate(
        model, X, corpus.target, corpus.speakers, checkpoint_dir=folder
    )


EVALUATES = """
import sys
from test_checkpoint import evaluated
evaluated(sys.argv[1])
"""
COMMAND = "import sys; from sklearn_ser.cli import main; sys.exit(main(sys.argv[1:]))"


def run(program, *args):
    command = [sys.executable, "-c", program, *map(str, args)]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), *sys.path]))
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})


def kill_after(folder, n_files, process):
    """Kill a process as soon as some files are there."""
    deadline = time.monotonic() + 300
    while len(list(folder.glob("*.npz"))) < n_files and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_a_killed_process_is_resumed_to_the_bit(tmp_path):
    kill_after(tmp_path, 2, run(EVALUATES, tmp_path))
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("fold-*.npz")}
    assert 2 <= len(kept) < 6
    assert bits(evaluated(tmp_path)) == bits(evaluated())
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert len(list(tmp_path.glob("fold-*.npz"))) == 6


@pytest.mark.slow
def test_a_killed_command_goes_on_with_its_transfer(tmp_path, write_corpus, capsys):
    tables = []
    for i, option in enumerate(("--manifest", "--target")):
        (tmp_path / option).mkdir()
        table = tmp_path / option / "corpus.csv"
        write_corpus(table, n_speakers=2, n_utterances=2, random_state=i)
        tables += [option, table]
    words = ["evaluate", "--epochs", 3, "--namesakes", *tables, "--out"]
    assert main([str(word) for word in (*words, tmp_path / "whole")]) == 0
    out = tmp_path / "out"
    kill_after(out / "transfers", 1, run(COMMAND, *words, out))
    (kept,) = (out / "transfers").iterdir()
    assert not (out / "report.html").exists()
    written = kept.stat().st_mtime_ns
    goes_on = "evaluate", "--resume", out, *tables  # the command kept their names only
    assert main([str(word) for word in goes_on]) == 0
    assert f"Written to {out}" in capsys.readouterr().out
    assert kept.stat().st_mtime_ns == written
    name = "predictions.csv"
    assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
