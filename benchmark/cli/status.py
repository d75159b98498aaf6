"""The `status` command: show the progress of a grid, also while other processes run it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from .options import OUT, folder_of_runs

if TYPE_CHECKING:
    from rich.console import Group

    from ...results.status.overview import Overview

EVERY = 2.0  # seconds between updates
LISTED = 20  # maximum number of running and failed cells listed individually


@click.command()
@OUT
@click.option("--watch", is_flag=True, help="Update until nothing is left to do, or Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every cell with its state.")
@click.pass_context
def status(ctx: click.Context, out: Any, watch: bool, as_json: bool) -> None:
    """Show which cells of the grids in --out are done, running, failed or left, and the estimated time left."""
    from rich.console import Console
    from rich.live import Live

    from ...results.status.overview import overview

    runs = folder_of_runs(out)
    if as_json:
        click.echo(json.dumps(_as_json(overview(runs)), indent=1))
        return
    if not watch:
        Console(soft_wrap=True).print(_shown(overview(runs)))
        return
    found = overview(runs)
    with Live(_shown(found), auto_refresh=False) as live:
        while found.count()["running"] or found.count()["to do"]:
            time.sleep(EVERY)
            found = overview(runs)
            live.update(_shown(found), refresh=True)


def _shown(found: Overview) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from ...results.status.overview import STATES

    table = Table("cells", box=None, padding=(0, 2, 0, 0))
    for state in STATES:
        table.add_column(state, justify="right")
    rows: dict[tuple[str, ...], dict[str, int]] = {}
    for one in found.cells:
        cell = one.cell
        place = (cell.method, cell.backbone, cell.dataset, cell.split, cell.protocol, cell.variant or "")
        rows.setdefault(place, dict.fromkeys(STATES, 0))[one.state] += 1
    for place, counts in rows.items():
        table.add_row(Text(" ".join(filter(None, place))), *(str(counts[state] or "") for state in STATES))
    lines = [Text(line) for state in ("running", "failed") for line in _listed(found, state)]
    return Group(table, *lines, Text(_summary(found)))


def _listed(found: Overview, state: str) -> list[str]:
    cells = [one for one in found.cells if one.state == state]
    lines = [f"{state}: {one.cell}: {one.about}" for one in cells[:LISTED]]
    return lines + ([f"{state}: {len(cells) - LISTED} more"] if len(cells) > LISTED else [])


def _summary(found: Overview) -> str:
    from ...results.status.estimate import format_duration
    from ...results.status.overview import STATES

    counts = found.count()
    text = ", ".join(f"{counts[state]} {state}" for state in STATES)
    if not counts["running"] and not counts["to do"]:
        return text
    seconds, unknown = found.left()
    if unknown:
        rest = f" without {unknown} cells of which no similar one is finished" if seconds else "unknown"
        return f"{text}; time left: {f'about {format_duration(seconds)},' if seconds else ''}{rest}"
    return f"{text}; time left: about {format_duration(seconds)}"


def _as_json(found: Overview) -> dict[str, Any]:
    seconds, unknown = found.left()
    cells = [
        {"cell": one.cell.model_dump(), "state": one.state, "about": one.about, "seconds_left": one.seconds}
        for one in found.cells
    ]
    return {"counts": dict(found.count()), "seconds_left": seconds, "unknown": unknown, "cells": cells}
