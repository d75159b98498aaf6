"""Load a split of a store as one tensor: valid frames counted, centred, resampled and turned.

The four steps are those of the released feeders (CrosSCLR@792b70c, `feeder/preprocess_ntu.py`), computed for
blocks of clips in float64 and stored in float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import SkelbenchError
from .catalogue import open_dataset
from .layout import Layout
from .recording import TEST, TRAIN
from .store import Store

ValidRule = Literal["any", "joint0"]
_BLOCK = 256  # clips processed at once: about 60 MB in float64 at T = 64, V = 25, M = 2


@dataclass(frozen=True)
class ClipList:
    """The clips of one side of a split, without their keypoints: what is known before they are loaded.

    Attributes:
        name: N clip names.
        label, subject: (N,) int64.
        class_names: names of the classes of the data set, present here or not.
    """

    name: tuple[str, ...]
    label: Tensor
    subject: Tensor
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True)
class Clips:
    """One side of a split on a device.

    Attributes:
        x: (N, 3, T, V, M) float32, metres, centred on the layout's centre joint.
        label: (N,) int64.
        name: N clip names.
        subject: (N,) int64 on the CPU.
        layout: the skeleton.
        class_names: names of the classes.
        dataset: name of the store.
        fingerprint: hash of the store's content.
        camera: (N,) int64 on the CPU, -1 if not known; None for clips that were not loaded from a store.
        digest: a hash of each clip's keypoints, as the store has them.
    """

    x: Tensor
    label: Tensor
    name: tuple[str, ...]
    subject: Tensor
    layout: Layout
    class_names: tuple[str, ...]
    dataset: str
    fingerprint: str
    camera: Tensor | None = None
    digest: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.label)

    @property
    def num_classes(self) -> int:
        """Number of classes of the data set, present here or not."""
        return len(self.class_names)

    def listed(self) -> ClipList:
        """The same clips without their keypoints."""
        return ClipList(self.name, self.label.cpu(), self.subject, self.class_names)


def load_dataset(
    dataset: str | Path | Store,
    split: str,
    *,
    frames: int,
    device: str | torch.device = "cpu",
    limit: int | None = None,
    valid: ValidRule = "any",
) -> tuple[Clips, Clips]:
    """Load the training and the test side of a split.

    Args:
        dataset: name of a store (`synthetic` is generated on first use), its folder, or the open store.
        split: a split of the store ("xsub", "xview", ...).
        frames: T, the number of frames every clip is resampled to.
        device: where the tensors live.
        limit: total number of clips, chosen once for all methods and seeds (None: all).
        valid: which frames are counted, see `valid_frames`.

    Raises:
        SkelbenchError: if the store or the split is missing, or a clip has no valid frame.
    """
    store = open_dataset(dataset)
    sides = store.sides(split)
    if frames < 1:
        raise SkelbenchError(f"A clip cannot have {frames} frames; frames must be at least 1.")
    return (
        _side(store, _limited(sides == TRAIN, limit, len(sides)), frames, device, valid),
        _side(store, _limited(sides == TEST, limit, len(sides)), frames, device, valid),
    )


def list_clips(store: Store, split: str, limit: int | None = None) -> tuple[ClipList, ClipList]:
    """The clips that `load_dataset` gives, listed: those of the training and of the test side of a split."""
    sides = store.sides(split)
    name, label, subject = (store.column(fact) for fact in ("name", "label", "subject"))

    def listed(side: int) -> ClipList:
        row = _limited(sides == side, limit, len(sides))
        of, by = (torch.from_numpy(column[row].astype(np.int64)) for column in (label, subject))
        return ClipList(tuple(name[row].tolist()), of, by, store.class_names)

    return listed(TRAIN), listed(TEST)


def check_loadable(layout: Layout, applied: Sequence[str], whose: str = "a clip") -> None:
    """Raise a `SkelbenchError` if a skeleton lacks what loading needs for the steps that are not `applied` yet."""
    if "centred" not in applied:
        layout.need("centre", f"Centring {whose}")
    if "turned" not in applied:
        layout.need("shoulders", f"Turning {whose}")


def training_rows(store: Store, split: str, limit: int | None) -> np.ndarray:
    """Rows of the clips that a split trains on, with the `limit` of `load_dataset`."""
    sides = store.sides(split, empty=True)
    return _limited(sides == TRAIN, limit, len(sides))


def _limited(chosen: np.ndarray, limit: int | None, total: int) -> np.ndarray:
    """Indices of the chosen clips, subsampled at random (fixed seed) to their share of `limit`."""
    index = np.flatnonzero(chosen)
    if limit is None or limit >= total:
        return index
    keep = max(1, round(limit * len(index) / total))
    return np.sort(np.random.default_rng(0).permutation(index)[:keep])


def _side(store: Store, index: np.ndarray, frames: int, device: str | torch.device, valid: ValidRule) -> Clips:
    offset, length = store.column("offset")[index], store.column("length")[index]
    persons, joints = store.keypoints.shape[1:3]
    x = np.empty((len(index), 3, frames, joints, persons), dtype=np.float32)
    digests: list[str] = []
    for start in range(0, len(index), _BLOCK):
        block = slice(start, start + _BLOCK)
        clips = [np.asarray(store.keypoints[o : o + n]) for o, n in zip(offset[block], length[block], strict=True)]
        digests += map(digest_of, clips)
        whole = store.any_slot and valid == "any"
        counts = np.array([len(clip) if whole else valid_frames(clip, valid) for clip in clips])
        if not counts.all():
            name = store.clips[index[block][int(np.argmin(counts))]]["name"]
            raise SkelbenchError(
                f"Clip '{name}' of '{store.name}' has no valid frame (rule '{valid}'); prepare the data without it."
            )
        x[block] = preprocess(clips, counts, frames, store.layout, store.applied).transpose(0, 4, 1, 3, 2)
    return Clips(
        x=torch.from_numpy(x).to(device),
        label=torch.from_numpy(store.column("label")[index].astype(np.int64)).to(device),
        name=tuple(store.column("name")[index].tolist()),
        subject=torch.from_numpy(store.column("subject")[index].astype(np.int64)),
        layout=store.layout,
        class_names=store.class_names,
        dataset=store.name,
        fingerprint=store.fingerprint,
        camera=torch.tensor([-1 if camera is None else camera for camera in store.column("camera")[index].tolist()]),
        digest=tuple(digests),
    )


def digest_of(keypoints: np.ndarray) -> str:
    """The hash of a clip's keypoints (T, M, V, 3), as a store has them, by which equal clips are recognised."""
    return hashlib.blake2b(np.asarray(keypoints).tobytes(), digest_size=8).hexdigest()


def valid_frames(clip: np.ndarray, rule: ValidRule = "any") -> int:
    """Count the frames of one clip (T, M, V, 3) in which body 0 is present.

    "any": some coordinate of body 0 is not zero (right for root-centred data too). "joint0": joint 0 of body 0
    is not at the origin, as the released code counts. As this is a count, frames missing inside a clip shorten it.
    """
    body = clip[:, 0] if rule == "any" else clip[:, 0, :1]
    return int((body != 0).any(axis=(1, 2)).sum())


def preprocess(
    clips: list[np.ndarray], counts: np.ndarray, frames: int, layout: Layout, applied: Sequence[str] = ()
) -> np.ndarray:
    """Centre, resample and turn clips (T_i, M, V, 3); return (N, frames, M, V, 3) float64.

    Only the first `counts[i]` frames of a clip are used. Steps that are already `applied` are not repeated; a clip
    that was resampled is resampled again only to a different number of frames.
    """
    check_loadable(layout, applied)
    before, after, weight = _resampling(counts, frames)
    offsets = np.cumsum([0, *(len(clip) for clip in clips[:-1])])[:, None]
    stacked = np.concatenate(clips).astype(np.float64)
    if "centred" not in applied:
        assert layout.centre is not None
        stacked -= stacked[:, :, layout.centre : layout.centre + 1]  # per frame and per body
    weight = weight[:, :, None, None, None]
    x = (1 - weight) * stacked[before + offsets] + weight * stacked[after + offsets]  # (N, T, M, V, 3)
    if "turned" in applied:
        return x
    assert layout.shoulders is not None
    return turn_parallel(x, *layout.shoulders)


def _resampling(counts: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours and weights (N, T) of half-pixel linear resampling with clamped edges (OpenCV INTER_LINEAR)."""
    position = (np.arange(frames) + 0.5) * counts[:, None] / frames - 0.5
    floor = np.floor(position)
    last = counts[:, None] - 1
    before = np.clip(floor, 0, last).astype(np.int64)
    after = np.clip(floor + 1, 0, last).astype(np.int64)
    return before, after, position - floor


def turn_parallel(x: np.ndarray, start: int, end: int) -> np.ndarray:
    """Turn every body of every frame about y so that the line from joint `start` to `end` is parallel to x.

    The angle's sign is chosen once per clip and body from the sum of the line's z, as the released code does
    (CrosSCLR@792b70c); frames on the minority side are turned the wrong way. x: (N, T, M, V, 3).
    """
    line = x[:, :, :, end] - x[:, :, :, start]  # (N, T, M, 3)
    length = np.hypot(line[..., 0], line[..., 2])
    angle = np.arccos(line[..., 0] / (length + 1e-4))
    angle *= np.where(line[..., 2].sum(axis=1, keepdims=True) >= 0, -1, 1)
    cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
    turned = np.empty_like(x)
    turned[..., 0] = cos * x[..., 0] - sin * x[..., 2]
    turned[..., 1] = x[..., 1]
    turned[..., 2] = sin * x[..., 0] + cos * x[..., 2]
    return turned
