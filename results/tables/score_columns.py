"""The columns that a leaderboard has for one protocol: accuracies, differences, the paper's numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..calibration import BINS, error_of
from ..classes import LARGEST, UNEVEN, class_numbers
from ..frozen import frozen_protocols
from ..published import FILE, RERUN, Published
from ..record import FLOOR
from ..store import RunStore
from .measures import Measure, values
from .ranks import Columns, Order, is_baseline, with_interval
from .rows import Row, comparable_floor, difference, difference_to_paper, floor_of, mean_entry
from .significance import ONE_SEED
from .table import NONE, Column, Entry


def score_columns(
    protocol: str,
    rows: Sequence[Row],
    order: Order | None,
    floors: Mapping[int, int],
    runs: RunStore | None,
    measure: Measure,
    *,
    balanced: bool,
    against_paper: bool,
    ece: bool,
) -> Columns:
    """The columns of one protocol: ours, the mean over classes, best, difference to the floor, paper, difference to it.

    The rows that may be the best by the ranks are strong; without ranks, the highest value is.

    Args:
        order: what was tested, in a table with ranks.
        floors: by row the row of the floor that it is compared with.
        runs: the folder of the records, for what older ones do not hold.
        balanced: show the mean over classes.
        against_paper: show the difference to the paper.
        ece: show the calibration error.
    """
    ours = [Entry(NONE) if row.refused else row.entry(protocol) for row in rows]
    first = order.first if order else set()
    by_class = measure == "balanced"
    compared = ours
    yield Column(protocol, "percent", group=protocol), _with_best_strong(ours, set() if by_class else first)
    if balanced:
        means = [blank(row) or mean_entry(values(row.cells.get(protocol, ()), "balanced", runs)) for row in rows]
        compared = means if by_class else ours
        shown = _with_best_strong(means, first) if by_class else means
        yield Column(f"{protocol} balanced", "percent", group=protocol), shown
    best = [blank(row) or mean_entry(row.best(protocol)) for row in rows]
    if any(isinstance(entry.value, float) for entry in best):
        yield Column(f"{protocol} best", "percent", minor=True, group=protocol), best
    if ece:
        errors = [[error_of(record, runs) for record in row.cells.get(protocol, ())] for row in rows]
        shown = [
            blank(row) or mean_entry([one for one in mine if one is not None])
            for row, mine in zip(rows, errors, strict=True)
        ]
        if any(isinstance(entry.value, float) for entry in shown):
            yield Column(f"{protocol} ECE", "percent", minor=True, group=protocol), shown
    if _has_floor(rows, protocol):
        gains = _gains(rows, floors, compared, order)
        yield Column(f"{protocol} Δ floor", "difference", minor=True, group=protocol), gains
    printed = [row.numbers.get(protocol, ()) for row in rows]
    paper = [blank(row) or _paper(numbers) for row, numbers in zip(rows, printed, strict=True)]
    if any(isinstance(entry.value, float) for entry in paper):
        yield Column(f"{protocol} paper", "percent", group=protocol), paper
        if against_paper:
            yield (
                Column(f"{protocol} Δ paper", "difference", group=protocol),
                [
                    blank(row) or difference_to_paper(mine, next(iter(numbers), None))
                    for row, mine, numbers in zip(rows, ours, printed, strict=True)
                ],
            )


def class_notes(
    rows: Sequence[Row], found: Sequence[str], runs: RunStore | None, measure: Measure, *, ece: bool
) -> list[str]:
    """Explain the mean over classes and the calibration error where a table shows them.

    Args:
        found: protocols whose test clips are of uneven classes.
    """
    notes = []
    if found or measure == "balanced":
        why = "asked for"
        if found:
            records = [record for row in rows for record in row.cells.get(found[0], ())]
            share = max(class_numbers(record, runs).get(LARGEST, 0.0) for record in records)
            classes = next(record.data["classes"] for record in records if record.data.get("classes"))
            even = 100 / int(str(classes))
            why = (
                f"shown because the largest class has {share:.1f} % of the test clips, at least {UNEVEN:g} times the "
                f"{even:.1f} % of even classes; naming it always gives that top-1"
            )
        notes.append(f"balanced: mean of the top-1 over classes; {why}.")
    if ece:
        notes.append(f"ECE: expected calibration error in percent, {BINS} bins of equal width, softmax of the scores.")
    return notes


def floors_of(rows: Sequence[Row], protocol: str) -> dict[int, int]:
    """By row the row of the floor that it is compared with: of the same encoder, data and protocol version.

    In `published`, width, graph and frames may differ.
    """
    if not _has_floor(rows, protocol):
        return {}
    floors = {row.key: i for i, row in enumerate(rows) if row.method == FLOOR}
    found = {}
    for i, row in enumerate(rows):
        at = floor_of(row.key, floors)
        if at is not None and not is_baseline(row) and comparable_floor(row, rows[at], protocol):
            found[i] = at
    return found


def _has_floor(rows: Sequence[Row], protocol: str) -> bool:
    """Whether a protocol has a floor here that another row can be compared with."""
    frozen = frozen_protocols(record for row in rows for record in row.cells.get(protocol, ()))
    floors = {row.key for row in rows if row.method == FLOOR}
    return protocol in frozen and 0 < len(floors) < len(rows)


def blank(row: Row) -> Entry | None:
    """An empty place in the row of a refused pair."""
    return Entry("") if row.refused else None


def _gains(
    rows: Sequence[Row], floors: Mapping[int, int], compared: Sequence[Entry], order: Order | None
) -> list[Entry]:
    """Differences to the floor, with their intervals where the rows were tested."""
    entries = []
    for i, row in enumerate(rows):
        gain = difference(compared[i], compared[floors[i]]) if i in floors else Entry()
        tested = order.gains.get(i) if order else None
        once = order is not None and tested is not None and any(order.tested.once(j) for j in (i, floors[i]))
        entries.append(
            Entry("")
            if is_baseline(row) or row.refused
            else with_interval(gain, tested, f"({ONE_SEED})" if once else "")
        )
    return entries


def _paper(numbers: tuple[Published, ...]) -> Entry:
    """The most trustworthy number; a re-run by another paper is marked as such, beside it or in its place."""
    if not numbers:
        return Entry()
    first = numbers[0]
    rerun = next((number for number in numbers if number.source == RERUN), None)
    remark = "" if rerun is None else "(re-run)" if rerun is first else f"(re-run {rerun.top1:.1f})"
    return Entry(first.top1, remark=remark, source=f"{FILE}:{first.row}")


def _with_best_strong(entries: Sequence[Entry], first: set[int]) -> list[Entry]:
    """Mark the best and those that print the same; a single value is not marked."""
    values = {i: round(entry.value, 1) for i, entry in enumerate(entries) if isinstance(entry.value, float)}
    best = {i for i, value in values.items() if value == max(values.values())}
    best = first if best & first else best  # a floor above all methods has no rank, but is the best
    return [replace(entry, strong=len(values) > 1 and i in best) for i, entry in enumerate(entries)]
