"""The `run` and `grid` commands: train and evaluate one cell or many."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ...errors import SkelbenchError
from .launch import launch_options, launching
from .options import (
    COMPILE,
    DETERMINISTIC,
    DEVICE,
    GRAPH,
    OUT,
    PRECISION,
    THREADS,
    load_plugins,
    names,
    numbers,
    option_set,
    watcher,
)
from .tables import show_results

SET = click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a setting, e.g. epochs=20, backbone.width=32, linear.lr=1.",
)
_common = option_set(
    OUT,
    DEVICE,
    THREADS,
    PRECISION,
    COMPILE,
    GRAPH,
    DETERMINISTIC,
    SET,
    click.option(
        "--checkpoint-every",
        type=click.FloatRange(min=0),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="Minimum time between checkpoints.",
    ),
    click.option("--force", is_flag=True, help="Run finished cells again."),
    click.option(
        "--tracker",
        "trackers",
        multiple=True,
        metavar="NAME",
        help="Also log learning curves to: tensorboard. curve.jsonl is always written.",
    ),
)
NAME = click.option(
    "--name",
    metavar="NAME",
    help="Name the grid: its cells are custom, in tables of this name. Grids of one name share their tables.",
)
PRETRAINED_ON = click.option(
    "--pretrained-on",
    metavar="DATASET[:SPLIT]",
    help="Pre-train on this data set and evaluate on the given ones (default split: the same).",
)


@click.command()
@click.option("--method")
@click.option("--backbone", default="stgcn", show_default=True)
@click.option("--dataset")
@click.option("--split", default="xsub", show_default=True)
@click.option("--stream", default="joint", show_default=True, help="joint, bone, motion, or 3s: all and their fusion.")
@click.option("--protocol", default="knn,linear", show_default=True, help="Comma list.")
@PRETRAINED_ON
@click.option("--track", default="equal", show_default=True, help="equal or published.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@NAME
@click.option(
    "--reproduce",
    type=click.Path(path_type=Path, exists=True),
    metavar="RECORD",
    help="Run the configuration of this record.json again and compare; exit code 1 if anything differs.",
)
@_common
@click.pass_context
def run(ctx: click.Context, **options: Any) -> None:
    """Pre-train one method and evaluate it, or run a record again and compare."""
    load_plugins(ctx)
    if options["reproduce"]:
        _reproduce(ctx, options["reproduce"], options["device"])
        return
    for name in ("method", "dataset"):
        if options[name] is None:
            raise click.MissingParameter(ctx=ctx, param_hint=f"'--{name}'", param_type="option")
    from ...config import parse_pairs
    from ..plan.grid import Grid, named
    from ..run_grid import run_grid

    grid = Grid(
        track=options["track"],
        methods=(options["method"],),
        backbones=(options["backbone"],),
        datasets=(options["dataset"],),
        splits=(options["split"],),
        streams=(options["stream"],),
        protocols=names(options["protocol"]),
        seeds=(options["seed"],),
        floor_seeds=(options["seed"],),
        pretrained_on=options["pretrained_on"],
        also=dict(parse_pairs(options["pairs"])),
    )
    grids = [grid] if options["name"] is None else named([grid], options["name"])
    with launching(ctx, grids, options) as launch:
        result = run_grid(**launch) if launch else None
    if result:
        show_results(ctx, result.records, result.failures, result.refused)


grid_options = option_set(
    click.argument("file", required=False, type=click.Path(path_type=Path)),
    click.option("--preset", help="A grid file that comes with skelbench, such as demo."),
    click.option("--methods", help="Comma list, as for the next five options."),
    click.option("--backbones"),
    click.option("--datasets"),
    click.option("--splits"),
    click.option("--streams", help="joint, bone, motion, and 3s for their fusion."),
    click.option("--protocols"),
    click.option("--seeds", help="Comma list of numbers; the floor always has at least seeds 0, 1, 2."),
    PRETRAINED_ON,
    click.option("--track", help="equal or published."),
    NAME,
    click.option(
        "--vary",
        "lists",
        multiple=True,
        metavar="KEY=V1,V2,...",
        help="Run a setting with several values, as rows of the same tables; of several settings every combination.",
    ),
    click.option("--no-floor", is_flag=True, help="Leave out the untrained encoder unless it is named."),
)


def grids_of(options: Mapping[str, Any]) -> list[Any]:
    """The grids that `grid_options` and `--set` name, with their floors.

    Raises:
        SkelbenchError: for options that do not go together, or an invalid grid.
    """
    from ...config import parse_lists, parse_pairs
    from ..plan.grid import Grid, named, read_grid, read_preset

    if options["file"] and options["preset"]:
        raise SkelbenchError("A grid comes from FILE or from --preset, not from both.")
    base = Grid()
    if options["preset"]:
        base = read_preset(options["preset"])
    elif options["file"]:
        base = read_grid(options["file"])
    axes = ("methods", "backbones", "datasets", "splits", "streams", "protocols")
    changes: dict[str, Any] = {axis: names(options[axis]) for axis in axes if options[axis]}
    if options["seeds"]:
        changes["seeds"] = numbers(options["seeds"])
    changes |= {key: options[key] for key in ("track", "pretrained_on") if options[key]}
    changes["also"] = dict(parse_pairs(options["pairs"]))
    varied = parse_lists(options["lists"])
    parts = [part.model_copy(update=changes | {"vary": {**part.vary, **varied}}) for part in base.split()]
    if options["name"] is not None:
        parts = named(parts, options["name"])
    return [part.with_floor(add=not options["no_floor"]) for part in parts]


@click.command()
@grid_options
@click.option("--dry-run", is_flag=True, help="Print the plan and the estimated device hours; run nothing.")
@launch_options
@_common
@click.pass_context
def grid(ctx: click.Context, **options: Any) -> None:
    """Run a grid of methods × backbones × datasets, from FILE, a preset or comma lists; then print its table.

    Finished cells are skipped. If a cell fails, the others continue, and the failures are listed at the end (exit
    code 1). The untrained encoder is always among the methods, as the floor of the table.
    """
    load_plugins(ctx)
    from ..run_grid import run_grid

    with launching(ctx, grids_of(options), options) as launch:
        result = run_grid(**launch) if launch else None
    if result:
        show_results(ctx, result.records, result.failures, result.refused)


def _reproduce(ctx: click.Context, record: Path, device: str) -> None:
    """Print each number of a record next to that of its second run; exit with code 1 if any differs."""
    from ...results.store import RunStore
    from ..run.reproduce import reproduce as run_again

    with tempfile.TemporaryDirectory(prefix="skelbench-") as folder:
        compared = run_again(record, RunStore(Path(folder)), device, watcher(ctx))
    width = max(len(one.what) for one in compared)
    for one in compared:
        mark = "=" if one.equal and not one.what.startswith("(") else "!"
        click.echo(f"{mark} {one.what:<{width}}  {one.before}  ->  {one.now}")
    if not all(one.equal for one in compared):
        click.echo("Not reproduced: the lines marked with ! differ.")
        ctx.exit(1)
    click.echo("Reproduced bit for bit.")
