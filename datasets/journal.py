"""The journal of a store that is being written: one line an input, appended when its clips are on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FILE = "journal.jsonl"


class Journal:
    """Lines of JSON: what is being made, then what each input gave.

    Args:
        folder: where the file is.
        identity: what is being made; the lines of a journal of anything else are not believed.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]):
        self.path = folder / FILE
        self.header = json.dumps(identity, sort_keys=True) + "\n"
        self._file: Any = None

    def matching(self, inputs: Sequence[tuple[str, str]], available: int) -> list[dict[str, Any]]:
        """Read the lines of the first inputs (name, stamp), as far as they follow each other, whole and unchanged.

        Args:
            inputs: that the store will be made of, in order.
            available: bytes of keypoints on disk; a line that counts more of them is not believed.
        """
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
            if line["bytes"] > available:
                break
            found.append(line)
        return found

    def unfinished_other(self) -> dict[str, Any] | None:
        """What the file says is being made, if it is something else and some of it is there."""
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
        """Start the file anew with these lines; the old one stands until the new one is whole."""
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
