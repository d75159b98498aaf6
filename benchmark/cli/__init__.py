"""The command line. Commands import heavy modules only when they run; `--help` and `table` never load torch."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import click

from ... import __version__
from ...errors import SkelbenchError
from . import (
    baselines,
    bench,
    doctor,
    forecast,
    ls,
    plot,
    prepare,
    results,
    run,
    site,
    status,
    tables,
    text_bank,
    weights,
)


class Commands(click.Group):
    """Prints a user error as one sentence and exits with code 2; suggests a name for an unknown command."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except SkelbenchError as error:
            click.echo(f"Error: {error}", err=True)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of the output has gone; click exits quietly
                raise
            place = f"{error.filename}: " if error.filename else ""
            click.echo(f"Error: {place}{error.strerror or error}; fix that and run the command again.", err=True)
        ctx.exit(2)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command and exit with its code."""
        try:
            return super().main(*args, **extra)
        except BaseException as end:
            if "TORCHELASTIC_RUN_ID" in os.environ:
                from ..run.torchrun import leave

                leave(end)
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command."""
        from ...registry import did_you_mean

        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise SkelbenchError(f"There is no command '{args[0]}'{did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="skelbench")
@click.option("-v", "--verbose", is_flag=True, help="Also print a line for every epoch.")
@click.option("-q", "--quiet", is_flag=True, help="Print results only.")
@click.option(
    "--plugin",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Python file that registers methods, backbones, readers or protocols.",
)
@click.pass_context
def main(ctx: click.Context, verbose: bool, quiet: bool, plugin: tuple[Path, ...]) -> None:
    """Contrastive methods for skeleton action recognition, compared in one honest table."""
    ctx.obj = {"verbose": verbose, "quiet": quiet, "plugins": plugin}


for command in (
    ls.list_,
    run.run,
    run.grid,
    forecast.forecast,
    doctor.doctor,
    prepare.prepare,
    prepare.inspect,
    prepare.delete,
    baselines.baselines,
    bench.bench,
    weights.import_weights,
    weights.export_weights,
    weights.features,
    weights.evaluate,
    results.check,
    results.results,
    plot.plot,
    tables.table,
    text_bank.text_bank,
    tables.leaderboard_,
    site.site,
    status.status,
):
    main.add_command(command)
