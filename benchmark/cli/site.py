"""The `site` command: write the leaderboard as a static web page."""

from __future__ import annotations

from pathlib import Path

import click

from .options import OUT, uncollected


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@OUT
@click.pass_context
@uncollected()
def site(ctx: click.Context, folder: Path, out: Path) -> None:
    """Write the records of --out as a web page into FOLDER; open its index.html, no server is needed.

    An older page in FOLDER is replaced; a folder with any other content is left unchanged.
    """
    from ...results.site.build import build_site
    from ...results.store import RunStore

    built = build_site(RunStore(out), folder)
    if not ctx.obj["quiet"]:
        click.echo(f"{built.tables} tables and {built.cells} cells from {built.records} records", err=True)
    click.echo(built.index)
