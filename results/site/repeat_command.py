"""The command on a cell's page that makes the cell again."""

from dataclasses import dataclass
from typing import Any

import yaml

from ..command import CHECKPOINT, COMMAND, GRID_FILE, RUN, command_line, options, quoted, with_option
from ..record import PRETRAIN, RAW, RECORD, code_of
from .cells import SiteCell

# Keys of a record's settings that are not settings of a grid.
_NOT_SET = {"precision", "source", "released_for_this_data", "fusion"}


@dataclass(frozen=True)
class Reproduction:
    """The command; the grid file that it needs, to be saved as ``cell.yaml``; and a note."""

    command: str
    file: str = ""
    note: str = ""


def reproduction(cell: SiteCell, runs: str) -> Reproduction:
    """Return how to reproduce a cell.

    Args:
        cell: with at least one record.
        runs: name of the folder of runs.
    """
    key, first = cell.key, cell.shown[0]
    settings = first.record.settings
    command = quoted(first.record.environment.get(COMMAND))
    if key.method == RAW:
        where = [("datasets", key.dataset), ("splits", key.split), ("frames", settings.get("frames"))]
        return Reproduction(command_line("baselines", *options(where)))
    plugins = code_of(first.record).get("plugins", {})
    if not command:  # its record was written by a version that did not keep the command
        record = f"{runs}/{first.folder.name}/{RECORD}"
        return Reproduction(command_line("run", "--reproduce", record, plugins=plugins), note=_plugin_note(plugins))
    command = with_option(command, "seed", ",".join(str(one.record.cell.seed) for one in cell.shown))
    words = command.split()
    if CHECKPOINT in words:
        note = f"FILE is the released checkpoint {settings.get('source', '')}".strip() + "."
    elif RUN in words:
        note = f"RUN is the folder in {runs}/ of the pre-training that the label names."
    elif key.protocol == PRETRAIN:
        note = "The pre-training comes with an evaluation, because grids list evaluations."
    else:
        note = ""
    note = f"{note} {_plugin_note(plugins)}".strip()
    label = first.record.cell.label or ""
    if "--track published" in command:  # of which the label says so too
        label = label.removeprefix("published, ")
    return Reproduction(command, _grid_file(label, settings) if GRID_FILE in words else "", note)


def _plugin_note(plugins: dict[str, str]) -> str:
    """What a reader has to know of the plugins that a command loads."""
    files = (f"{name} is the plugin with the hash {version}." for name, version in plugins.items())
    return " ".join(files)


def _grid_file(name: str, settings: dict[str, Any]) -> str:
    """A grid file with all settings of a record, by their dotted names."""
    values: dict[str, Any] = {}
    for key, value in settings.items():
        if key not in _NOT_SET:
            values |= {f"{key}.{inner}": v for inner, v in value.items()} if isinstance(value, dict) else {key: value}
    return yaml.safe_dump({"name": name or None, "set": values}, sort_keys=False, default_flow_style=None)
