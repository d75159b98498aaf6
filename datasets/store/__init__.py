"""The on-disk dataset: written once, checked, memory-mapped, never executed.

A store is a folder with `keypoints.npy` (frames, M, V, 3) float32 in metres, `clips.json` (one entry a clip)
and `manifest.json` (layout, split rules, counts, sha256 of the other two, rejected inputs). Clips have their
full length; frames, splits and streams are derived when a store is read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SkelbenchError
from ...registry import did_you_mean
from ..layout import Layout
from ..recording import TEST, TRAIN, Rejected, SplitRule

FORMAT = 1

FILES = ("keypoints.npy", "clips.json", "manifest.json")
_MANIFEST = {  # required keys of a manifest, and of a clip below
    "layout": dict, "class_names": list, "splits": dict, "sha256": dict, "reader": str, "reader_version": int,
    "clips": int, "frames": int, "persons": int, "excluded": list, "rejected": list,
}  # fmt: skip
_CLIP = {"name": str, "label": int, "subject": int, "offset": int, "length": int, "bodies": int}


class Store:
    """A data set on disk. Opening it checks the sizes; `verify` checks the hashes as well."""

    def __init__(self, path: Path):
        self.path = Path(path)
        self.manifest: dict[str, Any] = self._read_json("manifest.json", dict)
        if self.manifest.get("format") != FORMAT:
            raise SkelbenchError(
                f"{self.path}/manifest.json has format {self.manifest.get('format')}, this version reads "
                f"{FORMAT}; prepare the data again."
            )
        for key, kind in _MANIFEST.items():
            if not isinstance(self.manifest.get(key), kind):
                raise SkelbenchError(
                    f"{self.path}/manifest.json is not a store's manifest ('{key}' is missing or damaged); prepare the "
                    "data again."
                )
        try:
            self.layout = Layout.from_json(self.manifest["layout"])
            self.class_names: tuple[str, ...] = tuple(self.manifest["class_names"])
            self.splits = {name: _rule(rule) for name, rule in self.manifest["splits"].items()}
            self.rejected = [Rejected(e["file"], e["reason"], e.get("line")) for e in self.manifest["rejected"]]
            self.applied: tuple[str, ...] = tuple(self.manifest.get("applied", ()))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise SkelbenchError(
                f"{self.path}/manifest.json is not a store's manifest ({type(error).__name__}: {error}); "
                "prepare the data again."
            ) from error
        self.clips: list[dict[str, Any]] = self._read_json("clips.json", list)
        self.keypoints = self._map_keypoints()
        self._check_clips()

    @property
    def name(self) -> str:
        """The folder's name, which is the data set's."""
        return self.path.name

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that a result depends on: the files' hashes, the layout and the split rules."""
        facts = {key: self.manifest[key] for key in ("format", "layout", "class_names", "splits", "sha256")}
        if self.applied:
            facts["applied"] = list(self.applied)
        if self.any_slot and self.manifest["presence"]["touches"]:
            facts["presence"] = self.manifest["presence"]["rule"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def any_slot(self) -> bool:
        """Whether a frame counts if any person is in it, see `presence`; older stores count those of person 0."""
        return self.manifest.get("presence", {}).get("rule") == "any slot"

    def column(self, fact: str) -> np.ndarray:
        """One fact of every clip, as an array (N,)."""
        return np.array([clip[fact] for clip in self.clips])

    def sides(self, split: str, *, empty: bool = False) -> np.ndarray:
        """TRAIN, TEST or LEFT_OUT of every clip (N,).

        Raises:
            SkelbenchError: if the store has no such split, or one side of it is empty and `empty` does not allow it.
        """
        if split not in self.splits:
            raise SkelbenchError(f"The data set '{self.name}' has no split '{split}'{did_you_mean(split, self.splits)}")
        sides = split_sides(self.splits[split], split, self.clips, self.name)
        if not empty:
            check_sides(sides, self.splits[split], split, self.name)
        return sides

    def counts(self, split: str) -> tuple[int, int]:
        """Number of training and of test clips of a split. Raises the same errors as `sides`."""
        sides = self.sides(split)
        return int((sides == TRAIN).sum()), int((sides == TEST).sum())

    def verify(self) -> None:
        """Recompute the hashes. Raises `SkelbenchError` naming the file that changed."""
        if self.manifest.get("checksum", checksum(self.manifest)) != checksum(self.manifest):
            raise SkelbenchError(
                f"{self.path / 'manifest.json'} does not match its checksum; the store is damaged: prepare it again."
            )
        for name in ("keypoints.npy", "clips.json"):
            try:
                fits = sha256(self.path / name) == self.manifest["sha256"].get(name)
            except OSError as error:
                raise SkelbenchError(
                    f"{self.path / name} cannot be read ({error.strerror}); prepare the data set again."
                ) from error
            if not fits:
                raise SkelbenchError(
                    f"{self.path / name} does not match its checksum; the store is damaged: prepare it again."
                )

    def _read_json(self, name: str, kind: type) -> Any:
        try:
            value = json.loads((self.path / name).read_text())
        except FileNotFoundError as error:
            raise SkelbenchError(
                f"{self.path} is not a data store ({name} is missing); prepare it with `skelbench prepare`."
            ) from error
        except (OSError, ValueError) as error:
            raise SkelbenchError(f"{self.path / name} cannot be read ({error}); prepare the data set again.") from error
        if not isinstance(value, kind):
            raise SkelbenchError(f"{self.path / name} is not a store's {name}; prepare the data set again.")
        return value

    def _check_clips(self) -> None:
        """Raise a `SkelbenchError` for the first entry of `clips.json` that is not a clip of this store."""
        frames, classes = self.manifest["frames"], len(self.class_names)
        for number, clip in enumerate(self.clips):
            wrong = None
            if not isinstance(clip, dict):
                wrong = "is not a clip"
            elif lacking := [key for key, kind in _CLIP.items() if not isinstance(clip.get(key), kind)]:
                wrong = f"has no valid '{lacking[0]}'"
            elif not (0 <= clip["offset"] < clip["offset"] + clip["length"] <= frames):
                wrong = f"lies outside the {frames} frames"
            elif not 0 <= clip["label"] < classes:
                wrong = f"has label {clip['label']}, outside the {classes} classes"
            if wrong is not None:
                raise SkelbenchError(f"{self.path}/clips.json: entry {number} {wrong}; prepare the data set again.")

    def _map_keypoints(self) -> np.ndarray:
        frames, persons, clips = (self.manifest.get(count) for count in ("frames", "persons", "clips"))
        expected = (frames, persons, self.layout.num_joints, 3)
        try:
            keypoints = np.load(self.path / "keypoints.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise SkelbenchError(
                f"{self.path / 'keypoints.npy'} cannot be read ({error}); prepare the data set again."
            ) from error
        if keypoints.shape != expected or keypoints.dtype != np.float32 or len(self.clips) != clips:
            raise SkelbenchError(
                f"{self.path} holds {keypoints.dtype} {keypoints.shape} and {len(self.clips)} clips where its "
                f"manifest says float32 {expected} and {clips}; prepare it again."
            )
        return keypoints


def checksum(manifest: Mapping[str, Any]) -> str:
    """Hash of a manifest without its own "checksum" entry; stores of older versions have none."""
    rest = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _rule(value: Mapping[str, Any]) -> SplitRule:
    test = value["test"]
    return SplitRule(value["field"], tuple(value["train"]), None if test is None else tuple(test), value["text"])


def split_sides(rule: SplitRule, split: str, clips: list[dict[str, Any]], dataset: str) -> np.ndarray:
    """TRAIN, TEST or LEFT_OUT of every clip (N,) by one rule."""
    sides = []
    for clip in clips:
        try:
            sides.append(rule.side(clip, split))
        except (KeyError, TypeError, ValueError) as error:
            fact = "recorded side" if rule.field == "own" else f"'{rule.field}'"
            raise SkelbenchError(
                f"Split '{split}' of '{dataset}' cannot place the clip '{clip['name']}', which has no {fact}; prepare "
                "the data set again."
            ) from error
    return np.array(sides)


def check_sides(sides: np.ndarray, rule: SplitRule, split: str, dataset: str) -> None:
    """Raise a `SkelbenchError` if one side of a split (N,) has no clip."""
    for side, word in ((TRAIN, "training"), (TEST, "test")):
        if not (sides == side).any():
            raise SkelbenchError(
                f"Split '{split}' of '{dataset}' has no {word} clip ({rule.text}); fix the split, the data or the "
                "list of clips to exclude."
            )


def sha256(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_folder() -> Path:
    """The folder of the stores: `SKELBENCH_DATA`, else the platform's data folder."""
    import platformdirs

    return Path(os.environ.get("SKELBENCH_DATA") or platformdirs.user_data_dir("skelbench"))


def store_path(dataset: str | Path) -> Path:
    """Where the store of a data set is, given its name or a path."""
    return Path(dataset) if isinstance(dataset, Path) or os.sep in dataset else data_folder() / dataset


def open_store(dataset: str | Path) -> Store:
    """Open a store by the name of a data set or by path.

    Raises:
        SkelbenchError: if there is no such store; the message names the available ones.
    """
    path = store_path(dataset)
    if isinstance(dataset, str) and os.sep not in dataset and not _is_folder(path):
        hint = did_you_mean(dataset, list_stores())
        raise SkelbenchError(
            f"There is no data set '{dataset}' in {data_folder()}{hint} Make one with `skelbench prepare`."
        )
    return Store(path)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name longer than the file system's
        return False


def list_stores() -> list[str]:
    """Names of the stores in the data folder."""
    folder = data_folder()
    if not _is_folder(folder):
        return []
    return sorted(p.parent.name for p in folder.glob("*/manifest.json") if not p.parent.name.startswith("."))
