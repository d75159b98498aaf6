"""The `table` and `leaderboard` commands: the paper's tables, overviews of a folder of runs, and rankings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console

from ...errors import SkelbenchError
from .options import OUT, folder_of_runs, option_set, uncollected

FORMATS = ("rich", "md", "tex", "csv", "html", "json")
_FORMAT = click.option("--format", "style", type=click.Choice(FORMATS), default="rich", show_default=True)
_where = option_set(
    click.option("--track", help="Only this track (equal, published, custom)."),
    click.option("--dataset", help="Only this data set."),
    click.option("--split", help="Only this split."),
    click.option("--stream", help="Only this stream (joint, bone, motion, 3s)."),
    click.option("--label", help="Only custom cells with this label, such as demo."),
)


@click.command()
@OUT
@_FORMAT
@click.option("--paper", metavar="table1..table7", help="A table of the SkeAttnCLR paper, with our numbers in it.")
@_where
@click.pass_context
@uncollected()
def table(ctx: click.Context, out: Path, style: str, paper: str | None, **where: str | None) -> None:
    """Print the tables of a folder of runs, one for each track and label.

    With --paper, print a table of the paper instead: its rows and columns, our number next to the paper's, for one
    track (default: published).
    """
    from ...results.tables.leaderboard import leaderboard

    if paper:
        show_tables([_paper_table(ctx, out, paper, where)], style)
        return
    runs = folder_of_runs(out)
    wanted = _narrowing(where)
    records = runs.records()
    shown = [record for record in records if wanted(record.cell)]
    failures = [failure for failure in runs.failures() if wanted(failure.cell)]
    tables = leaderboard([*shown, *_beside(records, where)], failures)
    show_tables(_some(_asked_for(tables, where), out), style)


@click.command("leaderboard")
@OUT
@_FORMAT
@_where
@click.option("--all", "every", is_flag=True, help="Rank all rows, also those whose accuracy has not settled.")
@click.option(
    "--metric",
    "measure",
    type=click.Choice(("top1", "balanced")),
    default="top1",
    show_default=True,
    help="Rank by top-1, or by its mean over classes.",
)
@click.option("--pairs", is_flag=True, help="Also print every comparison of two ranked rows.")
@click.option("--calibration", is_flag=True, help="Also show the expected calibration error.")
@uncollected()
def leaderboard_(
    out: Path, style: str, *, every: bool, measure: Any, pairs: bool, calibration: bool, **where: str | None
) -> None:
    """Rank the methods in a folder of runs; a difference within the noise of trainings, persons and clips is a tie.

    Each row has width, parameters, frames, epochs, seeds, and the cost of its pre-training; the untrained encoder is
    the floor. Ranks are tested on the class scores stored with the records; rows whose accuracy on held-out subjects
    still changed at the end of training have none. Where splits are folds, a table of means over folds follows; where
    several data sets have the same rows, their mean ranks.
    """
    from ...results.tables.across import across
    from ...results.tables.folds import folded
    from ...results.tables.leaderboard import Wanted, leaderboard

    runs = folder_of_runs(out)
    wanted = _narrowing(where)
    records = runs.records()
    shown = [record for record in records if wanted(record.cell)]
    failures = [failure for failure in runs.failures() if wanted(failure.cell)]
    asked = Wanted(measure, every=every, pairs=pairs, calibration=calibration)
    tables = leaderboard([*shown, *_beside(records, where)], failures, runs=runs, behind=records, wanted=asked)
    show_tables(
        [*_some(_asked_for(tables, where), out), *folded(shown, runs), *across(shown, measure, runs, every=every)],
        style,
    )


def show_tables(tables: Sequence[Any], style: str) -> None:
    """Print tables as "rich", "md", "tex", "csv", "html" or "json"."""
    from ...results.writers import to_rich, write

    if style != "rich":
        click.echo(write(tables, style), nl=False)
        return
    console = Console()
    for one in tables:
        console.print(to_rich(one))


def show_results(ctx: click.Context, records: list[Any], failures: list[Any], refused: Any = None) -> None:
    """Print the results of a command's cells; if any failed, list the failures and exit with code 1.

    `refused` maps incompatible pairs of method and backbone to the reason.
    """
    from ...results.tables.leaderboard import leaderboard

    show_tables(leaderboard(records, failures, refused), "rich")
    if failures:
        click.echo(f"{len(failures)} cells failed:", err=True)
        for failure in failures:
            click.echo(f"  {failure.cell}: {failure.reason}", err=True)
        ctx.exit(1)


def _paper_table(ctx: click.Context, out: Path, name: str, where: dict[str, str | None]) -> Any:
    from ...results.tables.paper_tables import paper_table

    given = [f"--{option}" for option, value in where.items() if value and option != "track"]
    if given:
        raise SkelbenchError(f"--paper shows the complete table; leave out {', '.join(given)}.")
    # Without runs only the paper's numbers are shown; a folder that was given but does not exist is an error.
    named = ctx.get_parameter_source("out") is not ParameterSource.DEFAULT
    records = folder_of_runs(out).records() if named or out.exists() else []
    return paper_table(name, records, where["track"] or "published")


def _narrowing(where: dict[str, str | None]) -> Callable[[Any], bool]:
    asked = {name: value for name, value in where.items() if value is not None}
    return lambda cell: all(getattr(cell, name) == value for name, value in asked.items())


def _beside(records: Sequence[Any], where: dict[str, str | None]) -> list[Any]:
    """Raw joints of the places that are asked for, where their track is not: they are rows of the tables."""
    from ...results.record import RAW_LABEL

    wanted, anywhere = _narrowing(where), _narrowing(where | {"track": None, "label": None})
    found = (record for record in records if record.cell.label == RAW_LABEL)
    return [record for record in found if anywhere(record.cell) and not wanted(record.cell)]


def _asked_for(tables: list[Any], where: dict[str, str | None]) -> list[Any]:
    """Leave out tables of a track or a label that is not asked for."""
    asked = {name: where[name] for name in ("track", "label") if where[name] is not None}
    return [table for table in tables if all(table.facts[name] == value for name, value in asked.items())]


def _some(tables: list[Any], out: Path) -> list[Any]:
    if not tables:
        raise SkelbenchError(f"No finished evaluation in {out} fits; `skelbench ls cells --out {out}` lists the cells.")
    return tables
