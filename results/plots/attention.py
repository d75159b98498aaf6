"""An attention mask over joints and frames: drawn on the skeleton, and as a map with the joints' names."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SkelbenchError
from ..files import atomic_write
from .page import FONT, LINE, SCORES, WIDTHS, Width, picture, sheet, shown
from .skeleton import POSES, Motion, Skeleton, add_scale, draw_poses, extent_of, spaced, strip_height

FILE = "attention.npz"
_BAD_ZIP = (zipfile.BadZipFile, zlib.error)
CONSTANT = 1e-3  # of its mean: a map whose range is not larger is constant
_BESIDE = 4.2  # cm of the width that names and scale take
Array = NDArray[Any]


class StoredSkeleton(NamedTuple):
    """The skeleton that is stored with an attention mask."""

    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    parts: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Attention:
    """The attention mask M_s of one clip.

    Attributes:
        mask: (M, T', V), the mean over channels of sigmoids, 0 to 1.
        keypoints: (T, M, V, 3), the clip as the encoder saw it.
        stride: frames per step of T'.
        clip, label: name of the clip and of its class.
        skeleton: joints, bones and parts.
    """

    mask: Array
    keypoints: Array
    stride: int
    clip: str
    label: str
    skeleton: Skeleton

    def by_frame(self) -> Array:
        """The mask of every frame (M, T, V)."""
        return self.mask.repeat(self.stride, axis=1)[:, : len(self.keypoints)]


def write_attention(folder: Path, attention: Attention) -> Path:
    """Save the arrays beside a record, as plain arrays that load without pickle."""
    content, skeleton = io.BytesIO(), attention.skeleton
    parts = [(name, joint) for name, joints in skeleton.parts.items() for joint in joints]
    np.savez_compressed(
        content,
        mask=attention.mask,
        keypoints=attention.keypoints,
        stride=np.array(attention.stride),
        clip=np.array(attention.clip),
        label=np.array(attention.label),
        joints=np.array(skeleton.joints),
        bones=np.array(skeleton.bones, dtype=np.int64).reshape(-1, 2),
        part_names=np.array([name for name, _ in parts], dtype=np.str_),
        part_joints=np.array([joint for _, joint in parts], dtype=np.int64),
    )
    atomic_write(folder / FILE, content.getvalue())
    return folder / FILE


def read_attention(folder: Path) -> Attention:
    """Read what ``write_attention`` saved; raises ``SkelbenchError`` if it is missing or damaged."""
    path = folder / FILE
    try:
        with np.load(path, allow_pickle=False) as arrays:
            parts: dict[str, tuple[int, ...]] = {}
            for name, joint in zip(arrays["part_names"].tolist(), arrays["part_joints"].tolist(), strict=True):
                parts[name] = (*parts.get(name, ()), joint)
            bones = tuple((int(child), int(parent)) for child, parent in arrays["bones"])
            return Attention(
                mask=arrays["mask"],
                keypoints=arrays["keypoints"],
                stride=int(arrays["stride"]),
                clip=str(arrays["clip"]),
                label=str(arrays["label"]),
                skeleton=StoredSkeleton(tuple(arrays["joints"].tolist()), bones, parts),
            )
    except FileNotFoundError as error:
        raise SkelbenchError(f"{path} does not exist: omit --stored to compute it.") from error
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, *_BAD_ZIP) as error:
        raise SkelbenchError(f"{path} is damaged: omit --stored to compute it again.") from error


def draw_attention(
    attention: Attention, *, person: int = 0, method: str = "", suffix: str = ".png", width: Width = "double"
) -> bytes:
    """Draw the mask of one person: evenly spaced poses above, joints × frames below, by body part.

    The scale runs from the lowest to the highest value of the map, because a mean over channels is close to 0.5. A map
    whose range is at most a thousandth of its mean is constant: it is drawn on the scale from 0 to 1, and says so with
    its value.

    Raises:
        SkelbenchError: if the clip has no such person.
    """
    from matplotlib.colors import Normalize

    mask = _of_person(attention, person)  # (T', V)
    chosen = spaced(len(attention.keypoints), POSES[width])
    poses = Motion("", attention.keypoints[chosen][:, person : person + 1], chosen.tolist())
    scores = attention.by_frame()[person][chosen][:, None]
    constant = float(np.ptp(mask)) <= CONSTANT * float(mask.mean())
    scale = Normalize(0.0, 1.0) if constant else Normalize(float(mask.min()), float(mask.max()))
    extent = extent_of(poses.keypoints)
    heights = [strip_height(extent, len(chosen), WIDTHS[width] - _BESIDE), mask.shape[1] * LINE + 1.0]
    with sheet(width, sum(heights) + 3 * LINE) as figure:
        above, below = figure.subplots(2, height_ratios=heights)
        draw_poses(above, attention.skeleton, poses, scores=scores, scale=scale, extent=extent)
        _draw_map(below, mask, attention, scale, chosen)
        if constant:
            _say_constant(below, mask)
        add_scale([above, below], scale, "M_s, mean over channels")
        figure.suptitle(" · ".join(shown(part, 40) for part in (method, attention.label, attention.clip) if part))
        return picture(figure, suffix)


def _of_person(attention: Attention, person: int) -> Array:
    there = (attention.keypoints != 0).any(axis=(0, 2, 3))
    if not 0 <= person < len(there) or not there[person]:
        count = int(there.sum())
        raise SkelbenchError(
            f"Clip '{attention.clip}' shows {count} {'person' if count == 1 else 'persons'}, so there is no person "
            f"{person + 1} to draw; choose another with --person."
        )
    return attention.mask[person]


def _draw_map(axes: Any, mask: Array, attention: Attention, scale: Any, chosen: Array) -> None:
    """Draw joints × frames, with lines between body parts and a marker at the top for each pose drawn above."""
    order, borders = _by_part(attention.skeleton)
    frames = len(mask) * attention.stride
    box = (-0.5, frames - 0.5, len(order) - 0.5, -0.5)
    axes.imshow(mask.T[order], aspect="auto", cmap=SCORES, norm=scale, extent=box, interpolation="nearest")
    names = [shown(attention.skeleton.joints[joint], 18) for joint in order]
    axes.set_yticks(range(len(order)), names)
    for border in borders:
        axes.axhline(border - 0.5, color="white", linewidth=1.5)
    axes.plot(chosen, np.full(len(chosen), -0.8), "v", color="0.3", markersize=3, clip_on=False)
    axes.set(xlim=(-0.5, len(attention.keypoints) - 0.5), ylim=(len(order) - 0.5, -0.5), xlabel="frame")
    axes.tick_params(axis="y", length=0, labelsize=FONT)


def _say_constant(axes: Any, mask: Array) -> None:
    """Write across the map that it is constant, with its value."""
    text = f"constant: {mask.mean():.3f}\nrange: {np.ptp(mask):.1g}"
    box = {"facecolor": "white", "edgecolor": "0.3", "boxstyle": "round,pad=0.4"}
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", bbox=box)


def _by_part(skeleton: Skeleton) -> tuple[list[int], list[int]]:
    """Joints ordered by body part, and where each new part begins; in layout order if parts are unknown."""
    order, borders = [], []
    for joints in skeleton.parts.values():
        borders.append(len(order))
        order += joints
    if sorted(order) != list(range(len(skeleton.joints))):
        return list(range(len(skeleton.joints))), []
    return order, borders[1:]
