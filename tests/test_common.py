"""scikit-learn's checks, for every public estimator with its defaults.

Nets train for one epoch, or for as many as it takes to pass the checks that score.
Where slow tests run, those that score have all epochs, too.
"""

import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import (
    estimator_checks_generator,
    parametrize_with_checks,
)

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


def name_of(check):
    """Return the name of a check, which may have arguments."""
    return getattr(check, "func", check).__name__


NETS = [DIDANDomainAdapter(), DSNetClassifier(), SpeakerAdversarialClassifier()]
# What the checks that score need in order to pass, of the default 20 or 40 epochs; one
# is enough for all others.
EPOCHS = {"check_class_weight_classifiers": 8, "check_classifiers_train": 8}


@pytest.mark.filterwarnings("ignore::sklearn_ser.SpeakersMissingWarning")
@pytest.mark.filterwarnings("ignore::sklearn_ser.TargetMissingWarning")
@parametrize_with_checks(
    [*NETS, SpeakerNormalizer()],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_checks(estimator, check):
    if "max_epochs" in estimator.get_params():
        n_epochs = EPOCHS.get(name_of(check), 1)
        estimator = clone(estimator).set_params(max_epochs=n_epochs)
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn_ser.SpeakersMissingWarning")
@pytest.mark.filterwarnings("ignore::sklearn_ser.TargetMissingWarning")
@pytest.mark.parametrize("net", NETS, ids=str)
def test_checks_that_score_with_all_defaults(net):
    for estimator, check in estimator_checks_generator(net):
        if name_of(check) in EPOCHS and "readonly_memmap" not in str(check):
            check(estimator)
