"""Jobs in other processes: their warnings, their end, and processes that are killed."""

import multiprocessing
import os
import threading
import time
import warnings

import sklearn
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import get_active_backend
from sklearn.utils.parallel import Parallel, delayed

_SECONDS = 1.0  # between two looks of a worker at its parent
_PATIENCE = 60.0  # seconds without a worker of Dask, after which a warning says so

KILLED = object()
"""The output of a job whose process was killed."""

_watching = threading.Event()


def in_parallel(function, jobs, n_jobs, *, shared=()):
    """Yield each job, a tuple of arguments, and its output, in the order of their ends.

    `shared` are the first arguments of all. The output is `KILLED` if a process was
    killed; jobs beside the guilty one may have it, too. No job runs when it is yielded.
    """
    backend, _ = get_active_backend()
    jobs = iter(jobs)
    if hasattr(backend, "client"):  # joblib would wait for what Dask has given up
        found = _on_dask(backend, function, jobs, shared)
    else:
        found = _on_joblib(function, jobs, n_jobs, shared)
    for job, output in found:
        notes, output = ([], KILLED) if output is KILLED else output
        for note in notes:
            warnings.warn(note, stacklevel=3)
        yield job, output


def _on_joblib(function, jobs, n_jobs, shared):
    """Yield jobs and outputs; a pool that lost a process is followed by a new one."""
    # A batch of several jobs would end as one.
    options = {"batch_size": 1, "return_as": "generator_unordered"}
    while True:
        begun = {}

        def begin(begun=begun):
            for number, job in enumerate(jobs):
                begun[number] = job
                yield delayed(_numbered)(number, os.getpid(), function, *shared, *job)

        try:
            for number, output in Parallel(n_jobs=n_jobs, **options)(begin()):
                yield begun.pop(number), output
            return
        except TerminatedWorkerError:
            for job in begun.values():
                yield job, KILLED


def _numbered(number, *job):
    return number, run_job(*job)


def _on_dask(backend, function, jobs, shared):
    """Yield jobs and outputs; when one is given up, those that have begun end first."""
    from distributed import KilledWorker

    client, killed, is_end = backend.client, [], False
    config, parent = sklearn.get_config(), os.getpid()
    shared = [client.submit(_itself, each, pure=False) for each in shared]
    waiting = {}
    with backend.retrieval_context():  # a worker that waits makes room for another
        try:
            while waiting or not is_end:
                most = 0 if killed else 2 * max(1, sum(client.ncores().values()))
                while len(waiting) < most and not is_end:
                    job = next(jobs, None)
                    is_end = job is None
                    if not is_end:
                        task = config, parent, function, *shared, *job
                        waiting[client.submit(_configured, *task, pure=False)] = job
                for future in _first(client, waiting):
                    job = waiting.pop(future)
                    try:
                        yield job, future.result()
                    except KilledWorker:
                        killed.append(job)
                if killed and not waiting:
                    yield from ((job, KILLED) for job in killed)
                    killed = []
        finally:
            client.cancel([*waiting, *shared])


def _first(client, waiting):
    """Return futures that have ended, of which there is one at least."""
    from distributed import TimeoutError, wait

    is_told = False
    while waiting:
        try:
            return wait([*waiting], _PATIENCE, "FIRST_COMPLETED").done
        except TimeoutError:
            if not is_told and not client.ncores():
                is_told = True
                warnings.warn(
                    "Dask's scheduler has no worker; the run goes on when one comes.",
                    stacklevel=3,
                )
    return ()


def _itself(value):
    return value


def _configured(config, *job):
    with sklearn.config_context(**config):
        return run_job(*job)


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
