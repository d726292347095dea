"""What is taken for a batch of sequences, and what each refusal says."""

import re
import tracemalloc
from enum import Enum
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import InvalidParameterError

from sklearn_ser import (
    LogMelTransformer,
    SpeakerAdversarialClassifier,
    SpeakerNormalizer,
)
from sklearn_ser._validation import check_column
from sklearn_ser.baseline import make_baseline
from sklearn_ser.domains import (
    check_mixed_labels,
    check_sample_domain,
    rows_of_source,
)
from sklearn_ser.model_selection import speaker_cross_validate
from sklearn_ser.nn.vectors import Vectors
from sklearn_ser.sequences import check_labels, check_sequences, check_speakers

DTYPES = ["f2", "f4", "f8", ">f4", "i1", "i2", "i4", "i8", "u1", "u4", "?"]


class Stranger(BaseEstimator):
    """Has what check_sequences needs of an estimator."""


def check(X, n_features=None):
    estimator = Stranger()
    if n_features is not None:
        estimator.n_features_in_ = n_features
    return check_sequences(X, estimator=estimator, reset=n_features is None)


def objects(X):
    return np.fromiter(X, object, len(X))


# ------------------------------------------------------------------- what goes in


@given(
    n_features=st.integers(1, 5),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=6, max_size=6),
    order=st.sampled_from("CF"),
    container=st.sampled_from([list, tuple, objects]),
    seed=st.integers(0, 9),
)
def test_lists_of_any_shape_and_type(
    n_features, lengths, dtypes, order, container, seed
):
    rng = np.random.default_rng(seed)
    X = [
        np.asarray(rng.integers(0, 100, (n_features, n)), dtype, order=order)
        for n, dtype in zip(lengths, dtypes, strict=False)
    ]
    estimator = Stranger()
    found = check_sequences(container(X), estimator=estimator, reset=True)
    assert estimator.n_features_in_ == n_features
    assert isinstance(found, list | Vectors)
    assert [s.shape[1] for s in found] == lengths
    for x, y in zip(X, found, strict=True):
        assert isinstance(y, np.ndarray)
        assert y.dtype == np.float32
        assert y.dtype.isnative
        np.testing.assert_array_equal(y, x)
    again = check_sequences(container(X), estimator=estimator, reset=False)
    assert all(map(np.array_equal, again, found))


@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 6)),
    dtype=st.sampled_from(DTYPES),
    order=st.sampled_from("CF"),
)
def test_three_dimensional_arrays(shape, dtype, order):
    values = np.arange(np.prod(shape)).reshape(shape) % 100
    X = np.asarray(values, dtype, order=order)
    for form in (X, list(X), X.tolist()):
        for x, y in zip(X, check(form), strict=True):
            assert y.dtype == np.float32
            np.testing.assert_array_equal(y, x)


@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 4)),
    dtype=st.sampled_from(DTYPES),
    nested=st.booleans(),
)
def test_two_dimensional_arrays_hold_one_frame_each(shape, dtype, nested):
    X = (np.arange(np.prod(shape)).reshape(shape) % 100).astype(dtype)
    found = check(X.tolist() if nested else X)
    assert [x.shape for x in found] == [(shape[1], 1)] * shape[0]
    np.testing.assert_array_equal(np.concatenate(found, axis=1).T, X)


def test_float32_is_not_copied(tmp_path):
    X = [np.ones((2, n), np.float32) for n in (3, 4)]
    assert all(map(np.shares_memory, check(X), X))
    stacked = np.ones((3, 2, 4), np.float32)
    assert all(np.shares_memory(x, stacked) for x in check(stacked))
    np.save(tmp_path / "x.npy", stacked)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert all(np.shares_memory(x, mapped) for x in check(mapped))
    assert all(np.shares_memory(x, mapped) for x in check(list(mapped)))


def test_cached_sequences(corpus, tmp_path):
    plain = LogMelTransformer(n_mels=8)
    cached = LogMelTransformer(n_mels=8, cache_dir=tmp_path)
    X = cached.transform(corpus.waveforms[:3])
    expected = plain.transform(corpus.waveforms[:3])
    assert all(map(np.array_equal, check(X), expected))


def test_sequences_forget_the_names_of_a_data_frame():
    frame = pd.DataFrame(np.eye(3), columns=["pitch", "energy", "jitter"])
    estimator = Stranger()
    check_sequences(frame, estimator=estimator, reset=True)
    assert list(estimator.feature_names_in_) == list(frame)
    for X in ([np.ones((2, 4)), np.ones((2, 5))], np.ones((2, 2, 4))):
        check_sequences(frame, estimator=estimator, reset=True)
        check_sequences(X, estimator=estimator, reset=True)
        assert estimator.n_features_in_ == 2
        assert not hasattr(estimator, "feature_names_in_")
        check_sequences(X, estimator=estimator, reset=False)


def test_a_series_of_sequences_is_a_batch(corpus, log_mels):
    series = pd.Series(log_mels, index=range(100, 100 + len(log_mels)))
    assert all(map(np.array_equal, check(series), log_mels))
    data = corpus.y, corpus.speakers
    quick = {"encoder": "conv", "max_epochs": 1, "random_state": 0}
    net = SpeakerAdversarialClassifier(method=None, **quick)
    for model in (make_baseline(of_frames=True), net):
        found = clone(model).fit(series, data[0]).predict_proba(series)
        expected = clone(model).fit(log_mels, data[0]).predict_proba(log_mels)
        np.testing.assert_array_equal(found, expected)
    found, expected = (
        SpeakerNormalizer().fit_transform(X, speakers=data[1])
        for X in (series, log_mels)
    )
    assert all(map(np.array_equal, found, expected))
    found, expected = (
        speaker_cross_validate(make_baseline(of_frames=True), X, *data, cv=2)
        for X in (series, log_mels)
    )
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    for wrong, message in (
        (pd.Series(["a.wav", "b.wav"]), r"X\[0\] is a str"),
        (pd.Series([1.0, 2.0]), "2-dimensional"),
        (pd.Series([], dtype=object), "2-dimensional"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            check(wrong)


def test_large_finite_values_pass():
    X = [np.full((2, 4), 3e38, np.float32)]  # their sum overflows
    with np.errstate(over="ignore"):
        assert np.array_equal(check(X)[0], X[0])
    table = np.tile(np.float32([3e38, -3e38]), (20, 20))
    table[:10] = 3e38  # some sums are infinite, of both signs
    table[10:] = -3e38
    assert np.array_equal(check(table).table, table)


def test_a_table_too_large_for_float32_is_one_error():
    """Warnings are errors here, and NumPy's would come first."""
    for form in (np.full((4, 2), 1e300), np.full((4, 2, 3), -1e300)):
        with pytest.raises(ValueError, match=r"X contains infinity or a value too lar"):
            check(form)


# ----------------------------------------------------------------- what does not

LOG_MEL = "LogMelTransformer"
GOOD = np.zeros((3, 5))


@pytest.mark.parametrize(
    ("X", "error", "parts"),
    [
        ([GOOD, np.zeros((3, 0))], ValueError, "X[1] | empty | (3, 0) | one frame"),
        ([GOOD, np.zeros((0, 5))], ValueError, "X[1] | empty | (0, 5)"),
        ([GOOD, np.zeros(5)], ValueError, "X[1] | (5,) | (n_features, n_frames)"),
        (
            [GOOD, GOOD, np.zeros((3, 5, 1))],
            ValueError,
            "X[2] | (3, 5, 1) | (n_features, n_frames)",
        ),
        ([GOOD, np.float64(1)], TypeError, "X[1] | float64 | LogMelTransformer"),
        ([GOOD, 3.5], TypeError, "X[1] | float | LogMelTransformer"),
        ([GOOD, None], TypeError, "X[1] | object | real numbers"),
        ([GOOD, GOOD * 1j], TypeError, "X[1] | complex128 | real numbers"),
        ([GOOD, np.full((3, 5), "a")], TypeError, "X[1] | <U1 | real numbers"),
        ([GOOD, np.zeros((4, 5))], ValueError, "X[1] | 4 features | expected 3 | X[0]"),
        (
            [GOOD, np.array([[0.0, np.nan]] * 3)],
            ValueError,
            "X[1] | NaN | expected finite",
        ),
        ([GOOD, np.array([[np.inf]] * 3)], ValueError, "X[1] | infinity"),
        ([GOOD, np.array([[np.inf, -np.inf]] * 3)], ValueError, "X[1] | NaN"),
        ([GOOD, np.full((3, 2), 1e300)], ValueError, "X[1] | infinity"),
        (
            [np.zeros(400), np.zeros(300)],
            ValueError,
            "X[0] | (400,) | LogMelTransformer",
        ),
        (["a.wav", "b.wav"], TypeError, "X[0] | str | LogMelTransformer"),
        ([GOOD, "b.wav"], TypeError, "X[1] | str | LogMelTransformer"),
        ([Path("a.wav")], TypeError, "X[0] | Path | LogMelTransformer"),
        (np.array(["a.wav", "b.wav"]), TypeError, "X[0] | str | LogMelTransformer"),
        (
            np.array(["a.wav", "b.wav"], object),
            TypeError,
            "X[0] | str | LogMelTransformer",
        ),
        ([b"a.wav"], TypeError, "X[0] | bytes | LogMelTransformer"),
        (
            [{"array": np.zeros(4), "sampling_rate": 16000}],
            TypeError,
            "X[0] | dict | LogMelTransformer",
        ),
        (
            np.zeros((2, 3, 4, 5)),
            ValueError,
            "X has 4 dimensions | 2 or 3 | LogMelTransformer",
        ),
        (np.zeros((2, 3, 0)), ValueError, "X has 0 frames | (2, 3, 0)"),
        (np.zeros((0, 3, 4)), ValueError, "0 sample(s)"),
        (np.full((2, 3, 4), np.nan), ValueError, "NaN"),
        ([], ValueError, "X"),
        ("a.wav", (TypeError, ValueError), "X | LogMelTransformer"),
        (None, (TypeError, ValueError), "X"),
        ({1, 2}, TypeError, "X is a set, not a batch"),
        (iter([GOOD]), TypeError, "X is a list_iterator, not a batch"),
        ((x for x in [GOOD]), TypeError, "X is a generator, not a batch"),
        (np.zeros(5), ValueError, "1D array"),
    ],
)
def test_refusals_name_the_sample_and_what_was_expected(X, error, parts):
    for n_features in (None, 3):
        with pytest.raises(error) as caught, np.errstate(over="ignore"):
            check(X, n_features)
        for part in parts.split(" | "):
            assert part in str(caught.value)


@pytest.mark.parametrize("value", [1e39, -np.inf, np.nan])
def test_a_value_that_is_not_finite_is_told_as_it_is(value):
    bad = np.zeros((3, 4))
    bad[2, 1] = value
    with pytest.raises(
        ValueError, match=rf"X\[1\].*found {re.escape(str(value))} at feature 2 of fr"
    ):
        check([GOOD, bad])


@pytest.mark.parametrize("form", [np.asarray, list, np.ndarray.tolist])
def test_a_fit_warns_of_waveforms_of_one_length(form):
    X, estimator = np.random.default_rng(0).normal(size=(4, 7001)), Stranger()
    with pytest.warns(UserWarning, match=r"7001 features.*make_pipeline\(LogMel"):
        check_sequences(form(X), estimator=estimator, reset=True)
    # Once is enough, and warnings are errors here.
    check_sequences(form(X), estimator=estimator, reset=False)
    SpeakerNormalizer().fit(form(X), speakers=list("aabb"))
    check(form(X[:, :7000]))
    check([X[:2], X[2:], X[1:3], X[:2]])


# -------------------------------------------------------------- through the fits


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(3, n)) for n in (4, 9, 5, 7, 6, 8, 4, 5)]
    return {"X": X, "y": ["neutral", "anger"] * 4, "speakers": list("aabbccdd")}


def refused(method, data, error, parts, /, **changes):
    params = {k: changes.pop(k) for k in list(changes) if k not in (*data, "w")}
    changes = {("sample_weight" if k == "w" else k): v for k, v in changes.items()}
    model = method(**params)
    with pytest.raises(error) as caught:
        model.fit(**{**data, **changes})
    for part in parts:
        assert part in str(caught.value)
    assert not hasattr(model, "net_")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"y": ["neutral", "anger"]}, "X has 8 | y has 2"),
        ({"y": ["neutral"] * 9}, "X has 8 | y has 9"),
        ({"y": None}, "requires y to be passed | None"),
        ({"y": ["anger"] * 8}, "one class | 'anger' | at least 2"),
        ({"y": [0.5, 1.5] * 4}, "continuous"),
        ({"y": [0.0, np.nan] * 4}, "y contains NaN"),
        ({"y": [["neutral", "anger"]] * 8}, "y should be a 1d array"),
        ({"speakers": ["a", "b"]}, "X has 8 | speakers has 2"),
        ({"speakers": [["a"]] * 8}, "speakers has shape (8, 1) | (8,)"),
        ({"speakers": "a"}, "speakers has shape () | (8,)"),
        ({"speakers": [1.0, np.nan] * 4}, "speakers[1] | nan"),
        ({"w": [1.0] * 7}, "sample_weight.shape == (7,) | (8,)"),
        ({"w": [-1.0] * 8}, "sample_weight | egative"),
        ({"w": [0.0] * 8}, "weight | zero"),
        ({"w": [1.0, 0.0] * 4}, "one class | 'neutral'"),
        ({"w": [np.nan] * 8}, "sample_weight contains NaN"),
        ({"w": ["a"] * 8}, "sample_weight: "),
        ({"validation_fraction": 0.5, "speakers": ["a"] * 8}, "n_samples=1"),
        ({"validation_fraction": 0.999}, "validation_fraction: | will be empty"),
        ({"class_weight": {"joy": 2.0}}, "class_weight | 'anger', 'neutral'"),
    ],
)
def test_a_fit_refuses(method, data, changes, parts):
    refused(method, data, ValueError, parts.split(" | "), **changes)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT], ids=str)
@pytest.mark.parametrize("name", ["y", "speakers"])
def test_missing_values(method, data, name, missing):
    values = np.array([*data[name][:7], missing], object)
    message = rf"\b{name}\b" if name == "y" else r"speakers\[7\].*expected a speaker"
    with pytest.raises((TypeError, ValueError), match=message):
        method().fit(**{**data, name: values})


MIXES = " mixes kinds of values: NAME"
ODD = [
    ([*"aabbccd", np.nan], "[7] is nan, expected a NOUN"),
    ([*"aabbccd", None], "[7] is None, expected a NOUN"),
    (["1", 1] * 4, MIXES + "[1] is 1 of type int, expected a string as"),
    ([1, "1"] * 4, MIXES + "[1] is '1' of type str, expected a number as"),
    ([b"a", "a"] * 4, MIXES + "[1] is 'a' of type str, expected bytes as"),
    (objects(["1", 1] * 4), MIXES + "[1] is 1 of type int, expected a string as"),
    ([["a"], ["a", "b"]] * 4, " has rows of unequal length"),
    (objects(["a", {}] * 4), "[1] is a dict, expected a NOUN"),
    (objects(["a", [1]] * 4), "[1] is a list, expected a NOUN"),
    (objects(["a", {1}] * 4), "[1] is a set, expected a NOUN"),
    (set("ab"), " is a set, expected a list"),
    (iter(["a", "b"]), " is a list_iterator, expected a list"),
    (dict.fromkeys("ab"), " is a dict, expected a list"),
]


@pytest.mark.parametrize(("values", "message"), ODD)
def test_a_column_that_is_none_of_one_kind(values, message):
    """In a list with one string, NumPy would make text of NaN and of numbers."""
    for name, noun, check_it in (
        ("y", "label", lambda v: check_labels(v, 8, estimator=None)),
        ("speakers", "speaker", lambda v: check_speakers(v, 8)),
    ):
        text = message.replace("NOUN", noun).replace("NAME", name)
        with pytest.raises((ValueError, TypeError), match="^" + re.escape(name + text)):
            check_it(values)


def test_a_column_of_one_kind():
    for values in (["a", np.str_("b"), "a"], [b"a", b"b", b"a"], [1, np.int8(2), True]):
        assert check_speakers(values, 3).tolist() == [0, 1, 0]
        if values[0] != b"a":
            assert len(check_labels(values, 3, estimator=None)) == 3


class Emotion(str, Enum):  # noqa: UP042  its text is not its value
    ANGER = "anger"
    NEUTRAL = "neutral"


class Word(str):
    """Text that prints itself otherwise."""

    def __str__(self):
        return f"a word: {self!r}"


@pytest.mark.parametrize("form", [list, tuple])
@pytest.mark.parametrize("kind", [Emotion, Word, np.str_])
def test_members_of_an_enum_are_their_text(method, data, form, kind):
    """NumPy makes text of what they print, cut, so that all of them are one."""
    values = form(kind(v) for v in ("anger", "neutral", "anger", "neutral"))
    found = check_labels(values, 4, estimator=None)
    assert found.tolist() == ["anger", "neutral"] * 2
    assert {type(v) for v in found.tolist()} == {str}
    assert check_speakers(values, 4).tolist() == [0, 1, 0, 1]
    _, columns = rows_of_source(
        np.ones(4), speakers=values, sample_weight=None, validation=None
    )
    assert columns["speakers"].tolist() == ["anger", "neutral"] * 2


@pytest.mark.parametrize("values", [[0, 1, 0], [True, False, True], [0.0, 2.0, 0.0]])
def test_numbers_among_objects_are_numbers(values):
    found = check_labels(objects(values), 3, estimator=Stranger())
    assert found.dtype == np.array(values).dtype
    assert found.tolist() == values


def test_what_a_mask_hides_is_not_used():
    masked = np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[0, 0], [1, 0]])
    column = np.ma.array(["a", "b"], mask=[False, True])
    for name, call in {
        "X[1]": lambda: check(masked),
        "X[0][1]": lambda: check([masked, np.ones((2, 3))]),
        "y[1]": lambda: check_labels(column, 2, estimator=Stranger()),
        "speakers[1]": lambda: check_speakers(column, 2),
    }.items():
        with pytest.raises(ValueError, match=rf"^{re.escape(name)} is masked, expect"):
            call()
    masked.mask = False
    assert np.array_equal(check(masked).table, [[1, 2], [3, 4]])


def test_prediction_refuses_what_the_fit_did_not_see(method, data):
    model = method().fit(**data)
    name = method.cls.__name__
    for call in (model.predict, model.predict_proba, model.embed):
        for X in ([np.zeros((4, 5))], np.zeros((2, 4, 5)), np.zeros((2, 4))):
            with pytest.raises(
                ValueError, match=f"X has 4 features.*{name}.*expecting 3"
            ):
                call(X)
        with pytest.raises(ValueError, match=re.escape("X[1] is empty")):
            call([GOOD, np.zeros((3, 0))])
        with pytest.raises(TypeError, match=LOG_MEL):
            call(["a.wav"])
    with pytest.raises(ValueError, match=re.escape("X[1] has 4 features")):
        model.predict([GOOD, np.zeros((4, 5))])
    assert model.n_features_in_ == 3


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("encoder", ["cnn7", None, 3]),
        ("max_epochs", [0, -1, 1.5, "2", None]),
        ("lr", [0, -1e-3, "a", None, np.nan, np.inf]),
        ("batch_size", [0, 1, 2.5, None]),
        ("weight_decay", [-1e-3, None, np.nan]),
        ("schedule", ["cosine", 1]),
        ("label_smoothing", [-0.1, 1, None, np.nan]),
        ("class_weight", ["even", 3]),
        ("speed_perturbation", [-0.1, 1.0, None]),
        ("vocal_tract_perturbation", [-0.1, 1.0, None]),
        ("masking", [-0.1, 1.0, None, np.nan]),
        ("validation_fraction", [0, 1, 1.5, -0.5, "a"]),
        ("callbacks", [3, "all"]),
        ("device", [None, 3]),
        ("random_state", [-1, "a", 1.5]),
        ("warm_start", ["yes", None]),
        ("verbose", [-1, "a"]),
        ("calibration_weight", [-1, "a", None]),
        ("orthogonality_weight", [-1e-9, None]),
        ("reconstruction_weight", [-1, None]),
        ("n_neutral", [0, -1, 1.5, "all"]),
        ("method", ["gan"]),
        ("adversary_weight", [-1, "high"]),
        ("alternate", ["step"]),
        ("adversary_lr", [0]),
        ("alignment", ["mmd"]),
        ("alignment_weight", [-1]),
        ("sparsity", [-0.1]),
        ("normalize_domains", [2]),
    ],
)
def test_parameters_out_of_range(method, data, name, values):
    if name not in method.cls._parameter_constraints:
        pytest.skip("a parameter of another classifier")
    for value in values:
        message = f"The '{name}' parameter of {method.cls.__name__} must be"
        refused(method, data, InvalidParameterError, [message], **{name: value})


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "best", "meta", "xpu", "hpu:1"])
def test_an_unknown_device_is_named(method, data, device):
    refused(method, data, ValueError, ["device", device], device=device)


def test_validation_that_leaves_no_class(method, data):
    # Only speaker d is ever angry, only the others are neutral.
    y = ["anger" if s == "d" else "neutral" for s in data["speakers"]]
    messages = set()
    for seed in range(20):  # until d was drawn, and another one
        model = method(validation_fraction=0.25, random_state=seed)
        try:
            messages.add(model.fit(data["X"], y, speakers=data["speakers"]) and None)
        except ValueError as error:
            messages.add(str(error))
        if len(messages) > 1:
            break
    [text] = messages - {None}
    assert len(messages) == 2
    assert "validation_fraction=0.25" in text
    assert "'anger'" in text


@pytest.mark.parametrize(("batch_size", "size"), [(64, 64), (80, 80), (999, 80)])
def test_the_learning_rate_follows_what_a_batch_can_hold(batch_size, size):
    X = np.random.default_rng(0).normal(size=(80, 3))
    model = SpeakerAdversarialClassifier(
        method=None, batch_size=batch_size, max_epochs=1, random_state=0
    )
    model.fit(X, np.arange(80) % 2)
    assert model.net_.lr == pytest.approx(3e-3 * np.sqrt(size / 32))
    few = model.fit(X[:8], np.arange(8) % 2)
    assert few.net_.lr == pytest.approx(3e-3)


def test_tensors_are_taken_under_array_api_dispatch(monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    table = torch.arange(12.0).reshape(4, 3)
    try:
        with config_context(array_api_dispatch=True):
            found = check(table).table
    except ImportError as error:  # older releases need another package for it
        pytest.skip(str(error))
    assert np.array_equal(found, table.numpy())


def test_fewer_samples_than_a_batch(method, data):
    few = {k: v[:2] for k, v in data.items()} | {"speakers": ["a", "b"]}
    model = method(batch_size=32).fit(**few)
    assert model.predict_proba(data["X"]).shape == (8, 2)


# ------------------------------------------- messages of NumPy's and scikit-learn's


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (np.array([["a"], [pd.NaT]], dtype=object), ValueError),
        (np.array([["a"], [1]], dtype=object), ValueError),
        (np.array([1j, 1]), ValueError),
        ([b"a", b"b"], TypeError),
    ],
)
@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_labels_that_are_refused_are_named(column, kind):
    with pytest.raises(kind, match=r"^y\b"):
        check_labels(column, 2, estimator=Stranger())


NAMED = {
    "y": (lambda y: check_mixed_labels(y, 2, estimator=Stranger()), [
        [[1], [1, 2]], np.zeros((2, 0)), np.array([1j, 1])
    ]),
    "sample_domain": (lambda domain: check_sample_domain(domain, np.zeros(2)), [
        [[1], [1, 2]], ["a", b"\xff"]
    ]),
    "X:": (check, [
        np.zeros(3), np.float32(1), np.zeros((2, 0)), np.ones((2, 2), complex), [[]]
    ]),
    "X[1] is not a sequence:": (check, [[np.ones((2, 3)), [[1.0], [1.0, 2.0]]]]),
    "y[0] is a object, expected a string": (
        lambda y: check_column(y, "y"), [[object(), object()]]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_what_is_refused_is_named(name):
    call, values = NAMED[name]
    for value in values:
        with pytest.raises((TypeError, ValueError), match=rf"^{re.escape(name)}"):
            call(value)


def test_a_message_does_not_show_a_whole_array():
    with pytest.raises(ValueError, match=r"^X: Complex data not supported") as info:
        check(np.ones((4, 4, 4, 4), complex) / 3)
    assert len(str(info.value)) < 600


def test_a_fit_does_not_copy_what_is_in_memory():
    """NumPy reports its arrays to tracemalloc; torch has a batch at a time."""
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((40, 600), np.float32) for _ in range(48)]
    own = sum(x.nbytes for x in X)
    quick = {"encoder": "conv", "max_epochs": 1, "batch_size": 8}
    model = SpeakerAdversarialClassifier(method=None, **quick)
    y = np.arange(48) % 2
    model.fit(X[:16], y[:16])  # imports and caches
    tracemalloc.start()
    try:
        model.fit(X, y)
        model.predict(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.2 * own
