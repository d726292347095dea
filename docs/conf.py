"""How Sphinx builds the documentation."""

import os
import re
import sys
import warnings
from pathlib import Path

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

import sklearn_ser
from sklearn_ser.cli import make_parser

sys.path.insert(0, str(Path(__file__).parent))  # where sphinx-gallery finds the style

# Joblib's workers and torch share two cores on a small machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

project = "sklearn_ser"
author = "the sklearn_ser developers"
copyright = "the sklearn_ser developers"
version = release = sklearn_ser.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "examples", "**/GALLERY_HEADER.*"]
templates_path = ["_templates"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
default_role = "py:obj"

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# Where there is no network, lists of the names that these pages use stand in for the
# inventories of other projects.
intersphinx_mapping = {
    name: (url, (None, f"inventories/{name}.inv"))
    for name, url in {
        "python": "https://docs.python.org/3",
        "numpy": "https://numpy.org/doc/stable",
        "matplotlib": "https://matplotlib.org/stable",
        "sklearn": "https://scikit-learn.org/stable",
        "skorch": "https://skorch.readthedocs.io/en/stable",
        "torch": "https://docs.pytorch.org/docs/stable",
    }.items()
}
intersphinx_timeout = 10

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "subsection_order": [
        "examples/start",
        "examples/speakers",
        "examples/corpora",
        "examples/own",
    ],
    "within_subsection_order": "FileNameSortKey",
    "backreferences_dir": "reference/backreferences",
    "doc_module": ("sklearn_ser",),
    "remove_config_comments": True,
    "show_memory": False,
    "capture_repr": (),
    "abort_on_example_error": True,
    "reset_modules": ("matplotlib", "gallery_style.reset"),
    "thumbnail_size": (600, 420),
    "min_reported_time": 5,
}

# Browsers draw MathML themselves: no script, no network.
html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "sklearn_ser"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
}
html_sidebars = {"changelog": [], "index": []}

# Matplotlib draws into the page alone.
warnings.filterwarnings(
    "ignore", message="FigureCanvasAgg is non-interactive", category=UserWarning
)


def _unlink_inherited(app, what, name, obj, options, lines):
    """scikit-learn's docstrings point into its own guide."""
    link = r":(?:ref|term):`([^<`]+?)(?:\s*<[^`]*>)?`"
    lines[:] = [re.sub(link, r"\1", line) for line in lines]


def _skip_requests(app, what, name, obj, skip, options):
    """Leave out set_fit_request and its like, which scikit-learn makes."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def _mathml(display):
    def visit(translator, node):
        translator.body.append(convert(node.astext(), display=display))
        raise SkipNode

    return visit, None


def _describe_commands(app, docname, source):
    """Write the options of each command into its page, from the parser itself."""
    if docname != "reference/command_line":
        return
    commands = make_parser()._subparsers._group_actions[0].choices
    lines = []
    for name, command in commands.items():
        lines += ["", f"## {name}", "", command.description]
        for group in command._action_groups:
            rows = [_row(command, action) for action in group._group_actions]
            rows = [row for row in rows if "`--help`" not in row]
            lines += ["", f"| {group.title} | |", "|---|---|", *rows] if rows else []
    source[0] = source[0].replace("<!-- commands -->", "\n".join(lines))


def _row(command, action):
    """Return an option and its help as a row of a table."""
    formatter = command._get_formatter()
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    value = "" if action.nargs == 0 else action.metavar or ", ".join(action.choices)
    text = formatter._expand_help(action).replace("|", r"\|")
    text = re.sub(r"(?<!\w)(--[a-z-]+|\w+\.(?:html|json|csv))", r"`\1`", text)
    return f"| {names} {value} | {text} |" if names else f"| {value} | {text} |"


def setup(app):
    app.connect("source-read", _describe_commands)
    app.add_html_math_renderer("mathml", _mathml("inline"), _mathml("block"))
    app.connect("autodoc-process-docstring", _unlink_inherited)
    app.connect("autodoc-skip-member", _skip_requests)
