"""Randomness that follows from a seed and leaves the caller's generators alone."""

import threading
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

# Modules initialise themselves from the global generator, so only one may at a time.
_LOCK = threading.RLock()
_KNOWN_PACKAGES = ("torch", "sklearn_ser")


@contextmanager
def seeded(seed, device="cpu"):
    """Seed the global generators of the CPU and of one device, and restore them.

    ``torch.manual_seed`` is not used: it seeds every accelerator of the machine.

    Parameters
    ----------
    seed : int
    device : str or torch.device, default="cpu"
    """
    with _LOCK, ExitStack() as stack:
        for get_state, set_state, set_seed in _global_generators(torch.device(device)):
            stack.callback(set_state, get_state())
            set_seed(seed)
        yield


def _global_generators(device):
    """Yield the functions that read, write and seed each generator."""
    generators = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    for generator in generators:
        yield generator.get_state, generator.set_state, generator.manual_seed
    if device.type == "mps":
        yield torch.mps.get_rng_state, torch.mps.set_rng_state, torch.mps.manual_seed


def draws_globally(module):
    """Tell whether a layer may draw from PyTorch's global generators.

    PyTorch's own random layers do. A user's layer may, since its ``forward`` can call
    ``F.dropout``.
    """
    if type(module).__module__.partition(".")[0] not in _KNOWN_PACKAGES:
        return True
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
        return module.dropout > 0
    return isinstance(module, nn.modules.dropout._DropoutNd)
