"""What a net borrows from its process: generators, threads, settings and a device."""

import os
import random
import threading
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

_OWN_PACKAGES = ("torch", "sklearn_ser")
# Beside another process, the threads of a network below this size wait for each other:
# two took two to three times as long as one.
SMALL = 2_000_000  # parameters


class _Turns:
    """A reentrant lock; a thread that waits is served before its owner comes again.

    By a plain lock, a training that takes a turn for each batch could keep others out.
    """

    def __init__(self):
        self._next, self._lock = threading.Lock(), threading.RLock()
        self._own = threading.local()

    def acquire(self):
        """Take the lock."""
        depth = getattr(self._own, "depth", 0)
        if depth:
            self._lock.acquire()
        else:
            with self._next:
                self._lock.acquire()
        self._own.depth = depth + 1

    def release(self):
        """Let go of the lock."""
        self._own.depth -= 1
        self._lock.release()

    def release_in_child(self):
        """Let go of the lock in a new process, where nobody waits."""
        self._next = threading.Lock()
        self.release()


# The global generators belong to the whole process, so only one user of them at a time.
_TURNS = _Turns()


class Draws:
    """The global generators of one fit, in the place of the caller's while in use.

    PyTorch's modules initialise themselves from the global generators, and a user's
    code may draw from those of PyTorch, NumPy and Python. Within ``with draws:`` such
    code continues a sequence that follows from the seed. Afterwards the caller's
    generators are as they were. Other threads wait for their turn, so keep it short.
    The generator of the device, if it is an accelerator, counts too.
    """

    def __init__(self, seed, device="cpu"):
        self._seed = seed
        self._device = torch.device(device)
        self._kept = None
        self._depth = 0

    def __enter__(self):
        _TURNS.acquire()
        try:
            if not self._depth:
                self._swap()
            self._depth += 1
        except BaseException:
            _TURNS.release()
            raise

    def __exit__(self, *error):
        try:
            self._depth -= 1
            if not self._depth:
                self._swap()
        finally:
            _TURNS.release()

    def _swap(self):
        """Exchange the states in use for those that are kept, or for fresh ones."""
        found = []
        for i, (get, put, seed) in enumerate(_global_generators(self._device)):
            found.append(get())
            if self._kept is None:
                seed(self._seed)
            else:
                put(self._kept[i])
        self._kept = found


def _global_generators(device):
    """Yield the functions that read, write and seed each generator.

    ``torch.manual_seed`` is not used: it seeds every accelerator of the machine.
    """
    generators = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    for generator in generators:
        yield generator.get_state, generator.set_state, generator.manual_seed
    if device.type == "mps":
        yield torch.mps.get_rng_state, torch.mps.set_rng_state, torch.mps.manual_seed
    yield _get_numpy, _set_numpy, _seed_numpy
    yield random.getstate, random.setstate, random.seed


# NumPy's global generator may be of another kind than the usual one.
def _get_numpy():
    return np.random.get_bit_generator(), np.random.get_state(legacy=False)  # noqa: NPY002


def _set_numpy(state):
    np.random.set_bit_generator(state[0])
    np.random.set_state(state[1])  # noqa: NPY002


def _seed_numpy(seed):
    np.random.set_bit_generator(np.random.MT19937(seed))


def is_own(kind):
    """Tell whether a class or function is PyTorch's or this library's.

    What is not may draw from the global generators anywhere: a user's ``forward`` can
    call ``F.dropout``. Random layers of this library have generators of their own.
    """
    return kind.__module__.partition(".")[0] in _OWN_PACKAGES


class NothingDrawn(TorchFunctionMode):
    """Leaves out the random initialisation of modules that this thread makes.

    Their weights are then loaded, and nobody waits for the global generators.
    """

    _draws = frozenset({"uniform_", "normal_", "kaiming_uniform_", "trunc_normal_"})

    def __torch_function__(self, function, types, args=(), kwargs=None):
        """Return the tensor that a random function should fill."""
        kwargs = kwargs or {}
        if getattr(function, "__name__", None) in self._draws:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


class _Threads:
    """How many threads run a small network now, and how many each had before."""

    lock, running, before = threading.Lock(), 0, 1
    here = threading.local()  # PyTorch's number of threads is that of one thread, too


def _forget_the_others():
    """In a new process, no other thread runs a network."""
    _Threads.lock = threading.Lock()
    _Threads.running = int(getattr(_Threads.here, "small", False))


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


if hasattr(os, "register_at_fork"):
    # Otherwise a child could have the lock of a thread that it has not.
    os.register_at_fork(
        before=_TURNS.acquire,
        after_in_parent=_TURNS.release,
        after_in_child=_TURNS.release_in_child,
    )
    os.register_at_fork(after_in_child=_forget_the_others)
