"""Import a released checkpoint as a finished pre-training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ... import __version__
from ...datasets.layout import LAYOUTS
from ...errors import SkelbenchError
from ...methods import METHODS, Method
from ...results.command import CHECKPOINT, COMMAND, command_line, options
from ...results.record import PRETRAIN, Cell, Configuration, Key, Record
from ...results.store import RunStore
from ..plan.build import build_method
from ..plan.identity import PRETRAIN_VERSION, identify
from ..plan.overrides import Changes, check_owners
from ..plan.tracks import pretrain_settings, resolve
from ..train.trainer import save_snapshot
from .record import count_parameters, make_record

PERSONS = 2  # of the data that the releases were trained on
WRAPPERS = ("state_dict", "model", "model_state_dict")  # keys that some checkpoints wrap the state dict in


@dataclass(frozen=True)
class Origin:
    """What a checkpoint was trained on, which determines its settings."""

    method: str
    backbone: str = "stgcn"
    dataset: str = "ntu60"
    split: str = "xsub"
    stream: str = "joint"
    layout: str = "ntu25"


def import_weights(path: Path, place: Origin, runs: RunStore, settings: Mapping[str, Any]) -> Record:
    """Turn a checkpoint of the released code into a finished pre-training.

    Args:
        path: a state dict with the released names, as `torch.save` wrote it.
        settings: dotted settings that differ from the released ones, such as "backbone.width".

    Raises:
        SkelbenchError: if the file holds anything but tensors, a key is missing or unknown, a shape differs, or
            its batch norms have never seen a batch.
    """
    if not METHODS[place.method].trainable:
        raise SkelbenchError(f"The method '{place.method}' trains nothing, so there is nothing to import for it.")
    state = read_state(path)
    check_owners(settings, [place.method], [place.backbone])
    configuration = Configuration(place.method, place.backbone, place.dataset, place.split, place.stream)
    resolved = resolve(configuration, "published", changes=Changes(None, {}, settings))
    recipe = resolved.recipe.model_copy(update={"snapshots": ()})
    layout = LAYOUTS[place.layout]
    method = build_method(configuration, recipe, layout, PERSONS)
    _check_adjacency(method, state, path)
    method.load_official(state)
    _check_trained(method, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    cell = Cell(
        track="custom",
        label=f"imported {digest[:8]}",
        **configuration._asdict() | {"stream": method.stream},
        protocol=PRETRAIN,
        seed=0,
    )
    stored = pretrain_settings(recipe) | {"source": f"{path.name}, sha256 {digest}"}
    versions = {"skelbench": __version__, "method": METHODS[place.method].version, "protocol": PRETRAIN_VERSION}
    facts = {"cell": cell.model_dump(), "settings": stored, "versions": list(versions.values())}
    record = make_record(
        Key(cell, identify(facts)),
        settings=stored,
        versions=versions,
        environment={"imported": True, COMMAND: _command(place, settings)},
        data={"layout": layout.name, "skeleton": layout.digest},
        model={
            "parameters": count_parameters(method),
            "width": recipe.backbone.get("width"),
            "frames": recipe.frames,
            "epochs": recipe.epochs,
            "persons": PERSONS,
        },
    )
    save_snapshot(method, runs.folder(record.key), recipe.epochs)
    runs.write(record)
    return record


def _command(place: Origin, settings: Mapping[str, Any]) -> str:
    pairs = [("set", f"{name}={json.dumps(value)}") for name, value in settings.items()]
    return command_line("import-weights", CHECKPOINT, *options([*asdict(place).items(), *pairs]))


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict, bare or under one of the keys in `WRAPPERS`; nothing is executed.

    Raises:
        SkelbenchError: if the file is missing, damaged or holds anything but tensors.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise SkelbenchError(f"There is no file {path}; name the checkpoint to import.") from error
    except Exception as error:  # torch raises pickle, zip, runtime and key errors here
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise SkelbenchError(
            f"{path} cannot be read as weights only ({reason}); save its state dict, nothing else, with torch.save."
        ) from error
    for name in WRAPPERS:
        if isinstance(content, Mapping) and set(content) == {name}:
            content = content[name]
    if not isinstance(content, Mapping) or not content:
        raise SkelbenchError(f"{path} does not hold a state dict (names and tensors); save one with torch.save.")
    strange = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise SkelbenchError(f"{path} holds more than tensors ({', '.join(strange[:5])}); save its state dict alone.")
    broken = [name for name, value in content.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise SkelbenchError(f"{path} holds NaN or infinite values in {', '.join(broken[:5])}.")
    return dict(content)


def _check_trained(method: Method, path: Path) -> None:
    """Refuse weights whose batch norms have never seen a batch: they are an initialisation."""
    seen: dict[str, int] = {}
    for name, value in method.evaluation_state().items():
        if name.endswith("num_batches_tracked") and ".backbone." in name:
            encoder = name.partition(".")[0]
            seen[encoder] = seen.get(encoder, 0) + int(value)
    if not all(seen.values()):
        raise SkelbenchError(
            f"{path} was never trained: its batch norms have seen no batch; for a floor use the method 'untrained'."
        )


def _check_adjacency(method: Method, state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse a file without its adjacency: the graph it was trained on would be unknown."""
    given = {method.official_alias(name.removeprefix("module.")) for name in state}
    absent = sorted(set(method.official_constants()) - given)
    if absent:
        raise SkelbenchError(f"{path} lacks its graph ({', '.join(absent)}), so it is unknown whether it fits.")
