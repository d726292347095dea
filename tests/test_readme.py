"""What the README shows runs as it stands there."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
needed = pytest.mark.skipif(
    not README.exists() or find_spec("skada") is None,
    reason="needs the README, and skada, which it shows",
)


@needed
def test_the_examples_run_one_after_the_other(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) >= 2
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "alignment_weight" in done.stdout
