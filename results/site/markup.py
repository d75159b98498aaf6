"""Escaping, and the frame of all pages. Values from data are always text, never markup."""

import json
from functools import cache
from html import escape
from importlib import resources
from string import Template
from typing import Any

# Only the site's own files may be loaded: as 'self' from a server, as file: from disk.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' file:",
        "style-src 'self' file:",
        "img-src 'self' file:",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
ASSETS = ("site.css", "theme.js", "charts.js", "board.js", "paper.js", "cell.js", "icon.svg")

__all__ = ["ASSETS", "POLICY", "asset", "data_block", "data_file", "escape", "page", "script_json"]


@cache
def asset(name: str) -> str:
    """Read a style sheet, script or picture of the package."""
    return (resources.files(__package__ or "") / "assets" / name).read_text(encoding="utf-8")


@cache
def _template(name: str) -> Template:
    return Template((resources.files(__package__ or "") / "pages" / name).read_text(encoding="utf-8"))


def page(name: str, *, title: str, root: str, **parts: str) -> str:
    """Return a complete page: the frame around the template ``name``.

    Args:
        title: plain text.
        root: the relative path to the site's root, "" or "../".
        parts: markup that fills the template, already escaped.
    """
    body = _template(name).substitute(parts, root=root)
    here = {f"here_{entry}": ' aria-current="page"' if f"{entry}.html" == name else "" for entry in ("index", "paper")}
    frame = {"title": escape(title), "root": root, "policy": escape(POLICY, quote=True), "body": body}
    return _template("frame.html").substitute(frame, **here)


def script_json(value: Any) -> str:
    """Return JSON that is safe inside a script: ASCII only, and nothing in it ends a script or starts a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def data_block(value: Any) -> str:
    """Return a block of data for a page, which browsers do not execute."""
    return f'<script type="application/json" id="data">{script_json(value)}</script>'


def data_file(name: str, value: Any) -> str:
    """Return a script that passes data to a page: pages opened from disk can load scripts but not fetch files."""
    return f"skelbench.deliver({script_json(name)},{script_json(value)});\n"
