"""Compare our numbers with the paper's and with earlier records: a worse row fails.

The number compared is the mean over seeds of ``last`` top-1, as tables show it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ...errors import SkelbenchError
from ..exchange.exchange import exported_records
from ..published import FILE, PAPER, PRINTED_AS, Published, find
from ..record import Record
from ..store import RunStore
from ..tables.paper_tables import Comparison, comparisons
from ..tables.rows import SeedGroup, comparable, seed_group, top1
from ..tables.table import spans
from .report import Line, Report, judge
from .tolerances import Tolerances

_NO_CONDITION = {"seed", "pretrain", "identity", "threads"}  # settings that differ between seeds and machines
_SHOWN = 4  # number of differing conditions that are listed


def check_paper(records: Iterable[Record], tolerances: Tolerances) -> Report:
    """Compare the track ``published`` with every number of the paper's tables, run or not.

    A cell that is in several tables is one line, compared with the most trustworthy of its numbers. Numbers that
    are most likely another method's and those of settings that were not released are left out and listed in notes.
    """
    published = [record for record in records if record.cell.track == "published"]
    cells: dict[SeedGroup, list[Comparison]] = defaultdict(list)
    unreleased = []
    for one in sorted(comparisons(published), key=_trust):
        if one.target.track == "published":
            cells[one.target].append(one)
        else:
            unreleased.append(one.number.row)
    for target, mine in _by_row(published).items():
        if target.protocol in PRINTED_AS and (numbers := _printed(target)):
            cells[target] = [Comparison(n.table, n.printed, target, comparable(mine), n) for n in numbers]
    doubtful = [numbers[0].number.row for numbers in cells.values() if numbers[0].number.doubtful]
    lines = [_paper_line(numbers, tolerances) for numbers in cells.values() if not numbers[0].number.doubtful]
    tolerances.check_used()
    notes = [f"known problems of a printed number are in the note of its line of {FILE}."]
    if doubtful:
        notes.append(f"left out, most likely another method's number: lines {spans(doubtful)}.")
    notes.append(f"left out, of settings that were not released (track custom): lines {spans(unreleased)}.")
    return Report(f"the paper ({PAPER})", "%", tuple(lines), tuple(notes))


def check_records(records: Iterable[Record], earlier: Iterable[Record], name: str, tolerances: Tolerances) -> Report:
    """Compare every cell of earlier records, its seeds together, with the same cell of ours.

    Conditions (settings, versions of method and protocol, data, precision, torch and device) that differ between
    the two sides are listed: then more than the code has changed.
    """
    ours, theirs = _by_row(records), _by_row(earlier)
    lines = [_record_line(row, ours.get(row, []), theirs[row], tolerances) for row in sorted(theirs, key=str)]
    tolerances.check_used()
    notes = [f"without an earlier record: {row}" for row in sorted(ours.keys() - theirs.keys(), key=str)]
    return Report(name, "%", tuple(lines), tuple(notes))


def read_earlier(path: Path) -> list[Record]:
    """Records of a folder of runs or of an exported zip. Raises ``SkelbenchError`` if it is neither."""
    if path.is_dir():
        return RunStore(path).records()
    if path.is_file():
        return exported_records(path)
    raise SkelbenchError(
        f"There is no {path} to check against: write paper, a folder of runs, an exported zip, or the JSON of `bench`."
    )


def _printed(target: SeedGroup) -> tuple[Published, ...]:
    place = (target.method, target.dataset, target.split, target.stream)
    return find(*place, target.protocol, target.backbone)


def _trust(one: Comparison) -> tuple[bool, bool, int]:
    """Sort the row of the method itself before that of an ablation with the same settings as the release."""
    return (one.number.doubtful, one.number.ablation, one.number.row)


def _paper_line(numbers: Sequence[Comparison], tolerances: Tolerances) -> Line:
    """Compare one cell with the first of its numbers; others printed for the same settings become remarks."""
    (target, records, number), others = numbers[0][2:], [one.number for one in numbers[1:]]
    remarks = [
        f"the paper also prints {other.top1} (line {other.row})" for other in others if other.top1 != number.top1
    ]
    if records and records[-1].settings.get("released_for_this_data") is False:
        remarks.append("not released for this data: the nearest released settings")
    return _line(target, records, number.top1, f"{FILE}:{number.row}", remarks if records else (), tolerances)


def _record_line(row: SeedGroup, ours: Sequence[Record], theirs: Sequence[Record], tolerances: Tolerances) -> Line:
    old, new = comparable(theirs), comparable(ours)
    seeds = [sorted({record.cell.seed for record in side}) for side in (new, old)]
    remarks = []
    if new and seeds[0] != seeds[1]:
        remarks.append(f"seeds {_list(seeds[0])} against {_list(seeds[1])}")
    changed = list(_differences(old[-1], new[-1])) if new else []
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        remarks.append(f"not only the code differs, conditions differ: {', '.join(changed[:_SHOWN])}{more}")
    source = f"{len(old)} seed{'s' if len(old) > 1 else ''}"
    return _line(row, new, mean(top1(old)), source, remarks, tolerances)


def _line(
    row: SeedGroup,
    ours: Sequence[Record],
    reference: float,
    source: str,
    remarks: Sequence[str],
    tolerances: Tolerances,
) -> Line:
    override = tolerances.of(row.facts)
    scores = top1(ours)
    if not scores:
        return Line(str(row), "not run", reference, source, remarks=tuple(remarks))
    change, allowed = mean(scores) - reference, tolerances.allowed(override, scores)
    return Line(
        name=str(row),
        status=judge(change, allowed, better="up"),
        reference=reference,
        source=source,
        ours=mean(scores),
        spread=stdev(scores) if len(scores) > 1 else None,
        seeds=tuple(record.cell.seed for record in ours),
        change=change,
        allowed=allowed,
        remarks=(*([f"tolerance {allowed:g}: {override.reason}"] if override else []), *remarks),
    )


def _by_row(records: Iterable[Record]) -> dict[SeedGroup, list[Record]]:
    """Group evaluations by their cell without its seed."""
    rows: dict[SeedGroup, list[Record]] = defaultdict(list)
    for record in records:
        if record.last is not None:
            rows[seed_group(record.cell)].append(record)
    return rows


def _differences(old: Record, new: Record) -> Iterator[str]:
    """Yield conditions in which two records differ, as ``lr 0.1 -> 0.2``."""
    before, after = (dict(_conditions(record)) for record in (old, new))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield f"{key} {before.get(key, 'none')} -> {after.get(key, 'none')}"


def _conditions(record: Record) -> Iterator[tuple[str, str]]:
    yield from _flat(record.settings, "")
    versions = {key: record.versions.get(key) for key in ("method", "protocol", "fusion", "plugins", "packages")}
    environment = {key: record.environment.get(key) for key in ("precision", "torch", "device_name", "threads")}
    yield from _flat({"version": versions, "data": record.data.get("fingerprint"), **environment}, "")


def _flat(facts: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in facts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif key not in _NO_CONDITION and value is not None:
            yield f"{prefix}{key}", str(value)


def _list(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
