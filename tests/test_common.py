"""scikit-learn's checks, for every public estimator with its defaults."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_ser import (
    DIDANDomainAdapter,
    DSNetClassifier,
    SpeakerAdversarialClassifier,
    SpeakerNormalizer,
)

_MINIBATCHES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "minibatches: a weight of two is not two samples in a batch"
    )
}

EXPECTED_FAILURES = {
    "DIDANDomainAdapter()": _MINIBATCHES
    | {"check_classifiers_classes": "the label -1 marks the rows of the target"},
    "DSNetClassifier()": _MINIBATCHES,
    "SpeakerAdversarialClassifier()": _MINIBATCHES,
    "SpeakerNormalizer()": {},
}


def expected_failures(estimator):
    """Return the table's row of an estimator."""
    return EXPECTED_FAILURES[str(estimator)]


@pytest.mark.filterwarnings("ignore::sklearn_ser.SpeakersMissingWarning")
@pytest.mark.filterwarnings("ignore::sklearn_ser.TargetMissingWarning")
@parametrize_with_checks(
    [
        DIDANDomainAdapter(),
        DSNetClassifier(),
        SpeakerAdversarialClassifier(),
        SpeakerNormalizer(),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
