"""HTML from templates. Values are always text, never markup; a missing one is an error."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render(package: str, name: str, /, **values: Any) -> str:
    """Fill the template ``name`` from the folder ``pages`` of a package.

    Every value is escaped, unless it is a ``Markup``. Raises ``jinja2.UndefinedError`` for a value that is not given.
    """
    return _environment(package).get_template(name).render(values)


@cache
def _environment(package: str) -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package, "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
