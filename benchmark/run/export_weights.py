"""Write the backbone of a finished pre-training to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...backbones import Backbone
from ...backbones.weights import SUFFIX, to_safetensors
from ...config import parse_config
from ...datasets.layout import LAYOUTS
from ...errors import SkelbenchError
from ...methods import METHODS
from ...results.files import atomic_write
from ...results.record import Record
from ..plan.build import build_method, recipe_of
from ..plan.evaluation import check_trained_stream, open_run
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
    recipe = recipe_of(record)
    method = build_method(cell.configuration, recipe, layout, record.model["persons"])  # type: ignore[arg-type]
    method.load_evaluation_state(read_tensors(snapshot_path(folder, recipe.epochs)))
    encoder = "encoder_q" if stream in (None, "joint") or cell.stream != "all" else f"encoder_q_{stream}"
    if not hasattr(method, encoder):
        raise SkelbenchError(f"{folder} has no encoder of the stream '{stream}'; leave --stream out.")
    backbone: Backbone = getattr(method, encoder).backbone
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
    atomic_write(to, to_safetensors(backbone.state_dict(), backbone.official_constants(), facts))
    return cell.backbone


def _layout(record: Record) -> Any:
    name = str(record.data["layout"])
    if name not in LAYOUTS:
        raise SkelbenchError(f"The skeleton '{name}' of this run is not registered, so its weights cannot be exported.")
    return LAYOUTS[name]
