"""The `doctor` command: check the environment, and on request what a device computes."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ...errors import SkelbenchError
from .options import DEVICE, OUT, load_plugins, names


@click.command()
@OUT
@click.option("--thorough", is_flag=True, help="Examine what a device computes, ten minutes at most; keep a report.")
@DEVICE
@click.option("--only", metavar="SECTION,...", help="losses, waits, together, memory, speed, epoch (default: all).")
@click.option("--method", "methods", multiple=True, metavar="NAME", help="Only this method; may be repeated.")
@click.option(
    "--size",
    type=click.Choice(["full", "tiny"]),
    default="full",
    show_default=True,
    help="tiny: everything small, to try the command; speeds then mean nothing.",
)
@click.pass_context
def doctor(
    ctx: click.Context, out: Path, thorough: bool, device: str, only: str | None, methods: tuple[str, ...], size: str
) -> None:
    """Check the environment: versions, device, data folder, runs folder, free disk.

    With --thorough: whether a device gives right numbers, how fast and in how much memory (docs/performance.md, "The
    first hour on a card"). OUT/doctor keeps the report as JSON and as a page. The exit code is 2 if anything failed.
    """
    if thorough:
        _thorough(ctx, out, device, names(only) if only else (), methods, size)
        return
    for option in ("device", "only", "methods", "size"):
        if ctx.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{option.removesuffix('s')} is an option of --thorough; add it.")
    from ..doctor.machine import examine

    problems = 0
    for name, good, text in examine(out):
        problems += not good
        click.echo(f"{'ok  ' if good else 'BAD '} {name}: {text}")
    if problems:
        raise SkelbenchError(f"{problems} of the checks above failed; fix them before a long run.")


def _thorough(
    ctx: click.Context, out: Path, device: str, only: tuple[str, ...], methods: tuple[str, ...], size: str
) -> None:
    load_plugins(ctx)
    from ...results.store import RunStore
    from ..doctor import programme, report, rows
    from ..train.devices import choose_device

    sections = programme.chosen_sections(only)
    plugins = tuple(str(path) for path in ctx.obj["plugins"])
    chosen = programme.chosen_methods(methods)
    request = rows.Request(choose_device(device), size, chosen, every=not methods, plugins=plugins)
    RunStore(out).check_writable()
    began, found = time.monotonic(), []
    try:
        for row in programme.examine(request, sections):
            found.append(row)
            place = ", ".join(filter(None, (row.section, row.method, row.way)))
            click.echo(f"{row.verdict:<14} {place}: {row.sentence}")
    finally:  # what was found before a Ctrl-C is kept
        made = report.as_json(request, sections, found, time.monotonic() - began)
        json_file, page = report.save(made, out)
    failures = [row for row in found if row.verdict == rows.FAILED]
    click.echo(", ".join(f"{count} {verdict}" for verdict, count in made["counts"].items() if count))
    for row in failures:
        click.echo(f"\n{row.sentence}\n  {row.command}")
    click.echo(f"\n{json_file}\n{page}")
    if failures:
        raise SkelbenchError(f"{len(failures)} of {len(found)} checks failed; each command above shows one alone.")
