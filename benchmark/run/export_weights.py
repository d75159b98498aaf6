"""Write the encoder of a finished pre-training to a file, with a classifier if asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...backbones import Backbone
from ...backbones.weights import SUFFIX, to_safetensors
from ...config import parse_config
from ...datasets.layout import LAYOUTS, Layout
from ...errors import SkelbenchError
from ...methods import METHODS
from ...results.files import atomic_write
from ...results.record import Record
from ..plan.build import build_method, recipe_of
from ..plan.evaluation import check_trained_stream, open_run
from ..train.checkpoint import read_tensors
from ..train.trainer import snapshot_path
from .heads import KeptHead, find_head
from .onnx_file import CHANNELS, to_onnx

ONNX = ".onnx"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        backbone: its name.
        shape: of the clips that it encodes, (C, T, V, M).
        any_frames: whether T may be another one.
        dim: width of its features.
        classes: of the classifier; None without one.
    """

    backbone: str
    shape: tuple[int, int, int, int]
    any_frames: bool
    dim: int
    classes: int | None


def export_weights(folder: Path, to: Path, stream: str | None = None, head: str | None = None) -> Exported:
    """Write the encoder of a finished pre-training to a file that is complete without its run.

    Args:
        to: a name in `.safetensors`, for `create_backbone`, or in `.onnx`.
        stream: the stream whose encoder is exported, where a method trained several.
        head: a classifier to write with it, as `find_head` takes it.

    Raises:
        SkelbenchError: if the folder is not a finished pre-training, there is no such classifier, a package for ONNX is
            missing, or the file cannot be written.
    """
    if to.suffix not in (SUFFIX, ONNX):
        raise SkelbenchError(f"{to} must end in {SUFFIX} or {ONNX}, which says the format.")
    record = open_run(folder)
    check_trained_stream(record, stream)
    layout = _layout(record)
    stream = stream or ("joint" if record.cell.stream == "all" else record.cell.stream)
    backbone = _backbone(folder, record, layout, stream).eval()
    kept = None if head is None else find_head(folder, record, stream, head)
    facts = _facts(record, layout, stream, folder) | _classes(kept)
    classifier = None if kept is None else kept.head
    shape = (CHANNELS, int(facts["num_frames"]), layout.num_joints, int(facts["num_persons"]))
    if to.suffix == ONNX:
        content = to_onnx(backbone, classifier, shape, facts)
    else:
        tensors = None if classifier is None else classifier.standardising().tensors()
        content = to_safetensors(backbone.state_dict(), backbone.official_constants(), facts, tensors)
    atomic_write(to, content)
    classes = None if classifier is None else len(classifier.bias)
    return Exported(record.cell.backbone, shape, backbone.any_frames, backbone.dim, classes)


def _backbone(folder: Path, record: Record, layout: Layout, stream: str) -> Backbone:
    """The trained backbone of a stream."""
    recipe = recipe_of(record)
    method = build_method(record.cell.configuration, recipe, layout, record.model["persons"])  # type: ignore[arg-type]
    method.load_evaluation_state(read_tensors(snapshot_path(folder, recipe.epochs)))
    encoder = "encoder_q" if stream == "joint" or record.cell.stream != "all" else f"encoder_q_{stream}"
    if not hasattr(method, encoder):
        raise SkelbenchError(f"{folder} has no encoder of the stream '{stream}'; leave --stream out.")
    return getattr(method, encoder).backbone


def _facts(record: Record, layout: Layout, stream: str, folder: Path) -> dict[str, Any]:
    """Everything needed to build the backbone again and to prepare clips for it, and where it comes from."""
    cell, settings = record.cell, dict[str, Any](record.settings)
    kind = METHODS[cell.method]
    config = parse_config(kind.Config, settings["method"], f"the record in {folder}")
    return {
        "backbone": cell.backbone,
        "args": kind.backbone_args(config, settings["backbone"]),
        "layout": layout.to_json(),
        "num_frames": settings["frames"],
        "num_persons": record.model["persons"],
        "stream": stream,
        "cell": str(cell),
        "identity": record.identity,
    }


def _classes(kept: KeptHead | None) -> dict[str, Any]:
    return {} if kept is None else {"classifier": kept.cell or "imported", "class_names": list(kept.class_names)}


def _layout(record: Record) -> Layout:
    name = str(record.data["layout"])
    if name not in LAYOUTS:
        raise SkelbenchError(f"The skeleton '{name}' of this run is not registered, so its weights cannot be exported.")
    return LAYOUTS[name]
