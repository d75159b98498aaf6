"""The `forecast` command: what a grid will cost on known devices."""

from __future__ import annotations

import json
from typing import Any

import click

from ...errors import SkelbenchError
from .launch import print_left_out, print_unprepared
from .options import PRECISION, load_plugins, names
from .run import SET, grid_options, grids_of


@click.command()
@grid_options
@SET
@PRECISION
@click.option("--on", "known", help="Comma list of devices (default: all known ones); `here` measures this machine.")
@click.option("--device", default="auto", show_default=True, help="What `here` is: cpu, cuda, cuda:1, mps.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def forecast(ctx: click.Context, known: str | None, device: str, as_json: bool, **options: Any) -> None:
    """Count what each cell of a grid takes, and estimate the hours on known devices; nothing is run.

    Every step is traced without values at its full size: parameters of one encoder, floating-point operations, bytes
    moved, memory. ntu60 and ntu120 need not be prepared. Hours are those of one cell after the other, at a stated share
    of a device's limits; nothing of it was measured on a GPU (docs/performance.md has the errors on the CPU).
    --precision changes the rate of the products of pre-trainings only: bytes and memory are those of fp32.
    """
    load_plugins(ctx)
    from ...datasets.unprepared import open_or_list
    from ..forecast.cells import forecast_cells
    from ..forecast.devices import known_device, known_devices
    from ..forecast.report import describe, of_device, values
    from ..plan.planner import plan_grids

    wanted = names(known) if known else tuple(known_devices())
    devices = [_here(device, options["precision"]) if name == "here" else known_device(name) for name in wanted]
    plan = plan_grids(grids_of(options), precision=options["precision"], opener=open_or_list)
    print_left_out(plan)
    if not (plan.tasks or plan.transfers):
        raise SkelbenchError("The grid has no cell; see `skelbench grid --dry-run`.")
    print_unprepared(plan)
    counted = {kind: forecast_cells(plan, kind) for kind in {one.kind for one in devices}}
    if as_json:
        click.echo(json.dumps(values(counted, devices, options["precision"]), indent=1))
        return
    for cell in counted[devices[0].kind]:
        click.echo(f"{cell.key.cell}: {describe(cell)}")
    click.echo(f"Together, one after the other, pre-training in {options['precision']}:")
    for one in devices:
        click.echo(f"  {of_device(counted[one.kind], one, options['precision'])}")


def _here(device: str, precision: str) -> Any:
    """This machine's device, measured."""
    from ..forecast.devices import this_device
    from ..launchers.capacity import free_memory_mb
    from ..train.devices import choose_device

    chosen = choose_device(device)
    return this_device(chosen, free_memory_mb(chosen), precision)
