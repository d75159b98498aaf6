"""Write the features of a pre-training on any data to a file, for use elsewhere."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...datasets.store import Store
from ...errors import SkelbenchError
from ...results.files import atomic_write
from ...results.store import RunStore
from ..plan.evaluation import plan_evaluation
from ..train.options import Options
from .encoders import kept_features, new_method, state_of
from .runner import Runner


def save_features(
    folder: Path, store: Store, split: str, stream: str | None, track: str, to: Path, options: Options
) -> tuple[int, int]:
    """Write the pooled features of both sides of a split as a NumPy archive; return their shape (N, D).

    Its arrays, with the training clips first: `features` (N, D) float32, `name` (N,), `label` (N,) int64, `subject`
    (N,) int64, `side` (N,) "train" or "test"; and `class_names` (K,).

    Args:
        folder: of a finished or imported pre-training; its last epoch is used.
        stream: of a method that was trained on several.
        track: whose preparation of clips is used, as by `skelbench evaluate`.

    Raises:
        SkelbenchError: if the folder is not a finished pre-training, the skeletons differ, or the file cannot be
            written.
    """
    if to.suffix != ".npz":
        raise SkelbenchError(f"{to} must end in .npz.")
    ((task, _),) = plan_evaluation(folder, store, split, stream, ("knn",), track).transfers
    task = replace(task, recipe=task.recipe.model_copy(update={"snapshots": ()}))
    clips = Runner(RunStore(folder.parent), options).load(task, store)
    method = new_method(task, clips[0], options.device).eval()
    features = kept_features(task, method, state_of(method), clips, folder, "pooled", options.device)[
        task.recipe.epochs
    ]
    content = io.BytesIO()
    np.savez_compressed(
        content,
        features=np.concatenate([side.x.cpu().numpy() for side in features]),
        name=np.array([name for side in clips for name in side.name]),
        label=np.concatenate([side.label.cpu().numpy() for side in features]),
        subject=np.concatenate([side.subject.cpu().numpy() for side in features]),
        side=np.repeat(["train", "test"], [len(side) for side in clips]),
        class_names=np.array(clips[0].class_names),
    )
    atomic_write(to, content.getvalue())
    return len(clips[0]) + len(clips[1]), features[0].x.shape[1]
