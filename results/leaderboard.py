"""Records in, leaderboards out: one table per track, label, dataset, split, stream and pre-training data."""

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from statistics import mean, stdev
from typing import Any, NamedTuple, TypeVar

from .published import FILE, PAPER, RERUN, Published, find
from .record import Cell, Failure, Record
from .tables import NONE, Column, Entry, Table

FLOOR = "untrained"
FLOOR_SEEDS = 3
_TRACKS = ("published", "equal", "custom")
_PROTOCOLS = ("knn", "linear", "finetune", "semi1", "semi10", "fewshot")
_STREAMS = ("joint", "bone", "motion", "3s")
_FROZEN = ("knn", "linear", "fewshot")  # protocols in which an untrained encoder is a floor
_RANKED_BY = ("linear", *_PROTOCOLS)
_SETUP = ("width", "parameters", "frames", "epochs")
# Settings that may differ between the seeds of one mean.
_UNLIKE = {"seed", "pretrain", "identity", "device", "threads", "compile"}

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)


class _Place(NamedTuple):
    """What one table is about."""

    track: str
    label: str | None
    dataset: str
    split: str
    stream: str
    pretrained_on: str | None  # where that is other data than the table's own


class _Row(NamedTuple):
    method: str
    backbone: str
    cells: dict[str, list[Record]]  # protocol -> one record a seed, all comparable
    numbers: dict[str, tuple[Published, ...]]  # protocol -> what papers printed, the most trustworthy first
    refused: str = ""  # why method and backbone do not go together

    @property
    def name(self) -> str:
        return "untrained (floor)" if self.method == FLOOR else self.method

    def last(self, protocol: str) -> list[float]:
        return [record.last.top1 for record in self.cells.get(protocol, ()) if record.last]

    def best(self, protocol: str) -> list[float]:
        """The chosen epochs' top-1 in percent: of all seeds, or none."""
        chosen = [record.best.top1 for record in self.cells.get(protocol, ()) if record.best]
        return chosen if len(chosen) == len(self.last(protocol)) else []


def leaderboard(
    records: Iterable[Record],
    failures: Iterable[Failure] = (),
    refused: Mapping[tuple[str, str], str] | None = None,
) -> list[Table]:
    """Rank methods by backbone, in a table of its own for each track, label, dataset, split and stream.

    Encoders that were pre-trained on other data than a table's have tables of their own, too.

    Ours is the mean over seeds of ``last`` top-1 with the sample standard deviation; ``best`` stands
    beside it where every seed has it. A mean never mixes settings, method or protocol versions or
    data: those of the newest record count, and a footnote says how many others were left out. The
    paper's number is a reference; the difference to it is shown in track ``published`` only. Records
    of pre-training alone make no row. ``refused`` says of (method, backbone) why they do not go
    together: every table has a row "n/a" for them.
    """
    scored = [record for record in records if record.last is not None and record.cell.protocol != "pretrain"]
    failed = _grouped(failures, lambda failure: _place(failure.cell))
    places = _grouped(scored, lambda record: _place(record.cell))
    order = sorted(places, key=_reading_order)
    return [_table(place, places[place], failed.get(place, []), refused or {}) for place in order]


def _reading_order(place: _Place) -> tuple[Any, ...]:
    stream = (_rank(place.stream, _STREAMS), place.stream)
    return (
        place.dataset,
        place.split,
        stream,
        place.pretrained_on or "",
        _TRACKS.index(place.track),
        place.label or "",
    )


def _table(
    place: _Place, records: list[Record], failures: Sequence[Failure], refused: Mapping[tuple[str, str], str]
) -> Table:
    rows, left_out = _rows(place, records)
    present = {(row.method, row.backbone) for row in rows}
    rows += [_Row(*pair, {}, {}, reason) for pair, reason in refused.items() if pair not in present]
    protocols = sorted({p for row in rows for p in row.cells}, key=lambda p: (_rank(p, _PROTOCOLS), p))
    floors = {row.backbone: row for row in rows if row.method == FLOOR}
    leading = min(protocols, key=lambda p: _rank(p, _RANKED_BY))

    def standing(row: _Row) -> tuple[Any, ...]:
        score = row.last(leading)
        return (row.method != FLOOR, -mean(score) if score else 1.0, row.backbone, row.method)

    rows = sorted(rows, key=standing)
    columns = [
        (Column("method"), [Entry(row.name) for row in rows]),
        (Column("backbone"), [Entry(row.backbone) for row in rows]),
        *((Column(key, "count"), [_setup(row, key) for row in rows]) for key in _SETUP),
        (Column("seeds", "count"), [_seeds(row) for row in rows]),
        *(column for p in protocols for column in _scores(p, rows, floors, place.track == "published")),
    ]
    label = place.track if place.label is None else f"{place.track}: {place.label}"
    origin = f", pre-trained on {place.pretrained_on}" if place.pretrained_on else ""
    return Table(
        title=f"{place.dataset} {place.split}, {place.stream} ({label}{origin})",
        columns=tuple(column for column, _ in columns),
        rows=tuple(zip(*(entries for _, entries in columns), strict=True)),
        footnotes=tuple(_footnotes(place, rows, left_out, failures)),
        facts={key: value or "" for key, value in place._asdict().items()},
    )


def _rows(place: _Place, records: list[Record]) -> tuple[list[_Row], int]:
    """The rows in no order, and how many records were left out of them as older or not comparable."""
    rows, kept = [], 0
    for (method, backbone), mine in _grouped(records, lambda r: (r.cell.method, r.cell.backbone)).items():
        cells = {p: _comparable(group) for p, group in _grouped(mine, lambda r: r.cell.protocol).items()}
        kept += sum(map(len, cells.values()))
        # A protocol that was not run has its paper's number all the same: it is what the cell aims at.
        protocols = sorted({record.cell.protocol for record in records})
        place_of = (place.dataset, place.split, place.stream)
        # Beside changed settings a paper's number would mislead; no table so far holds a transferred encoder.
        own = place.pretrained_on is None and place.track != "custom"
        numbers = {p: find(method, *place_of, p, backbone) if own else () for p in protocols}
        rows.append(_Row(method, backbone, cells, numbers))
    return rows, len(records) - kept


def _comparable(records: list[Record]) -> list[Record]:
    """One record a seed, the newest, of those that agree with the newest of all but for the seed."""
    by_age = sorted(records, key=lambda record: datetime.fromisoformat(record.finished))
    alike = {r.cell.seed: r for r in by_age if _conditions(r) == _conditions(by_age[-1])}
    return [alike[seed] for seed in sorted(alike)]


def _conditions(record: Record) -> str:
    versions = [record.versions.get(key) for key in ("method", "protocol", "fusion")]
    return json.dumps([_seedless(record.settings), versions, record.data.get("fingerprint")], sort_keys=True)


def _seedless(settings: Any) -> Any:
    if isinstance(settings, dict):
        return {key: _seedless(value) for key, value in settings.items() if key not in _UNLIKE}
    return settings


def _fits(floors: dict[str, _Row], row: _Row) -> bool:
    """Whether there is a floor with this row's encoder: in `published` encoders differ in width, graph and frames."""
    floor = floors.get(row.backbone)
    return floor is not None and _encoder(floor) == _encoder(row)


def _encoder(row: _Row) -> list[str]:
    facts = {json.dumps([r.settings.get("frames"), r.settings.get("backbone")]) for c in row.cells.values() for r in c}
    return sorted(facts)


def _scores(
    protocol: str, rows: list[_Row], floors: dict[str, _Row], against_paper: bool
) -> Iterable[tuple[Column, list[Entry]]]:
    """The columns of one protocol: ours, best, difference to the floor, paper, difference to the paper."""
    ours = [Entry(NONE) if row.refused else _mean(row.last(protocol)) for row in rows]
    yield Column(protocol, "percent", group=protocol), _with_best_strong(ours)
    best = [_blank(row) or _mean(row.best(protocol)) for row in rows]
    if any(isinstance(entry.value, float) for entry in best):
        yield Column(f"{protocol} best", "percent", minor=True, group=protocol), best
    if protocol in _FROZEN and floors and len(floors) < len(rows):
        floor = [_mean(floors[row.backbone].last(protocol) if _fits(floors, row) else []) for row in rows]
        gains = [
            Entry("") if row.method == FLOOR or row.refused else _difference(mine, base)
            for row, mine, base in zip(rows, ours, floor, strict=True)
        ]
        yield Column(f"{protocol} Δ floor", "difference", minor=True, group=protocol), gains
    paper = [_blank(row) or _paper(row.numbers[protocol]) for row in rows]
    if any(isinstance(entry.value, float) for entry in paper):
        yield Column(f"{protocol} paper", "percent", group=protocol), paper
        if against_paper:
            yield (
                Column(f"{protocol} Δ paper", "difference", group=protocol),
                [_blank(row) or _difference(*both) for row, *both in zip(rows, ours, paper, strict=True)],
            )


def _blank(row: _Row) -> Entry | None:
    """An empty place in the row of a refused pair."""
    return Entry("") if row.refused else None


def _mean(values: Sequence[float]) -> Entry:
    if not values:
        return Entry()
    return Entry(mean(values), spread=stdev(values) if len(values) > 1 else None)


def _difference(ours: Entry, reference: Entry) -> Entry:
    if isinstance(ours.value, float) and isinstance(reference.value, float):
        return Entry(ours.value - reference.value)
    return Entry()


def _paper(numbers: tuple[Published, ...]) -> Entry:
    """The most trustworthy number; a re-run by another paper is named as one, beside it or in its stead."""
    if not numbers:
        return Entry()
    first = numbers[0]
    rerun = next((number for number in numbers if number.source == RERUN), None)
    remark = "" if rerun is None else "(re-run)" if rerun is first else f"(re-run {rerun.top1:.1f})"
    return Entry(first.top1, remark=remark, source=f"{FILE}:{first.row}")


def _with_best_strong(entries: list[Entry]) -> list[Entry]:
    """Mark the highest value, and those that print the same; one value alone is not the best of anything."""
    values = [round(entry.value, 1) for entry in entries if isinstance(entry.value, float)]
    if len(values) < 2:
        return entries
    return [
        Entry(e.value, e.spread, strong=isinstance(e.value, float) and round(e.value, 1) == max(values))
        for e in entries
    ]


def _seeds(row: _Row) -> Entry:
    return _blank(row) or _distinct([len(cells) for cells in row.cells.values()])


def _setup(row: _Row, key: str) -> Entry:
    values = [record.model.get(key) for cells in row.cells.values() for record in cells]
    return _blank(row) or _distinct([value for value in values if isinstance(value, int | float)])


def _distinct(values: Sequence[float]) -> Entry:
    """One number, or "2/3" where the row's cells disagree."""
    seen = sorted(set(values))
    if len(seen) < 2:
        return Entry(seen[0] if seen else None)
    return Entry("/".join(f"{value:,.0f}" for value in seen))


def _footnotes(place: _Place, rows: list[_Row], left_out: int, failures: Sequence[Failure]) -> Iterable[str]:
    shown = [record for row in rows for cells in row.cells.values() for record in cells]
    yield "Top-1 in percent on the test split at the end of training: mean ± sample deviation over seeds."
    if place.track == "custom":
        yield f"custom ({place.label}): other settings than a track's, not comparable with its tables."
    if place.track == "published":
        yield from _borrowed_notes(rows)
    rules = {record.best.rule.rstrip(".") for record in shown if record.best}
    yield from (f"best: {rule}." for rule in sorted(rules))
    yield from _floor_notes(rows)
    if len({len(cells) for row in rows for cells in row.cells.values()}) > 1:
        counts = "; ".join(_seed_counts(row) for row in rows if not row.refused)
        yield f"Not every mean is over the same number of seeds: {counts}."
    if left_out:
        yield f"{left_out} record(s) left out of the means: older, or of other settings, versions or data."
    prints = {str(record.data["fingerprint"]) for record in shown if record.data.get("fingerprint")}
    if len(prints) > 1:
        yield f"WARNING: rows stand on different versions of the data ({', '.join(sorted(prints))})."
    yield from _paper_notes(place, rows)
    for reason in dict.fromkeys(row.refused for row in rows if row.refused):
        yield f"n/a: {reason}"
    for failure in failures:
        yield f"failed: {failure.cell}: {failure.reason}"


def _borrowed_notes(rows: list[_Row]) -> Iterable[str]:
    """Say which rows run on settings that their authors released for another data set."""
    borrowed = sorted(
        {
            row.method
            for row in rows
            for cells in row.cells.values()
            for record in cells
            if row.method != FLOOR and record.settings.get("released_for_this_data") is False
        }
    )
    if borrowed:
        yield (
            "Not released for this data set, backbone and protocol; the nearest released settings or the protocol's "
            f"own: {', '.join(borrowed)}."
        )


def _floor_notes(rows: list[_Row]) -> Iterable[str]:
    frozen = {p for row in rows for p in row.cells if p in _FROZEN}
    floors = {row.backbone: row for row in rows if row.method == FLOOR}
    few = [
        f"{backbone} {protocol} {len(floors[backbone].last(protocol)) if backbone in floors else 0}"
        for backbone in sorted({row.backbone for row in rows if row.cells})
        for protocol in sorted(frozen)
        if backbone not in floors or len(floors[backbone].last(protocol)) < FLOOR_SEEDS
    ]
    if few:
        yield f"A floor is the mean of at least {FLOOR_SEEDS} seeds; here: {', '.join(few)}."
    trained = sorted({p for row in floors.values() for p in row.cells} - {*_FROZEN, "pretrain"})
    if trained:
        yield f"{', '.join(trained)} of untrained is supervised training from scratch and no floor."


def _seed_counts(row: _Row) -> str:
    counts = ", ".join(f"{protocol} {len(cells)}" for protocol, cells in sorted(row.cells.items()))
    return f"{row.name} {row.backbone} {counts}"


def _paper_notes(place: _Place, rows: list[_Row]) -> Iterable[str]:
    """Where the papers' numbers come from, then what is wrong with them, by line of the file."""
    numbers = [number for row in rows for found in row.numbers.values() for number in found]
    if not numbers:
        return
    yield f"paper: {PAPER}, {FILE}, {_lines(numbers)}."
    if any(number.source == RERUN for number in numbers):
        cited = "; Δ paper is to the cited number where a sound one exists" if place.track == "published" else ""
        yield f"re-run: trained again by that paper with its own settings{cited}."
    if place.dataset.startswith("pkummd"):
        yield "paper: its protocol for PKU-MMD is not stated and taken to be cross-subject."
    remarks: dict[str, list[Published]] = defaultdict(list)
    for number in numbers:
        for remark in number.remarks:
            remarks[remark].append(number)
    for remark, about in remarks.items():
        values = ", ".join(f"{number.top1:.1f}" for number in about if number.doubtful)
        yield f"paper, {_lines(about)}{f' ({values})' if values else ''}: {remark}."


def _lines(numbers: Iterable[Published]) -> str:
    lines = sorted({number.row for number in numbers})
    return f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"


def _place(cell: Cell) -> _Place:
    return _Place(cell.track, cell.label, cell.dataset, cell.split, cell.stream, cell.pretrained_on)


def _rank(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def _grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    groups: dict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)
