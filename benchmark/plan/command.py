"""The command that makes one cell of a grid again, for its record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from ...config import parse_pairs
from ...methods.base import METHODS
from ...results.command import GRID_FILE, command_line, options
from ...results.record import PRETRAIN, Cell
from .code import plugins_of
from .grid import presets, read_preset
from .overrides import Changes, backbone_defaults


def grid_command(cell: Cell, track: str, changes: Changes, precision: str = "fp32") -> str:
    """Write the command; a grid that makes it plans the cell under the same identity.

    Settings that neither a preset nor options can give are left to a grid file, `results.command.GRID_FILE`, which
    has all settings of the record.
    """
    named, single = changes.affecting(cell.protocol)
    if changes.name is None:  # they are listed in the label, as options are
        named, single = {}, named | single
    source: list[str] = []
    if named:
        source = ["--preset", str(changes.name)] if _preset(changes.name) == dict(changes.named) else [GRID_FILE]
    # A grid leaves out what a method does not have, a single method refuses it.
    if not all(_has(cell, setting) and _is_read(setting, value) for setting, value in single.items()):
        source = [GRID_FILE]
    if source == [GRID_FILE]:
        single = {}
    axes = [
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


@cache
def _preset(name: str | None) -> Mapping[str, Any] | None:
    """The settings of a preset that is a single product."""
    if name not in presets():
        return None
    grid = read_preset(name)
    return None if grid.parts else grid.set


def _has(cell: Cell, setting: str) -> bool:
    head, _, rest = setting.partition(".")
    if head == "method":
        return rest in METHODS[cell.method].Config.model_fields
    return head != "backbone" or rest in backbone_defaults(cell.backbone)


def _is_read(setting: str, value: Any) -> bool:
    """Whether --set gives this value again, and not a number for its text."""
    (read,) = dict(parse_pairs([f"{setting}={_text(value)}"])).values()
    return repr(_listed(read)) == repr(_listed(value))


def _listed(value: Any) -> Any:
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value


def _text(value: Any) -> str:
    """A value as --set reads it, which is YAML; JSON is YAML."""
    return value if isinstance(value, str) and yaml.safe_load(value) == value else json.dumps(value)
