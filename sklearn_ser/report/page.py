"""Pages of HTML from templates; each page is one file that needs no network."""

from functools import cache

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template, **values):
    """Return a page. Every value is escaped, and what is no text becomes an escape."""
    page = _environment().get_template(template).render(values)
    return page.encode("utf-8", errors="backslashreplace").decode("utf-8")


@cache
def _environment():
    environment = Environment(
        loader=PackageLoader("sklearn_ser", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": _figure, "percent": _percent}
    return environment


def _figure(value):
    """Return a count as it is, and another number with one digit; "–" if unknown."""
    if not isinstance(value, float | np.floating):
        return value
    return "–" if np.isnan(value) else f"{value:.1f}"


def _percent(share):
    return "–" if np.isnan(share) else f"{100 * share:.1f}%"
