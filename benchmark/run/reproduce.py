"""Run a record's configuration again and compare the results, number by number and bit by bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.catalogue import open_dataset
from ...datasets.store import Store
from ...errors import SkelbenchError
from ...methods import METHODS
from ...results.command import COMMAND, verb
from ...results.files import read_curve, read_scores
from ...results.record import FUSED, PRETRAIN, RAW, RECORD, Record
from ...results.store import RunStore, read_record
from ..plan.build import recipe_of
from ..plan.code import check_code
from ..plan.identity import Pretraining, plan
from ..plan.planner import Plan
from ..plan.tracks import Resolved
from ..train.checkpoint import read_tensors
from ..train.devices import choose_device
from ..train.options import Options
from ..train.progress import Watcher
from ..train.trainer import snapshot_path
from .older import older_versions
from .runner import Runner
from .tasks import tasks_of


@dataclass(frozen=True)
class Compared:
    """One value in two runs: its name, the old and the new value, and whether they are bit-identical."""

    what: str
    before: str
    now: str
    equal: bool


def reproduce(path: Path, runs: RunStore, device: str, watcher: Watcher) -> list[Compared]:
    """Run a record's configuration again, in a separate folder of runs, and compare.

    Args:
        path: a `record.json`, or its folder.
        runs: where the new run is written; must be empty.
        device: "auto" for the device type named in the record.

    Raises:
        SkelbenchError: if it cannot be run again as it was: other data or versions, or made from other runs.
    """
    folder = path.parent if path.name == RECORD else path
    record = read_record(folder)
    if Path(record.cell.dataset).name != record.cell.dataset or record.cell.dataset.startswith("."):
        raise SkelbenchError(f"{path} names the data set {record.cell.dataset!r}, not a valid name; nothing was run.")
    store = open_dataset(record.cell.dataset)
    task = plan_again(record, store)
    recorded = record.environment
    device = choose_device(str(recorded.get("device", "cpu")).partition(":")[0] if device == "auto" else device)
    options = Options(
        device=device,
        threads=int(str(recorded.get("threads", 1))),
        watcher=watcher,
        compiled=bool(recorded.get("compile")),
        recorded=bool(recorded.get("graph")),
        deterministic=bool(recorded.get("deterministic")),
    )
    (work,) = tasks_of(Plan(tasks=[(task, store)]))
    for failure in Runner(runs, options).perform(work).failures:
        raise SkelbenchError(f"{failure.cell} failed when it was run again: {failure.reason}")
    again = runs.find(record.key)
    assert again is not None
    return [*differing(record, again), *compare(record, folder, again, runs)]


def plan_again(record: Record, store: Store) -> Pretraining:
    """Plan the task that reproduces a record's cell.

    Raises:
        SkelbenchError: if the planned task has another identity than the record, or its plugin is not loaded.
    """
    cell, settings = record.cell, record.settings
    protocol = () if cell.protocol == PRETRAIN else (cell.protocol,)
    if cell.method == RAW:
        raise SkelbenchError(f"{cell} trains nothing; run it again with `skelbench baselines` in another --out.")
    fused = "fusion" in settings or cell.stream == FUSED
    check_code(record)
    evaluated = verb(record.environment.get(COMMAND)) == "evaluate"
    elsewhere = cell.pretrained_on is not None and METHODS[cell.method].trainable
    if fused or elsewhere or evaluated or record.environment.get("imported") or settings.get("ranks", 1) != 1:
        raise SkelbenchError(
            f"{cell} is made of other runs (a fusion, a transfer, an import, an evaluation of either, several ranks) "
            "and cannot be run again on its own; reproduce the records that it builds on."
        )
    recipe = recipe_of(record, protocols={name: settings[name] for name in protocol})
    resolved = Resolved(
        recipe,
        cell.track,
        bool(settings.get("released_for_this_data")),
        label=cell.label,
        variant=cell.variant,
        trained_variant=cell.variant,
    )
    task = plan(
        resolved,
        cell.configuration,
        seed=cell.seed,
        protocols=protocol,
        fingerprint=store.fingerprint,
        precision=str(settings.get("precision", "fp32")),
        pretrained_on=cell.pretrained_on,
    )
    identity = task.evaluations[0].identity if protocol else task.identity
    if identity != record.identity:
        changed = older_versions(record, store.fingerprint) or "its settings have other defaults now"
        raise SkelbenchError(
            f"{cell} cannot be run again as it was: {changed}; prepare the same data, or take skelbench "
            f"{record.versions['skelbench']}."
        )
    return task


def differing(record: Record, again: Record) -> Iterator[Compared]:
    """Differences in machine and software that may explain different results."""
    for name, value in {**record.environment, **record.versions}.items():
        if name == COMMAND:
            continue
        now = again.environment.get(name, again.versions.get(name))
        if now != value:
            yield Compared(f"({name})", str(value), str(now), True)


def compare(record: Record, folder: Path, again: Record, runs: RunStore) -> Iterator[Compared]:
    """Compare the numbers, scores, learning curve and weights of a record and its second run."""
    place = runs.folder(again.key)
    now = _numbers(again)
    for what, before in _numbers(record).items():
        yield Compared(what, repr(before), repr(now.get(what)), before == now.get(what))
    if "scores" in record.files:
        (_, _, mine), (_, _, theirs) = (read_scores(at / record.files["scores"]) for at in (folder, place))
        yield _arrays("scores of the test clips", [mine], [theirs])
    if record.cell.protocol == PRETRAIN and "curve" in record.files:
        mine, theirs = (read_curve(at / record.files["curve"], "loss")[0] for at in (folder, place))
        yield Compared("loss of the last epoch", repr(mine[-1][1]), repr(theirs[-1][1]), mine == theirs)
    yield from _weights(record, folder, again, runs)


def _numbers(record: Record) -> dict[str, Any]:
    scores = {"last": record.last, "best": record.best}
    found = {f"{which} {n}": getattr(s, n) for which, s in scores.items() if s for n in ("top1", "top5")}
    return found | dict(record.extra)


def _weights(record: Record, folder: Path, again: Record, runs: RunStore) -> Iterator[Compared]:
    """Compare the encoders after the last epoch, if the first run's is still there."""
    identity = record.pretrain or record.identity
    trained = next((one for one in runs.records() if one.identity == identity), None)
    folders = [folder] if record.pretrain is None else sorted(folder.parent.glob(f"*-{identity[:10]}"))
    paths = [snapshot_path(at, int(again.settings["epochs"])) for at in folders]  # type: ignore[arg-type]
    paths = [path for path in paths if path.exists()]
    if trained is None or not paths:
        return
    own = snapshot_path(runs.folder(trained.key), int(again.settings["epochs"]))  # type: ignore[arg-type]
    mine, theirs = read_tensors(paths[0]), read_tensors(own)
    yield _arrays("weights of the encoder", *([value.numpy() for value in state.values()] for state in (mine, theirs)))


def _arrays(what: str, before: list[np.ndarray], now: list[np.ndarray]) -> Compared:
    equal = len(before) == len(now) and all(map(np.array_equal, before, now))
    if equal:
        return Compared(what, "the same", "the same", True)
    far = max(float(np.abs(a.astype(float) - b).max(initial=0)) for a, b in zip(before, now, strict=True))
    return Compared(what, "", f"differ by up to {far:.3g}", False)
