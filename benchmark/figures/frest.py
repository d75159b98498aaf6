"""What the first frequency block of an encoder sees, for one clip of each class."""

from __future__ import annotations

import numpy as np
import torch

from ...backbones.frest import FreST, Look
from ...datasets.recording import TEST
from ...errors import SkelbenchError
from ...results.plots.frest import FrestLook
from ..train.devices import precision
from .clip import read_clips
from .encoder import KeptEncoder


@precision("fp32")
@torch.no_grad()
def frest_of(kept: KeptEncoder) -> FrestLook:
    """Compute the `Look` of the first frequency block at the first test clip of every class, in evaluation mode.

    Raises:
        SkelbenchError: if the encoder has no frequency blocks.
    """
    cell, method, store = kept.record.cell, kept.method, kept.store
    blocks = [(name, part) for name, part in method.encoder_q.backbone.named_modules() if isinstance(part, FreST)]  # type: ignore[union-attr]
    if not blocks:
        raise SkelbenchError(f"The encoder of {cell} has no frequency blocks; name a run with backbone.frest=all.")
    name, block = blocks[0]
    tests = np.flatnonzero(store.sides(cell.split) == TEST)
    label = store.column("label")[tests]
    rows = [int(tests[np.flatnonzero(label == one)[0]]) for one in np.unique(label)]
    x = read_clips(store, rows, kept.frames, str(kept.record.settings.get("valid", "any")))
    seen: list[Look] = []
    hook = block.register_forward_pre_hook(lambda _, given: seen.append(block.look(given[0])))
    try:
        first = x[..., :1].to(next(method.parameters()).device)  # one person, never absent, so that a row is a clip
        method.features(first, *kept.streams)
    finally:
        hook.remove()
    entries = [store.clips[row] for row in rows]
    return FrestLook(
        joints=seen[0].joints.float().cpu().numpy(),
        bands=seen[0].bands.mean(dim=2).float().cpu().numpy(),
        poses=x[:, :, x.shape[2] // 2, :, 0].transpose(1, 2).numpy(),
        clips=tuple(entry["name"] for entry in entries),
        labels=tuple(store.class_names[entry["label"]] for entry in entries),
        frame=x.shape[2] // 2,
        block=int(name.split(".")[1]) + 1,
        skeleton=store.layout,
    )
