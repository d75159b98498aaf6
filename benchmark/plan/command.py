"""The command that makes one cell of a grid again, for its record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from ...config import parse_pairs
from ...results.command import GRID_FILE, command_line, options
from ...results.record import PRETRAIN, Cell
from .code import plugins_of
from .grid import presets, read_preset
from .overrides import Changes


def grid_command(cell: Cell, track: str, changes: Changes, precision: str = "fp32") -> str | None:
    """Write the command; a grid that makes it plans the cell under the same identity.

    Named settings that no preset has are left to a grid file, `results.command.GRID_FILE`, which has all settings of
    the record. There is no command if a single setting, which the cell's variant lists, has a value that --set does not
    give, such as a number as text.

    Args:
        track: that the settings are changed from.
        changes: those that can affect the cell.
    """
    custom = cell.track == "custom"
    single = changes.single_for(cell.protocol) if custom else {}
    if not all(_is_read(setting, value) for setting, value in single.items()):
        return None
    source: list[str] = []
    if custom and changes.named_for(cell.protocol):
        preset = _preset_of(changes)
        source = ["--preset", preset] if preset else [GRID_FILE]
    axes = [
        ("name", changes.name if custom else None),
        ("methods", cell.method),
        ("backbones", cell.backbone),
        ("datasets", cell.dataset),
        ("splits", cell.split),
        ("streams", "joint" if cell.stream == "all" else cell.stream),
        ("protocols", "linear" if cell.protocol == PRETRAIN else cell.protocol),  # a grid trains what it evaluates
        ("seeds", str(cell.seed)),
        ("track", track),
        ("pretrained-on", cell.pretrained_on),
        ("precision", precision if precision != "fp32" else None),
        *(("set", f"{setting}={_text(value)}") for setting, value in single.items()),
    ]
    return command_line("grid", *source, *options(axes), "--no-floor", plugins=plugins_of(cell))


def _preset_of(changes: Changes) -> str | None:
    """The preset with the named settings, first of all the one of this name."""
    found = [name for name in presets() if _preset(name) == changes.named]
    return changes.name if changes.name in found else next(iter(found), None)


@cache
def _preset(name: str) -> Mapping[str, Any] | None:
    """The settings of a preset that is a single product."""
    grid = read_preset(name)
    return None if grid.parts else grid.set


def _is_read(setting: str, value: Any) -> bool:
    """Whether --set gives this value again, and not a number for its text."""
    (read,) = dict(parse_pairs([f"{setting}={_text(value)}"])).values()
    return repr(_listed(read)) == repr(_listed(value))


def _listed(value: Any) -> Any:
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value


def _text(value: Any) -> str:
    """A value as --set reads it, which is YAML; JSON is YAML."""
    return value if isinstance(value, str) and yaml.safe_load(value) == value else json.dumps(value)
