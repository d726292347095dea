"""What an evaluation is, as text, and a folder of its finished parts."""

import hashlib
import json
import numbers
import os
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from types import CodeType, FunctionType

import joblib
import numpy as np
from scipy.sparse import issparse

from .._files import atomic_write
from ..features.cache import content_key
from ._results import Fold, write_json

_PACKAGES = ("sklearn-ser", "numpy", "scikit-learn", "torch")
_NO_EFFECT = ("n_jobs", "verbose")  # on what an estimator learns
_LONGEST = 120  # characters of a value; a longer one is shown by its start and a digest


def describe(estimator, random_state):
    """Return an estimator's class and parameters as text, those of its steps too.

    ``"estimator.lr"`` is a parameter `lr`. The versions of the packages that figures
    depend on are there, too. A text is the same in every process: it holds no address
    of an object.
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
    return f"{text[:_LONGEST]}... {_digest([text])}"


_SETTINGS = "settings.json"
_FIGURES = ("uar", "wa", "fit_time", "score_time")


def resume(folder, parts, settings, columns, rows):
    """Return the outputs that a folder keeps, and a function that keeps one more.

    Without a folder there are no outputs, and the function is None.
    """
    if folder is None:
        return {}, None
    checkpoint = Checkpoint(folder, parts, settings, columns, rows)
    return checkpoint.finished(), checkpoint.store


class Folds:
    """How the outputs of a fold become arrays, and are made of them."""

    unit = "fold"

    def __init__(self, splits, speakers, classes):
        self.splits, self.speakers, self.classes = splits, speakers, classes

    def __len__(self):
        return len(self.splits)

    def pack(self, number, fold, predicted, proba, estimator):
        """Return arrays."""
        codes = np.searchsorted(self.classes, predicted)
        arrays = {"codes": codes, "figures": [getattr(fold, n) for n in _FIGURES]}
        arrays["history"] = np.frombuffer(json.dumps(fold.history).encode(), np.uint8)
        arrays["test"] = fold.test
        arrays["enrolled"] = np.concatenate([np.empty(0, int), *fold.enrolled])
        arrays["n_enrolled"] = np.array([len(rows) for rows in fold.enrolled], int)
        return arrays if proba is None else arrays | {"proba": proba}

    def unpack(self, number, arrays):
        """Return the outputs."""
        train, test = self.splits[number - 1]
        history = json.loads(arrays["history"].tobytes())
        figures = arrays["figures"].tolist()
        who = np.unique(self.speakers[test])
        ends = np.cumsum(arrays["n_enrolled"])[:-1]
        drawn = tuple(np.split(arrays["enrolled"], ends))
        drawn = drawn if len(arrays["n_enrolled"]) else ()
        fold = Fold(train, arrays["test"], who, *figures, history, drawn)
        return [fold, self.classes[arrays["codes"]], arrays.get("proba"), None]


class Transfers:
    """How the outputs of a transfer become arrays, and are made of them.

    `classes` has the sorted labels of each transfer.
    """

    unit = "transfer"

    def __init__(self, classes):
        self.classes = classes

    def __len__(self):
        return len(self.classes)

    def pack(self, number, predicted, proba, seconds, estimator):
        """Return arrays."""
        codes = np.searchsorted(self.classes[number - 1], predicted)
        arrays = {"codes": codes, "seconds": np.array(seconds)}
        return arrays if proba is None else arrays | {"proba": proba}

    def unpack(self, number, arrays):
        """Return the outputs."""
        predicted = self.classes[number - 1][arrays["codes"]]
        return [predicted, arrays.get("proba"), arrays["seconds"].tolist(), None]


class Checkpoint:
    """A folder with the settings of an evaluation and one file for each finished part.

    The data, which are `columns`, and the `rows` of all parts are hashed. A folder
    with parts of another evaluation is refused; the message names the setting.
    """

    def __init__(self, folder, parts, settings, columns, rows):
        self.folder, self.parts = os.fspath(folder), parts
        self._settings = settings | {
            name: digest(column) for name, column in columns.items()
        }
        self._settings[f"{parts.unit} rows"] = digest(
            [np.asarray(each) for each in rows]
        )
        self._claim()

    def _claim(self):
        """Write the settings, or compare them with the stored settings."""
        os.makedirs(self.folder, exist_ok=True)
        path = os.path.join(self.folder, _SETTINGS)
        try:
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
        except FileNotFoundError:
            write_json(path, self._settings)
            return
        except ValueError as error:
            raise ValueError(
                f"checkpoint_dir: '{path}' is damaged ({error}). Remove the folder."
            ) from error
        names = {*found, *self._settings}
        differ = {
            name: (found.get(name, "nothing"), self._settings.get(name, "nothing"))
            for name in names
            if found.get(name) != self._settings.get(name)
        }
        if differ:
            # A step is told by the parameter of it that differs, which is the shortest;
            # the rows follow from the rest.
            rows = f"{self.parts.unit} rows"
            length = {name: len("".join(texts)) for name, texts in differ.items()}
            name = min(sorted(differ), key=lambda name: (name == rows, length[name]))
            raise ValueError(
                f"checkpoint_dir '{self.folder}' holds {self.parts.unit}s of another "
                f"evaluation: {name} is {differ[name][1]}, but was {differ[name][0]}. "
                "Take another folder, or the same settings."
            )

    def store(self, number, *output):
        """Store a finished part, completely or not at all."""
        with atomic_write(self._path(number)) as file:
            np.savez(file, **self.parts.pack(number, *output))

    def finished(self):
        """Return the stored parts, as a dict from number to outputs.

        One that is damaged counts as missing: it is computed again.
        """
        found = {}
        for number in range(1, len(self.parts) + 1):
            try:
                with open(self._path(number), "rb") as file:
                    arrays = dict(np.load(file, allow_pickle=False))
                found[number] = self.parts.unpack(number, arrays)
            except Exception:  # a damaged file may raise anything
                continue
        return found

    def _path(self, number):
        return os.path.join(self.folder, f"{self.parts.unit}-{number:04d}.npz")
