"""The journal of a store that is being written: one line per input, appended when its clips are on disk.

A line holds the clips of its input, a digest of each clip's keypoints, and the number of keypoint bytes so far.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

FILE = "journal.jsonl"


class Journal:
    """Lines of JSON: a header with the identity of the store, then one line per input.

    Args:
        folder: where the file is.
        identity: of the store; the lines of a journal with another identity are ignored.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]):
        self.path = folder / FILE
        self.header = json.dumps(identity, sort_keys=True) + "\n"
        self._file: Any = None

    def valid_entries(self, inputs: Sequence[tuple[str, str]], keypoints: BinaryIO) -> list[dict[str, Any]]:
        """Read the lines of the first inputs, up to the first that is incomplete or whose keypoints differ.

        Args:
            inputs: name and stamp of every input of the store, in order.
            keypoints: a file open at the first clip's; after a power cut some may be missing or different.
        """
        lines, done = self._matching(inputs), 0
        for number, line in enumerate(lines):
            size, frames = line["bytes"] - done, sum(entry["length"] for entry in line["clips"])
            share = size // max(1, frames)
            if share * frames != size:  # not the size of its clips
                return lines[:number]
            if any(digest(keypoints.read(share * entry["length"])) != entry["digest"] for entry in line["clips"]):
                return lines[:number]
            done = line["bytes"]
        return lines

    def _matching(self, inputs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """The lines of the first inputs in order, up to the first that is missing, incomplete or changed."""
        if not self.path.is_file():
            return []
        lines = self.path.read_text(errors="replace").splitlines(keepends=True)
        if not lines or lines[0] != self.header:
            return []
        found = []
        for text, (name, stamp) in zip(lines[1:], inputs, strict=False):
            try:
                line = json.loads(text) if text.endswith("\n") else {}
            except ValueError:
                break
            if not isinstance(line, dict) or (line.get("input"), line.get("stamp")) != (name, stamp):
                break
            found.append(line)
        return found

    def unfinished_other(self) -> dict[str, Any] | None:
        """The identity in the file if it is another one and some of its inputs are done, else None."""
        if not self.path.is_file():
            return None
        first, *rest = self.path.read_text(errors="replace").splitlines(keepends=True) or [""]
        if first == self.header or not rest:
            return None
        try:
            other = json.loads(first)
            return other if {"reader", "options"} <= set(other) else None
        except (ValueError, TypeError):
            return None

    def begin(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Rewrite the file with these lines; the old one is replaced atomically."""
        new = self.path.with_suffix(".new")
        new.write_text(self.header + "".join(json.dumps(line) + "\n" for line in lines))
        new.replace(self.path)
        self._file = self.path.open("a")

    def append(self, line: Mapping[str, Any]) -> None:
        """Add the line of one input."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def remove(self) -> None:
        """Close and remove the file when nothing is unfinished any more."""
        self.close()
        self.path.unlink()


def digest(keypoints: bytes | memoryview) -> str:
    """Hash of the keypoints of one clip; SHA-256, which processors compute fastest."""
    return hashlib.sha256(keypoints).hexdigest()[:32]
