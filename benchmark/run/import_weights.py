"""Import a released checkpoint as a finished pre-training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ... import __version__
from ...datasets.layout import LAYOUTS
from ...datasets.readers.ntu_names import SPLITS
from ...errors import SkelbenchError
from ...methods import METHODS, Method
from ...methods.base import BACKBONE
from ...registry import did_you_mean
from ...results.command import CHECKPOINT, COMMAND, command_line, options, setting_options
from ...results.record import PRETRAIN, Cell, Configuration, Key, Record
from ...results.store import RunStore
from ..plan.build import build_method
from ..plan.code import code_versions, encoder_code, plugins_of
from ..plan.identity import PRETRAIN_VERSION, identify
from ..plan.overrides import Changes, check_owners
from ..plan.tracks import pretrain_settings, resolve
from ..train.checkpoint import write_tensors
from ..train.trainer import snapshot_path
from .heads import write_head
from .record import count_parameters, make_record
from .released import kind_of, read_encoder, read_state, without_pretraining

PERSONS = 2  # of the data that the releases were trained on


@dataclass(frozen=True)
class Origin:
    """What a checkpoint was trained on, which determines its settings."""

    method: str
    backbone: str = "stgcn"
    dataset: str = "ntu60"
    split: str = "xsub"
    stream: str = "joint"
    layout: str = "ntu25"
    title: str | None = None  # of a method that is not registered


def import_weights(path: Path, place: Origin, runs: RunStore, settings: Mapping[str, Any]) -> Record:
    """Turn a checkpoint of the released code into a finished pre-training.

    Args:
        path: as `torch.save` wrote it: a complete pre-training, an encoder with its classifier, or an encoder, by the
            released names.
        settings: dotted settings that differ from the released ones, such as "backbone.width".

    Returns:
        Its record; `environment["imported"]` says what the file holds.

    Raises:
        SkelbenchError: if the file cannot be read safely, a key is missing or unknown, a shape or the graph differs, or
            its batch norms have never seen a batch.
    """
    other = METHODS[place.method].imported_only
    if not METHODS[place.method].trainable and not other:
        raise SkelbenchError(f"The method '{place.method}' trains nothing, so there is nothing to import for it.")
    if other and not place.title:
        raise SkelbenchError("The method 'other' needs --title NAME, the name that tables show.")
    if place.title and not other:
        raise SkelbenchError(f"A title is for a method that is not registered, and '{place.method}' is; leave it out.")
    splits = SPLITS.get(place.dataset, {place.split: None})
    if place.split not in splits:
        raise SkelbenchError(f"'{place.dataset}' has no split '{place.split}'{did_you_mean(place.split, splits)}")
    state = read_state(path)
    if other:
        state = without_pretraining(state)
    check_owners(settings, [place.method], [place.backbone])
    configuration = Configuration(place.method, place.backbone, place.dataset, place.split, place.stream)
    changes = Changes(single=settings)
    resolved = resolve(configuration, "published", changes=changes)
    recipe = resolved.recipe.model_copy(update={"snapshots": ()})
    layout = LAYOUTS[place.layout]
    method = build_method(configuration, recipe, layout, PERSONS)
    kind, classifier = kind_of(state), None
    if kind == "pre-training":
        _check_adjacency(method, state, path)
        method.load_official(state)
        saved = method.evaluation_state()
    else:
        backbone: Any = method.encoder_q.backbone
        weights, classifier = read_encoder(state, backbone, path)
        saved = {f"{BACKBONE}{name}": value for name, value in weights.items()}
        method.load_evaluation_state(saved)
    _check_trained(method, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    cell = Cell(
        track="custom",
        label=", ".join(filter(None, (place.title, f"imported {digest[:8]}", changes.variant(PRETRAIN)))),
        **configuration._asdict() | {"stream": method.stream},
        protocol=PRETRAIN,
        seed=0,
    )
    stored = pretrain_settings(recipe) | {"source": f"{path.name}, sha256 {digest}"}
    versions = {"skelbench": __version__, "method": METHODS[place.method].version, "protocol": PRETRAIN_VERSION}
    facts = {"cell": cell.model_dump(), "settings": stored, "versions": list(versions.values())}
    facts |= encoder_code(place.method, place.backbone)
    released = resolved.exact and PRETRAIN not in resolved.differing
    record = make_record(
        Key(cell, identify(facts)),
        settings=stored | {"released_for_this_data": released} | ({"title": place.title} if other else {}),
        versions=versions | code_versions(cell),
        environment={"imported": kind, COMMAND: _command(place, settings, plugins_of(cell))},
        data={"layout": layout.name, "skeleton": layout.digest},
        model={
            "parameters": count_parameters(method),
            "width": recipe.backbone.get("width"),
            "frames": recipe.frames,
            "epochs": None if other else recipe.epochs,
            "persons": PERSONS,
        },
    )
    folder = runs.folder(record.key)
    write_tensors(snapshot_path(folder, recipe.epochs), saved)
    if classifier is not None:
        write_head(folder, classifier)
    runs.write(record)
    return record


def _command(place: Origin, settings: Mapping[str, Any], plugins: Sequence[str]) -> str:
    words = options(asdict(place).items()) + setting_options(settings)
    return command_line("import-weights", CHECKPOINT, *words, plugins=plugins)


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
