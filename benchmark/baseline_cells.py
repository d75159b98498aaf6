"""The cells of the baselines on raw joints: planned for whole data sets, made, and left as records like any other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from .. import __version__
from ..datasets.clips import Clips, load_dataset
from ..datasets.store import Store
from ..results.claims import Claims
from ..results.means import RAW, RAW_LABEL
from ..results.record import Cell, Failure, Record, Score
from ..results.store import RunStore
from . import facts
from .baselines import BASELINES, PENALTIES, VERSION, joints
from .making import make
from .options import Options
from .plan.identity import cell_facts, identify
from .protocols.base import score
from .train.devices import peak_memory

SETTINGS: dict[str, dict[str, Any]] = {
    "nearest": {"distance": "euclidean", "k": 1},
    "ridge": {"penalties": PENALTIES, "standardise": True, "chosen_on": "held-out training subjects"},
}


@dataclass(frozen=True)
class Place:
    """A split of a store, its clips resampled to a number of frames."""

    store: Store
    split: str
    frames: int

    def __str__(self) -> str:
        return f"{self.store.name} {self.split}, {self.frames} frames"

    def load(self) -> tuple[Clips, Clips]:
        """Check the data and load both sides."""
        self.store.verify()
        return load_dataset(self.store, self.split, frames=self.frames)

    def cells(self) -> list[tuple[Cell, str]]:
        """Cell and identity of every baseline."""
        return [self._cell(protocol) for protocol in BASELINES]

    def settings(self, protocol: str) -> dict[str, Any]:
        """All that decides a baseline's number beside the data."""
        return {"frames": self.frames, "valid": "any", "source": "raw joints", protocol: SETTINGS[protocol]}

    def _cell(self, protocol: str) -> tuple[Cell, str]:
        cell = Cell(
            track="custom",
            label=RAW_LABEL,
            method=RAW,
            backbone="none",
            dataset=self.store.name,
            split=self.split,
            stream="joint",
            protocol=protocol,
            seed=0,
        )
        decisive = {"cell": cell_facts(cell), "settings": self.settings(protocol), "versions": [VERSION]}
        return cell, identify(decisive | {"data": self.store.fingerprint})


def plan_baselines(stores: Sequence[Store], splits: Sequence[str], frames: int) -> list[Place]:
    """Every split of every store, or those of these names.

    Raises:
        SkelbenchError: if a store has no such split, or a side of it is empty.
    """
    places = [Place(store, split, frames) for store in stores for split in splits or store.splits]
    for place in places:
        place.store.sides(place.split)
    return places


def run_baselines(places: Sequence[Place], runs: RunStore, options: Options) -> list[Failure]:
    """Make what is not done yet; return what failed, after writing it down.

    Raises:
        StoppedError: if asked to stop.
    """
    failures: list[Failure] = []
    claims = Claims(runs.root)
    for number, place in enumerate(places, start=1):
        options.watcher.say(f"[{number}/{len(places)}] {place}")
        load = cache(place.load)  # once for all baselines, and not where they are done
        for cell, identity in place.cells():
            record = partial(_record, place, cell, identity, load, runs)
            failures += make(cell, identity, record, runs, options, claims) or []
    return failures


def _record(place: Place, cell: Cell, identity: str, load: Callable[[], tuple[Clips, Clips]], runs: RunStore) -> Record:
    """Score the test clips, write the files beside the record and return it."""
    train, test = load()
    started = time.monotonic()
    found = BASELINES[cell.protocol](joints(train), joints(test).x, train.num_classes)
    seconds = round(time.monotonic() - started, 2)
    label, scores = test.label.numpy(), found.scores.numpy()
    runs.forget(cell, identity)
    folder = runs.folder(cell, identity)
    return Record(
        cell=cell,
        identity=identity,
        settings=place.settings(cell.protocol),
        versions={"skelbench": __version__, "git": facts.git_revision(), "method": VERSION, "protocol": VERSION},
        environment=facts.environment("cpu") | {"precision": "fp64"},
        data=facts.data((train, test)),
        model={"parameters": 0, "frames": place.frames, "epochs": 0, "persons": train.x.shape[-1], "flops_per_clip": 0},
        last=Score(**score(found.scores, test.label)),
        extra=dict(found.extra),
        cost={"eval_seconds": seconds, "peak_memory_mb": peak_memory("cpu")},
        files=facts.score_files(folder, test.name, label, scores, test.class_names),
        finished=facts.now(),
    )
