"""What can be done with a finished pre-training: evaluate it on any data, or write its backbone to a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..backbones import BACKBONES
from ..backbones.weights import SUFFIX, to_safetensors
from ..config import parse_config
from ..datasets.layout import LAYOUTS
from ..datasets.store import Store
from ..errors import SkelbenchError
from ..methods import METHODS
from ..methods.recipe import Recipe
from ..results.files import atomic_write
from ..results.leaderboard import FLOOR, FLOOR_SEEDS
from ..results.record import Record
from ..results.store import read_record
from .cells import Pretraining, identify_evaluation, plan
from .overrides import PRETRAIN, Changes
from .tracks import ANY_SIZE, Resolved, resolve
from .train.checkpoint import read_tensors
from .train.trainer import snapshot_path


def open_run(folder: Path) -> Record:
    """Read the record of a finished pre-training from its folder.

    Raises:
        SkelbenchError: if the folder is no finished pre-training.
    """
    record = read_record(folder)
    if record.cell.protocol != PRETRAIN:
        raise SkelbenchError(f"{folder} is no pre-training; name the folder with '-pretrain-' in it that it builds on.")
    return record


def plan_evaluation(
    record: Record, store: Store, split: str, stream: str | None, protocols: tuple[str, ...], track: str
) -> Pretraining:
    """Plan the evaluation of a finished pre-training on a split of any store with its skeleton.

    Args:
        stream: default the pre-training's own.
        track: whose evaluation settings are used.

    Raises:
        SkelbenchError: if the skeletons differ, or the method has no single stream to evaluate and none is named.
    """
    trained = record.cell
    stream = stream or ("joint" if trained.stream == "all" else trained.stream)
    _check_stream(record, stream)
    fields = {name: value for name, value in record.settings.items() if name in Recipe.model_fields}
    own = Recipe.model_validate(fields | {"clips": None})
    place = (trained.method, trained.backbone, store.name, split, stream)
    common = resolve(track, *place, train_clips=ANY_SIZE, clips=ANY_SIZE)
    origin = trained.label or trained.track
    label = f"{origin}, trained on {trained.dataset} {trained.split}, {track} evaluation"
    done = Pretraining(trained, record.identity, own, trained.split, stream, (), "fp32", exact=False)
    skeleton = (str(record.data.get("layout")), str(record.data.get("skeleton", store.layout.digest)))
    return elsewhere(done, skeleton, common, store, split, dict.fromkeys(protocols, ("custom", label)))


def elsewhere(
    done: Pretraining,
    skeleton: tuple[str, str],
    common: Resolved,
    store: Store,
    split: str,
    tracks: Mapping[str, tuple[str, str | None]],
) -> Pretraining:
    """Plan the evaluation of a pre-training on data that may be other than its own; nothing is trained there.

    Args:
        done: the pre-training; its encoder, frames and clips stay.
        skeleton: name and digest of the layout it was trained on.
        common: the settings that evaluations have on the new data.
        store, split: the new data.
        tracks: protocol -> track and label of its cell.

    Raises:
        SkelbenchError: if the skeletons differ or there is no such split.
    """
    layout, digest = skeleton
    if digest != store.layout.digest:
        raise SkelbenchError(
            f"'{store.name}' has the skeleton '{store.layout.name}' ({store.layout.num_joints} joints), this run was "
            f"trained on another one, '{layout}'; choose data with that one."
        )
    store.sides(split)  # an unknown split is told before anything is read
    theirs = {"protocols": common.recipe.protocols, "selection": common.recipe.selection, "valid": common.recipe.valid}
    recipe = done.recipe.model_copy(update=theirs)
    trained = done.cell
    place = {"dataset": store.name, "split": split, "stream": done.stream}
    if (trained.dataset, trained.split) != (store.name, split):
        place["pretrained_on"] = f"{trained.dataset}:{trained.split}"
    evaluations = []
    for protocol, (track, label) in tracks.items():
        cell = trained.model_copy(update=place | {"track": track, "label": label, "protocol": protocol})
        evaluations.append((cell, identify_evaluation(cell, recipe, done.identity, store.fingerprint)))
    return replace(done, recipe=recipe, split=split, evaluations=tuple(evaluations), exact=common.exact)


def plan_floors(task: Pretraining, store: Store, protocols: tuple[str, ...], track: str) -> list[Pretraining]:
    """Plan the untrained encoders that stand beside an evaluation: the same backbone, frames and settings."""
    evaluated = task.evaluations[0][0]
    recipe = task.recipe
    settings = {"frames": recipe.frames, "valid": recipe.valid, "method.init": recipe.method.get("init", "released")}
    settings |= {f"backbone.{name}": value for name, value in recipe.backbone.items()}
    place = {"backbone": evaluated.backbone, "dataset": store.name, "split": task.split, "stream": task.stream}
    changes = Changes(None, {}, settings)
    resolved = resolve(track, FLOOR, *place.values(), train_clips=ANY_SIZE, clips=ANY_SIZE, changes=changes)
    floor = resolved.recipe.model_copy(update={"protocols": recipe.protocols, "selection": recipe.selection})
    resolved = replace(resolved, recipe=floor, labels=dict.fromkeys((PRETRAIN, *protocols), evaluated.label))
    common = {
        "protocols": protocols,
        "fingerprint": store.fingerprint,
        "precision": task.precision,
        "pretrained_on": evaluated.pretrained_on,
    }
    return [plan(resolved, method=FLOOR, **place, seed=seed, **common) for seed in range(FLOOR_SEEDS)]  # type: ignore[arg-type]


def _check_stream(record: Record, stream: str | None) -> None:
    trained = record.cell.stream
    if stream is not None and trained not in ("all", stream):
        raise SkelbenchError(f"This run was trained on the stream '{trained}', not on '{stream}'.")


def export_weights(folder: Path, to: Path, stream: str | None = None) -> str:
    """Write the backbone of a finished pre-training as safetensors, with everything needed to make it again.

    Returns the backbone's name.

    Args:
        stream: whose encoder, where a method trained several.

    Raises:
        SkelbenchError: if the folder is no finished pre-training or the file cannot be written.
    """
    if to.suffix != SUFFIX:
        raise SkelbenchError(f"{to} must end in {SUFFIX}.")
    record = open_run(folder)
    cell, settings = record.cell, dict[str, Any](record.settings)
    _check_stream(record, stream)
    layout = _layout(record)
    state = read_tensors(snapshot_path(folder, int(settings["epochs"])))
    prefix = f"encoder_q{'' if stream in (None, 'joint') or cell.stream != 'all' else '_' + stream}.backbone."
    weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if not weights:
        raise SkelbenchError(f"{folder} has no encoder of the stream '{stream}'; leave --stream out.")
    kind = METHODS[cell.method]
    config = parse_config(kind.Config, settings["method"], f"the record in {folder}")
    args = kind.backbone_args(config, settings["backbone"])
    facts = {
        "backbone": cell.backbone,
        "args": args,
        "layout": layout.to_json(),
        "num_frames": settings["frames"],
        "num_persons": record.model["persons"],
        "stream": stream or ("joint" if cell.stream == "all" else cell.stream),
        "cell": str(cell),
        "identity": record.identity,
    }
    backbone = BACKBONES[cell.backbone](
        layout=layout,
        num_frames=settings["frames"],
        num_persons=record.model["persons"],
        **args,
    )
    backbone.load_state_dict(weights)
    atomic_write(to, to_safetensors(weights, backbone.official_constants(), facts))
    return cell.backbone


def _layout(record: Record) -> Any:
    name = str(record.data["layout"])
    if name not in LAYOUTS:
        raise SkelbenchError(f"The skeleton '{name}' of this run is not registered, so it cannot be written out.")
    return LAYOUTS[name]
