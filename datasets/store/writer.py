"""Write a store: into a folder next to its final place, then checked and renamed.

An interrupted run leaves the keypoints so far and a journal with one line per input. The next run with the same
reader, options and exclusions resumes after the last input whose line is complete and matches the keypoints.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SkelbenchError
from ..audit import Audited, Finding, RefusedError, audit, refuse
from ..audit.measure import measure
from ..convert import Conversion
from ..mend import mend
from ..recording import FACTS, Clip, Items, Recording, Rejected
from . import FORMAT, Store, check_sides, checksum, sha256, split_sides
from .check import complaint
from .folder import StoreFolder
from .journal import digest

REJECTED = "rejected.csv"
HEADER = 128  # bytes before the numbers: NumPy leaves room in it for any number of frames


class StoreWriter:
    """Write a store clip by clip; `finish` checks it and renames it into place.

    What the audit finds is recorded; its errors are refused if `accept` is given, except for the checks in it.

    Use as a context manager: an error inside it removes what was written, except that for a recording of `Items`
    the clips read so far are saved for the next run. The audit takes so many `threads`.

    Raises:
        SkelbenchError: if `path` exists and is not a store; if another process writes it; if the folder cannot be
            written; or, unless `replaceable`, if `path` is a store of another reader, of other options or with clips
            that would be lost, or if there is unfinished work of such a store.
    """

    def __init__(
        self,
        path: Path,
        recording: Recording,
        *,
        options: Mapping[str, Any] | None = None,
        exclude: frozenset[str] = frozenset(),
        conversion: Conversion | None = None,
        accept: frozenset[str] | None = None,
        strict: bool = False,
        replaceable: bool = True,
        threads: int = 1,
    ):
        self.path = Path(path)
        self.recording = recording
        self.exclude = exclude
        self.conversion = conversion or Conversion()
        self.accept = accept
        self.strict = strict
        self.threads = threads
        self._made = {
            "format": FORMAT,
            "reader": recording.reader,
            "reader_version": recording.reader_version,
            "options": dict(options or {}),
            "layout": recording.layout.to_json(),
        } | ({"converted": self.conversion.to_json()} if self.conversion else {})
        items = recording.clips if isinstance(recording.clips, Items) else None
        self._in_items = items is not None
        self._inputs = [] if items is None else list(zip(items.names, items.stamps, strict=True))
        self.done = 0  # inputs that an interrupted run has written already
        self._excluded: set[str] = set()
        self._clips: list[dict[str, Any]] = []
        self._rejected: list[Rejected] = list(recording.rejected)
        self._noted = (0, len(self._rejected))  # clips and rejected inputs that are in the journal
        self._just_excluded: list[str] = []  # names excluded since the last line of the journal
        self._names: set[str] = set()
        self._frames = self._bytes = self._persons = 0
        self._raw: Any = None
        identity = self._made | {"classes": list(recording.class_names), "exclude": sorted(exclude)}
        try:
            self._place = StoreFolder(self.path, identity, replaceable=replaceable)
            self._folder, self._journal = self._place.folder, self._place.journal
            self._place.begin()
            try:
                self._raw = (self._folder / "keypoints.npy").open("ab")
                self._resume()
            except BaseException:
                self._close(keep=self._in_items)
                raise
        except OSError as error:
            raise SkelbenchError(
                f"The data folder {self.path.parent} cannot be written ({error.strerror}); set "
                "SKELBENCH_DATA to one that can."
            ) from error

    def _resume(self) -> None:
        """Resume an interrupted run of the same inputs, or start from scratch."""
        with (self._folder / "keypoints.npy").open("rb") as file:
            file.seek(HEADER)
            lines = self._journal.valid_entries(self._inputs, file)
        for line in lines:
            self._clips += line["clips"]
            self._rejected += [Rejected(**entry) for entry in line["rejected"]]
            self._excluded |= set(line["excluded"])
        if lines:
            self._bytes, self._persons = lines[-1]["bytes"], lines[-1]["persons"]
            self._frames = sum(entry["length"] for entry in self._clips)
            self._names = {entry["name"] for entry in self._clips}
        self.done = len(lines)
        self._noted = len(self._clips), len(self._rejected)
        if not lines:
            self._raw.truncate(0)
            self._raw.write(bytes(HEADER))
        self._raw.truncate(HEADER + self._bytes)
        self._journal.begin(lines)

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close(keep=self._in_items and kind is not None and bool(self._clips))

    def _close(self, keep: bool) -> None:
        for file in (self._raw, self._journal):
            with suppress(OSError):  # a full disk fails once more here, and has been reported
                if file is not None:
                    file.close()
        self._place.leave(keep=keep)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Convert a failed write (a full disk, a vanished folder) to a `SkelbenchError`."""
        try:
            yield
        except OSError as error:
            raise SkelbenchError(
                f"The store '{self.path.name}' cannot be written to {self.path.parent} ({error.strerror}); free some "
                "space there or set SKELBENCH_DATA to another folder."
            ) from error

    def add(self, clip: Clip | Rejected) -> None:
        """Append one clip, or list a rejected input.

        An invalid clip is listed as rejected; if this writer is strict, it raises a `SkelbenchError` that names it.
        """
        if isinstance(clip, Rejected):
            if self.strict:
                raise SkelbenchError(clip.reason)
            self._rejected.append(clip)
            return
        if clip.name in self.exclude:
            self._excluded.add(clip.name)
            self._just_excluded.append(clip.name)
            return
        mended: dict[str, int] = {}
        if clip.keypoints.ndim == 4 and 0 not in clip.keypoints.shape:
            keypoints, mended = mend(clip.keypoints, self.conversion, self.recording.presence)
            clip = clip if keypoints is clip.keypoints else replace(clip, keypoints=keypoints)
        problem = complaint(clip, self.recording, self._names, self._persons)
        if problem is not None:
            if self.strict:
                raise SkelbenchError(problem)
            self._rejected.append(Rejected(self._inputs[self.done][0] if self._in_items else clip.name, problem))
            return
        keypoints = np.ascontiguousarray(clip.keypoints, dtype="<f4")
        content = keypoints.data.cast("B")
        with self._writing():
            self._raw.write(content)
        entry = {fact: getattr(clip, fact) for fact in FACTS} | {"splits": dict(clip.splits)}
        present = np.flatnonzero(keypoints.any(axis=(0, 2, 3)))
        entry |= {"offset": self._frames, "length": len(keypoints), "bodies": len(present)}
        entry |= {"digest": digest(content), "mended": mended}
        self._clips.append(entry)
        self._names.add(clip.name)
        self._persons = keypoints.shape[1]
        self._frames += len(keypoints)
        self._bytes += len(content)

    def end_input(self) -> None:
        """Record in the journal that all clips of the next input of `Items` have been added."""
        name, stamp = self._inputs[self.done]
        clips, rejected = self._noted
        line = {
            "input": name,
            "stamp": stamp,
            "clips": self._clips[clips:],
            "rejected": [asdict(entry) for entry in self._rejected[rejected:]],
            "excluded": self._just_excluded,
            "bytes": self._bytes,
            "persons": self._persons,
        }
        with self._writing():
            self._raw.flush()  # before the line that refers to it
            self._journal.append(line)
        self._noted, self._just_excluded = (len(self._clips), len(self._rejected)), []
        self.done += 1

    def finish(self) -> Store:
        """Write the header and the manifest, check the store, rename it into place and open it.

        Raises:
            SkelbenchError: if no clip is left, a split of a complete recording has an empty side, the audit finds an
                error that is not accepted, or the folder cannot be written.
        """
        self._check()
        duplicates = self._duplicates()
        mended = Counter[str]()
        for entry in self._clips:
            older = {"touches": int(entry.pop("touched", False))}  # from the journal of an older version
            mended.update(entry.pop("mended", older))
        with self._writing():
            self._finish_keypoints()
            self._face_forward()
            found = self._audit(mended)
            (self._folder / "clips.json").write_text(_lines(self._clips))
            self._write_rejected()
            manifest = self._manifest(duplicates, mended, found)
            manifest["checksum"] = checksum(json.loads(json.dumps(manifest)))  # as it is read: tuples are lists
            (self._folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
            Store(self._folder)  # checks that its files fit together; their hashes have just been computed from them
            self._place.take()
        return Store(self.path)

    def _check(self) -> None:
        """Raise a `SkelbenchError` if no valid store results, or if clips of an older one would be lost."""
        unknown = sorted(self.exclude - self._excluded - {*self.recording.excluded, *(e.file for e in self._rejected)})
        if unknown:
            raise SkelbenchError(
                f"{len(unknown)} names to exclude are not in the data (the first: '{unknown[0]}'); the "
                "list belongs to another data set."
            )
        if not self._clips:
            why = f" The first of {len(self._rejected)} reasons: {self._rejected[0].reason}" if self._rejected else ""
            raise SkelbenchError(f"No clip is left for the store {self.path.name}; nothing was written.{why}")
        for split, rule in self.recording.splits.items():
            sides = split_sides(rule, split, self._clips, self.path.name)
            if self.recording.complete:
                check_sides(sides, rule, split, self.path.name)
        self._place.refuse_to_lose_clips(self._names | self._excluded | {*self.recording.excluded})

    def _duplicates(self) -> list[list[str]]:
        """Groups of names of bit-identical clips; removes the digests, which are not needed any more."""
        groups: dict[str, list[str]] = {}
        for entry in self._clips:
            groups.setdefault(entry.pop("digest"), []).append(entry["name"])
        return [names for names in groups.values() if len(names) > 1]

    def _finish_keypoints(self) -> None:
        """Flush all numbers to disk, then fill in the header that was left free before them."""
        self._raw.flush()
        os.fsync(self._raw.fileno())
        self._raw.close()
        shape = (self._frames, self._persons, self.recording.layout.num_joints, 3)
        header = BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
        assert len(header.getvalue()) == HEADER
        with (self._folder / "keypoints.npy").open("r+b") as file:
            file.write(header.getvalue())

    def _face_forward(self) -> None:
        """Negate z where axes were converted and left is right: only then the data was mirrored."""
        if self.conversion.up == "y":
            return
        keypoints = np.lib.format.open_memmap(self._folder / "keypoints.npy", mode="r+")
        turned = measure(keypoints, self._clips, self.recording.layout).turned
        if (turned < 0).sum() > (turned > 0).sum():
            for entry in self._clips:
                clip = slice(entry["offset"], entry["offset"] + entry["length"])
                keypoints[clip, ..., 2] = 0.0 - keypoints[clip, ..., 2]
            keypoints.flush()

    def _audit(self, mended: Mapping[str, int]) -> list[Finding]:
        """Audit what is written. Raises a `RefusedError` for an error that is not among those to accept, if any are."""
        recording = self.recording
        found = audit(
            Audited(
                np.load(self._folder / "keypoints.npy", mmap_mode="r"),
                self._clips,
                recording.layout,
                recording.class_names,
                recording.splits,
                {name: split_sides(rule, name, self._clips, self.path.name) for name, rule in recording.splits.items()},
                recording.presence,
                recording.applied,
                recording.fps,
                mended,
                recording.remarks,
                self.threads,
            )
        )
        if self.accept is not None:
            try:
                refuse(found, self.accept, self.path.name)
            except RefusedError:
                self._place.mark_refused()  # what was read stays for --accept, and may be dropped by any other command
                raise
        return found

    def _write_rejected(self) -> None:
        if not self._rejected:
            (self._folder / REJECTED).unlink(missing_ok=True)  # left by a run that was killed here
            return
        with (self._folder / REJECTED).open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("file", "line", "reason"))
            rows.writerows((entry.file, entry.line or "", entry.reason) for entry in self._rejected)

    def _manifest(
        self, duplicates: list[list[str]], mended: Mapping[str, int], found: Sequence[Finding]
    ) -> dict[str, Any]:
        recording = self.recording
        files = {name: sha256(self._folder / name) for name in ("keypoints.npy", "clips.json")}
        return self._made | {
            "class_names": list(recording.class_names),
            "splits": {name: asdict(rule) for name, rule in recording.splits.items()},
            "fps": recording.fps if recording.fps is None or math.isfinite(recording.fps) else None,
            "applied": list(recording.applied),
            "presence": {"rule": recording.presence, "touches": mended.get("touches", 0)},
            "mended": {what: count for what, count in sorted(mended.items()) if what != "touches"},
            "audit": [finding.to_json() for finding in found],
            "accepted": sorted(self.accept or ()),
            "official": {split: list(counts) for split, counts in recording.official.items()},
            "remarks": [asdict(remark) for remark in recording.remarks],
            "notes": dict(recording.notes),
            "clips": len(self._clips),
            "frames": self._frames,
            "persons": self._persons,
            "excluded": sorted({*self._excluded, *recording.excluded}),
            "rejected": [asdict(entry) for entry in self._rejected],
            "sha256": files,
            "duplicates": duplicates,
        }


def _lines(entries: list[dict[str, Any]]) -> str:
    """JSON with one entry per line, which is readable and can be diffed."""
    return "[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n"
