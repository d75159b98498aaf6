"""The settings and the environment on a cell's page: a table for each part of its records."""

import json
from collections.abc import Mapping
from typing import Any

from ..tables.table import MISSING
from .cells import SiteCell
from .markup import escape

PARTS = {  # parts of a record and their headings; mappings in the settings get their own headings
    "data": "Data",
    "model": "Encoder",
    "versions": "Versions",
    "environment": "Environment",
    "cost": "Cost",
    "extra": "Also measured",
}


def settings_tables(cell: SiteCell) -> str:
    """Return tables of all settings; those of backbone, method and protocol are in separate tables."""
    settings = cell.shown[0].record.settings
    plain = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    groups = {key: value for key, value in settings.items() if isinstance(value, dict)}
    rule = next((one.record.best.rule for one in cell.shown if one.record.best), None)
    if rule is not None:
        plain["best is"] = rule
    own = {"": plain} | groups
    return "".join(_group(name or "Training and data", values) for name, values in own.items())


def _group(name: str, values: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(str(key))}</th><td>{escape(_formatted(value))}</td></tr>'
        for key, value in values.items()
    )
    return f"<table class='facts'><caption>{escape(name)}</caption><tbody>{rows}</tbody></table>"


def facts_table(cell: SiteCell, part: str, heading: str) -> str:
    """Return a table of a part of the records; if the seeds differ, each seed's value is listed."""
    found = {one.record.cell.seed: getattr(one.record, part) for one in cell.shown}
    keys = dict.fromkeys(key for values in found.values() for key in values)
    if not keys:
        return ""
    return _group(
        heading, {key: _over_seeds({seed: values.get(key) for seed, values in found.items()}) for key in keys}
    )


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
