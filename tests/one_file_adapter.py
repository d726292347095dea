"""Deep CORAL (Sun and Saenko, 2016, arXiv:1607.01719): a second adapter, in one file.

Source and target get features of one covariance. `test_one_file.py` puts it to use.
"""

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

from torch import nn

from sklearn_ser._sklearn import Interval
from sklearn_ser.base import BaseSpeechClassifier
from sklearn_ser.domains import DomainAdapterMixin
from sklearn_ser.nn.adaptation import source_and_target
from sklearn_ser.nn.encoders import UtteranceEncoder
from sklearn_ser.nn.layers import LogitLayer
from sklearn_ser.nn.losses import CrossEntropy, LossTerm


class CoralNetwork(nn.Module):
    def __init__(self, n_classes, d=64, **encoder):
        super().__init__()
        self.encoder = UtteranceEncoder(n_embedding=d, **encoder)
        self.fc = nn.Sequential(nn.Linear(d, d // 2), nn.BatchNorm1d(d // 2), nn.ReLU())
        self.head = LogitLayer(d // 2, n_classes)

    def layers(self, x, lengths):
        return {"fc": self.fc(self.encoder(x, lengths))}

    def forward(self, x, lengths, target=None):
        if target is None:
            source, aligned = self.layers(x, lengths), {}
        else:
            source, target = source_and_target(
                self.layers, (x, lengths), target, own_statistics=True
            )
            aligned = {"fc": (source["fc"], target["fc"])}
        return {"logits": self.head(source["fc"]), "embedding": source["fc"], **aligned}


@dataclass(frozen=True)
class CovarianceAlignment(LossTerm):
    """||C_s - C_t||_F^2 / (4 d^2)."""

    name: ClassVar[str] = "alignment"

    def __call__(self, outputs, batch):
        if "fc" not in outputs:  # a validation batch has no target
            return outputs["logits"].new_zeros(())
        C_s, C_t = (h.T.cov() for h in outputs["fc"])
        return (C_s - C_t).square().mean() / 4


class DeepCoralAdapter(DomainAdapterMixin, BaseSpeechClassifier):
    _parameter_constraints: ClassVar = {
        **BaseSpeechClassifier._parameter_constraints,
        "alignment_weight": [Interval(Real, 0, None, closed="left")],
        "normalize_domains": ["boolean"],
    }

    alignment_weight: float = 1.0
    normalize_domains: bool = True
    max_epochs: int = 20

    def _module(self, data):
        sizes = {"n_classes": len(data.classes)}
        return CoralNetwork, sizes | self._encoder_arguments(data)

    def _terms(self, data):
        return [CrossEntropy(), CovarianceAlignment(self.alignment_weight)]
