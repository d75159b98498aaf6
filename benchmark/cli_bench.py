"""The commands that measure speed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.group()
def bench() -> None:
    """Measure speed, beside a plain way of doing the same in the same run."""


@bench.command("prepare")
@click.option("--files", type=click.IntRange(min=100), default=5000, show_default=True, help="Raw files to prepare.")
@click.option(
    "--clips",
    type=click.IntRange(1000, 113_945),
    default=57_000,
    show_default=True,
    help="Of the store that is loaded.",
)
@click.option("--frames", type=click.IntRange(min=1), default=64, show_default=True, help="T of the loaded clips.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="For the temporary data, some GB (default: the system's).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_prepare(files: int, clips: int, frames: int, folder: Path | None, as_json: bool) -> None:
    """Made-up raw files to a store, and a store to clips."""
    from .bench.prepare import bench_prepare as measure

    figures = []
    for figure in measure(
        files=files, clips=clips, frames=frames, folder=folder, say=lambda t: click.echo(f"  {t}", err=True)
    ):
        figures.append(figure)
        if not as_json:
            click.echo(f"{figure.name:<55} {figure.value:>10,.2f} {figure.unit}")
    if as_json:
        click.echo(json.dumps([asdict(figure) for figure in figures], indent=1))
