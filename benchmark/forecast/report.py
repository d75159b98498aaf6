"""Forecasts as lines for people and as values for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...results.record import PRETRAIN
from ...results.status.estimate import format_duration
from .cells import CellForecast, largest
from .devices import MEASURED, Device

UNITS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def amount(value: float, unit: str) -> str:
    """A number of units with three digits: "57.4 PFLOP"."""
    for size, prefix in UNITS:
        if value >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value:.0f} {unit}"


def describe(cell: CellForecast, peak_mb: float | None = None) -> str:
    """What a cell takes, for one line.

    Args:
        peak_mb: peak memory of its process, where that is another than its tensors'.
    """
    if cell.unknown:
        return cell.unknown
    parts = [f"{cell.parameters / 1e6:.2f} M parameters"]
    if cell.step is not None:
        parts.append(f"{amount(cell.step.flop, 'FLOP')} and {amount(cell.step.bytes, 'B')} a step")
    if cell.work.operations:
        parts.append(f"{amount(cell.work.flop, 'FLOP')} and {amount(cell.work.bytes, 'B')} in all")
    return f"{', '.join(parts)}; {amount(cell.living if peak_mb is None else peak_mb * 1e6, 'B')} of memory"


def hours(cells: Iterable[CellForecast], device: Device, precision: str) -> float | None:
    """Hours of cells one after the other; None if the device has no rate for the precision.

    Args:
        precision: of pre-trainings; evaluations are in fp32.
    """
    ways = [(cell.work, precision if cell.key.cell.protocol == PRETRAIN else "fp32") for cell in cells]
    seconds = [device.seconds(work, way) for work, way in ways]
    return None if None in seconds else sum(filter(None, seconds)) / 3600


def of_device(cells: Sequence[CellForecast], device: Device, precision: str) -> str:
    """One line: hours and whether the largest cell fits."""
    taken, most = hours(cells, device, precision), largest(cells)
    if taken is None:
        return f"{device.title}: no {precision}"
    assert most is not None, "there is a cell"
    fits = "fits" if most.living / 1e9 < 0.9 * device.memory else "DOES NOT FIT"
    time = f"{taken:,.1f} h" if taken >= 1.5 else format_duration(3600 * taken)
    product, copied = device.shares.product, device.shares.copy_
    share = f"{product:.0%}" if product == copied else f"{product:.0%} (products) and {copied:.0%} (copies)"
    limits = "limits measured now" if device.source == MEASURED else "limits, which is assumed"
    memory = f"{device.memory:.0f} GB, the largest cell {fits} ({amount(most.living, 'B')})"
    return f"{device.title}: {time} at {share} of its {limits}; {memory}"


def values(counted: Mapping[str, Sequence[CellForecast]], devices: Sequence[Device], precision: str) -> dict[str, Any]:
    """Everything as JSON.

    Args:
        counted: the cells as each kind of device computes them.
    """
    return {
        "precision": precision,
        "cells": {kind: [_cell(cell) for cell in cells] for kind, cells in counted.items()},
        "devices": [one.model_dump() | {"hours": hours(counted[one.kind], one, precision)} for one in devices],
    }


def _cell(cell: CellForecast) -> dict[str, Any]:
    step = cell.step
    return {
        "cell": cell.key.cell.model_dump(),
        "identity": cell.key.identity,
        "parameters": cell.parameters,
        "flop": cell.work.flop,
        "bytes": cell.work.bytes,
        "step_flop": None if step is None else step.flop,
        "step_bytes": None if step is None else step.bytes,
        "memory_bytes": cell.living,
        "unknown": cell.unknown or None,
    }
