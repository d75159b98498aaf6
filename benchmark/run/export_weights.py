"""Write the backbone of a finished pre-training to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...backbones import BACKBONES
from ...backbones.weights import SUFFIX, to_safetensors
from ...config import parse_config
from ...datasets.layout import LAYOUTS
from ...errors import SkelbenchError
from ...methods import METHODS
from ...results.files import atomic_write
from ...results.record import Record
from ..plan.transfer import check_trained_stream, open_run
from ..train.checkpoint import read_tensors
from ..train.trainer import snapshot_path


def export_weights(folder: Path, to: Path, stream: str | None = None) -> str:
    """Write the backbone of a finished pre-training as safetensors, with everything needed to build it again.

    Returns the backbone's name.

    Args:
        stream: the stream whose encoder is exported, where a method trained several.

    Raises:
        SkelbenchError: if the folder is not a finished pre-training or the file cannot be written.
    """
    if to.suffix != SUFFIX:
        raise SkelbenchError(f"{to} must end in {SUFFIX}.")
    record = open_run(folder)
    cell, settings = record.cell, dict[str, Any](record.settings)
    check_trained_stream(record, stream)
    layout = _layout(record)
    state = read_tensors(snapshot_path(folder, int(settings["epochs"])))
    prefix = f"encoder_q{'' if stream in (None, 'joint') or cell.stream != 'all' else '_' + stream}.backbone."
    weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if not weights:
        raise SkelbenchError(f"{folder} has no encoder of the stream '{stream}'; leave --stream out.")
    kind = METHODS[cell.method]
    config = parse_config(kind.Config, settings["method"], f"the record in {folder}")
    args = kind.backbone_args(config, settings["backbone"])
    facts = {
        "backbone": cell.backbone,
        "args": args,
        "layout": layout.to_json(),
        "num_frames": settings["frames"],
        "num_persons": record.model["persons"],
        "stream": stream or ("joint" if cell.stream == "all" else cell.stream),
        "cell": str(cell),
        "identity": record.identity,
    }
    backbone = BACKBONES[cell.backbone](
        layout=layout,
        num_frames=settings["frames"],
        num_persons=record.model["persons"],
        **args,
    )
    backbone.load_state_dict(weights)
    atomic_write(to, to_safetensors(weights, backbone.official_constants(), facts))
    return cell.backbone


def _layout(record: Record) -> Any:
    name = str(record.data["layout"])
    if name not in LAYOUTS:
        raise SkelbenchError(f"The skeleton '{name}' of this run is not registered, so its weights cannot be exported.")
    return LAYOUTS[name]
