"""Which domain a row has, and the statistics of each domain."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import DataConversionWarning

from sklearn_ser import DIDANDomainAdapter, SpeakerAdversarialClassifier
from sklearn_ser.domains import (
    check_domain_numbers,
    check_mixed_labels,
    check_sample_domain,
    known_domains,
    normalized_by_domain,
    statistics_by_domain,
)


def test_a_label_of_minus_one_is_the_target():
    found = check_sample_domain(None, np.array([0, -1, 1, -1]))
    assert found.tolist() == [1, -1, 1, -1]
    mixed = np.array(["joy", -1, None, np.nan], dtype=object)
    assert check_sample_domain(None, mixed).tolist() == [1, -1, 1, 1]
    assert check_sample_domain(None, np.array(["a", "-1"])).tolist() == [1, 1]
    with pytest.raises(ValueError, match=r"y is -1 in every row: there is no source"):
        check_sample_domain(None, np.array([-1, -1]))


def test_zero_is_a_source():
    y = np.zeros(3)
    assert check_sample_domain([0, -1, 2], y).tolist() == [0, -1, 2]
    message = (
        r"no source: found \[-2, -1\], expected at least one that is 0 or positive"
    )
    with pytest.raises(ValueError, match=message):
        check_sample_domain([-1, -2, -1], y)
    message = r"no target: found \[0, 2\], expected at least one that is negative"
    with pytest.raises(ValueError, match=message):
        check_sample_domain([0, 0, 2], y)


@pytest.mark.parametrize(
    "numbers",
    [[1, -1], np.array([1, -1], "i1"), [2.0**53 - 1, -1.0], np.array([1, 0], "u2")],
)
def test_numbers_of_domains_are_integers(numbers):
    found = check_domain_numbers(numbers, 2)
    assert found.dtype == np.int64
    assert found.tolist() == list(numbers)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([[1], [-1]], r"has shape \(2, 1\), expected \(n_samples,\) = \(2,\)"),
        (1, r"has shape \(\), expected"),
        ([1], "sample_domain"),
        ([0.5, -1.0], r"must hold integers, .*, got \[0\.5, -1\.0\]"),
        ([np.nan, -1.0], "must hold integers"),
        ([np.inf, -1.0], r"must hold integers, .*, got \[inf, -1\.0\]"),
        ([1.0, -1e300], "must hold integers"),
        ([2.0**53, -1.0], "must hold integers"),
        (["1", "-1"], "must hold integers"),
        ([True, False], "must hold integers"),
    ],
)
def test_numbers_that_are_none_are_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        check_domain_numbers(numbers, 2)


def test_a_new_domain_is_the_only_one_of_its_side():
    given = np.array([0, 5, -1, -9])
    assert known_domains(given, np.array([-1, 0])).tolist() == [0, 0, -1, -1]
    assert given.tolist() == [0, 5, -1, -9]  # the caller's stay
    # A fit without a target: all are taken for the source.
    assert known_domains(given, np.array([3])).tolist() == [3] * 4
    # Several on a side are no matter, as long as each row names one of them.
    several = np.array([-2, -1, 0, 1])
    assert known_domains(np.array([1, -2]), several).tolist() == [1, -2]
    for row, known, message in (
        (-3, several, r"the fit had several target domains, \[-2, -1\], each"),
        (2, several, r"the fit had several source domains, \[0, 1\], each"),
        (-1, np.array([1, 2]), "had no target and several source domains"),
    ):
        with pytest.raises(ValueError, match=message):
            known_domains(np.array([row, known[-1]]), known)


def test_each_domain_has_mean_zero_and_variance_one():
    rng = np.random.default_rng(0)
    X = [rng.normal(i % 2, 1 + i % 2, (3, 50 + i)).astype("f4") for i in range(8)]
    domain = np.array([0, -1] * 4)
    statistics = statistics_by_domain(X, domain)
    assert sorted(statistics) == [-1, 0]
    frames = np.hstack(X[::2]).astype(float)
    np.testing.assert_allclose(statistics[0], [frames.mean(1), frames.std(1)])
    found = normalized_by_domain(X, domain, statistics)
    for number in (0, -1):
        joined = np.concatenate(
            [x for x, d in zip(found, domain, strict=True) if d == number], axis=1
        )
        np.testing.assert_allclose(joined.mean(axis=1), 0, atol=1e-5)
        np.testing.assert_allclose(joined.std(axis=1), 1, atol=1e-5)
    one = statistics_by_domain(X[:1], domain[:1])
    np.testing.assert_array_equal(
        one[0][0].ravel(), X[0].mean(1, dtype=float), strict=False
    )


def test_labels_of_several_kinds_keep_theirs():
    check = lambda y: check_mixed_labels(y, 3, estimator=DIDANDomainAdapter())  # noqa: E731
    assert check(["joy", -1, "fear"]).tolist() == ["joy", -1, "fear"]
    assert check(("joy", -1, "fear")).dtype == object
    assert check(["a", "b", "c"]).dtype.kind == "U"
    assert check([0, 1, -1]).dtype.kind == "i"
    with pytest.warns(DataConversionWarning, match="column-vector"):
        assert check(np.zeros((3, 1))).shape == (3,)
    with pytest.raises(ValueError, match="y has 2"):
        check([0, 1])
    with pytest.raises((TypeError, ValueError), match="y"):
        check(None)
    with pytest.raises(ValueError, match="y "):
        check(np.zeros((3, 2)))


def test_what_is_requested_without_being_asked():
    """With metadata routing, the columns reach the adapter without a request."""
    routing = DIDANDomainAdapter().get_metadata_routing()
    of_domain = {"sample_domain": True, "allow_source": True}
    assert routing.predict.requests == routing.predict_proba.requests == of_domain
    assert routing.score.requests == of_domain | {"sample_weight": True}
    columns = dict.fromkeys(("speakers", "sample_domain", "validation"), True)
    assert routing.fit.requests == columns | {"sample_weight": None}


# ----------------------------------------------------------------- the type of labels

WORDS = np.array(["anger", "neutral"])[np.arange(24) % 2]
TARGET = np.arange(24) >= 16
COLUMNS = {
    "int8": (np.arange(24) % 2).astype(np.int8),
    "float32": (np.arange(24) % 2).astype(np.float32),
    "bool": np.arange(24) % 2 == 1,
    "object": WORDS.astype(object),
    "U20": WORDS.astype("U20"),
    "list": WORDS.tolist(),
    "categorical": pd.Series(WORDS).astype("category"),
    "string": pd.Series(WORDS, dtype="string"),
    "Int8": pd.Series(np.arange(24) % 2, dtype="Int8"),
    "boolean": pd.Series(np.arange(24) % 2 == 1, dtype="boolean"),
}
if hasattr(np.dtypes, "StringDType"):  # NumPy 2
    COLUMNS["StringDType"] = WORDS.astype(np.dtypes.StringDType())


@pytest.fixture(scope="module")
def table():
    return np.random.default_rng(0).normal(size=(24, 3))


def small(cls, **params):
    return cls(encoder="pointwise", max_epochs=1, random_state=0, **params)


def adapter():
    return small(DIDANDomainAdapter, alignment=None)


@pytest.mark.parametrize("name", COLUMNS)
def test_classes_have_the_type_that_other_classifiers_give_them(table, name):
    y = COLUMNS[name]
    plain = small(SpeakerAdversarialClassifier, method=None).fit(table, y)
    domain = np.where(TARGET, -1, 1)
    model = adapter().fit(table, y, sample_domain=domain)
    expected = {"int8": "i1", "float32": "f4", "bool": "?", "Int8": "i1"}
    expected |= {"boolean": "?", "U20": "<U20", "list": "<U7"}
    for fitted in (plain, model):
        assert fitted.classes_.dtype == np.dtype(expected.get(name, object))
        assert fitted.predict(table).dtype == fitted.classes_.dtype
    assert model.classes_.tolist() == plain.classes_.tolist()


@pytest.mark.parametrize(
    ("y", "dtype"),
    [
        (np.where(TARGET, -1, np.arange(24) % 2).astype(np.int8), "i1"),
        (np.where(TARGET, -1, WORDS.astype(object)), object),
        ([-1 if t else w for t, w in zip(TARGET, WORDS.tolist(), strict=True)], "<U7"),
        ([-1 if t else i % 2 == 1 for i, t in enumerate(TARGET)], "?"),
        (pd.Series(np.where(TARGET, -1, WORDS.astype(object)), dtype="category"), "O"),
        (pd.Series(np.arange(24) % 2, dtype="Int8").mask(TARGET), "i1"),
        (pd.Series(np.arange(24) % 2 == 1, dtype="boolean").mask(TARGET), "?"),
        (pd.Series(WORDS, dtype="string").mask(TARGET), object),
        (np.where(TARGET, np.nan, np.arange(24) % 2).astype(np.float32), "f4"),
        (np.where(TARGET, None, (np.arange(24) % 2).astype(object)), int),
        ([None if t else i % 2 == 1 for i, t in enumerate(TARGET)], "?"),
    ],
)
def test_marks_and_gaps_of_the_target_leave_the_type_of_the_labels(table, y, dtype):
    marked = -1 in [label for label in y if not pd.isna(label)]
    model = adapter().fit(
        table, y, sample_domain=None if marked else np.where(TARGET, -1, 1)
    )
    assert model.classes_.dtype == np.dtype(dtype)
    assert len(model.classes_) == 2


def test_a_column_of_labels_has_its_type_too(table):
    domain = np.where(TARGET, -1, 1)
    y = (np.arange(24) % 2).astype(np.int8)[:, None]
    for column in (y, pd.DataFrame(y)):
        with pytest.warns(DataConversionWarning):
            model = adapter().fit(table, column, sample_domain=domain)
        assert model.classes_.dtype == np.int8
