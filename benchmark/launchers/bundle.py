"""Bundles: the inputs and results of a task that runs on a machine without access to the folder of runs.

Records are sent as an exported zip, which is validated like any imported one; encoders, which an export does not
contain, are sent next to it. Checkpoints are not sent: a task that is lost starts over.
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
from ...results.record import ENCODERS, Key
from ...results.store import RunStore

_ENCODER = re.compile(r"encoder-[0-9]{4,9}\.pt")


@dataclass(frozen=True)
class Bundle:
    """An exported zip, None if nothing is finished, and encoder files by name."""

    records: bytes | None = None
    encoders: dict[str, bytes] = field(default_factory=dict)


def pack(runs: RunStore, trained: Key, keys: Collection[Key]) -> Bundle:
    """Pack the finished records of some cells and of the pre-training they build on, with its encoders."""
    found = [key for key in (trained, *keys) if runs.find(key) is not None]
    if not found:
        return Bundle()
    wanted = [key.cell for key in found]
    with tempfile.TemporaryDirectory(prefix="skelbench-") as folder:
        path = Path(folder) / "results.zip"
        export_results(runs, path, lambda cell: cell in wanted)
        records = path.read_bytes()
    encoders = runs.folder(trained).glob(ENCODERS)
    return Bundle(records, {path.name: path.read_bytes() for path in sorted(encoders)})


def unpack(bundle: Bundle, runs: RunStore, trained: Key) -> None:
    """Unpack a bundle into a folder of runs, the encoders before the records that refer to them.

    Raises ``SkelbenchError`` if it contains anything else.
    """
    if bundle.records is None:
        return
    for name, content in bundle.encoders.items():
        if not _ENCODER.fullmatch(name):
            raise SkelbenchError(f"'{name}' is not an encoder file; nothing was unpacked.")
        path = runs.folder(trained) / name
        if not path.exists():
            atomic_write(path, content)
    with tempfile.TemporaryDirectory(prefix="skelbench-") as folder:
        path = Path(folder) / "results.zip"
        path.write_bytes(bundle.records)
        import_results(path, runs)
