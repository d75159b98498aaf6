"""Looking at a store: counts per split and class, and a clip drawn in text."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import SkelbenchError
from .store import TEST, TRAIN, Store

_BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # dot bits by row and column


def describe(store: Store) -> dict[str, Any]:
    """Counts of a store, as values and as lines to print."""
    length, label = store.column("length"), store.column("label")
    facts: dict[str, Any] = {
        "name": store.name,
        "path": str(store.path),
        "fingerprint": store.fingerprint,
        "reader": store.manifest["reader"],
        "layout": store.layout.name,
        "clips": len(store.clips),
        "frames": {
            "shortest": int(length.min()),
            "median": int(np.median(length)),
            "longest": int(length.max()),
        },
        "persons": {str(n): int((store.column("bodies") == n).sum()) for n in np.unique(store.column("bodies"))},
        "rejected": [{"file": file, "reason": reason} for file, reason in store.rejected],
        "excluded": len(store.manifest["excluded"]),
    }
    sides = {split: store.sides(split, empty=True) for split in store.splits}
    facts["splits"] = {
        split: {
            "train": int((s == TRAIN).sum()),
            "test": int((s == TEST).sum()),
            "rule": store.splits[split].text,
        }
        for split, s in sides.items()
    }
    facts["classes"] = {
        name: {"clips": int((label == c).sum())}
        | {
            f"{split} {word}": int(((label == c) & (s == side)).sum())
            for split, s in sides.items()
            for word, side in (("train", TRAIN), ("test", TEST))
        }
        for c, name in enumerate(store.class_names)
    }
    facts["lines"] = list(_lines(facts))
    return facts


def _lines(facts: dict[str, Any]) -> list[str]:
    frames = facts["frames"]
    lines = [
        f"{facts['name']}: {facts['clips']:,} clips, checksums fit ({facts['path']})",
        f"  layout {facts['layout']}, reader {facts['reader']}, fingerprint {facts['fingerprint']}",
        f"  frames a clip: {frames['shortest']} to {frames['longest']}, median {frames['median']}",
        "  clips by persons: " + ", ".join(f"{n}: {count:,}" for n, count in facts["persons"].items()),
    ]
    lines += [
        f"  {split}: {sides['train']:,} train, {sides['test']:,} test ({sides['rule']})"
        for split, sides in facts["splits"].items()
    ]
    lines += [f"  rejected: {entry['file']}: {entry['reason']}" for entry in facts["rejected"]]
    if facts["excluded"]:
        lines.append(f"  excluded by name: {facts['excluded']} clips")
    columns = ["clips", *(f"{split} {word}" for split in facts["splits"] for word in ("train", "test"))]
    width = max(len(name) for name in facts["classes"])
    lines.append("  " + " " * width + "".join(f"  {column:>11}" for column in columns))
    for name, counts in facts["classes"].items():
        lines.append(f"  {name:<{width}}" + "".join(f"  {counts[column]:>11,}" for column in columns))
    return lines


def picture(store: Store, clip: int, *, poses: int = 6, width: int = 16, height: int = 12) -> str:
    """Draw evenly spaced frames of a clip side by side, seen from the camera, in Braille characters.

    Frames without anybody do not count.

    Raises:
        SkelbenchError: if there is nobody in the whole clip.
    """
    entry = store.clips[clip]
    keypoints = store.keypoints[entry["offset"] : entry["offset"] + entry["length"]]
    peopled = np.flatnonzero((keypoints != 0).any(axis=(1, 2, 3)))
    if len(peopled) == 0:
        raise SkelbenchError(
            f"Clip '{entry['name']}' of {store.path} has nobody in any frame and cannot be drawn; prepare the data "
            "again without it (--exclude)."
        )
    frames = peopled[np.linspace(0, len(peopled) - 1, poses).round().astype(int)]
    keypoints = np.asarray(keypoints[frames])  # (poses, M, V, 3)
    present = (keypoints != 0).any(axis=(2, 3))
    points = keypoints[present][:, :, :2]
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    scale = (min(2 * width, 4 * height) - 1) / max((high - low).max(), 1e-6)
    panels = []
    for pose, there in zip(keypoints, list(present), strict=True):
        dots = np.zeros((4 * height, 2 * width), dtype=bool)
        for body in pose[there]:
            for child, parent in store.layout.bones:
                line = np.linspace(body[child, :2], body[parent, :2], 24)
                column, row = ((line - low) * scale).round().astype(int).T
                dots[4 * height - 1 - row, column] = True
        panels.append(_braille(dots))
    name = f"{entry['name']}: {store.class_names[entry['label']]}, frames {', '.join(map(str, frames))}"
    return "\n".join([name, *("".join(rows).rstrip() for rows in zip(*panels, strict=True))])


def _braille(dots: np.ndarray) -> list[str]:
    rows = []
    for top in range(0, dots.shape[0], 4):
        cells = []
        for left in range(0, dots.shape[1], 2):
            bits = sum(bit for r, pair in enumerate(_BRAILLE) for c, bit in enumerate(pair) if dots[top + r, left + c])
            cells.append(chr(0x2800 + bits) if bits else " ")
        rows.append("".join(cells))
    return rows
