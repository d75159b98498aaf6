"""The classifier that a released checkpoint brings: its own logits on the test clips, nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch

from ...config import Settings
from ...errors import SkelbenchError
from .base import PROTOCOLS, Features, Outcome, Selection, score

RULE = "nothing is chosen: the checkpoint's own classifier"


class ClassifierSettings(Settings):
    """Which clips are scored: the test side of the split, or every clip of the store."""

    clips: Literal["test", "all"] = "test"


class Classifier:
    """Score clips with the linear layer of an imported checkpoint; its features are the logits."""

    name = "classifier"
    version = 1
    logits = True
    Settings = ClassifierSettings
    features = "logits"
    imported_only = True  # a grid has no checkpoint with a classifier

    def measure(
        self,
        epochs: Mapping[int, tuple[Features, Features]],
        *,
        classes: int,
        settings: ClassifierSettings,
        selection: Selection,
        seed: int,
    ) -> Outcome:
        """Top-1 and top-5 of the logits.

        Args:
            epochs: the last epoch -> logits of the training and of the test clips.
            classes: of the data.

        Raises:
            SkelbenchError: if the classifier has another number of classes.
        """
        ((epoch, sides),) = epochs.items()
        scored = sides if settings.clips == "all" else sides[1:]
        logits, label = (torch.cat([getattr(side, name) for side in scored]) for name in ("x", "label"))
        if logits.shape[1] != classes:
            raise SkelbenchError(
                f"The checkpoint's classifier has {logits.shape[1]} classes and the data have {classes}; evaluate it "
                "on the data it was trained on, or its encoder with another protocol."
            )
        last = score(logits, label)
        best: dict[str, Any] = last | {"epoch": epoch, "rule": RULE}
        found = len(label.unique())
        notes = [f"  {self.name}: clips of {found} of the {classes} classes are here"] if found < classes else []
        extra = {"classes_with_clips": float(found), "clips_scored": float(len(label))}
        return Outcome(logits, last, best, [], extra, notes=notes, all_clips=settings.clips == "all")


PROTOCOLS.add("classifier", Classifier())
