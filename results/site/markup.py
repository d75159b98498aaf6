"""Pages from templates, and data for their scripts. Values from data are always text, never markup."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from ..templates import render

if TYPE_CHECKING:
    from markupsafe import Markup

ASSETS = ("site.css", "theme.js", "charts.js", "board.js", "paper.js", "cell.js", "icon.svg")


@cache
def asset(name: str) -> str:
    """Read a style sheet, script or picture of the package."""
    return (resources.files(__package__ or "") / "assets" / name).read_text(encoding="utf-8")


def page(name: str, /, *, root: str, **values: Any) -> str:
    """Fill the template ``name``; ``root`` is the relative path to the site's root, "" or "../"."""
    return render(__package__ or "", name, here=name, root=root, **values)


def script_json(value: Any) -> Markup:
    """Return JSON that is safe inside a script: ASCII only, and nothing in it ends a script or starts a comment."""
    from jinja2.utils import htmlsafe_json_dumps

    return htmlsafe_json_dumps(value, separators=(",", ":"), allow_nan=False)


def data_file(name: str, value: Any) -> str:
    """Return a script that passes data to a page: pages opened from disk can load scripts but not fetch files."""
    return f"skelbench.deliver({script_json(name)},{script_json(value)});\n"
