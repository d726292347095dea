"""scikit-learn's checks, for every public estimator with its defaults."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_ser import DSNetClassifier

_MINIBATCHES = "minibatches: a weight of two is not two samples in a batch"

EXPECTED_FAILURES = {
    "DSNetClassifier": {"check_sample_weight_equivalence_on_dense_data": _MINIBATCHES},
}


def expected_failures(estimator):
    """Return the table's row of an estimator."""
    return EXPECTED_FAILURES[type(estimator).__name__]


@pytest.mark.filterwarnings("ignore::sklearn_ser.SpeakersMissingWarning")
@parametrize_with_checks([DSNetClassifier()], expected_failed_checks=expected_failures)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
