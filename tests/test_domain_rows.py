"""Which domain a row has, and the statistics of each domain."""

import numpy as np
import pytest
from sklearn.exceptions import DataConversionWarning

from sklearn_ser import DIDANDomainAdapter
from sklearn_ser.domain_data import (
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


def test_at_most_three_wrong_numbers_are_shown():
    with pytest.raises(ValueError, match=r"got \[0\.5, 1\.5, 2\.5\]\.\.\."):
        check_domain_numbers(np.arange(5) + 0.5, 5)


def test_a_new_domain_is_the_only_one_of_its_side():
    given = np.array([0, 5, -1, -9])
    assert known_domains(given, np.array([-1, 0])).tolist() == [0, 0, -1, -1]
    assert given.tolist() == [0, 5, -1, -9]  # the caller's stay
    # A fit without a target: all are taken for the source.
    assert known_domains(given, np.array([3])).tolist() == [3] * 4
    # Several on a side are no matter, as long as each row names one of them.
    several = np.array([-2, -1, 0, 1])
    assert known_domains(np.array([1, -2]), several).tolist() == [1, -2]
    for row, side, fitted in ((-3, "target", "-2, -1"), (2, "source", "0, 1")):
        message = rf"the fit had several {side} domains, \[{fitted}\], each"
        with pytest.raises(ValueError, match=message):
            known_domains(np.array([row, 0]), several)


def test_each_domain_has_mean_zero_and_variance_one():
    rng = np.random.default_rng(0)
    X = [rng.normal(i % 2, 1 + i % 2, (3, 50 + i)).astype("f4") for i in range(8)]
    domain = np.array([0, -1] * 4)
    statistics = statistics_by_domain(X, domain)
    assert sorted(statistics) == [-1, 0]
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
