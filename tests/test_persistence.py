"""Files without pickle: what comes back, and what is refused."""

import copy
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from functools import cache
from importlib.metadata import version

import joblib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    BaggingClassifier,
    HistGradientBoostingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OutputCodeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from skorch.callbacks import EpochTimer
from torch import nn

from sklearn_ser import (
    DIDANDomainAdapter,
    DSNetClassifier,
    LogMelTransformer,
    SpeakerAdversarialClassifier,
    VersionsDifferWarning,
)
from sklearn_ser.baseline import make_baseline
from sklearn_ser.metrics import uar_scorer
from sklearn_ser.nn.encoders import ConvEncoder
from sklearn_ser.persistence import import_skops, load, save


class Encoder(ConvEncoder):
    """A user's encoder."""


class Foreign(TransformerMixin, BaseEstimator):
    """A user's transformer, which a stranger's file must not bring along."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X

    def __setstate__(self, state):
        raise AssertionError("ran on loading")


@pytest.fixture(scope="module")
def fitted(method, corpus):
    model = make_pipeline(LogMelTransformer(n_mels=16), method())
    speakers = {f"{method.step}__speakers": corpus.speakers}
    return model.fit(corpus.waveforms, corpus.y, **speakers)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skops"


def copies(model, path, *trusted):
    """Return the model after pickle, after deepcopy, and after save and load."""
    save(model, path)
    names = [f"{__name__}.{cls.__name__}" for cls in trusted]
    return (
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        load(path, trusted=names),
    )


def rewrite(path, change, text=None, compression=zipfile.ZIP_STORED):
    """Change the schema inside a saved file."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(files["schema.json"])
    files["schema.json"] = text or json.dumps(change(schema) or schema)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def replace(old, new):
    return lambda schema: json.loads(json.dumps(schema).replace(old, new))


@pytest.fixture(scope="session")  # as that of method, by which tests are ordered
def elsewhere():
    """Return a function that predicts by a saved model in another process."""
    code = (
        "import json, sys, numpy, torch\n"
        "from sklearn_ser.persistence import load\n"
        "torch.set_num_threads(1)\n"
        "for line in sys.stdin:\n"
        "    model, out, *recordings = json.loads(line)\n"
        "    numpy.save(out, load(model).predict_proba(recordings))\n"
        "    print(out, flush=True)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:

        def predict(model, recordings):
            out = f"{model}.npy"
            process.stdin.write(json.dumps([str(model), out, *recordings]) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{out}\n"
            return np.load(out)

        yield predict
        process.stdin.close()


@pytest.mark.slow
def test_another_process_predicts_the_same_bits(fitted, paths, elsewhere, path):
    save(fitted, path)
    there = elsewhere(path, paths)
    np.testing.assert_array_equal(there, fitted.predict_proba(paths))


def test_everything_comes_back(fitted, corpus, path):
    save(fitted, path)
    loaded = load(path)
    assert loaded[0].get_params() == fitted[0].get_params()
    assert loaded[1].get_params() == fitted[1].get_params()
    assert list(loaded[1].history_) == list(fitted[1].history_)
    assert loaded[1].n_iter_ == fitted[1].n_iter_
    X = fitted[0].transform(corpus.waveforms)
    np.testing.assert_array_equal(loaded[1].embed(X), fitted[1].embed(X))
    expected = fitted[1].predict_proba(X)
    np.testing.assert_array_equal(loaded.predict_proba(corpus.waveforms), expected)
    loaded[1].fit(X, corpus.y, speakers=corpus.speakers)  # it trains again
    np.testing.assert_array_equal(loaded[1].predict_proba(X), expected)


def test_no_pickle_inside(fitted, path):
    save(fitted, path)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert {name.rpartition(".")[2] for name in names} == {"json", "npy"}
        for name in names:
            content = archive.read(name)
            assert content.startswith((b"\x93NUMPY", b"{"))


def test_an_unfitted_estimator(method, path):
    model = method(random_state=np.random.RandomState(3), device=torch.device("cpu"))
    save(model, path)
    loaded = load(path)
    assert type(loaded) is method.cls
    assert loaded.device == model.device
    assert loaded.random_state.randint(1000) == model.random_state.randint(1000)


X8 = np.random.default_rng(0).normal(size=(8, 3))


@cache
def fitted_to(labels):
    return small().fit(X8, np.array(labels * 4))


@given(
    labels=st.sampled_from([(0, 5), ("é", "neutral"), (True, False), (-1.0, 2.0)]),
    lr=st.floats(1e-6, 1e-2),
)
def test_labels_and_parameters_keep_type_and_value(tmp_path_factory, labels, lr):
    path = tmp_path_factory.mktemp("any") / "model.skops"
    model = fitted_to(labels).set_params(lr=lr)
    save(model, path)
    loaded = load(path)
    assert loaded.get_params() == model.get_params()
    assert loaded.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(loaded.predict(X8), model.predict(X8))


# ----------------------------------------------------------------- what is refused


def test_a_foreign_type_is_refused_by_its_name(fitted, corpus, path):
    model = make_pipeline(Foreign(), *[step for _, step in fitted.steps])
    save(model, path)
    name = f"{__name__}.Foreign"
    with pytest.raises(TypeError, match=rf"not trusted: \['{name}'\]"):
        load(path)
    with pytest.raises(TypeError, match=rf"not trusted: \['{name}'\]"):
        load(path, trusted=["somewhere.Else"])
    with pytest.raises(ValueError, match=r"model\.skops.*ran on loading"):
        load(path, trusted=[name])


def test_an_encoder_of_ones_own_is_to_be_trusted_by_name(log_mels, corpus, path):
    model = DSNetClassifier(encoder=Encoder, max_epochs=1, random_state=0)
    model.fit(log_mels, corpus.y, speakers=corpus.speakers)
    save(model, path)
    with pytest.raises(TypeError, match=rf"{__name__}\.Encoder") as caught:
        load(path)
    assert f"trusted=['{__name__}.Encoder']" in str(caught.value)
    loaded = load(path, trusted=[f"{__name__}.Encoder"])
    np.testing.assert_array_equal(
        loaded.predict_proba(log_mels), model.predict_proba(log_mels)
    )


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "sklearn_ser.persistence.load",
        "sklearn_ser.features.cache.os",
        "sklearn_ser.no_such_module.Thing",
        "sklearn.metrics._scorer.import_module",
        "sklearn.model_selection._search.warnings",
        "sklearn.model_selection._search.partial",
        "sklearn.utils._bunch.warnings",
        "sklearn.utils.parallel.Parallel.__call__",
        "sklearn.utils._testing.TempMemmap",
        "sklearn.datasets._base.RemoteFileMetadata",
        "sklearn.externals._arff.ArffDecoder",
        "sklearn.pipeline.islice",
        "sklearn.no_such_module.Thing",
        "sklearn.tests.test_base.MyEstimator",
        "sklearn.utils.fixes.Path",
    ],
)
def test_names_slipped_into_a_file_are_refused(fitted, path, name):
    save(make_pipeline(FunctionTransformer(np.shape), LinearSVC()), path)
    module, _, attribute = name.rpartition(".")

    def change(schema):
        text = json.dumps(schema)
        old = '"__class__": "shape", "__module__": "numpy"'
        assert old in text
        new = f'"__class__": "{attribute}", "__module__": "{module}"'
        return json.loads(text.replace(old, new))

    rewrite(path, change)
    with pytest.raises(TypeError, match="not trusted"):
        load(path)


def small():
    quick = {"encoder": "pointwise", "max_epochs": 1, "random_state": 0}
    return DSNetClassifier(calibration_weight=0, **quick)


def search(scoring):
    return GridSearchCV(small(), {"lr": [1e-3, 1e-2]}, cv=2, scoring=scoring)


COMBINED = {
    "search by UAR": search(uar_scorer),
    "search by name": search("balanced_accuracy"),
    "search": search(None),
    "voting": VotingClassifier(
        [("net", small()), ("linear", LogisticRegression())], voting="soft"
    ),
    "stacking": StackingClassifier([("net", small()), ("nb", GaussianNB())], cv=2),
    "sigmoid": CalibratedClassifierCV(small(), cv=2),
    "isotonic": CalibratedClassifierCV(small(), cv=2, method="isotonic"),
    "one model": CalibratedClassifierCV(small(), cv=2, ensemble=False),
    "threshold": TunedThresholdClassifierCV(small(), cv=2),
    "codes": OutputCodeClassifier(small(), random_state=0),
    "bagging": BaggingClassifier(small(), n_estimators=2),
    "perceptron": make_pipeline(StandardScaler(), MLPClassifier(max_iter=3)),
    "process": GaussianProcessClassifier(),
    "selection": make_pipeline(SelectKBest(f_classif, k=2), small()),
}


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("name", COMBINED)
def test_models_of_scikit_learn_need_no_trust(path, name):
    rng, y = np.random.default_rng(0), np.arange(40) % 2
    X = rng.normal(size=(40, 3)) + y[:, None]
    model = clone(COMBINED[name]).fit(X, y)
    save(model, path)
    loaded = load(path)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.score(X, y) == model.score(X, y)
    if hasattr(model, "predict_proba"):
        expected = model.predict_proba(X)
        np.testing.assert_array_equal(loaded.predict_proba(X), expected)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (DecisionTreeClassifier(), r"sklearn\.tree\._tree\.Tree"),
        (HistGradientBoostingClassifier(max_iter=1), r"predictor\.TreePredictor"),
        (KNeighborsClassifier(algorithm="kd_tree"), r"_kd_tree\.KDTree"),
    ],
)
def test_compiled_types_believe_what_they_read_and_are_not_trusted(path, model, name):
    X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    save(model.fit(X, y), path)
    with pytest.raises(TypeError, match=f"not trusted: .*{name}"):
        load(path)


def test_what_no_other_process_could_find_is_not_saved(tmp_path, path):
    with pytest.raises(TypeError, match=r"<lambda>.*top level of a module"):
        save(FunctionTransformer(lambda x: x), path)

    class Local(ConvEncoder):
        pass

    with pytest.raises(TypeError, match=r"Local'\].*top level of a module"):
        save(DSNetClassifier(encoder=Local), path)
    with pytest.raises(TypeError, match="cannot be saved"):
        save(FunctionTransformer(kw_args={"lines": (line for line in "ab")}), path)
    assert list(tmp_path.iterdir()) == []


def test_callbacks_are_refused(method, path):
    model = make_pipeline(StandardScaler(), method(callbacks=[EpochTimer()]))
    with pytest.raises(ValueError, match=f"{method.step}__callbacks cannot be saved"):
        save(model, path)
    save(make_pipeline(method(callbacks=[])), path)


@pytest.mark.parametrize("thing", [None, "model", DSNetClassifier, {"a": 1}])
def test_only_estimators_are_saved(path, thing):
    with pytest.raises(TypeError, match="must be a scikit-learn estimator"):
        save(thing, path)


def test_missing_and_broken_files(fitted, path):
    with pytest.raises(ValueError, match=r"no model file '.*model\.skops'"):
        load(path)
    save(fitted, path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("notes.txt", "a zip, but no model")
    for content in (
        *(b"", b"P", b"PK\x05\x06" + bytes(18), pickle.dumps(fitted)),
        *(zipped.getvalue(), whole[:middle]),
        whole[:middle] + bytes(64) + whole[middle + 64 :],
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.skops' is no model saved by skl"):
            load(path)
    with pytest.raises(TypeError, match="trusted must be a sequence"):
        load(path, trusted="my.Encoder")


@pytest.mark.slow
def test_a_mutated_file_is_one_error_or_loads(path):
    """Bytes flipped, cut and written over: never an error of another kind."""
    X = np.random.default_rng(0).normal(size=(20, 3))
    model = make_pipeline(StandardScaler(), LinearSVC()).fit(X, np.arange(20) % 2)
    save(model, path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        schema = archive.read("schema.json").decode()
    words = sorted({*re.findall(r'"[^"]+"|\d+|null|true|false|[{}\[\]]', schema)})
    rng, told = np.random.default_rng(0), []
    for step in range(300):
        if step % 3 == 0:
            at = rng.integers(len(whole))
            data = whole[:at] + bytes([whole[at] ^ 1 << step % 8]) + whole[at + 1 :]
            path.write_bytes(data if step % 2 else whole[:at])
        else:  # a whole archive with another schema
            old, new = rng.choice(words, 2)
            path.write_bytes(whole)
            rewrite(path, lambda _: None, schema.replace(old, new, 1))
        try:
            load(path)
        except (TypeError, ValueError) as error:
            told.append(str(error))
    assert len(told) > 100
    assert all(text.startswith(f"'{path}' ") for text in told)


def test_an_error_does_not_show_what_a_damaged_file_holds(path):
    model = make_pipeline(StandardScaler()).fit(np.ones((3, 3)))
    save(model, path)
    data, name = path.read_bytes(), b".npy"
    at = data.index(name) + len(name)
    for length in (b"\xff\xff", b"\x00\x40"):  # of the name, in the header of a part
        start = data.rindex(b"PK\x03\x04", 0, at)
        path.write_bytes(data[: start + 26] + length + data[start + 28 :])
        with pytest.raises(ValueError, match="no model saved") as info:
            load(path)
        assert len(str(info.value)) < 1000


@pytest.mark.parametrize("path", [3, None, True, b"model.skops", ["model.skops"]])
def test_what_is_no_path(path):
    with pytest.raises(TypeError, match=r"path must be a path, got"):
        load(path)
    with pytest.raises(TypeError, match=r"path must be a path, got"):
        save(DSNetClassifier(), path)


def test_paths_that_lead_to_no_file(tmp_path):
    loop, pipe = tmp_path / "loop", tmp_path / "pipe"
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    for path in (tmp_path, loop, pipe, "a\0b", "a" * 5000, "/dev/zero"):
        with pytest.raises(ValueError, match=r"^path: '.*cannot be read"):
            load(path)


@pytest.mark.slow
def test_a_bomb_is_not_inflated(path):
    save(DSNetClassifier(), path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.npy", bytes(2**28))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"model\.skops'.*it unpacks from \d+ to \d+"):
        load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize("identity", ["one each", "none"])
def test_a_part_that_is_named_many_times_is_a_bomb(path, identity):
    """Each object whose state names a part holds an array of its own."""
    save(StandardScaler().fit(np.arange(2e5)[:, None] * [[1.0, 2.0]]), path)
    with zipfile.ZipFile(path) as archive:
        schema = json.loads(archive.read("schema.json"))
    content = schema["content"]["estimator"]["content"]["content"]
    array = content["mean_"]
    content["mean_"] = {
        **content["n_samples_seen_"],
        "__loader__": "ListNode",
        "__module__": "builtins",
        "__class__": "list",
        "content": [
            {**array, "__id__": i + 1 if identity == "one each" else None}
            for i in range(500)
        ],
    }
    blob = io.BytesIO()
    np.save(blob, np.zeros(2**15))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
        archive.writestr(array["file"], blob.getvalue())
    with pytest.raises(ValueError, match=r"model\.skops'.*it unpacks from \d+ to \d+"):
        load(path)


def test_a_compressed_copy_of_a_model_loads(path):
    save(DSNetClassifier(lr=0.5), path)
    rewrite(path, lambda schema: schema, compression=zipfile.ZIP_DEFLATED)
    assert load(path).lr == 0.5


def test_a_skops_file_of_another_maker_is_refused(tmp_path):
    from skops.io import dump

    dump(StandardScaler(), tmp_path / "scaler.skops")
    with pytest.raises(ValueError, match="no model saved by sklearn_ser"):
        load(tmp_path / "scaler.skops")


def test_a_later_format_is_refused_though_its_types_are_unknown(path):
    save(DSNetClassifier(), path)

    def change(schema):
        schema["content"]["format"]["content"] = "7"
        schema["content"]["versions"]["content"]["sklearn-ser"]["content"] = '"9.1"'
        later = json.dumps(schema["content"]["estimator"])
        later = later.replace("DSNetClassifier", "LaterClassifier")
        schema["content"]["estimator"] = json.loads(later)

    rewrite(path, change)
    with pytest.raises(
        ValueError, match=r"the format 7 of sklearn_ser 9\.1, .* up to 1\."
    ):
        load(path)


# --------------------------------------------------------------- versions of packages


def saved_with(path, estimator, **others):
    """Save an estimator as if other versions of some packages were installed."""
    save(estimator, path)

    def change(schema):
        versions = schema["content"]["versions"]["content"]
        for name, other in others.items():
            versions[name.replace("_", "-")]["content"] = json.dumps(other)
        text = json.dumps(schema)
        if "scikit_learn" in others:  # each part carries scikit-learn's
            other = json.dumps(json.dumps(others["scikit_learn"]))
            text, n = re.subn(
                r'("_sklearn_version": {[^}]*"content": )"[^,]*"', rf"\1{other}", text
            )
            assert n > 0
        return json.loads(text)

    rewrite(path, change)


@pytest.fixture(scope="module")
def plain():
    X = np.random.default_rng(0).normal(size=(20, 3))
    return make_pipeline(StandardScaler(), LinearSVC()).fit(X, np.arange(20) % 2)


def test_other_versions_warn_once_for_all_packages(plain, path):
    saved_with(path, plain, scikit_learn="1.2.2", torch="1.13.1+cu117", numpy="1.24.4")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = load(path)
    [warning] = caught
    assert warning.category is VersionsDifferWarning
    assert warning.filename == __file__
    text = str(warning.message)
    assert f"'{path}' was saved with scikit-learn 1.2.2, torch 1.13.1+cu117" in text
    assert (
        f"numpy 1.24.4, but this process has scikit-learn {version('scikit-learn')}, "
        in text
    )
    X = np.random.default_rng(1).normal(size=(5, 3))
    np.testing.assert_array_equal(loaded.predict(X), plain.predict(X))


@pytest.mark.parametrize("name", ["scikit-learn", "torch", "numpy"])
def test_each_package_is_compared(name, plain, path):
    major, minor, *_ = version(name).split(".")
    other, key = f"{major}.{int(minor) + 1}.0", name.replace("-", "_")
    saved_with(path, plain, **{key: other})
    found = re.escape(
        f"with {name} {other}, but this process has {name} {version(name)}."
    )
    with pytest.warns(VersionsDifferWarning, match=found):
        load(path)


def test_releases_that_mend_faults_do_not_warn(plain, path):
    names = "scikit_learn", "torch", "numpy"
    parts = [version(name.replace("_", "-")).split(".")[:2] for name in names]
    others = {n: f"{a}.{b}.99+cu130" for n, (a, b) in zip(names, parts, strict=True)}
    saved_with(path, plain, skorch="0.1", skops="0.1", **others)
    load(path)  # a warning would be an error


# ------------------------------------------------------------ machines and accidents


def test_a_model_from_a_gpu_loads_on_the_cpu(fitted, log_mels, path):
    if torch.cuda.is_available():
        pytest.skip("this machine has the GPU that the test takes away")
    model = copy.deepcopy(fitted[1]).set_params(device="cuda:1")
    save(model, path)
    # Only this word tells such a file from one that was written on the GPU.
    rewrite(path, replace(r'"content": "\"cpu\""', r'"content": "\"cuda:1\""'))
    loaded = load(path)
    assert loaded.net_.device == torch.device("cpu")
    np.testing.assert_array_equal(
        loaded.predict_proba(log_mels), model.predict_proba(log_mels)
    )


def searched(model):
    """A search: the winner, and the candidates in its tables, are copies."""
    grid = {"logmeltransformer": [clone(model[0])]}
    return GridSearchCV(model, grid, cv=GroupKFold(2))


def voted(model):
    return VotingClassifier([("only", model)], voting="soft")


def calibrated(model):
    """The fitted models lie in a list of objects that are no estimators."""
    return CalibratedClassifierCV(model, cv=2, ensemble=True)


@pytest.mark.parametrize("wrap", [searched, voted, calibrated])
def test_no_part_keeps_the_cache_of_another_machine(wrap, corpus, tmp_path, path):
    front = LogMelTransformer(n_mels=16, cache_dir=str(tmp_path / "cache"))
    model = make_pipeline(front, *make_baseline(of_frames=True))
    given = {"groups": corpus.speakers} if wrap is searched else {}
    model = wrap(model).fit(corpus.waveforms, corpus.y, **given)
    expected = model.predict_proba(corpus.waveforms)
    save(model, path)
    loaded = load(path)
    shutil.rmtree(tmp_path / "cache")
    found = loaded.predict_proba(corpus.waveforms)
    np.testing.assert_array_equal(found, expected)
    assert not (tmp_path / "cache").exists()
    if wrap is searched:
        assert loaded.best_params_["logmeltransformer"].cache_dir is None
        assert loaded.param_grid["logmeltransformer"][0].cache_dir is None
        assert loaded.cv_results_["params"][0]["logmeltransformer"].cache_dir is None
        loaded.fit(corpus.waveforms, corpus.y, groups=corpus.speakers)
        assert not (tmp_path / "cache").exists()


def test_an_interrupted_save_keeps_the_old_file(method, tmp_path, path, monkeypatch):
    save(method(lr=0.5), path)

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("sklearn_ser._files.os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(method(), path)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["model.skops"]
    assert load(path).lr == 0.5


def test_without_skops_the_error_names_the_extra(method, path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(ImportError, match=r"sklearn_ser\[skops\]"):
        save(method(), path)
    with pytest.raises(ImportError, match=r"sklearn_ser\[skops\]"):
        load(path)


def test_a_file_of_skops_that_holds_no_estimator_is_refused(path):
    content = {"format": 1, "versions": {"sklearn-ser": "0.1"}, "estimator": [1, 2]}
    import_skops().dump(content, path)
    with pytest.raises(ValueError, match="found a list, expected an estimator"):
        load(path)


# ---------------------------------------------------------------- buffers of all kinds


class Buffers(nn.Module):
    """An encoder with buffers of kinds that state dicts or NumPy lack."""

    def __init__(self, n_features):
        super().__init__()
        self.conv = nn.Conv1d(n_features, 8, 1)
        self.register_buffer("hidden", torch.ones(8), persistent=False)
        self.register_buffer("rounded", torch.ones(8, dtype=torch.bfloat16))
        self.register_buffer("scalar", torch.tensor(1.0, dtype=torch.bfloat16))
        self.register_buffer("late", None)
        self.register_buffer("grows", torch.zeros(0))

    def forward(self, x, lengths):
        z = self.conv(x)
        if self.training:
            with torch.no_grad():
                self.hidden += 0.1 * z.mean((0, 2))
                self.rounded += 0.01
                self.scalar += 0.25
                self.late = self.hidden.double() / 3
                self.grows = torch.arange(len(self.grows) + 1.0)
        scale = self.hidden + self.rounded.float() * float(self.scalar)
        if self.late is not None:
            scale = scale + self.late.float() + self.grows.sum() / 100
        z = z * scale[:, None]
        frames = torch.arange(z.shape[-1])
        return z * (frames < lengths[:, None])[:, None], lengths


def buffers(model):
    [encoder] = [m for m in model.net_.module_.modules() if isinstance(m, Buffers)]
    return encoder


def test_buffers_of_every_kind_are_copied(method, log_mels, corpus, path):
    """A continued fit starts from them, too."""
    data = {"X": log_mels, "y": corpus.y, "speakers": corpus.speakers}
    model = method(encoder=Buffers, max_epochs=2, warm_start=True).fit(**data)
    twins = copies(model, path, Buffers)
    own, expected = buffers(model), model.predict_proba(log_mels)
    assert own.late is not None
    assert len(own.grows) > 2
    model = copy.deepcopy(model).set_params(max_epochs=1).fit(**data)
    assert len(buffers(model).grows) > len(own.grows)
    for twin in twins:
        other = buffers(twin)
        for (name, value), (_, found) in zip(
            own.named_buffers(), other.named_buffers(), strict=True
        ):
            assert found.dtype == value.dtype, name
            assert torch.equal(found, value), name
        assert own.state_dict().keys() == other.state_dict().keys()
        np.testing.assert_array_equal(twin.predict_proba(log_mels), expected)
        found = twin.set_params(max_epochs=1).fit(**data).predict_proba(log_mels)
        np.testing.assert_array_equal(found, model.predict_proba(log_mels))


class Tied(nn.Module):
    """An encoder with a parameter, a layer and a buffer of two names each."""

    def __init__(self, n_features):
        super().__init__()
        self.first, self.second = nn.Conv1d(n_features, 8, 1), nn.Conv1d(8, 8, 1)
        self.third, self.again = nn.Conv1d(8, 8, 1), self.second
        self.third.weight = self.second.weight
        self.register_buffer("shift", torch.zeros(8))
        self.norm = nn.BatchNorm1d(8)
        self.same = self.norm

    def forward(self, x, lengths):
        frames = torch.arange(x.shape[-1])
        mask = (frames < lengths[:, None])[:, None]
        for layer in (self.first, self.same, self.again, self.third):
            x = layer(x) * mask
        return x, lengths


def test_parameters_of_two_names_are_copied_and_stay_one(log_mels, corpus, path):
    data = {"X": log_mels, "y": corpus.y}
    model = SpeakerAdversarialClassifier(
        method=None, encoder=Tied, max_epochs=1, warm_start=True, random_state=0
    ).fit(**data)
    expected = model.predict_proba(log_mels)
    twins = copies(model, path, Tied)
    continued = [m.fit(**data) for m in (copy.deepcopy(model), model)]
    for twin in twins:
        np.testing.assert_array_equal(twin.predict_proba(log_mels), expected)
    for twin in (*twins, *continued):
        encoder = twin.net_.module_.ENC.encoder
        assert encoder.third.weight is encoder.second.weight
        assert encoder.again is encoder.second
    np.testing.assert_array_equal(*[m.predict_proba(log_mels) for m in continued])


def test_read_only_arrays_are_neither_warned_of_nor_shared(
    method, log_mels, corpus, tmp_path
):
    data = {"X": log_mels, "y": corpus.y, "speakers": corpus.speakers}
    own = {}
    if "alignment" in method().get_params():
        own["alignment"] = "didan"
        data["sample_domain"] = np.where(corpus.speakers == "s03", -1, 1)
    model = method(warm_start=True, **own).fit(**data)
    expected = model.predict_proba(log_mels)
    joblib.dump(model, tmp_path / "model.joblib")
    before = (tmp_path / "model.joblib").read_bytes()
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")  # warnings raise
    np.testing.assert_array_equal(mapped.predict_proba(log_mels), expected)
    mapped.fit(**data)
    assert (tmp_path / "model.joblib").read_bytes() == before
    again = joblib.load(tmp_path / "model.joblib", mmap_mode="c")
    np.testing.assert_array_equal(again.predict_proba(log_mels), expected)


LOADS = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    models = pickle.load(file)
for model, X in models:
    model.predict(X)
print(*[name for name in sys.modules if name.startswith(("torch._dynamo.", "sympy"))])
"""


@pytest.mark.slow
def test_a_prediction_imports_no_compiler(log_mels, corpus, tmp_path):
    data = {"X": log_mels, "y": corpus.y, "speakers": corpus.speakers}
    quick = {"encoder": "conv", "max_epochs": 1}
    models = [
        DSNetClassifier(**quick),
        *(
            SpeakerAdversarialClassifier(method=how, warm_start=warm, **quick)
            for how in ("menan", "dat", None)
            for warm in (False, True)
        ),
        DIDANDomainAdapter(alignment=None, **quick),
    ]
    fitted = [(model.fit(**data), log_mels) for model in models]
    for model, _ in fitted:
        twin = copy.deepcopy(model)
        assert not hasattr(twin.net_, "optimizer_")
        assert not hasattr(twin.net_, "adversary_optimizer_")
    path = tmp_path / "models.pkl"
    path.write_bytes(pickle.dumps(fitted))
    command = [sys.executable, "-c", LOADS, str(path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert told.stdout.split() == []
