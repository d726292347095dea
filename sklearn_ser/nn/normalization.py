"""The exact statistics of batch normalisation, with which a network predicts."""

import copy
from collections import Counter
from functools import partial
from itertools import chain

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from .layers import moments


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
    mean, var, n_cells = moments(x.float(), mask)
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
