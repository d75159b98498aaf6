"""What the clips of a data set show to be impossible, found before anything is loaded or trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...datasets.clips import ClipList, check_loadable, list_clips
from ...datasets.store import Store
from ...errors import SkelbenchError
from ...results.record import Configuration
from ..protocols import PROTOCOLS
from ..protocols.base import TrainsInBatches, check_clips
from .identity import Pretraining
from .single_values import check_tuning
from .tracks import evaluation_settings, protocol_settings


@dataclass
class Feasibility:
    """Checks tasks and keeps the reasons.

    Attributes:
        left_out: what cannot be run ("DATASET", "METHOD BACKBONE DATASET SPLIT PROTOCOL") -> the reason, a sentence.
        notes: what else the user should know; each once, as the keys.
    """

    left_out: dict[str, str] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    _listed: dict[tuple[str, str, int | None], tuple[ClipList, ClipList]] = field(default_factory=dict)
    _checked: dict[str, bool] = field(default_factory=dict)

    def loads(self, store: Store) -> bool:
        """Whether the clips of a store can be loaded: whether its skeleton has what that needs."""
        if store.name not in self.left_out:
            try:
                check_loadable(store.layout, store.applied, f"a clip of '{store.name}'")
            except SkelbenchError as error:
                self.left_out[store.name] = str(error)
        return store.name not in self.left_out

    def evaluated(self, task: Pretraining, store: Store) -> Pretraining:
        """A task with those of its evaluations that its data allow."""
        kept = tuple(key for key in task.evaluations if self._allows(key.cell.protocol, task, store))
        return task if kept == task.evaluations else replace(task, evaluations=kept)

    def _allows(self, protocol: str, task: Pretraining, store: Store) -> bool:
        recipe, cell = task.recipe, task.cell
        place = (cell.method, cell.backbone, store.name, task.split, protocol)
        settings = (evaluation_settings(recipe, protocol), recipe.clips, recipe.backbone, recipe.frames, task.stream)
        known = json.dumps([*place, *settings], default=str)
        if known not in self._checked:
            try:
                notes = self._check(protocol, task, store)
            except SkelbenchError as error:
                self.left_out[" ".join(place)] = str(error)
                self._checked[known] = False
            else:
                self.notes |= dict.fromkeys(f"{protocol} on {store.name} {task.split}: {note}" for note in notes)
                self._checked[known] = True
        return self._checked[known]

    def _check(self, name: str, task: Pretraining, store: Store) -> Sequence[str]:
        """The notes of a protocol. Raises a `SkelbenchError` if it cannot be run."""
        protocol, recipe = PROTOCOLS[name], task.recipe
        wanted = (store.name, task.split, recipe.clips)
        if wanted not in self._listed:
            self._listed[wanted] = list_clips(store, task.split, recipe.clips)
        train, test = self._listed[wanted]
        settings, selection = protocol_settings(recipe, name), recipe.selection
        notes = check_clips(protocol, train, test, settings=settings, selection=selection)
        if isinstance(protocol, TrainsInBatches):
            place = Configuration(task.cell.method, task.cell.backbone, store.name, task.split, task.stream)
            smallest = protocol.smallest_batch(train, settings=settings, selection=selection)
            check_tuning(name, smallest, place, recipe, store.layout, store.manifest["persons"])
        return notes
