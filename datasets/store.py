"""The on-disk dataset: written once, checked, memory-mapped, never executed.

A store is a folder with `keypoints.npy` (frames, M, V, 3) float32 in metres, `clips.json` (one entry a clip)
and `manifest.json` (layout, split rules, counts, sha256 of the other two, rejected inputs). Clips have their
full length; frames, splits and streams are derived when a store is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SkelbenchError
from ..registry import did_you_mean
from .layout import Layout

FORMAT = 1
TRAIN, TEST, LEFT_OUT = 1, 0, -1
STALE = 3600  # seconds after which a temporary folder that nobody writes to is what an interrupted run left

_FILES = ("keypoints.npy", "clips.json", "manifest.json")
_MANIFEST = {  # what a manifest must hold, and what a clip must
    "layout": dict, "class_names": list, "splits": dict, "sha256": dict, "reader": str, "reader_version": int,
    "clips": int, "frames": int, "persons": int, "excluded": list, "rejected": list,
}  # fmt: skip
_CLIP = {"name": str, "label": int, "subject": int, "offset": int, "length": int, "bodies": int}


@dataclass(frozen=True)
class Clip:
    """One recorded action: keypoints (T, M, V, 3) in metres (absent persons all zero) and its facts."""

    name: str
    keypoints: np.ndarray
    label: int
    subject: int
    camera: int | None = None
    setup: int | None = None
    repetition: int | None = None
    splits: Mapping[str, int] = field(default_factory=dict)  # the clip's own side of the splits without a rule


@dataclass(frozen=True)
class SplitRule:
    """Which clips train: those whose `field` is in `train`; `test` limits the others where it is given.

    `field` is a clip's "subject", "camera" or "setup", or "own" for a side recorded clip by clip.
    """

    field: str
    train: tuple[int, ...] = ()
    test: tuple[int, ...] | None = None
    text: str = ""

    def side(self, clip: Mapping[str, Any], split: str) -> int:
        """TRAIN, TEST or LEFT_OUT for one entry of `clips.json`."""
        if self.field == "own":
            return int(clip["splits"][split])
        value = clip[self.field]
        if value in self.train:
            return TRAIN
        return TEST if self.test is None or value in self.test else LEFT_OUT


@dataclass(frozen=True)
class Recording:
    """What a reader returns: the facts of a data set and an iterable of its clips."""

    layout: Layout
    class_names: tuple[str, ...]
    splits: Mapping[str, SplitRule]
    clips: Iterable[Clip]
    reader: str
    reader_version: int
    fps: float | None = None
    rejected: tuple[Mapping[str, str], ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)


class StoreWriter:
    """Write a store clip by clip into a temporary folder; `finish` checks it and renames it into place.

    Use as a context manager: leaving it by an exception removes everything that was written. What an earlier
    run that was killed left under the same name is removed at the start.

    Raises:
        SkelbenchError: if something that is no store stands at `path`, or the folder cannot be written.
    """

    def __init__(self, path: Path, recording: Recording, *, exclude: frozenset[str] = frozenset()):
        self.path = Path(path)
        self.recording = recording
        self.exclude = exclude
        self._excluded: set[str] = set()
        self._clips: list[dict[str, Any]] = []
        self._names: set[str] = set()
        self._frames = 0
        self._persons = 0
        try:
            self._refuse_a_foreign_folder()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            self._folder = Path(tempfile.mkdtemp(prefix=f".{self.path.name}-", dir=self.path.parent))
            self._folder.chmod(0o755)  # mkdtemp leaves it to its owner alone; a data folder may be shared
            self._raw = (self._folder / "keypoints.raw").open("wb")
        except OSError as error:
            raise SkelbenchError(
                f"The data folder {self.path.parent} cannot be written ({error.strerror}); set "
                "SKELBENCH_DATA to one that can."
            ) from error

    def _refuse_a_foreign_folder(self) -> None:
        """Only a store may be replaced; anything else that has its name is not ours to delete."""
        manifest, *others = (self.path / name for name in reversed(_FILES))
        ours = manifest.is_file() and any(path.is_file() for path in others)
        if (self.path.exists() or self.path.is_symlink()) and not ours:
            raise SkelbenchError(
                f"{self.path} exists and is not a data store, so it is not replaced; move it away or choose another "
                "name (--name)."
            )

    def _remove_leftovers(self) -> None:
        """Remove temporary folders of this name that nobody has written to for long."""
        ours = re.compile(rf"\.{re.escape(self.path.name)}-[a-z0-9_]{{8}}(-old)?")
        for folder in self.path.parent.iterdir():
            match = ours.fullmatch(folder.name)
            # An older store that was put aside is the only one until the new one stands in its place.
            if match is None or (match[1] and not self.path.exists()):
                continue
            with suppress(OSError):
                files = list(folder.iterdir())
                newest = max(path.stat().st_mtime for path in (folder, *files))
                if {path.name for path in files} <= {*_FILES, "keypoints.raw"} and time.time() - newest > STALE:
                    shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with suppress(OSError):  # a full disk fails once more here, and has been told
            self._raw.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn a failed write (a full disk, a vanished folder) into a sentence."""
        try:
            yield
        except OSError as error:
            raise SkelbenchError(
                f"The store '{self.path.name}' cannot be written to {self.path.parent} ({error.strerror}); free some "
                "space there or set SKELBENCH_DATA to another folder. Nothing was written."
            ) from error

    def add(self, clip: Clip) -> None:
        """Append one clip. Raises `SkelbenchError` naming the clip if anything about it does not fit."""
        if clip.name in self.exclude:
            self._excluded.add(clip.name)
            return
        self._check(clip)
        keypoints = np.ascontiguousarray(clip.keypoints, dtype="<f4")
        self._persons = keypoints.shape[1]
        with self._writing():
            self._raw.write(keypoints.tobytes())
        entry = asdict(clip)
        del entry["keypoints"]
        present = np.flatnonzero(keypoints.any(axis=(0, 2, 3)))
        entry |= {"offset": self._frames, "length": len(keypoints), "bodies": len(present)}
        self._clips.append(entry)
        self._names.add(clip.name)
        self._frames += len(keypoints)

    def _check(self, clip: Clip) -> None:
        layout, shape = self.recording.layout, clip.keypoints.shape
        place = f"Clip '{clip.name}'"
        if clip.name in self._names:
            raise SkelbenchError(f"{place} stands in the data twice; names must be unique.")
        if len(shape) != 4 or shape[2:] != (layout.num_joints, 3):
            raise SkelbenchError(
                f"{place} has the shape {shape}, but layout '{layout.name}' needs "
                f"(frames, persons, {layout.num_joints}, 3); choose the layout that fits the data."
            )
        if self._clips and shape[1] != self._persons:
            raise SkelbenchError(
                f"{place} has {shape[1]} persons where the clips before it have {self._persons}; pad "
                "absent persons with zeros."
            )
        if not np.isfinite(clip.keypoints).all():
            frame = int(np.flatnonzero(~np.isfinite(clip.keypoints).all(axis=(1, 2, 3)))[0])
            raise SkelbenchError(
                f"{place}, frame {frame}: NaN or infinite coordinate; mend it or leave the clip out with --exclude."
            )
        if 0 in shape[:2] or not clip.keypoints[:, 0].any():
            raise SkelbenchError(f"{place} is empty (no frame where person 0 is present); leave it out with --exclude.")
        if not 0 <= clip.label < len(self.recording.class_names):
            raise SkelbenchError(
                f"{place} has label {clip.label}, outside its {len(self.recording.class_names)} classes "
                f"(0 to {len(self.recording.class_names) - 1}); labels count from 0."
            )

    def finish(self) -> Store:
        """Write the header and the manifest, check the store, rename it into place and open it.

        Raises:
            SkelbenchError: if no clip is left, a split has an empty side, or the folder cannot be written.
        """
        unknown = sorted(self.exclude - self._excluded)
        if unknown:
            raise SkelbenchError(
                f"{len(unknown)} names to exclude are not in the data (the first: '{unknown[0]}'); the "
                "list belongs to another data set."
            )
        if not self._clips:
            raise SkelbenchError(f"No clip is left for the store {self.path.name}; nothing was written.")
        for split, rule in self.recording.splits.items():
            _check_sides(_sides(rule, split, self._clips, self.path.name), rule, split, self.path.name)
        with self._writing():
            self._raw.close()
            self._write_keypoints()
            (self._folder / "clips.json").write_text(_lines(self._clips))
            (self._folder / "manifest.json").write_text(json.dumps(self._manifest(), indent=1) + "\n")
            Store(self._folder).verify()
            self._replace()
        return Store(self.path)

    def _replace(self) -> None:
        """Rename the new store into place; an older one is put aside first, so that no crash loses both."""
        self._refuse_a_foreign_folder()
        aside = self._folder.with_name(f"{self._folder.name}-old")
        if self.path.exists():
            self.path.rename(aside)
        try:
            self._folder.rename(self.path)
        except OSError:
            if aside.exists():
                aside.rename(self.path)
            raise
        shutil.rmtree(aside, ignore_errors=True)

    def _write_keypoints(self) -> None:
        shape = (self._frames, self._persons, self.recording.layout.num_joints, 3)
        with (
            (self._folder / "keypoints.npy").open("wb") as out,
            (self._folder / "keypoints.raw").open("rb") as raw,
        ):
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(out, header)
            shutil.copyfileobj(raw, out, 1 << 24)
        (self._folder / "keypoints.raw").unlink()

    def _manifest(self) -> dict[str, Any]:
        recording = self.recording
        files = {name: _sha256(self._folder / name) for name in ("keypoints.npy", "clips.json")}
        return {
            "format": FORMAT,
            "reader": recording.reader,
            "reader_version": recording.reader_version,
            "layout": recording.layout.to_json(),
            "class_names": list(recording.class_names),
            "splits": {name: asdict(rule) for name, rule in recording.splits.items()},
            "fps": recording.fps,
            "notes": dict(recording.notes),
            "clips": len(self._clips),
            "frames": self._frames,
            "persons": self._persons,
            "excluded": sorted(self._excluded),
            "rejected": [dict(entry) for entry in recording.rejected],
            "sha256": files,
        }


class Store:
    """A data set on disk. Opening checks the sizes; `verify` checks the hashes as well."""

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
            self.rejected: list[tuple[str, str]] = [
                (str(entry["file"]), str(entry["reason"])) for entry in self.manifest["rejected"]
            ]
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
        """Hash of what a result depends on: the files' hashes, the layout and the split rules."""
        facts = {key: self.manifest[key] for key in ("format", "layout", "class_names", "splits", "sha256")}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

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
        sides = _sides(self.splits[split], split, self.clips, self.name)
        if not empty:
            _check_sides(sides, self.splits[split], split, self.name)
        return sides

    def verify(self) -> None:
        """Recompute the hashes. Raises `SkelbenchError` naming the file that changed."""
        for name in ("keypoints.npy", "clips.json"):
            try:
                fits = _sha256(self.path / name) == self.manifest["sha256"].get(name)
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
                wrong = "is no clip"
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


def _rule(value: Mapping[str, Any]) -> SplitRule:
    test = value["test"]
    return SplitRule(value["field"], tuple(value["train"]), None if test is None else tuple(test), value["text"])


def _sides(rule: SplitRule, split: str, clips: list[dict[str, Any]], dataset: str) -> np.ndarray:
    """TRAIN, TEST or LEFT_OUT of every clip (N,) by one rule."""
    sides = []
    for clip in clips:
        try:
            sides.append(rule.side(clip, split))
        except (KeyError, TypeError, ValueError) as error:
            fact = "side of its own" if rule.field == "own" else f"'{rule.field}'"
            raise SkelbenchError(
                f"Split '{split}' of '{dataset}' cannot place the clip '{clip['name']}', which has no {fact}; prepare "
                "the data set again."
            ) from error
    return np.array(sides)


def _check_sides(sides: np.ndarray, rule: SplitRule, split: str, dataset: str) -> None:
    for side, word in ((TRAIN, "training"), (TEST, "test")):
        if not (sides == side).any():
            raise SkelbenchError(
                f"Split '{split}' of '{dataset}' has no {word} clip ({rule.text}); mend the split, the data or the "
                "list of clips to exclude."
            )


def _lines(entries: list[dict[str, Any]]) -> str:
    """JSON with one entry a line: a person can read it and diff it."""
    return "[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_folder() -> Path:
    """Where stores live: `SKELBENCH_DATA`, else the platform's data folder."""
    import platformdirs

    return Path(os.environ.get("SKELBENCH_DATA") or platformdirs.user_data_dir("skelbench"))


def open_store(dataset: str | Path) -> Store:
    """Open a store by the name of a data set or by path.

    Raises:
        SkelbenchError: if there is none, naming the stores there are.
    """
    if isinstance(dataset, Path) or os.sep in dataset:
        return Store(Path(dataset))
    path = data_folder() / dataset
    if not _is_folder(path):
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
