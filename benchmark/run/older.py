"""Report records of older versions whose cells are planned again; they are never used in their place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ...errors import SkelbenchError
from ...results.record import FUSED, RECORD, Key, Record, code_of
from ...results.store import RunStore, read_record
from ..plan.code import code_versions
from ..plan.fusion import FUSION_VERSION
from ..plan.planner import Plan
from .record import versions_of


def older_records(plan: Plan, runs: RunStore) -> Iterator[str]:
    """Report which cells of a plan only have records of an older method, protocol or data version.

    A changed version changes the identity, so such a cell is run again; its older record stays, and tables leave it out
    of their means. Records with other settings are not reported: they belong to another cell.
    """
    folders: dict[str, list[Path]] = {}
    done: set[str] = set()  # the digits of identities that folders are named by: no record of a finished cell is read
    for path in sorted(runs.root.glob(f"*/{RECORD}")):
        slug, _, digits = path.parent.name.rpartition("-")
        folders.setdefault(slug, []).append(path.parent)
        done.add(digits)
    reasons: Counter[str] = Counter()
    unreadable: set[str] = set()
    for (cell, identity), fingerprint in _planned(plan):
        if identity[:10] in done:
            continue
        for folder in folders.get(cell.slug(), ()):
            try:
                record = read_record(folder)
            except SkelbenchError as error:
                unreadable.add(str(error))
                continue
            if record.cell == cell and (reason := older_versions(record, fingerprint)):
                reasons[reason] += 1
    yield from sorted(unreadable)
    for reason, count in reasons.items():
        yield f"{count} older record(s) are kept but not used for this grid, whose cells are run again: {reason}."


def _planned(plan: Plan) -> Iterator[tuple[Key, str]]:
    """Every cell with the fingerprint of its data."""
    for task, store in plan.tasks:
        yield task.key, store.fingerprint
    for task, store in (*plan.tasks, *plan.transfers):
        yield from ((key, store.fingerprint) for key in task.evaluations)
    yield from ((fusion.key, store.fingerprint) for fusion, store in plan.fusions)


def older_versions(record: Record, fingerprint: str) -> str:
    """Which versions of a record differ from the current ones, plugins and data too; empty if none does."""
    cell, then = record.cell, record.versions
    now = versions_of(cell) | ({"fusion": FUSION_VERSION} if cell.stream == FUSED else {})
    names = {"method": f"method {cell.method}", "protocol": f"protocol {cell.protocol}", "fusion": "fusion"}
    differing = [
        f"{text} has version {then.get(kind)}, now {now.get(kind)}"
        for kind, text in names.items()
        if then.get(kind) != now.get(kind)
    ]
    before, after = code_of(record), code_versions(cell)
    for kind in before | after:
        mine, theirs = before.get(kind, {}), after.get(kind, {})
        differing += [
            f"{kind.removesuffix('s')} {name} was {mine.get(name, 'not recorded')}, now {theirs.get(name, 'not used')}"
            for name in mine | theirs
            if mine.get(name) != theirs.get(name)
        ]
    data = record.data.get("fingerprint")
    if data != fingerprint:
        differing.append(f"data {cell.dataset} had the fingerprint {data}, now {fingerprint}")
    return ", ".join(differing)
