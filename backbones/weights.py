"""Weights of a backbone in a file: safetensors with everything needed to recreate it, or a plain state dict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import SkelbenchError

SUFFIX = ".safetensors"
FACTS = "skelbench"  # the key of the facts in the file's metadata
_CONSTANT, _CLASSIFIER = "constant.", "classifier."


def to_safetensors(
    state: Mapping[str, Tensor],
    constants: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    classifier: Mapping[str, Tensor] | None = None,
) -> bytes:
    """Serialise a backbone.

    Args:
        state: its state dict.
        constants: tensors that are not weights but must be the same where it is loaded, such as the adjacency.
        facts: JSON values: "backbone", "args", "layout", "num_frames", "num_persons", and where it comes from.
        classifier: the tensors of a classifier of its features, which `load_weights` leaves out.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    tensors |= {_CONSTANT + name: value.detach().cpu().contiguous() for name, value in constants.items()}
    tensors |= {_CLASSIFIER + name: value.cpu().contiguous() for name, value in (classifier or {}).items()}
    return save(tensors, {FACTS: json.dumps(facts)})


def read_facts(path: Path) -> dict[str, Any]:
    """The facts that `to_safetensors` wrote into a file; {} for any other kind of file.

    Raises:
        SkelbenchError: if the file is missing or damaged.
    """
    if path.suffix != SUFFIX:
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {}).get(FACTS, "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise _unreadable(path, error) from error


def load_weights(module: nn.Module, path: Path, constants: Mapping[str, Tensor] | None = None) -> None:
    """Load weights into `module` without executing anything.

    Any key missing, left over or of another shape is an error, and so is a constant that differs.

    Args:
        path: a file written by `to_safetensors`, or by `torch.save(module.state_dict(), ...)`.
        constants: the module's own.
    """
    try:
        state = _read(path)
        saved = {name: state.pop(name) for name in list(state) if name.startswith((_CONSTANT, _CLASSIFIER))}
        for name, value in (constants or {}).items():
            own = saved.get(_CONSTANT + name)
            if own is not None and not (own.shape == value.shape and torch.allclose(own, value.cpu(), atol=1e-6)):
                raise SkelbenchError(
                    f"The weights {path} were trained with another '{name}': give the backbone the graph and layout "
                    "that `skelbench export-weights` wrote into the file."
                )
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:  # wrong keys or shapes, or not a state dict
        raise SkelbenchError(f"The weights {path} do not fit: {' '.join(str(error).split())[:400]}") from error


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == SUFFIX:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a dict
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, runtime and key errors here
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> SkelbenchError:
    reason = " ".join(str(error).split())[:400] or type(error).__name__
    return SkelbenchError(f"The weights {path} do not fit: {reason}")
