"""Encoders as ONNX models, against PyTorch's own output, and the classifiers written with them."""

import importlib
import json
import sys
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from skelbench import create_backbone
from skelbench.backbones import BACKBONES
from skelbench.backbones.weights import read_facts
from skelbench.benchmark.protocols.head import Head
from skelbench.benchmark.run.onnx_file import to_onnx
from skelbench.datasets.clips import load_dataset
from skelbench.errors import SkelbenchError
from skelbench.results.record import PRETRAIN
from skelbench.results.store import RunStore

onnxruntime = pytest.importorskip("onnxruntime")
SMALL = {
    "stgcn": {"width": 4, "dim": 16},
    "bigru": {"hidden": 4, "num_layers": 2},
    "dsta": {"blocks": [[8, 16, 4, 1], [16, 16, 4, 2]]},
    "images": {"model": "test_resnet", "size": 32},
}
SHAPE = (3, 13, 25, 2)


@pytest.fixture
def backbone(request):
    """A small backbone after a few steps of its batch norms, in evaluation mode."""
    torch.manual_seed(0)
    made = create_backbone(request.param, num_frames=SHAPE[1], num_persons=SHAPE[3], **SMALL[request.param])
    for _ in range(3):
        made(3 * torch.randn(4, *SHAPE))
    return made.eval()


def outputs(content: bytes, x: np.ndarray) -> list[np.ndarray]:
    """What ONNX Runtime computes, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options).run(None, {"x": x})


@pytest.mark.parametrize(
    "backbone",
    [pytest.param(name, marks=pytest.mark.slow if name in ("dsta", "images") else ()) for name in BACKBONES],
    indirect=True,
)
def test_every_backbone_is_the_same_network_in_onnx(backbone):
    head = Head(torch.randn(7, backbone.dim), torch.randn(7), torch.randn(backbone.dim).double())
    content = to_onnx(backbone, head.standardising(), SHAPE, {"what": "facts"})
    for clips, frames in ((1, 13), (4, 13), *([(2, 30), (1, 101)] if backbone.any_frames else [])):
        x = torch.randn(clips, 3, frames, 25, 2)
        x[0, ..., 1] = 0  # a person who is not there
        with torch.no_grad():
            expected = backbone.pool(backbone(x))
        features, logits = outputs(content, x.numpy())
        np.testing.assert_allclose(features, expected, atol=1e-5)
        np.testing.assert_allclose(logits, expected @ head.weight.T + head.bias, atol=1e-4)
    if not backbone.any_frames:
        with pytest.raises(Exception, match="invalid dimensions"):
            outputs(content, np.zeros((1, 3, 30, 25, 2), np.float32))
    model = importlib.import_module("onnx").load_from_string(content)
    importlib.import_module("onnx.checker").check_model(model, full_check=True)
    assert {entry.key: json.loads(entry.value) for entry in model.metadata_props} == {"skelbench": {"what": "facts"}}
    assert b".py" not in content  # the exporter notes the lines of code that a node came from


@pytest.fixture
def trained(finished):
    """A finished pre-training: its folder, and its linear evaluation's."""
    runs = RunStore(finished)
    mine = {one.cell.protocol: runs.folder(one.key) for one in runs.records() if one.cell.method == "skeletonclr"}
    return mine[PRETRAIN], mine["linear"]


@pytest.fixture
def scored(trained):
    """The test clips (N, 3, T, V, M), and their scores by the linear evaluation."""
    _, test = load_dataset("tiny", "xsub", frames=16)
    with np.load(trained[1] / "scores.npz") as file:
        assert list(file["names"]) == list(test.name)
        return test.x, file["scores"]


def test_a_trained_probe_is_written_with_its_encoder(trained, scored, skelbench, tmp_path):
    folder, linear = trained
    x, scores = scored
    files = [tmp_path / "encoder.safetensors", tmp_path / "encoder.onnx"]
    skelbench("export-weights", folder, "--to", files[0], "--with-head", linear)
    said = skelbench("export-weights", folder, "--to", files[1], "--with-head", "linear", "--format", "onnx").stdout
    backbone = create_backbone("stgcn", weights=files[0]).eval()
    with torch.no_grad():
        features = backbone.pool(backbone(x))
    w = load_file(files[0])
    standardised = ((features - w["classifier.mean"]) / w["classifier.scale"]).float()
    ours = torch.nn.functional.linear(standardised, w["classifier.weight"], w["classifier.bias"])
    np.testing.assert_allclose(ours, scores, atol=1e-4)
    assert not torch.equal(w["classifier.scale"], torch.ones(16))  # the probe is on standardised features
    # These two epochs leave features that hardly differ: their scores are compared on equal features.
    features, logits = outputs(files[1].read_bytes(), x.numpy())
    np.testing.assert_allclose(features, backbone.pool(backbone(x)).detach(), atol=1e-6)
    standardised = ((features - w["classifier.mean"].numpy()) / w["classifier.scale"].numpy()).astype(np.float32)
    ours = standardised @ w["classifier.weight"].numpy().T + w["classifier.bias"].numpy()
    np.testing.assert_allclose(logits, ours, atol=1e-4)
    facts = read_facts(files[0])
    assert tuple(facts["class_names"]) == load_dataset("tiny", "xsub", frames=16)[0].class_names
    assert " linear seed 0" in facts["classifier"]
    assert "input: x (N, 3, T, 25, 1); N and T are free" in said
    assert "outputs: features (N, 16), logits (N, 3)" in said


def test_what_cannot_be_written_is_told_and_nothing_is_written(finished_copy, skelbench, tmp_path, monkeypatch):
    runs = RunStore(finished_copy)
    places = {(one.cell.method, one.cell.protocol): runs.folder(one.key) for one in runs.records()}
    folder, linear = places["skeletonclr", PRETRAIN], places["skeletonclr", "linear"]

    def refused(*words: object, to: str = "e.safetensors") -> str:
        text = skelbench("export-weights", folder, "--to", tmp_path / to, *words, code=2).stderr
        assert not (tmp_path / to).exists()
        return text

    assert "--format onnx needs a file that ends in .onnx" in refused("--format", "onnx")
    assert "has no classifier: it was not in the checkpoint" in refused("--with-head", "classifier")
    assert "is not a linear evaluation of the stream 'joint'" in refused("--with-head", places["aimclr", "linear"])
    (linear / "classifier.pt").unlink()
    assert "made before classifiers were kept" in refused("--with-head", "linear")
    second = json.loads((linear / "record.json").read_text()) | {"identity": "ab" * 16}
    second.pop("seal")
    place = linear.with_name(linear.name[:-10] + ("ab" * 16)[:10])
    place.mkdir()
    (place / "record.json").write_text(json.dumps(second))
    assert "There are several linear evaluations" in refused("--with-head", "linear")
    for path in (linear, place):
        (path / "record.json").unlink()
    assert "There is no linear evaluation of" in refused("--with-head", "linear")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert 'needs the package onnxscript; install it with: pip install "skelbench[onnx]"' in refused(to="e.onnx")


class Mean(torch.nn.Module):
    """Stands in for a backbone: the mean of a clip, which in ONNX is larger by a given amount."""

    any_frames = False

    def __init__(self, amount: float):
        super().__init__()
        self.amount = amount

    def forward(self, x):
        mean = x.mean(dim=(2, 3, 4))
        return mean + self.amount if torch.compiler.is_exporting() else mean

    def pool(self, features):
        return features


class Selection(Mean):
    """Its size depends on values, which no graph can hold."""

    def pool(self, features):
        return features[: int(features.sum())]


def test_a_backbone_that_onnx_cannot_hold_or_computes_otherwise_is_refused():
    made: list[Any] = [kind(by).eval() for kind, by in ((Mean, 0.0), (Mean, 0.1), (Selection, 0.0))]
    alike, otherwise, selection = made
    x = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)
    np.testing.assert_allclose(outputs(to_onnx(alike, None, SHAPE, {}), x)[0], x.mean((2, 3, 4)), atol=1e-6)
    with pytest.raises(SkelbenchError, match="ONNX Runtime and PyTorch differ by"):
        to_onnx(otherwise, None, SHAPE, {})
    with pytest.raises(SkelbenchError, match=r"cannot be exported as ONNX \(.*\); write \.safetensors"):
        to_onnx(selection, None, SHAPE, {})
