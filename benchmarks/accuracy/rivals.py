"""The rivals of DIDAN: skada's losses on its network, and self-training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.svm import LinearSVC
from torch import nn

from sklearn_ser import DIDANDomainAdapter
from sklearn_ser._sklearn import StrOptions
from sklearn_ser.baseline import make_baseline
from sklearn_ser.didan import DIDAN, Regression
from sklearn_ser.nn.losses import LossTerm, linear_ramp

with config_context():  # its import turns metadata routing on
    from skada.deep import DANNLoss
    from skada.deep.losses import dan_loss, deepcoral_loss
    from skada.deep.modules import DomainClassifier


@dataclass(frozen=True)
class SkadaTerm(LossTerm):
    """One of skada's losses, of source and target at a hidden layer."""

    loss: Callable = dan_loss
    layer: str = "FC3"
    name: ClassVar[str] = "alignment"

    def __call__(self, outputs, batch):
        """Return the loss; zero without a target."""
        if "layers" not in outputs:  # a validation batch has no target
            return outputs["logits"].new_zeros(())
        return self.loss(*outputs["layers"][self.layer])


class DomainAdversarialDIDAN(DIDAN):
    """DIDAN's network with skada's domain classifier, behind a gradient reversal."""

    def __init__(self, n_classes, d=256, **arguments):
        super().__init__(n_classes, d, **arguments)
        self.domain = DomainClassifier(num_features=d // 4)
        # As skada has it, a softmax over the one class says 1 of everything.
        self.domain.classifier[-1] = nn.Sigmoid()

    def forward(self, x, lengths, target=None):
        """Add to the layers what the classifier says of each domain."""
        outputs = super().forward(x, lengths, target)
        if target is not None:
            layers = outputs["layers"]
            layers["domain"] = [self.domain(h) for h in layers["FC3"]]
        return outputs


class SkadaAdapter(DIDANDomainAdapter):
    """DIDANDomainAdapter with a term of skada's: "dan", "dann" or "deepcoral"."""

    _parameter_constraints: ClassVar = {
        **DIDANDomainAdapter._parameter_constraints,
        "alignment": [StrOptions({"dan", "dann", "deepcoral"})],
    }

    def _module(self, data):
        module, arguments = super()._module(data)
        return DomainAdversarialDIDAN if self.alignment == "dann" else module, arguments

    def _terms(self, data):
        loss, layer = {
            "dan": (dan_loss, "FC3"),
            "deepcoral": (deepcoral_loss, "FC3"),
            "dann": (DANNLoss(), "domain"),
        }[self.alignment]
        term = SkadaTerm(self.alignment_weight, linear_ramp, loss, layer)
        return [Regression(), term]


class SelfTraining(ClassifierMixin, BaseEstimator):
    """A linear classifier that learns from the confident half of its guesses.

    In each of `n_rounds`, the half of each guessed class with the largest margins joins
    the labelled rows.
    """

    __metadata_request__fit: ClassVar = {"sample_domain": True}

    def __init__(self, estimator, n_rounds=3):
        self.estimator = estimator
        self.n_rounds = n_rounds

    def fit(self, X, y, *, sample_domain):
        """Fit to the source, then `n_rounds` times to it and a half of the target."""
        source = np.asarray(sample_domain) >= 0
        rows, labels, target = X[source], np.asarray(y)[source], X[~source]
        self.estimator_ = clone(self.estimator).fit(rows, labels)
        for _ in range(self.n_rounds if len(target) else 0):
            sure, guessed = self._sure_half(target)
            more = np.r_[rows, target[sure]], np.r_[labels, guessed[sure]]
            self.estimator_ = clone(self.estimator).fit(*more)
        self.classes_ = self.estimator_.classes_
        return self

    def _sure_half(self, X):
        scores = self.estimator_.decision_function(X)
        if scores.ndim == 1:  # of two classes
            scores = np.c_[-scores, scores]
        guess, margin = scores.argmax(axis=1), np.diff(np.sort(scores))[:, -1]
        sure = []
        for c in np.unique(guess):
            own = np.flatnonzero(guess == c)
            order = own[np.argsort(-margin[own], kind="stable")]
            sure += order[: -(-len(own) // 2)].tolist()
        return sure, self.estimator_.classes_[guess]

    def predict(self, X):
        """Return the most probable class."""
        return self.estimator_.predict(X)


def make_rival(name):
    """Return a rival; the weights were chosen on the development transfers."""
    if name == "self-training":
        svm = LinearSVC(C=1e-3, class_weight="balanced", random_state=0)
        return SelfTraining(svm)
    if name == "self-training-lda":
        return SelfTraining(make_baseline(of_frames=False))
    weights = {"dan": 0.1, "dann": 0.1, "deepcoral": 1.0}
    return SkadaAdapter(alignment=name, alignment_weight=weights[name])
