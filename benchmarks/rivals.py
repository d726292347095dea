"""What skada aligns corpora by, on DIDAN's network, batches and training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from sklearn import config_context
from torch import nn

from sklearn_ser import DIDANDomainAdapter
from sklearn_ser._sklearn import StrOptions
from sklearn_ser.didan import DIDAN, Regression
from sklearn_ser.nn.losses import LossTerm, linear_ramp

with config_context():  # its import turns metadata routing on
    from skada.deep import DANNLoss
    from skada.deep.losses import dan_loss, deepcoral_loss
    from skada.deep.modules import DomainClassifier


@dataclass(frozen=True)
class SkadaTerm(LossTerm):
    """One of skada's losses, of source and target at the last hidden layer."""

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
