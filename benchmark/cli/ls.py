"""The `ls` command: list what is available."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ...errors import SkelbenchError
from .options import load_plugins

LISTS = ("methods", "backbones", "datasets", "readers", "layouts", "protocols", "tracks", "presets", "cells")


@click.command("ls")
@click.argument("what", type=click.Choice(LISTS), required=False)
@click.argument("name", required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of runs, for `ls cells`.",
)
@click.option("--matrix", is_flag=True, help="For `ls methods`: which method trains with which backbone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_(ctx: click.Context, what: str | None, name: str | None, out: Path, matrix: bool, as_json: bool) -> None:
    """List what is available: methods, backbones, datasets, ... (default: all but cells).

    `ls layouts NAME` shows the joints of a skeleton.
    """
    from . import layouts
    from . import listing as lists_of
    from .listing import listing

    load_plugins(ctx)
    if name is not None:
        if what != "layouts":
            raise SkelbenchError(f"`ls {what}` lists all and takes no name; only `ls layouts NAME` shows one.")
        from ...datasets.layout import get_layout

        layout = get_layout(name)
        for line in [json.dumps(layouts.as_json(layout), indent=1)] if as_json else layouts.as_text(layout):
            click.echo(line)
        return
    if matrix:
        _show_matrix(what, lists_of.matrix(), as_json)
        return
    chosen = [what] if what else [name for name in LISTS if name != "cells"]
    lists = {name: listing(name, out, settings=bool(what)) for name in chosen}
    if as_json:
        click.echo(json.dumps(lists, indent=1))
        return
    for name, rows in lists.items():
        if len(lists) > 1:
            click.echo(f"{name}:")
        width = max((len(row["name"]) for row in rows), default=0)
        for row in rows:
            click.echo(f"  {row['name']:<{width}}  {row['about']}".rstrip())
        if not rows:
            click.echo("  none")


def _show_matrix(what: str | None, pairs: list[dict[str, str]], as_json: bool) -> None:
    if what not in (None, "methods"):
        raise SkelbenchError(f"`ls {what}` has no matrix; use `ls methods --matrix`.")
    if as_json:
        click.echo(json.dumps(pairs, indent=1))
        return
    backbones = list(dict.fromkeys(pair["backbone"] for pair in pairs))
    answers = {(pair["method"], pair["backbone"]): pair["about"] for pair in pairs}
    reasons = list(dict.fromkeys(text for text in answers.values() if text != "yes"))
    width = max(len(pair["method"]) for pair in pairs)
    click.echo(" " * (width + 2) + "  ".join(f"{name:>8}" for name in backbones))
    for method in dict.fromkeys(pair["method"] for pair in pairs):
        row = (answers[method, backbone] for backbone in backbones)
        marks = ("yes" if text == "yes" else f"no ({reasons.index(text) + 1})" for text in row)
        click.echo(f"  {method:<{width}}" + "  ".join(f"{mark:>8}" for mark in marks))
    for number, text in enumerate(reasons, start=1):
        click.echo(f"  ({number}) {text}")
