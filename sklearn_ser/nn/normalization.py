"""Normalisation by statistics that are set before training, or by batch statistics."""

import copy
from collections import Counter
from functools import partial
from itertools import chain

import torch
from torch import nn
from torch.nn import functional as F
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
    enter the statistics, and the output is zero there. Training leaves ``running_mean``
    and ``running_var`` as they are: :func:`set_statistics` sets them.

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
        if x.shape[1:] == (self.num_features, 1) and len(x) > 1:  # without padding
            return F.batch_norm(
                x, None, None, self.weight, self.bias, training=True, eps=self.eps
            )
        mean, var, _ = _moments(x, mask)
        shape = [1, -1] + [1] * (x.ndim - 2)
        centred = (x - mean.view(shape)) * mask
        scale = self.weight * (var + self.eps).rsqrt()
        return torch.addcmul(self.bias.view(shape) * mask, centred, scale.view(shape))


def _moments(x, mask=None):
    """Return mean, variance and number of the true cells of each channel."""
    axes = [axis for axis in range(x.ndim) if axis != 1]
    if mask is None:
        mask = x.new_ones((1,) * x.ndim)
    n_cells = mask.expand(x.shape[0], 1, *x.shape[2:]).sum()
    mean = (x * mask).sum(axes) / n_cells
    centred = (x - mean.view([1, -1] + [1] * (x.ndim - 2))) * mask
    return mean, centred.square().sum(axes) / n_cells, n_cells


def batch_norms(module):
    """Return the layers below a module that keep statistics for prediction."""
    return [
        m
        for m in module.modules()
        if isinstance(m, _BatchNorm) and m.running_mean is not None
    ]


def keep_statistics(module):
    """Let training leave the statistics for prediction as they are."""
    for norm in batch_norms(module):
        norm.momentum = 0.0


def with_own_statistics(module):
    """Return a copy that shares the parameters and has its own statistics."""
    return copy.deepcopy(module, {id(p): p for p in module.parameters()})


class _Complete(Exception):
    """A batch has reached all that is wanted of it."""


@torch.no_grad()
def set_statistics(module, in_batches):
    """Set the statistics of batch normalisation to those of all inputs, exactly.

    The input of a layer depends on the statistics of the layers before it. So the
    layers follow one another, with one pass over the inputs for each, by
    ``in_batches(compute)``, which yields ``compute(x, lengths)`` for each batch. The
    passes have no noise, dropout or augmentation. Each true cell counts once, whatever
    its batch. The module is in evaluation mode afterwards.
    """
    module.eval()
    calls = Counter()  # of the layers, in the order in which a batch reaches them

    def first_look(norm, args, kwargs):
        calls[norm] += 1
        _store(norm, [_cells(*args, **kwargs)])

    # If there is a single batch, each layer sees all inputs in it.

    results = in_batches(partial(_run, module, batch_norms(module), first_look))
    next(results)
    if next(results, _Complete) is _Complete:
        return
    for norm, n_calls in calls.items():
        parts = in_batches(partial(_cells_before, module, norm, n_calls))
        _store(norm, chain.from_iterable(parts))


def _cells_before(module, norm, n_calls, x, lengths):
    """Return the cells of a batch at a layer, once for each time that it is called."""
    found = []

    def collect(norm, args, kwargs):
        found.append(_cells(*args, **kwargs))
        if len(found) == n_calls:
            raise _Complete

    _run(module, [norm], collect, x, lengths)
    return found


def _run(module, norms, hook, x, lengths):
    """Apply a module to a batch, with a hook before some of its layers."""
    handles = [n.register_forward_pre_hook(hook, with_kwargs=True) for n in norms]
    try:
        module(x, lengths)
    except _Complete:
        pass
    finally:
        for handle in handles:
            handle.remove()


def _cells(x, mask=None):
    """Return number, mean and sum of squared deviations of the cells, in float64."""
    mean, var, n_cells = _moments(x.float(), mask)
    n_cells = float(n_cells)
    return n_cells, mean.cpu().double(), var.cpu().double() * n_cells


def _store(norm, parts):
    """Set the statistics of a layer to those of the cells of all parts."""
    n, mean, squares = 0.0, 0.0, 0.0
    for n_part, mean_part, squares_part in parts:
        total = n + n_part
        gap = mean_part - mean
        mean = mean + gap * (n_part / total)
        squares = squares + squares_part + gap.square() * (n * n_part / total)
        n = total
    norm.running_mean.copy_(mean.to(norm.running_mean.dtype))
    norm.running_var.copy_((squares / n).to(norm.running_var.dtype))
    if norm.num_batches_tracked is not None:  # they are of no batch of the training
        norm.num_batches_tracked.zero_()
