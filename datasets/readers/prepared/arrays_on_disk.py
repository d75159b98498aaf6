"""Arrays on disk, inspected and read clip by clip, never loaded completely and never unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from ....errors import SkelbenchError


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Convert any error of a damaged array file to a `SkelbenchError`."""
    try:
        yield
    except (SkelbenchError, GeneratorExit):
        raise
    except Exception as error:  # headers are parsed as Python, members raise what their decompressor does
        raise SkelbenchError(
            f"{path} cannot be read ({str(error)[:160] or type(error).__name__}); it is damaged or incomplete: get it "
            "again."
        ) from error


def map_array(path: Path) -> np.ndarray:
    """Map a `.npy` without reading its numbers. Raises `SkelbenchError` if it is damaged or holds objects."""
    with reading(path):
        with path.open("rb") as file:
            _refuse_objects(_header(file)[1], path)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is not a single array")
        return array


def members(path: Path) -> list[str]:
    """Names of the arrays of a `.npz`; none for other zips."""
    with reading(path), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def load_member(path: Path, name: str) -> np.ndarray:
    """Load a complete array of a `.npz`, which should be small."""
    refuse_objects(path, [name])
    with reading(path), np.load(path, allow_pickle=False) as file:
        return np.asarray(file[name])


def member_kind(path: Path, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array of a `.npz`, from its header."""
    with reading(path), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        return _in_rows(file, name, path)


def member_rows(path: Path, name: str) -> Iterator[np.ndarray]:
    """Yield an array of a `.npz` along its first axis; one row is in memory at a time, packed or not."""
    with reading(path), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        (rows, *rest), dtype = _in_rows(file, name, path)
        size = dtype.itemsize * int(np.prod(rest, dtype=np.int64))
        for _ in range(rows):
            content = file.read(size)
            if len(content) != size:
                raise ValueError(f"'{name}' ends early")
            yield np.frombuffer(content, dtype).reshape(rest)
        file.read(1)  # reaches the end, where the checksum is compared


def refuse_objects(path: Path, names: Iterable[str]) -> None:
    """Raise `SkelbenchError` if one of these arrays of a `.npz` holds objects, or is damaged."""
    with reading(path), zipfile.ZipFile(path) as archive:
        for name in names:
            with archive.open(f"{name}.npy") as file:
                _refuse_objects(_header(file)[1], path, name)


def _refuse_objects(dtype: np.dtype, path: Path, name: str = "") -> None:
    if dtype.hasobject:
        which = f" in '{name}'" if name else ""
        raise SkelbenchError(
            f"{path} holds Python objects{which}, which cannot be read safely; save it again as an array of numbers."
        )


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype, bool]:
    """Shape, type and whether it is stored column by column."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    return shape, dtype, fortran


def _in_rows(file: IO[bytes], name: str, path: Path) -> tuple[tuple[int, ...], np.dtype]:
    shape, dtype, fortran = _header(file)
    _refuse_objects(dtype, path, name)
    if fortran or not shape:
        raise ValueError(f"'{name}' is stored in an order that is not read here")
    return shape, dtype
