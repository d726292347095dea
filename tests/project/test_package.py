"""The package as a whole: quick to import, complete, documented."""

import dataclasses
import inspect
import pydoc
import re
import subprocess
import sys
import textwrap
import tomllib
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pytest
import soundfile
from numpydoc.docscrape import ClassDoc
from numpydoc.validate import validate
from packaging.requirements import Requirement
from packaging.version import Version
from sklearn.pipeline import make_pipeline

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
from sklearn_ser.base import BaseSpeechClassifier

MODULES = [sklearn_ser, datasets, features, inspection, metrics]
MODULES += [model_card, model_selection, persistence]
PUBLIC = [
    f"{module.__name__}.{name}"
    for module in MODULES
    for name in module.__all__
    if callable(getattr(module, name)) and not name.endswith("_scorer")
]


def own_methods(name):
    """Public methods of a class that are written here."""
    found = pydoc.locate(name)
    if not inspect.isclass(found):
        return []
    return [
        f"{name}.{method}"
        for method, value in inspect.getmembers(found, callable)
        if not method.startswith("_")
        and str(getattr(value, "__module__", None)).startswith("sklearn_ser.")
    ]


ROOT = Path(__file__).parents[2]
CITATION = ROOT / "docs" / "CITATION.cff"
OLDEST = ROOT / ".ci" / "oldest.txt"
METHODS = [method for name in PUBLIC for method in own_methods(name)]
# What numpydoc asks beyond scikit-learn's own habits.
IGNORED = {"ES01", "EX01", "GL08", "RT02", "SA01", "SA04", "YD01"}


@pytest.mark.slow
def test_a_prediction_from_the_shell_imports_only_what_it_needs(corpus, tmp_path):
    pytest.importorskip("skops")
    model = make_pipeline(
        features.LogMelTransformer(n_mels=16),
        sklearn_ser.DSNetClassifier(calibration_weight=0, max_epochs=1),
    )
    model.fit(corpus.waveforms, corpus.y, dsnetclassifier__speakers=corpus.speakers)
    persistence.save(model, tmp_path / "model.skops")
    soundfile.write(tmp_path / "one.wav", corpus.waveforms[0], 16000)
    code = (
        "import sys; from sklearn_ser.cli import main; status = main(sys.argv[1:]); "
        "heavy = {'librosa', 'numba', 'torch._dynamo', 'dask'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else status)"
    )
    command = [sys.executable, "-c", code, "predict", "model.skops", "one.wav"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "one.wav" in done.stdout


def test_version_is_the_distributions():
    assert sklearn_ser.__version__ == version("sklearn-ser")


@pytest.mark.skipif(not CITATION.exists(), reason="the documentation is not there")
def test_version_is_that_of_the_citation():
    assert f"\nversion: {sklearn_ser.__version__}\n" in CITATION.read_text()


@pytest.mark.skipif(not OLDEST.exists(), reason="the constraints are not there")
def test_the_lowest_versions_allowed_are_those_that_are_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"]]
    for name in ("datasets", "plot", "skops", "speech-model"):
        wanted += extras[name]
    wanted = map(Requirement, wanted)
    allowed = {r.name: Version(str(r.specifier).removeprefix(">=")) for r in wanted}
    lines = OLDEST.read_text().splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    del allowed["torch"]  # the file says why
    assert {name: Version(tested[name]) for name in allowed} == allowed


@pytest.mark.parametrize(
    "name",
    [
        *("report/page.html", "report/report.html", "report/charts.html"),
        *("report/style.css", "timeline/timeline.html", "py.typed"),
    ],
)
def test_the_package_has_what_is_no_module(name):
    """In the tree, and in what is installed from a wheel."""
    assert (files("sklearn_ser") / name).is_file()


@pytest.mark.skipif(not OLDEST.exists(), reason="the project file is not there")
def test_the_top_level_is_six_names():
    visible = {path.name for path in ROOT.iterdir() if path.name[0] != "."}
    built = {"build", "dist", "mutants"}  # what git ignores
    assert visible - built == {
        *("pyproject.toml", "README.md", "sklearn_ser"),
        *("benchmarks", "docs", "tests"),
    }


def test_public_names_are_there():
    assert set(sklearn_ser.__all__) <= set(dir(sklearn_ser))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sklearn_ser.nothing


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_are_numpydoc(name):
    """Every parameter is documented, and nothing that is none (PR01, PR02)."""
    errors = dict(validate(name)["errors"])
    found = pydoc.locate(name)
    fitted = hasattr(found, "fit")  # an estimator, whose parameters stand as such
    if dataclasses.is_dataclass(found) and not fitted:
        attributes = ClassDoc(found, config={"show_class_members": False})["Attributes"]
        named = {word for a in attributes for word in a.name.split(", ")}
        assert named >= {field.name for field in dataclasses.fields(found)}
        del errors["PR01"]
    assert not errors.keys() - IGNORED, errors


def test_help_begins_with_signatures_that_can_be_read():
    """Annotations such as ArrayLike stay names: their unions fill a screen."""
    found = filter(inspect.isfunction, map(pydoc.locate, PUBLIC))
    signatures = [str(inspect.signature(function)) for function in found]
    assert len(signatures) > 20
    assert not [text for text in signatures if "_typing" in text]


@pytest.mark.parametrize("name", METHODS)
def test_parameters_of_methods_are_documented(name):
    errors = dict(validate(name)["errors"])
    assert not errors.keys() & {"GL08", "PR01", "PR02"}, errors


def test_the_help_of_a_classifier_has_every_parameter(method):
    doc = inspect.getdoc(method.cls)
    assert "{shared" not in doc
    heads = re.findall(r"^(\w+(?:, \w+)*) : ", doc, re.M)
    named = [name for head in heads for name in head.split(", ")]
    assert set(named) >= set(inspect.signature(method.cls).parameters)
    assert len(named) == len(set(named))


@pytest.mark.parametrize("name", inspection.__all__)
def test_the_help_of_a_display_has_what_all_share(name):
    text = pydoc.plain(pydoc.render_doc(getattr(inspection, name)))
    assert not re.search(r"{[a-z ]+}", text)
    assert "figure_ : matplotlib Figure\n" in text
    assert f"display : {name}\n" in text


@pytest.mark.parametrize("indentation", ["    ", "", "\t"])
def test_shared_parameters_are_filled_in_whatever_the_indentation(indentation):
    """From 3.13 on, Python's compiler takes the indentation out of docstrings."""
    lines = ["Parameters", "-" * 10, "{shared parameters}"]
    lines += ["own : int", "    A line.", "", "Attributes", "-" * 10]
    lines += ["{shared attributes}", "own_ : int"]
    text = textwrap.indent("\n".join(lines), indentation)
    cls = type("Own", (BaseSpeechClassifier,), {"__doc__": f"One.\n\n{text}\n"})
    found = inspect.getdoc(cls).splitlines()
    assert "max_epochs : int, default=40" in found
    assert "    Passes over the (labelled) training data." in found
    start = found.index("n_features_in_ : int")
    assert found[start + 1] == "    Number of features of a sequence."
    assert found[-1] == "own_ : int"
    parameters = [*inspect.signature(BaseSpeechClassifier).parameters, "own"]
    heads = [line.split(" : ")[0] for line in found if " : " in line]
    assert heads[: len(parameters)] == parameters


def test_methods_are_found():
    assert "sklearn_ser.DSNetClassifier.fit" in METHODS
    assert "sklearn_ser.DIDANDomainAdapter.score" in METHODS
    assert len(METHODS) > 40
