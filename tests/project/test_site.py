"""The documentation, once built, has no dead link inside it; see ``.ci/run``."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from sklearn_ser.cli import make_parser

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"

if not SITE.is_dir():
    pytest.skip("the documentation has not been built", allow_module_level=True)


class Page(HTMLParser):
    """What a page points to, and what in it can be pointed at."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], {"", "top"}
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src") and value is not None:
                self.links.append(value)
            elif name == "id" or (tag, name) == ("a", "name"):
                self.anchors.add(value)


def test_no_link_inside_the_site_is_dead():
    own = (path for path in SITE.rglob("*.html") if "_static" not in path.parts)
    pages = {path: Page(path) for path in own}
    assert len(pages) > 50
    dead = []
    for path, page in pages.items():
        for link in page.links:
            url, anchor = urldefrag(link)
            if urlsplit(url).scheme or url.startswith("//"):
                continue
            target = (path.parent / unquote(urlsplit(url).path)).resolve()
            target = path if not url else target
            if not target.is_file() or (
                target in pages and unquote(anchor) not in pages[target].anchors
            ):
                dead.append(f"{path.relative_to(SITE)}: {link}")
    assert not dead, "\n".join(sorted(set(dead)))


def test_the_page_of_the_command_line_names_every_option():
    page = (SITE / "reference" / "command_line.html").read_text()
    commands = make_parser()._subparsers._group_actions[0].choices
    parts = page.split("<h2>")[1:]
    assert len(parts) == len(commands)
    for (name, command), part in zip(commands.items(), parts, strict=True):
        assert part.startswith(name)
        for action in command._actions:
            for option in {*action.option_strings} - {"-h", "--help"}:
                assert f">{option}</span>" in part, (name, option)


def test_each_example_has_a_picture_of_its_own():
    scripts = list((SITE.parents[1] / "examples").rglob("plot_*.py"))
    pictures = [
        (SITE / "_images" / f"sphx_glr_{path.stem}_thumb.png").read_bytes()
        for path in scripts
    ]
    assert len({*pictures}) == len(scripts) > 10  # the one of sphinx-gallery is shared
    for picture in pictures:
        assert int.from_bytes(picture[16:20]) >= 600  # the width, in a PNG's header


@pytest.mark.parametrize("width", [400, 1200])
def test_no_page_is_wider_than_the_screen(browse, tmp_path, width):
    names = ["index", "gallery/index", "reference/command_line", "guide/choosing"]
    names += ["guide/evaluation", "guide/enrolment", "guide/speech_models"]
    frames = "".join(
        f'<iframe name="{name}" src="{(SITE / name).as_uri()}.html" '
        f'style="width:{width}px;height:900px"></iframe>'
        for name in names
    )
    # What reaches beyond the screen without a box that scrolls is cut off.
    script = """onload = () => {
        const boxed = (e, article) => e !== article && (
            /auto|scroll/.test(getComputedStyle(e).overflowX)
            || boxed(e.parentElement, article))
        const counts = [...document.querySelectorAll("iframe")].map(f => {
            const article = f.contentDocument.querySelector("article")
            const cut = [...article.querySelectorAll(":not(.headerlink)")].filter(
                e => e.getBoundingClientRect().right > WIDTH + 1 && !boxed(e, article))
            return f.name + "=" + cut.length
        })
        document.body.textContent = counts.join(" ")
    }""".replace("WIDTH", str(width))
    page = tmp_path / "all.html"
    page.write_text(f"<body>{frames}<script>{script}</script></body>")
    counts = dict(re.findall(r"([\w/]+)=(\d+)", browse(page)))
    assert counts == dict.fromkeys(names, "0")
