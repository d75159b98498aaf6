"""Annotation files of pyskl and mmaction2: `ntu60_3danno.pkl`, or `xsub/train.pkl` and `xsub/val.pkl`.

A dict of `annotations`, each with `frame_dir`, `label`, `keypoint` (M, T, V, 3) and `total_frames`, and `split`:
`xsub_train`, `xsub_val`, ... with the names of their clips. Without `split`, and as a list of annotations alone, a file
is one side of a split. mmaction2 (`tools/data/skeleton/gen_ntu_rgbd_raw.py`) writes such lists, with keypoints
(3, T, V, M) that are prepared as those of 2s-AGCN, see `aligned`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import SkelbenchError
from ...recording import TEST, TRAIN, Recording, Rejected, Remark
from . import aligned
from .names import JOINTS, layout_of, plain_name, shown
from .parts import (
    UNNAMED,
    FilePart,
    assemble,
    inspected,
    refuse_different_states,
    refuse_two_of_a_side,
    side_of_file,
    sides_of,
    single,
)
from .poses import refuse_confidence

_SIDES = (("train", TRAIN), ("val", TEST), ("test", TEST))
_PERSONS = 2
_CROWD = 10  # persons of a usual clip beyond which frames were meant


def fits(content: object) -> bool:
    """Whether the content of a pickle has this layout."""
    entries = _entries(content)
    return len(entries) > 0 and isinstance(entries[0], dict) and {"frame_dir", "label"} <= entries[0].keys()


def read(files: Sequence[tuple[Path, Any]], split: str) -> Recording:
    """Read the contents of the files of one data set, each with its path.

    Raises:
        SkelbenchError: if skeletons are 2-D or unknown, splits cannot be read, or files do not belong together.
    """
    if len(files) > 1:
        _refuse_unrelated(files)
    parts, rejected, remarks, joints, prepared = [], [], [], set[int](), list[bool]()
    for path, content in files:
        good, bad = _usable(_entries(content), path)
        joints.add(_joints(good, path))
        names = [entry["frame_dir"] for entry in good]
        sides, more = _sides(content, names, path)
        rejected += [*bad, *more]
        remarks += [*_short(good, path), *_crowded(good, path)]
        some = [good[i]["keypoint"].transpose(1, 0, 2, 3) for i in inspected(len(good))]
        refuse_confidence(some, str(path))
        prepared.append(aligned.is_aligned(some))
        parts.append(
            FilePart(
                file=str(path),
                names=names,
                labels=[int(entry["label"]) for entry in good],
                arrays=partial(_keypoints, good, min(_PERSONS, _most_persons(good)), repeated=prepared[-1]),
                sides=sides,
            )
        )
    refuse_different_states([path for path, _ in files], prepared)
    if len(joints) > 1:
        raise SkelbenchError(f"{files[0][0]} and {files[-1][0]} differ in joints; prepare them one by one.")
    notes = {
        "source": "annotations of pyskl or mmaction2",
        "bodies": f"as given; of more than {_PERSONS}, those whose joints vary most",
        "memory": "the whole file is held in memory while it is read",
        **(aligned.NOTES if any(prepared) else {}),
    }
    recording = assemble(parts, layout_of(joints.pop(), str(files[0][0])), split, notes, rejected, remarks)
    return replace(recording, up="z") if any(prepared) else recording


def _refuse_unrelated(files: Sequence[tuple[Path, Any]]) -> None:
    whole = next((path for path, content in files if isinstance(content, dict) and content.get("split")), None)
    if whole is not None:
        others = ", ".join(path.name for path, _ in files if path != whole)
        raise SkelbenchError(f"{whole} is a data set of its own, with its splits; leave {others} out.")
    refuse_two_of_a_side([path for path, _ in files])


def _entries(content: object) -> Sequence[Any]:
    entries = content.get("annotations") if isinstance(content, dict) else content
    return entries if isinstance(entries, list) else []


def _usable(entries: Sequence[Any], path: Path) -> tuple[list[dict[str, Any]], list[Rejected]]:
    """The annotations that can be used, keypoints as arrays (M, T, V, 3), and why the others cannot."""
    good, rejected = [], []
    arrays = [_array(entry.get("keypoint")) if isinstance(entry, dict) else None for entry in entries]
    if _channels_first([array for array in arrays if array is not None]):
        arrays = [None if array is None else array.transpose(3, 1, 2, 0) for array in arrays]
    for i, (entry, array) in enumerate(zip(entries, arrays, strict=True)):
        wrong = _wrong(entry, array)
        if wrong is None:
            good.append(entry | {"keypoint": array})
        else:
            name = entry.get("frame_dir") if isinstance(entry, dict) else None
            name = plain_name(name) if isinstance(name, str) else path.name
            rejected.append(Rejected(name, f"{path}, annotation {i}: {wrong}."))
    many, few = (np.median([entry["keypoint"].shape[axis] for entry in good]) if good else 0 for axis in (0, 1))
    if many > _CROWD and few <= _PERSONS:
        raise SkelbenchError(
            f"{path} has keypoints of {many:.0f} persons in {few:.0f} frames; persons and frames are exchanged: write "
            "(persons, frames, joints, 3)."
        )
    if not good:
        raise SkelbenchError(f"{path} has no annotation that can be used ({rejected[0].reason}); get the file again.")
    return good, rejected


def _array(keypoint: object) -> np.ndarray | None:
    """Keypoints as a float array of four dimensions, also if they are nested lists; None if they are not numbers."""
    if isinstance(keypoint, list):
        try:
            keypoint = np.array(keypoint, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):  # words, or lists of different lengths
            return None
    if not isinstance(keypoint, np.ndarray) or keypoint.ndim != 4 or keypoint.dtype.kind != "f":
        return None
    return keypoint


def _channels_first(arrays: Sequence[np.ndarray]) -> bool:
    """Whether keypoints are (3, T, V, M) with up to two persons of a known number of joints."""
    return len(arrays) > 0 and all(
        len(array) == 3 and 1 <= array.shape[3] <= _PERSONS and array.shape[2] in JOINTS for array in arrays
    )


def _wrong(entry: Any, keypoint: np.ndarray | None) -> str | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("frame_dir"), str):
        return "there is no name ('frame_dir')"
    label = entry.get("label")
    if not isinstance(label, int) or isinstance(label, bool):
        return f"the label is {shown(label)}, not an integer"
    if keypoint is None:
        uneven = isinstance(entry.get("keypoint"), list)
        what = "the lists of keypoints do not make an array" if uneven else "there are no keypoints"
        return f"{what} (persons, frames, joints, 3)"
    frames = _stated(entry)
    if (
        isinstance(frames, bool)
        or not isinstance(frames, int | None)
        or (frames is not None and frames <= 0)
        or 0 in keypoint.shape
    ):
        return f"there are keypoints of the shape {keypoint.shape} for {shown(frames)} frames"
    return None


def _stated(entry: Mapping[str, Any]) -> Any:
    """The number of frames that an annotation states; None if it states none."""
    return entry.get("total_frames")


def _frames(entry: Mapping[str, Any]) -> int:
    held = entry["keypoint"].shape[1]
    return min(held, _stated(entry) or held)


def _crowded(entries: Sequence[Mapping[str, Any]], path: Path) -> list[Remark]:
    """A remark on clips of whose persons some are left out."""
    names = tuple(
        plain_name(entry["frame_dir"]) for entry in entries if entry["keypoint"].any((1, 2, 3)).sum() > _PERSONS
    )
    what = f"{path.name} has clips of more than {_PERSONS} persons, of whom those are kept whose coordinates vary most."
    return [Remark(what, "Look at these clips if others than the actors are in them.", names)] if names else []


def _short(entries: Sequence[Mapping[str, Any]], path: Path) -> list[Remark]:
    """A remark on clips that say to have more frames than there are."""
    short = [entry for entry in entries if _frames(entry) < (_stated(entry) or 0)]
    if not short:
        return []
    first, names = short[0], tuple(plain_name(entry["frame_dir"]) for entry in short)
    return [
        Remark(
            f"{path.name} states more frames than it holds ('total_frames' of {names[0]} is {_stated(first):,}, there "
            f"are {_frames(first):,}).",
            "The frames that are there were used; get the file again if it was cut off.",
            names,
        )
    ]


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


def _most_persons(entries: Sequence[Mapping[str, Any]]) -> int:
    return max(entry["keypoint"].shape[0] for entry in entries)


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


def _keypoints(entries: Sequence[Mapping[str, Any]], persons: int, *, repeated: bool = False) -> Iterator[np.ndarray]:
    """Yield (T, M, V, 3) float32, every clip with the same number of persons."""
    for entry in entries:
        frames = entry["keypoint"].shape[1] if repeated else _frames(entry)  # repetitions are found in all of them
        bodies = single(entry["keypoint"][:, :frames])  # (M, T, V, 3)
        if len(bodies) > persons:
            energy = np.array([_motion(body) for body in bodies])
            bodies = bodies[np.argsort(-energy, kind="stable")[:persons]]
        clip = np.zeros((frames, persons, *bodies.shape[2:]), np.float32)
        clip[:, : len(bodies)] = bodies.transpose(1, 0, 2, 3)
        yield aligned.without_repetitions(clip)[: _frames(entry)] if repeated else clip


def _motion(body: np.ndarray) -> float:
    """Variance of all positions of a body (T, V, 3) in the frames that it is in, summed over the coordinates."""
    there = body[body.any(axis=(1, 2))].reshape(-1, body.shape[-1]).astype(np.float64)
    with np.errstate(all="ignore"):  # the writer reports what is not finite
        return float(there.var(axis=0).sum()) if len(there) else 0.0
