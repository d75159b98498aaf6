"""Prepare raw files into a store: choose a reader, check its options, write what it reads."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from ..errors import SkelbenchError
from ..registry import did_you_mean
from .audit import NAMES
from .convert import Conversion, Unit, Up
from .readers import READERS
from .readers.parallel import available_cores, read_items
from .recording import Items
from .store import Store, data_folder
from .store.writer import StoreWriter


def prepare(
    reader: str,
    source: Path | Sequence[Path],
    name: str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    exclude: Path | None = None,
    unit: Unit | float | None = None,
    up: Up | None = None,
    accept: Collection[str] = (),
    strict: bool = False,
    workers: int | None = None,
    force: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> Store:
    """Turn raw files into a store of the data folder.

    Unusable inputs are listed in the store's `rejected.csv` with the reason; the rest is prepared. An interrupted
    run of a large data set resumes where it stopped.

    Args:
        reader: a name of `READERS`.
        source: the raw folders, zips or files.
        name: of the data set; by default the reader's name followed by its non-default options.
        options: of the reader, see `reader_options`.
        exclude: JSON file with a list of clip names to leave out.
        unit: of the coordinates, which are converted to metres, or the metres of one unit; by default what the source
            says, else metres.
        up: the axis that points up, y is made to; by default what the source says, else y.
        accept: errors of the audit (`audit.NAMES`) that are known and right.
        strict: prepare nothing if one input cannot be used.
        workers: processes that read; by default one per core if there are enough inputs.
        force: replace a store of that name which was made by another reader or with other options.
        progress: called with the number of inputs done and, if known, that of all inputs.

    Raises:
        SkelbenchError: if the sources, options or clips are invalid; no store is left behind.
        RefusedError: if the audit finds an error that is not accepted.
    """
    for check in accept:
        if check not in NAMES:
            raise SkelbenchError(f"There is no check '{check}' to accept{did_you_mean(check, NAMES)}")
    chosen = parse_options(reader, options or {})
    defaults = reader_options(reader)
    suffix = "".join(f"-{value}" for key, value in chosen.items() if value != defaults[key])
    if name is None and not suffix.replace("-", "").isalnum() and suffix:
        raise SkelbenchError(
            f"`{reader}` with {suffix.removeprefix('-')} needs a name of its own; give one with --name."
        )
    name = name or f"{reader}{suffix}"
    if not name.replace("-", "").replace("_", "").isalnum():
        raise SkelbenchError(f"'{name}' cannot name a data set; use letters, digits, '-' and '_' (--name).")
    if name == "synthetic" and reader != name:
        raise SkelbenchError("The name 'synthetic' is reserved for the generated data set; choose another (--name).")
    if reader == "synthetic" and (unit not in (None, "m") or up not in (None, "y")):
        raise SkelbenchError("`synthetic` is in metres, y up; leave --unit and --up out.")
    sources = [Path(source)] if isinstance(source, str | Path) else [Path(one) for one in source]
    try:
        recording = READERS[reader](sources, **chosen)
    except OSError as error:
        place = _short(Path(error.filename)) if error.filename else ", ".join(_short(path) for path in sources)
        raise SkelbenchError(
            f"{place} cannot be read ({error.strerror}); check the path and its permissions."
        ) from error
    if strict and recording.rejected:
        raise SkelbenchError(recording.rejected[0].reason)
    path = data_folder() / name
    with StoreWriter(
        path,
        recording,
        options=chosen,
        exclude=_names(exclude),
        conversion=Conversion(unit or recording.unit or "m", up or recording.up or "y"),
        accept=frozenset(accept),
        strict=strict,
        replaceable=force,
        threads=workers or available_cores(),
    ) as writer:
        if isinstance(recording.clips, Items):
            _write_items(writer, recording.clips, workers, progress)
        else:
            for done, clip in enumerate(recording.clips, start=1):
                writer.add(clip)
                if progress is not None:
                    progress(done, None)
        return writer.finish()


def _write_items(
    writer: StoreWriter, items: Items, workers: int | None, progress: Callable[[int, int | None], None] | None
) -> None:
    if progress is not None:
        progress(writer.done, len(items.names))
    for found in read_items(items, writer.done, workers):
        for clip in found:
            writer.add(clip)
        writer.end_input()
        if progress is not None:
            progress(writer.done, len(items.names))


def reader_options(reader: str) -> dict[str, Any]:
    """The options of a reader with their defaults."""
    return {name: parameter.default for name, parameter in _keywords(reader).items()}


def describe_options(reader: str) -> str:
    """Format the options of a reader: "bodies=listed|ranked", the default first."""
    texts = []
    for name, parameter in _keywords(reader).items():
        others = [str(value) for value in get_args(parameter.annotation) if isinstance(value, str)]
        values = [str(parameter.default) or "NAME", *(value for value in others if value != parameter.default)]
        texts.append(f"{name}={'|'.join(values)}")
    return ", ".join(texts)


def parse_options(reader: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a reader, the given ones checked against their types.

    Raises:
        SkelbenchError: for an unknown option or an invalid value.
    """
    known = _keywords(reader)
    chosen = reader_options(reader)
    for key, value in given.items():
        if key not in known:
            raise SkelbenchError(f"The reader '{reader}' has no option '{key}'{did_you_mean(key, known)}")
        try:
            chosen[key] = TypeAdapter(known[key].annotation).validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            raise SkelbenchError(
                f"The option '{key}' of the reader '{reader}' cannot be {value!r}: {message}."
            ) from error
    return chosen


def _keywords(reader: str) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(READERS[reader], eval_str=True).parameters
    return {name: p for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _short(path: Path, limit: int = 120) -> str:
    """Format a path for a message; only the end of one that is very long."""
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
