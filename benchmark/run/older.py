"""Report records of older versions whose cells are planned again; they are never used in their place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ...errors import SkelbenchError
from ...methods import METHODS
from ...results.record import Cell, Record
from ...results.store import RECORD, RunStore, read_record
from ..plan.fusion import FUSED, FUSION_VERSION
from ..plan.identity import PRETRAIN_VERSION
from ..plan.overrides import PRETRAIN
from ..plan.planner import Plan
from ..protocols import PROTOCOLS


def older_records(plan: Plan, runs: RunStore) -> Iterator[str]:
    """Report which cells of a plan only have records of an older method, protocol or data version.

    A changed version changes the identity, so such a cell is run again; its older record stays, and tables leave it out
    of their means. Records with other settings are not reported: they belong to another cell.
    """
    folders: dict[str, list[Path]] = {}
    for path in sorted(runs.root.glob(f"*/{RECORD}")):
        folders.setdefault(path.parent.name.rpartition("-")[0], []).append(path.parent)
    reasons: Counter[str] = Counter()
    unreadable: set[str] = set()
    for cell, identity, fingerprint in _planned(plan):
        if not folders.get(cell.slug()) or runs.find(cell, identity) is not None:
            continue
        for folder in folders[cell.slug()]:
            try:
                record = read_record(folder)
            except SkelbenchError as error:
                unreadable.add(str(error))
                continue
            if record.cell == cell and (reason := _older(record, fingerprint)):
                reasons[reason] += 1
    yield from sorted(unreadable)
    for reason, count in reasons.items():
        yield f"{count} older record(s) are kept but not used for this grid, whose cells are run again: {reason}."


def _planned(plan: Plan) -> Iterator[tuple[Cell, str, str]]:
    """Every cell with its identity and the fingerprint of its data."""
    for task, store in plan.tasks:
        yield task.cell, task.identity, store.fingerprint
    for task, store in (*plan.tasks, *plan.transfers):
        yield from ((cell, identity, store.fingerprint) for cell, identity in task.evaluations)
    yield from ((fusion.cell, fusion.identity, store.fingerprint) for fusion, store in plan.fusions)


def _older(record: Record, fingerprint: str) -> str:
    """Which versions of a record differ from the current ones; empty if none does."""
    cell = record.cell
    protocol = PRETRAIN_VERSION if cell.protocol == PRETRAIN else PROTOCOLS[cell.protocol].version
    now = {
        f"method {cell.method}": (record.versions.get("method"), METHODS[cell.method].version),
        f"protocol {cell.protocol}": (record.versions.get("protocol"), protocol),
    }
    if cell.stream == FUSED:
        now["fusion"] = (record.versions.get("fusion"), FUSION_VERSION)
    differing = [f"{what} has version {theirs}, now {ours}" for what, (theirs, ours) in now.items() if theirs != ours]
    data = record.data.get("fingerprint")
    if data != fingerprint:
        differing.append(f"data {cell.dataset} had the fingerprint {data}, now {fingerprint}")
    return ", ".join(differing)
