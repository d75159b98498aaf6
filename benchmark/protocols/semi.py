"""Semi-supervised learning: fine-tuning on the labels of 1 % or 10 % of the training clips, balanced over the classes.

Which clips are labelled depends only on their names and classes, so it is the same for every method, backbone, stream
and seed. Their names are written next to the record as `subset.json`, whose SHA-256 is in the record.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch

from ...datasets.clips import ClipList, Clips
from ...deviation import Deviation
from ...errors import SkelbenchError
from ...methods.base import Method
from .base import PROTOCOLS, Outcome, Selection, Training, count_trained_on
from .finetune import least_of, trainings_of, tune
from .tuning import TuningSettings


class SemiSettings(TuningSettings):
    """Fine-tuning's settings, and which clips are labelled.

    Attributes:
        draw: "balanced" takes the share of every class, at least one clip, see `draw_balanced`; "released" draws as
            the released code does, see `draw_released`.
        subset_seed: of the draw; not the cell's seed, so that all cells have the same clips.
        passes: length of an epoch: the "subset", or as many clips as "all" training clips.
    """

    draw: Literal["balanced", "released"] = "balanced"
    subset_seed: int = 0
    passes: Literal["subset", "all"] = "subset"


def draw_balanced(names: Sequence[str], label: Sequence[int], share: float, seed: int) -> list[int]:
    """Indices, ascending, of each class's share of the clips, rounded, at least one.

    The clips of a class are ordered by the SHA-256 of "seed name". The draw thus does not depend on the order of the
    clips or the version of a random generator, and a smaller share is a subset of a larger one.
    """
    ranked = sorted(range(len(names)), key=lambda i: hashlib.sha256(f"{seed} {names[i]}".encode()).digest())
    chosen = []
    for kind in set(label):
        own = [i for i in ranked if label[i] == kind]
        chosen += own[: max(1, round(share * len(own)))]
    return sorted(chosen)


def draw_released(label: Sequence[int], share: float, seed: int) -> list[int]:
    """Indices, ascending, of each class's share of the clips as AimCLR@6cd7376 and HiCLR@49ffdf8 draw them.

    Class by class in the order in which they first appear, `random.sample` of the rounded share; a class whose
    share rounds to 0 is left out. The clips are numbered in the data set's order, so the result is the released
    subset only if that order is the released one.
    """
    members: dict[int, list[int]] = {}
    for i, kind in enumerate(label):
        members.setdefault(kind, []).append(i)
    generator = random.Random(seed)
    return sorted(i for own in members.values() for i in generator.sample(own, round(share * len(own))))


class Semi:
    """The protocol: fine-tuning on a share of the training clips, balanced over the classes."""

    Settings = SemiSettings
    version = 2  # as finetune
    logits = True

    def __init__(self, name: str, share: float, deviations: Sequence[Deviation] = ()):
        self.name, self.share = name, share
        self.deviations = deviations

    def tune(self, method: Method, train: Clips, test: Clips, *, settings: SemiSettings, **how: Any) -> Outcome:
        """Draw the labelled clips and train on them alone; the clips held out to choose `best` are drawn from them.

        Raises:
            SkelbenchError: if the draw is empty.
        """
        listed = train.listed()
        rows, size = self._rows(listed, settings), _size(listed, settings)
        outcome = tune(method, train, torch.tensor(rows), test, name=self.name, settings=settings, size=size, **how)
        return self._with_subset(outcome, listed, rows, settings)

    def check_clips(
        self, train: ClipList, test: ClipList, *, settings: SemiSettings, selection: Selection
    ) -> list[str]:
        """Say which classes have no labelled clip.

        Raises:
            SkelbenchError: if the draw is empty, or too small to hold some of it out.
        """
        rows = self._rows(train, settings)
        count_trained_on(train.subject[rows], selection)
        return _notes(_without(train, rows))

    def smallest_batch(self, train: ClipList, *, settings: SemiSettings, selection: Selection) -> int | None:
        """Fewest clips of a step; None in evaluation mode."""
        rows = self._rows(train, settings)
        return least_of(train.subject[rows], settings, selection, _size(train, settings))

    def trainings(self, train: ClipList, test: int, *, settings: SemiSettings, selection: Selection) -> list[Training]:
        """What its trainings take."""
        rows = self._rows(train, settings)
        return trainings_of(train.subject[rows], test, settings, selection, _size(train, settings))

    def _rows(self, train: ClipList, settings: SemiSettings) -> list[int]:
        """The labelled clips. Raises a `SkelbenchError` if there is none."""
        label = train.label.tolist()
        if settings.draw == "released":
            rows = draw_released(label, self.share, settings.subset_seed)
        else:
            rows = draw_balanced(train.name, label, self.share, settings.subset_seed)
        if not rows:
            raise SkelbenchError(
                f"{self.share:.0%} of {len(train)} training clips is less than one clip of every class; set "
                f"{self.name}.draw=balanced, which takes at least one of each."
            )
        return rows

    def _with_subset(self, outcome: Outcome, train: ClipList, rows: list[int], settings: SemiSettings) -> Outcome:
        """Add the list of labelled clips, its hash, and a message about classes without any."""
        clips, without = sorted(train.name[i] for i in rows), _without(train, rows)
        facts = {"share": self.share, "draw": settings.draw, "seed": settings.subset_seed, "classes_without": without}
        text = json.dumps(facts | {"clips": clips}, ensure_ascii=False, indent=0) + "\n"
        data = {"labelled": len(clips), "subset": hashlib.sha256(text.encode()).hexdigest()}
        notes = [f"  {self.name}: {note}" for note in _notes(without)]
        return replace(outcome, data=data, files={"subset.json": text}, notes=notes)


def _size(train: ClipList, settings: SemiSettings) -> int | None:
    """Clips of an epoch; None for those of the draw."""
    return len(train) if settings.passes == "all" else None


def _without(train: ClipList, rows: list[int]) -> list[str]:
    """Names of the classes without a labelled clip."""
    drawn = set(train.label[rows].tolist())
    return [name for kind, name in enumerate(train.class_names) if kind not in drawn]


def _notes(without: list[str]) -> list[str]:
    if not without:
        return []
    named = ", ".join(without[:5]) + (", ..." if len(without) > 5 else "")
    return [f"no labelled clip of {len(without)} of the classes ({named}), so their test clips cannot be recognised"]


DEVIATIONS = (
    Deviation(
        "labelled clips",
        "1 % or 10 % of the training clips, balanced over the classes",
        "drawn class by class by Python's generator, seeded with 0 (AimCLR, HiCLR) or 2 (SkeleMixCLR, SkeAttnCLR), in "
        "the order of a file that is not released",
        "`semi10.draw`: balanced in both tracks, at least one clip a class, by hashes of the clips' names; released "
        "draws as they do, by `semi10.subset_seed`, over the clips in our order",
        why="the same clips for every method and on every machine",
    ),
    Deviation(
        "epochs on a subset",
        "not mentioned",
        "HiCLR's last as long as those over all clips, the subset repeated; the others' pass over the subset once",
        "`semi10.passes`: each method's own in published; in equal once, but `semi10.least_steps` steps at least",
    ),
)

PROTOCOLS.add("semi1", Semi("semi1", 0.01))
PROTOCOLS.add("semi10", Semi("semi10", 0.1, DEVIATIONS))
