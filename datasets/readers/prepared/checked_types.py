"""Stand-ins for the callables that the pickle of an array or a container names.

NumPy's own constructors trust a pickle's arguments (sizes, flags, object pointers), so they are not called with
them: type, shape and number of bytes are checked here, and the array is built from those.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

_NUMBERS = re.compile(r"[<>|=]?([?bhilqBHILQefdg]|[biufcSaU]\d{1,6})")
_MOST_AXES = 32


class Known:
    """A callable that a pickle may use; it has no state that could be set."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., Any]):
        object.__setattr__(self, "call", call)

    def __call__(self, *args: Any) -> Any:
        """Call it with the arguments of the pickle."""
        return self.call(*args)

    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError("it changes a function")

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it changes a function")


class Dtype:
    """Stands for `numpy.dtype`: a number or text type; `is_object` for arrays of objects."""

    __slots__ = ("dtype", "is_object")

    def __init__(self, code: object, *_: object):
        text = code.decode("ascii") if isinstance(code, bytes) else code
        if not isinstance(text, str):
            raise pickle.UnpicklingError("it has an array of an unknown type")
        self.is_object = text in ("O", "O4", "O8", "|O")
        if not self.is_object and _NUMBERS.fullmatch(text) is None:
            raise pickle.UnpicklingError(f"it has an array of the type {text[:60]!r}")
        self.dtype = np.dtype("O") if self.is_object else np.dtype(text.replace("a", "S"))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order, parts = state[1], state[2:5]
        if isinstance(order, bytes):
            order = order.decode("ascii")
        if order not in ("<", ">", "|", "=") or any(part is not None for part in parts):
            raise pickle.UnpicklingError("it has an array of a compound type")
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class Array:
    """Stands for `numpy.ndarray` until its state is set."""

    __slots__ = ("axes", "dtype", "fortran", "raw", "shape")

    def __init__(self) -> None:
        self.raw: Any = None
        self.axes: tuple[int, ...] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.filled(*state[-4:])

    def filled(self, shape: Any, dtype: Any, fortran: Any, raw: Any) -> Array:
        """Set NumPy's state of an array; return itself. Raises `UnpicklingError` if size and content do not fit."""
        if not isinstance(dtype, Dtype) or not isinstance(shape, tuple):
            raise pickle.UnpicklingError("it has an array without a type or a shape")
        if len(shape) > _MOST_AXES or not all(type(size) is int and size >= 0 for size in shape):
            raise pickle.UnpicklingError("it has an array of an impossible shape")
        if dtype.is_object:
            fits = isinstance(raw, list) and len(raw) == prod(shape)
        else:
            raw = raw.encode("latin1") if isinstance(raw, str) else raw
            fits = isinstance(raw, bytes | bytearray) and len(raw) == prod(shape) * dtype.dtype.itemsize
        if not fits or (not dtype.is_object and dtype.dtype.itemsize == 0):
            raise pickle.UnpicklingError("it has an array whose size does not fit its content")
        self.shape, self.dtype, self.fortran, self.raw = shape, dtype, bool(fortran), raw
        return self

    def value(self) -> np.ndarray:
        """The array, without a copy. Raises `ValueError` if it holds invalid text."""
        flat = np.frombuffer(self.raw, self.dtype.dtype)
        if flat.dtype.kind == "U":
            flat.tolist()
        array = flat.reshape(self.shape, order="F" if self.fortran else "C")
        return array if self.axes is None else array.transpose(self.axes)


def _reconstruct(*_: object) -> Array:
    return Array()


def _from_buffer(raw: object, dtype: object, shape: object, order: object, axes: object = None) -> Array:
    """Called by protocol 5; `axes` is the transposition of an array whose memory is in another order."""
    array = Array().filled(shape, dtype, order == "F", raw)
    if order == "K" and axes is not None:
        if not isinstance(axes, tuple | list) or sorted(axes) != list(range(len(array.shape))):
            raise pickle.UnpicklingError("it turns an array by axes that are not there")
        array.axes = tuple(axes)
    return array


def _scalar(dtype: object, raw: object = None) -> Any:
    array = Array().filled((), dtype, False, [raw] if isinstance(dtype, Dtype) and dtype.is_object else raw)
    return array.raw[0] if array.dtype.is_object else array.value()[()].item()


def _encode(text: object, codec: object = "latin1", *_: object) -> bytes:
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("it encodes something else than bytes")
    return text.encode("latin1")


def _ndarray(*_: object) -> Any:
    raise pickle.UnpicklingError("it makes an array without content")


def _of(kind: Callable[..., Any], *allowed: type) -> Callable[..., Any]:
    """A builtin that may only be called with one container that has already been read, or without arguments."""

    def make(*args: Any) -> Any:
        if len(args) > 1 or not all(type(arg) in allowed for arg in args):
            raise pickle.UnpicklingError(f"it makes a {getattr(kind, '__name__', 'container')} of something strange")
        return kind(*args)

    return make


def _bytes(text: str | bytes | bytearray = b"", codec: object = "latin1") -> bytearray:
    return bytearray(text if isinstance(text, bytes | bytearray) else _encode(text, codec))


_NUMPY_CORES = ("numpy.core", "numpy._core")
_BUILTINS = ("builtins", "__builtin__")
# Plain dicts replace ordered ones: they keep the order, and no attribute can be set on them.
ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): Dtype,
    ("numpy", "ndarray"): _ndarray,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): _of(dict, list, dict),
    **{(f"{core}.multiarray", "_reconstruct"): _reconstruct for core in _NUMPY_CORES},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in _NUMPY_CORES},
    **{(f"{core}.numeric", "_frombuffer"): _from_buffer for core in _NUMPY_CORES},
    **{(module, "set"): _of(set, list, tuple, set, frozenset) for module in _BUILTINS},
    **{(module, "frozenset"): _of(frozenset, list, tuple, set, frozenset) for module in _BUILTINS},
    **{(module, "bytes"): _of(bytes) for module in _BUILTINS},  # how old protocols write b""
    **{(module, "bytearray"): _bytes for module in _BUILTINS},
    **{(module, "complex"): complex for module in _BUILTINS},
    **{(module, "slice"): slice for module in _BUILTINS},
    **{(module, "range"): range for module in _BUILTINS},
    ("__builtin__", "xrange"): range,
}
