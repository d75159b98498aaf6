"""A stand-in for a CUDA graph on the CPU: the operations of a function, replayed on the tensors they were recorded on.

A CUDA graph launches the kernels that it recorded on the memory that it recorded, and nothing else: no Python runs, no
value is looked at. A `Tape` does the same with the operations that reach torch's dispatcher, those of the backward pass
included. Whatever a step keeps in Python between two steps (a counter, a list, a buffer bound to another tensor) is
therefore not replayed, and shows as a difference from steps that were not recorded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

WRITING = ("index_put", "index_put_", "_index_put_impl_", "_unsafe_index_put")
UNSTATED = ("running_mean", "running_var")  # arguments of a batch norm that it writes to, which its schema leaves out


class HostError(AssertionError):
    """A step asked for a value, or for a shape that depends on values, which a graph cannot record."""


def needs_values(func: Any, args: Any) -> bool:
    """Whether an operation gives Python a value of a tensor, or a result whose shape depends on values."""
    name = func.overloadpacket.__name__
    if torch.Tag.data_dependent_output in func.tags or name == "_local_scalar_dense":
        return True
    if name in WRITING:
        # of all that is written through a mask, only a number of Python's has no places to be found first
        return _masked(args[1]) and (args[2].numel() != 1 or args[2].device.type == "cuda")
    if torch.Tag.dynamic_output_shape not in func.tags:
        return False
    return name not in ("index", "_unsafe_index") or _masked(args[1])


def _masked(indices: Any) -> bool:
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in indices)


def tensors(*values: Any) -> list[Tensor]:
    """All tensors in nested values."""
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def seen(tensor: Tensor) -> Tensor:
    """The same memory in the present shape, which the step may change in place."""
    return tensor.detach()


@dataclass(frozen=True)
class Operation:
    """An operation, what it was given and what it returned."""

    func: Any
    args: Any
    kwargs: Any
    results: list[Tensor]

    def run(self) -> None:
        """Run it again, into the memory of its first results."""
        for old, new in zip(self.results, tensors(self.func(*self.args, **self.kwargs)), strict=True):
            if not (old.data_ptr() == new.data_ptr() and old.storage_offset() == new.storage_offset()):
                old.copy_(new)


class Tape(TorchDispatchMode):
    """Notes every operation inside the context, and the values that memory from outside of it had before."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.own: dict[int, Any] = {}  # storages that were made inside, kept so that no address is used twice
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if needs_values(func, args):
            raise HostError(f"{func} needs a value on the host, and a graph has none while it is recorded")
        for given, argument in zip(func._schema.arguments, args, strict=False):
            stated = given.alias_info is not None and given.alias_info.is_write
            if stated or given.name in UNSTATED:
                self._keep(tensors(argument))
        self._keep(tensors(kwargs.get("out")))
        out = func(*args, **kwargs)
        known = {tensor.untyped_storage()._cdata for tensor in tensors(args, kwargs)}
        results = tensors(out)
        for tensor in results:
            storage = tensor.untyped_storage()
            if storage._cdata not in known:
                self.own[storage._cdata] = storage
        if any(tensor.untyped_storage()._cdata not in known for tensor in results) or func._schema.is_mutable:
            self.operations.append(Operation(func, *tree_map_only(Tensor, seen, (args, kwargs, results))))
        return out

    def _keep(self, written: list[Tensor]) -> None:
        for tensor in written:
            storage = tensor.untyped_storage()
            if storage._cdata not in self.own and storage._cdata not in self.before:
                whole = torch.empty(0, dtype=tensor.dtype).set_(storage)  # pyright: ignore[reportArgumentType]
                self.before[storage._cdata] = whole, whole.clone()

    def undo(self) -> None:
        """Give all memory from outside its values of before the recording, which computes nothing on a card."""
        for whole, values in self.before.values():
            whole.copy_(values)


def tape(work: Callable[[], None], generator: Generator) -> Callable[[], None]:
    """Record work as `cuda_graph` does; return a function that replays it."""
    states = generator.get_state(), torch.get_rng_state()
    recording = Tape()
    with recording:
        work()
    recording.undo()
    generator.set_state(states[0])
    torch.set_rng_state(states[1])

    def replay() -> None:
        with torch.no_grad():
            for operation in recording.operations:
                operation.run()

    return replay
