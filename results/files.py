"""Atomic writing, and the files stored beside a record: curve, confusion, per-class and scores."""

import csv
import io
import math
import os
import secrets
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import SkelbenchError
from .seal import fits

_BAD_ZIP = (zipfile.BadZipFile, zlib.error)
_SCORES = ("names", "labels", "scores")  # in scores.npz


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a file atomically and durably, so that a power cut leaves no partial file; text is UTF-8.

    A missing folder is created. Raises ``SkelbenchError`` if writing fails; an older file of that
    name is then unchanged and no temporary file is left behind.
    """
    content = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)  # noqa: PTH105 - the call that makes this atomic
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise SkelbenchError(
            f"{path} cannot be written ({error.strerror or error}): free some space or choose another folder."
        ) from error


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # Windows cannot open a folder, some network file systems cannot sync one
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_curve(folder: Path, rows: Iterable[Mapping[str, object]]) -> str:
    """Write a learning curve, a row per epoch, as ``curve.csv``; missing values are left empty."""
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return _write_csv(folder, "curve.csv", columns, ([row.get(key) for key in columns] for row in rows))


def read_curve(path: Path, *columns: str) -> list[list[tuple[int, float]]]:
    """Return (epoch, value) of each of these columns of a ``curve.csv``, without empty, missing or non-finite values.

    Raises ``SkelbenchError`` if the file is missing or damaged.
    """
    header, *rows = _read_csv(path) or [[]]  # a protocol without a curve leaves an empty file
    found: list[list[tuple[int, float]]] = []
    try:
        for name in columns:
            place = header.index(name) if name in header else None
            given = [] if place is None else [(row[header.index("epoch")], row[place]) for row in rows]
            points = [(int(epoch), float(value)) for epoch, value in given if value]
            found.append([point for point in points if math.isfinite(point[1])])
    except (ValueError, IndexError) as error:
        raise _damaged(path) from error
    return found


def write_confusion(folder: Path, matrix: ArrayLike, class_names: Sequence[str]) -> str:
    """Write counts of clips as ``confusion.csv``: a row per true class, a column per predicted one.

    ``matrix`` (K, K) holds integers, ``class_names`` K names; else ``SkelbenchError``.
    """
    counts = _confusion(folder, matrix, class_names)
    rows = ([name, *row] for name, row in zip(class_names, counts.tolist(), strict=True))
    return _write_csv(folder, "confusion.csv", ["true", *class_names], rows)


def read_confusion(path: Path) -> tuple[list[str], NDArray[np.int64]]:
    """Read class names and counts (K, K) from a ``confusion.csv``.

    Raises ``SkelbenchError`` if the file is missing or damaged.
    """
    header, *rows = _read_csv(path) or [[]]
    names = header[1:]
    try:
        counts = np.array([list(map(int, row[1:])) for row in rows], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise _damaged(path) from error
    if not names or counts.shape != (len(names), len(names)) or (counts < 0).any():
        raise _damaged(path)
    return names, counts


def write_per_class(folder: Path, matrix: ArrayLike, class_names: Sequence[str]) -> str:
    """Write each class's test clips and top-1 (percent) from the same ``matrix`` as ``per_class.csv``.

    A class without a test clip has an empty top-1 (null, not zero).
    """
    counts = _confusion(folder, matrix, class_names)
    clips = counts.sum(axis=1).tolist()
    top1 = [100 * hit / n if n else None for hit, n in zip(counts.diagonal().tolist(), clips, strict=True)]
    rows = zip(class_names, clips, top1, strict=True)
    return _write_csv(folder, "per_class.csv", ["class", "clips", "top1"], rows)


def read_per_class(path: Path) -> list[tuple[str, int, float | None]]:
    """Read each class's name, test clips and top-1 (percent; None without a clip) from a ``per_class.csv``.

    Raises ``SkelbenchError`` if the file is missing or damaged.
    """
    _, *rows = _read_csv(path) or [[]]
    try:
        return [(name, int(clips), float(top1) if top1 else None) for name, clips, top1 in rows]
    except ValueError as error:
        raise _damaged(path) from error


class ClipFacts(NamedTuple):
    """What is known of scored clips, so that other averages and folds can be computed from their scores.

    Attributes:
        subject: (N,) int64.
        camera: (N,) int64, -1 if not known.
        digest: (N,) a hash of each clip's keypoints.
    """

    subject: NDArray[np.int64]
    camera: NDArray[np.int64]
    digest: NDArray[np.str_]


def write_scores(
    folder: Path, names: Sequence[str], labels: ArrayLike, scores: ArrayLike, facts: ClipFacts | None = None
) -> str:
    """Write class scores by clip name, for fusion, as ``scores.npz``: names, labels (N,), scores (N, K), and the facts.

    Numbers keep their precision, so that ranks read from them are those of the record. Raises ``SkelbenchError`` if the
    lengths differ or two clips share a name (late fusion joins streams by name).
    """
    name, label = np.asarray(names, dtype=np.str_), np.asarray(labels, dtype=np.int64)
    score = np.asarray(scores)
    if score.ndim != 2 or name.shape != label.shape or label.shape != score.shape[:1]:
        raise SkelbenchError(
            f"Scores for {folder} do not fit: names {name.shape}, labels {label.shape}, scores "
            f"{score.shape}; expected (N,), (N,) and (N, classes)."
        )
    if len(np.unique(name)) != len(name):
        raise SkelbenchError(f"Scores for {folder} hold two clips with the same name: give each clip its own.")
    content = io.BytesIO()
    stored = score if np.issubdtype(score.dtype, np.floating) else score.astype(np.float32)
    others = {} if facts is None else facts._asdict()
    if any(np.shape(values) != name.shape for values in others.values()):
        raise SkelbenchError(f"Scores for {folder} do not fit: {len(name)} clips, but facts about another number.")
    np.savez_compressed(content, names=name, labels=label, scores=stored, **others)
    atomic_write(folder / "scores.npz", content.getvalue())
    return "scores.npz"


def read_scores(path: Path) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.floating]]:
    """Read names (N,), labels (N,) and scores (N, K), without unpickling anything.

    Raises ``SkelbenchError`` if the file is missing, damaged or of another kind.
    """
    arrays = _read_arrays(path, _SCORES)
    return arrays["names"], arrays["labels"], arrays["scores"]


def read_scores_and_facts(
    path: Path,
) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.floating], ClipFacts | None]:
    """Read the same and the facts about the clips, in their order; None where an older version wrote none.

    Raises ``SkelbenchError`` as ``read_scores``.
    """
    arrays = _read_arrays(path, _SCORES, ClipFacts._fields)
    known = "subject" in arrays
    facts = ClipFacts(arrays["subject"], arrays["camera"], arrays["digest"]) if known else None
    return arrays["names"], arrays["labels"], arrays["scores"], facts


def _read_arrays(path: Path, needed: Iterable[str], wanted: Iterable[str] = ()) -> dict[str, NDArray[Any]]:
    try:
        content = path.read_bytes()
        if not fits(path, content):
            raise ValueError("its checksum differs")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in (*needed, *(name for name in wanted if name in arrays.files))}
    except FileNotFoundError as error:
        raise SkelbenchError(f"{path} does not exist: evaluate that cell again and save its scores.") from error
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, *_BAD_ZIP) as error:
        raise SkelbenchError(f"{path} is damaged or holds no scores: evaluate that cell again.") from error


def _confusion(folder: Path, matrix: ArrayLike, class_names: Sequence[str]) -> NDArray[np.integer]:
    counts = np.asarray(matrix)
    if not np.issubdtype(counts.dtype, np.integer) or counts.shape != (len(class_names), len(class_names)):
        raise SkelbenchError(
            f"The confusion matrix for {folder} is {counts.dtype} of shape {counts.shape}: "
            f"integers of shape {(len(class_names),) * 2} are needed, a row and a column for each class."
        )
    return counts


def _write_csv(folder: Path, name: str, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    atomic_write(folder / name, text.getvalue())
    return name


def _read_csv(path: Path) -> list[list[str]]:
    """Read the non-empty lines of a csv."""
    try:
        content = path.read_bytes()
        if not fits(path, content):
            raise _damaged(path)
        return [line for line in csv.reader(io.StringIO(content.decode(), newline="")) if line]
    except FileNotFoundError as error:
        raise SkelbenchError(f"{path} does not exist: run that cell again with --force.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> SkelbenchError:
    return SkelbenchError(f"{path} is damaged: run that cell again with --force.")
