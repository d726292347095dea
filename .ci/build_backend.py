"""setuptools, with an sdist that holds the package alone.

By itself setuptools adds the test files, but not what they need in order to run.
"""

from pathlib import Path

from setuptools.build_meta import *  # noqa: F403
from setuptools.build_meta import build_sdist as _build_sdist

_CONTENT = """\
prune tests
include .ci/build_backend.py
"""


def build_sdist(sdist_directory, config_settings=None):
    """Build the sdist under a manifest that is there for as long as this takes."""
    manifest = Path("MANIFEST.in")
    manifest.write_text(_CONTENT)
    try:
        return _build_sdist(sdist_directory, config_settings)
    finally:
        manifest.unlink()
