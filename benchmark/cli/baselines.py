"""The `baselines` command: evaluate data without any encoder."""

from __future__ import annotations

from pathlib import Path

import click

from .options import OUT, load_plugins, names, watcher
from .tables import show_results


@click.command()
@click.option("--datasets", required=True, help="Comma list.")
@click.option("--splits", help="Comma list (default: all splits of a data set).")
@click.option("--frames", type=click.IntRange(min=1), default=32, show_default=True, help="Frames per resampled clip.")
@click.option("--force", is_flag=True, help="Run finished cells again.")
@OUT
@click.pass_context
def baselines(ctx: click.Context, datasets: str, splits: str | None, frames: int, force: bool, out: Path) -> None:
    """Classify raw joints by nearest neighbour and by ridge regression: baselines without a learnt representation.

    The records are cells of method "raw": a table of their own, and a row in the leaderboards of the same data and
    frames. Runs on the CPU and is deterministic.
    """
    load_plugins(ctx)
    from ...datasets.catalogue import open_dataset
    from ...results.store import RunStore
    from ..run.baselines import plan_baselines, run_baselines
    from ..train.options import Options

    chosen = names(splits) if splits else ()
    places = plan_baselines([open_dataset(name) for name in names(datasets)], chosen, frames)
    runs = RunStore(out)
    runs.check_writable()
    failures = run_baselines(places, runs, Options(force=force, watcher=watcher(ctx)))
    found = (runs.find(key) for place in places for key in place.cells())
    show_results(ctx, [record for record in found if record], failures)
