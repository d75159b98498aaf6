"""The attention mask of a clip, from the saved encoder of a run."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...backbones import Backbone
from ...errors import SkelbenchError
from ...results.plots.attention import Attention
from ..train.devices import precision
from .clip import as_keypoints, find_clip, read_clips
from .encoder import KeptEncoder


@precision("fp32")
@torch.no_grad()
def attention_of(kept: KeptEncoder, clip: str | None = None) -> Attention:
    """Compute M_s of one clip without augmentation or mixing, in evaluation mode, averaged over channels.

    Args:
        clip: name of the clip; None: the first test clip of the run's split.

    Raises:
        SkelbenchError: if the method has no attention mask, or its backbone does not keep the joints separate.
    """
    cell, method = kept.record.cell, kept.method
    mask_of: Callable[[Tensor], Tensor] | None = getattr(method.encoder_q, "mask", None)
    if mask_of is None:
        raise SkelbenchError(
            f"{cell.method} has no attention mask to draw; name a run of a method with one, such as skeattnclr."
        )
    backbone: Backbone = method.encoder_q.backbone  # type: ignore[assignment]
    if not backbone.localises_joints or backbone.time_stride is None:
        raise SkelbenchError(
            f"The backbone '{cell.backbone}' does not keep the joints separate, so its attention cannot be drawn on "
            "a skeleton; name a run with stgcn."
        )
    row = find_clip(kept.store, clip, cell.split)
    x = read_clips(kept.store, [row], kept.frames, str(kept.record.settings.get("valid", "any")))
    device = next(method.parameters()).device
    mask = mask_of(backbone(method.to_stream(x.to(device), *kept.streams)))  # (1, M, T', V, D)
    entry = kept.store.clips[row]
    return Attention(
        mask=mask[0].mean(dim=-1).float().cpu().numpy(),
        keypoints=as_keypoints(x[0]),
        stride=backbone.time_stride,
        clip=entry["name"],
        label=kept.store.class_names[entry["label"]],
        skeleton=kept.store.layout,
    )
