"""The settings of an evaluation, as text that is equal for equal settings."""

import hashlib
import json
import numbers
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from types import CodeType, FunctionType

import joblib
import numpy as np
from scipy.sparse import issparse

from ..features.cache import content_key
from ..pipeline import flat_steps

_PACKAGES = ("sklearn-ser", "numpy", "scikit-learn", "torch")
_NO_EFFECT = ("n_jobs", "verbose")  # on what an estimator learns
_LONGEST = 120  # characters of a value; a longer one is shown by its start and a digest
# skorch records these beside the losses; some differ when a training is repeated.
_BOOKKEEPING = ("batches", "dur", "train_batch_count", "valid_batch_count")


def describe(estimator, random_state):
    """Return an estimator's class and parameters as text, those of its steps too.

    Parameters
    ----------
    estimator : estimator
        Fitted or not.
    random_state : int, Generator, RandomState or None
        That of the evaluation.

    Returns
    -------
    settings : dict of str to str
        ``"estimator"``, ``"estimator.lr"`` for a parameter `lr`, and the versions of
        the packages that figures depend on. A text is the same in every process: it
        holds no address of an object.
    """
    params = estimator.get_params()
    settings = {"estimator": _name(type(estimator))} | {
        f"estimator.{name}": _shorten(_text(params[name]))
        for name in sorted(params)
        if name.rsplit("__")[-1] not in _NO_EFFECT
    }
    settings["random_state"] = _text(random_state)
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            settings[f"version of {package}"] = version(package)
    return settings


def training_history(estimator):
    """Return the numbers of each epoch of a training, or None.

    Parameters
    ----------
    estimator : estimator
        A fitted one; of a search its best one is asked, of a pipeline its last step.

    Returns
    -------
    history : list of dict of str to float, or None
        Without seconds: it is the same whenever the same training is repeated.
    """
    history = getattr(flat_steps(estimator)[-1], "history_", None)
    if not isinstance(history, list):
        return None
    return [
        {
            name: float(value)
            for name, value in epoch.items()
            if isinstance(value, numbers.Real)
            and not isinstance(value, bool)
            and name not in _BOOKKEEPING
        }
        for epoch in history
    ]


def digest(values):
    """Hash the content of a column, or of an estimator's `X`.

    Parameters
    ----------
    values : list, array, sparse matrix, DataFrame or None
        Recordings are read: a file counts by its bytes.

    Returns
    -------
    digest : str
        The first 16 hexadecimal digits of a SHA-256.
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
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _row(value):
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return repr(value.tolist())
    if isinstance(value, numbers.Number | np.generic | bytes | None):
        return repr(value)
    key = content_key(value, "evaluation")
    return repr(value) if key is None else key


def _text(value):
    """Return a text that differs between values, and is equal in every process."""
    if value is None or isinstance(value, bool | str | numbers.Number):
        return repr(value)
    if isinstance(value, FunctionType):
        return f"{_name(value)} {_digest([_parts(value)])}"
    if isinstance(value, type):  # a user's class may change between two calls
        own = [v for v in vars(value).values() if isinstance(v, FunctionType)]
        return f"{_name(value)} {_digest(map(_parts, own))}"
    if isinstance(value, partial):
        return _text(("partial", value.func, value.args, value.keywords))
    if hasattr(value, "__qualname__"):
        return _name(value)
    if hasattr(value, "get_params"):
        params = value.get_params(deep=False).items()
        texts = [f"{k}={_text(v)}" for k, v in params if k not in _NO_EFFECT]
        return f"{_name(type(value))}({', '.join(sorted(texts))})"
    if isinstance(value, dict):
        pairs = sorted((_text(k), _text(v)) for k, v in value.items())
        return f"{{{', '.join(f'{k}: {v}' for k, v in pairs)}}}"
    if isinstance(value, list | tuple | set | frozenset):
        texts = [_text(v) for v in value]
        texts = sorted(texts) if isinstance(value, set | frozenset) else texts
        return f"{type(value).__name__}({', '.join(texts)})"
    try:
        return f"{_name(type(value))} {joblib.hash(value, 'sha1')[:16]}"
    except Exception:  # it holds what pickle refuses, such as a lambda
        return f"{_name(type(value))} {_text(getattr(value, '__dict__', None))}"


def _parts(function, around=()):
    """Return what a function does, as text without an address."""
    given = function.__defaults__, function.__kwdefaults__
    around = (*around, function)
    held = [_held(cell, around) for cell in function.__closure__ or ()]
    return f"{_code(function.__code__)} {_text((*given, held))}"


def _held(cell, around):
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
        _code(c) if isinstance(c, CodeType) else _text(c) for c in code.co_consts
    ]
    return repr((code.co_code, code.co_names, constants))


def _digest(texts):
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _name(what):
    return f"{what.__module__}.{what.__qualname__}"


def _shorten(text):
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}... {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def plain(value):
    """Return a value of arrays, tuples and NumPy scalars as JSON has it.

    Parameters
    ----------
    value : object
        Nested dicts, tuples, lists, arrays and scalars.

    Returns
    -------
    value : object
        The same of dicts, lists, text and numbers; NaN and infinity become None, and
        what JSON does not know becomes text.
    """
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)


def write_json(file, value):
    """Write a value to a binary file as JSON that people can read."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    file.write(text.encode("utf-8", errors="surrogateescape") + b"\n")
