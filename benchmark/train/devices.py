"""Devices: selection, precision, determinism, and memory use."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor

from ...errors import SkelbenchError

_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # of mallopt, malloc.h
_KNOWN = re.compile(r"(cpu|cuda|mps)(:\d+)?")


def choose_device(name: str) -> str:
    """Return `name`, or for "auto" the best available device: cuda, mps, cpu.

    Raises:
        SkelbenchError: if the device is not available.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        if not _KNOWN.fullmatch(name):  # torch also accepts "meta", which computes nothing
            raise RuntimeError("it is not cpu, cuda or mps, nor one of them with an index such as cuda:1")
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise SkelbenchError(
            f"The device '{name}' cannot be used here ({' '.join(str(error).split())[:120]}); try --device cpu."
        ) from error
    return name


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Use "fp32" or "tf32" for CUDA matrix products inside the context; restore every flag afterwards.

    torch has an older and a newer flag for the same setting and refuses to read the older one if they disagree,
    so both are set and both are restored.
    """
    matmul, cudnn = torch.backends.cuda.matmul, cast(Any, torch.backends.cudnn)
    older: tuple[Any, ...] = (matmul, cudnn)
    newer: tuple[Any, ...] = (matmul, cudnn.conv, cudnn.rnn)
    before = [_allows_tf32(backend) for backend in older], [backend.fp32_precision for backend in newer]
    _set_tf32(older, newer, [name == "tf32"] * 2, ["tf32" if name == "tf32" else "ieee"] * 3)
    try:
        yield
    finally:
        _set_tf32(older, newer, *before)


def _set_tf32(older: tuple[Any, ...], newer: tuple[Any, ...], allowed: list[bool | None], values: list[str]) -> None:
    for backend, allow in zip(older, allowed, strict=True):
        if allow is not None:
            backend.allow_tf32 = allow
    for backend, value in zip(newer, values, strict=True):
        backend.fp32_precision = value


def _allows_tf32(backend: Any) -> bool | None:
    try:
        return backend.allow_tf32
    except RuntimeError:  # the newer flag was set to something else
        return None


def be_deterministic() -> None:
    """Use deterministic algorithms only, and fail where torch has none.

    cuBLAS reads its setting at the first CUDA matrix product of the process: call this before.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required by torch.use_deterministic_algorithms
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def sum_dtype(device: torch.device) -> torch.dtype:
    """The widest floating-point type of a device: MPS has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


@contextmanager
def cell_threads(device: str, threads: int) -> Iterator[None]:
    """Use as many threads for a cell on the CPU; a cell on another device takes what there is."""
    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def as_double(x: Tensor) -> Tensor:
    """Convert to float64: on the same device, or on the CPU where the device has no float64."""
    return x.cpu().double() if x.device.type == "mps" else x.double()


def keep_freed_memory() -> None:
    """Let the process reuse the memory of freed tensors, where the C library is glibc.

    Otherwise every large tensor is mapped and unmapped, and the system hands out its pages one by one: an addition
    that writes 23 GB/s into mapped memory writes 4 GB/s into new memory, and a training step takes a third longer.
    The process then keeps its peak memory until it ends.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, -1)  # never


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means out of memory; on the CPU and on MPS torch reports it only in the error text."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def reset_peak_memory(device: str) -> None:
    """Reset `peak_memory`; the CPU's cannot be reset."""
    if device.startswith("cuda"):
        torch.cuda.init()  # else a process that has used no card yet knows none by its number
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: str) -> float | None:
    """Peak memory in MB: allocations on a CUDA device, the process on the CPU; None if unknown."""
    if device.startswith("cuda"):
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    if not device.startswith("cpu"):
        return None
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
