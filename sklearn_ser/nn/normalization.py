"""Normalisation by statistics that are set before training, or by batch statistics."""

import copy
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class Standardize(nn.Module):
    """Affine standardisation of each feature with statistics set before training."""

    def __init__(self, n_features):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))

    def set_statistics(self, mean, scale):
        """Set mean and scale, arrays of shape (n_features,)."""
        self.mean.copy_(torch.as_tensor(mean, dtype=torch.float32))
        self.scale.copy_(torch.as_tensor(scale, dtype=torch.float32))

    def forward(self, x):
        return (x - self.mean[:, None]) / self.scale[:, None]


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the true cells of (n_samples, n_channels, ...).

    ``mask`` broadcasts against the input, and is 1 for a true cell. Padded cells do not
    enter the statistics, and the output is zero there.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ser.nn.layers import MaskedBatchNorm, frame_mask
    >>> x = torch.tensor([[[1.0, 3.0, 9.0]]])
    >>> mask = frame_mask(torch.tensor([2]), 3)[:, None]
    >>> MaskedBatchNorm(1)(x, mask).tolist()[0][0][2]
    0.0
    """

    def _check_input_dim(self, input):
        """Accept any number of trailing axes."""

    def forward(self, x, mask):
        if not self.training:
            return super().forward(x) * mask
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        n_cells = mask.expand(x.shape[0], 1, *x.shape[2:]).sum()
        mean = (x * mask).sum(axes) / n_cells
        centred = (x - mean.view(shape)) * mask
        var = centred.square().sum(axes) / n_cells
        with torch.no_grad():
            self.num_batches_tracked += 1
            momentum = self.momentum
            if momentum is None:  # the plain mean over batches, as in PyTorch
                momentum = 1 / float(self.num_batches_tracked)
            unbiased = var * n_cells / (n_cells - 1).clamp(min=1)
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(unbiased, momentum)
        scale = self.weight * (var + self.eps).rsqrt()
        return torch.addcmul(self.bias.view(shape) * mask, centred, scale.view(shape))


def batch_norms(module):
    """Return the layers below a module that keep running statistics, in order."""
    return [
        m
        for m in module.modules()
        if isinstance(m, _BatchNorm) and m.running_mean is not None
    ]


@contextmanager
def kept_statistics(module):
    """Keep the running statistics of batch normalisation unchanged in training."""
    norms = batch_norms(module)
    kept = [(m.momentum, m.num_batches_tracked.clone()) for m in norms]
    try:
        for m in norms:
            m.momentum = 0.0
        yield
    finally:
        for m, (momentum, n_batches) in zip(norms, kept, strict=True):
            m.momentum = momentum
            m.num_batches_tracked.copy_(n_batches)


def twin(module):
    """Return a copy that shares the parameters and has its own running statistics."""
    return copy.deepcopy(module, {id(p): p for p in module.parameters()})


@torch.no_grad()
def estimate_statistics(module, batches):
    """Set running statistics to their means over batches, and change nothing else.

    Parameters
    ----------
    module : nn.Module
        Called as ``module(x, lengths)``, without dropout or augmentation.
    batches : iterable of (x, lengths)
    """
    norms = batch_norms(module)
    momenta = [m.momentum for m in norms]
    module.eval()
    for m in norms:
        m.reset_running_stats()
        m.momentum = None
        m.train()
    for x, lengths in batches:
        module(x, lengths)
    for m, momentum in zip(norms, momenta, strict=True):
        m.momentum = momentum
    module.eval()
