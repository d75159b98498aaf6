"""Reader for prepared files of other projects, which are recognised by their content.

Arrays of the ST-GCN family, CTR-GCN's `.npz` and `raw_skes_data.pkl`, annotations of pyskl and mmaction2, and the
interchange `.npz`; a module of `prepared` reads each. File names are only used to distinguish train from test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ...errors import SkelbenchError
from ..recording import Recording, Rejected
from . import READERS
from .arrays import REQUIRED
from .arrays import read as read_interchange
from .prepared import ctrgcn, pyskl, rawskes, stgcn
from .prepared.arrays_on_disk import map_array, members, refuse_objects
from .prepared.labels import Labels, from_array, from_pickle
from .prepared.unpickle import ForbiddenImportError, load_pickle
from .raw_names import reader_of

KNOWN = (
    "arrays of the ST-GCN family (*_data.npy, *_position.npy and their labels), CTR-GCN's .npz (x_train, y_train) or "
    "raw_skes_data.pkl, annotations of pyskl and mmaction2 (*_3danno.pkl, xsub/train.pkl) and the interchange .npz"
)
_PICKLES = (".pkl", ".pickle")
_LABELS_LIMIT = 2**26  # bytes; larger files next to the data are not label files

_IN_PARTS = {"stgcn", "pyskl"}  # a file for each side of a split

Kind = Literal["stgcn", "labels", "ctrgcn", "rawskes", "pyskl", "interchange"]


@dataclass(frozen=True)
class _Found:
    """A file, its layout, and the content that was read to recognise it."""

    path: Path
    kind: Kind
    content: Any = None


@READERS.register("auto")
def read(sources: Sequence[Path], *, split: str = "") -> Recording:
    """Prepared files of other projects, recognised by their content; several parts of one data set are combined.

    Args:
        sources: files, or folders that hold them.
        split: the name of the split if a file has a training and a test side but no name for them; by default
            that of NTU's split with the same sides, else "given".

    Raises:
        SkelbenchError: if no known layout or more than one data set is found, or a file is damaged.
    """
    found: list[_Found] = []
    rejected: list[Rejected] = []
    unread: list[str] = []  # why pickles that were not named cannot be read: one may be the missing file
    for source in sources:
        if not source.exists():
            raise SkelbenchError(f"{source} does not exist; give a file or a folder.")
        if source.is_dir():
            _scan_folder(source, found, rejected, unread)
        else:
            found.append(_recognise_named(source))
    data = [one for one in found if one.kind != "labels"]
    if not data:
        _raise_nothing_found(sources, found, rejected, unread)
    kinds = {one.kind for one in data}
    several = len({one.path.resolve() for one in data}) > 1
    if len(kinds) > 1 or (several and not kinds <= _IN_PARTS):
        names = ", ".join(one.path.name for one in data[:4])
        raise SkelbenchError(f"There are several data sets here ({names}); give the file of one of them.")
    try:
        recording = _read_found(data, found, split, unread)
    except SkelbenchError as error:  # most likely, a label file could not be read
        raise SkelbenchError(f"{error}{_unread_hint([*unread, *(one.reason for one in rejected)])}") from error
    return replace(recording, rejected=(*recording.rejected, *rejected))


def _read_found(data: Sequence[_Found], found: Sequence[_Found], split: str, unread: list[str]) -> Recording:
    first = data[0]
    if first.kind == "stgcn":
        paths = list(dict.fromkeys(one.path for one in data))
        return stgcn.read(paths, _labels(paths, found, unread), split)
    if first.kind == "ctrgcn":
        return ctrgcn.read(first.path, first.content, split)
    if first.kind == "rawskes":
        return rawskes.read(first.path, first.content, split)
    if first.kind == "pyskl":
        return pyskl.read([(one.path, one.content) for one in data], split)
    if split:
        raise SkelbenchError(f"{first.path} is an interchange file, which names its splits; leave split= out.")
    refuse_objects(first.path, first.content)
    return read_interchange([first.path])


def _unread_hint(reasons: Sequence[str]) -> str:
    """A sentence to append that lists unreadable files; those that ask to import something come first."""
    ordered = sorted(dict.fromkeys(reasons), key=lambda reason: "asks to import" not in reason)
    return f" What could not be read: {' '.join(ordered[:2])}" if ordered else ""


def _scan_folder(folder: Path, found: list[_Found], rejected: list[Rejected], unread: list[str]) -> None:
    """Recognise the files directly in a folder; an unreadable pickle is listed as rejected, since it may be unrelated.

    One without a pickle's mark may also be a text file (protocol 0): it is reported only if something is missing.
    """
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.name.startswith(".") or stgcn.is_derived(path):
            continue
        start = _start(path)
        try:
            one = _recognise(path, start)
        except SkelbenchError as error:
            if _is_array_file(start):
                raise
            if start.startswith(b"\x80"):
                rejected.append(Rejected(path.name, str(error)))
            elif _worth_reporting(error, path):
                unread.append(str(error))
            continue
        if one is not None:
            found.append(one)


def _worth_reporting(error: SkelbenchError, path: Path) -> bool:
    """Whether to report why a file cannot be read as a pickle: text files can look like one of protocol 0."""
    return isinstance(error, ForbiddenImportError) or path.suffix.lower() in _PICKLES


def _recognise_named(path: Path) -> _Found:
    """Recognise a file given by the user. Raises `SkelbenchError` if it has no known layout or is derived data."""
    one = _recognise(path, _start(path))
    if one is None:
        if (reader := reader_of([path])) is not None:
            raise SkelbenchError(f"{path} holds raw files: prepare them with the reader '{reader}' instead of 'auto'.")
        raise SkelbenchError(f"{path} has none of the known layouts: {KNOWN}.")
    if one.kind == "stgcn" and stgcn.is_derived(path):
        raise SkelbenchError(
            f"{path} holds bones or motion according to its name; these are computed from the joints here: give the "
            "joints."
        )
    return one


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(6)


def _is_old_pickle(path: Path, start: bytes) -> bool:
    """Whether a file can be a pickle of Python 2: those have no mark at the start, but end with a full stop."""
    if start[:1] not in (b"(", b"]", b"}", b"c"):
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read() == b"."


def _is_array_file(start: bytes) -> bool:
    return start == b"\x93NUMPY" or start.startswith(b"PK\x03\x04")


def _recognise(path: Path, start: bytes) -> _Found | None:
    """Recognise a file; None if its layout is unknown. Raises `SkelbenchError` if it is damaged."""
    if start == b"\x93NUMPY":
        array = map_array(path)
        if stgcn.fits(array):
            return _Found(path, "stgcn")
        labels = from_array(path, array)
        return None if labels is None else _Found(path, "labels", labels)
    if start.startswith(b"PK\x03\x04"):
        names = members(path)
        if ctrgcn.fits(names):
            return _Found(path, "ctrgcn", names)
        return _Found(path, "interchange", names) if set(REQUIRED) <= set(names) else None
    pickled = start.startswith(b"\x80") or _is_old_pickle(path, start) or path.suffix.lower() in _PICKLES
    return _recognise_pickle(path) if pickled else None


def _recognise_pickle(path: Path) -> _Found | None:
    content = load_pickle(path)
    if rawskes.fits(content):
        return _Found(path, "rawskes", content)
    if pyskl.fits(content):
        return _Found(path, "pyskl", content)
    labels = from_pickle(path, content)
    return None if labels is None else _Found(path, "labels", labels)


def _labels(data: Sequence[Path], found: Sequence[_Found], unread: list[str]) -> list[Labels]:
    """The labels among the given files and next to the data; why others cannot be read is added to `unread`."""
    labels = {one.path.resolve(): one.content for one in found if one.kind == "labels"}
    looked_at = {one.path.resolve() for one in found}
    for folder in dict.fromkeys(path.resolve().parent for path in data):
        for path in sorted(folder.iterdir()):
            if path in looked_at or not path.is_file() or path.stat().st_size > _LABELS_LIMIT:
                continue
            start = b""
            try:
                start = _start(path)
                one = _recognise(path, start)
            except OSError:
                continue
            except SkelbenchError as error:  # a file that was not named: reported only if labels are missing
                if start.startswith(b"\x80") or _worth_reporting(error, path):
                    unread.append(str(error))
                continue
            if one is not None and one.kind == "labels":
                labels[path] = one.content
    return list(labels.values())


def _folders_with_data(sources: Sequence[Path]) -> list[str]:
    """The folders below the sources, down to the second level, that hold arrays or pickles."""
    found = set()
    for source in sources:
        for ending in (".npy", ".npz", *_PICKLES):
            paths = [path for level in ("*", "*/*") for path in source.glob(f"{level}/*{ending}")]
            found |= {str(path.parent.relative_to(source)) for path in paths}
    return sorted(found)


def _raise_nothing_found(
    sources: Sequence[Path], found: Sequence[_Found], rejected: Sequence[Rejected], unread: Sequence[str]
) -> None:
    places = ", ".join(str(source) for source in sources)
    if rejected:
        raise SkelbenchError(rejected[0].reason)
    if found:
        raise SkelbenchError(
            f"{places} holds labels but no clips; give the data file of {found[0].path.name} as well."
            f"{_unread_hint(unread)}"
        )
    below = _folders_with_data(sources)
    reader = None if below or unread else reader_of(sources)
    if reader is not None:
        raise SkelbenchError(f"{places} holds raw files: prepare them with the reader '{reader}' instead of 'auto'.")
    hint = f"; give one of its folders: {', '.join(below[:5])}" if below else ""
    raise SkelbenchError(f"{places} holds none of the known layouts{hint or f': {KNOWN}'}.{_unread_hint(unread)}")
