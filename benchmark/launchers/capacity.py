"""How many cells run on a device at once: as many as its memory and the machine's cores take."""

from __future__ import annotations

import os

import torch

from ...datasets.readers.parallel import available_cores

SHARE = 0.9  # of the free memory that is given out
MARGIN = 1.25  # of the measured peak: what the allocator holds beyond what was asked for
CONTEXT_MB = 600.0  # what a process takes of a CUDA device before its first tensor


def more_slots(device: str, peak_mb: float, devices: int) -> int:
    """How many more cells fit beside the one that was measured.

    On a CUDA device `peak_mb` is what the cell's tensors took at most there, on the CPU the process's memory. Every
    process gets at least one core, so that the cores are divided among the devices.

    Args:
        devices: how many there are.
    """
    return min(slots_that_fit(free_memory_mb(device), peak_mb, on_gpu=device.startswith("cuda")), _cores(devices) - 1)


def slots_that_fit(free_mb: float, peak_mb: float, *, on_gpu: bool) -> int:
    """Cells of a measured peak that fit into free memory."""
    return int(SHARE * free_mb // (MARGIN * peak_mb + (CONTEXT_MB if on_gpu else 0.0)))


def free_memory_mb(device: str) -> float:
    """Free memory in MB: of a CUDA device, else of the machine (unknown counts as none)."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0] / 1e6
    if "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return 0.0
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6


def _cores(devices: int) -> int:
    return max(1, available_cores() // devices)
