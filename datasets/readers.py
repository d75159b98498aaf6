"""The readers: each turns raw files of one source into a `Recording`, and `prepare` into a store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ..errors import SkelbenchError
from ..registry import Registry
from .store import Recording, Store, data_folder
from .writer import StoreWriter

Reader = Callable[[Path], Recording]
READERS: Registry[Reader] = Registry("reader", "skelbench.readers", home=__package__)


def prepare(
    reader: str,
    source: Path,
    name: str | None = None,
    *,
    exclude: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Store:
    """Turn raw files into a store of the data folder, all or nothing.

    Args:
        reader: a name of `READERS`.
        source: the raw folder, zip or file.
        name: what the data set is called from now on; default the reader's name.
        exclude: JSON file with a list of clip names to leave out.
        progress: called with the number of clips done.

    Raises:
        SkelbenchError: if anything does not fit; nothing is left behind.
    """
    name = name or reader
    if not name.replace("-", "").replace("_", "").isalnum():
        raise SkelbenchError(f"'{name}' cannot name a data set; use letters, digits, '-' and '_'.")
    read = READERS[reader]
    try:
        recording = read(Path(source))
    except OSError as error:
        raise SkelbenchError(
            f"{_short(source)} cannot be read ({error.strerror}); check the path and its permissions."
        ) from error
    with StoreWriter(data_folder() / name, recording, exclude=_names(exclude)) as writer:
        for done, clip in enumerate(recording.clips, start=1):
            writer.add(clip)
            if progress is not None:
                progress(done)
        return writer.finish()


def _short(path: Path, limit: int = 120) -> str:
    """A path for a sentence: the end of one that is very long."""
    text = str(path)
    return text if len(text) <= limit else f"…{text[-limit:]}"


def _names(path: Path | None) -> frozenset[str]:
    if path is None:
        return frozenset()
    try:
        names = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise SkelbenchError(
            f"{path} cannot be read as JSON ({error}); --exclude takes a list of clip names."
        ) from error
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise SkelbenchError(f"{path} is not a JSON list of clip names.")
    return frozenset(names)
