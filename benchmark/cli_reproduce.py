"""`skelbench run --reproduce`: a record's configuration once more, beside what it gave the first time."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from .cli_parts import watcher


def reproduce(ctx: click.Context, record: Path, device: str) -> None:
    """Print every number of a record beside that of its second run; end with exit code 1 if one differs."""
    from ..results.store import RunStore
    from .run.reproduce import reproduce as run_again

    with tempfile.TemporaryDirectory(prefix="skelbench-") as folder:
        compared = run_again(record, RunStore(Path(folder)), device, watcher(ctx))
    width = max(len(one.what) for one in compared)
    for one in compared:
        mark = "=" if one.equal and not one.what.startswith("(") else "!"
        click.echo(f"{mark} {one.what:<{width}}  {one.before}  ->  {one.now}")
    if not all(one.equal for one in compared):
        click.echo("Not reproduced: what is marked with ! differs.")
        ctx.exit(1)
    click.echo("Reproduced bit for bit.")
