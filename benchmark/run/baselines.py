"""Baselines without a learnt representation: nearest neighbour and ridge regression on a clip's raw joints.

The features are the encoders' input, flattened: every coordinate of every joint, frame and person, centred and rotated
by the loader as for all methods, with no further processing. Both baselines are computed in float64 and deterministic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...datasets.clips import Clips, load_dataset
from ...datasets.store import Store
from ...errors import SkelbenchError
from ...results.claims import Claim, Claims
from ...results.record import RAW, RAW_LABEL, Cell, Failure, Key, Record, Score
from ...results.store import RunStore
from ..plan.identity import cell_facts, identify
from ..protocols import Features
from ..protocols.base import class_numbers, held_out, score, top
from ..protocols.linear import standardiser
from ..train.devices import peak_memory
from ..train.options import Options
from .cell import empty_folder, run_cell
from .record import data_of, environment_of, facts_of, make_record, score_files, versions

VERSION = 2  # 1: equal scores were ranked in no defined order
PENALTIES = tuple(10.0**power for power in range(-2, 8))
SETTINGS: dict[str, dict[str, Any]] = {
    "nearest": {"distance": "euclidean", "k": 1},
    "ridge": {"penalties": PENALTIES, "standardise": True, "chosen_on": "held-out training subjects"},
}
_CHUNK = 512  # queries per batch: 164 MB of float64 distances to 40,091 clips
_DOUBT = 1e-9  # of the squared length of the longest clip: far above the rounding error of a float64 product


@dataclass(frozen=True)
class Scored:
    """Scores (N_test, classes) float32, the highest being the prediction, and further values for the record."""

    scores: Tensor
    extra: Mapping[str, float]


def joints(clips: Clips) -> Features:
    """The clips of one side of a split as features: x (N, 3·T·V·M) float32."""
    return Features(clips.x.flatten(1), clips.label, clips.subject)


def nearest(train: Features, test: Tensor, classes: int) -> Scored:
    """Give each of the test clips (N', D) the label of the nearest training clip; ties go to the first clip.

    A class's score is minus the Euclidean distance to its nearest clip, minus infinity for a class without clips.
    """
    bank = train.x.double()
    length = bank.square().sum(dim=1)
    rows = []
    for queries in test.split(_CHUNK):
        squared = _squared_distances(bank, length, queries.double())
        rows.append(_class_scores(squared, train.label, classes))
    return Scored(torch.cat(rows), {})


def _squared_distances(bank: Tensor, length: Tensor, queries: Tensor) -> Tensor:
    """Squared distances (n, N) of queries (n, D) to a bank (N, D) with squared lengths `length` (N,).

    Rounding in the matrix product can separate equal distances, so those close to the smallest are recomputed from
    differences.
    """
    own = queries.square().sum(dim=1, keepdim=True)
    squared = (own + length - 2 * queries @ bank.T).clamp_(min=0)
    doubtful = squared <= squared.amin(dim=1, keepdim=True) + _DOUBT * torch.maximum(own, length.max())
    for row in (doubtful.sum(dim=1) > 1).nonzero()[:, 0].tolist():
        places = doubtful[row].nonzero()[:, 0]
        squared[row, places] = (bank[places] - queries[row]).square().sum(dim=1)
    return squared


def _class_scores(squared: Tensor, label: Tensor, classes: int) -> Tensor:
    """Minus the distance (n, classes) to each class's nearest clip, from squared distances (n, N) and `label` (N,)."""
    n = len(squared)
    least = squared.new_full((n, classes), torch.inf).scatter_reduce(1, label.expand(n, -1), squared, "amin")
    scores = -least.sqrt().float()
    won = label[squared.argmin(dim=1)][:, None]  # argmin takes the first of several minima
    highest = scores.gather(1, won)
    below = torch.nextafter(highest, highest.new_tensor(-torch.inf))
    # Another class's clip may be as near, or become so in float32; it must not change the prediction.
    return torch.minimum(scores, below).scatter(1, won, highest)


def ridge(train: Features, test: Tensor, classes: int) -> Scored:
    """Score the test clips (N', D) by ridge regression on standardised features, to one-hot targets.

    The penalty is the one of `PENALTIES` with the highest accuracy on training subjects held out of a first fit; ties
    go to the largest. The second fit uses all training clips.

    Raises:
        SkelbenchError: if there are too few training clips to hold some out.
    """
    out = held_out(train.subject)
    rest, unseen = train[~out], train[out]
    if not len(rest.label):
        raise SkelbenchError(
            f"The penalty of ridge is chosen on training clips held out of a first fit, and {len(train.label)} are too "
            "few for that; take a split with more training clips."
        )
    accuracies = [top(scores, unseen.label, 1) for scores in regressions(rest, unseen.x, classes, PENALTIES)]
    penalty = max(one for one, value in zip(PENALTIES, accuracies, strict=True) if value == max(accuracies))
    (scores,) = regressions(train, test, classes, (penalty,))
    return Scored(scores.float(), {"penalty": penalty, "held_out_top1": max(accuracies)})


def regressions(train: Features, x: Tensor, classes: int, penalties: Sequence[float]) -> Iterator[Tensor]:
    """Scores (N', classes) float64 of x (N', D) for each penalty: argmin over W, b of |Y - XW - b|² + penalty·|W|².

    X is standardised, so that b is each class's share of the training clips. Where D > N the dual form is solved.
    """
    mean, scale = standardiser(train.x)
    known, queries = ((rows.double() - mean) / scale for rows in (train.x, x))
    target = functional.one_hot(train.label, classes).double()
    share = target.mean(dim=0)
    dual = known.shape[1] > known.shape[0]
    gram = known @ known.T if dual else known.T @ known
    right = target - share if dual else known.T @ (target - share)
    unit = torch.eye(len(gram), dtype=gram.dtype)
    for penalty in penalties:
        solved = torch.cholesky_solve(right, torch.linalg.cholesky(gram + penalty * unit))
        yield queries @ (known.T @ solved if dual else solved) + share


BASELINES: Mapping[str, Callable[[Features, Tensor, int], Scored]] = {"nearest": nearest, "ridge": ridge}


@dataclass(frozen=True)
class RawSplit:
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

    def cells(self) -> list[Key]:
        """The cell of every baseline."""
        return [self._key(protocol) for protocol in BASELINES]

    def settings(self, protocol: str) -> dict[str, Any]:
        """Everything besides the data that determines a baseline's result."""
        return {"frames": self.frames, "valid": "any", "source": "raw joints", protocol: SETTINGS[protocol]}

    def _key(self, protocol: str) -> Key:
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
        return Key(cell, identify(decisive | {"data": self.store.fingerprint}))


def plan_baselines(stores: Sequence[Store], splits: Sequence[str], frames: int) -> list[RawSplit]:
    """List every split of every store, or only the named splits.

    Raises:
        SkelbenchError: if a store lacks a named split, or one side of it is empty.
    """
    places = [RawSplit(store, split, frames) for store in stores for split in splits or store.splits]
    for place in places:
        place.store.sides(place.split)
    return places


def run_baselines(places: Sequence[RawSplit], runs: RunStore, options: Options) -> list[Failure]:
    """Run the baselines that are not done yet; write and return the failures.

    Raises:
        StoppedError: if asked to stop.
    """
    failures: list[Failure] = []
    claims = Claims(runs.root)
    for number, place in enumerate(places, start=1):
        options.watcher.say(f"[{number}/{len(places)}] {place}")
        load = cache(place.load)  # loaded once for all baselines, and only if one is not done
        for key in place.cells():
            if not options.force and runs.find(key):
                options.watcher.say(f"  {key.cell.protocol}: done before")
                continue
            ended = run_cell(key, partial(_record, place, key, load, runs), runs, options, claims)
            failures += ended.failures
            if ended.left:
                options.watcher.say(f"  {key.cell.protocol}: another process is running it")
    return failures


def _record(place: RawSplit, key: Key, load: Callable[[], tuple[Clips, Clips]], runs: RunStore, claim: Claim) -> Record:
    """Score the test clips, write the files next to the record and return the record."""
    train, test = load()
    started = time.monotonic()
    found = BASELINES[key.cell.protocol](joints(train), joints(test).x, train.num_classes)
    seconds = round(time.monotonic() - started, 2)
    label, scores = test.label.numpy(), found.scores.numpy()
    folder = empty_folder(key, runs, claim)
    return make_record(
        key,
        settings=place.settings(key.cell.protocol),
        versions=versions(method=VERSION, protocol=VERSION),
        environment=environment_of("cpu") | {"precision": "fp64"},
        data=data_of((train, test)),
        model={"parameters": 0, "frames": place.frames, "epochs": 0, "persons": train.x.shape[-1], "flops_per_clip": 0},
        last=Score(**score(found.scores, test.label)),
        extra={**found.extra, **class_numbers(found.scores, test.label)},
        cost={"eval_seconds": seconds, "peak_memory_mb": peak_memory("cpu")},
        files=score_files(folder, test.name, label, scores, test.class_names, facts_of([test])),
    )
