"""Loading the saved encoder of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...datasets.catalogue import open_dataset
from ...datasets.store import Store
from ...errors import SkelbenchError
from ...methods import Method
from ...results.record import PRETRAIN, Record
from ...results.store import read_record
from ..plan.build import build_method, recipe_of
from ..plan.code import check_code
from ..protocols import PROTOCOLS
from ..protocols.base import TuningProtocol
from ..train.checkpoint import read_tensors
from ..train.trainer import snapshot_path


@dataclass(frozen=True)
class KeptEncoder:
    """The encoder that a run saved after its last epoch.

    Attributes:
        record: of the given run: a pre-training, or an evaluation that builds on one.
        method: in evaluation mode, with the saved weights.
        store: the data set of the run.
        streams: the stream to encode if the method was trained on several; else empty.
    """

    record: Record
    method: Method
    store: Store
    streams: tuple[str, ...]

    @property
    def frames(self) -> int:
        """Number of frames T of a clip."""
        return self.method.build.num_frames


def open_encoder(folder: Path, device: str) -> KeptEncoder:
    """Load the encoder of a run from its folder.

    Raises:
        SkelbenchError: if it is not a finished run, has no saved encoder (a fusion, a fine-tuning), its pre-training
            is not next to it, its plugin is not loaded or has changed, or the data set has changed.
    """
    record = read_record(folder)
    home, trained = (folder, record) if record.cell.protocol == PRETRAIN else _pretraining(folder, record)
    check_code(trained)
    store = open_dataset(record.cell.dataset)
    _check_data(record, store, folder)
    recipe = recipe_of(trained)
    method = build_method(trained.cell.configuration, recipe, store.layout, store.manifest["persons"])
    method.load_evaluation_state(read_tensors(snapshot_path(home, recipe.epochs)))
    stream = "joint" if record.cell.stream == "all" else record.cell.stream
    return KeptEncoder(record, method.to(device).eval(), store, () if method.stream == stream else (stream,))


def _pretraining(folder: Path, record: Record) -> tuple[Path, Record]:
    """Folder and record of the pre-training that an evaluation builds on."""
    protocol = record.cell.protocol
    if protocol in PROTOCOLS and isinstance(PROTOCOLS[protocol], TuningProtocol):
        raise SkelbenchError(
            f"{folder} trained its encoder and did not save it; name the folder of the pre-training it started from."
        )
    if record.pretrain is None:
        raise SkelbenchError(f"{folder} has no encoder; name the folder of a pre-training.")
    for home in sorted(folder.resolve().parent.glob(f"*-{record.pretrain[:10]}")):
        trained = read_record(home)
        if trained.identity == record.pretrain and trained.cell.protocol == PRETRAIN:
            return home, trained
    raise SkelbenchError(
        f"The pre-training that {folder} builds on is not next to it; run its cell again, or name the folder of a "
        "pre-training."
    )


def _check_data(record: Record, store: Store, folder: Path) -> None:
    for key, now in (("fingerprint", store.fingerprint), ("skeleton", store.layout.digest)):
        then = record.data.get(key, now)  # imported weights have no data facts
        if then != now:
            raise SkelbenchError(
                f"The data set '{store.name}' is not the one that {folder} was run on (its {key} was {then} and is "
                f"{now}); prepare that one again, or run the cell again on this one."
            )
