"""PyTorch's settings during a training or a prediction, whatever the caller's are."""

import threading
from contextlib import ExitStack, contextmanager

import torch


class _DefaultType:
    """How many computations run now, and which type new tensors had before."""

    lock, running, before = threading.Lock(), 0, torch.float32


@contextmanager
def own_settings():
    """Make tensors of float32 on the CPU, with gradients; then restore the settings.

    A caller may compute in double precision, or without gradients, on another device or
    in mixed precision. The default type is one for all threads of a process, so the
    last computation that ends restores it.
    """
    with _DefaultType.lock:
        if not _DefaultType.running:
            _DefaultType.before = torch.get_default_dtype()
        _DefaultType.running += 1
        torch.set_default_dtype(torch.float32)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            for kind in ("cpu", "cuda", "mps"):
                if torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            yield
    finally:
        with _DefaultType.lock:
            _DefaultType.running -= 1
            if not _DefaultType.running:
                torch.set_default_dtype(_DefaultType.before)
