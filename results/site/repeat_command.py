"""The command that reproduces a cell, derived from its records."""

import json
import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import yaml

from ..record import PRETRAIN, RAW
from .cells import SiteCell

_SETTING = re.compile(r"[a-z]\w*(\.\w+)?=.*", re.DOTALL)
_IMPORTED = re.compile(r"imported [0-9a-f]{8}")
_EVALUATED = re.compile(r".*, trained on \S+ \S+, (equal|published) evaluation", re.DOTALL)
# Keys of a record's settings that are not settings of a grid.
_NOT_SET = {"precision", "source", "released_for_this_data", "fusion"}
GRID_FILE = "cell.yaml"


@dataclass(frozen=True)
class Reproduction:
    """The command; the grid file that it needs, to be saved as ``cell.yaml``; and a note."""

    command: str
    file: str = ""
    note: str = ""


def reproduction(cell: SiteCell, presets: Collection[str], runs: str) -> Reproduction:
    """Return how to reproduce a cell.

    Args:
        cell: with at least one record.
        presets: names of the grid files in the package that are a single product each.
        runs: name of the folder of runs.
    """
    if cell.key.method == RAW:
        return _raw(cell)
    label = cell.key.label or ""
    if _IMPORTED.fullmatch(label) and cell.key.protocol == PRETRAIN:
        return _imported(cell)
    evaluated = _EVALUATED.fullmatch(label)
    if evaluated:
        return _evaluated(cell, evaluated[1], runs)
    return _grid(cell, presets)


def _grid(cell: SiteCell, presets: Collection[str]) -> Reproduction:
    key, settings = cell.key, cell.shown[0].record.settings
    track, label = ("published", key.label) if key.track == "published" else ("equal", key.label or "")
    if label and label.startswith("published, "):
        track, label = "published", label.removeprefix("published, ")
    name, single = _read_label(label or "")
    protocol = "linear" if key.protocol == PRETRAIN else key.protocol
    axes = {
        "methods": key.method,
        "backbones": key.backbone,
        "datasets": key.dataset,
        "splits": key.split,
        "streams": "joint" if key.stream == "all" else key.stream,
        "protocols": protocol,
        "seeds": ",".join(str(one.record.cell.seed) for one in cell.shown),
        "track": track,
        "pretrained-on": key.pretrained_on,
        "precision": settings.get("precision") if settings.get("precision") != "fp32" else None,
    }
    options = [part for option, value in axes.items() if value for part in (f"--{option}", str(value))]
    note = (
        "The pre-training comes with an evaluation, because grids list evaluations." if protocol != key.protocol else ""
    )
    known = all(_is_set(setting, settings) for setting in single)
    pairs = [part for setting, text in single.items() for part in ("--set", _pair(setting, text, settings))]
    if known and (name in presets or not name):
        source = ["--preset", name] if name else []
        return Reproduction(_command_line("grid", *source, *options, *pairs, "--no-floor"), note=note)
    values = _all_settings(settings) if name else {s: _value(s, text, settings) for s, text in single.items()}
    file = yaml.safe_dump({"name": label if name else None, "set": values}, sort_keys=False, default_flow_style=None)
    return Reproduction(_command_line("grid", GRID_FILE, *options, "--no-floor"), file, note)


def _raw(cell: SiteCell) -> Reproduction:
    key, frames = cell.key, cell.shown[0].record.settings.get("frames")
    counted = [] if frames is None else ["--frames", str(frames)]
    return Reproduction(_command_line("baselines", "--datasets", key.dataset, "--splits", key.split, *counted))


def _imported(cell: SiteCell) -> Reproduction:
    key, record = cell.key, cell.shown[0].record
    place = ["--method", key.method, "--backbone", key.backbone, "--dataset", key.dataset, "--split", key.split]
    layout = ["--layout", str(record.data["layout"])] if "layout" in record.data else []
    stream = [] if key.stream == "all" else ["--stream", key.stream]
    note = f"FILE is the released checkpoint {record.settings.get('source', '')}".strip() + "."
    return Reproduction(_command_line("import-weights", "FILE", *place, *stream, *layout), note=note)


def _evaluated(cell: SiteCell, track: str, runs: str) -> Reproduction:
    """An evaluation of an already trained encoder; the same command also evaluates the floor."""
    key = cell.key
    place = ["--dataset", key.dataset, "--split", key.split, "--stream", key.stream, "--protocol", key.protocol]
    note = f"RUN is the folder in {runs}/ of the pre-training that the label names."
    return Reproduction(_command_line("evaluate", "RUN", *place, "--track", track), note=note)


def _read_label(label: str) -> tuple[str, dict[str, str]]:
    """Split a label into the name of the settings and the single settings listed after it."""
    parts = label.split(", ") if label else []
    single: dict[str, str] = {}
    while parts and _SETTING.fullmatch(parts[-1]):
        setting, _, text = parts.pop().partition("=")
        single[setting] = text
    return ", ".join(parts), dict(reversed(single.items()))


def _is_set(setting: str, settings: dict[str, Any]) -> bool:
    """Whether the cell has the setting; a grid skips methods without it, a single cell rejects it."""
    head, _, rest = setting.partition(".")
    return not rest or rest in (settings.get(head) or {})


def _pair(setting: str, text: str, settings: dict[str, Any]) -> str:
    value = _value(setting, text, settings)
    return f"{setting}={text if value == text else json.dumps(value)}"  # JSON is YAML


def _value(setting: str, text: str, settings: dict[str, Any]) -> Any:
    """A label's value: "60x100" is a list where the record has one, everything else is YAML."""
    head, _, rest = setting.partition(".")
    recorded = settings.get(head)
    recorded = recorded.get(rest) if rest and isinstance(recorded, dict) else recorded
    if isinstance(recorded, list) or (recorded is None and re.fullmatch(r"\d+(x\d+)+", text)):
        return _list(text)
    return {"None": None}.get(text, _scalar(text))


def _list(text: str) -> list[Any]:
    if not text:
        return []
    if text.startswith("("):
        return [_list(part) for part in text.strip("()").split(")x(")]
    return [_scalar(part) for part in text.split("x")]


def _scalar(text: str) -> Any:
    value = yaml.safe_load(text) if text else text
    try:
        return float(value) if isinstance(value, str) else value  # PyYAML reads 1e-05 as text
    except ValueError:
        return value


def _all_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """All settings by their dotted names."""
    values: dict[str, Any] = {}
    for key, value in settings.items():
        if key in _NOT_SET:
            continue
        values |= {f"{key}.{inner}": v for inner, v in value.items()} if isinstance(value, dict) else {key: value}
    return values


def _command_line(*words: str) -> str:
    return " ".join(["skelbench", *map(shlex.quote, words)])
