"""An evaluation that is interrupted goes on where it was, with the same result."""

import json
import os
import re
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
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn_ser.model_selection._evaluation import run_jobs

from sklearn_ser import DSNetClassifier, SpeakerNormalizer
from sklearn_ser._progress import listening, report
from sklearn_ser.datasets import Protocol
from sklearn_ser.model_selection import cross_corpus_validate, speaker_cross_validate


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


def test_finished_folds_are_taken_and_the_rest_computed(data, tmp_path):
    whole = speaker_cross_validate(Fragile(), *data)
    Fragile.fits.clear()
    Fragile.fail_at = 3
    with pytest.raises(KeyboardInterrupt):
        speaker_cross_validate(Fragile(), *data, checkpoint_dir=tmp_path)
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"settings.json", *(f"fold-000{i}.npz" for i in (1, 2, 3))}
    Fragile.fits.clear()
    Fragile.fail_at = None
    resumed = speaker_cross_validate(Fragile(), *data, checkpoint_dir=tmp_path)
    assert len(Fragile.fits) == 2
    assert bits(resumed) == bits(whole)
    again = speaker_cross_validate(Fragile(), *data, checkpoint_dir=tmp_path, n_jobs=2)
    assert len(Fragile.fits) == 2
    assert bits(again) == bits(whole)


def test_nothing_is_pickled_and_settings_are_text(data, tmp_path):
    speaker_cross_validate(Fragile(), *data, checkpoint_dir=tmp_path / "new" / "one")
    (folder,) = tmp_path.glob("new/one")
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["estimator.loss"] == "'log_loss'"
    assert settings["version of numpy"] == np.__version__
    assert all(isinstance(value, str) for value in settings.values())
    for path in folder.glob("*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            assert all(arrays[name].dtype.kind in "iufU" for name in arrays)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_a_damaged_fold_is_computed_again(data, tmp_path, damage):
    whole = speaker_cross_validate(Fragile(), *data, checkpoint_dir=tmp_path)
    path = tmp_path / "fold-0002.npz"
    content = bytearray(path.read_bytes())
    content[content.index(b"\n", content.index(b"NUMPY")) + 1] ^= 255  # of an array
    first = (tmp_path / "settings.json").read_bytes()
    damaged = {"cut": content[:200], "flip": content, "empty": b"", "other": first}
    path.write_bytes(damaged[damage])
    Fragile.fits.clear()
    resumed = speaker_cross_validate(Fragile(), *data, checkpoint_dir=tmp_path)
    assert len(Fragile.fits) == 1
    assert bits(resumed) == bits(whole)


@pytest.mark.parametrize("enrollment", [1, "all"])
def test_an_evaluation_with_enrolment_goes_on(data, tmp_path, enrollment):
    model = make_pipeline(SpeakerNormalizer(), Fragile())
    asked = {"enrollment": enrollment, "n_draws": 2}
    whole = speaker_cross_validate(model, *data, **asked)
    speaker_cross_validate(model, *data, **asked, checkpoint_dir=tmp_path)
    (tmp_path / "fold-0002.npz").unlink()
    Fragile.fits.clear()
    resumed = speaker_cross_validate(model, *data, **asked, checkpoint_dir=tmp_path)
    assert len(Fragile.fits) == 1
    assert bits(resumed) == bits(whole)
    assert all(
        len(fold.enrolled) == (1 if enrollment == "all" else 2)
        for fold in resumed.folds
    )
    for other in ({}, {**asked, "n_draws": 3}):
        with pytest.raises(ValueError, match="another evaluation: enrollment is"):
            speaker_cross_validate(model, *data, **other, checkpoint_dir=tmp_path)


CORPORA = np.array(list("abc"))[np.arange(30) // 3 % 3]


def across(data, estimator=None, **options):
    X, y, speakers = data
    model = Fragile() if estimator is None else estimator
    return cross_corpus_validate(model, X, y, CORPORA, speakers, **options)


def test_finished_transfers_are_taken_and_the_rest_computed(data, tmp_path):
    whole = across(data)
    Fragile.fits.clear()
    Fragile.fail_at = 4
    with pytest.raises(KeyboardInterrupt):
        across(data, checkpoint_dir=tmp_path)
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"settings.json", *(f"transfer-000{i}.npz" for i in range(1, 5))}
    Fragile.fail_at = None
    (tmp_path / "transfer-0002.npz").write_bytes(b"damaged")
    Fragile.fits.clear()
    resumed = across(data, checkpoint_dir=tmp_path)
    assert len(Fragile.fits) == 3
    assert bits(resumed) == bits(whole)
    again = across(data, checkpoint_dir=tmp_path, n_jobs=2, n_bootstrap=2000)
    assert len(Fragile.fits) == 3
    assert bits(again) == bits(whole)
    assert [t.fit_time for t in again.transfers] == [
        t.fit_time for t in resumed.transfers
    ]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mode": "inductive"}, "mode is inductive, but was transductive"),
        ({"transfers": [("a", "b")]}, r"transfers is \[\(\('a',\), 'b'\)\], but was"),
        ({"estimator": Fragile(random_state=1)}, "random_state is 1, but was 0"),
        ({"random_state": 7}, "random_state is 7, but was 0"),
    ],
)
def test_other_transfers_are_refused_by_name(data, tmp_path, change, named):
    across(data, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=f"holds transfers of another .*{named}"):
        across(data, checkpoint_dir=tmp_path, **change)
    with pytest.raises(ValueError, match="holds transfers of another"):
        across((data[0] + 1, *data[1:]), checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=r"holds .* of another evaluation"):
        speaker_cross_validate(Fragile(), *data, checkpoint_dir=tmp_path)


def test_labels_of_each_transfer_are_kept(data, tmp_path):
    X, y, speakers = data
    y = np.where((CORPORA == "b") & (y == "joy"), "fear", y)  # no joy in b
    whole = across((X, y, speakers))
    for _ in range(2):
        kept = across((X, y, speakers), checkpoint_dir=tmp_path)
        assert bits(kept) == bits(whole)
    assert {len(transfer.classes) for transfer in whole.transfers} == {2, 3}


def changed_row(data):
    X = data[0].copy()
    X[3, 2] = np.nextafter(X[3, 2], 9)
    return X, *data[1:]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"estimator": Fragile(loss="modified_huber")},
            "estimator.loss is 'modified_huber', bu",
        ),
        (
            {"estimator": Fragile(random_state=1)},
            "estimator.random_state is 1, but was 0",
        ),
        ({"estimator": SGDClassifier()}, "another evaluation: "),
        ({"cv": 2}, ": cv is GroupKFold, but was LeaveOneGroupOut"),
        ({"random_state": 5}, ": random_state is 5, but was 0"),
        ({"data": changed_row}, "X is "),
        ({"data": lambda d: (d[0], np.roll(d[1], 1), d[2])}, "y is "),
        ({"data": lambda d: (*d[:2], np.char.upper(d[2]))}, "speakers is "),
        ({"fit_params": {"sample_weight": np.ones(30)}}, "fit_params sample_weight is"),
    ],
)
def test_another_setting_is_refused_by_name(data, tmp_path, change, named):
    groups = np.arange(30) // 6
    options = {"groups": groups, "checkpoint_dir": tmp_path}
    speaker_cross_validate(Fragile(), *data, **options)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    change = dict(change)
    estimator = change.pop("estimator", Fragile())
    data = change.pop("data", lambda same: same)(data)
    with pytest.raises(ValueError, match="holds folds of another") as caught:
        speaker_cross_validate(estimator, *data, **options, **change)
    assert named in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def scaled_by(factor):
    return make_pipeline(FunctionTransformer(lambda X: factor * X), Fragile())


@pytest.mark.parametrize("wrap", [lambda f: f, partial], ids=["function", "partial"])
def test_functions_count_by_what_they_do(data, tmp_path, wrap):
    run = lambda f: speaker_cross_validate(  # noqa: E731
        make_pipeline(FunctionTransformer(wrap(f)), Fragile()),
        *data,
        checkpoint_dir=tmp_path,
    )
    whole = run(lambda X: X)
    for other in (lambda X: 0 * X, lambda X: -X, lambda X: X[:, [1, 0, 2]]):
        with pytest.raises(ValueError, match=r"estimator\.functiontransformer\w* is"):
            run(other)
    Fragile.fits.clear()
    assert bits(run(lambda X: X)) == bits(whole)
    assert not Fragile.fits


def test_values_that_a_function_holds_count(data, tmp_path):
    speaker_cross_validate(scaled_by(2), *data, checkpoint_dir=tmp_path)
    speaker_cross_validate(scaled_by(2), *data, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=r"estimator\.functiontransformer\w* is"):
        speaker_cross_validate(scaled_by(3), *data, checkpoint_dir=tmp_path)


def test_a_class_counts_by_its_methods(data, tmp_path):
    def encoder(sign):
        class Encoder(StandardScaler):
            def transform(self, X):
                return sign * super().transform(X)

        return Encoder

    class Front(BaseEstimator, TransformerMixin):
        def __init__(self, kind):
            self.kind = kind

        def fit(self, X, y=None):
            self.front_ = self.kind().fit(X)
            return self

        def transform(self, X):
            return self.front_.transform(X)

    run = lambda sign: speaker_cross_validate(  # noqa: E731
        make_pipeline(Front(encoder(sign)), Fragile()), *data, checkpoint_dir=tmp_path
    )
    assert bits(run(1)) == bits(run(1))
    with pytest.raises(ValueError, match=r"estimator\.front\w* is"):
        run(-1)


@pytest.mark.parametrize("evaluate", [speaker_cross_validate, cross_corpus_validate])
def test_a_scorer_may_hold_a_lambda(data, evaluate):
    scorer = make_scorer(lambda y, found: np.mean(y == found))
    grid = {"loss": ["log_loss", "modified_huber"]}
    search = GridSearchCV(Fragile(), grid, scoring=scorer, cv=2)
    X, y, speakers = data
    columns = (speakers,) if evaluate is speaker_cross_validate else (CORPORA, speakers)
    settings = evaluate(search, X, y, *columns).settings
    assert " at 0x" not in json.dumps(settings)


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_a_generator_counts_by_its_state(data, tmp_path, make):
    for folder, evaluate in (
        (tmp_path / "a", lambda **o: speaker_cross_validate(Fragile(), *data, **o)),
        (tmp_path / "b", lambda **o: across(data, **o)),
    ):
        for _ in range(2):
            evaluate(checkpoint_dir=folder, random_state=make(0))
        with pytest.raises(ValueError, match="random_state is"):
            evaluate(checkpoint_dir=folder, random_state=make(1))


def test_what_changes_no_fold_may_change(data, tmp_path):
    speaker_cross_validate(Fragile(), *data, checkpoint_dir=tmp_path)
    Fragile.fits.clear()
    result = speaker_cross_validate(
        Fragile(), *data, checkpoint_dir=tmp_path, n_bootstrap=10, confidence_level=0.5
    )
    assert not Fragile.fits
    assert result.confidence_level == 0.5


def test_the_parameter_of_a_step_is_named(data, tmp_path):
    def search(values):
        model = make_pipeline(StandardScaler(), SGDClassifier(random_state=0))
        grid = {"sgdclassifier__alpha": values}
        return GridSearchCV(model, grid, cv=GroupKFold(2))

    speaker_cross_validate(search([0.1, 1.0]), *data, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=r"param_grid is .*2\.0.*, but was .*1\.0"):
        speaker_cross_validate(search([0.1, 2.0]), *data, checkpoint_dir=tmp_path)
    other = search([0.1, 1.0]).set_params(estimator__standardscaler__with_std=False)
    with pytest.raises(ValueError, match="standardscaler__with_std is False"):
        speaker_cross_validate(other, *data, checkpoint_dir=tmp_path)


@pytest.mark.parametrize(
    "kind", [list, sparse.csr_matrix, pd.DataFrame, lambda X: X.astype(object)]
)
def test_kinds_of_X(data, tmp_path, kind):
    X, *columns = data
    for _ in range(2):
        speaker_cross_validate(Fragile(), kind(X), *columns, checkpoint_dir=tmp_path)
    assert len(Fragile.fits) == 5
    X[7, 1] += 1
    with pytest.raises(ValueError, match="X is "):
        speaker_cross_validate(Fragile(), kind(X), *columns, checkpoint_dir=tmp_path)


def test_recordings_count_by_their_content(paths, corpus, tmp_path):
    class Lengths(Fragile):
        def fit(self, X, y):
            return super().fit([[len(str(path))] for path in X], y)

        def predict(self, X):
            return super().predict([[len(str(path))] for path in X])

        def predict_proba(self, X):
            return super().predict_proba([[len(str(path))] for path in X])

    for i, path in enumerate(paths):
        with open(path, "rb") as file:
            (tmp_path / f"{i}.wav").write_bytes(file.read())
    moved = [str(tmp_path / f"{i}.wav") for i in range(len(paths))]
    folder = tmp_path / "folds"
    rest = corpus.y, corpus.speakers
    speaker_cross_validate(Lengths(), paths, *rest, checkpoint_dir=folder)
    speaker_cross_validate(Lengths(), moved, *rest, checkpoint_dir=folder)
    assert len(Fragile.fits) == 4
    with open(moved[3], "ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match="X is "):
        speaker_cross_validate(Lengths(), moved, *rest, checkpoint_dir=folder)


def test_validation_rows_count(data, tmp_path):
    names = [str(i) for i in range(30)]
    folds = np.arange(30) // 6
    for rows in (range(6, 12), range(12, 18)):
        validation = [rows] + [range(6)] * 4
        protocol = Protocol("mine", names, data[1], folds, validation=validation)
        if rows.start == 6:
            speaker_cross_validate(
                Fragile(), *data, cv=protocol, checkpoint_dir=tmp_path
            )
    with pytest.raises(ValueError, match=r"(cv|fold rows) is "):
        speaker_cross_validate(Fragile(), *data, cv=protocol, checkpoint_dir=tmp_path)


def test_models_are_not_kept(data, tmp_path):
    with pytest.raises(ValueError, match="cannot be combined, because"):
        speaker_cross_validate(
            Fragile(), *data, checkpoint_dir=tmp_path, return_estimator=True
        )
    with pytest.raises(ValueError, match="cannot be combined, because"):
        across(data, checkpoint_dir=tmp_path, return_estimator=True)


def test_damaged_settings_are_named(data, tmp_path):
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(ValueError, match=r"settings\.json' is damaged"):
        speaker_cross_validate(Fragile(), *data, checkpoint_dir=tmp_path)


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

    def half(number):
        time.sleep(0.2)  # a bar is drawn ten times a second at most
        report(0.5)
        return number, None

    next(run_jobs(half, [(1,), (2,)], 2, "fold", None, 1))
    shown = re.findall(
        r"([\d.]+)/2 folds \[\d\d:\d\d<([\d:?]+)", capsys.readouterr().err
    )
    assert [number for number, _ in shown][:3] == ["0", "0.5", "1.5"]
    assert shown[1][1] != "?"  # an estimate before the first fold is over


PROGRAM = """
import sys
import numpy as np
from sklearn_ser import DSNetClassifier, LogMelTransformer
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.model_selection import cross_corpus_validate, speaker_cross_validate

what, folder, tests = sys.argv[1:]
sys.path.append(tests)
from test_checkpoint import bits

corpus = make_emotional_speech(n_speakers=6, n_utterances=3, random_state=0)
X = LogMelTransformer(n_mels=24).transform(corpus.data)
model = DSNetClassifier(max_epochs=4, random_state=0)
data, options = (X, corpus.target), {"checkpoint_dir": folder or None}
if what == "fold":
    print(bits(speaker_cross_validate(model, *data, corpus.speakers, **options)))
else:
    who = np.unique(corpus.speakers, return_inverse=True)[1]
    data += np.array(list("abc"))[who // 2], corpus.speakers
    print(bits(cross_corpus_validate(model, *data, **options)))
"""
EVALUATES = "import sys; from sklearn_ser.cli import main; sys.exit(main(sys.argv[1:]))"


def run(program, *args):
    command = [sys.executable, "-c", program, *map(str, args)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=env)


def output(process):
    printed = process.communicate(timeout=300)[0]
    assert process.returncode == 0
    return printed


def kill_after(path, process):
    """Kill a process as soon as a file is there."""
    deadline = time.monotonic() + 300
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("what", ["fold", "transfer"])
def test_a_killed_process_is_resumed_to_the_bit(tmp_path, what):
    tests, folder = Path(__file__).parent, tmp_path / "kept"
    whole = output(run(PROGRAM, what, "", tests))
    kill_after(folder / f"{what}-0002.npz", run(PROGRAM, what, folder, tests))
    kept = {path: path.stat().st_mtime_ns for path in folder.glob(f"{what}-*.npz")}
    assert 2 <= len(kept) < 6
    assert output(run(PROGRAM, what, folder, tests)) == whole
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert len(list(folder.glob(f"{what}-*.npz"))) == 6


@pytest.mark.slow
def test_a_killed_command_goes_on_with_its_transfer(tmp_path, write_corpus):
    words = ["evaluate", "--epochs", 3]
    for i, option in enumerate(("--manifest", "--target")):
        (tmp_path / option).mkdir()
        table = tmp_path / option / "corpus.csv"
        write_corpus(table, n_speakers=2, n_utterances=2, random_state=i)
        words += [option, table]
    output(run(EVALUATES, *words, "--out", tmp_path / "whole"))
    out = tmp_path / "out"
    kept = out / "transfers" / "transfer-0001.npz"
    kill_after(kept, run(EVALUATES, *words, "--out", out))
    assert not (out / "report.html").exists()
    written = kept.stat().st_mtime_ns
    assert b"Written to" in output(run(EVALUATES, "evaluate", "--resume", out))
    assert kept.stat().st_mtime_ns == written
    name = "predictions.csv"
    assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
