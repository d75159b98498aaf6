"""Details behind the accuracies of the open leaderboard: choice of the epoch, seeds, kinds of mistakes, features."""

from collections.abc import Iterable, Sequence
from statistics import fmean

from board_rows import JUDGE, NAMES, compared, curve_of, named, title
from skelbench.results.files import read_confusion
from skelbench.results.record import FLOOR, PRETRAIN, Record
from skelbench.results.store import RunStore
from skelbench.results.tables.rows import Place, difference, mean_entry
from skelbench.results.tables.table import Column, Entry, Table

INCORRECT = " (incorrect)"  # suffix of UI-PRMD classes that are another class done incorrectly


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


def mistakes(place: Place, records: Sequence[Record], runs: RunStore) -> Table:
    """For exercises done in two ways: how often the exercise is right, and among these the way of doing it.

    The product of both is the accuracy of a seed. Without rows for other data, and if only the floor was run.
    """
    rows = compared(place, records)
    lines = []
    for row in rows:
        counts = [_halves(record, runs) for record in row.cells[JUDGE]]
        counted = [(right, exercise, clips) for right, exercise, clips in counts if clips]
        score = mean_entry([100 * right / clips for right, _, clips in counted])
        exercises = mean_entry([100 * exercise / clips for _, exercise, clips in counted])
        ways = mean_entry([100 * right / exercise for right, exercise, _ in counted if exercise])
        lines += [(*named(row), Entry(len(counted)), score, exercises, ways)] if counted else []
    columns = (
        *NAMES,
        Column("seeds", "count"),
        *(Column(name, "percent") for name in (JUDGE, "exercise right", "of these, way right")),
    )
    return Table(f"{title(place)}: {JUDGE} in two parts", columns, tuple(lines))


def _halves(record: Record, runs: RunStore) -> tuple[int, int, int]:
    """Clips with the right class, with the right exercise, and all; zeros if no class is an incorrect exercise."""
    if "confusion" not in record.files:
        return 0, 0, 0
    names, matrix = read_confusion(runs.folder(record.key) / record.files["confusion"])
    exercises = [name.removesuffix(INCORRECT) for name in names]
    if len(set(exercises)) == len(names):
        return 0, 0, 0
    alike = [[one == other for other in exercises] for one in exercises]
    return int(matrix.trace()), int(matrix[alike].sum()), int(matrix.sum())


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
