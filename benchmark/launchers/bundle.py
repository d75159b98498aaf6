"""What a task takes along to a machine that does not see the folder of runs, and what it brings back.

Records travel as an exported zip, which is checked as one from a stranger when it arrives; encoders, which an export
leaves at home, go beside it. Checkpoints do not travel: a task that is lost starts anew.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import SkelbenchError
from ...results.exchange.exchange import export_results, import_results
from ...results.files import atomic_write
from ...results.record import Cell
from ...results.store import RunStore

_ENCODER = re.compile(r"encoder-[0-9]{4,9}\.pt")


@dataclass(frozen=True)
class Bundle:
    """An exported zip, or None where nothing is finished, and encoder files by their names."""

    records: bytes | None = None
    encoders: dict[str, bytes] = field(default_factory=dict)


def pack(runs: RunStore, trained: tuple[Cell, str], cells: Collection[tuple[Cell, str]]) -> Bundle:
    """What there is of some cells, and of the pre-training they build on with its encoders."""
    found = [cell for cell in (trained, *cells) if runs.find(*cell) is not None]
    if not found:
        return Bundle()
    wanted = [cell for cell, _ in found]
    with tempfile.TemporaryDirectory(prefix="skelbench-") as folder:
        path = Path(folder) / "results.zip"
        export_results(runs, path, lambda cell: cell in wanted)
        records = path.read_bytes()
    kept = runs.folder(*trained).glob("encoder-*.pt")
    return Bundle(records, {path.name: path.read_bytes() for path in sorted(kept)})


def unpack(bundle: Bundle, runs: RunStore, trained: tuple[Cell, str]) -> None:
    """Unpack a bundle into a folder of runs, the encoders before the records that say they are there.

    Raises ``SkelbenchError`` if it holds anything else.
    """
    if bundle.records is None:
        return
    for name, content in bundle.encoders.items():
        if not _ENCODER.fullmatch(name):
            raise SkelbenchError(f"'{name}' is no file of an encoder; nothing of it was taken.")
        path = runs.folder(*trained) / name
        if not path.exists():
            atomic_write(path, content)
    with tempfile.TemporaryDirectory(prefix="skelbench-") as folder:
        path = Path(folder) / "results.zip"
        path.write_bytes(bundle.records)
        import_results(path, runs)
