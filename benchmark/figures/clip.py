"""One clip of a data set, as an encoder sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ...datasets.clips import ValidRule, preprocess, valid_frames
from ...datasets.recording import TEST
from ...datasets.store import Store
from ...errors import SkelbenchError
from ...registry import did_you_mean


def find_clip(store: Store, name: str | None, split: str | None = None) -> int:
    """Find the row of a clip by name; without one, the first test clip of a split, or the first clip.

    Raises:
        SkelbenchError: if there is no such clip, split or test clip.
    """
    if name is not None:
        names = store.column("name").tolist()
        if name not in names:
            raise SkelbenchError(f"'{store.name}' has no clip '{name}'{did_you_mean(name, names)}")
        return names.index(name)
    return 0 if split is None else int(np.flatnonzero(store.sides(split) == TEST)[0])


def read_clips(store: Store, rows: Sequence[int], frames: int, valid: str = "any") -> Tensor:
    """Read clips (N, 3, T, V, M) by row, preprocessed as for training.

    Raises:
        SkelbenchError: if a clip has no valid frame.
    """
    clips = []
    for row in rows:
        entry = store.clips[row]
        clips.append(np.asarray(store.keypoints[entry["offset"] : entry["offset"] + entry["length"]]))
    counts = np.array([valid_frames(clip, cast(ValidRule, valid)) for clip in clips])
    if not counts.all():
        name = store.clips[rows[int(np.argmin(counts))]]["name"]
        raise SkelbenchError(f"Clip '{name}' of '{store.name}' has no valid frame; choose another with --clip.")
    x = preprocess(clips, counts, frames, store.layout, store.applied).transpose(0, 4, 1, 3, 2)
    return torch.from_numpy(x.astype(np.float32))


def as_keypoints(x: Tensor) -> np.ndarray:
    """Keypoints (T, M, V, 3) of one clip (3, T, V, M)."""
    return x.permute(1, 3, 2, 0).cpu().numpy()
