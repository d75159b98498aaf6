"""The settings and the environment on a cell's page: a table for each part of its records."""

import json
from collections.abc import Mapping
from typing import Any

from ..command import COMMAND
from ..tables.table import MISSING
from .cells import SiteCell

PARTS = {  # parts of a record and their headings; mappings in the settings get their own headings
    "data": "Data",
    "model": "Encoder",
    "versions": "Versions",
    "environment": "Environment",
    "cost": "Cost",
    "extra": "Also measured",
}


def settings(cell: SiteCell) -> dict[str, dict[str, str]]:
    """Return all settings as texts by heading and name; those of backbone, method and protocol have own headings."""
    given = cell.shown[0].record.settings
    plain = {name: value for name, value in given.items() if not isinstance(value, dict)}
    rule = next((one.record.best.rule for one in cell.shown if one.record.best), None)
    if rule is not None:
        plain["best is"] = rule
    tables = {"Training and data": plain} | {name: value for name, value in given.items() if isinstance(value, dict)}
    return {heading: {name: _formatted(value) for name, value in rows.items()} for heading, rows in tables.items()}


def facts(cell: SiteCell) -> dict[str, dict[str, str]]:
    """Return the parts of the records as texts by heading and name; if seeds differ, each seed's value is listed."""
    tables = {heading: _facts(cell, part) for part, heading in PARTS.items()}
    return {heading: rows for heading, rows in tables.items() if rows}


def _facts(cell: SiteCell, part: str) -> dict[str, str]:
    found = {one.record.cell.seed: getattr(one.record, part) for one in cell.shown}
    names = dict.fromkeys(name for values in found.values() for name in values if name != COMMAND)  # shown above
    return {name: _over_seeds({seed: values.get(name) for seed, values in found.items()}) for name in names}


def _over_seeds(values: Mapping[int, Any]) -> str:
    texts = {seed: _formatted(round(value, 4) if isinstance(value, float) else value) for seed, value in values.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"seed {seed}: {text}" for seed, text in texts.items())


def _formatted(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
