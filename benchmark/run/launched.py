"""List a plan's cells and their work, for `skelbench status` and to estimate the device hours from finished ones."""

from __future__ import annotations

import platform
from functools import cache

import torch

from ...datasets.store import Store
from ...results.record import Key
from ...results.status.plans import Launched, Planned
from ..plan.identity import Pretraining
from ..plan.planner import Plan
from .record import now


def launched(plan: Plan, device: str) -> Launched:
    """The cells of a plan, as `skelbench status` reads them."""
    found = [one for task, store in plan.tasks for one in _cells(task, store, trained=True)]
    found += [one for task, store in plan.transfers for one in _cells(task, store, trained=False)]
    found += [Planned(**fusion.key._asdict(), clips=0) for fusion, _ in plan.fusions]
    cells = {one.identity: one for one in found}  # a pre-training shared by several tasks is one cell
    return Launched(started=now(), device_name=device_name(device), cells=tuple(cells.values()))


def device_name(device: str) -> str:
    """The device name that records store."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()


def _cells(task: Pretraining, store: Store, *, trained: bool) -> list[Planned]:
    recipe = task.recipe
    train, test = _counts(store, task.split)
    share = min(1.0, recipe.clips / (train + test)) if recipe.clips else 1.0

    def planned(key: Key, clips: int, epochs: int) -> Planned:
        size = {"frames": recipe.frames, "width": recipe.backbone.get("width")}
        return Planned(**key._asdict(), clips=round(clips * share), epochs=epochs, **size)

    own = [planned(task.key, train, recipe.epochs)] if trained else []
    return [*own, *(planned(key, train + test, 1) for key in task.evaluations)]


@cache
def _counts(store: Store, split: str) -> tuple[int, int]:
    """Clips on either side of a split, counted once for all cells."""
    return store.counts(split)
