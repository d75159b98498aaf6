"""Note the collectives that a process calls, and judge those of two ranks by the rules of NCCL.

They are noted at torch's dispatcher, below every function that calls one: object broadcasts and backward passes too.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch import distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode

from skelbench import distributed

NAMESPACES = ("c10d", "_c10d_functional")
NCCL_TYPES = {"uint8", "int8", "int32", "int64", "float16", "bfloat16", "float32", "float64"}
HOST = {"any_rank", "from_all_ranks", "send_next", "receive_next"}  # functions of distributed.py; the others: devices


class Part(NamedTuple):
    """A tensor that a collective reads or writes."""

    dtype: str
    shape: tuple[int, ...]
    contiguous: bool
    device: str


class Collective(NamedTuple):
    """One call: the operation, what it reduces by, the group, the tensors, and the function of the product."""

    name: str
    reduce: str
    group: str
    parts: tuple[Part, ...]
    by: str

    @property
    def host(self) -> bool:
        return self.by in HOST


class Collectives(TorchDispatchMode):
    """A context in which collectives are noted, in a list and, as they happen, in a file."""

    def __init__(self, file: Path | None = None):
        super().__init__()
        self.noted: list[Collective] = []
        self.file = file

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace in NAMESPACES:
            given = [*flat(args), *flat((kwargs or {}).values())]
            one = Collective(
                func.overloadpacket.__name__,
                next((str(dist.ReduceOp.unbox(x).op) for x in given if class_of(x) == "ReduceOp"), ""),  # pyright: ignore[reportAttributeAccessIssue]
                next((dist.ProcessGroup.unbox(x).group_name for x in given if class_of(x) == "ProcessGroup"), ""),
                tuple(part_of(x) for x in given if isinstance(x, Tensor)),
                caller(),
            )
            self.noted.append(one)
            if self.file is not None:
                with self.file.open("a") as file:
                    print(json.dumps(one), file=file)
        return func(*args, **(kwargs or {}))


def flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from flat(value)
        else:
            yield value


def class_of(x: Any) -> str:
    return x._type().qualified_name().rpartition(".")[2] if isinstance(x, torch.ScriptObject) else ""


def part_of(x: Tensor) -> Part:
    return Part(str(x.dtype).removeprefix("torch."), tuple(x.shape), x.is_contiguous(), str(x.device))


def caller() -> str:
    """The function of distributed.py that the product called."""
    frame, found = sys._getframe(2), ""
    while frame is not None:
        if frame.f_code.co_filename == distributed.__file__:
            found = frame.f_code.co_name
        elif found:
            return found
        frame = frame.f_back
    return found


def read(file: Path) -> list[Collective]:
    """What a process noted in a file."""
    rows = map(json.loads, file.read_text().splitlines())
    return [
        Collective(name, reduce, group, tuple(Part(d, tuple(s), c, at) for d, s, c, at in parts), by)
        for name, reduce, group, parts, by in rows
    ]


# --- The rules --------------------------------------------------------------------------------------------------


def broken_rules(first: Sequence[Collective], second: Sequence[Collective], ranks: int) -> list[str]:
    """What NCCL would not forgive in the calls of two ranks, a sentence each.

    It matches calls by their order alone: with another order, type or size it hangs or adds up what does not belong
    together. Tensors must be contiguous, and lie on one device.
    """
    problems = []
    for number, (mine, theirs) in enumerate(zip_longest(first, second)):
        if mine is None or theirs is None:
            problems.append(f"call {number}: only one of two ranks makes it: {mine or theirs}")
        elif as_called(mine) != as_called(theirs):
            problems.append(f"call {number}: the ranks differ: {as_called(mine)}, {as_called(theirs)}")
    for rank, calls in (("first", first), ("second", second)):
        for number, one in enumerate(calls):
            problems += [f"call {number} of the {rank} rank, {one.name}: {why}" for why in wrong_with(one, ranks)]
    return problems


def as_called(one: Collective) -> tuple[Any, ...]:
    """What must be the same on every rank: all but the device's number and who called."""
    return one.name, one.reduce, one.group, tuple((x.dtype, x.shape, x.device.split(":")[0]) for x in one.parts)


def wrong_with(one: Collective, ranks: int) -> Iterator[str]:
    if not one.parts:
        yield "no tensors"
    if not all(x.contiguous for x in one.parts):
        yield "a tensor is not contiguous"
    if len({x.device for x in one.parts}) > 1:
        yield "tensors of several devices"
    if one.host and {x.device for x in one.parts} != {"cpu"}:
        yield f"{one.by} is for the host, and its tensors are on a device"
    if len({(x.dtype, x.shape) for x in one.parts}) > 1:
        yield "tensors of several types or shapes"
    if one.name == "allgather_" and len(one.parts) != ranks + 1:
        yield f"{len(one.parts) - 1} places for {ranks} ranks"
    if not one.host and not {x.dtype for x in one.parts} <= NCCL_TYPES:
        yield "a type that NCCL does not know"
    if not one.by:
        yield "it is not called through distributed.py"


# --- What a process started by a test does ----------------------------------------------------------------------


def run_noted(file: str, *words: str) -> None:
    """Run a command of the command line and note its collectives in a file."""
    from skelbench.benchmark.cli import main

    with Collectives(Path(file)):
        main.main(args=list(words), prog_name="skelbench")


def run_out_of_disk(file: str, *words: str) -> None:
    """The same on a full disk."""
    from skelbench.benchmark.train import trainer

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "checkpoint.pt")

    trainer.save_checkpoint = full
    run_noted(file, *words)


def run_out_of_memory(file: str, *words: str) -> None:
    """The same with memory for two steps."""
    from skelbench.benchmark.train import trainer

    plain, taken = trainer.Trainer.take_step, []

    def short(self: Any) -> None:
        taken.append(1)
        if len(taken) > 2:
            raise torch.OutOfMemoryError("out of memory")
        plain(self)

    trainer.Trainer.take_step = short
    run_noted(file, *words)
