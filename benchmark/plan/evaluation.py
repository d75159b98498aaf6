"""Plan the evaluation of a finished pre-training on any data, with its floors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...datasets.store import Store
from ...errors import SkelbenchError
from ...results.command import RUN, command_line, options, setting_options
from ...results.record import FLOOR, FUSED, FUSED_STREAMS, PRETRAIN, Cell, Configuration, Record
from ...results.store import read_record
from ...results.tables.rows import FLOOR_SEEDS
from ..protocols import PROTOCOLS
from .build import recipe_of
from .code import check_code, plugins_of
from .fusion import plan_fusions
from .identity import Pretraining, plan
from .overrides import NO_CHANGES, Changes
from .planner import Plan
from .tracks import Resolved, resolve
from .transfer import elsewhere


def plan_evaluation(
    folder: Path,
    store: Store,
    split: str,
    stream: str | None,
    protocols: tuple[str, ...],
    track: str,
    clips: str = "test",
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """Plan the evaluation of a finished pre-training on a split of any store with its skeleton, and its floors.

    Args:
        folder: of the pre-training.
        stream: by default that of the pre-training; "3s" for all three and their fusion.
        track: the track of the evaluation settings. The classifier of an imported checkpoint is evaluated as it was
            trained, whatever the track, and without floors.
        clips: what such a classifier scores: "test", or "all" clips of the store.
        settings: dotted settings of the protocols that differ from the track's, such as "linear.lr".

    Raises:
        SkelbenchError: if the folder is not a finished pre-training, the skeletons differ, the method has no single
            stream to evaluate and none is named, or a setting is not one of these protocols.
    """
    record = open_run(folder)
    tasks, floors = [], []
    released = tuple(name for name in protocols if getattr(PROTOCOLS[name], "imported_only", False))
    protocols = tuple(name for name in protocols if name not in released)
    if clips == "all" and protocols:
        raise SkelbenchError(
            f"--clips all is for the protocol classifier; {', '.join(protocols)} have a training and a test side: "
            "leave it out, or give --protocol classifier."
        )
    changes = Changes(single=_own(settings or {}, protocols))
    for one in FUSED_STREAMS if stream == FUSED else (stream,):
        if released:
            task = _as_released(record, store, split, one, released, clips)
            commands = {
                key.cell.protocol: _command(store, key.cell, task.stream, None, clips) for key in task.evaluations
            }
            tasks.append((replace(task, encoders=folder, commands=commands), store))
        if not protocols:
            continue
        task = _evaluation(record, store, split, one, protocols, track, changes)
        commands = {
            key.cell.protocol: _command(store, key.cell, task.stream, track, changes=changes)
            for key in task.evaluations
        }
        commands[PRETRAIN] = commands[protocols[0]]  # which makes the floor's pre-training too
        tasks.append((replace(task, encoders=folder, commands=commands), store))
        floors += [(replace(floor, commands=commands), store) for floor in _floors(task, store, protocols, track)]
    fusions = plan_fusions([*tasks, *floors], track) if stream == FUSED else []
    return Plan(tasks=floors, transfers=tasks, fusions=fusions)


def _own(settings: Mapping[str, Any], protocols: tuple[str, ...]) -> Mapping[str, Any]:
    """The settings, if all are of these protocols."""
    for name in settings:
        if name.partition(".")[0] not in (*protocols, "selection"):
            raise SkelbenchError(
                f"'{name}' is not a setting of {', '.join(protocols) or 'a protocol that is trained'}: the run keeps "
                "the settings that it was trained with, and --set takes those of its evaluation, such as linear.lr."
            )
    return settings


def _together(protocol: str, changes: Changes) -> str:
    """The protocol and those whose settings are changed, which its cell's variant lists, too."""
    changed = (setting.partition(".")[0] for setting in changes.single)
    return ",".join(dict.fromkeys([protocol, *(name for name in changed if name in PROTOCOLS)]))


def _command(
    store: Store,
    cell: Cell,
    stream: str,
    track: str | None,
    clips: str = "test",
    changes: Changes = NO_CHANGES,
) -> str:
    protocols = _together(cell.protocol, changes)
    place = [("dataset", store.name), ("split", cell.split), ("stream", stream), ("protocol", protocols)]
    place += [("track", track), ("clips", "all" if clips == "all" else None)]
    return command_line("evaluate", RUN, *options(place), *setting_options(changes.single), plugins=plugins_of(cell))


def open_run(folder: Path) -> Record:
    """Read the record of a finished pre-training from its folder.

    Raises:
        SkelbenchError: if the folder is not a finished pre-training, or its plugin is not loaded or has changed.
    """
    record = read_record(folder)
    if record.cell.protocol != PRETRAIN:
        raise SkelbenchError(f"{folder} is not a pre-training; name the folder with '-pretrain-' that it builds on.")
    check_code(record)
    return record


def check_trained_stream(record: Record, stream: str | None) -> None:
    """Raise a `SkelbenchError` unless a pre-training was on this stream, or on all."""
    trained = record.cell.stream
    if stream is not None and trained not in ("all", stream):
        raise SkelbenchError(f"This run was trained on the stream '{trained}', not on '{stream}'.")


def _evaluation(
    record: Record,
    store: Store,
    split: str,
    stream: str | None,
    protocols: tuple[str, ...],
    track: str,
    changes: Changes,
) -> Pretraining:
    done, common = _trained(record, store, split, stream, track, changes)
    variant = ", ".join(filter(None, (record.cell.variant, changes.variant("")))) or None
    standing = {"track": "custom", "label": f"{_origin(record)}, {track} evaluation", "variant": variant}
    return elsewhere(done, _skeleton(record, store), common, store, split, protocols, standing)


def _as_released(
    record: Record, store: Store, split: str, stream: str | None, protocols: tuple[str, ...], clips: str
) -> Pretraining:
    """Evaluate with the checkpoint's own rules; `published` if those and the data are the released ones."""
    done, common = _trained(record, store, split, stream, "published")
    rules = {"valid": done.recipe.valid, "protocols": {protocol: {"clips": clips} for protocol in protocols}}
    common = replace(common, recipe=common.recipe.model_copy(update=rules))
    here = (record.cell.dataset, record.cell.split) == (store.name, split)
    every = ", all clips" if clips == "all" else ""
    label, variant = f"{_origin(record)}, its own classifier{every}", record.cell.variant
    standing: dict[str, str | None] = {"track": "custom", "label": label, "variant": variant}
    if record.settings.get("released_for_this_data") and here and not every:
        standing = {"track": "published", "label": None, "variant": None}
    return elsewhere(done, _skeleton(record, store), common, store, split, protocols, standing)


def _trained(
    record: Record, store: Store, split: str, stream: str | None, track: str, changes: Changes = NO_CHANGES
) -> tuple[Pretraining, Resolved]:
    """The finished pre-training, and the settings of a track on the evaluated data."""
    trained = record.cell
    stream = stream or ("joint" if trained.stream == "all" else trained.stream)
    check_trained_stream(record, stream)
    given = record.settings.get("title")
    title = None if given is None else str(given)
    own = recipe_of(record, clips=None)
    imported = "imported" in record.environment
    told = {"title": title, "imported": imported, "demonstration": bool(record.settings.get("demonstration"))}
    done = Pretraining(record.key, own, trained.split, stream, (), "fp32", exact=False, **told)
    place = Configuration(trained.method, trained.backbone, store.name, split, stream)
    return done, resolve(place, track, changes=changes)


def _origin(record: Record) -> str:
    cell = record.cell
    return f"{cell.label or cell.track}, trained on {cell.dataset} {cell.split}"


def _skeleton(record: Record, store: Store) -> tuple[str, str]:
    return str(record.data.get("layout")), str(record.data.get("skeleton", store.layout.digest))


def _floors(task: Pretraining, store: Store, protocols: tuple[str, ...], track: str) -> list[Pretraining]:
    """The untrained encoders as floors of an evaluation: the same backbone, frames and settings."""
    evaluated = task.evaluations[0].cell
    recipe = task.recipe
    settings = {"frames": recipe.frames, "valid": recipe.valid, "method.init": recipe.method.get("init", "released")}
    settings |= {f"backbone.{name}": value for name, value in recipe.backbone.items()}
    configuration = Configuration(FLOOR, evaluated.backbone, store.name, task.split, task.stream)
    resolved = resolve(configuration, track, changes=Changes(named=settings))
    floor = resolved.recipe.model_copy(update={"protocols": recipe.protocols, "selection": recipe.selection})
    label, variant = evaluated.label, evaluated.variant
    resolved = replace(resolved, recipe=floor, label=label, variant=variant, trained_variant=variant)
    common: dict[str, Any] = {
        "protocols": protocols,
        "fingerprint": store.fingerprint,
        "precision": task.precision,
        "pretrained_on": evaluated.pretrained_on,
    }
    return [plan(resolved, configuration, seed=seed, **common) for seed in range(FLOOR_SEEDS)]
