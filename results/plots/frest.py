"""FreST: its joint scores drawn on a skeleton, and its band profile, for a clip of each class."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SkelbenchError
from ..files import atomic_write
from .attention import StoredSkeleton
from .page import COLOURS, LINE, WIDTHS, Width, picture, sheet, shown
from .skeleton import Motion, Skeleton, add_scale, draw_poses, extent_of

FILE = "frest.npz"
COLUMNS = {"single": 2, "double": 4}
_BAD_ZIP = (zipfile.BadZipFile, zlib.error)
Array = NDArray[Any]


@dataclass(frozen=True)
class FrestLook:
    """What the first frequency block of an encoder sees of the first person of C clips.

    Attributes:
        joints: (C, V), the weights of key joints, adding up to 1.
        bands: (C, 8), log(1 + energy), mean over joints.
        poses: (C, V, 3), the middle frame of each clip.
        clips, labels: their names and classes.
        frame: its number.
        block: number of the block in the encoder, from 1.
        skeleton: joints, bones and parts.
    """

    joints: Array
    bands: Array
    poses: Array
    clips: tuple[str, ...]
    labels: tuple[str, ...]
    frame: int
    block: int
    skeleton: Skeleton


def write_frest(folder: Path, look: FrestLook) -> Path:
    """Save the arrays beside a record, as plain arrays that load without pickle."""
    content = io.BytesIO()
    np.savez_compressed(
        content,
        joint_scores=look.joints,
        bands=look.bands,
        poses=look.poses,
        clips=np.array(look.clips, dtype=np.str_),
        labels=np.array(look.labels, dtype=np.str_),
        frame=np.array(look.frame),
        block=np.array(look.block),
        joints=np.array(look.skeleton.joints),
        bones=np.array(look.skeleton.bones, dtype=np.int64).reshape(-1, 2),
    )
    atomic_write(folder / FILE, content.getvalue())
    return folder / FILE


def read_frest(folder: Path) -> FrestLook:
    """Read what ``write_frest`` saved; raises ``SkelbenchError`` if it is missing or damaged."""
    path = folder / FILE
    try:
        with np.load(path, allow_pickle=False) as arrays:
            bones = tuple((int(child), int(parent)) for child, parent in arrays["bones"])
            return FrestLook(
                joints=arrays["joint_scores"],
                bands=arrays["bands"],
                poses=arrays["poses"],
                clips=tuple(arrays["clips"].tolist()),
                labels=tuple(arrays["labels"].tolist()),
                frame=int(arrays["frame"]),
                block=int(arrays["block"]),
                skeleton=StoredSkeleton(tuple(arrays["joints"].tolist()), bones, {}),
            )
    except FileNotFoundError as error:
        raise SkelbenchError(f"{path} does not exist; draw once without --stored to write it.") from error
    except (OSError, KeyError, ValueError, *_BAD_ZIP) as error:
        raise SkelbenchError(f"{path} cannot be read; draw once without --stored to write it again.") from error


def draw_frest(look: FrestLook, *, method: str, suffix: str, width: Width = "double") -> bytes:
    """Draw a pose per class, joints larger and darker with their weight, and the energy of the bands below it."""
    from matplotlib.colors import Normalize

    columns = min(COLUMNS[width], len(look.labels))
    rows = -(-len(look.labels) // columns)
    scale = Normalize(0.0, float(look.joints.max()))
    tallest = float(look.bands.max()) * 1.05 or 1.0
    pose_height, band_height = WIDTHS[width] / columns * 0.75, 1.2
    heights = [pose_height + LINE, band_height] * rows
    with sheet(width, sum(heights) + rows * 3 * LINE + 2 * LINE) as figure:
        panels = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=heights)
        for empty in panels.ravel():
            empty.axis("off")
        for place, label in enumerate(look.labels):
            row, column = divmod(place, columns)
            above, below = panels[2 * row, column], panels[2 * row + 1, column]
            pose = Motion("", look.poses[place][None, None], [look.frame])
            scores = look.joints[place][None, None]
            draw_poses(above, look.skeleton, pose, scores=scores, scale=scale, extent=extent_of(pose.keypoints))
            above.set_title(shown(label, 24))
            below.axis("on")
            below.bar(range(1, look.bands.shape[1] + 1), look.bands[place], color=COLOURS[0])
            below.set(ylim=(0, tallest), xticks=[1, look.bands.shape[1]], yticks=[])
            if row == rows - 1 or place + columns >= len(look.labels):
                below.set_xlabel("band, slow to fast")
        add_scale(list(panels.ravel()), scale, "s, weight of key joints")
        for axes in panels.ravel():
            axes.set_anchor("C")  # the scale beside the panels changes it
        figure.suptitle(shown(f"{method}: FreST in block {look.block}; bars: log(1 + energy of motion)", 80))
        return picture(figure, suffix)
