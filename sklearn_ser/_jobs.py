"""A job in another process: its warnings come back, and it ends with its parent."""

import multiprocessing
import os
import threading
import time
import warnings

_SECONDS = 1.0  # between two looks of a worker at its parent

_watching = threading.Event()


def run_job(parent, function, *args):
    """Run a job. Its warnings in another process are returned, for one to tell all."""
    if os.getpid() == parent:
        return [], function(*args)
    if _is_started_by(parent) and not _watching.is_set():
        _watching.set()
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    with warnings.catch_warnings(record=True) as notes:
        output = function(*args)
    return [note.message for note in notes], output


def _is_started_by(parent):
    """Tell whether a process started this worker, though it may have ended since.

    A worker of a cluster has another parent, and lives on. One of joblib's own may meet
    its first job when its parent was killed already, since it imports for seconds.
    """
    name = multiprocessing.current_process().name
    return os.getppid() == parent or name.startswith("LokyProcess-")


def _watch(parent):
    """End this worker when its parent was killed, which cannot stop its workers."""
    while os.getppid() == parent:
        time.sleep(_SECONDS)
    os._exit(1)
