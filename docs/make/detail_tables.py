"""Details behind the accuracies of the open leaderboard: gains, choice of the epoch, seeds, features."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from board_rows import JUDGE, NAMES, compared, curve_of, named, title
from skelbench.results.record import FLOOR, PRETRAIN, Record
from skelbench.results.settled import trend_of
from skelbench.results.store import RunStore
from skelbench.results.tables.raw_rows import CLOSEST
from skelbench.results.tables.rows import Place, Row, difference, mean_entry
from skelbench.results.tables.table import Column, Entry, Table

COMPARED = tuple(CLOSEST.items())


def gains(place: Place, records: Sequence[Record], raw: Mapping[tuple[str, str, str], float]) -> Table:
    """Make a table of what training gained over the floor and over raw joints, and whether it had settled.

    A seed is compared with the floor of the same seed, which has the weights that it started from.

    Args:
        place: the board.
        records: its records.
        raw: top-1 in percent on raw joints by data set, split and protocol.
    """
    rows = compared(place, records)
    floors = {row.backbone: row for row in rows if row.method == FLOOR}
    lines = []
    for row in rows:
        if row.method == FLOOR:
            continue
        entries: list[Entry] = []
        for protocol, baseline in COMPARED:
            mean, reference = mean_entry(row.last(protocol)), raw.get((place.dataset, place.split, baseline))
            entries += [
                _gain_by_seed(row, floors.get(row.backbone), protocol),
                difference(mean, Entry(reference)),
                _settled(row, protocol),
            ]
        lines.append((*named(row), *entries))
    columns = [*NAMES]
    for protocol, baseline in COMPARED:
        columns += [
            Column(f"{protocol} − floor"),
            Column(f"{protocol} − {baseline}", "difference"),
            Column(f"{protocol} settled"),
        ]
    return Table(f"{title(place)}: what training gains", tuple(columns), tuple(lines))


def _gain_by_seed(row: Row, floor: Row | None, protocol: str) -> Entry:
    """Mean and deviation of the differences between a seed and the floor of the same seed."""
    start = {one.cell.seed: one.last.top1 for one in (floor.cells.get(protocol, []) if floor else []) if one.last}
    ends = {one.cell.seed: one.last.top1 for one in row.cells.get(protocol, []) if one.last}
    found = mean_entry([ends[seed] - start[seed] for seed in ends if seed in start])
    if not isinstance(found.value, float) or len(ends) > len(set(ends) & set(start)):
        return Entry()
    return Entry(f"{found.value:+.1f}" + ("" if found.spread is None else f" ± {found.spread:.1f}"))


def _settled(row: Row, protocol: str) -> Entry:
    """What the curves say, with the change over the last third and its standard error."""
    found, said = trend_of(row.cells.get(protocol, [])), row.settled(protocol)
    return Entry(said if found is None else f"{said} ({found.change:+.1f} ± {found.error:.1f})")


def selection(place: Place, records: Sequence[Record], runs: RunStore) -> Table:
    """Make a table of the accuracies that other choices of the epoch than the last would give.

    Of each seed's learning curve: the last epoch's test accuracy, that of the epoch which is best on held-out training
    subjects, and the highest of all.
    """
    lines = []
    for row in compared(place, records):
        tests, held = ([curve_of(r, runs, name) for r in row.cells[JUDGE]] for name in ("test_top1", "held_out_top1"))
        if row.method == FLOOR or not all(map(len, tests)):
            continue
        last, highest = mean_entry([test.iloc[-1] for test in tests]), mean_entry([test.max() for test in tests])
        at_best = [test.at[on_held.idxmax()] for test, on_held in zip(tests, held, strict=True) if len(on_held)]
        chosen = mean_entry(at_best if len(at_best) == len(tests) else [])
        lines.append((*named(row), Entry(len(tests)), last, chosen, highest, difference(highest, last)))
    numbers = ("last epoch", "epoch chosen on held-out training subjects", "epoch chosen on the test clips")
    columns = (
        *NAMES,
        Column("seeds", "count"),
        *(Column(name, "percent") for name in numbers),
        Column("gained by choosing on test", "difference"),
    )
    return Table(f"{title(place)}: what choosing the epoch gives", columns, tuple(lines))


def seeds(place: Place, records: Sequence[Record]) -> Table:
    """Make a table of each seed's accuracy and effective rank; without rows if only the floor was run."""
    rows = compared(place, records)
    found = sorted({record.cell.seed for row in rows for record in row.cells[JUDGE]})
    lines = []
    for row in rows:
        scores = {record.cell.seed: record.last.top1 for record in row.cells[JUDGE] if record.last}
        near = {record.cell.seed: record for record in row.cells.get("knn", [])}
        ranks = [_mean_of([near[seed]] if seed in near else [], "effective_rank", ".0f") for seed in found]
        lines.append((*named(row), *(Entry(scores.get(seed)) for seed in found), *ranks))
    columns = (
        *NAMES,
        *(Column(f"seed {seed}", "percent") for seed in found),
        *(Column(f"effective rank, seed {seed}") for seed in found),
    )
    return Table(f"{title(place)}: {JUDGE}, seed by seed", columns, tuple(lines))


def features(place: Place, records: Sequence[Record], behind: Iterable[Record], runs: RunStore) -> Table:
    """Make a table of features compared with the floor's: loss, mean cosine similarity and effective rank.

    Without rows if only the floor was run.
    """
    trained = {record.identity: record for record in behind if record.cell.protocol == PRETRAIN}
    rows = compared(place, records)
    floors = {row.backbone: mean_entry(row.last(JUDGE)) for row in rows if row.method == FLOOR}
    lines = []
    for row in rows:
        curves = [curve_of(trained[r.pretrain], runs, "loss") for r in row.cells[JUDGE] if r.pretrain in trained]
        first, last = ([curve.iloc[at] for curve in curves if len(curve)] for at in (0, -1))
        gain = difference(mean_entry(row.last(JUDGE)), floors.get(row.backbone, Entry()))
        near = row.cells.get("knn", [])
        lines.append(
            (
                *named(row),
                Entry("") if row.method == FLOOR else gain,
                *(Entry(f"{fmean(values):.2f}") if values else Entry("") for values in (first, last)),
                _mean_of(near, "mean_cosine", ".3f"),
                _mean_of(near, "effective_rank", ".0f"),
            )
        )
    numbers = ("loss, first epoch", "loss, last epoch", "mean cosine", "effective rank")
    columns = (*NAMES, Column(f"{JUDGE} Δ floor", "difference"), *map(Column, numbers))
    return Table(f"{title(place)}: features", columns, tuple(lines))


def _mean_of(records: Sequence[Record], name: str, digits: str) -> Entry:
    values = [record.extra[name] for record in records if name in record.extra]
    return Entry(format(fmean(values), digits)) if values else Entry()
