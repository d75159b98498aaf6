"""Writing a store: into a temporary folder, checked, then renamed into place."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SkelbenchError
from .store import FILES, FORMAT, Clip, Recording, Store, check_sides, sha256, split_sides

STALE = 3600  # seconds after which a temporary folder that nobody writes to is what an interrupted run left


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
        manifest, *others = (self.path / name for name in reversed(FILES))
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
                if {path.name for path in files} <= {*FILES, "keypoints.raw"} and time.time() - newest > STALE:
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
            check_sides(split_sides(rule, split, self._clips, self.path.name), rule, split, self.path.name)
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
        files = {name: sha256(self._folder / name) for name in ("keypoints.npy", "clips.json")}
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


def _lines(entries: list[dict[str, Any]]) -> str:
    """JSON with one entry a line: a person can read it and diff it."""
    return "[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n"
