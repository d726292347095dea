"""Checks of the parameters of the transformers."""

import os
from functools import partial
from math import inf, isfinite
from numbers import Integral, Real

import numpy as np


def check_number(name, value, low, high=inf, *, kind=Real, optional=False):
    """Return a float, or an int for the kind Integral; None if that is allowed."""
    if optional and value is None:
        return None
    expected = "an int" if kind is Integral else "a number"
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} must be {expected}, got {value!r}.")
    if not (isfinite(value) and low <= value <= high):
        limits = f"of at least {low:g}" + ("" if high == inf else f", at most {high:g}")
        raise ValueError(f"{name} must be {expected} {limits}, got {value!r}.")
    return int(value) if kind is Integral else float(value)


check_integer = partial(check_number, kind=Integral)


def check_option(name, value, options):
    """Refuse what is not one of the options."""
    if not isinstance(value, str | None) or value not in options:
        raise ValueError(f"{name} must be one of {options}, got {value!r}.")


def check_dtype(dtype):
    """Return the name of a type of floats."""
    options = ("float16", "float32", "float64")
    try:
        name = None if dtype is None else np.dtype(dtype).name
    except (TypeError, ValueError) as error:
        raise TypeError(f"dtype must be one of {options}, got {dtype!r}.") from error
    check_option("dtype", name, options)
    return name


def check_channel(channel):
    """Return "mean" or an int."""
    if isinstance(channel, str) and channel == "mean":
        return channel
    return check_integer("channel, unless 'mean',", channel, 0)


def check_cache_dir(cache_dir):
    """Refuse what is no folder's path."""
    if not isinstance(cache_dir, str | os.PathLike | None):
        raise TypeError(f"cache_dir must be a path or None, got {cache_dir!r}.")
