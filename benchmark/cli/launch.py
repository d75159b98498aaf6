"""Launch a grid: the launch options of `skelbench grid` and the launchers they select."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from ...errors import SkelbenchError
from .options import check_graph, names, option_set, watcher

LAUNCHERS = ("local", "ray", "slurm")

launch_options = option_set(
    click.option("--launcher", type=click.Choice(LAUNCHERS), default="local", show_default=True),
    click.option("--workers", default="1", show_default=True, metavar="N|auto", help="Cells at once; auto: what fits."),
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


def launch(ctx: click.Context, plan: Any, runs: Any, device: str, options: Mapping[str, Any]) -> list[Any]:
    """Run the plan; if a signal stops it, exit with that signal's exit code."""
    from ..launchers.local import stop_on_signal
    from ..run.options import Options
    from ..train.trainer import StoppedError

    with stop_on_signal() as stop:
        settings = Options(
            device=device,
            checkpoint_seconds=options["checkpoint_every"],
            force=options["force"],
            watcher=watcher(ctx),
            stop=stop.event,
            trackers=options["trackers"],
            compiled=options["compiled"],
            recorded=check_graph(options["recorded"], device),
            deterministic=options.get("deterministic", False),
        )
        try:
            return _launcher(ctx, options)(plan, runs, settings)
        except StoppedError:
            same = "the same command without --force" if options["force"] else "the same command"
            click.echo(f"Stopped; the checkpoint is written, {same} resumes from it.", err=True)
        except KeyboardInterrupt:
            click.echo("Stopped at once.", err=True)
    ctx.exit(stop.code)


def _launcher(ctx: click.Context, options: Mapping[str, Any]) -> Callable[[Any, Any, Any], list[Any]]:
    from ... import distributed
    from ..run.torchrun import check_together, follow

    kind, retries = options.get("launcher", "local"), options.get("retries", 0)
    check_together(kind, options)
    if distributed.rank() > 0:
        return follow
    if kind == "ray":
        from ..launchers.ray import launch_ray

        return lambda plan, runs, settings: launch_ray(
            plan,
            runs,
            settings,
            retries,
            address=options["address"],
            cpus=options["cpus"],
            gpus=options["gpus"],
            carry=options["carry"],
        )
    if kind == "slurm":
        from ..launchers.slurm import launch_slurm

        return lambda plan, runs, settings: launch_slurm(
            plan, runs, settings, retries, cpus=options["cpus"], gpus=options["gpus"], parameters=options["slurm"]
        )
    return _local(ctx, options, retries)


def _local(ctx: click.Context, options: Mapping[str, Any], retries: int) -> Callable[[Any, Any, Any], list[Any]]:
    from ..launchers.local import launch as launch_here
    from ..launchers.processes import launch_processes
    from ..train.devices import choose_device

    workers = _workers(options.get("workers", "1"))
    devices = [choose_device(name) for name in names(options["devices"])] if options.get("devices") else None
    if workers == 1 and (devices is None or len(devices) == 1):
        return lambda plan, runs, settings: launch_here(plan, runs, _on(settings, devices), retries)
    return lambda plan, runs, settings: launch_processes(
        plan,
        runs,
        settings,
        retries,
        devices=devices or [settings.device],
        workers=None if workers is None else max(workers, len(devices or ())),
        verbose=ctx.obj["verbose"],
    )


def _on(settings: Any, devices: list[str] | None) -> Any:
    from dataclasses import replace

    return replace(settings, device=devices[0]) if devices else settings


def _workers(text: str) -> int | None:
    """Parse --workers; None for as many as fit."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise SkelbenchError(f"'{text}' is not a number of workers; give 1 or more, or auto.")
    return int(text)
