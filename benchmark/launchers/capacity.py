"""How many cells run on a device at once, limited by its memory and the machine's cores."""

from __future__ import annotations

import os

import torch

from ...datasets.readers.parallel import available_cores

SHARE = 0.9  # of the free memory that is used
MARGIN = 1.25  # on the measured peak: the allocator holds more than was requested
CONTEXT_MB = 600.0  # CUDA memory of a process before its first tensor


def more_slots(device: str, peak_mb: float, devices: int) -> int:
    """How many more cells fit next to the measured one.

    On a CUDA device `peak_mb` is the peak memory of the cell's tensors, on the CPU that of the process. Every
    process gets at least one core; the cores are divided among the devices.

    Args:
        devices: number of devices.
    """
    return min(_fitting(device, peak_mb), _cores(devices) - 1)


def slots(device: str, peak_mb: float, devices: int) -> int:
    """How many cells of a peak run on a device at once, at least one; the arguments are those of `more_slots`."""
    return max(1, min(_fitting(device, peak_mb), _cores(devices)))


def slots_that_fit(free_mb: float, peak_mb: float, *, on_gpu: bool) -> int:
    """Number of cells with a measured peak that fit into free memory."""
    return int(SHARE * free_mb // (MARGIN * peak_mb + (CONTEXT_MB if on_gpu else 0.0)))


def free_memory_mb(device: str) -> float:
    """Free memory in MB: of a CUDA device, else of the machine (0 if unknown)."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0] / 1e6
    if "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return 0.0
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6


def _fitting(device: str, peak_mb: float) -> int:
    return slots_that_fit(free_memory_mb(device), peak_mb, on_gpu=device.startswith("cuda"))


def _cores(devices: int) -> int:
    return max(1, available_cores() // devices)
