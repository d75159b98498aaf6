"""Skeletons: poses of a clip side by side, animated clips, and joint scores drawn on poses."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .page import COLOURS, FONT, GREY, LINE, SCORES, WIDTHS, Width, picture, sheet, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

Array = NDArray[Any]
POSES = {"single": 4, "double": 8}  # poses that fit side by side
_SCREEN = 100  # dots per inch of animations
_COLUMNS = 4  # motions side by side in an animation
_SMALL, _LARGE = 3.0, 34.0  # marker areas of the lowest and the highest score, in square points


class Skeleton(Protocol):
    """What drawing needs of a layout: V joint names, (child, parent) pairs, joints by body part (may be empty)."""

    @property
    def joints(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def bones(self) -> Sequence[tuple[int, int]]: ...  # noqa: D102
    @property
    def parts(self) -> Mapping[str, Sequence[int]]: ...  # noqa: D102


@dataclass(frozen=True)
class Motion:
    """A clip or a view of it: keypoints (T, M, V, 3), absent persons all zero, and the numbers of its frames."""

    name: str
    keypoints: Array
    frames: Sequence[int]

    def __getitem__(self, index: slice | Array) -> Motion:
        return Motion(self.name, self.keypoints[index], np.asarray(self.frames)[index].tolist())


class Extent(NamedTuple):
    """The bounding box of all joints in x and y, with a margin."""

    left: float
    right: float
    bottom: float
    top: float


def spaced(total: int, count: int) -> Array:
    """Return indices of at most ``count`` evenly spaced items of ``total``, including the first and the last."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(int)


def extent_of(keypoints: Array) -> Extent:
    """Return the bounding box of all present bodies in keypoints (..., V, 3)."""
    points = keypoints[_present(keypoints)][..., :2].reshape(-1, 2)
    low, high = (points.min(axis=0), points.max(axis=0)) if len(points) else (np.zeros(2), np.ones(2))
    margin = 0.04 * max(float((high - low).max()), 1e-3)
    return Extent(low[0] - margin, high[0] + margin, low[1] - margin, high[1] + margin)


def draw_poses(
    axes: Axes,
    skeleton: Skeleton,
    motion: Motion,
    *,
    scores: Array | None = None,
    scale: Normalize | None = None,
    extent: Extent | None = None,
) -> None:
    """Draw the frames of a motion side by side, seen from the front (x to the right, y up).

    With ``scores`` (T, M, V), joints are larger and darker the higher they are on ``scale``; without, each
    person has a colour.
    """
    box = extent or extent_of(motion.keypoints)
    pitch = box.right - box.left
    for place, pose in enumerate(motion.keypoints):
        here = pose[..., :2] + (place * pitch - box.left, 0)  # (M, V, 2)
        for person in np.flatnonzero(_present(pose)):
            colour = COLOURS[person % len(COLOURS)]
            _draw_bones(axes, skeleton, here[person], colour if scores is None else GREY)
            if scores is None:
                axes.scatter(*here[person].T, s=_SMALL, color=colour, linewidths=0, zorder=2)
            else:
                assert scale is not None, "scores are drawn on a scale"
                value = scores[place, person]
                size = _SMALL + (_LARGE - _SMALL) * np.clip(np.asarray(scale(value)), 0, 1)
                edge = {"edgecolors": "0.3", "linewidths": 0.3}  # the lowest scores are nearly white
                axes.scatter(*here[person].T, s=size, c=value, cmap=SCORES, norm=scale, zorder=2, **edge)
        there = here[_present(pose)]
        middle = float(np.median(there[..., 0])) if len(there) else (place + 0.5) * pitch
        axes.annotate(str(motion.frames[place]), (middle, box.bottom), ha="center", va="top", fontsize=FONT)
    axes.set(xlim=(0, len(motion.keypoints) * pitch), ylim=(box.bottom, box.top), aspect="equal")
    axes.axis("off")


def strip_height(extent: Extent, poses: int, width: float) -> float:
    """Return the height in cm of poses side by side on ``width`` cm, including their frame numbers."""
    body = width * (extent.top - extent.bottom) / (poses * (extent.right - extent.left))
    return float(np.clip(body, 1.5, 6.0)) + LINE


def draw_strip(motions: Sequence[Motion], skeleton: Skeleton, *, suffix: str, width: Width = "double") -> bytes:
    """Draw evenly spaced frames of every motion, one row each, all at the same scale, with frame numbers."""
    rows = [motion[spaced(len(motion.keypoints), POSES[width])] for motion in motions]
    common = extent_of(np.concatenate([row.keypoints.reshape(-1, *row.keypoints.shape[-2:]) for row in rows]))
    poses = max(len(row.keypoints) for row in rows)
    extents = [Extent(common.left, common.right, *extent_of(row.keypoints)[2:]) for row in rows]
    heights = [strip_height(extent, poses, WIDTHS[width]) + 2 * LINE for extent in extents]
    with sheet(width, sum(heights)) as figure:
        panels = figure.subplots(len(rows), squeeze=False, height_ratios=heights)[:, 0]
        for axes, row, extent in zip(panels, rows, extents, strict=True):
            draw_poses(axes, skeleton, row, extent=extent)
            axes.set_title(shown(row.name, 60), loc="left")
        return picture(figure, suffix)


def draw_scores(
    skeleton: Skeleton, keypoints: Array, scores: Array, *, name: str, suffix: str, width: Width = "double"
) -> bytes:
    """Draw scores (T, V) or (V,) on one person's poses (T, V, 3); ``name`` is the label of the scale."""
    from matplotlib.colors import Normalize

    chosen = spaced(len(keypoints), POSES[width])
    poses = Motion(name, keypoints[chosen][:, None], chosen.tolist())
    value = np.broadcast_to(scores, keypoints.shape[:2])[chosen][:, None]  # (P, 1, V)
    extent = extent_of(poses.keypoints)
    scale = Normalize(float(scores.min()), float(scores.max()))
    with sheet(width, strip_height(extent, len(chosen), WIDTHS[width] - 1.5) + LINE) as figure:
        axes = figure.subplots()
        draw_poses(axes, skeleton, poses, scores=value, scale=scale, extent=extent)
        add_scale(axes, scale, name)
        return picture(figure, suffix)


def add_scale(axes: Axes | Sequence[Axes], scale: Normalize, name: str) -> None:
    """Add a colour bar of the scores at the right."""
    from matplotlib.cm import ScalarMappable

    first = axes[0] if isinstance(axes, Sequence) else axes
    figure = first.get_figure(root=True)
    assert figure is not None, "axes belong to a figure"
    bar = figure.colorbar(ScalarMappable(scale, SCORES), ax=axes, pad=0.01, fraction=0.05, aspect=50)
    bar.set_label(shown(name))
    bar.outline.set_visible(False)  # type: ignore[operator]


def animate(motions: Sequence[Motion], skeleton: Skeleton, *, fps: float, width: Width = "single") -> bytes:
    """Draw the motions side by side as a looping GIF; all have the same number of frames."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    extent = extent_of(np.stack([motion.keypoints for motion in motions]))
    columns = min(len(motions), _COLUMNS)
    rows = -(-len(motions) // columns)
    height = strip_height(extent, 1, WIDTHS[width] / columns) + 2 * LINE
    images = []
    with sheet(width, height * rows) as figure:
        figure.set_dpi(_SCREEN)
        canvas = FigureCanvasAgg(figure)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for empty in panels[len(motions) :]:
            empty.axis("off")
        for frame in range(len(motions[0].keypoints)):
            for axes, motion in zip(panels, motions, strict=False):
                axes.clear()
                draw_poses(axes, skeleton, motion[frame : frame + 1], extent=extent)
                axes.set_title(shown(motion.name))
            canvas.draw()
            figure.set_layout_engine("none")  # lay out once, so that nothing moves between frames
            images.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(32))
    content = io.BytesIO()
    images[0].save(content, format="GIF", save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0)
    return content.getvalue()


def _present(keypoints: Array) -> Array:
    """Which bodies of keypoints (..., V, 3) are present."""
    return (keypoints != 0).any(axis=(-2, -1))


def _draw_bones(axes: Axes, skeleton: Skeleton, body: Array, colour: str) -> None:
    from matplotlib.collections import LineCollection

    lines = [body[[child, parent]] for child, parent in skeleton.bones]
    axes.add_collection(LineCollection(lines, colors=colour, linewidths=0.9, capstyle="round", zorder=1))
