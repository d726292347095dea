"""What all evaluations do: check their input, run their folds as jobs."""

import os
import threading
import time
import warnings

import numpy as np
from sklearn.utils.parallel import Parallel, delayed
from tqdm.auto import tqdm

from .._columns import naming
from .._progress import listening
from .._sklearn import num_samples
from ._results import shorten

# A job counts by the part of it that is done, so that the time left is known early.
_BAR = (
    "{{desc}}{{percentage:3.0f}}%|{{bar}}| {{n:.4g}}/{{total_fmt}} {unit}s "
    "[{{elapsed}}<{{remaining}}]"
)


def run_jobs(function, jobs, total, unit, n_jobs, verbose, *, done=None, keep=None):
    """Run jobs that return (number, *outputs).

    Parameters
    ----------
    function : callable
        The function of a job.
    jobs : iterable of tuple
        Its arguments.
    total : int
        Number of jobs, with the finished ones.
    unit : str
        The name of a job.
    n_jobs, verbose : int or None
        As of the evaluations.
    done : dict of int to list, default=None
        The outputs of jobs that are done.
    keep : callable, default=None
        Called with the number and the outputs of each job that ends.

    Returns
    -------
    outputs : iterator of tuple
        All first outputs, all second ones and so on, in the order of the numbers.
    """
    done = dict(done or {})
    bar = tqdm(
        total=total,
        initial=len(done),
        unit=unit,
        disable=not verbose,
        bar_format=_BAR.format(unit=unit),
    )

    def tell(part):
        bar.update(len(done) + round(part, 2) - bar.n)

    with bar, listening(tell):
        parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
        waiting = (delayed(_run)(os.getpid(), function, *job) for job in jobs)
        try:
            for notes, (number, *output) in parallel(tied_to_this_process(waiting)):
                for note in notes:
                    warnings.warn(note, stacklevel=3)
                done[number] = output
                if keep is not None:
                    keep(number, *output)
                bar.update(len(done) - bar.n)
        except KeyboardInterrupt as error:
            vars(error)["finished"] = done  # for whoever tells the user
            raise
    return zip(*(done[number] for number in sorted(done)), strict=True)


def _run(parent, function, *args):
    """Run a job. Its warnings in another process are returned, for one to tell all."""
    if os.getpid() == parent:
        return [], function(*args)
    with warnings.catch_warnings(record=True) as notes:
        output = function(*args)
    return [note.message for note in notes], output


def check_lengths(columns):
    """Refuse columns of unequal lengths, given as a dict from name to column."""
    lengths = {}
    for name, column in columns.items():
        with naming(name):
            lengths[name] = num_samples(column)
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise ValueError(f"Each column needs one entry per recording, but {found}.")


def check_is_estimator(estimator):
    """Refuse a class, and what is no estimator."""
    if isinstance(estimator, type) or not hasattr(estimator, "get_params"):
        raise TypeError(
            f"estimator must be an instance of a scikit-learn estimator, got "
            f"{estimator!r}."
        )


def check_predictions(estimator, predicted, n_rows, classes):
    """Refuse predictions that are not one of the classes for each row."""
    if predicted.shape != (n_rows,) or not np.isin(predicted, classes).all():
        raise ValueError(
            f"{type(estimator).__name__}.predict must give one label of y for each of "
            f"{n_rows} rows, among {classes.tolist()}; got shape {predicted.shape} "
            f"with {shorten(np.unique(predicted))}."
        )


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
