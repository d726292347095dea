"""The package as a whole: quick to import, complete, documented."""

import inspect
import subprocess
import sys
from importlib.metadata import version

import pytest
from numpydoc.validate import validate

import sklearn_ser
from sklearn_ser import (
    datasets,
    features,
    inspection,
    metrics,
    model_card,
    model_selection,
    persistence,
)

PUBLIC = [
    f"{module.__name__}.{name}"
    for module in (
        sklearn_ser,
        datasets,
        features,
        inspection,
        metrics,
        model_card,
        model_selection,
        persistence,
    )
    for name in module.__all__
    if callable(getattr(module, name)) and not name.endswith("_scorer")
]
# What numpydoc asks beyond scikit-learn's own habits.
IGNORED = {"ES01", "EX01", "GL08", "PR01", "PR02", "RT02", "SA01", "SA04", "YD01"}


def test_import_is_light():
    code = (
        "import sys, sklearn_ser; "
        "print(*{'torch', 'librosa', 'skorch', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""


def test_version_is_the_distributions():
    assert sklearn_ser.__version__ == version("sklearn-ser")


def test_public_names_are_there():
    assert set(sklearn_ser.__all__) <= set(dir(sklearn_ser))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sklearn_ser.nothing


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_are_numpydoc(name):
    errors = [e for e in validate(name)["errors"] if e[0] not in IGNORED]
    assert not errors


@pytest.mark.parametrize("name", [n for n in PUBLIC if "Warning" not in n])
def test_every_parameter_is_documented(name):
    module, _, attribute = name.rpartition(".")
    found = getattr(sys.modules[module], attribute)
    for parameter in inspect.signature(found).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            assert parameter.name in found.__doc__
