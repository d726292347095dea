"""What the README and the guide show runs as it stands there."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
needed = pytest.mark.skipif(
    not README.exists() or find_spec("skada") is None,
    reason="needs the README, and skada, which it shows",
)


@needed
def test_the_examples_run_one_after_the_other(tmp_path):
    assert "alignment_weight" in run_blocks(README, tmp_path)


def test_a_corpus_is_added_in_25_lines(tmp_path):
    page = ROOT / "docs" / "guide" / "corpora.md"
    if not page.exists():
        pytest.skip("the documentation is not part of the package")
    assert "anger" in run_blocks(page, tmp_path)
    declaration = re.search(r"```python\n(.*?)```", page.read_text(), re.DOTALL)[1]
    assert "CorpusSpec(" in declaration
    assert len(declaration.splitlines()) <= 25


def run_blocks(page, folder):
    """Run all Python blocks of a page, one after the other; return what they print."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(blocks) >= 2
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(blocks)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
