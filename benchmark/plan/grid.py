"""Grid files: methods × backbones × datasets × splits × streams × seeds, each pre-trained once and evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field, NonNegativeInt, ValidationInfo, field_validator

from ...config import Settings, dotted, numbers, parse_config
from ...errors import SkelbenchError
from ...registry import did_you_mean
from ...results.record import FLOOR


def once(values: Iterable[Any]) -> tuple[Any, ...]:
    """Remove duplicates and keep the order."""
    return tuple(dict.fromkeys(values))


Names = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(once)]
_NOT_IN_FILES = {"also": "write its settings under 'set'", "custom": "give the command --name"}
Values = Annotated[tuple[Any, ...], AfterValidator(numbers)]
Seeds = Annotated[tuple[NonNegativeInt, ...], Field(min_length=1), AfterValidator(once)]


class Grid(Settings):
    """A grid file.

    Attributes:
        name: label of the cells if any of them is custom; the file's name by default, without one a hash of the
            settings.
        custom: whether the cells are custom even if they are those of the track; from the command line only (--name).
        set: dotted settings for all cells.
        vary: dotted settings with several values each; every combination is a variant of the cells, in the same tables.
        also: further settings, from the command line only; they take precedence and are listed in the variant.
        streams: joint, bone, motion, and 3s for their fusion.
        pretrained_on: "DATASET" or "DATASET:SPLIT" that all encoders are pre-trained on, instead of the data they are
            evaluated on; without a split, the one of the same name.
        floor_seeds: seeds of methods that do not train.
        demonstration: whether it only shows how things work, quickly; its tables say so.
        parts: for a grid that is not a single product: what differs in each part; its `set` is added to the grid's.
    """

    name: Annotated[str, Field(min_length=1)] | None = None
    custom: bool = False
    track: str = "equal"
    methods: Names = (FLOOR, "skeletonclr", "skeattnclr")
    backbones: Names = ("stgcn",)
    datasets: Names = ("synthetic",)
    splits: Names = ("xsub",)
    streams: Names = ("joint",)
    protocols: Annotated[tuple[str, ...], AfterValidator(once)] = ("knn", "linear")
    seeds: Seeds = (0,)
    floor_seeds: Seeds = (0, 1, 2)
    pretrained_on: str | None = None
    demonstration: bool = False
    set: dict[str, Any] = Field(default_factory=dict)
    vary: dict[str, Values] = Field(default_factory=dict)
    also: dict[str, Any] = Field(default_factory=dict)
    parts: tuple[dict[str, Any], ...] = ()

    @field_validator("set", "also", "vary", mode="before")
    @classmethod
    def _taken_apart(cls, settings: Any, info: ValidationInfo) -> Any:
        """Settings of a group that are given together ({"linear": {"lr": 1}}) get dotted names."""
        return dotted(settings, f"'{info.field_name}' of the grid") if isinstance(settings, Mapping) else settings

    def with_floor(self, *, add: bool = True) -> Grid:
        """Return the grid with the untrained encoder, the floor of its tables, for each of its seeds and `floor_seeds`.

        Args:
            add: add the floor to the methods if they do not name it; otherwise only its seeds are completed.
        """
        floor = (FLOOR,) if add and FLOOR not in self.methods else ()
        seeds = tuple(sorted({*self.floor_seeds, *self.seeds}))
        return self.model_copy(update={"methods": (*floor, *self.methods), "floor_seeds": seeds})

    def split(self) -> list[Grid]:
        """Return one grid per part, each a product; the grid itself if it has no parts."""
        if not self.parts:
            return [self]
        shared = self.model_dump(exclude={"parts"})
        parts = [
            parse_config(Grid, shared | {"set": {}} | part, f"part {number} of a grid")
            for number, part in enumerate(self.parts, start=1)
        ]
        return [part.model_copy(update={"set": self.set | part.set}) for part in parts]


def named(parts: Sequence[Grid], name: str) -> list[Grid]:
    """Give the parts of a grid one name, under which all their cells are custom.

    Raises:
        SkelbenchError: if the name is empty, or the parts have different settings, which one name cannot stand for.
    """
    if not name.strip():
        raise SkelbenchError("The name of a grid cannot be empty; give one, such as --name temperature.")
    if any(part.set != parts[0].set for part in parts):
        raise SkelbenchError(
            f"The parts of this grid have different settings, which the name '{name}' cannot stand for: leave out "
            "--name, or run the parts as grids of their own."
        )
    return [part.model_copy(update={"name": name, "custom": True}) for part in parts]


def read_grid(path: Path, name: str | None = None) -> Grid:
    """Read a grid file (YAML). Raises `SkelbenchError` naming the error in it."""
    try:
        values = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SkelbenchError(f"The grid file {path} cannot be read: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise SkelbenchError(f"The grid file {path} is not a mapping of names to lists; see docs/grids.md.")
    for key, instead in _NOT_IN_FILES.items():
        if key in values:
            raise SkelbenchError(f"There is no setting '{key}' of the grid file {path}; {instead}.")
    grid = parse_config(Grid, {"name": name or Path(path).stem} | values, f"the grid file {path}")
    if wrong := [key for part in grid.parts for key in ("parts", *_NOT_IN_FILES) if key in part]:
        raise SkelbenchError(f"A part of the grid file {path} has '{wrong[0]}', which a part cannot have.")
    grid.split()
    return grid


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
