"""Where a network computes: its device, its threads, and PyTorch's settings."""

import os
import threading
from contextlib import ExitStack, contextmanager

import torch

# Beside another process, the threads of a network below this size wait for each other:
# two took two to three times as long as one.
SMALL = 2_000_000  # parameters


class _Threads:
    """How many threads run a small network now, and how many each had before."""

    lock, running, before = threading.Lock(), 0, 1
    here = threading.local()  # PyTorch's number of threads is that of one thread, too


def _forget_the_others():
    """In a new process, no other thread runs a network."""
    _Threads.lock = threading.Lock()
    _Threads.running = int(getattr(_Threads.here, "small", False))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_others)


@contextmanager
def threads_for(module):
    """Let PyTorch compute a small network in one thread; then restore its number."""
    small = sum(p.numel() for p in module.parameters()) < SMALL
    if not small or getattr(_Threads.here, "small", False):
        yield  # a callback of a fit may predict: the fit goes on in one thread
        return
    with _Threads.lock:
        if not _Threads.running:
            _Threads.before = torch.get_num_threads()
        _Threads.running += 1
    _Threads.here.small = True
    torch.set_num_threads(1)
    try:
        yield
    finally:
        _Threads.here.small = False
        with _Threads.lock:
            _Threads.running -= 1
        torch.set_num_threads(_Threads.before)


def training_device(device):
    """Return the device that a caller asked for; refuse one that is not there."""
    if device == "auto":
        return existing_device("cuda" if torch.cuda.is_available() else "mps")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device is {device!r}: {error}") from error
    if existing_device(found) != found:
        raise ValueError(
            f"device is {str(device)!r}, but this machine has no such device. Expected "
            '"auto", which takes the best device that is there, or "cpu".'
        )
    return found


def existing_device(device):
    """Return a device of the same kind that this machine has, else the CPU."""
    device = torch.device(device)
    if device.type == "cuda":
        n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if n_devices and (device.index or 0) >= n_devices:
            return torch.device("cuda", 0)
        return device if n_devices else torch.device("cpu")
    return device if device.type == "cpu" or _computes(device) else torch.device("cpu")


def _computes(device):
    """Tell whether tensors of a device have values; those of "meta" have none."""
    try:
        return torch.zeros(1, device=device).item() == 0
    except Exception:  # each backend that is not there has its own kind
        return False


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
