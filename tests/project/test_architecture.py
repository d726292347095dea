"""The arrows of the design: who may import whom, read from the import statements."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sklearn_ser

ROOT = Path(sklearn_ser.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
PAPERS = {"dsnet", "speaker_adversarial", "didan"}
PAGE = Path(__file__).parents[2] / "docs" / "developer" / "architecture.md"


def name_of(path):
    """Return the dotted name of a module, without that of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in FILES}


@cache
def imports(path, *, lazy):
    """Return (module, name) of each import; those in functions are the lazy ones."""
    package = ["sklearn_ser", *path.relative_to(ROOT).parent.parts]
    found, nodes = [], [ast.parse(path.read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            found += [(module, alias.name) for alias in node.names]
        if lazy or not isinstance(node, ast.FunctionDef | ast.Lambda):
            nodes.extend(ast.iter_child_nodes(node))
    return found


def inside(path, *, lazy=False):
    """Return the names of this library's modules that a file imports.

    A module comes with the package around it, whose `__init__` runs first.
    """
    found, own = set(), path.relative_to(ROOT).parts[0]
    for module, name in imports(path, lazy=lazy):
        head, _, rest = module.partition(".")
        if head == "sklearn_ser":
            submodule = f"{rest}.{name}" if rest else f"{name}"
            found.add(submodule if submodule in MODULES else rest)
    found |= {name.split(".")[0] for name in found if name.split(".")[0] != own}
    return found


def test_no_module_imports_itself_by_a_detour():
    graph = {name: inside(path) - {name} for name, path in MODULES.items()}
    tuple(TopologicalSorter(graph).static_order())  # raises, and names the circle


def test_private_names_of_scikit_learn_are_imported_in_one_file():
    private = re.compile(r"(^|\.)_[a-z]")
    for name, path in MODULES.items():
        found = [
            f"{module}.{imported}"
            for module, imported in imports(path, lazy=True)
            if module.split(".")[0] == "sklearn"
            and (private.search(module) or private.match(imported or ""))
        ]
        assert not found or name == "_sklearn", (name, found)


def test_papers_stand_on_the_template_and_it_on_networks_and_sequences():
    template = {"base", "domains", "training"}
    below = {"calibration", "sequences", "exceptions", "_sklearn", "_validation"}
    for name in PAPERS | template:
        found = inside(MODULES[name], lazy=True)
        others = {n for n in found - below if n.split(".")[0] != "nn"}
        allowed = template if name not in template else template - {"domains", name}
        assert others <= allowed, (name, others)
    for name in MODULES:
        if name.split(".")[0] == "nn" or name in below:
            assert not inside(MODULES[name], lazy=True) & (template | PAPERS), name


@pytest.mark.parametrize("package", ["features", "datasets", "metrics"])
def test_what_makes_and_judges_sequences_knows_no_method(package):
    for name, path in MODULES.items():
        if name.split(".")[0] == package:
            found = {n.split(".")[0] for n in inside(path, lazy=True)}
            assert not found & {"base", "domains", "model_selection"}, name


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not there")
def test_the_page_on_architecture_names_the_files_that_there_are():
    drawing = PAGE.read_text().split("```")[1]
    named = set(re.findall(r"\w+\.py", drawing))
    there = {path.name for path in FILES}
    assert named <= there, named - there
    left = {
        name
        for name, path in MODULES.items()
        if path.name not in named and path.name != "__init__.py"
    }
    assert not left, left


def test_nothing_imports_a_paper_but_the_front_doors():
    for name, path in MODULES.items():
        if name.split(".")[0] not in ("", "__main__", "cli"):
            assert not inside(path, lazy=True) & PAPERS, name


@pytest.mark.parametrize("name", ["report", "model_card"])
def test_pages_of_results_know_no_class_of_results(name):
    """A result hands them plain views, so that there is no circle."""
    found = {module.split(".")[0] for module in inside(MODULES[name], lazy=True)}
    assert not found & {"model_selection", "cli", "timeline"}, found


def test_networks_know_no_estimator():
    """Neither `nn` nor what it imports of this library imports scikit-learn."""
    waiting = [name for name in MODULES if name.split(".")[0] == "nn"]
    seen = set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(inside(MODULES[name]))
            used = {
                module.split(".")[0] for module, _ in imports(MODULES[name], lazy=True)
            }
            assert "sklearn" not in used, name


def test_torch_loads_when_a_network_is_asked_for():
    """And what reads and resamples audio when a recording comes."""
    code = """
import sys
from importlib import import_module

heavy = {"torch", "skorch", "librosa", "transformers", "safetensors"}
import sklearn_ser
print("sklearn_ser", *(heavy | {"sklearn"}) & set(sys.modules))
for name in ("features", "datasets", "metrics", "model_selection", "persistence"):
    import_module(f"sklearn_ser.{name}")
    print(name, *heavy & set(sys.modules))
    if name == "features":
        print("audio", *{"soundfile", "soxr"} & set(sys.modules))
"""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = ["sklearn_ser", "features", "audio", "datasets", "metrics"]
    names += ["model_selection", "persistence", ""]
    assert done.stdout.split("\n") == names
