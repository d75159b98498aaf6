"""Batched augmentations on the device, each split into a draw of random numbers and a function that applies it.

Every draw takes a generator and returns tensors on the generator's device, so that a recorded step can be
replayed; no value passes through the host (the masks of the body parts are copied to a device once).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ...errors import SkelbenchError
from ..layout import PARTS, Layout
from ..on_device import on_device

UNIT = 4  # frames of one time unit of a mix: the stride of the encoders


def draw_crop(n: int, frames: int, ratio: int, generator: Generator) -> dict[str, Tensor]:
    """Draw where `crop` starts: (N,) int64, uniform on 0 … 2·(T // ratio)."""
    pad = frames // ratio
    return {"start": torch.randint(0, 2 * pad + 1, (n,), generator=generator, device=generator.device)}


def crop(x: Tensor, start: Tensor, ratio: int) -> Tensor:
    """Shift a clip in time: pad with T // ratio mirrored frames at both ends, take T frames from `start`.

    The mirror repeats the edge frame. x: (N, C, T, V, M). Source: CrosSCLR@792b70c, `feeder/tools.py`.
    """
    clips = torch.arange(len(x), device=x.device)[:, None]
    return x.transpose(1, 2)[clips, crop_index(start, x.shape[2], ratio)].transpose(1, 2)


def crop_index(start: Tensor, frames: int, ratio: int) -> Tensor:
    """The frames (N, T) that `crop` takes from a clip of `frames`."""
    index = start[:, None] + torch.arange(frames, device=start.device) - frames // ratio
    index = torch.where(index < 0, -1 - index, index)
    return torch.where(index >= frames, 2 * frames - 1 - index, index)


def draw_shear(n: int, amplitude: float, generator: Generator) -> dict[str, Tensor]:
    """Draw shear matrices (N, 3, 3): ones on the diagonal, the rest uniform on ±amplitude."""
    matrix = (torch.rand((n, 3, 3), generator=generator, device=generator.device) * 2 - 1) * amplitude
    matrix.diagonal(dim1=1, dim2=2).fill_(1)
    return {"matrix": matrix}


def shear(x: Tensor, matrix: Tensor) -> Tensor:
    """Apply one 3×3 matrix (N, 3, 3) a clip to all coordinates of x (N, 3, T, V, M)."""
    return torch.bmm(matrix.to(x.dtype), x.flatten(2)).view_as(x)


def draw_basic(x: Tensor, ratio: int, amplitude: float, generator: Generator) -> dict[str, dict[str, Tensor]]:
    """Draw the field's usual basic view of a batch (N, C, T, V, M): crop, then shear. 0 disables either."""
    draws = {}
    if ratio > 0:
        draws["crop"] = draw_crop(len(x), x.shape[2], ratio, generator)
    if amplitude > 0:
        draws["shear"] = draw_shear(len(x), amplitude, generator)
    return draws


def basic(x: Tensor, draws: dict, ratio: int) -> Tensor:
    """Apply the draws of `draw_basic`."""
    if "crop" in draws:
        x = crop(x, draws["crop"]["start"], ratio)
    if "shear" in draws:
        x = shear(x, draws["shear"]["matrix"])
    return x


def check_mix(frames: int, layout: Layout, parts: tuple[int, int], window: tuple[int, int], who: str) -> None:
    """Raise a `SkelbenchError` if mixing with these ranges cannot be done on clips of this size."""
    layout.need("parts", who)
    units = -(-frames // UNIT)
    if not 1 <= parts[0] <= parts[1] <= len(PARTS):
        raise SkelbenchError(
            f"{who} mixes {parts} body parts; a range within 1 to {len(PARTS)} is needed (set 'parts')."
        )
    if not 1 <= window[0] <= window[1] <= units:
        raise SkelbenchError(
            f"{who} mixes windows of {window} time units of {UNIT} frames, but a clip of {frames} frames has "
            f"{units}; set 'window' or more frames."
        )


def check_donors(n: int) -> None:
    """Raise a `SkelbenchError` if a batch of n clips is too small to paste one clip into another."""
    if n < 3:
        raise SkelbenchError(f"Mixing needs at least 3 clips in a batch, not {n}; set a larger batch.")


def draw_mix(
    n: int,
    frames: int,
    layout: Layout,
    parts: tuple[int, int],
    window: tuple[int, int],
    mixes: int,
    generator: Generator,
) -> dict[str, Tensor]:
    """Draw SkeleMix: one donor shift, one set of body parts and one time window for the whole batch, `mixes` times.

    Returns:
        donor (J, N) int64, `(i + shift) mod N` with the shift uniform on 1 … N−2; mask (J, ceil(T/4), V) bool,
        true where the donor is pasted.

    Source: SkeleMixCLR@4538d6c. If T is not a multiple of 4, T/4 is rounded up, as in SkeAttnCLR@e3f05c6.
    """
    check_mix(frames, layout, parts, window, "Mixing")
    check_donors(n)
    device = generator.device
    units = -(-frames // UNIT)

    def integers(low: Tensor | int, high: Tensor | int, size: tuple[int, ...]) -> Tensor:
        # Not quite uniform: off by less than span / 2³¹. Float64 would work as well, but MPS does not support it.
        return low + torch.randint(0, 2**31, size, generator=generator, device=device) % (high - low + 1)

    shift = integers(1, n - 2, (mixes, 1))
    donor = (torch.arange(n, device=device) + shift) % n
    groups = on_device(_groups(layout), device)  # (5, V)
    order = torch.rand((mixes, len(PARTS)), generator=generator, device=device).argsort(1).argsort(1)
    chosen = order < integers(*parts, (mixes, 1))  # (J, 5)
    joints = (chosen[:, :, None] & groups).any(1)  # (J, V)
    length = integers(*window, (mixes, 1))
    start = integers(0, units - length, (mixes, 1))
    unit = torch.arange(units, device=device)
    inside = (unit >= start) & (unit < start + length)  # (J, U)
    return {"donor": donor, "mask": inside[:, :, None] & joints[:, None, :]}


def mix(x: Tensor, donor: Tensor, mask: Tensor) -> Tensor:
    """Paste the masked joints and frames of x[donor] into x (N, C, T, V, M); donor (N,), mask (ceil(T/4), V)."""
    inside = mask.repeat_interleave(UNIT, dim=0)[: x.shape[2], :, None]  # (T, V, 1)
    return torch.where(inside, x[donor], x)


def _groups(layout: Layout) -> tuple[tuple[bool, ...], ...]:
    """Masks (5, V) of the joints of each body part."""
    return tuple(tuple(joint in layout.parts[part] for joint in range(layout.num_joints)) for part in PARTS)


def draw_joint_mask(frames: int, joints: int, ratio: float, generator: Generator) -> Tensor:
    """Draw HiCLR's mask (T, V) bool, true = masked: int(V·ratio) joints of each frame, the same for a whole batch.

    Source: HiCLR@49ffdf8.
    """
    place = torch.rand((frames, joints), generator=generator, device=generator.device).argsort(1)
    return place < int(joints * ratio)
