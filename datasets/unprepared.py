"""Data sets that are known without their files: their clips, classes and splits, so that a grid can be planned."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .catalogue import open_dataset
from .layout import get_layout
from .readers import ntu_names
from .store import Store, list_stores

UNPREPARED = tuple(ntu_names.ACTIONS)


class UnpreparedStore(Store):
    """The list of clips of NTU RGB+D 60 or 120 without missing samples, as published; there are no keypoints.

    Args:
        dataset: "ntu60" or "ntu120".
    """

    def __init__(self, dataset: str):
        self.path = Path(dataset)
        self.layout = get_layout("ntu25")
        self.class_names = ntu_names.CLASS_NAMES[: ntu_names.ACTIONS[dataset]]
        self.splits = dict(ntu_names.SPLITS[dataset])
        self.rejected, self.applied = [], ()
        self.clips = [_clip(name) for name in ntu_names.recorded(dataset)]
        self.keypoints = np.empty((0, 2, self.layout.num_joints, 3), dtype=np.float32)
        self.manifest: dict[str, Any] = {
            "format": 0, "layout": self.layout.to_json(), "class_names": list(self.class_names), "splits": {},
            "sha256": {}, "reader": dataset, "clips": len(self.clips), "persons": 2, "frames": 0,
        }  # fmt: skip


def _clip(name: ntu_names.Name) -> dict[str, Any]:
    facts = name._asdict()
    return {"name": str(name), "label": facts.pop("action") - 1, **facts}


def open_or_list(dataset: str | Path | Store) -> Store:
    """Open a store, or take the list of a data set that is not prepared. Raises as `open_dataset` for any other."""
    if isinstance(dataset, str) and dataset in UNPREPARED and dataset not in list_stores():
        return _unprepared(dataset)
    return open_dataset(dataset)


@cache
def _unprepared(dataset: str) -> UnpreparedStore:
    return UnpreparedStore(dataset)
