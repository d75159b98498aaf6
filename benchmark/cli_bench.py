"""The commands that measure speed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from .bench.prepare import Figure


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

    _show(measure(files=files, clips=clips, frames=frames, folder=folder, say=_say), as_json)


@bench.command("eval")
@click.option("--train", type=click.IntRange(min=100), default=40_000, show_default=True, help="Training clips.")
@click.option("--test", type=click.IntRange(min=100), default=16_000, show_default=True, help="Test clips.")
@click.option("--dim", type=click.IntRange(min=1), default=256, show_default=True, help="D of the features.")
@click.option("--classes", type=click.IntRange(min=6), default=60, show_default=True, help="Classes.")
@click.option("--clips", type=click.IntRange(min=1), default=256, show_default=True, help="Clips that are encoded.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_eval(train: int, test: int, dim: int, classes: int, clips: int, as_json: bool) -> None:
    """Clips to features, and made-up features to accuracy: knn, retrieval, few-shot and linear, on the CPU."""
    from .bench.evaluate import bench_evaluate as measure

    _show(measure(train=train, test=test, dim=dim, classes=classes, clips=clips, say=_say), as_json)


def _say(text: str) -> None:
    click.echo(f"  {text}", err=True)


def _show(figures: Iterable[Figure], as_json: bool) -> None:
    """Print each figure when it is measured, or all of them as JSON at the end."""
    kept = []
    for figure in figures:
        kept.append(figure)
        if not as_json:
            click.echo(f"{figure.name:<55} {figure.value:>10,.2f} {figure.unit}")
    if as_json:
        click.echo(json.dumps([asdict(figure) for figure in kept], indent=1))
