"""Plan the evaluation of a finished pre-training on any data, and its floors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ...datasets.store import Store
from ...errors import SkelbenchError
from ...methods.recipe import Recipe
from ...results.record import Record
from ...results.store import read_record
from ...results.tables.rows import FLOOR, FLOOR_SEEDS
from .identity import Pretraining, identify_evaluation, plan
from .overrides import PRETRAIN, Changes
from .tracks import ANY_SIZE, Resolved, resolve


def open_run(folder: Path) -> Record:
    """Read the record of a finished pre-training from its folder.

    Raises:
        SkelbenchError: if the folder is not a finished pre-training.
    """
    record = read_record(folder)
    if record.cell.protocol != PRETRAIN:
        raise SkelbenchError(f"{folder} is not a pre-training; name the folder with '-pretrain-' that it builds on.")
    return record


def plan_evaluation(
    record: Record, store: Store, split: str, stream: str | None, protocols: tuple[str, ...], track: str
) -> Pretraining:
    """Plan the evaluation of a finished pre-training on a split of any store with its skeleton.

    Args:
        stream: by default that of the pre-training.
        track: the track of the evaluation settings.

    Raises:
        SkelbenchError: if the skeletons differ, or the method has no single stream to evaluate and none is named.
    """
    trained = record.cell
    stream = stream or ("joint" if trained.stream == "all" else trained.stream)
    check_trained_stream(record, stream)
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
    """Plan the evaluation of a pre-training on data that may differ from its own; nothing is trained on it.

    Args:
        done: the pre-training; its encoder, frames and clips are unchanged.
        skeleton: name and digest of the layout it was trained on.
        common: the evaluation settings on the new data.
        store, split: the new data.
        tracks: protocol -> track and label of its cell.

    Raises:
        SkelbenchError: if the skeletons differ or there is no such split.
    """
    layout, digest = skeleton
    if digest != store.layout.digest:
        raise SkelbenchError(
            f"'{store.name}' has the skeleton '{store.layout.name}' ({store.layout.num_joints} joints), this run was "
            f"trained on another one, '{layout}'; choose data with that skeleton."
        )
    store.sides(split)  # an unknown split is reported before anything is read
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
    """Plan the untrained encoders as floors of an evaluation: the same backbone, frames and settings."""
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


def check_trained_stream(record: Record, stream: str | None) -> None:
    """Raise a `SkelbenchError` unless a pre-training was on this stream, or on all."""
    trained = record.cell.stream
    if stream is not None and trained not in ("all", stream):
        raise SkelbenchError(f"This run was trained on the stream '{trained}', not on '{stream}'.")
