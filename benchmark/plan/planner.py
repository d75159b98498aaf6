"""Expand a grid to a plan: pre-trainings, their evaluations, transfers and fusions, with identities."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ...backbones import BACKBONES
from ...datasets.catalogue import open_dataset
from ...datasets.store import Store
from ...datasets.streams import STREAMS
from ...errors import SkelbenchError
from ...methods.base import METHODS
from ...registry import did_you_mean
from ...results.record import FUSED, FUSED_STREAMS, Configuration, Key
from ..protocols import PROTOCOLS
from .compatibility import Trial, check_persons
from .feasibility import Feasibility
from .fusion import Fusion, plan_fusions
from .grid import Grid, once
from .identity import Pretraining, plan
from .overrides import Changes, check_owners
from .tracks import Resolved, Sizes, resolve
from .transfer import elsewhere


@dataclass
class Plan:
    """The tasks of a grid, in execution order.

    Attributes:
        tasks: pre-trainings with their evaluations, and the data they are trained on.
        transfers: evaluations of those pre-trainings on other data.
        fusions: fused cells, computed from the scores of the evaluations.
        refused: (method, backbone) -> the reason why the pair is left out, a sentence.
        left_out: what else is left out because of its data ("DATASET", "BACKBONE DATASET", "METHOD BACKBONE DATASET",
            "METHOD BACKBONE DATASET SPLIT PROTOCOL") -> the reason, a sentence.
        notes: what else the user should know.
    """

    tasks: list[tuple[Pretraining, Store]] = field(default_factory=list)
    transfers: list[tuple[Pretraining, Store]] = field(default_factory=list)
    fusions: list[tuple[Fusion, Store]] = field(default_factory=list)
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def results(self) -> list[Key]:
        """Every evaluation."""
        evaluated = [key for task, _ in (*self.tasks, *self.transfers) for key in task.evaluations]
        return evaluated + [fusion.key for fusion, _ in self.fusions]

    def leave_out_impossible(self) -> None:
        """Leave out what the data show to be impossible, and pre-trainings that nothing is left to build on.

        Raises:
            SkelbenchError: with the first reason, if nothing is left.
        """
        found = Feasibility()
        transferred = {task.identity for task, _ in self.transfers}
        transfers = [(found.evaluated(task, store), store) for task, store in self.transfers if found.loads(store)]
        self.transfers = [(task, store) for task, store in transfers if task.evaluations]
        needed = {task.identity for task, _ in self.transfers}
        tasks = []
        for task, store in self.tasks:
            if found.loads(store):
                left = found.evaluated(task, store)
                alone = not task.evaluations and task.identity not in transferred
                if alone or left.evaluations or task.identity in needed:
                    tasks.append((left, store))
        self.tasks = tasks
        trained = {task.identity for task, _ in tasks}
        self.transfers = [(task, store) for task, store in self.transfers if task.encoders or task.identity in trained]
        left = {key for task, _ in (*self.tasks, *self.transfers) for key in task.evaluations}
        self.fusions = [(one, store) for one, store in self.fusions if all(part.key in left for part in one.parts)]
        self.left_out = found.left_out | self.left_out
        self.notes = (*self.notes, *found.notes)
        self.check_any()

    def check_any(self) -> None:
        """Raise a `SkelbenchError` with the first reason if something was left out and nothing is left."""
        reasons = [*self.refused.values(), *self.left_out.values()]
        if reasons and not (self.tasks or self.transfers):
            raise SkelbenchError(reasons[0])

    def built_on(self) -> dict[str, list[Key]]:
        """The evaluations, transfers and fusions that build on each pre-training, by its identity."""
        found: dict[str, list[Key]] = defaultdict(list)
        for task, _ in (*self.tasks, *self.transfers):
            found[task.identity] += task.evaluations
        for fusion, _ in self.fusions:
            for identity in {part.pretrain for part in fusion.parts}:
                found[identity].append(fusion.key)
        return found


def plan_grid(grid: Grid, *, precision: str = "fp32", ranks: int = 1) -> Plan:
    """Resolve every cell of a grid, floors first; nothing is run, and only synthetic data is written.

    Raises:
        SkelbenchError: for the first invalid name or setting, before anything runs; for an incompatible pair of method
            and backbone, or data that do not allow a cell, only if nothing else is left.
    """
    plan = _plan(grid, precision, ranks)
    plan.leave_out_impossible()
    return plan


def _plan(grid: Grid, precision: str, ranks: int) -> Plan:
    _check_names(grid)
    planner = _Planner(grid, precision, ranks)
    streams = once([*(s for s in grid.streams if s != FUSED), *(FUSED_STREAMS if FUSED in grid.streams else ())])
    for place in itertools.product(grid.datasets, grid.splits, streams, grid.backbones):
        planner.add(*place)
    plan = planner.plan
    if FUSED in grid.streams:
        plan.fusions = plan_fusions([*plan.tasks, *plan.transfers], grid.track)
    plan.refused, plan.left_out = planner.trial.refused, planner.trial.left_out
    return plan


def plan_grids(grids: Sequence[Grid], *, precision: str = "fp32", ranks: int = 1) -> Plan:
    """Resolve several grids as one; shared tasks are run once. Raises the same errors as `plan_grid`."""
    merged, seen = Plan(), set()
    for grid in grids:
        plan = _plan(grid, precision, ranks)
        for ours, theirs in ((merged.tasks, plan.tasks), (merged.transfers, plan.transfers)):
            for task, store in theirs:
                key = (task.identity, task.evaluations)
                if key not in seen:
                    ours.append((task, store))
                seen.add(key)
        known = {fusion.key for fusion, _ in merged.fusions}
        merged.fusions += [(fusion, store) for fusion, store in plan.fusions if fusion.key not in known]
        merged.refused |= plan.refused
        merged.left_out |= plan.left_out
    merged.leave_out_impossible()
    return merged


def _check_names(grid: Grid) -> None:
    for method in grid.methods:
        if METHODS[method].imported_only:
            raise SkelbenchError(f"The method '{method}' is only imported; use skelbench import-weights FILE.")
    for backbone in grid.backbones:
        BACKBONES[backbone]
    for protocol in grid.protocols:
        if protocol == "transfer" and protocol not in PROTOCOLS:
            raise SkelbenchError("'transfer' is not a protocol: name one, such as linear, and --pretrained-on DATASET.")
        if getattr(PROTOCOLS[protocol], "imported_only", False):
            raise SkelbenchError(
                f"The protocol '{protocol}' evaluates an imported checkpoint; use skelbench evaluate RUN --protocol "
                f"{protocol}."
            )
    for stream in grid.streams:
        if stream not in (*STREAMS, FUSED):
            raise SkelbenchError(f"There is no stream '{stream}'{did_you_mean(stream, (*STREAMS, FUSED))}")
    check_owners(grid.set, list(METHODS), list(BACKBONES))  # a grid file may set what is left out
    check_owners(grid.also, grid.methods, grid.backbones)


class _Planner:
    """Adds cells to a plan, one combination of data, split, stream and backbone at a time."""

    def __init__(self, grid: Grid, precision: str, ranks: int):
        self.grid, self.precision, self.ranks = grid, precision, ranks
        self.changes = Changes(grid.name, grid.set, grid.also)
        self.stores = {dataset: open_dataset(dataset) for dataset in grid.datasets}
        for store, split in itertools.product(self.stores.values(), grid.splits):
            store.sides(split)  # an unknown split is reported before any setting
        self.source, self.source_split = None, ""
        if grid.pretrained_on is not None:
            name, _, self.source_split = grid.pretrained_on.partition(":")
            if not name:
                raise SkelbenchError(f"'{grid.pretrained_on}' names no data set; give DATASET or DATASET:SPLIT.")
            self.source = self.stores.get(name) or open_dataset(name)
        self.trial, self.plan = Trial(), Plan()
        self._trained: set[str] = set()

    def add(self, dataset: str, split: str, stream: str, backbone: str) -> None:
        """Plan every method and seed for one combination, floors first.

        A floor is added once for every label that a method has, so that each table has its floor.
        """
        evaluated = _Side(self.stores[dataset], split)
        source = self._source_of(evaluated)
        methods, floors = [], []
        for method in self.grid.methods:
            trainable = METHODS[method].trainable
            side = (source or evaluated) if trainable else evaluated
            configuration = side.configuration(method, backbone, stream)
            resolved = resolve(configuration, self.grid.track, (source or evaluated).sizes, self.changes)
            if self.trial.accepts(configuration, resolved.recipe, side.store):
                (methods if trainable else floors).append((configuration, resolved))
        labels = []
        for _, resolved in methods or floors:
            if resolved.labels not in labels:
                labels.append(resolved.labels)
        origin = f"{source.store.name}:{source.split}" if source else None
        for configuration, floor in floors:
            for kind in labels:
                self._add_trained(replace(floor, labels=kind), configuration, evaluated, pretrained_on=origin)
        for configuration, resolved in methods:
            if source:
                self._add_transfer(resolved, configuration, source, evaluated)
            else:
                self._add_trained(resolved, configuration, evaluated)

    def _source_of(self, evaluated: _Side) -> _Side | None:
        """The data and split that encoders are pre-trained on; None for the evaluated data."""
        if self.source is None:
            return None
        source = _Side(self.source, self.source_split or evaluated.split)
        return None if source.name == evaluated.name else source

    def _tasks(self, resolved: Resolved, configuration: Configuration, store: Store, **more: Any) -> list[Pretraining]:
        trainable = METHODS[configuration.method].trainable
        how = {"precision": self.precision, "ranks": self.ranks if trainable else 1, "fingerprint": store.fingerprint}
        seeds = self.grid.seeds if trainable else self.grid.floor_seeds
        tasks = [plan(resolved, configuration, seed=seed, **how, **more) for seed in seeds]
        return [replace(task, demonstration=self.grid.demonstration) for task in tasks]

    def _add_trained(
        self, resolved: Resolved, configuration: Configuration, side: _Side, pretrained_on: str | None = None
    ) -> None:
        more = {"protocols": self.grid.protocols, "pretrained_on": pretrained_on}
        for task in self._tasks(resolved, configuration, side.store, **more):
            self.plan.tasks.append((task, side.store))
            self._trained.add(task.identity)

    def _add_transfer(self, resolved: Resolved, trained: Configuration, source: _Side, evaluated: _Side) -> None:
        there = trained._replace(dataset=evaluated.store.name, split=evaluated.split)
        common = resolve(there, self.grid.track, changes=self.changes)
        check_persons(trained, resolved.recipe, source.store, evaluated.store)
        skeleton = (source.store.layout.name, source.store.layout.digest)
        tracks = {protocol: resolved.track_of(protocol) for protocol in self.grid.protocols}
        for task in self._tasks(resolved, trained, source.store, protocols=()):
            transfer = elsewhere(task, skeleton, common, evaluated.store, evaluated.split, tracks)
            self.plan.transfers.append((transfer, evaluated.store))
            if task.identity not in self._trained:
                self.plan.tasks.append((task, source.store))
                self._trained.add(task.identity)


class _Side(NamedTuple):
    """A store and one of its splits, which encoders are trained or evaluated on."""

    store: Store
    split: str

    @property
    def name(self) -> tuple[str, str]:
        return self.store.name, self.split

    @property
    def sizes(self) -> Sizes:
        train, _ = self.store.counts(self.split)
        return Sizes(train, len(self.store.clips))

    def configuration(self, method: str, backbone: str, stream: str) -> Configuration:
        return Configuration(method, backbone, self.store.name, self.split, stream)
