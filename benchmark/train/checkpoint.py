"""Tensor files and checkpoints: written atomically with a checksum, read without running code.

torch silently reads a file with a flipped bit (it does not verify the checksums of its zip archives), so files written
here end in a sha256, stored as the zip comment: `torch.load` still reads them. The previous checkpoint is kept until
the run is finished.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import SkelbenchError
from ...results.files import atomic_write

_END = b"PK\5\6"  # start of the last 22 bytes of a zip without a comment; the last two are the comment's length
_SEAL = b"sha256 "


def write_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values atomically."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    atomic_write(path, _sealed(buffer.getvalue()))


def read_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read tensors and plain values without executing code.

    Raises:
        SkelbenchError: if the file is missing, is damaged (even in a single bit) or holds anything else.
    """
    try:
        content = torch.load(io.BytesIO(_checked(path.read_bytes())), map_location=device, weights_only=True)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, not names and values")
        return content
    except FileNotFoundError as error:
        raise SkelbenchError(f"{path} is missing; run its cell again with --force.") from error
    except Exception as error:  # torch raises pickle, zip, runtime and key errors here
        reason = " ".join(str(error).split())[:200]
        raise SkelbenchError(f"{path} cannot be read ({reason}); delete it and run its cell again.") from error


def _sealed(content: bytes) -> bytes:
    seal = _SEAL + hashlib.sha256(content).hexdigest().encode()
    return content[:-2] + struct.pack("<H", len(seal)) + seal


def _checked(content: bytes) -> bytes:
    """Verify the checksum and return the content; older versions wrote none. Raises `ValueError`."""
    if content[-22:-18] == _END and content[-2:] == b"\0\0":
        return content
    length = len(_SEAL) + 64
    sealed, seal = content[: -length - 2] + b"\0\0", content[-length:]
    if not re.fullmatch(_SEAL + b"[0-9a-f]{64}", seal):
        raise ValueError("it is truncated or not a tensor file")
    if seal.removeprefix(_SEAL).decode() != hashlib.sha256(sealed).hexdigest():
        raise ValueError("its checksum differs")
    return content


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint and keep the previous one."""
    new = _new(path)
    write_tensors(new, state)
    if path.exists():
        path.replace(previous(path))
    new.replace(path)


def previous(checkpoint: Path) -> Path:
    """Path of the previous checkpoint."""
    return checkpoint.with_name(f"{checkpoint.stem}-previous{checkpoint.suffix}")


def load_checkpoint(path: Path, device: torch.device, say: Callable[[str], None]) -> dict[str, Any] | None:
    """Read the last checkpoint, or the previous one if the last is missing or damaged; None if there is neither.

    A damaged checkpoint is reported through `say` and removed if the other one is intact. Temporary files of a killed
    run are removed.

    Raises:
        SkelbenchError: if there are checkpoints and all are damaged.
    """
    for partial in path.parent.glob(".*.tmp"):  # of a run killed while writing
        partial.unlink(missing_ok=True)
    _new(path).unlink(missing_ok=True)
    damaged: list[tuple[Path, SkelbenchError]] = []
    for candidate in (path, previous(path)):
        if not candidate.exists():
            continue
        try:
            state = read_tensors(candidate, device)
        except SkelbenchError as error:
            damaged.append((candidate, error))
            continue
        for broken, reason in damaged:
            say(f"  {reason} Resuming from the previous checkpoint, {candidate.name}.")
            broken.unlink()
        return state
    if damaged:
        raise damaged[0][1]
    return None


def random_states(device: torch.device) -> list[Tensor]:
    """States of the global random generators that a run on `device` uses: the CPU's and the device's."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    if device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


def set_random_states(device: torch.device, states: list[Tensor]) -> None:
    """Restore the generator states returned by `random_states`."""
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
    if device.type == "mps":
        torch.mps.set_rng_state(states[1])


def _new(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".new")
