"""What several commands share: options, comma lists, plugins and the watcher."""

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
    help="Of the pre-training (bf16: of the backbones in it); evaluation is fp32.",
)
COMPILE = click.option("--compile", "compiled", is_flag=True, help="Compile the loss of the pre-training.")
GRAPH = click.option(
    "--graph", "recorded", is_flag=True, help="Record the steps of the pre-training as a CUDA graph and replay it."
)

DETERMINISTIC = click.option(
    "--deterministic", is_flag=True, help="Use only algorithms that give the same bits each time; CUDA is slower so."
)


def option_set(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator; `--help` shows them in this order."""

    def give(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return give


def check_graph(wanted: bool, device: str) -> bool:
    """Whether to record steps. Raises ``SkelbenchError`` if a device cannot."""
    if wanted and not device.startswith("cuda"):
        raise SkelbenchError(f"--graph needs a CUDA device, not '{device}'; leave it out.")
    return wanted


def folder_of_runs(out: Path) -> RunStore:
    """The folder of runs that a command reads. Raises ``SkelbenchError`` if it is not there."""
    from ...results.store import RunStore

    if not out.exists():
        raise SkelbenchError(f"There is no folder of runs {out}; name the one that --out wrote.")
    return RunStore(out)


@contextmanager
def uncollected() -> Iterator[None]:
    """Let nothing be searched for garbage meanwhile: among ten thousand records that takes a third of the time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def load_plugins(ctx: click.Context) -> None:
    """Load the files that --plugin names."""
    from ...registry import load_plugin

    for path in ctx.obj["plugins"]:
        load_plugin(path)


def watcher(ctx: click.Context) -> Any:
    """What tells of a run's progress, as loudly as asked for."""
    from ..train.progress import Silent, Talkative

    if ctx.obj["quiet"]:
        return Silent()
    return Talkative(Console(stderr=True), verbose=ctx.obj["verbose"])


def names(text: str) -> tuple[str, ...]:
    """Read a comma list of names, each once."""
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not found:
        raise SkelbenchError(f"'{text}' names nothing; write a comma list.")
    return found


def numbers(text: str) -> tuple[int, ...]:
    """Read a comma list of seeds, each once."""
    found = names(text)
    if not all(name.isdecimal() for name in found):
        raise SkelbenchError(f"'{text}' is no comma list of seeds; write whole numbers, such as 0,1,2.")
    return tuple(dict.fromkeys(int(name) for name in found))
