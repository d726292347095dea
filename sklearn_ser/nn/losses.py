"""Loss terms: small stateless objects with a name and a weight."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class LossTerm:
    """One summand of a training loss.

    A subclass sets ``name`` and defines ``__call__(outputs, batch)``, which takes
    the module's outputs (a dict) and the :class:`Batch`, and returns a scalar.
    A term of weight zero is neither computed nor recorded.
    """

    weight: float = 1.0
    name: ClassVar[str]


@dataclass(frozen=True)
class CrossEntropy(LossTerm):
    """Cross-entropy of the logits, weighted per sample.

    Sample weights have mean one over the training set and batches are divided by
    their size, so a batch without heavy samples makes a small step.
    """

    label_smoothing: float = 0.0
    name: ClassVar[str] = "task"

    def __call__(self, outputs, batch):
        losses = F.cross_entropy(
            outputs["logits"],
            batch["y"],
            reduction="none",
            label_smoothing=self.label_smoothing,
        )
        return (losses * batch["weight"]).mean()


class TermSum(torch.nn.Module):
    """The weighted sum of loss terms; ``values`` holds each one, unweighted."""

    def __init__(self, terms):
        super().__init__()
        self.terms = [term for term in terms if term.weight != 0]

    def forward(self, outputs, batch):
        values = {term.name: term(outputs, batch) for term in self.terms}
        total = sum(term.weight * values[term.name] for term in self.terms)
        return total, values
