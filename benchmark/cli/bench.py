"""The `bench` commands: measure speed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import COMPILE, DEVICE, GRAPH, PRECISION, check_graph, load_plugins

if TYPE_CHECKING:
    from ..speed.prepare import Figure


@click.group()
def bench() -> None:
    """Measure speed next to a plain reference implementation in the same run."""


@bench.command("step")
@click.option("--method", default="skeletonclr", show_default=True)
@click.option("--backbone", default="stgcn", show_default=True)
@click.option("--batch", type=click.IntRange(min=4), default=64, show_default=True)
@click.option("--frames", type=click.IntRange(min=4), default=50, show_default=True)
@click.option("--persons", type=click.IntRange(1, 2), default=2, show_default=True)
@click.option("--clips", type=click.IntRange(min=4), help="Clips that batches are drawn from (default: four batches).")
@click.option("--width", type=click.IntRange(min=1), help="Width of an ST-GCN (default: as published).")
@click.option("--steps", type=click.IntRange(min=1), default=50, show_default=True, help="Timed steps.")
@click.option(
    "--plain-steps",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Timed steps of the plain reference; 0 leaves it out.",
)
@click.option(
    "--small", is_flag=True, help="The size of small open data: one person of 20 joints, the `equal` track, one thread."
)
@click.option("--stage", type=click.IntRange(0, 1), default=0, show_default=True, help="Stage; 1: with mining.")
@DEVICE
@PRECISION
@COMPILE
@GRAPH
@click.option("--json", "as_json", is_flag=True, help="Print JSON, which `skelbench check` compares.")
@click.pass_context
def bench_step(ctx: click.Context, as_json: bool, width: int | None, small: bool, **options: Any) -> None:
    """Time pre-training steps, next to the plain reference and the limits of the machine."""
    load_plugins(ctx)
    from ..speed.step import bench_step as measure
    from ..speed.step import small_sizes
    from ..train.devices import choose_device

    device = choose_device(options.pop("device"))
    mode = {"precision": options.pop("precision"), "compiled": options.pop("compiled")}
    mode["recorded"] = check_graph(options.pop("recorded"), device)
    name = options.pop("method")
    if small:
        _check_small(ctx)
        options |= small_sizes(name)
    elif width is not None:
        options["backbone_args"] = {"width": width}
    report = measure(name, device=device, mode=mode, say=_say, **options)
    if as_json:
        click.echo(json.dumps(report, indent=1))
        return
    click.echo(f"{report['device']}, torch {report['torch']}")
    for row in report["rows"]:
        click.echo(f"{row['name']}:")
        for key, value in row.items():
            if key != "name" and value is not None:
                click.echo(f"  {key:<20} {value:>12,}")
    for key, value in report["ceilings"].items():
        click.echo(f"ceiling: {key:<13} {value:>12,}")


def _check_small(ctx: click.Context) -> None:
    """Raise for an option that `--small` sets itself."""
    for name in ("backbone", "batch", "frames", "persons", "clips", "width"):
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--small sets --{name} itself; leave one of them out.")


@bench.command("prepare")
@click.option("--files", type=click.IntRange(min=100), default=5000, show_default=True, help="Raw files to prepare.")
@click.option(
    "--clips",
    type=click.IntRange(1000, 113_945),
    default=57_000,
    show_default=True,
    help="Clips of the store that is loaded.",
)
@click.option("--frames", type=click.IntRange(min=1), default=64, show_default=True, help="T of the loaded clips.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder for temporary data, some GB (default: the system's).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_prepare(files: int, clips: int, frames: int, folder: Path | None, as_json: bool) -> None:
    """Time the preparation of generated raw files and the loading of clips from a store."""
    from ..speed.prepare import bench_prepare as measure

    _show(measure(files=files, clips=clips, frames=frames, folder=folder, say=_say), as_json)


@bench.command("eval")
@click.option("--train", type=click.IntRange(min=100), default=40_000, show_default=True, help="Training clips.")
@click.option("--test", type=click.IntRange(min=100), default=16_000, show_default=True, help="Test clips.")
@click.option("--dim", type=click.IntRange(min=1), default=256, show_default=True, help="D of the features.")
@click.option("--classes", type=click.IntRange(min=6), default=60, show_default=True, help="Classes.")
@click.option("--clips", type=click.IntRange(min=1), default=256, show_default=True, help="Encoded clips.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_eval(train: int, test: int, dim: int, classes: int, clips: int, as_json: bool) -> None:
    """Time feature extraction, and knn, retrieval, few-shot and linear on generated features, on the CPU."""
    from ..speed.evaluate import bench_evaluate as measure
    from ..speed.step import measurement

    sizes = {"train": train, "test": test, "dim": dim, "classes": classes, "clips": clips}
    figures = measure(**sizes, say=_say)
    if as_json:
        click.echo(json.dumps(measurement("eval", list(figures), sizes), indent=1))
    else:
        _show(figures, as_json)


@bench.command("grid")
@click.option("--cells", type=click.IntRange(min=2), default=100, show_default=True, help="Number of tiny cells.")
@click.option("--workers", type=click.IntRange(min=2), default=2, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path, exists=True, file_okay=False), help="For temporary runs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_grid(cells: int, workers: int, folder: Path | None, as_json: bool) -> None:
    """Measure the overhead of a grid beyond its cells, on the CPU: in one process and in several."""
    from ..speed.grid import bench_grid as measure

    _show(measure(cells=cells, workers=workers, folder=folder, say=_say), as_json)


def _say(text: str) -> None:
    click.echo(f"  {text}", err=True)


def _show(figures: Iterable[Figure], as_json: bool) -> None:
    """Print each figure once it is measured, or all as JSON at the end."""
    measured = []
    for figure in figures:
        measured.append(figure)
        if not as_json:
            click.echo(f"{figure.name:<55} {figure.value:>10,.2f} {figure.unit}")
    if as_json:
        click.echo(json.dumps([asdict(figure) for figure in measured], indent=1))
