"""The progress of a training, for a progress bar around it."""

from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar = ContextVar("listener", default=None)


@contextmanager
def listening(listener):
    """Call ``listener(done)``, done in [0, 1], as trainings in the block go on."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(done):
    """Report the finished share of a training to the listener, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener(done)
