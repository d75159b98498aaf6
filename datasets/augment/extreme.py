"""AimCLR's extreme augmentation, batched: flip, rotation, noise, blur, axis mask and temporal flip of basic views.

Each is split into a draw and a function that applies it, as in `augment`. `extreme` combines the steps that move
frames, joints and coordinates: crop and flip are gathers and commute with the 3×3 matrices of shear and rotation, so

    x'[n, :, t, v] = R_n S_n · x[n, :, i_n(t), j_n(v)]

takes one gather and one product and equals the sequential steps up to rounding.
Source: AimCLR@6cd7376, `feeder/tools.py`, which HiCLR@49ffdf8 copies.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from ..layout import Layout
from ..on_device import on_device
from . import crop_index, draw_basic

TimeFlip = Literal["off", "released_first", "last"]

MAIN_ANGLE, OTHER_ANGLE = 30.0, 1.0  # degrees
NOISE = 0.01  # metres
BLUR_TAPS = 15
BLUR_SIGMA = (0.1, 2.0)  # frames


def _coin(n: int, generator: Generator) -> Tensor:
    return torch.rand(n, generator=generator, device=generator.device) < 0.5


def draw_flip(n: int, generator: Generator) -> dict[str, Tensor]:
    """Draw which clips `flip` changes: (N,) bool, half of them. The temporal flip is drawn the same way."""
    return {"on": _coin(n, generator)}


def flip(x: Tensor, on: Tensor, layout: Layout) -> Tensor:
    """Swap left and right joints of x (N, C, T, V, M); coordinates are not mirrored, as in the released code."""
    swapped = x.index_select(3, on_device(mirror_index(layout), x.device))
    return torch.where(on.view(-1, 1, 1, 1, 1), swapped, x)


def mirror_index(layout: Layout) -> tuple[int, ...]:
    """For each joint the one on the other side, or itself."""
    layout.need("mirror", "The spatial flip")
    index = list(range(layout.num_joints))
    for left, right in layout.mirror:
        index[left], index[right] = right, left
    return tuple(index)


def draw_rotate(n: int, generator: Generator) -> dict[str, Tensor]:
    """Draw angles (N, 3) in degrees about x, y and z: up to 30 about one of them, up to 1 about the others."""
    main = torch.randint(0, 3, (n, 1), generator=generator, device=generator.device)
    most = torch.where(torch.arange(3, device=generator.device) == main, MAIN_ANGLE, OTHER_ANGLE)
    return {"degrees": torch.rand((n, 3), generator=generator, device=generator.device) * most}


def rotation(degrees: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Matrices M_z·M_y·M_x (N, 3, 3) of angles (N, 3)."""
    angle = degrees.to(dtype) * (math.pi / 180)
    cos, sin = angle.cos().unbind(1), angle.sin().unbind(1)
    zero, one = torch.zeros_like(cos[0]), torch.ones_like(cos[0])

    def matrix(*rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)

    about_x = matrix((one, zero, zero), (zero, cos[0], sin[0]), (zero, -sin[0], cos[0]))
    about_y = matrix((cos[1], zero, -sin[1]), (zero, one, zero), (sin[1], zero, cos[1]))
    about_z = matrix((cos[2], sin[2], zero), (-sin[2], cos[2], zero), (zero, zero, one))
    return about_z @ about_y @ about_x


def rotate(x: Tensor, degrees: Tensor) -> Tensor:
    """Rotate x (N, 3, T, V, M) about the x axis, then y, then z."""
    return torch.bmm(rotation(degrees, x.dtype), x.flatten(2)).view_as(x)


def draw_noise(x: Tensor, generator: Generator) -> dict[str, Tensor]:
    """Draw which clips get noise, (N,) bool, and the noise, N(0, 0.01) of the shape of x."""
    on = _coin(len(x), generator)
    value = torch.randn(x.shape, generator=generator, device=generator.device) * NOISE
    return {"on": on, "value": value}


def noise(x: Tensor, on: Tensor, value: Tensor) -> Tensor:
    """Add noise to every coordinate, including those of absent persons, as in the released code."""
    return torch.where(on.view(-1, 1, 1, 1, 1), x + value.to(x.dtype), x)


def draw_blur(n: int, generator: Generator) -> dict[str, Tensor]:
    """Draw which clips are blurred, (N,) bool, and σ (N,), uniform on 0.1 … 2 frames."""
    low, high = BLUR_SIGMA
    sigma = torch.rand(n, generator=generator, device=generator.device) * (high - low) + low
    return {"on": _coin(n, generator), "sigma": sigma}


def blur(x: Tensor, on: Tensor, sigma: Tensor) -> Tensor:
    """Blur x (N, C, T, V, M) over time by 15 taps of exp(−k²/2σ²), zeros beyond the ends.

    The taps are not normalised: as in AimCLR@6cd7376 the gain grows with σ, up to 5. Computed as a product with one
    banded matrix (T, T) per clip, which is the identity where `on` is false.
    """
    time = torch.arange(x.shape[2], device=x.device)
    lag = time[:, None] - time
    weight = torch.exp(-(lag * lag) / (2 * sigma.to(x.dtype).view(-1, 1, 1) ** 2))
    band = torch.where(lag.abs() <= BLUR_TAPS // 2, weight, 0)  # (N, T, T)
    band = torch.where(on.view(-1, 1, 1), band, (lag == 0).to(x.dtype))
    return (band[:, None] @ x.flatten(3)).view_as(x)


def draw_axis_mask(n: int, generator: Generator) -> dict[str, Tensor]:
    """Draw which clips lose an axis, (N,) bool, and which one, (N,) int64."""
    return {
        "on": _coin(n, generator),
        "axis": torch.randint(0, 3, (n,), generator=generator, device=generator.device),
    }


def axis_mask(x: Tensor, on: Tensor, axis: Tensor) -> Tensor:
    """Set one coordinate of x (N, 3, T, V, M) to 0 for all frames, joints and persons."""
    lost = on[:, None] & (torch.arange(3, device=x.device) == axis[:, None])  # (N, 3)
    return torch.where(lost.view(-1, 3, 1, 1, 1), 0, x)


def time_flip(x: Tensor, on: Tensor) -> Tensor:
    """Reverse the frames of x (N, C, T, V, M)."""
    return torch.where(on.view(-1, 1, 1, 1, 1), x.flip(2), x)


def draw_extreme(
    x: Tensor, ratio: int, amplitude: float, generator: Generator, *, reverse: TimeFlip = "off"
) -> dict[str, dict[str, Tensor]]:
    """Draw an extreme view of a batch (N, C, T, V, M): crop and shear, as `draw_basic`, and the five or six more."""
    n = len(x)
    draws = draw_basic(x, ratio, amplitude, generator)
    draws["flip"] = draw_flip(n, generator)
    draws["rotate"] = draw_rotate(n, generator)
    draws["noise"] = draw_noise(x, generator)
    draws["blur"] = draw_blur(n, generator)
    draws["axis_mask"] = draw_axis_mask(n, generator)
    if reverse != "off":
        draws["time_flip"] = draw_flip(n, generator)
    return draws


def extreme(x: Tensor, draws: dict[str, Any], ratio: int, layout: Layout, *, reverse: TimeFlip = "off") -> Tensor:
    """Apply the draws of `draw_extreme`: crop, shear, flip, rotation, noise, blur, axis mask.

    Args:
        reverse: position of the temporal flip: none, as in AimCLR since 2022-03; before the noise, as in its
            first release (AimCLR@59fe004); or last, as its present code would do it.
    """
    x = _move(x, draws, ratio, layout, early=reverse == "released_first")
    x = noise(x, **draws["noise"])
    x = blur(x, **draws["blur"])
    x = axis_mask(x, **draws["axis_mask"])
    return time_flip(x, draws["time_flip"]["on"]) if reverse == "last" else x


def _move(x: Tensor, draws: dict[str, Any], ratio: int, layout: Layout, *, early: bool) -> Tensor:
    """Apply crop, shear, flip, rotation and an early temporal flip with one gather and one product."""
    n, frames = len(x), x.shape[2]
    time = torch.arange(frames, device=x.device).expand(n, frames)
    if "crop" in draws:
        time = crop_index(draws["crop"]["start"], frames, ratio)
    if early:
        time = torch.where(draws["time_flip"]["on"][:, None], time.flip(1), time)
    joints = torch.arange(layout.num_joints, device=x.device)
    mirrored = on_device(mirror_index(layout), x.device)
    joint = torch.where(draws["flip"]["on"][:, None], mirrored, joints)  # (N, V)
    clips = torch.arange(n, device=x.device)[:, None, None]
    moved = x.permute(0, 2, 3, 1, 4)[clips, time[:, :, None], joint[:, None, :]]  # (N, T, V, C, M)
    matrix = rotation(draws["rotate"]["degrees"], x.dtype)
    if "shear" in draws:
        matrix = matrix @ draws["shear"]["matrix"].to(x.dtype)
    return torch.einsum("nij,ntvjm->nitvm", matrix, moved)
