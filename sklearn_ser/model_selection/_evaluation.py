"""What all evaluations do: check their input, fit and predict, run folds as jobs."""

import os
import threading
import time
import warnings
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from sklearn import config_context
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from tqdm.auto import tqdm

from .._progress import listening
from .._sklearn import num_samples, safe_indexing
from .._validation import naming
from ..metrics._bootstrap import check_bootstrap
from ..pipeline import requested
from ._enrollment import predict_enrolled
from ._results import shorten, spread_columns

# A job counts by the part of it that is done, so that the time left is known early.
_BAR = (
    "{{desc}}: {{percentage:3.0f}}%|{{bar}}| {{n:.4g}}/{{total_fmt}} {unit}s "
    "[{{elapsed}}<{{remaining}}]"
)
_SECONDS = 1.0  # between two looks of a worker at its parent

_watching = threading.Event()


class Fitting(NamedTuple):
    """The rows of a fit, their labels, and what `fit` gets on request, and in any case.

    The metadata must be requested or refused; those in `if_requested` need not.
    """

    rows: np.ndarray
    labels: np.ndarray
    metadata: dict
    if_requested: dict
    params: dict


class Testing(NamedTuple):
    """The rows of a prediction, their metadata, and the draws of an enrolment."""

    rows: np.ndarray
    metadata: dict
    if_requested: dict
    draws: list


def check_evaluation(
    estimator,
    columns,
    n_bootstrap,
    confidence_level,
    checkpoint_dir,
    return_estimator,
):
    """Refuse bad arguments of an evaluation; `columns` has a column for each name."""
    if isinstance(estimator, type) or not hasattr(estimator, "get_params"):
        raise TypeError(
            f"estimator must be an instance of a scikit-learn estimator, got "
            f"{estimator!r}."
        )
    lengths = {}
    for name, column in columns.items():
        with naming(name):
            lengths[name] = num_samples(column)
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise ValueError(f"Each column needs one entry per recording, but {found}.")
    check_classification_targets(columns["y"])
    check_bootstrap(n_bootstrap, confidence_level)
    if checkpoint_dir is not None and return_estimator:
        raise ValueError(
            "return_estimator=True and checkpoint_dir cannot be combined, "
            "because a checkpoint keeps no models. Pass only one of them."
        )


@contextmanager
def noting(where):
    """Add a note to an error that says where it was raised."""
    try:
        yield
    except Exception as error:
        error.add_note(where)
        raise


def fit_and_predict(estimator, X, classes, fitting, testing):
    """Return predictions, probabilities by class, and the seconds of both steps."""
    with config_context(enable_metadata_routing=True):
        start = time.perf_counter()
        rows, labels, metadata, if_requested, params = fitting
        params = params | requested(estimator, "fit", metadata, if_requested)
        estimator.fit(safe_indexing(X, rows), labels, **params)
        fitted = time.perf_counter()
        rows, *given, draws = testing
        X = safe_indexing(X, rows)
        predicted, proba = predict_enrolled(estimator, X, *given, draws)
        scored = time.perf_counter()
    n_rows = sum(len(of_draw.scored) for of_draw in draws) if draws else len(rows)
    if predicted.shape != (n_rows,) or not np.isin(predicted, classes).all():
        raise ValueError(
            f"{type(estimator).__name__}.predict must give one label of y for each of "
            f"{n_rows} rows, among {classes.tolist()}; got shape {predicted.shape} "
            f"with {shorten(np.unique(predicted))}."
        )
    # Marks of unlabelled rows may have changed the type of labels, as bool to int.
    predicted = classes[np.searchsorted(classes, predicted)]
    columns = getattr(estimator, "classes_", np.intersect1d(labels, classes))
    seconds = fitted - start, scored - fitted
    return predicted, spread_columns(proba, columns, classes), seconds


def run_jobs(function, jobs, total, unit, n_jobs, verbose, *, done=None, keep=None):
    """Run jobs that return (number, *outputs), and yield all first outputs, and so on.

    The outputs are in the order of the numbers. `done` has those of jobs that are
    finished, which count in `total`. `keep` is called with the number and the outputs
    of each job that ends.
    """
    done = dict(done or {})
    bar = tqdm(
        total=total,
        initial=len(done),
        desc="training and testing",
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
            for notes, (number, *output) in parallel(waiting):
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
    # A worker of another machine has another parent, and is left alone.
    if os.getppid() == parent and not _watching.is_set():
        _watching.set()
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    with warnings.catch_warnings(record=True) as notes:
        output = function(*args)
    return [note.message for note in notes], output


def _watch(parent):
    """End this worker when its parent was killed, which cannot stop its workers."""
    while os.getppid() == parent:
        time.sleep(_SECONDS)
    os._exit(1)
