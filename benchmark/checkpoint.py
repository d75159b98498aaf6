"""Checkpoints: everything a run needs to go on as if nothing had happened, written atomically."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import SkelbenchError
from ..results.files import atomic_write

if TYPE_CHECKING:
    from .trainer import Trainer

FORMAT = 2  # 1 kept the random states of every CUDA device there was


def write_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values so that the file is there whole or not at all."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    atomic_write(path, buffer.getvalue())


def read_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read tensors and plain values without executing anything.

    Raises:
        SkelbenchError: if the file is missing, damaged, or holds anything else.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, not names and values")
        return content
    except FileNotFoundError as error:
        raise SkelbenchError(f"{path} is missing; run its cell again with --force.") from error
    except Exception as error:  # torch raises pickle, zip, runtime and key errors here
        reason = " ".join(str(error).split())[:200]
        raise SkelbenchError(f"{path} cannot be read ({reason}); delete it and run its cell again.") from error


def save_checkpoint(trainer: Trainer) -> None:
    """Write the whole state of a trainer to its checkpoint file."""
    run = trainer.run
    write_tensors(
        trainer.checkpoint,
        {
            "format": FORMAT,
            "identity": trainer.identity,
            "method": trainer.method.state_dict(),
            "optimiser": trainer.optimiser.state_dict(),
            "epoch": run.epoch,
            "iteration": run.iteration,
            "order": run.order,
            "sums": run.sums,
            "seconds": run.seconds,
            "curve": run.curve,
            "generator": run.generator.get_state(),
            "device": trainer.clips.x.device.type,
            "random": _random_states(trainer.clips.x.device),
        },
    )


def load_checkpoint(trainer: Trainer) -> bool:
    """Bring a trainer to where its checkpoint left off; False if there is none.

    Raises:
        SkelbenchError: if the checkpoint is damaged, belongs to another cell or was written on another type of
            device, whose random numbers are others.
    """
    for torn in trainer.folder.glob(f".{trainer.checkpoint.name}.*.tmp"):  # of a run killed while it wrote
        torn.unlink()
    if not trainer.checkpoint.exists():
        return False
    state = read_tensors(trainer.checkpoint, trainer.clips.x.device)
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
    trainer.method.load_state_dict(state["method"])
    trainer.optimiser.load_state_dict(state["optimiser"])
    run = trainer.run
    run.epoch, run.iteration, run.order = state["epoch"], state["iteration"], state["order"]
    run.sums, run.seconds, run.curve = state["sums"], state["seconds"], state["curve"]
    run.generator.set_state(state["generator"].cpu())
    _set_random_states(device, [kept.cpu() for kept in state["random"]])
    return True


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
