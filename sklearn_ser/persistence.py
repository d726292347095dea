"""Saving and loading fitted estimators without pickle.

A file is a zip archive of arrays and JSON, written by skops. Loading runs no code from
the file. It refuses types outside of scikit-learn and this library, and scikit-learn's
compiled ones, unless the caller trusts them by name.
"""

import json
import sys
import threading
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from io import BytesIO
from os import PathLike
from types import ModuleType
from typing import Any
from zipfile import ZipFile

import numpy as np
import scipy.special  # noqa: F401  first, since skops looks for it among all modules
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning

from ._files import atomic_write, check_path, check_regular
from ._validation import import_or_raise, shortened
from .exceptions import VersionsDifferWarning, warn_caller

__all__ = ["load", "save"]

# Times its own size that a file may hold; `save` does not compress at all.
MAX_INFLATION = 20
# Raise this number whenever older releases could not read what this one writes.
_FORMAT = 1
# What predictions depend on. Of a version, the first two numbers are compared.
_COMPARED = ("scikit-learn", "torch", "numpy")
_PACKAGES = (*_COMPARED, "sklearn-ser", "skorch", "skops")
# Paths, since the directory of a speech model may be one.
_TRUSTED = {
    f"pathlib.{a}{b}Path" for a in ("", "_local.") for b in ("Posix", "Windows")
}
_TRUSTED |= {"torch.device"}
# skops looks for estimators in all of scikit-learn. It would import dask on its way.
_NO_ESTIMATORS = "sklearn.externals.array_api_compat."
# Packages whose public functions may be parts of a model, such as its scorer.
_FUNCTIONS = ("sklearn.feature_selection", "sklearn.metrics", "sklearn.model_selection")
# Others' code, helpers of tests, downloads, and trees whose nodes nobody checks.
_NO_PARTS = {"_hist_gradient_boosting", "_testing", "conftest", "datasets", "externals"}


def save(estimator: BaseEstimator, path: str | PathLike) -> None:
    """Save an estimator, fitted or not, as arrays and JSON.

    Parameters
    ----------
    estimator : estimator
        An estimator of this library or of scikit-learn, a pipeline or a search.
    path : str or path-like
        The file, by convention ``.skops``. It replaces an existing file only when it is
        complete.

    Raises
    ------
    ImportError
        If skops is not installed.
    TypeError
        If `estimator` is not an estimator, or holds a type or a function that cannot be
        imported by its module and name.
    ValueError
        If a part has `callbacks`, because they can be any objects.

    See Also
    --------
    load : Load a saved estimator.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from pathlib import Path
    >>> from sklearn_ser import DSNetClassifier
    >>> from sklearn_ser.persistence import load, save
    >>> X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    >>> model = DSNetClassifier(calibration_weight=0, max_epochs=1).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "model.skops")
    ...     save(model, path)
    ...     loaded = load(path)
    >>> np.array_equal(loaded.predict_proba(X), model.predict_proba(X))
    True
    """
    io = import_skops()
    check_path(path)
    if not isinstance(estimator, BaseEstimator):
        raise TypeError(
            f"estimator must be a scikit-learn estimator, got {estimator!r}."
        )
    for name, value in estimator.get_params().items():
        if name.rpartition("__")[2] == "callbacks" and value:
            raise ValueError(
                f"{name} cannot be saved, because callbacks can be any objects. Set "
                f"{name}=None first. A fitted estimator does not need them to "
                "predict."
            )
    versions = {name: version(name) for name in _PACKAGES}
    content = {"format": _FORMAT, "versions": versions, "estimator": estimator}
    try:
        data = io.dumps(content)
    except (TypeError, io.exceptions.UnsupportedTypeException) as error:
        raise TypeError(f"estimator cannot be saved: {error}") from error
    lost = [n for n in io.get_untrusted_types(data=data) if _find(n) is None]
    if lost:
        raise TypeError(
            f"estimator holds {lost}, and no other process can find it by this "
            "name. Define it at the top level of a module."
        )
    with atomic_write(path) as file:
        file.write(data)


def load(path: str | PathLike, *, trusted: Sequence[str] = ()) -> Any:
    """Load an estimator that :func:`save` wrote.

    Parameters
    ----------
    path : str or path-like
        The file.
    trusted : sequence of str, default=()
        Qualified names of further types and functions in the file, such as
        ``"my_module.MyEncoder"`` or the compiled ``"sklearn.tree._tree.Tree"``. Loading
        imports and calls them, so name only types and functions that you know.

    Returns
    -------
    estimator : estimator
        It is on the CPU if the machine lacks the device of the fit. Every `cache_dir`
        in it is None, because the folder may belong to another machine.

    Raises
    ------
    ImportError
        If skops is not installed.
    TypeError
        If the file holds types that are not trusted; the message names them. If `path`
        is not a path.
    ValueError
        If the file is missing or damaged, is not a saved model, has a later format, or
        would unpack to more than 20 times its size.

    Warns
    -----
    VersionsDifferWarning
        If the file was saved with another minor version of scikit-learn, torch or
        NumPy. One warning names them all.

    See Also
    --------
    save : Save an estimator.

    Examples
    --------
    >>> from sklearn_ser.persistence import load
    >>> model = load("model.skops")  # doctest: +SKIP
    """
    io = import_skops()
    if isinstance(trusted, str):
        raise TypeError(f"trusted must be a sequence of names, got {trusted!r}.")
    trusted = list(trusted)
    data = _read(path)
    with _telling_damage(path):
        written, versions = _read_header(data)
        writer = versions["sklearn-ser"]
    if written > _FORMAT:
        raise ValueError(
            f"'{path}' has the format {written} of sklearn_ser {writer}, but "
            f"version {version('sklearn-ser')} reads formats up to {_FORMAT}."
        )
    with _telling_damage(path):
        found = io.get_untrusted_types(data=data)
        foreign = [n for n in found if n not in trusted and not _is_known(n)]
    if foreign:
        raise TypeError(
            f"'{path}' holds types that are not trusted: {foreign}. If you know "
            "them and the source of the file, call load(path, "
            f"trusted={foreign})."
        )
    _warn_of_versions(path, versions)
    with _telling_damage(path):
        with warnings.catch_warnings():  # scikit-learn's, one for each estimator
            warnings.simplefilter("ignore", InconsistentVersionWarning)
            estimator = io.loads(data, trusted=found)["estimator"]
        if not isinstance(estimator, BaseEstimator):
            raise TypeError(
                f"found a {type(estimator).__name__}, expected an estimator"
            )
        for part in _estimators_in(estimator):
            if "cache_dir" in part.get_params(deep=False):
                part.set_params(cache_dir=None)
    return estimator


def _read(path):
    check_path(path)
    try:
        check_regular(path)
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise ValueError(f"path: there is no model file '{path}'.") from None
    except OSError as error:
        raise ValueError(f"path: '{path}' cannot be read: {error}") from error


def _read_header(data):
    """Return the format and the versions that a saved model names.

    All is read as JSON, since this release may not know the types of a later format.
    """
    with ZipFile(BytesIO(data)) as archive:
        sizes = {part.filename: part.file_size for part in archive.infolist()}
        _refuse_size(sum(part.file_size for part in archive.infolist()), data)
        named = set()

        def note(state):
            if isinstance(name := state.get("file"), str):
                named.add((state.get("__id__") or f"{len(named)}", name))
            return state

        schema = json.loads(archive.read("schema.json"), object_hook=note)
    # skops reads a part anew for each object whose state names it.
    _refuse_size(sum(sizes.get(name, 0) for _, name in named), data)
    content = schema["content"]
    versions = content["versions"]["content"].items()
    return int(content["format"]["content"]), {
        name: str(json.loads(v["content"])) for name, v in versions
    }


def _refuse_size(size, data):
    if size > MAX_INFLATION * len(data) + 2**20:
        raise ValueError(
            f"it unpacks from {len(data)} to {size} bytes, expected at most "
            f"{MAX_INFLATION} times its size"
        )


def _warn_of_versions(path, saved):
    here = {name: version(name) for name in _COMPARED if name in saved}
    other = [n for n in here if saved[n].split(".")[:2] != here[n].split(".")[:2]]
    if other:
        then, now = (
            ", ".join(f"{name} {versions[name]}" for name in other)
            for versions in (saved, here)
        )
        warn_caller(
            f"'{path}' was saved with {then}, but this process has {now}. Compare "
            "some predictions with earlier ones before you rely on the model.",
            VersionsDifferWarning,
        )


@contextmanager
def _telling_damage(path):
    """Make one error of all: a changed file may raise anything, from any line."""
    try:
        yield
    except Exception as error:
        text = shortened(str(error)) or type(error).__name__
        raise ValueError(
            f"'{path}' is no model saved by sklearn_ser, or damaged: {text}."
        ) from error


def import_skops():
    """Import and return skops.io; without skops, say how to install it."""
    alone = threading.active_count() == 1  # no other thread imports them meanwhile
    blocked = {_NO_ESTIMATORS + n for n in ("cupy", "dask", "torch") if alone}
    blocked -= sys.modules.keys()
    sys.modules.update(dict.fromkeys(blocked))  # an import of None fails
    try:
        return import_or_raise(
            "skops.io skops.io.exceptions", "skops", "Saving and loading need"
        )
    finally:
        for name in blocked:
            del sys.modules[name]


def _estimators_in(root):
    """Yield `root` and each estimator in it once.

    Parameters are not enough: a search, an ensemble or a calibrator predicts with
    fitted copies, which are attributes, items of lists or parts of helper objects.
    """
    waiting, seen = [root], set()
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, BaseEstimator):
            yield thing
        if isinstance(thing, dict):
            waiting.extend(thing.values())
        elif isinstance(thing, list | tuple | set):
            waiting.extend(thing)
        elif isinstance(thing, np.ndarray):
            waiting.extend(np.asarray(thing).flat if thing.dtype == object else [])
        elif hasattr(thing, "__dict__") and not isinstance(thing, type | ModuleType):
            waiting.extend(vars(thing).values())


def _find(name):
    """Return the object of a qualified name among the imported modules, or None."""
    module, _, name = name.rpartition(".")
    return getattr(sys.modules.get(module), name, None)


def _is_known(name):
    """Tell whether a name is that of a part of a model, and safe."""
    module, _, short = name.rpartition(".")
    root, *parts = module.split(".")
    package = ".".join([root, *parts[:1]])
    public = package in _FUNCTIONS and short in import_module(package).__all__
    if public or name in _TRUSTED:
        return True
    if root not in ("sklearn", "sklearn_ser") or {"tests", *_NO_PARTS} & {*parts}:
        return False
    try:
        file = import_module(module).__file__
    except ImportError:
        return False
    found = _find(name)
    if root == "sklearn":
        # A compiled type, such as the tree of a forest, believes the numbers that it is
        # given, and reads memory where they point.
        written = isinstance(found, type) and str(file).endswith(".py")
        return written and found.__module__ == module
    from torch import nn

    from . import metrics
    from .nn.net import SpeechNet

    if isinstance(found, type):
        return issubclass(found, BaseEstimator | nn.Module | SpeechNet)
    return found in (metrics.uar_score, metrics.wa_score)
