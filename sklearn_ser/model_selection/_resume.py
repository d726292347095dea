"""The parts of an evaluation: run as jobs, and kept in a folder by their content."""

import functools
import hashlib
import inspect
import json
import numbers
import os
from collections.abc import Callable, Iterable
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from types import CodeType, FunctionType
from typing import Any, NamedTuple, ParamSpec, TypeVar

import joblib
import numpy as np
from scipy.sparse import issparse
from tqdm.auto import tqdm

from .._files import atomic_write
from .._jobs import KILLED, in_parallel
from ..features import SpeechModelTransformer
from ..features._hub import locate
from ..features.cache import content_key
from ..nn.progress import listening

_PACKAGES = (
    *("sklearn-ser", "numpy", "scipy", "scikit-learn", "torch", "skorch", "librosa"),
    *("soundfile", "soxr", "transformers", "opensmile"),
)
# Parameters without an effect on what an estimator learns.
_NO_EFFECT = {"n_jobs", "verbose", "cache_dir", "memory", "pre_dispatch"}
_NO_EFFECT |= {"local_files_only"}
_LONGEST = 120  # characters of a value; a longer one is shown by its start and a digest
# A job counts by the part of it that is done, so that the time left is known early.
_BAR = (
    "{{desc}}: {{percentage:3.0f}}%|{{bar}}| {{n:.4g}}/{{total_fmt}} {unit}s "
    "[{{elapsed}}<{{remaining}}]"
)

_shared: ContextVar = ContextVar("shared", default=None)
P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def sharing():
    """Let what is decorated with `once` compute a value of the same objects once."""
    token = _shared.set({})
    try:
        yield
    finally:
        _shared.reset(token)


def once(function):
    """Make a function keep its values while evaluations are `sharing` their data."""

    @functools.wraps(function)
    def remembering(*args):
        known = _shared.get()
        if known is None:
            return function(*args)
        key = function.__name__, *map(id, args)
        if key not in known:
            known[key] = function(*args), args  # which keeps the ids from being reused
        return known[key][0]

    return remembering


def describe(estimator, front_end=None):
    """Return an estimator and a front-end as text, with the versions of the packages.

    ``"estimator.lr"`` is a parameter `lr`, and steps have theirs. A text is the same in
    every process and on every machine: it holds no address of an object, and no folder.
    A speech model has the hash of its weights beside its name.
    """
    settings = _described("estimator", estimator)
    if front_end is not None:
        settings |= _described("front_end", front_end)
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            settings[f"version of {package}"] = version(package)
    return settings


def _described(what, estimator):
    params = estimator.get_params()
    settings = {what: _name(type(estimator))} | {
        f"{what}.{name}": _shorten(text_of(params[name]))
        for name in sorted(params)
        if name.rpartition("__")[2] not in _NO_EFFECT
    }
    for name, part in {"": estimator, **params}.items():
        if isinstance(part, SpeechModelTransformer):
            prefix = f"{what}.{name}__" if name else f"{what}."
            model = os.path.basename(os.path.normpath(os.fspath(part.model)))
            found = _weights(part)
            is_folder = os.path.isabs(part.model) or os.path.isdir(part.model)
            settings[f"{prefix}model"] = repr(model if is_folder else part.model)
            settings |= {f"{prefix}{key}": repr(found[key]) for key in found}
    return settings


def _weights(speech_model):
    """Return the hash of the weights and the revision, if they are found."""
    options = speech_model.revision, speech_model.local_files_only
    with suppress(Exception):  # the fit says what is wrong
        source = locate(speech_model.model, *options)
        return {"weights_hash": source.weights_hash, "revision": source.revision}
    return {}


def _without_names(settings):
    """Return settings in which a speech model counts by its weights alone."""
    hashed = [n.removesuffix("weights_hash") for n in settings if "weights_hash" in n]
    names = {prefix + name for prefix in hashed for name in ("model", "revision")}
    return {name: text for name, text in settings.items() if name not in names}


@once
def digest(values):
    """Hash the content of a column, or of an estimator's `X`.

    Recordings are read: a file counts by its bytes.
    """
    if issparse(values):
        values = values.tocsr()
        parts = [values.shape, values.data, values.indices, values.indptr]
        texts = [joblib.hash(part, "sha1") for part in parts]
    elif isinstance(values, list | tuple) or getattr(values, "ndim", 0) == 1:
        texts = [_row(value) for value in values]
    else:
        array = np.asarray(values)
        texts = [_row(array), *map(str, getattr(values, "columns", ()))]
    return _digest(texts)


def _row(value):
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return repr(value.tolist())
    if isinstance(value, numbers.Number | np.generic | bytes | None):
        return repr(value)
    key = content_key(value, "evaluation")
    return repr(value) if key is None else key


def text_of(value):
    """Return a text that differs between values, and is equal in every process."""
    if isinstance(value, str | os.PathLike) and os.sep in os.fspath(value):
        return _path_text(os.fspath(value))
    if value is None or isinstance(value, bool | str | numbers.Number):
        return repr(value)
    if isinstance(value, FunctionType):
        return f"{_name(value)} {_digest([_parts(value)])}"
    if isinstance(value, type):  # a user's class may change between two calls
        own = [v for v in vars(value).values() if isinstance(v, FunctionType)]
        return f"{_name(value)} {_digest(map(_parts, own))}"
    if isinstance(value, partial):
        return text_of(("partial", value.func, value.args, value.keywords))
    if hasattr(value, "__qualname__"):
        return _name(value)
    if hasattr(value, "get_params"):
        params = value.get_params(deep=False)
        if isinstance(value, SpeechModelTransformer) and (found := _weights(value)):
            params = params | found | {"model": None, "revision": None}
        texts = [f"{k}={text_of(v)}" for k, v in params.items() if k not in _NO_EFFECT]
        return f"{_name(type(value))}({', '.join(sorted(texts))})"
    if isinstance(value, dict):
        pairs = sorted((text_of(k), text_of(v)) for k, v in value.items())
        return f"{{{', '.join(f'{k}: {v}' for k, v in pairs)}}}"
    if isinstance(value, list | tuple | set | frozenset):
        texts = [text_of(v) for v in value]
        texts = sorted(texts) if isinstance(value, set | frozenset) else texts
        return f"{type(value).__name__}({', '.join(texts)})"
    try:
        return f"{_name(type(value))} {joblib.hash(value, 'sha1')[:16]}"
    except Exception:  # it holds what pickle refuses, such as a lambda
        return f"{_name(type(value))} {text_of(getattr(value, '__dict__', None))}"


def _path_text(path):
    """Return what a file or folder holds, as text without its place."""
    if os.path.isfile(path):
        return f"file {content_key(path, 'evaluation')}"
    if os.path.isdir(path):
        inside = [
            os.path.join(folder, name)
            for folder, _, names in os.walk(path)
            for name in names
        ]
        texts = [
            f"{os.path.relpath(name, path)} {content_key(name, 'evaluation')}"
            for name in sorted(inside)
        ]
        return f"folder {_digest(texts)}"
    return repr(os.path.basename(path) if os.path.isabs(path) else path)


def _parts(function, around=()):
    """Return what a function does, as text without an address."""
    given = function.__defaults__, function.__kwdefaults__
    around = (*around, function)
    values = [_cell_value(cell, around) for cell in function.__closure__ or ()]
    return f"{_code(function.__code__)} {text_of((*given, values))}"


def _cell_value(cell, around):
    """Return what a cell of a closure holds; it may be one of the functions around."""
    try:
        value = cell.cell_contents
    except ValueError:  # nothing yet
        return None
    if isinstance(value, FunctionType):
        return _name(value) if value in around else _parts(value, around)
    return _name(value) if isinstance(value, type) else value


def _code(code):
    constants = [
        _code(c) if isinstance(c, CodeType) else text_of(c) for c in code.co_consts
    ]
    return repr((code.co_code, code.co_names, constants))


def _digest(texts):
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _name(what):
    return f"{what.__module__}.{what.__qualname__}"


def name_of(cv):
    """Return a splitter as text; a list of splits has no other name."""
    return _shorten(repr(cv)) if hasattr(cv, "split") else type(cv).__name__


def _shorten(text):
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}... {_digest([text])}"


class Jobs(NamedTuple):
    """The jobs of an evaluation, and those that a folder keeps of an earlier run."""

    run: Callable
    jobs: Iterable
    total: int
    unit: str
    done: dict
    keep: Callable | None


def jobs_of_parts(function, jobs, unit, parts, checkpoint):
    """Return the jobs of the parts, such as folds, that are not finished.

    A job has the arguments of `function` that follow the number of its part. Its
    outputs are the number, predictions, probabilities or None, the seconds of fit and
    prediction, the history, and the estimator. What a folder keeps of an earlier run is
    taken from there, where `checkpoint` has the folder, the settings and the columns of
    the evaluation. A file is named by a digest of the settings, the data and the rows
    of its part. So another evaluation neither finds the parts of this one nor replaces
    them.
    """
    folder, settings, columns = checkpoint
    done, keep = {}, None
    if folder is not None:
        data = {name: digest(column) for name, column in columns.items()}
        common = text_of(_without_names(settings) | data)
        keys = [_digest([common, joblib.hash(part)]) for part in parts]
        paths = [os.path.join(folder, f"{unit}-{key}.npz") for key in keys]
        os.makedirs(folder, exist_ok=True)
        done, keep = _finished(paths), partial(_keep, paths)
    waiting = ((n, *job) for n, job in enumerate(jobs, 1) if n not in done)
    return Jobs(function, waiting, len(parts), unit, done, keep)


def _keep(paths, number, predicted, proba, seconds, history, estimator):
    """Store the outputs of a finished part, completely or not at all."""
    arrays = {"predicted": predicted, "seconds": np.array(seconds)}
    arrays["history"] = np.frombuffer(json.dumps(history).encode(), np.uint8)
    if proba is not None:
        arrays["proba"] = proba
    with atomic_write(paths[number - 1]) as file:
        np.savez(file, **arrays)


def _finished(paths):
    """Return the outputs of the stored parts by their numbers.

    One that is damaged counts as missing: it is computed again.
    """
    found = {}
    for number, path in enumerate(paths, 1):
        with suppress(Exception), open(path, "rb") as file:  # anything may be wrong
            arrays = dict(np.load(file, allow_pickle=False))
            seconds = tuple(arrays["seconds"].tolist())
            history = json.loads(arrays["history"].tobytes())
            figures = arrays["predicted"], arrays.get("proba"), seconds
            found[number] = [*figures, history, None]
    return found


def returns(kind: type[T]) -> Callable[[Callable[P, Any]], Callable[P, T]]:
    """Make an evaluation of a generator that yields its jobs and returns a result.

    A call runs the jobs. The generator gets their outputs, or the interrupt with the
    outputs of the `finished` ones. It is in the attribute `steps`, for a caller who
    runs the jobs of several evaluations together.
    """

    def decorate(steps):
        @functools.wraps(steps)
        def evaluation(*args, n_jobs=None, verbose=0, **options):
            generator = steps(*args, **options)
            try:
                outputs = run_jobs(next(generator), n_jobs, verbose)
            except KeyboardInterrupt as error:
                generator.throw(error)
            return finish(generator, outputs)

        signature = inspect.signature(steps)
        vars(evaluation)["__signature__"] = signature.replace(return_annotation=kind)
        vars(evaluation)["steps"] = steps
        return evaluation

    return decorate


def finish(generator, outputs):
    """Give an evaluation the outputs of its jobs, and return its result."""
    try:
        generator.send(outputs)
    except StopIteration as stop:
        return stop.value


def run_jobs(asked, n_jobs, verbose):
    """Run `Jobs`, and yield all first outputs behind the number, and so on.

    The outputs are in the order of the numbers, with those of the finished jobs. `keep`
    is called with the number and the outputs of each job that ends.
    """
    function, jobs, total, unit, done, keep = asked
    done = dict(done)
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
        try:
            for _, found in in_parallel(function, jobs, n_jobs):
                if found is KILLED:
                    raise ChildProcessError(
                        f"the process of a {unit} was killed; is there memory for "
                        f"n_jobs={n_jobs}?"
                    )
                number, *output = found
                done[number] = output
                if keep is not None:
                    keep(number, *output)
                bar.update(len(done) - bar.n)
        except KeyboardInterrupt as error:
            vars(error)["finished"] = done
            raise
    return zip(*(done[number] for number in sorted(done)), strict=True)
