"""Worker processes that end when their parent process ends.

A process that is killed by SIGKILL cannot stop its workers. They would compute to the
end of their job, and nobody would read the result.
"""

import os
import threading
import time

from sklearn.utils.parallel import delayed

_SECONDS = 1.0  # between two looks at the parent

_watching = threading.Event()


def tied_to_this_process(jobs):
    """Yield jobs of `delayed` that end when this process ends.

    Parameters
    ----------
    jobs : iterable of (function, args, kwargs)
        As scikit-learn's `delayed` makes them.

    Yields
    ------
    job : (function, args, kwargs)
    """
    for function, args, kwargs in jobs:
        yield delayed(_call)(os.getpid(), function.__wrapped__, args, kwargs)


def _call(parent, function, args, kwargs):
    # A thread, or a worker of another machine, has another parent and is left alone.
    if os.getppid() == parent and not _watching.is_set():
        _watching.set()
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    return function(*args, **kwargs)


def _watch(parent):
    while os.getppid() == parent:
        time.sleep(_SECONDS)
    os._exit(1)
