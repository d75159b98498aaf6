"""The memory that the largest open cell of a plan is expected to take."""

from __future__ import annotations

from ...results.record import Cell
from ...results.store import RunStore
from ..plan.planner import Plan
from ..run.launched import device_name
from .cells import forecast_cells
from .memory import peak_mb


def largest_mb(plan: Plan, runs: RunStore, device: str, *, again: bool = False) -> float | None:
    """Peak memory in MB of the largest open cell, as `train.devices.peak_memory` measures it; None if not known.

    Finished cells that differ in the seed only tell it; where there is none it is forecast.

    Args:
        again: whether finished cells are open too.
    """
    keys = [one for task, _ in plan.tasks for one in (task.key, *task.evaluations)]
    keys += [one for task, _ in plan.transfers for one in task.evaluations]
    open_ = [key for key in keys if again or not runs.find(key)]
    measured: dict[Cell, float] = {}
    here = device_name(device)
    for record in runs.records():
        peak = record.cost.get("peak_memory_mb")
        if peak and record.environment.get("device_name") == here:
            place = _seedless(record.cell)
            measured[place] = max(peak, measured.get(place, 0.0))
    told = {key.identity for key in open_ if _seedless(key.cell) in measured}
    done = {key.identity for key in keys} - {key.identity for key in open_}
    counted = forecast_cells(plan, device, done | told)
    if not open_ or any(one.unknown for one in counted):
        return None
    peaks = [measured[_seedless(key.cell)] for key in open_ if key.identity in told]
    return max(peaks + [peak_mb(one.living, device) for one in counted], default=None)


def _seedless(cell: Cell) -> Cell:
    return cell.model_copy(update={"seed": 0})
