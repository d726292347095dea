"""Loss terms: small stateless objects with a name, a weight and a ramp."""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from typing import ClassVar

import torch
from torch.nn import functional as F


def linear_ramp(progress):
    """Return the finished share of the training."""
    return progress


def sigmoid_ramp(progress):
    """Return 2 / (1 + exp(-10 p)) - 1, the ramp of domain adversarial training."""
    return 2 / (1 + exp(-10 * progress)) - 1


@dataclass(frozen=True)
class LossTerm:
    """One summand of a training loss.

    A subclass sets ``name`` and defines ``__call__(outputs, batch)``. The call takes
    the module's outputs (a dict) and the :class:`Batch`, and returns a scalar. A term
    of weight zero is neither computed nor recorded. A term that lists names in
    ``diagnostics`` returns a scalar and a dict, with a figure for each name. The
    history of the training has them as ``"train_<name of the term>_<name>"``.

    Parameters
    ----------
    weight : float, default=1
        Weight at the end of the training.
    ramp : callable, default=None
        It takes the finished share of the training, in [0, 1), and returns the share of
        the weight. None always applies the whole weight.
    """

    weight: float = 1.0
    ramp: Callable | None = None
    name: ClassVar[str]
    diagnostics: ClassVar[tuple] = ()

    def weight_at(self, progress):
        """Return the weight after a share of the training, in [0, 1]."""
        return self.weight if self.ramp is None else self.weight * self.ramp(progress)


@dataclass(frozen=True)
class CrossEntropy(LossTerm):
    """Cross-entropy of the logits, weighted per sample.

    The weights have mean one over the training set, and the sum over a batch is divided
    by the size of the batch. So samples of small weight make a small step.
    """

    label_smoothing: float = 0.0
    name: ClassVar[str] = "task"

    def smooth(self, labels):
        """Return distributions of the classes as the loss compares with them."""
        share = self.label_smoothing
        return (1 - share) * labels + share / labels.shape[-1]

    def __call__(self, outputs, batch):
        losses = F.cross_entropy(
            outputs["logits"],
            batch["y"],
            reduction="none",
            label_smoothing=self.label_smoothing,
        )
        return (losses * batch["weight"]).mean()


class TermSum(torch.nn.Module):
    """The weighted sum of loss terms; each term's own value; the terms' diagnostics."""

    def __init__(self, terms):
        super().__init__()
        self.terms = [term for term in terms if term.weight != 0]

    def forward(self, outputs, batch, progress=1.0):
        values, diagnostics = {}, {}
        for term in self.terms:
            value = term(outputs, batch)
            if term.diagnostics:
                value, found = value
                diagnostics |= {f"{term.name}_{k}": v for k, v in found.items()}
            values[term.name] = value
        total = sum(term.weight_at(progress) * values[term.name] for term in self.terms)
        return total, values, diagnostics
