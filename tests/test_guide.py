"""The pages of the guide run as they stand there, and quote figures that exist."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guide"
BENCHMARKS = ROOT / "benchmarks" / "README.md"
# Run elsewhere, together with the README.
PAGES = sorted(page for page in GUIDE.glob("*.md") if page.stem != "corpora")
DEVELOPER = sorted((ROOT / "docs" / "developer").glob("*.md"))
OPTIONAL = ("skada", "skops", "opensmile", "dask", "matplotlib", "pandas")

if not PAGES:
    pytest.skip("the documentation is not part of the package", allow_module_level=True)


def python_blocks(page):
    """Return the Python blocks of a page as one script."""
    found = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    return "\n".join(found)


def missing_packages(script):
    """Return the optional packages that a script wants and this machine lacks."""
    wanted = [name for name in OPTIONAL if re.search(rf"import {name}\b", script)]
    wanted += ["skops"] if "sklearn_ser.persistence" in script else []
    return [name for name in wanted if find_spec(name) is None]


@pytest.mark.parametrize(
    "page", [p for p in PAGES if python_blocks(p)], ids=lambda page: page.stem
)
def test_the_blocks_of_a_page_run_one_after_the_other(page, tmp_path):
    script = python_blocks(page)
    if missing := missing_packages(script):
        pytest.skip(f"{page.name} needs {', '.join(missing)}")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_every_page_is_in_the_table_of_contents():
    index = (GUIDE / "index.md").read_text()
    listed = re.search(r"```{toctree}\n(.*?)```", index, re.S)[1].split()
    pages = {page.stem for page in GUIDE.glob("*.md")} - {"index"}
    assert pages == {name for name in listed if not name.startswith(":")}
    for name in pages:
        assert f"]({name}.md)" in index


@pytest.mark.parametrize(
    "page", [*PAGES, *DEVELOPER], ids=lambda page: f"{page.parent.name}/{page.stem}"
)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+\.md)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_figures_in_the_prose_are_those_of_the_benchmarks():
    if not BENCHMARKS.exists():
        pytest.skip("the benchmarks are not part of the package")
    known = set(re.findall(r"\d+\.\d+", BENCHMARKS.read_text()))
    quoted = re.findall(r"(?<![\d.])\d+\.\d+", (GUIDE / "choosing.md").read_text())
    assert quoted
    assert not [figure for figure in quoted if figure not in known]


def test_tables_that_are_included_are_there():
    text = (GUIDE / "choosing.md").read_text()
    markers = re.findall(r"^:(?:start-after|end-before): (.*)$", text, re.M)
    assert len(markers) == 8
    if not BENCHMARKS.exists():
        pytest.skip("the benchmarks are not part of the package")
    found = BENCHMARKS.read_text()
    assert all(found.count(marker) == 1 for marker in markers)
