"""The records of a folder of runs as a pandas DataFrame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .calibration import ECE, error_of
from .classes import class_numbers
from .record import Record
from .store import RunStore, open_runs

if TYPE_CHECKING:
    import pandas as pd

# Column -> where its value is in a record. `load_results` describes them.
_CELL = (
    *("track", "label", "method", "backbone", "dataset", "split"),
    *("stream", "protocol", "seed", "pretrained_on", "variant"),
)
_MODEL = ("width", "parameters", "frames", "epochs", "persons", "flops_per_clip")
_COST = ("train_seconds", "eval_seconds", "clips_per_second", "peak_memory_mb")
_DATA = {"fingerprint": "fingerprint", "train_clips": "train", "test_clips": "test", "classes": "classes"}
_VERSIONS = {"method_version": "method", "protocol_version": "protocol", "skelbench": "skelbench"}
_ENVIRONMENT = ("device", "device_name", "precision")
_SCORES = ("top1", "top5", "best_top1", "best_top5", "best_epoch", "best_rule", "settled")
_KEYS = ("identity", "pretrain", "finished", "folder")
_COLUMNS = (*_CELL, *_SCORES, *_MODEL, *_COST, *_DATA, *_VERSIONS, *_ENVIRONMENT, *_KEYS)


def load_results(out: str | Path) -> pd.DataFrame:
    """Read the records of a folder of runs, one row per record, in the order of the folders' names.

    Columns; a value that a record does not have is missing (None or NaN):

    - the cell: track, label, method, backbone, dataset, split, stream, protocol, seed, pretrained_on,
      variant
    - accuracy on the test split in percent: top1 and top5 after the last epoch; best_top1, best_top5, best_epoch and
      best_rule of the chosen epoch; settled, whether it still changed at the end of training. A pre-training
      (protocol "pretrain") has none.
    - the encoder: width, parameters, frames, epochs, persons, flops_per_clip (a multiply-add counts as two)
    - cost: train_seconds, eval_seconds, clips_per_second, peak_memory_mb
    - data and versions: fingerprint, train_clips, test_clips, classes, method_version, protocol_version, skelbench
    - machine: device, device_name, precision
    - identity of the record, pretrain (identity of the pre-training it builds on), finished (ISO 8601, UTC), folder
    - one column for each further number of a protocol, named extra_NAME (extra_top1_k1, extra_mean_cosine, ...);
      extra_mean_class_top1 is the mean over the classes that have test clips, extra_largest_class the share of the
      largest class, both for older records from their `per_class.csv`; extra_ece is the expected calibration error of
      protocols with probabilities in percent, for older records from their scores

    Rows of different tracks, variants, versions or fingerprints are not comparable: group by them before taking means.

    Raises:
        SkelbenchError: if there is no such folder, or a record in it is damaged.
    """
    import pandas as pd

    runs = open_runs(Path(out))
    rows = [_row(record, runs) for record in runs.records()]
    extra = sorted({name for row in rows for name in row if name.startswith("extra_")})
    return pd.DataFrame(rows, columns=[*_COLUMNS, *extra])


def _extra(record: Record, runs: RunStore) -> dict[str, float]:
    """A record's further numbers, with those that newer records hold and older ones only have the scores for."""
    error = error_of(record, runs)
    return class_numbers(record, runs) | ({} if error is None else {ECE: error}) | record.extra


def _row(record: Record, runs: RunStore) -> dict[str, Any]:
    last, best = record.last, record.best
    return {
        **{name: getattr(record.cell, name) for name in _CELL},
        "top1": last.top1 if last else None,
        "top5": last.top5 if last else None,
        "best_top1": best.top1 if best else None,
        "best_top5": best.top5 if best else None,
        "best_epoch": best.epoch if best else None,
        "best_rule": best.rule if best else None,
        "settled": record.settled,
        **{name: record.model.get(name) for name in _MODEL},
        **{name: record.cost.get(name) for name in _COST},
        **{name: record.data.get(key) for name, key in _DATA.items()},
        **{name: record.versions.get(key) for name, key in _VERSIONS.items()},
        **{name: record.environment.get(name) for name in _ENVIRONMENT},
        "identity": record.identity,
        "pretrain": record.pretrain,
        "finished": record.finished,
        "folder": str(runs.folder(record.key)),
        **{f"extra_{name}": value for name, value in _extra(record, runs).items()},
    }
