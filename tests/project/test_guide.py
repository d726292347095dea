"""README and guide run as they stand there, and quote figures that exist.

Each runs in a process of its own, with warnings as errors from the first import on. A
fit in it takes one epoch.
"""

import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
import soundfile

import sklearn_ser

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDE = DOCS / "guide"
BENCHMARKS = ROOT / "benchmarks" / "README.md"
FRONT = [page for page in (ROOT / "README.md", DOCS / "index.md") if page.exists()]
PAGES = sorted(GUIDE.glob("*.md"))
DEVELOPER = sorted((DOCS / "developer").glob("*.md"))
OPTIONAL = (
    *("skada", "skops", "opensmile", "dask"),
    *("matplotlib", "pandas", "transformers", "onnxruntime"),
)

if not PAGES:
    pytest.skip("the documentation is not part of the package", allow_module_level=True)


def blocks(page, language):
    """Return the blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def missing_packages(script):
    """Return the optional packages that a script wants and this machine lacks."""
    wanted = [
        name for name in OPTIONAL if re.search(rf"(import|from) {name}\b", script)
    ]
    saves = "sklearn_ser.persistence" in script or "model.skops" in script
    wanted += ["skops"] if saves else []
    wanted += ["opensmile"] if "OpenSMILETransformer(" in script else []
    return [name for name in wanted if find_spec(name) is None]


def run(page, script, program, cwd):
    if missing := missing_packages(script):
        pytest.skip(f"{page.name} needs {', '.join(missing)}")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture
def home(tmp_path, corpus, write_corpus):
    """A folder with what the pages name: a table, recordings and a corpus in /data."""
    for folder in ("recordings", "data/EmoDB/wav"):
        (tmp_path / folder).mkdir(parents=True)
    write_corpus(tmp_path / "my.csv", n_speakers=3, n_utterances=1)
    calls = "file,speaker\nother.wav,ann\nrecordings/a.wav,ann\n"
    (tmp_path / "calls.csv").write_text(calls)
    names = ["other.wav", "recordings/a.wav", "recordings/b.wav"] + [
        f"data/EmoDB/wav/{speaker}a01{emotion}a.wav"
        for speaker in ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
        for emotion in "NW"
    ]
    assert len(names) <= len(corpus.waveforms)
    for name, wave in zip(names, corpus.waveforms, strict=False):
        soundfile.write(tmp_path / name, wave, corpus.sampling_rate)
    return tmp_path


ONE_EPOCH = """
import runpy
from skorch import NeuralNet

whole = NeuralNet.fit_loop


def fit_loop(self, X, y=None, epochs=None, **kwargs):
    return whole(self, X, y, epochs=1, **kwargs)


NeuralNet.fit_loop = fit_loop
"""


COMMANDS = """
import sys

for command in {}:
    sys.argv = command
    try:
        runpy.run_module(command[0], None, "__main__", True)
    except SystemExit as end:
        assert not end.code, (command, end.code)
"""

with_python = pytest.mark.parametrize(
    "page",
    [page for page in (*FRONT, *PAGES) if blocks(page, "python")],
    ids=lambda page: page.stem,
)
with_commands = pytest.mark.parametrize(
    "page",
    [page for page in PAGES if blocks(page, "console")],
    ids=lambda page: page.stem,
)


def script_of(page):
    """Return the blocks as one script."""
    return "\n".join(blocks(page, "python")).replace('"/data/', '"data/')


def commands_of(page):
    """Return the arguments of each call of Python."""
    lines = "".join(blocks(page, "console")).splitlines()
    commands = [shlex.split(line) for line in lines]
    assert commands
    for prompt, python, *_ in commands:
        assert (prompt, python) == ("$", "python")
    return [command for _, _, *command in commands]


@pytest.mark.slow
@with_python
def test_the_blocks_of_a_page_run_one_after_the_other(page, home):
    script = script_of(page)
    run(page, script, ONE_EPOCH + script, cwd=home)


@pytest.mark.slow
@with_commands
def test_the_commands_of_a_page_run_one_after_the_other(page, home):
    """In one process, whose imports take longer than most commands."""
    commands = commands_of(page)
    assert {option for option, *_ in commands} == {"-m"}
    program = f"{ONE_EPOCH}{COMMANDS.format([words[1:] for words in commands])}"
    run(page, "\n".join(map(shlex.join, commands)), program, cwd=home)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_a_page_is_run(page):
    """What is neither Python nor a command is a directive, or a table."""
    fences = re.findall(r"^ *```(.*)$", page.read_text(), re.M)
    assert set(fences[1::2]) <= {""}
    kinds = [kind for kind in fences[::2] if not kind.startswith("{")]
    assert set(kinds) <= {"python", "console", "text"}


def test_a_corpus_is_added_in_25_lines():
    declarations = [
        block
        for block in re.findall(
            r"```python\n(.*?)```", (GUIDE / "corpora.md").read_text(), re.S
        )
        if "CorpusSpec(" in block
    ]
    assert len(declarations) == 1
    assert len(declarations[0].splitlines()) <= 25


def test_every_page_is_in_the_table_of_contents():
    index = (GUIDE / "index.md").read_text()
    listed = re.search(r"```{toctree}\n(.*?)```", index, re.S)[1].split()
    pages = {page.stem for page in GUIDE.glob("*.md")} - {"index"}
    assert pages == {name for name in listed if not name.startswith(":")}
    for name in pages:
        assert f"]({name}.md)" in index


@pytest.mark.parametrize(
    "page",
    [*FRONT, *PAGES, *DEVELOPER],
    ids=lambda page: f"{page.parent.name}/{page.stem}",
)
def test_links_between_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:\s]+)[)#]", page.read_text()):
        if target.split("/")[0] == "benchmarks" and not BENCHMARKS.exists():
            continue
        assert (page.parent / target).exists(), target


def test_the_messages_that_are_explained_are_those_of_the_library():
    files = Path(sklearn_ser.__file__).parent.rglob("*.py")
    source = "".join(path.read_text() for path in files)
    source = re.sub(r'"\s*f?"', "", source)  # texts that go on in the next line
    page = (GUIDE / "troubleshooting.md").read_text()
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", page, re.M)
    assert len(rows) > 20
    for message, cause in rows:
        if not cause.startswith("scikit-learn's"):
            for part in re.findall("`(.*?)`", message):
                assert part in source, part


def test_the_page_on_choosing_fits_on_a_screen_and_repeats_no_figure():
    text = (GUIDE / "choosing.md").read_text()
    assert len(text.splitlines()) < 30
    assert not re.findall(r"(?<![\d.])\d+\.\d+", text)


def test_no_page_repeats_a_row_of_another():
    rows = Counter()
    for page in (*FRONT, *PAGES, *DEVELOPER):
        found = set(re.findall(r"^\|.*\|$(?!\n\|---)", page.read_text(), re.M))
        rows.update(row for row in found if "---" not in row)
    assert rows
    assert [row for row, n in rows.items() if n > 1] == []


def test_tables_that_are_included_are_there():
    text = (GUIDE / "results.md").read_text()
    markers = re.findall(r"^:(?:start-after|end-before): (.*)$", text, re.M)
    assert len(markers) == 22
    if not BENCHMARKS.exists():
        pytest.skip("the benchmarks are not part of the package")
    found = BENCHMARKS.read_text()
    assert all(found.count(marker) == 1 for marker in markers)
