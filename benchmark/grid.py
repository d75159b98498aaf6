"""A grid: methods × backbones × datasets × splits × streams × seeds, each pre-trained once and evaluated."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import yaml
from pydantic import AfterValidator, Field, NonNegativeInt

from ..backbones import BACKBONES, create_backbone
from ..datasets.catalogue import open_dataset
from ..datasets.recording import TRAIN
from ..datasets.store import Store
from ..datasets.streams import check_stream
from ..errors import SkelbenchError
from ..methods.base import METHODS, create_method, parse_config
from ..methods.recipe import Recipe, Settings
from ..registry import did_you_mean
from ..results.record import Cell
from .cells import Pretraining, plan
from .overrides import Changes, check_owners
from .protocols import PROTOCOLS
from .tracks import Resolved, resolve

Made = TypeVar("Made")


def once(values: Iterable[Any]) -> tuple[Any, ...]:
    """The values in their order, each once."""
    return tuple(dict.fromkeys(values))


Names = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(once)]
Seeds = Annotated[tuple[NonNegativeInt, ...], Field(min_length=1), AfterValidator(once)]


class Grid(Settings):
    """A grid file.

    Attributes:
        name: label of the cells that `set` makes custom; the file's name by default.
        set: dotted settings for all cells.
        also: further settings, from the command line only; they win and are spelt out in the label.
        floor_seeds: seeds of methods that do not train.
    """

    name: str | None = None
    track: str = "equal"
    methods: Names = ("untrained", "skeletonclr", "skeattnclr")
    backbones: Names = ("stgcn",)
    datasets: Names = ("synthetic",)
    splits: Names = ("xsub",)
    streams: Names = ("joint",)
    protocols: Annotated[tuple[str, ...], AfterValidator(once)] = ("knn", "linear")
    seeds: Seeds = (0,)
    floor_seeds: Seeds = (0, 1, 2)
    set: dict[str, Any] = Field(default_factory=dict)
    also: dict[str, Any] = Field(default_factory=dict)


def read_grid(path: Path, name: str | None = None) -> Grid:
    """Read a grid file (YAML). Raises `SkelbenchError` naming what is wrong in it."""
    try:
        values = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SkelbenchError(f"The grid file {path} cannot be read: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise SkelbenchError(f"The grid file {path} is not a mapping of names to lists; see docs/grids.md.")
    if "also" in values:
        raise SkelbenchError(f"There is no setting 'also' of the grid file {path}; write its settings under 'set'.")
    return parse_config(Grid, {"name": name or Path(path).stem} | values, f"the grid file {path}")


def presets() -> list[str]:
    """Names of the grid files that come with the package."""
    folder = resources.files("skelbench.benchmark") / "presets"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read_preset(name: str) -> Grid:
    """Read a grid file of the package. Raises `SkelbenchError` for an unknown name."""
    if name not in presets():
        raise SkelbenchError(f"There is no preset '{name}'{did_you_mean(name, presets())}")
    with resources.as_file(resources.files("skelbench.benchmark") / "presets" / f"{name}.yaml") as path:
        return read_grid(path, name)


def plan_grid(grid: Grid, *, precision: str = "fp32") -> list[tuple[Pretraining, Store]]:
    """Resolve every cell of a grid, floors first; nothing is run or written but the synthetic data.

    Raises:
        SkelbenchError: for the first name or setting that does not fit, before anything runs.
    """
    for method in grid.methods:
        METHODS[method]
    for backbone in grid.backbones:
        BACKBONES[backbone]
    for protocol in grid.protocols:
        PROTOCOLS[protocol]
    for stream in grid.streams:
        check_stream(stream)
    check_owners(grid.set, list(METHODS), list(BACKBONES))  # a narrowed grid file may set what is left out
    check_owners(grid.also, grid.methods, grid.backbones)
    stores = {dataset: open_dataset(dataset) for dataset in grid.datasets}
    tasks = []
    for place in itertools.product(grid.datasets, grid.splits, grid.streams, grid.backbones):
        store = stores[place[0]]
        for method, resolved in _resolve_place(grid, *place, store):
            for seed in grid.seeds if METHODS[method].trainable else grid.floor_seeds:
                task = plan(
                    resolved,
                    **dict(zip(("dataset", "split", "stream", "backbone"), place, strict=True)),
                    method=method,
                    seed=seed,
                    protocols=grid.protocols,
                    fingerprint=store.fingerprint,
                    precision=precision,
                )
                tasks.append((task, store))
    _try_methods(tasks)
    return tasks


def _resolve_place(
    grid: Grid, dataset: str, split: str, stream: str, backbone: str, store: Store
) -> list[tuple[str, Resolved]]:
    """Resolve every method of one place, floors first.

    A floor stands once under every label that a method has there, so that each table has its floor.
    """
    sides = store.sides(split)
    changes = Changes(grid.name, grid.set, grid.also)
    methods, floors = [], []
    for method in grid.methods:
        resolved = resolve(
            grid.track,
            method,
            backbone,
            dataset,
            split,
            stream,
            train_clips=int((sides == TRAIN).sum()),
            clips=len(sides),
            changes=changes,
        )
        (methods if METHODS[method].trainable else floors).append((method, resolved))
    labels = []
    for _, resolved in methods or floors:
        if resolved.labels not in labels:
            labels.append(resolved.labels)
    return [(method, replace(floor, labels=kind)) for method, floor in floors for kind in labels] + methods


def _try_methods(tasks: Sequence[tuple[Pretraining, Store]]) -> None:
    """Make every distinct method once, so that a setting it cannot take is told before anything runs."""
    tried = set()
    for task, store in tasks:
        cell, recipe = task.cell, task.recipe
        facts = (cell.method, cell.backbone, cell.dataset, recipe.backbone, recipe.method, recipe.frames, recipe.batch)
        key = json.dumps(facts, default=str)
        if key not in tried:
            _try_method(cell, recipe, store)
            tried.add(key)


def _try_method(cell: Cell, recipe: Recipe, store: Store) -> None:
    place = {"layout": store.layout, "num_frames": recipe.frames, "num_persons": store.manifest["persons"]}
    backbone = _try(
        lambda: create_backbone(cell.backbone, **place, **recipe.backbone),
        f"The backbone '{cell.backbone}'",
        recipe.backbone,
    )
    if any(weight.numel() == 0 for weight in backbone.parameters()):
        raise SkelbenchError(
            f"The backbone '{cell.backbone}' has empty weights with {_spelt(recipe.backbone)}; set larger values."
        )
    method = _try(
        lambda: create_method(
            cell.method,
            backbone=cell.backbone,
            backbone_args=recipe.backbone,
            stream=cell.stream,
            **place,
            **recipe.method,
        ),
        f"The method '{cell.method}'",
        recipe.method,
    )
    if method.trainable:
        method.check_batch(recipe.batch)


def _try(make: Callable[[], Made], who: str, settings: Mapping[str, Any]) -> Made:
    """Make something without memory or random numbers; in earnest where that does not work."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return make()
        except SkelbenchError:
            raise
        except Exception:  # a constructor may read its own tensors, which without memory it cannot
            pass
        try:
            return make()
        except SkelbenchError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise SkelbenchError(
                f"{who} cannot be made with {_spelt(settings)} ({reason}); set other values."
            ) from error


def _spelt(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in settings.items())
