"""HTML pages: jinja2 templates with autoescape; every page is one file that loads nothing."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: object) -> str:
    """Return a page.

    Text in the values is escaped, wherever it comes from; a template marks our own SVG as safe.

    Args:
        template: Name of a file in `templates`, for example "benchmark.html.j2".
        values: What the template uses. A missing one is an error.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> "Environment":
    # Only commands that write a page need it.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("segdeploy.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
