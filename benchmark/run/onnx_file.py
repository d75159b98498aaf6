"""An encoder as an ONNX model, compared with PyTorch before it is written."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ...backbones import Backbone
from ...backbones.weights import FACTS
from ...errors import SkelbenchError
from ..protocols.head import Head

CHANNELS = 3
TOLERANCE = 1e-4  # of the largest value
CLIPS = 3  # that are traced
FEWEST_FRAMES = 5  # with which no axis is empty or of length 1 in any backbone


class _Pooled(nn.Module):
    """Clips (N, C, T, V, M) -> pooled features (N, D), and scores (N, K) with a classifier."""

    def __init__(self, backbone: Backbone, head: Head | None):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        features = self.backbone.pool(self.backbone(x))
        return (features,) if self.head is None else (features, self.head(features))


def to_onnx(backbone: Backbone, head: Head | None, shape: tuple[int, int, int, int], facts: Mapping[str, Any]) -> bytes:
    """Serialise an encoder: input `x` (N, C, T, V, M), outputs `features` (N, D) and, with a classifier, `logits`.

    N is free, and T where `backbone.any_frames`. Before it is returned, ONNX Runtime encodes random clips with it, one
    without its last person, and must agree with PyTorch.

    Args:
        shape: (C, T, V, M) of the clips.
        facts: JSON values for the file's metadata.

    Raises:
        SkelbenchError: if a package is missing, the backbone cannot be exported, or the outputs differ.
    """
    runtime = _runtime()
    model = _Pooled(backbone, head).eval()
    free = {0: "N", 2: "T"} if backbone.any_frames else {0: "N"}
    content = _finished(_traced(model, shape, free), free, facts)
    _compare(model, content, runtime, _clips(CLIPS + 2, shape, 3 if backbone.any_frames else 0))
    return content


def _runtime() -> Any:
    """Import ONNX Runtime, and what torch's exporter needs."""
    try:
        for package in ("onnx", "onnxscript"):
            importlib.import_module(package)
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise SkelbenchError(
            f'An ONNX file needs the package {error.name}; install it with: pip install "skelbench[onnx]"'
        ) from error


def _traced(model: _Pooled, shape: tuple[int, int, int, int], free: Mapping[int, str]) -> Any:
    """The model as torch's exporter writes it, a `ModelProto`; `free` are the names of the axes of x that are."""
    fewest = {"N": 1, "T": min(FEWEST_FRAMES, shape[1])}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about its own code; the result is compared below
            traced = torch.export.export(
                model,
                (_clips(CLIPS, shape),),
                dynamic_shapes={"x": {axis: torch.export.Dim(name, min=fewest[name]) for axis, name in free.items()}},
                prefer_deferred_runtime_asserts_over_guards=True,  # else T has to be a multiple of the time stride
            )
            names = ["features", "logits"][: 1 if model.head is None else 2]
            return torch.onnx.export(traced, input_names=["x"], output_names=names, verbose=False).model_proto  # type: ignore[union-attr]
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        reason = " ".join(str(error).split())[:300]
        raise SkelbenchError(f"This backbone cannot be exported as ONNX ({reason}); write .safetensors.") from error


def _finished(model: Any, free: Mapping[int, str], facts: Mapping[str, Any]) -> bytes:
    """Name the free axes, add the facts, and leave out what the exporter notes on each node, such as lines of code."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *model.functions):
        part.ClearField("metadata_props")
    graph.ClearField("value_info")
    for axis, name in free.items():
        graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    for output in graph.output:
        output.type.tensor_type.shape.dim[0].dim_param = free[0]
    entry = model.metadata_props.add()
    entry.key, entry.value = FACTS, json.dumps(facts)
    return model.SerializeToString()


def _clips(number: int, shape: tuple[int, int, int, int], more_frames: int = 0) -> Tensor:
    """Random clips; the first has no last person."""
    channels, frames, *rest = shape
    clips = torch.randn(number, channels, frames + more_frames, *rest, generator=Generator().manual_seed(0))
    clips[0, ..., -1] = 0
    return clips


def _compare(model: _Pooled, content: bytes, runtime: Any, clips: Tensor) -> None:
    """Raise a `SkelbenchError` unless ONNX Runtime computes what PyTorch does.

    The scores are compared on its own features: a classifier of standardised features magnifies their rounding.
    """
    try:
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
        features, *scores = (torch.from_numpy(value) for value in session.run(None, {"x": clips.numpy()}))
    except Exception as error:  # its errors have no class in common
        reason = " ".join(str(error).split())[:300]
        raise SkelbenchError(f"ONNX Runtime cannot run this encoder ({reason}); write .safetensors.") from error
    with torch.no_grad():
        pairs = [(model(clips)[0], features)]
        pairs += [(model.head(features), logits) for logits in scores if model.head is not None]
    for expected, given in pairs:
        apart = (expected - given).abs().max().item()
        if not apart <= TOLERANCE * max(1.0, expected.abs().max().item()):
            raise SkelbenchError(
                f"ONNX Runtime and PyTorch differ by {apart:.2g} on this encoder, so nothing was written; install "
                "newer onnxscript and onnxruntime, or write .safetensors."
            )
