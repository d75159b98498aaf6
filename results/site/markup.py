"""Escaping, and the frame that all pages share. What comes from data is text here, never markup."""

import json
from functools import cache
from html import escape
from importlib import resources
from string import Template
from typing import Any

# Nothing may be loaded but the site's own files: as 'self' from a server, as file: from disk.
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
    """The text of a style sheet, script or picture that comes with the package."""
    return (resources.files(__package__ or "") / "assets" / name).read_text(encoding="utf-8")


@cache
def _template(name: str) -> Template:
    return Template((resources.files(__package__ or "") / "pages" / name).read_text(encoding="utf-8"))


def page(name: str, *, title: str, root: str, **parts: str) -> str:
    """A whole page: the frame around the template ``name``.

    Args:
        title: plain text.
        root: the way to the site's root, "" or "../".
        parts: markup that fills the template; its maker has escaped it.
    """
    body = _template(name).substitute(parts, root=root)
    here = {f"here_{entry}": ' aria-current="page"' if f"{entry}.html" == name else "" for entry in ("index", "paper")}
    frame = {"title": escape(title), "root": root, "policy": escape(POLICY, quote=True), "body": body}
    return _template("frame.html").substitute(frame, **here)


def script_json(value: Any) -> str:
    """JSON that may stand inside a script: ASCII only, and nothing in it ends a script or starts a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def data_block(value: Any) -> str:
    """A block of data within a page, which no browser runs."""
    return f'<script type="application/json" id="data">{script_json(value)}</script>'


def data_file(name: str, value: Any) -> str:
    """A script that hands over data: pages opened from disk may load scripts and nothing else."""
    return f"skelbench.deliver({script_json(name)},{script_json(value)});\n"
