"""Plans of launches, written to the folder of runs for observers: ``.plans/<hash>.json``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ...config import first_error
from ...errors import SkelbenchError
from ..files import atomic_write
from ..record import Cell, Hex, Key, Utc

FOLDER = ".plans"


class Planned(BaseModel):
    """A cell that a launch is going to run, and what determines how long that takes.

    ``clips`` is the number of training clips, for an evaluation of both sides; ``epochs`` is 1 for an evaluation.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    cell: Cell
    identity: Hex
    clips: int
    epochs: int = 1
    frames: int | None = None
    width: int | None = None

    @property
    def key(self) -> Key:
        """Its cell and identity."""
        return Key(self.cell, self.identity)


class Launched(BaseModel):
    """One launch: when it started, on what kind of device, and its cells in order."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    started: Utc
    device_name: str
    cells: tuple[Planned, ...]


def write_plan(root: Path, plan: Launched) -> Path:
    """Write a plan to a folder of runs; launching the same cells again overwrites the same file."""
    name = hashlib.sha256("\n".join(planned.identity for planned in plan.cells).encode()).hexdigest()[:16]
    path = root / FOLDER / f"{name}.json"
    atomic_write(path, plan.model_dump_json())
    return path


def read_plans(root: Path) -> list[Launched]:
    """Read the plans in a folder of runs, the latest last. Raises ``SkelbenchError`` for a damaged one."""
    plans = [_read(path) for path in sorted((root / FOLDER).glob("*.json"))]
    return sorted(plans, key=lambda plan: plan.started)


def cells_of(plans: Iterable[Launched]) -> list[Planned]:
    """Return the cells of several plans, each once."""
    return list({planned.identity: planned for plan in plans for planned in plan.cells}.values())


def _read(path: Path) -> Launched:
    try:
        return Launched.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = first_error(error) if isinstance(error, ValidationError) else error.strerror
        raise SkelbenchError(f"{path} cannot be read ({reason}): delete it; the next launch writes another.") from error
