"""The classifiers that are kept: beside an imported encoder, and beside the record of a linear evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import SkelbenchError
from ...results.files import read_per_class
from ...results.record import Record
from ...results.store import RunStore, read_record
from ..protocols.head import Head
from ..train.checkpoint import read_tensors, write_tensors

FILE = "classifier.pt"  # like an encoder, it is not named in the record and not shared with it
LINEAR, CLASSIFIER = "linear", "classifier"  # the protocols whose classifier can be asked for by name


@dataclass(frozen=True)
class KeptHead:
    """A classifier and what it tells apart.

    Attributes:
        cell: the evaluation that trained it; None for that of an imported checkpoint.
        class_names: (K,) in the order of its scores; empty where a checkpoint does not name them.
    """

    head: Head
    cell: str | None
    class_names: tuple[str, ...]


def write_head(folder: Path, head: Head) -> None:
    """Keep a classifier in the folder of a cell."""
    write_tensors(folder / FILE, head.tensors())


def imported_head(folder: Path, device: str = "cpu") -> Head:
    """Read the classifier that was imported with an encoder. Raises `SkelbenchError` if there was none."""
    if not (folder / FILE).exists():
        raise SkelbenchError(
            f"{folder} has no classifier: it was not in the checkpoint; choose a protocol that trains one, such as "
            "linear."
        )
    return Head(**read_tensors(folder / FILE, device))


def find_head(folder: Path, record: Record, stream: str, wanted: str) -> KeptHead:
    """Find a classifier of a pre-training's encoder.

    Args:
        folder: of the pre-training.
        stream: of the encoder.
        wanted: "classifier", the imported one; "linear", that of the only linear evaluation beside the folder; or the
            folder of a linear evaluation.

    Raises:
        SkelbenchError: if there is none, there are several, or the folder is not a linear evaluation of this encoder.
    """
    if wanted == CLASSIFIER:
        return KeptHead(imported_head(folder), None, ())
    place = _only_linear(folder, record, stream) if wanted == LINEAR else Path(wanted)
    evaluation = read_record(place)
    if not _is_linear(evaluation, record, stream):
        raise SkelbenchError(
            f"{place} is not a linear evaluation of the stream '{stream}' of {folder}; --with-head takes linear, "
            "classifier, or the folder of one that is."
        )
    if not (place / FILE).exists():
        raise SkelbenchError(
            f"{place} has no {FILE}: it was copied without it, or made before classifiers were kept; delete that "
            "folder and evaluate again."
        )
    names = tuple(name for name, *_ in read_per_class(place / evaluation.files["per_class"]))
    return KeptHead(Head(**read_tensors(place / FILE)), str(evaluation.cell), names)


def _only_linear(folder: Path, record: Record, stream: str) -> Path:
    runs = RunStore(folder.resolve().parent)
    found = [runs.folder(one.key) for one in runs.records() if _is_linear(one, record, stream)]
    if not found:
        raise SkelbenchError(
            f"There is no linear evaluation of {folder} beside it; make one with: skelbench evaluate {folder} "
            "--dataset NAME --split SPLIT --protocol linear"
        )
    if len(found) > 1:
        listed = ", ".join(str(place) for place in sorted(found))
        raise SkelbenchError(f"There are several linear evaluations of {folder}: give one to --with-head ({listed}).")
    return found[0]


def _is_linear(evaluation: Record, record: Record, stream: str) -> bool:
    cell = evaluation.cell
    return (cell.protocol, cell.stream, evaluation.pretrain) == (LINEAR, stream, record.identity)
