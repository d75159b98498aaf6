"""Read untrusted pickles without running any of their code.

A pickle is a program: it may import and call whatever it names. Here it gets stand-ins for the few things that
arrays and containers need, and a file that names anything else is refused.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import IO, Any, ClassVar

from ....errors import SkelbenchError
from .checked_types import ALLOWED, Array, Dtype, Known

_IN_PYTHON: Any = pickle._Unpickler  # the one in C allocates gigabytes for a damaged number of a memo
_OPEN = object()  # marks a value that is being converted


class ForbiddenImportError(SkelbenchError):
    """A pickle asks to import something that a file of skeletons does not need; none of its code was run."""


class _RefusedError(Exception):
    """A pickle names something that is not on the list."""


class _Bounded:
    """A file that refuses to read more than it holds, before memory is allocated for it."""

    def __init__(self, file: IO[bytes], size: int):
        self._file = file
        self._size = size
        self.readline = file.readline

    def read(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > self._size:
            raise EOFError("it says to hold more than it does")
        return self._file.read(count)


class _Unpickler(_IN_PYTHON):
    dispatch: ClassVar[dict[int, Any]] = dict(_IN_PYTHON.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name on the list. Never imports anything."""
        if (module, name) not in ALLOWED:
            raise _RefusedError(f"{module}.{name}")
        return Known(ALLOWED[module, name])

    def get_extension(self, code: int) -> Any:
        """Codes of the copyreg registry are names as well."""
        raise _RefusedError(f"extension code {code}")

    def load_bytearray8(self) -> None:
        """Read before creating the array: Python would first fill one of the declared size."""
        size = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(size)))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def load_pickle(path: Path) -> Any:
    """Content of an untrusted pickle: containers, text, numbers and arrays; arrays of objects as (nested) lists.

    Pickles of any protocol are read, those of Python 2 with byte strings as latin-1 text. It needs as much memory as
    the file is large.

    Raises:
        ForbiddenImportError: if it asks to import anything that is not on the list.
        SkelbenchError: if it is damaged.
    """
    with path.open("rb") as file:
        return load_stream(file, os.fstat(file.fileno()).st_size, str(path))


def load_stream(stream: IO[bytes], size: int, place: str) -> Any:
    """Content of an untrusted pickle that is open: `load_pickle` of a part of a file.

    Args:
        stream: open at the pickle.
        size: bytes that are left in it, or more.
        place: where it is, for messages.
    """
    try:
        return _plain(_Unpickler(_Bounded(stream, size), encoding="latin1").load(), {})
    except _RefusedError as error:
        raise ForbiddenImportError(
            f"{place} asks to import '{_shown(error)}', which no file of skeletons needs, so nothing of it was run; "
            "get the file from its origin again, or save it as the interchange .npz."
        ) from error
    except Exception as error:  # a damaged pickle raises anything: it is a program
        raise SkelbenchError(
            f"{place} cannot be read as a pickle ({type(error).__name__}: {_shown(error)}); it is damaged or "
            "incomplete: get it again."
        ) from error


def _shown(error: Exception) -> str:
    """The text of an error in ASCII, which any terminal can show."""
    return str(error)[:120].encode("ascii", "backslashreplace").decode()


def _plain(value: Any, seen: dict[int, tuple[Any, Any]]) -> Any:
    """The value with arrays for their stand-ins; each object is converted once, however often it is referred to."""
    kind = type(value)
    if kind in (Known, Dtype):
        raise pickle.UnpicklingError("it holds a function instead of data")
    if kind not in (Array, dict, list, tuple):
        return value
    if id(value) in seen:
        known = seen[id(value)][1]
        if known is _OPEN:
            raise pickle.UnpicklingError("it contains itself")
        return known
    seen[id(value)] = value, _OPEN
    if kind is Array:
        result = _array(value, seen)
    elif isinstance(value, dict):
        result = {_plain(key, seen): _plain(content, seen) for key, content in value.items()}
    else:
        members = [_plain(content, seen) for content in value]
        result = members if kind is list else tuple(members)
    seen[id(value)] = value, result
    return result


def _array(value: Array, seen: dict[int, tuple[Any, Any]]) -> Any:
    if value.raw is None:
        raise pickle.UnpicklingError("it has an array without content")
    if not value.dtype.is_object:
        return value.value()
    objects: Any = [_plain(content, seen) for content in value.raw]
    for size in reversed(value.shape[1:]):
        objects = [objects[at : at + size] for at in range(0, len(objects), size)] if size else []
    return objects if value.shape else objects[0]
