"""Launch a grid: the launch options of `skelbench grid` and the launchers they select."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import click

from ...errors import SkelbenchError
from .options import check_graph, names, option_set, watcher

LAUNCHERS = ("local", "ray", "slurm")

launch_options = option_set(
    click.option("--launcher", type=click.Choice(LAUNCHERS), default="local", show_default=True),
    click.option(
        "--workers",
        envvar="SKELBENCH_WORKERS",
        metavar="N|auto",
        help="Cells at once; auto: what fits. Default: on the CPU as many as cores, else 1 (or SKELBENCH_WORKERS).",
    ),
    click.option("--devices", help="local: comma list such as cuda:0,cuda:1, in place of --device."),
    click.option(
        "--retries",
        type=click.IntRange(min=0),
        default=1,
        show_default=True,
        help="Retries of a cell whose process was lost or that ran out of memory or disk.",
    ),
    click.option("--address", default="auto", show_default=True, help="ray: address of a running cluster."),
    click.option(
        "--gpus",
        type=click.FloatRange(min=0),
        help="ray, slurm: GPUs per cell, such as 0.25 (default: 1 with CUDA).",
    ),
    click.option("--cpus", type=click.IntRange(min=1), default=1, show_default=True, help="ray, slurm: CPUs per cell."),
    click.option("--carry", is_flag=True, help="ray: the nodes cannot access --out; results are copied back."),
    click.option(
        "--slurm",
        multiple=True,
        metavar="KEY=VALUE",
        help="slurm: job parameters, such as partition=gpu, time=720 (minutes), array_parallelism=32.",
    ),
)


@contextmanager
def launching(ctx: click.Context, grids: Sequence[Any], options: Mapping[str, Any]) -> Iterator[dict[str, Any] | None]:
    """Plan grids and yield the arguments of `run_grid`, or None if this process has nothing to run.

    Prints what is refused or older, and the plan of a dry run; under torchrun the other ranks train here. If a signal
    stops the run, the command exits with that signal's exit code.
    """
    from ... import distributed
    from ...datasets.catalogue import open_dataset
    from ...datasets.unprepared import open_or_list
    from ...results.store import RunStore
    from ..plan.planner import plan_grids
    from ..run.torchrun import check_together, follow, joined, own_device
    from ..train.devices import choose_device
    from ..train.options import Options
    from ..train.trackers import check_trackers

    check_trackers(options["trackers"])
    device = choose_device(own_device(options["device"]))
    with joined(device):
        opener = open_or_list if options.get("dry_run") else open_dataset
        plan = plan_grids(grids, precision=options["precision"], ranks=distributed.world_size(), opener=opener)
        runs = RunStore(options["out"])
        _print_notes(plan, runs)
        if options.get("dry_run"):
            if distributed.rank() == 0:
                print_unprepared(plan)
                say_notes(ctx, plan)
                _print_plan(plan, runs, device)
            yield None
            return
        check_together(options.get("launcher", "local"), options)
        with stopped_by_signal(ctx, options["force"]) as stop:
            how = Options(
                device=device,
                threads=options["threads"],
                checkpoint_seconds=options["checkpoint_every"],
                force=options["force"],
                watcher=watcher(ctx),
                stop=stop,
                trackers=options["trackers"],
                compiled=options["compiled"],
                recorded=check_graph(options["recorded"], device),
                deterministic=options["deterministic"],
            )
            if distributed.rank() > 0:
                follow(plan, runs, how)
                yield None
                return
            runs.check_writable()
            say_notes(ctx, plan)
            retries = options.get("retries", 0)
            how, team = _team(ctx, runs, how, options, plan)
            yield {"grid": plan, "out": runs.root, "options": how, "team": team, "retries": retries}
            distributed.send_next(None)  # the other ranks follow until then


@contextmanager
def stopped_by_signal(ctx: click.Context, force: bool = False) -> Iterator[Any]:
    """Yield an event that a signal sets; exit with the signal's exit code if the run has stopped."""
    from ..launchers.local import stop_on_signal
    from ..train.options import StoppedError

    with stop_on_signal() as stop:
        try:
            yield stop.event
            return
        except StoppedError:
            same = "the same command without --force" if force else "the same command"
            click.echo(f"Stopped; the checkpoint is written, {same} resumes from it.", err=True)
        except KeyboardInterrupt:
            click.echo("Stopped at once.", err=True)
    ctx.exit(stop.code)


def _team(ctx: click.Context, runs: Any, how: Any, options: Mapping[str, Any], plan: Any) -> tuple[Any, Any]:
    """The options on how to run, and the team that runs the cells; None for this process alone."""
    kind = options.get("launcher", "local")
    if kind == "ray":
        from ..launchers.ray import connect

        machine = {name: options[name] for name in ("address", "cpus", "gpus", "carry")}
        return how, connect(runs, how, **machine)
    if kind == "slurm":
        from ..launchers.slurm import queue_of

        return how, queue_of(runs, how, cpus=options["cpus"], gpus=options["gpus"], parameters=options["slurm"])
    from ..forecast.expected import largest_mb
    from ..launchers.processes import Processes
    from ..train.devices import choose_device

    devices = [choose_device(name) for name in names(options["devices"])] if options.get("devices") else [how.device]
    tasks = len(plan.tasks) + len(plan.transfers)
    workers = _workers(options.get("workers") or _usual(devices, tasks, how.threads))
    if workers == 1 and len(devices) == 1:
        return replace(how, device=devices[0]), None
    if workers is None:
        expected = largest_mb(plan, runs, devices[0], again=how.force)
        return how, Processes(runs, how, devices, None, expected_mb=expected, verbose=ctx.obj["verbose"])
    count = max(workers, len(devices) if options.get("devices") else 0)
    return how, Processes(runs, how, devices, count, verbose=ctx.obj["verbose"])


def _usual(devices: Sequence[str], tasks: int, threads: int) -> str:
    """How many cells run at once by default."""
    from ...datasets.readers.parallel import available_cores

    return str(max(1, min(tasks, available_cores() // threads))) if set(devices) == {"cpu"} else "1"


def _workers(text: str) -> int | None:
    """Parse --workers; None for as many as fit."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise SkelbenchError(f"'{text}' is not a number of workers; give 1 or more, or auto.")
    return int(text)


def _print_notes(plan: Any, runs: Any) -> None:
    """Print what is left out, and which cells only have records of older versions."""
    from ... import distributed
    from ..run.older import older_records

    if distributed.rank() > 0:
        return
    print_left_out(plan)
    for line in older_records(plan, runs):
        click.echo(line, err=True)


def print_left_out(plan: Any) -> None:
    """Print what a plan leaves out, a line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for (method, backbone), reason in plan.refused.items():
        by_reason.setdefault(reason, []).append(f"{method} on {backbone}")
    for what, reason in plan.left_out.items():
        by_reason.setdefault(reason, []).append(what)
    for reason, left_out in by_reason.items():
        click.echo(f"n/a: {', '.join(left_out)}: {reason}", err=True)


def print_unprepared(plan: Any) -> None:
    """Print which data sets are not prepared, so that their published lists are planned with."""
    from ...datasets.unprepared import UnpreparedStore

    stores = {store.name: store for _, store in (*plan.tasks, *plan.transfers) if isinstance(store, UnpreparedStore)}
    for name, store in stores.items():
        click.echo(f"{name} is not prepared here; its published list of {len(store.clips):,} clips is taken.", err=True)


def say_notes(ctx: click.Context, plan: Any) -> None:
    """Print what is known of a plan's cells before they run, unless the command is quiet."""
    for note in plan.notes:
        watcher(ctx).say(note)


def _print_plan(plan: Any, runs: Any, device: str) -> None:
    """Print every cell, whether it is done, what it takes, and the estimated device hours."""
    from ... import distributed
    from ..forecast.cells import forecast_cells
    from ..forecast.hours import hours_left
    from ..forecast.memory import peak_mb
    from ..forecast.report import describe

    cells: list[tuple[Any, str]] = []
    for task, _ in plan.tasks:
        cells += [(task.key, ""), *((evaluation, "  ") for evaluation in task.evaluations)]
    cells += [(one, "") for task, _ in plan.transfers for one in task.evaluations]
    cells += [(fusion.key, "") for fusion, _ in plan.fusions]
    done = {key.identity for key in {key.identity: key for key, _ in cells}.values() if runs.find(key)}
    alone = distributed.world_size() == 1  # a step of several ranks waits for the others
    counted = {one.key.identity: one for one in forecast_cells(plan, device, done)} if alone else {}
    for key, indent in cells:
        line = f"{indent}{key.cell}: {'done' if key.identity in done else 'to do'}"
        one = counted.get(key.identity)
        click.echo(f"{line}; {describe(one, peak_mb(one.living, device))}" if one else line)
    for line in hours_left(plan, [*counted.values()], done, runs, device):
        click.echo(line)
