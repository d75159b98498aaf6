"""Read checkpoints as authors share them: find the weights in them, and tell what they hold.

Three kinds are told apart by their keys: a complete pre-training (a key encoder or a queue), an encoder with a linear
classifier (`fc`), and an encoder alone. Nothing in a file is executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ...backbones import Backbone
from ...errors import SkelbenchError
from ...methods.base import same_constant
from ..protocols.head import Head

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")  # keys under which checkpoints keep their weights
PREFIXES = ("encoder_q.", "backbone.", "encoder.", "")  # of the encoder's keys
_LAYER = "fc"
_TRAINED_WITH = ("encoder_k.", "queue")  # what only a pre-training holds, by the start of its keys

Kind = Literal["pre-training", "encoder with classifier", "encoder"]


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the weights of a checkpoint in float32, without the prefix `module.`.

    They are the content itself or under one of the keys in `WRAPPERS`. Numbers, texts and the optimiser beside them
    are left out.

    Raises:
        SkelbenchError: if the file is missing, damaged, holds an object of another type or no weights, or a weight is
            NaN or infinite.
    """
    state = _weights(_load(path), path)
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise SkelbenchError(f"{path} holds NaN or infinite values in {', '.join(broken[:5])}.")
    halves = (torch.float16, torch.bfloat16)
    state = {name: value.float() if value.dtype in halves else value for name, value in state.items()}
    if all(name.startswith("module.") for name in state):  # of nn.DataParallel
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def kind_of(state: Mapping[str, Tensor]) -> Kind:
    """What a checkpoint holds."""
    if any(name.startswith(_TRAINED_WITH) for name in state):
        return "pre-training"
    encoder, rest = _split(state)
    return "encoder with classifier" if any(f"{_LAYER}." in name for name in (*encoder, *rest)) else "encoder"


def without_pretraining(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder of a pre-training whose method is not registered: without key encoder, queue and projection head."""
    if kind_of(state) != "pre-training":
        return dict(state)
    head = re.compile(rf".*\b{_LAYER}\.\d+\..*")
    return {
        name: value for name, value in state.items() if not name.startswith(_TRAINED_WITH) and not head.fullmatch(name)
    }


def read_encoder(state: Mapping[str, Tensor], backbone: Backbone, path: Path) -> tuple[dict[str, Tensor], Head | None]:
    """Take the backbone's weights, by its own names, and the classifier out of a checkpoint without a pre-training.

    Raises:
        SkelbenchError: if keys are missing, unknown or of another shape (all are listed), or the graph is missing or
            differs.
    """
    prefix = _prefix(state)
    encoder, rest = _split(state)
    names = dict(backbone.official_names())
    if not {*names.values()} & encoder.keys():
        starts = sorted({name.partition(".")[0] for name in state})
        raise SkelbenchError(
            f"{path} has no encoder of this backbone: its keys begin with {', '.join(starts[:5])}; known are "
            "encoder_q., backbone., encoder. and the backbone's own names, so rename them or give another --backbone."
        )
    constants, own = backbone.official_constants(), backbone.state_dict()
    layer = {name: encoder.pop(name) for name in list(encoder) if name.startswith(f"{_LAYER}.")}
    layer |= {name: rest.pop(name) for name in list(rest) if name.startswith(f"{_LAYER}.")}
    for name, constant in constants.items():
        if name not in encoder:
            raise SkelbenchError(
                f"{path} lacks its graph ({prefix}{name}), so it is unknown whether it fits; save the complete state "
                "dict."
            )
        if not same_constant(encoder[name], constant):
            raise SkelbenchError(
                f"The graph of {path} ({name}) differs from this one; import it with --set backbone.graph=hop or "
                "inout, whichever it was trained on, or with another --layout."
            )
    known = {*names.values(), *constants}
    problems = {
        "missing": sorted(f"{prefix}{name}" for name in set(names.values()) - set(encoder)),
        "unknown": sorted([*(f"{prefix}{name}" for name in set(encoder) - known), *rest]),
        "of another shape": sorted(
            f"{prefix}{theirs} {tuple(encoder[theirs].shape)} for {tuple(own[name].shape)}"
            for name, theirs in names.items()
            if theirs in encoder and _fitted(encoder[theirs], own[name]).shape != own[name].shape
        ),
    }
    if any(problems.values()):
        listed = "; ".join(f"{word}: {', '.join(keys)}" for word, keys in problems.items() if keys)
        raise SkelbenchError(
            f"The encoder in {path} does not fit this backbone, {listed}; give the --backbone and --set "
            "backbone.width=... that it was trained with, or save its own weights alone."
        )
    weights = {name: _fitted(encoder[theirs], own[name]) for name, theirs in names.items()}
    return weights, _classifier(layer, backbone.dim, path)


def _prefix(state: Mapping[str, Tensor]) -> str:
    return next(prefix for prefix in PREFIXES if any(name.startswith(prefix) for name in state))


def _split(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The encoder's entries without their prefix, and the other entries."""
    prefix = _prefix(state)
    encoder = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return encoder, {name: value for name, value in state.items() if not name.startswith(prefix)}


def _fitted(value: Tensor, own: Tensor) -> Tensor:
    """A 1×1 convolution there may be a linear layer here."""
    return value.squeeze(-1) if value.ndim == own.ndim + 1 and value.shape[-1] == 1 else value


def _classifier(layer: dict[str, Tensor], dim: int, path: Path) -> Head | None:
    """The classifier as a linear layer; it may have been a 1×1 convolution, (K, D, 1, 1)."""
    if not layer:
        return None
    weight, bias = layer.get(f"{_LAYER}.weight"), layer.get(f"{_LAYER}.bias")
    if weight is not None and weight.ndim == 4 and weight.shape[2:] == (1, 1):
        weight = weight.flatten(1)
    if weight is None or bias is None or len(layer) > 2 or weight.shape != (len(bias), dim) or bias.ndim != 1:
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in layer.items())
        raise SkelbenchError(
            f"The classifier in {path} ({shapes}) is not one linear layer of {dim} features; a projection head comes "
            "with a complete pre-training only."
        )
    return Head(weight.float(), bias.float())


def _weights(content: object, path: Path, depth: int = 0) -> dict[str, Tensor]:
    """The tensors of a checkpoint, which may be below a wrapper."""
    if not isinstance(content, Mapping) or not content:
        raise SkelbenchError(f"{path} does not hold a state dict (names and tensors); save one with torch.save.")
    wrapped = [name for name in WRAPPERS if isinstance(content.get(name), Mapping) and content[name]]
    if len(wrapped) > 1:
        raise SkelbenchError(f"{path} holds several states ({', '.join(wrapped)}); save the one to import alone.")
    if wrapped and depth < len(WRAPPERS):
        return _weights(content[wrapped[0]], path, depth + 1)
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise SkelbenchError(f"{path} does not hold a state dict (names and tensors); save one with torch.save.")
    return state


def _load(path: Path) -> object:
    try:
        with _numpy_numbers():
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise SkelbenchError(f"There is no file {path}; name the checkpoint to import.") from error
    except Exception as error:  # torch raises pickle, zip, runtime and key errors here
        text = str(error)
        named = re.search(r"(?:GLOBAL|global|class) ([A-Za-z_][\w.]*)", text)
        if named:
            raise SkelbenchError(
                f"{path} holds an object of the type {named[1]}, which is not loaded because loading it could run "
                "code; save its state dict alone with torch.save."
            ) from error
        raise SkelbenchError(
            f"{path} is damaged or no checkpoint of torch: it is incomplete, or was not written by torch.save; get it "
            "again."
        ) from error


class _Dtype:
    """What stands for the dtype of a number."""

    def __init__(self, *_: object) -> None:
        """Keep nothing."""

    def __setstate__(self, _: object) -> None:
        """Keep nothing."""


def _number(*_: object) -> None:
    """What stands for a number of numpy beside the weights: its value is not needed."""


@contextmanager
def _numpy_numbers() -> Iterator[None]:
    """Let numbers of numpy be read, as placeholders: numpy's own constructors are not called."""
    scalar = [(_number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    with torch.serialization.safe_globals([*scalar, (_Dtype, "numpy.dtype"), _Dtype]):
        yield
