"""A clip and the views of it that a method is trained on."""

from __future__ import annotations

import numpy as np
import torch

from ...datasets.augment import mix
from ...datasets.inspect import peopled_frames
from ...datasets.store import Store
from ...methods import METHODS, create_method
from ...results.plots.skeleton import Motion
from .clip import as_keypoints, read_clips

_BATCH = 3  # minimum number of clips for a mix


def recorded(store: Store, row: int) -> Motion:
    """A clip as it was recorded, without empty frames.

    Raises:
        SkelbenchError: if all frames of the clip are empty.
    """
    peopled, keypoints = peopled_frames(store, row)
    entry = store.clips[row]
    name = f"{store.class_names[entry['label']]} ({entry['name']})"
    return Motion(name, keypoints[peopled], peopled.tolist())


@torch.no_grad()
def views_of(store: Store, row: int, method: str, *, frames: int | None, seed: int) -> list[Motion]:
    """A clip as used for training, then every view that a method makes of it, and its mix with another clip.

    Args:
        frames: T; None: the method's published NTU-60 setting, like all its other settings here.
        seed: of the augmentations.

    Raises:
        SkelbenchError: for an unknown method, or one that does not fit the data's skeleton.
    """
    streams = "all" if METHODS[method].streams_together else "joint"
    persons = store.manifest["persons"]
    made = create_method(method, layout=store.layout, num_frames=frames, num_persons=persons, stream=streams)
    rows = [(row + step * len(store.clips) // _BATCH) % len(store.clips) for step in range(_BATCH)]
    x = read_clips(store, rows, made.build.num_frames)
    draws = made.draw(x, torch.Generator().manual_seed(seed))
    shown = {"clip": x, **made.views(x, draws)}
    if "donor" in draws:
        shown["query, mixed with another clip"] = mix(shown["query"], draws["donor"][0], draws["mask"][0])
    absent = ~(x[0] != 0).any(dim=2).any(dim=1).any(dim=0)  # (M,); noise would make absent persons visible
    motions = []
    for name, view in shown.items():
        keypoints = as_keypoints(view[0])
        if "mixed" not in name:
            keypoints[:, absent.numpy()] = 0
        motions.append(Motion(name, keypoints, np.arange(len(keypoints)).tolist()))
    return motions
