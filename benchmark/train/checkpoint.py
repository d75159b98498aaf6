"""Checkpoints: everything a run needs to go on as if nothing had happened, written atomically and under a checksum.

torch reads a file with a flipped bit without a word (it does not look at the sums its zips hold), so what is written
here ends in a sha256 of its own, as the zip's comment: `torch.load` still reads it. The checkpoint before the last one
is kept until the run is done.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ... import distributed
from ...errors import SkelbenchError
from ...results.files import atomic_write

if TYPE_CHECKING:
    from .trainer import Trainer

_END = b"PK\5\6"  # what a zip's last 22 bytes start with; their last two are the length of its comment
_SEAL = b"sha256 "

FORMAT = 3  # 1 kept the random states of every CUDA device there was, 2 those of one process


def write_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values so that the file is there whole or not at all."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    atomic_write(path, _sealed(buffer.getvalue()))


def read_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read tensors and plain values without executing anything.

    Raises:
        SkelbenchError: if the file is missing, damaged in a single bit, or holds anything else.
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
    """What was sealed; of a file without a seal, which older versions wrote, all of it. Raises `ValueError`."""
    if content[-22:-18] == _END and content[-2:] == b"\0\0":
        return content
    length = len(_SEAL) + 64
    whole, seal = content[: -length - 2] + b"\0\0", content[-length:]
    if not re.fullmatch(_SEAL + b"[0-9a-f]{64}", seal):
        raise ValueError("it is cut off or no file of tensors")
    if seal.removeprefix(_SEAL).decode() != hashlib.sha256(whole).hexdigest():
        raise ValueError("its checksum differs")
    return content


def save_checkpoint(trainer: Trainer) -> None:
    """Write the whole state of a trainer to its checkpoint file, and keep the one before.

    Several ranks differ in their random states only; the first writes them all.
    """
    run, new = trainer.run, trainer.checkpoint.with_suffix(".new")
    generators = distributed.from_all_ranks(run.generator.get_state())
    random = [distributed.from_all_ranks(state) for state in _random_states(trainer.clips.x.device)]
    sums = {name: distributed.all_mean(total) for name, total in run.sums.items()}
    if distributed.rank() > 0:
        return
    write_tensors(
        new,
        {
            "format": FORMAT,
            "identity": trainer.identity,
            "method": trainer.method.state_dict(),
            "optimiser": trainer.optimiser.state_dict(),
            "epoch": run.epoch,
            "iteration": run.iteration,
            "order": run.order,
            "sums": sums,
            "seconds": run.seconds,
            "curve": run.curve,
            "generator": generators,
            "device": trainer.clips.x.device.type,
            "random": [list(states) for states in zip(*random, strict=True)],
        },
    )
    if trainer.checkpoint.exists():
        trainer.checkpoint.replace(previous(trainer.checkpoint))
    new.replace(trainer.checkpoint)


def previous(checkpoint: Path) -> Path:
    """Where the checkpoint before a checkpoint is kept."""
    return checkpoint.with_name(f"{checkpoint.stem}-previous{checkpoint.suffix}")


def load_checkpoint(trainer: Trainer) -> bool:
    """Bring a trainer to where its checkpoint left off; False if there is none.

    A damaged checkpoint is told and removed where the one before it is good.

    Raises:
        SkelbenchError: if no checkpoint is whole, or it belongs to another cell or was written on another type of
            device, whose random numbers are others.
    """
    for torn in trainer.folder.glob(".*.tmp"):  # of a run killed while it wrote
        torn.unlink(missing_ok=True)
    trainer.checkpoint.with_suffix(".new").unlink(missing_ok=True)
    state = _last_good(trainer)
    if state is None:
        return False
    if state.get("format") != FORMAT or state.get("identity") != trainer.identity:
        raise SkelbenchError(
            f"{trainer.checkpoint} belongs to another cell or version; run with --force to start anew."
        )
    device = trainer.clips.x.device
    if state["device"] != device.type:
        raise SkelbenchError(
            f"{trainer.checkpoint} was written on the device type '{state['device']}' and cannot go on on "
            f"'{device.type}', which draws other random numbers; run with --device {state['device']}, or with "
            "--force to start anew."
        )
    if len(state["generator"]) != distributed.world_size():
        raise SkelbenchError(
            f"{trainer.checkpoint} was written by {len(state['generator'])} processes and cannot go on in "
            f"{distributed.world_size()}; start as many, or run with --force to start anew."
        )
    trainer.method.load_state_dict(state["method"])
    trainer.optimiser.load_state_dict(state["optimiser"])
    run = trainer.run
    run.epoch, run.iteration, run.order = state["epoch"], state["iteration"], state["order"]
    run.sums, run.seconds, run.curve = state["sums"], state["seconds"], state["curve"]
    run.generator.set_state(state["generator"][distributed.rank()].cpu())
    _set_random_states(device, [kept.cpu() for kept in state["random"][distributed.rank()]])
    return True


def _last_good(trainer: Trainer) -> dict[str, Any] | None:
    """The checkpoint, or where it is damaged or was being replaced the one before it; None if there is neither."""
    kept = [path for path in (trainer.checkpoint, previous(trainer.checkpoint)) if path.exists()]
    damaged: list[tuple[Path, SkelbenchError]] = []
    for path in kept:
        try:
            state = read_tensors(path, trainer.clips.x.device)
        except SkelbenchError as error:
            damaged.append((path, error))
            continue
        for worn, reason in damaged:
            trainer.watcher.say(f"  {reason} Going on from the one before it, {path.name}.")
            worn.unlink()
        return state
    if damaged:
        raise damaged[0][1]
    return None


def _random_states(device: torch.device) -> list[Tensor]:
    """The global generators' states that a run on `device` reads: the CPU's, and the device's own."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    if device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


def _set_random_states(device: torch.device, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
    if device.type == "mps":
        torch.mps.set_rng_state(states[1])
