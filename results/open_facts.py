"""What the open leaderboard tells beside its ranks: what choosing on test would give, features, widths, the sweep."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from .files import read_confusion, read_curve
from .means import (
    FLOOR,
    PRETRAIN,
    RAW_LABEL,
    Place,
    Row,
    difference,
    distinct,
    mean_entry,
    places,
    rows_of,
    setup_entries,
)
from .record import Record
from .store import RunStore
from .tables import Column, Entry, Table

JUDGE = "linear"  # the protocol that these tables are about
SWEEP = "sweep: "  # labels of the sweep begin so
WIDE = "open-width"
BASELINES = ("nearest", "ridge")
NAMES = (Column("method"), Column("backbone"))
INCORRECT = " (incorrect)"  # how a class of UI-PRMD ends that is another one done wrongly
OPEN = "open-"  # labels of the boards: "open-nwucla"


def selection(place: Place, records: Sequence[Record], runs: RunStore) -> Table:
    """What the same runs would have shown, had their epoch been chosen otherwise than by being the last.

    Of each seed's learning curve: the last epoch's test accuracy, that of the epoch which is best on held-out training
    subjects, and the highest of all.
    """
    lines = []
    for row in _by_score(place, records):
        tests, held = ([_line(r, runs, name) for r in row.cells[JUDGE]] for name in ("test_top1", "held_out_top1"))
        if row.method == FLOOR or not all(tests):
            continue
        last, highest = mean_entry([line[-1][1] for line in tests]), mean_entry([max(v for _, v in t) for t in tests])
        chosen = mean_entry([_at_best(*both) for both in zip(tests, held, strict=True)] if all(held) else [])
        lines.append((*_named(row), Entry(len(tests)), last, chosen, highest, difference(highest, last)))
    numbers = ("last epoch", "epoch chosen on held-out training subjects", "epoch chosen on the test clips")
    columns = (
        *NAMES,
        Column("seeds", "count"),
        *(Column(name, "percent") for name in numbers),
        Column("gained by choosing on test", "difference"),
    )
    return Table(f"{_title(place)}: what choosing the epoch gives", columns, tuple(lines))


def _at_best(test: Sequence[tuple[int, float]], held: Sequence[tuple[int, float]]) -> float:
    """The test accuracy of the epoch, the first of equal ones, that is highest on the held-out subjects."""
    chosen = max(held, key=lambda point: point[1])[0]
    return dict(test)[chosen]


def features(place: Place, records: Sequence[Record], behind: Iterable[Record], runs: RunStore) -> Table:
    """Features beside the floor's: the loss they come from, how alike clips are, in how many directions they lie.

    Without rows where nothing but the floor was run.
    """
    trained = {record.identity: record for record in behind if record.cell.protocol == PRETRAIN}
    rows = _by_score(place, records)
    floors = {row.backbone: mean_entry(row.last(JUDGE)) for row in rows if row.method == FLOOR}
    lines = []
    for row in rows:
        curves = [_line(trained[r.pretrain], runs, "loss") for r in row.cells[JUDGE] if r.pretrain in trained]
        first, last = ([curve[at][1] for curve in curves if curve] for at in (0, -1))
        gain = difference(mean_entry(row.last(JUDGE)), floors.get(row.backbone, Entry()))
        near = row.cells.get("knn", [])
        lines.append(
            (
                *_named(row),
                Entry("") if row.method == FLOOR else gain,
                *(Entry(f"{fmean(values):.2f}") if values else Entry("") for values in (first, last)),
                _mean_of(near, "mean_cosine", ".3f"),
                _mean_of(near, "effective_rank", ".0f"),
            )
        )
    numbers = ("loss, first epoch", "loss, last epoch", "mean cosine", "effective rank")
    columns = (*NAMES, Column(f"{JUDGE} Δ floor", "difference"), *map(Column, numbers))
    trained_rows = any(row.method != FLOOR for row in rows)
    return Table(f"{_title(place)}: features", columns, tuple(lines) if trained_rows else ())


def seeds(place: Place, records: Sequence[Record]) -> Table:
    """Each seed's accuracy and the directions its features lie in; without rows where nothing but the floor was run."""
    rows = _by_score(place, records)
    found = sorted({record.cell.seed for row in rows for record in row.cells[JUDGE]})
    lines = []
    for row in rows:
        scores = {record.cell.seed: record.last.top1 for record in row.cells[JUDGE] if record.last}
        near = {record.cell.seed: record for record in row.cells.get("knn", [])}
        ranks = [_mean_of([near[seed]] if seed in near else [], "effective_rank", ".0f") for seed in found]
        lines.append((*_named(row), *(Entry(scores.get(seed)) for seed in found), *ranks))
    columns = (
        *NAMES,
        *(Column(f"seed {seed}", "percent") for seed in found),
        *(Column(f"effective rank, seed {seed}") for seed in found),
    )
    trained = any(row.method != FLOOR for row in rows)
    return Table(f"{_title(place)}: {JUDGE}, seed by seed", columns, tuple(lines) if trained else ())


def mistakes(place: Place, records: Sequence[Record], runs: RunStore) -> Table:
    """Where classes are exercises done in two ways: how often the exercise is right, and then the way of doing it.

    The product of both is the accuracy. Without rows for other data, and where nothing but the floor was run.
    """
    rows = _by_score(place, records)
    lines = []
    for row in rows:
        counts = [_halves(record, runs) for record in row.cells[JUDGE]]
        told = [(right, exercise, clips) for right, exercise, clips in counts if clips]
        whole = mean_entry([100 * exercise / clips for _, exercise, clips in told])
        rest = mean_entry([100 * right / exercise for right, exercise, _ in told if exercise])
        lines += [(*_named(row), Entry(len(told)), mean_entry(row.last(JUDGE)), whole, rest)] if told else []
    columns = (
        *NAMES,
        Column("seeds", "count"),
        *(Column(name, "percent") for name in (JUDGE, "exercise right", "of these, way right")),
    )
    trained = any(row.method != FLOOR for row in rows)
    return Table(f"{_title(place)}: {JUDGE} in two parts", columns, tuple(lines) if trained else ())


def _halves(record: Record, runs: RunStore) -> tuple[int, int, int]:
    """Clips with the right class, with the right exercise, and all; nothing where no class is an incorrect one."""
    if "confusion" not in record.files:
        return 0, 0, 0
    names, matrix = read_confusion(runs.folder(record.cell, record.identity) / record.files["confusion"])
    exercises = [name.removesuffix(INCORRECT) for name in names]
    if len(set(exercises)) == len(names):
        return 0, 0, 0
    alike = [[one == other for other in exercises] for one in exercises]
    return int(matrix.trace()), int(matrix[alike].sum()), int(matrix.sum())


def raw(records: Sequence[Record]) -> list[Table]:
    """The baselines on raw joints, a row for each split; empty where there are none."""
    mine = {place: found for place, found in places(records).items() if place.label == RAW_LABEL}
    lines = []
    for place, found in mine.items():
        for row in rows_of(place, found)[0]:
            scores = (mean_entry(row.last(protocol)) for protocol in BASELINES)
            clips = distinct([clips for record in row.records if isinstance(clips := record.data.get("test"), int)])
            lines.append(
                (Entry(f"{place.dataset} {place.split}"), setup_entries(row.records)["frames"], clips, *scores)
            )
    columns = (
        Column("data"),
        *(Column(name, "count") for name in ("frames", "test clips")),
        *(Column(name, "percent") for name in BASELINES),
    )
    return [Table("Raw joints", columns, tuple(lines))] if lines else []


def widths(records: Sequence[Record]) -> list[Table]:
    """One method at two widths, all else alike; empty where no wide one is there."""
    found = places(records)
    lines = []
    for place in (place for place in found if place.label == WIDE):
        narrow = found.get(place._replace(label=OPEN + place.dataset), [])
        for wide in _by_score(place, found[place]):
            same = [r for r in _by_score(place, narrow) if (r.method, r.backbone) == (wide.method, wide.backbone)]
            lines += [_width_line(place, row) for row in (*same, wide)]
    columns = (
        *(Column(name) for name in ("data", "method")),
        *(Column(name, "count") for name in ("width", "parameters", "seeds")),
        *(Column(name, "percent") for name in ("knn", JUDGE)),
    )
    return [Table("Width", columns, tuple(lines))] if lines else []


def _width_line(place: Place, row: Row) -> tuple[Entry, ...]:
    setup = setup_entries(row.records)
    scores = (mean_entry(row.last(protocol)) for protocol in ("knn", JUDGE))
    seeds = Entry(len(row.last(JUDGE)))
    return (
        Entry(f"{place.dataset} {place.split}"),
        Entry(row.name),
        setup["width"],
        setup["parameters"],
        seeds,
        *scores,
    )


def sweep(records: Sequence[Record], runs: RunStore) -> list[Table]:
    """The sweep by what it was read at: a training subject held out of the linear fit; empty without one."""
    boards = {place: mine for place, mine in places(records).items() if (place.label or "").startswith(SWEEP)}
    lines = []
    for place, mine in boards.items():
        for row in _by_score(place, mine):
            held = [line[-1][1] for r in row.cells[JUDGE] if (line := _line(r, runs, "held_out_top1"))]
            lines.append((Entry((place.label or "").removeprefix(SWEEP)), *_named(row), mean_entry(held)))
    columns = (Column("setting"), *NAMES, Column("held-out subject", "percent"))
    return (
        [Table("The sweep, on a training subject that was held out of the fit", columns, tuple(lines))] if lines else []
    )


def _title(place: Place) -> str:
    return f"{place.dataset} {place.split}, {place.stream}"


def _named(row: Row) -> tuple[Entry, Entry]:
    return Entry(row.name), Entry(row.backbone)


def _by_score(place: Place, records: Sequence[Record]) -> list[Row]:
    """Rows that have the protocol, the floor first, then the best."""
    rows = [row for row in rows_of(place, records)[0] if row.last(JUDGE)]
    return sorted(rows, key=lambda row: (row.method != FLOOR, -fmean(row.last(JUDGE)), row.name))


def _line(record: Record, runs: RunStore, column: str) -> list[tuple[int, float]]:
    """A column of a record's curve; empty where it has none."""
    if "curve" not in record.files:
        return []
    path: Path = runs.folder(record.cell, record.identity) / record.files["curve"]
    return read_curve(path, column)[0]


def _mean_of(records: Sequence[Record], name: str, digits: str) -> Entry:
    values = [record.extra[name] for record in records if name in record.extra]
    return Entry(format(fmean(values), digits)) if values else Entry()
