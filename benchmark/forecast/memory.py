"""The peak memory that a device will report, from the tensors that live at once."""

from __future__ import annotations

import os
from pathlib import Path

from ..train.devices import peak_memory

# Of a process on the CPU: what libraries take in their first step, and how much of the memory that is kept for reuse
# (`keep_freed_memory`) is holes. Both were fitted to single processes, see docs/performance.md.
FIRST_STEP_MB = 100.0
HOLES = 1.4


def _resident_mb() -> float:
    """Memory of this process now; where the system does not tell, its peak, which a new process has from its parent."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return peak_memory("cpu") or 0.0
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


PROCESS_MB = _resident_mb()  # with its libraries, before it traces anything


def peak_mb(living: float, device: str) -> float:
    """The peak of `train.devices.peak_memory` in MB.

    On a CUDA device these are the tensors; on the CPU it is the process with its libraries, for which this process, as
    it was when this module was imported, is an example.

    Args:
        living: bytes of the tensors that live at once, the clips included.
        device: "cpu", or any other.
    """
    if device != "cpu":
        return living / 1e6
    return PROCESS_MB + FIRST_STEP_MB + HOLES * living / 1e6
