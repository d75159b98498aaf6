"""Shared by several commands: options, comma lists, plugins and the watcher."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from ...errors import SkelbenchError

if TYPE_CHECKING:
    from ...results.store import RunStore

OUT = click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Folder of runs."
)
DEVICE = click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps.")

PRECISION = click.option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "bf16"]),
    default="fp32",
    show_default=True,
    help="Precision of pre-training (bf16: of its backbones only); evaluation is fp32.",
)
COMPILE = click.option("--compile", "compiled", is_flag=True, help="Compile the loss of the pre-training.")
GRAPH = click.option(
    "--graph", "recorded", is_flag=True, help="Record the steps of the pre-training as a CUDA graph and replay it."
)

THREADS = click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Threads of a cell on the CPU; with another number sums are rounded otherwise.",
)
DETERMINISTIC = click.option(
    "--deterministic", is_flag=True, help="Use only algorithms that give the same bits each time; slower on CUDA."
)


def option_set(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Combine several options into one decorator; `--help` shows them in this order."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def check_graph(wanted: bool, device: str) -> bool:
    """Whether to record steps. Raises ``SkelbenchError`` if the device does not support it."""
    if wanted and not device.startswith("cuda"):
        raise SkelbenchError(f"--graph needs a CUDA device, not '{device}'; leave it out.")
    return wanted


def folder_of_runs(out: Path) -> RunStore:
    """Open the folder of runs that a command reads. Raises ``SkelbenchError`` if it does not exist."""
    from ...results.store import open_runs

    return open_runs(out)


@contextmanager
def uncollected() -> Iterator[None]:
    """Disable garbage collection: with ten thousand records it takes a third of the time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def load_plugins(ctx: click.Context) -> None:
    """Load the files given with --plugin."""
    from ...registry import load_plugin

    for path in ctx.obj["plugins"]:
        load_plugin(path)


def watcher(ctx: click.Context) -> Any:
    """Make the watcher that shows a run's progress, according to --quiet and --verbose."""
    from ..train.progress import Silent, Talkative

    if ctx.obj["quiet"]:
        return Silent()
    return Talkative(Console(stderr=True), verbose=ctx.obj["verbose"])


def names(text: str) -> tuple[str, ...]:
    """Read a comma list of names, each once."""
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not found:
        raise SkelbenchError(f"'{text}' names nothing; give a comma list.")
    return found


def numbers(text: str) -> tuple[int, ...]:
    """Read a comma list of seeds, each once."""
    found = names(text)
    if not all(name.isdecimal() for name in found):
        raise SkelbenchError(f"'{text}' is not a comma list of seeds; give non-negative integers, such as 0,1,2.")
    return tuple(dict.fromkeys(int(name) for name in found))
