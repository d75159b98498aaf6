"""A stand-in for a GPU with values: tensors that say that they are on `cuda:0` and compute on the CPU.

torch's fake tensors of a CUDA device have no values and no backward pass without a driver. A `Card` tensor has both: it
wraps a tensor of the CPU, says that it is on `cuda:0`, refuses to be mixed with tensors of the CPU as CUDA does, and
notes where the program waits for the device (a value that Python reads, a shape that depends on values) or copies from
the host. So whole trainings and evaluations run as they would on a card, and their results must be those of the CPU.
"""

import sys
import warnings
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.autograd.graph import _engine_run_backward
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_any, tree_map_only

import skelbench

from .placed import PlacedGenerator
from .tape import needs_values, tensors

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
PRODUCT = Path(skelbench.__file__).parent
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")  # take indices of the CPU too
COPYING = ("copy_", "_copy_from")
HOST = ("numpy", "__array__", "data_ptr", "share_memory_")  # of tensors, what only those of the CPU have


class MixedError(RuntimeError):
    """An operation was given tensors of the card and of the CPU."""


class Card(Tensor):
    """A tensor on the card; `value` holds its numbers."""

    value: Tensor
    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, value: Tensor) -> "Card":
        """Wrap a tensor of the CPU."""
        made = Tensor._make_wrapper_subclass(
            cls,
            value.shape,
            strides=value.stride(),
            storage_offset=value.storage_offset(),
            dtype=value.dtype,
            device=CPU,
        )
        made.value = value
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Card({self.value})"

    # torch moves the parameters of a module one way or another by whether their type has these two
    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["value"], None

    @staticmethod
    def __tensor_unflatten__(inner: Any, meta: Any, size: Any, stride: Any) -> "Card":
        return Card(inner["value"])

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.value.__reduce_ex__(protocol)

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore[reportAssignmentType]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        strange = [t for t in tensors(args, kwargs) if not isinstance(t, Card)]
        if name in INDEXING:
            strange = [t for t in strange if t.dtype not in (torch.int64, torch.int32)]
        if strange and name not in COPYING:
            raise MixedError(f"{func} got tensors of cuda:0 and of the CPU ({tuple(strange[0].shape)})")
        out = func(*tree_map_only(Card, _value, args), **tree_map_only(Card, _value, kwargs))
        return return_and_correct_aliasing(func, args, kwargs, tree_map_only(Tensor, Card, out))


def _value(tensor: Card) -> Tensor:
    return tensor.value


def place() -> str:
    """The innermost function of the product that is being run: "benchmark/protocols/base top"."""
    frame = sys._getframe()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        own = path.is_relative_to(PRODUCT) and not path.is_relative_to(PRODUCT / "tests")
        if own and ".venv" not in path.parts:
            return f"{path.relative_to(PRODUCT).with_suffix('')} {frame.f_code.co_name}"
        frame = frame.f_back
    return "outside"


class _Made(TorchDispatchMode):
    """Puts on the card what C++ makes for a call that is about the card, and notes what waits for it."""

    def __init__(self, machine: "Machine"):
        super().__init__()
        self.machine = machine

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        on_card = tree_any(lambda x: isinstance(x, Card), (args, kwargs))
        if on_card and needs_values(func, args):
            self.machine.wait()
        if on_card and func.overloadpacket.__name__ in COPYING and not isinstance(args[1], Card):
            self.machine.copies[place()] += 1
        # torch leaves the second way out where it adds a gradient to another
        out = Card.__torch_dispatch__(func, types, args, kwargs) if on_card else func(*args, **kwargs)
        if self.machine.inside and not tensors(args, kwargs):
            return tree_map_only(Tensor, lambda x: x if isinstance(x, Card) else Card(x), out)
        return out


class Machine(TorchFunctionMode):
    """A machine with one card, as long as the context lasts.

    Attributes:
        waits: how often each place of the product waited for the card.
        copies: how often it copied a tensor from the host to the card.
        started: whether the program has used the card yet; before, CUDA knows none by its number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self.inside = False
        self.started = False
        self.warns = False

    def __enter__(self) -> "Machine":
        self.around = ExitStack()
        self.around.enter_context(_Made(self))
        self.around.enter_context(_driver(self))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.around.close()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if isinstance(func, OpOverload):  # called by a mode that counts operations, within a call that was seen here
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        own = bool(args) and isinstance(args[0], Card)
        if own and name in HOST:
            raise TypeError(f"can't convert cuda:0 device type tensor to numpy ({name}); use Tensor.cpu() first")
        target, args = _target(func, args, kwargs)
        self.started |= target == "cuda"
        before = self.inside
        self.inside = tree_any(lambda x: isinstance(x, Card), (args, kwargs)) if target is None else target == "cuda"
        try:
            if own and name == "tolist":
                self.wait()
                return args[0].value.tolist()
            if own and target == "cpu":
                self.wait()
                return func(args[0].value.detach(), *args[1:], **kwargs)
            if target == "cuda" and name in ("to", "cuda") and not own:
                self.copies[place()] += 1
                return Card(func(args[0].detach(), *args[1:], **kwargs).clone())
            if target == "cuda" and name in ("tensor", "as_tensor"):
                self.copies[place()] += 1
            if name == "backward":
                return self._backward(args[0])
            out = func(*args, **kwargs)
            return out if target != "cuda" or not isinstance(out, Tensor) or isinstance(out, Card) else Card(out)
        finally:
            self.inside = before

    def wait(self) -> None:
        """Note a wait, and warn of it as CUDA does where that was asked for."""
        self.waits[place()] += 1
        if self.warns:
            warnings.warn("called a synchronizing CUDA operation", stacklevel=2)

    def tell_waits(self, mode: str) -> None:
        """Answer `torch.cuda.set_sync_debug_mode`."""
        self.warns = mode == "warn"

    def start(self) -> None:
        """Begin to use the card."""
        self.started = True

    def forget_memory(self, device: str) -> None:
        """Answer `torch.cuda.reset_peak_memory_stats`, which begins to use the card only where it has no number."""
        if not self.started and torch.device(device).index is not None:
            raise RuntimeError("Invalid device argument")
        self.start()

    def _backward(self, loss: Tensor) -> None:
        """Run torch's engine inside the context: a backward pass runs Python of the product too."""
        start = torch.ones_like(loss)
        super().__enter__()
        try:
            _engine_run_backward((loss,), (start,), False, False, (), allow_unreachable=True, accumulate_grad=True)
        finally:
            super().__exit__(None, None, None)


def _target(func: Any, args: Any, kwargs: dict[str, Any]) -> tuple[str | None, Any]:
    """The type of the device that a call names, and its arguments with the CPU in its place."""
    name = getattr(func, "__name__", "")
    named = kwargs.get("device")
    if name in ("cpu", "cuda") and isinstance(args[0], Tensor):
        return name, args[:1]
    if name == "to" and len(args) > 1 and isinstance(args[1], (str, int, torch.device, Card)):
        like = args[1]
        kind = (like.dtype,) if isinstance(like, Card) else ()
        named, args = like.device if isinstance(like, Card) else like, (args[0], CPU, *kind, *args[2:])
    if named is None:
        return None, args
    if "device" in kwargs:
        kwargs["device"] = CPU
    return torch.device(named).type, args


def _driver(machine: Machine) -> ExitStack:
    """Answer what the product asks of the driver: the card's global generator is the CPU's."""
    answers = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "get_rng_state": lambda device=None: torch.get_rng_state(),
        "set_rng_state": lambda state, device=None: torch.set_rng_state(state),
        "init": machine.start,
        "set_sync_debug_mode": machine.tell_waits,
        "synchronize": lambda device=None: None,
        "reset_peak_memory_stats": machine.forget_memory,
        "max_memory_allocated": lambda device=None: 0,
        "mem_get_info": lambda device=None: (10**10, 10**10),
        "get_device_name": lambda device=None: "a card without a driver",
    }
    stack = ExitStack()
    stack.enter_context(mock.patch.multiple(torch.cuda, **answers))
    stack.enter_context(mock.patch.object(torch.backends.cudnn, "is_acceptable", lambda tensor: False))
    stack.enter_context(mock.patch.object(torch, "load", _load))
    for module in [m for name, m in sys.modules.items() if name.startswith("skelbench.")]:
        if getattr(module, "Generator", None) is torch.Generator:
            stack.enter_context(mock.patch.object(module, "Generator", PlacedGenerator))
    return stack


def _load(*args: Any, map_location: Any = None, load: Any = torch.load, **how: Any) -> Any:
    """`torch.load`, which puts all tensors of a file onto the card if asked to."""
    content = load(*args, map_location="cpu", **how)
    if map_location is None or torch.device(map_location).type != "cuda":
        return content
    return tree_map_only(Tensor, Card, content)
