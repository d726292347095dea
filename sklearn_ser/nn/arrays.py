"""From the tensors of a module to arrays, and back."""

import numpy as np
import torch

# By the size of a number: the integers in which NumPy can hold its bits.
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}


def all_tensors(module):
    """Return parameters and buffers by name, with those that no state dict has."""
    return dict(module.named_buffers()) | module.state_dict()


def restore(module, tensors, device=None):
    """Put what `all_tensors` returned into a module of the same class.

    A buffer may have got another shape in the training, so it is replaced.
    """
    parameters = dict(module.named_parameters())
    for name, value in tensors.items():
        path, _, leaf = name.rpartition(".")
        owner = module.get_submodule(path)
        if name not in parameters and isinstance(value, torch.Tensor):
            buffer, own = value.detach().clone().to(device), getattr(owner, leaf, None)
            if own is not None and own.shape == buffer.shape:
                buffer = buffer.to(own.dtype)  # a net in training is in float32
            if leaf in owner._buffers:
                owner._buffers[leaf] = buffer
            else:
                owner.register_buffer(leaf, buffer)
    persistent = module.state_dict().keys()
    module.load_state_dict({k: v for k, v in tensors.items() if k in persistent})


def to_numpy(value):
    """Copy a tensor to an array; its bits, if NumPy lacks the type of its numbers."""
    if not isinstance(value, torch.Tensor):  # a module's "extra state"
        return value
    value = value.detach().cpu().clone()
    try:
        return value.numpy()
    except TypeError:
        return value.view(_BITS[value.element_size()]).numpy()


def to_tensor(array, dtype=None):
    """Copy an array, which may be read-only, to a tensor.

    `dtype` is the name of the type whose bits the array holds, if NumPy lacks it.
    """
    tensor = torch.from_numpy(np.array(array))
    own = tensor.dtype if dtype is None else getattr(torch, dtype)
    return tensor if tensor.dtype == own else tensor.view(own)
