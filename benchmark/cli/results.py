"""The `check` and `results` commands: compare, export and import records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ...errors import SkelbenchError
from .options import OUT, folder_of_runs, names


@click.group()
def results() -> None:
    """Copy records from one folder of runs, or machine, to another."""


@results.command("export")
@click.argument("to", metavar="FILE.zip", type=click.Path(path_type=Path))
@OUT
@click.option("--track", help="Only this track (equal, published, custom).")
@click.option("--dataset", help="Only this data set.")
@click.option("--label", help="Only custom cells with this label, such as demo.")
@click.option("--without", help="Comma list of files next to the records to leave out: nearest, scores, ...")
def export_(
    to: Path, out: Path, track: str | None, dataset: str | None, label: str | None, without: str | None
) -> None:
    """Write the records of a folder of runs, and the files next to them, to FILE.zip; weights are not exported.

    The same records make the same file. With --dataset, the pre-trainings that its cells build on are included. The
    reports of `doctor --thorough` always are.
    """
    from ...results.exchange.exchange import export_results

    runs = folder_of_runs(out)

    def wanted(cell: Any) -> bool:
        asked = ((track, cell.track), (dataset, cell.dataset), (label, cell.label))
        return all(value in (None, given) for value, given in asked)

    done = export_results(runs, to, wanted, names(without) if without else ())
    disputed = f" ({done.conflicts} in conflict)" if done.conflicts else ""
    reports = f", {_count(done.reports, 'file')} about the machine" if done.reports else ""
    click.echo(f"{to}: {_count(done.records, 'record')}{disputed}, {_count(done.failures, 'failure')}{reports}")


@results.command("import")
@click.argument("file", metavar="FILE.zip", type=click.Path(path_type=Path))
@OUT
@click.pass_context
def import_(ctx: click.Context, file: Path, out: Path) -> None:
    """Merge FILE.zip, made by `results export`, into a folder of runs; existing records stay unchanged.

    The exit code is 1 if a cell has another record here than in FILE.zip: both are kept, the imported one below
    conflicts/, where no table reads it.
    """
    from ...results.exchange.exchange import import_results
    from ...results.store import RunStore
    from ...results.tables.table import printable

    done = import_results(file, RunStore(out))
    counts = f"{_count(done.added, 'record')} and {_count(done.failures, 'failure')} added"
    click.echo(f"{out}: {counts}, {done.there} there already, {len(done.conflicts)} in conflict")
    for conflict in done.conflicts:
        click.echo(f"  {printable(str(conflict.cell))}: kept {conflict.ours}, the other is {conflict.theirs}", err=True)
    if done.conflicts:
        ctx.exit(1)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


@click.command()
@click.argument("fresh", metavar="[FRESH.json]", required=False, type=click.Path(path_type=Path))
@OUT
@click.option(
    "--against",
    default="paper",
    show_default=True,
    metavar="paper|RUNS|FILE",
    help="The paper's numbers, earlier records (a folder of runs or an exported zip), or a stored JSON of `bench`.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="POINTS",
    help="How much worse a row may be; two standard deviations over our seeds if that is larger.",
)
@click.option(
    "--tolerances", type=click.Path(path_type=Path), help="YAML list of other tolerances, each with its reason."
)
@click.option(
    "--slowdown",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    metavar="PERCENT",
    help="How much slower a row of FRESH.json may be.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--junit", type=click.Path(path_type=Path), help="Also write JUnit XML, for continuous integration.")
@click.pass_context
def check(ctx: click.Context, fresh: Path | None, as_json: bool, junit: Path | None, **options: Any) -> None:
    """Compare results with the paper's or earlier ones, or a speed measurement with a stored one.

    Rows pass, fail or were not run. Exit code 0: all compared rows pass; 1: at least one fails; 2: there was nothing
    to compare. A row that is better by more than the tolerance passes and is marked "above".
    """
    from ...results.check.report import to_junit
    from ...results.files import atomic_write

    report = _speed(fresh, **options) if options["against"].endswith(".json") else _records(fresh, **options)
    if junit:
        atomic_write(junit, to_junit(report))
    _show(report, as_json)
    ctx.exit(report.exit_code)


def _speed(fresh: Path | None, against: str, slowdown: float, tolerances: Path | None, **_: Any) -> Any:
    from ...results.check.speed import check_speed

    if fresh is None:
        raise SkelbenchError(f"{against} is a measurement: name a fresh one, `check FRESH.json --against {against}`.")
    if tolerances:
        raise SkelbenchError("--tolerances is for accuracies; a speed measurement takes --slowdown.")
    return check_speed(fresh, Path(against), slowdown)


def _records(
    fresh: Path | None, out: Path, against: str, tolerance: float, tolerances: Path | None, slowdown: float
) -> Any:
    from ...results.check.against import check_paper, check_records, read_earlier
    from ...results.check.tolerances import Tolerances, read_overrides

    if fresh is not None:
        raise SkelbenchError(f"{fresh} needs --against STORED.json; the folder of runs is given with --out.")
    runs = folder_of_runs(out)
    allowed = Tolerances(tolerance, read_overrides(tolerances) if tolerances else ())
    records = runs.records()
    if against == "paper":
        return check_paper(records, allowed)
    return check_records(records, read_earlier(Path(against)), against, allowed)


def _show(report: Any, as_json: bool) -> None:
    from rich.console import Console

    from ...results.check.report import to_json, to_lines, to_table
    from ...results.writers import to_rich

    console = Console()
    if as_json:
        click.echo(json.dumps(to_json(report), indent=1))
    elif console.is_terminal:
        console.print(to_rich(to_table(report)))
        console.print(report.summary, highlight=False, markup=False, soft_wrap=True)
    else:
        for line in to_lines(report):
            click.echo(line)
