"""Accuracies without a learnt representation: a clip's joints themselves, by nearest neighbour and by ridge regression.

The features are a clip as encoders get it, flattened: every coordinate of every joint, frame and person, centred and
turned as the loader does for all, and nothing more. Both are computed in float64 and have nothing random in them.
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

from ... import __version__
from ...datasets.clips import Clips, load_dataset
from ...datasets.store import Store
from ...errors import SkelbenchError
from ...results.claims import Claims
from ...results.record import Cell, Failure, Record, Score
from ...results.store import RunStore
from ...results.tables.rows import RAW, RAW_LABEL
from ..plan.identity import cell_facts, identify
from ..protocols import Features
from ..protocols.base import held_out, score, top
from ..protocols.linear import standardiser
from ..train.devices import peak_memory
from .cell import make
from .options import Options
from .record import data_of, environment_of, git_revision, now, score_files

VERSION = 1
PENALTIES = tuple(10.0**power for power in range(-2, 8))
SETTINGS: dict[str, dict[str, Any]] = {
    "nearest": {"distance": "euclidean", "k": 1},
    "ridge": {"penalties": PENALTIES, "standardise": True, "chosen_on": "held-out training subjects"},
}
_CHUNK = 512  # queries at once: 164 MB of float64 distances to 40,091 clips
_DOUBT = 1e-9  # of the squared length of the longest clip: far above what a product in float64 rounds away


@dataclass(frozen=True)
class Scored:
    """Scores (N_test, classes) float32, the highest being the prediction, and what else there is to record."""

    scores: Tensor
    extra: Mapping[str, float]


def joints(clips: Clips) -> Features:
    """The clips of one side as features: x (N, 3·T·V·M) float32."""
    return Features(clips.x.flatten(1), clips.label, clips.subject)


def nearest(train: Features, test: Tensor, classes: int) -> Scored:
    """Give each of the test clips (N', D) the label of the nearest training clip, the first of equally near ones.

    A class's score is minus the Euclidean distance to its nearest clip, minus infinity for a class without any.
    """
    bank = train.x.double()
    length = bank.square().sum(dim=1)
    rows = []
    for queries in test.split(_CHUNK):
        squared = _squared_distances(bank, length, queries.double())
        rows.append(_class_scores(squared, train.label, classes))
    return Scored(torch.cat(rows), {})


def _squared_distances(bank: Tensor, length: Tensor, queries: Tensor) -> Tensor:
    """Squared distances (n, N) of queries (n, D) to a bank (N, D), whose own squared lengths are `length` (N,).

    A product of matrices may round equal distances apart, so those next to the least are taken from differences.
    """
    own = queries.square().sum(dim=1, keepdim=True)
    squared = (own + length - 2 * queries @ bank.T).clamp_(min=0)
    doubtful = squared <= squared.amin(dim=1, keepdim=True) + _DOUBT * torch.maximum(own, length.max())
    for row in (doubtful.sum(dim=1) > 1).nonzero()[:, 0].tolist():
        places = doubtful[row].nonzero()[:, 0]
        squared[row, places] = (bank[places] - queries[row]).square().sum(dim=1)
    return squared


def _class_scores(squared: Tensor, label: Tensor, classes: int) -> Tensor:
    """Minus the distance (n, classes) to each class's nearest, from squared ones (n, N) to clips with `label` (N,)."""
    n = len(squared)
    least = squared.new_full((n, classes), torch.inf).scatter_reduce(1, label.expand(n, -1), squared, "amin")
    scores = -least.sqrt().float()
    won = label[squared.argmin(dim=1)][:, None]  # argmin takes the first of equal ones
    highest = scores.gather(1, won)
    below = torch.nextafter(highest, highest.new_tensor(-torch.inf))
    # Another class's clip may be as near, or become so in float32: it must not take the prediction over.
    return torch.minimum(scores, below).scatter(1, won, highest)


def ridge(train: Features, test: Tensor, classes: int) -> Scored:
    """Score the test clips (N', D) by ridge regression on standardised features, to one-hot targets.

    The penalty is the one of `PENALTIES` with the highest accuracy on training subjects held out of a first fit, the
    largest of equally good ones; the second fit has all training clips.

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
    told = [top(scores, unseen.label, 1) for scores in regressions(rest, unseen.x, classes, PENALTIES)]
    penalty = max(one for one, value in zip(PENALTIES, told, strict=True) if value == max(told))
    (scores,) = regressions(train, test, classes, (penalty,))
    return Scored(scores.float(), {"penalty": penalty, "held_out_top1": max(told)})


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


def plan_baselines(stores: Sequence[Store], splits: Sequence[str], frames: int) -> list[RawSplit]:
    """Every split of every store, or those of these names.

    Raises:
        SkelbenchError: if a store has no such split, or a side of it is empty.
    """
    places = [RawSplit(store, split, frames) for store in stores for split in splits or store.splits]
    for place in places:
        place.store.sides(place.split)
    return places


def run_baselines(places: Sequence[RawSplit], runs: RunStore, options: Options) -> list[Failure]:
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


def _record(
    place: RawSplit, cell: Cell, identity: str, load: Callable[[], tuple[Clips, Clips]], runs: RunStore
) -> Record:
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
        versions={"skelbench": __version__, "git": git_revision(), "method": VERSION, "protocol": VERSION},
        environment=environment_of("cpu") | {"precision": "fp64"},
        data=data_of((train, test)),
        model={"parameters": 0, "frames": place.frames, "epochs": 0, "persons": train.x.shape[-1], "flops_per_clip": 0},
        last=Score(**score(found.scores, test.label)),
        extra=dict(found.extra),
        cost={"eval_seconds": seconds, "peak_memory_mb": peak_memory("cpu")},
        files=score_files(folder, test.name, label, scores, test.class_names),
        finished=now(),
    )
