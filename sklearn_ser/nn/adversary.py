"""A net with an adversary, a part of the module with its own optimiser."""

from contextlib import contextmanager
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from .net import SpeechNet


class AdversarialNet(SpeechNet):
    """A net whose adversary has its own optimiser and random generator.

    A subclass names the part of the module that is the adversary, and calls
    ``step_adversary`` when the part has its gradients.

    Parameters
    ----------
    module, **kwargs
        As for :class:`SpeechNet`.
    adversary_lr : float
        Learning rate of the adversary's Adam.
    adversary_clip : float or None
        Largest norm of the adversary's gradient; None does not limit it.
    """

    adversary_name: ClassVar[str]
    adversary_loss: ClassVar[str] = "adversary_loss"  # its name in the history

    def __init__(self, module, *, adversary_lr=3e-3, adversary_clip=5.0, **kwargs):
        self.adversary_lr = adversary_lr
        self.adversary_clip = adversary_clip
        super().__init__(module, **kwargs)

    def initialize(self):
        """Seed the adversary's generator beside the one of the other parts."""
        seed = np.random.SeedSequence(self.seed).spawn(3)[2]
        self.adversary_rng_ = np.random.default_rng(seed)
        self.adversary_losses_ = []
        return super().initialize()

    @property
    def adversary(self):
        """The part of the module that is the adversary."""
        return getattr(self.module_, self.adversary_name)

    def random_layers(self):
        """Yield the adversary's layers with the adversary's generator."""
        own = set(self.adversary.modules())
        for layer, rng in super().random_layers():
            yield layer, self.adversary_rng_ if layer in own else rng

    def lasting_weights(self):
        """Leave out the adversary: its outputs are the speakers of one fit."""
        weights = super().lasting_weights()
        prefix = f"{self.adversary_name}."
        return {k: v for k, v in weights.items() if not k.startswith(prefix)}

    def get_all_learnable_params(self):
        """Yield the parameters of the other parts, which the first optimiser trains."""
        for name, parameter in super().get_all_learnable_params():
            if not name.startswith(f"{self.adversary_name}."):
                yield name, parameter

    def initialize_optimizer(self):
        """Make one optimiser for the adversary and one for the rest."""
        super().initialize_optimizer()
        if self._is_loaded:
            return self
        self.adversary_optimizer_ = torch.optim.Adam(
            self.adversary.parameters(),
            lr=self.adversary_lr,
            fused=torch.device(self.device).type in ("cpu", "cuda"),
        )
        return self

    def _step_optimizer(self, step_fn):
        self.optimizer_.step(step_fn)

    def backward_apart(self, loss, adversary_loss):
        """Compute the adversary's gradients from its loss, the others from the net's.

        Parameters
        ----------
        loss, adversary_loss : tensor
            Scalars of one graph.
        """
        own = list(self.adversary.parameters())
        gradients = torch.autograd.grad(adversary_loss, own, retain_graph=True)
        loss.backward()
        for parameter, gradient in zip(own, gradients, strict=True):
            parameter.grad = gradient

    def step_adversary(self, loss):
        """Take a step of the adversary's optimiser, and keep its loss."""
        if self.adversary_clip is not None:
            nn.utils.clip_grad_norm_(self.adversary.parameters(), self.adversary_clip)
        self.adversary_optimizer_.step()
        self.adversary_losses_.append(loss.item())

    def run_single_epoch(self, iterator, training, **kwargs):
        """Record the adversary's loss beside the others."""
        super().run_single_epoch(iterator, training, **kwargs)
        if training and self.adversary_losses_:  # none if a callback ended the epoch
            mean = float(np.mean(self.adversary_losses_))
            self.history.record(self.adversary_loss, mean)
            self.adversary_losses_.clear()


@contextmanager
def frozen(module):
    """Keep a module's parameters as they are; gradients still pass through it."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


def joined(batches, *names):
    """Join tensors of several batches, dicts of tensors, into one dict of them."""
    return {name: torch.cat([b[name] for b in batches]) for name in names}
