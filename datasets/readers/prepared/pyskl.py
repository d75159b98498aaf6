"""Annotation files of pyskl and mmaction2: `ntu60_3danno.pkl`.

A dict of `annotations`, each with `frame_dir`, `label`, `keypoint` (M, T, V, 3) and `total_frames`, and `split`:
`xsub_train`, `xsub_val`, ... with the names of their clips. An older form is the list of annotations alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import SkelbenchError
from ...recording import TEST, TRAIN, Recording, Rejected
from .names import layout_of, plain_name, shown
from .parts import UNNAMED, FilePart, assemble, side_of_file, sides_of, single

_SIDES = (("train", TRAIN), ("val", TEST), ("test", TEST))
_PERSONS = 2


def fits(content: object) -> bool:
    """Whether the content of a pickle has this layout."""
    entries = _entries(content)
    return len(entries) > 0 and isinstance(entries[0], dict) and {"frame_dir", "label"} <= entries[0].keys()


def read(path: Path, content: Any, split: str) -> Recording:
    """Read the content of one file.

    Raises:
        SkelbenchError: if its skeletons are 2-D or unknown, or its splits cannot be read.
    """
    good, rejected = _usable(_entries(content), path)
    joints = _joints(good, path)
    names = [entry["frame_dir"] for entry in good]
    sides, more = _sides(content, names, path)
    persons = min(_PERSONS, max(entry["keypoint"].shape[0] for entry in good))
    part = FilePart(
        file=str(path),
        names=names,
        labels=[int(entry["label"]) for entry in good],
        arrays=lambda: _keypoints(good, persons),
        sides=sides,
    )
    notes = {
        "source": "annotations of pyskl or mmaction2",
        "bodies": f"as given; of more than {_PERSONS}, those whose joints vary most",
        "memory": "the whole file is held in memory while it is read",
    }
    return assemble([part], layout_of(joints, str(path)), split, notes, [*rejected, *more])


def _entries(content: object) -> Sequence[Any]:
    entries = content.get("annotations") if isinstance(content, dict) else content
    return entries if isinstance(entries, list) else []


def _usable(entries: Sequence[Any], path: Path) -> tuple[list[dict[str, Any]], list[Rejected]]:
    good, rejected = [], []
    for i, entry in enumerate(entries):
        wrong = _wrong(entry)
        if wrong is None:
            good.append(entry)
        else:
            name = entry.get("frame_dir") if isinstance(entry, dict) else None
            name = plain_name(name) if isinstance(name, str) else path.name
            rejected.append(Rejected(name, f"{path}, annotation {i}: {wrong}."))
    if not good:
        raise SkelbenchError(f"{path} has no annotation that can be used ({rejected[0].reason}); get the file again.")
    return good, rejected


def _wrong(entry: Any) -> str | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("frame_dir"), str):
        return "there is no name ('frame_dir')"
    label, keypoint = entry.get("label"), entry.get("keypoint")
    if not isinstance(label, int) or isinstance(label, bool):
        return f"the label is {shown(label)}, not an integer"
    if not isinstance(keypoint, np.ndarray) or keypoint.ndim != 4 or keypoint.dtype.kind != "f":
        return "there are no keypoints (persons, frames, joints, 3)"
    frames = entry.get("total_frames", keypoint.shape[1])
    if not isinstance(frames, int) or not 0 < frames <= keypoint.shape[1] or not keypoint.shape[0]:
        return f"there are keypoints of the shape {keypoint.shape} for {shown(frames)} frames"
    return None


def _joints(entries: Sequence[Mapping[str, Any]], path: Path) -> int:
    """V of the file. Raises `SkelbenchError` if its skeletons are 2-D."""
    joints, numbers = entries[0]["keypoint"].shape[2:]
    if numbers != 3:
        raise SkelbenchError(
            f"{path} holds 2-D poses ({joints} joints with x and y, in pixels of the video), not skeletons with depth: "
            f"a frame of 17 such joints and their scores is 51 numbers where 25 joints in metres are 75; take the 3-D "
            "file (ntu60_3danno.pkl)."
        )
    return joints


def _sides(content: Any, names: list[str], path: Path) -> tuple[dict[str, list[int]], list[Rejected]]:
    """The side of every clip, split by split, and the clips that the splits list but the file lacks."""
    listed = content.get("split") if isinstance(content, dict) else None
    if not listed:
        side = side_of_file(path)
        return ({} if side is None else {UNNAMED: [side] * len(names)}), []
    if not isinstance(listed, dict) or not _are_names(list(listed)) or not all(map(_are_names, listed.values())):
        raise SkelbenchError(f"{path}: 'split' is not a dict of lists of names; get the file again.")
    splits: dict[str, dict[str, int]] = {}
    rejected: dict[str, Rejected] = {}
    known = set(names)
    for key, clips in listed.items():
        stem, side = _split_key(key)
        sides = splits.setdefault(stem, {}) if side is not None else {}
        for name in clips:
            if name not in known:
                reason = f"{path}: {shown(name)} is listed in the split {shown(key)} but has no annotation."
                rejected.setdefault(name, Rejected(plain_name(name), reason))
            elif side is not None and sides.setdefault(name, side) != side:
                where = f"{path}: {shown(name)} is on both sides of the split {shown(stem or key)}"
                raise SkelbenchError(f"{where}; a test on training clips is meaningless: fix the lists.")
    return {plain_name(stem): sides_of(sides, names) for stem, sides in splits.items()}, list(rejected.values())


def _are_names(value: object) -> bool:
    return isinstance(value, list | tuple | set) and all(isinstance(name, str) for name in value)


def _split_key(key: str) -> tuple[str, int | None]:
    """The split and the side of a key: "xsub_val" is ("xsub", TEST); "val" has no name; any other key has no side."""
    for word, side in _SIDES:
        if key == word:
            return UNNAMED, side
        if key.endswith(f"_{word}"):
            return key.removesuffix(f"_{word}"), side
    return key, None


def _keypoints(entries: Sequence[Mapping[str, Any]], persons: int) -> Iterator[np.ndarray]:
    """Yield (T, M, V, 3) float32, every clip with the same number of persons."""
    for entry in entries:
        keypoint = entry["keypoint"]
        frames = entry.get("total_frames", keypoint.shape[1])
        bodies = single(keypoint[:, :frames])  # (M, T, V, 3)
        if len(bodies) > persons:
            energy = np.array([_motion(body) for body in bodies])
            bodies = bodies[np.argsort(-energy, kind="stable")[:persons]]
        clip = np.zeros((frames, persons, *bodies.shape[2:]), np.float32)
        clip[:, : len(bodies)] = bodies.transpose(1, 0, 2, 3)
        yield clip


def _motion(body: np.ndarray) -> float:
    """Variance of all positions of a body (T, V, 3) in the frames that it is in, summed over the coordinates."""
    there = body[body.any(axis=(1, 2))].reshape(-1, body.shape[-1]).astype(np.float64)
    with np.errstate(all="ignore"):  # the writer reports what is not finite
        return float(there.var(axis=0).sum()) if len(there) else 0.0
