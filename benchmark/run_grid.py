"""Run a grid from Python; the commands call this too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..config import parse_config
from ..results.record import Failure, Record
from ..results.store import RunStore
from .launchers.drive import Drive, Team
from .plan.grid import Grid, presets, read_grid, read_preset
from .plan.planner import Plan, plan_grids
from .train.devices import choose_device
from .train.options import Options
from .train.progress import Silent, Watcher


class GridResult(NamedTuple):
    """What a grid left: records of its evaluations, failures, and what was left out with the reason.

    Attributes:
        refused: (method, backbone) -> the reason why they do not fit together.
        left_out: what else could not be run on the data ("DATASET", "METHOD BACKBONE DATASET SPLIT PROTOCOL", ...) ->
            the reason.
        notes: what else was known before anything ran.
    """

    records: list[Record]
    failures: list[Failure]
    refused: Mapping[tuple[str, str], str]
    left_out: Mapping[str, str]
    notes: tuple[str, ...]


def run_grid(
    grid: Grid | Mapping[str, Any] | str | Path | Plan,
    *,
    out: str | Path = "runs",
    device: str = "auto",
    precision: str = "fp32",
    floor: bool = True,
    force: bool = False,
    watcher: Watcher | None = None,
    options: Options | None = None,
    team: Team | None = None,
    retries: int = 0,
) -> GridResult:
    """Train and evaluate every cell of a grid; finished cells are skipped.

    Args:
        grid: a `Grid`, its fields as a mapping (`methods`, `datasets`, `seeds`, `set`, ...), the name of a preset, the
            path of a grid file, or a `Plan` made before, to which `precision` and `floor` do not apply. Settings are
            {"linear.lr": 1} or {"linear": {"lr": 1}}.
        out: folder of runs, which other processes may share; `load_results` reads it.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        precision: of the pre-training, "fp32", "tf32" or "bf16"; evaluation is fp32.
        floor: add the untrained encoder if the grid does not name it.
        force: run finished cells again.
        watcher: receives the progress; by default nothing is printed.
        options: all options on how to run, instead of `device`, `force` and `watcher`.
        team: processes or machines that run the cells; by default this process alone.
        retries: of a cell whose process was lost or that ran out of memory or disk.

    Raises:
        SkelbenchError: for a name or setting that does not fit, a damaged record, or a folder that cannot be written;
            nothing was run.
        StoppedError: if `options.stop` is set; a training has then written its checkpoint.
    """
    if isinstance(grid, Plan):
        plan = grid
    else:
        plan = plan_grids([part.with_floor(add=floor) for part in _read(grid).split()], precision=precision)
    options = options or Options(device=choose_device(device), force=force, watcher=watcher or Silent())
    runs = RunStore(Path(out))
    runs.check_writable()
    failures = Drive(plan, runs, options, retries).run(team)
    found = map(runs.find, plan.results())
    return GridResult([record for record in found if record], failures, plan.refused, plan.left_out, plan.notes)


def _read(grid: Grid | Mapping[str, Any] | str | Path) -> Grid:
    if isinstance(grid, Grid):
        return grid
    if isinstance(grid, Mapping):
        return parse_config(Grid, grid, "the grid")
    return read_preset(grid) if isinstance(grid, str) and grid in presets() else read_grid(Path(grid))
