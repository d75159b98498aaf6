"""Checkpoints as authors share them: told apart, loaded completely or refused, their own classifier evaluated."""

import argparse
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from skelbench.backbones import create_backbone
from skelbench.benchmark.run.released import kind_of, read_encoder, read_state
from skelbench.results.files import read_per_class, read_scores
from skelbench.results.store import RunStore

from ...conftest import slow_but

SIZES: Any = {"width": 4, "dim": 16}
CLASSES = 3


def backbone() -> Any:
    """A small ST-GCN that has seen a batch."""
    torch.manual_seed(3)
    made = create_backbone("stgcn", layout="ntu25", num_frames=50, num_persons=2, dropout=0.0, graph="inout", **SIZES)
    made.train()(torch.randn(4, 3, 50, 25, 2))
    return made.eval()


def state(prefix="encoder_q.", classes=CLASSES, layer=True) -> dict[str, torch.Tensor]:
    """A linear-evaluation checkpoint by the released names."""
    made = backbone()
    own = made.state_dict()
    named = {theirs: own[name] for name, theirs in made.official_names().items()} | made.official_constants()
    torch.manual_seed(4)
    linear = torch.nn.Linear(SIZES["dim"], classes)
    named |= {"fc.weight": linear.weight.data, "fc.bias": linear.bias.data} if layer else {}
    return {f"{prefix}{name}": value for name, value in named.items()}


@pytest.fixture
def imported(skelbench, tmp_path):
    """Import a checkpoint; the folder of the run and the command's result."""

    def take(content, *more, method="skeletonclr", code=0):
        path = tmp_path / "linear.pt"
        if content is not None:
            torch.save(content, path)
        sets = [word for key, value in SIZES.items() for word in ("--set", f"backbone.{key}={value}")]
        words = ["import-weights", path, "--method", method, "--out", tmp_path / "runs", *sets, *more]
        result = skelbench(*words, "--set", "backbone.graph=inout", code=code)
        return (Path(result.stdout.splitlines()[0]) if code == 0 else None), result

    return take


# --- What a file holds ------------------------------------------------------------------------------------------

WRAPPED = {
    "bare": lambda s: s,
    "ordered": OrderedDict,
    **{name: lambda s, name=name: {name: s} for name in ("state_dict", "model", "model_state_dict", "net")},
    "beside the rest": lambda s: {
        "state_dict": s,
        "epoch": np.int64(100),
        "best": np.float32(74.3),
        "done": np.bool_(True),
        "arguments": {"lr": 3.0, "step": [80]},
        "optimizer": {"state": {}, "param_groups": [{"lr": 3.0}]},
    },
    "beside an epoch": lambda s: s | {"epoch": 100},
    "twice wrapped": lambda s: {"model": {"state_dict": s}, "epoch": 1},
    "DataParallel": lambda s: {f"module.{name}": value for name, value in s.items()},
    "a convolution": lambda s: s | {"encoder_q.fc.weight": s["encoder_q.fc.weight"][:, :, None, None]},
}
# the plainest, and one of each kind of change: wrapped twice, other names, another shape of the classifier
EVALUATED = ("bare", "beside the rest", "twice wrapped", "DataParallel", "a convolution")


@pytest.mark.parametrize("wrap", WRAPPED)
def test_every_wrapping_of_a_checkpoint_is_read_as_the_same_state(wrap, tmp_path):
    torch.save(WRAPPED[wrap](state()), tmp_path / "linear.pt")
    found = read_encoder(read_state(tmp_path / "linear.pt"), backbone(), tmp_path / "linear.pt")
    weights, classifier = found
    expected = backbone().state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert classifier is not None


@pytest.mark.parametrize("wrap", slow_but(WRAPPED, *EVALUATED))
def test_a_linear_checkpoint_is_imported_and_its_own_classifier_evaluated(wrap, imported, store, skelbench, tmp_path):
    folder, result = imported(WRAPPED[wrap](state()))
    assert "it holds: encoder with classifier" in result.stdout
    shown = skelbench("evaluate", folder, "--dataset", "tiny", "--protocol", "classifier", "--device", "cpu").stdout
    assert "classifier" in shown and "floor" not in shown
    runs = RunStore(tmp_path / "runs")
    (record,) = [record for record in runs.records() if record.cell.protocol == "classifier"]
    _, label, scores = read_scores(runs.folder(record.key) / "scores.npz")
    assert scores.shape == (12, CLASSES) and record.data["test"] == 12
    assert record.last is not None
    assert record.last.top1 == pytest.approx(100 * (scores.argmax(1) == label).mean())


def test_the_logits_are_those_of_the_backbone_and_the_layer(imported, store, skelbench, tmp_path):
    from skelbench.datasets.clips import load_dataset

    given = state()
    folder, _ = imported(given)
    skelbench("evaluate", folder, "--dataset", "tiny", "--protocol", "classifier", "--clips", "all", "--device", "cpu")
    runs = RunStore(tmp_path / "runs")
    (record,) = [record for record in runs.records() if record.cell.protocol == "classifier"]
    assert record.cell.track == "custom" and record.cell.label is not None and "all clips" in record.cell.label
    sides = load_dataset(store, "xsub", frames=50, valid="joint0")
    names, _, scores = read_scores(runs.folder(record.key) / "scores.npz")
    assert list(names) == [*sides[0].name, *sides[1].name]
    one = create_backbone("stgcn", layout="ntu25", num_frames=50, num_persons=1, dropout=0.0, graph="inout", **SIZES)
    theirs = backbone().state_dict()
    one.load_state_dict(theirs)
    with torch.no_grad():
        features = one.eval().pool(one(torch.cat([side.x for side in sides])))
    np.testing.assert_allclose(
        scores, features @ given["encoder_q.fc.weight"].T + given["encoder_q.fc.bias"], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("prefix", ["backbone.", "encoder.", ""])
def test_other_names_of_the_encoder_are_known(prefix, imported):
    _, result = imported(state(prefix))
    assert "it holds: encoder with classifier" in result.stdout


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_float32(dtype, tmp_path):
    torch.save({name: v.to(dtype) if v.is_floating_point() else v for name, v in state().items()}, tmp_path / "a.pt")
    read = read_state(tmp_path / "a.pt")
    assert {value.dtype for value in read.values()} == {torch.float32, torch.int64}
    weights, classifier = read_encoder(read, backbone(), tmp_path / "a.pt")  # its graph is rounded too
    assert classifier is not None and weights.keys() == backbone().state_dict().keys()


def test_an_encoder_alone_is_evaluated_by_what_needs_no_head_or_classifier(imported, store, skelbench, tmp_path):
    folder, result = imported(state(layer=False))
    assert "it holds: encoder\n" in result.stdout
    run = ["evaluate", folder, "--dataset", "tiny", "--device", "cpu", "--protocol"]
    assert "knn" in skelbench(*run, "knn").stdout
    failed = skelbench(*run, "classifier", code=1).stderr
    assert "has no classifier: it was not in the checkpoint" in failed
    skelbench("export-weights", folder, "--to", tmp_path / "encoder.safetensors")
    exported = create_backbone("stgcn", weights=tmp_path / "encoder.safetensors")
    theirs = backbone().state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in exported.state_dict().items())


def test_a_method_that_is_not_registered_has_a_title_and_no_published_row(imported, store, skelbench, tmp_path):
    folder, _ = imported(state(), "--title", "ActCLR", method="other")
    table = skelbench("evaluate", folder, "--dataset", "tiny", "--protocol", "classifier", "--device", "cpu").stdout
    assert "ActCLR" in table
    records = RunStore(tmp_path / "runs").records()
    assert {str(record.settings["title"]) for record in records} == {"ActCLR"}
    assert all(record.cell.track == "custom" for record in records)
    _, refused = imported(state(), method="other", code=2)
    assert "needs --title NAME" in refused.stderr
    _, refused = imported(state(), "--title", "ActCLR", method="aimclr", code=2)
    assert "A title is for a method that is not registered" in refused.stderr
    _, refused = imported(state(), "--split", "xset", code=2)
    assert "'ntu60' has no split 'xset'" in refused.stderr


def test_a_pre_training_of_a_method_that_is_not_registered_gives_its_encoder(imported):
    head = {f"encoder_{which}.fc.{layer}.weight": torch.zeros(16, 16) for which in "qk" for layer in (0, 2)}
    keys = {name.replace("encoder_q", "encoder_k"): value for name, value in state(layer=False).items()}
    whole = state(layer=False) | keys | head | {"queue": torch.zeros(128, 8), "queue_ptr": torch.zeros(1)}
    assert kind_of(whole) == "pre-training"
    _, result = imported(whole, "--title", "CMD", method="other")
    assert "it holds: encoder\n" in result.stdout


def test_a_grid_has_no_classifier_and_no_method_that_is_only_imported(skelbench, store):
    assert (
        "use skelbench evaluate" in skelbench("grid", "--datasets", "tiny", "--protocols", "classifier", code=2).stderr
    )
    assert "is only imported" in skelbench("grid", "--datasets", "tiny", "--methods", "other", code=2).stderr


def test_a_classifier_of_other_classes_is_refused_for_these_data_and_its_encoder_is_not(imported, store, skelbench):
    folder, _ = imported(state(classes=60))
    every = ["evaluate", folder, "--dataset", "tiny", "--protocol", "classifier,knn", "--clips", "all"]
    assert "--clips all is for the protocol classifier; knn" in skelbench(*every, code=2).stderr
    run = ["evaluate", folder, "--dataset", "tiny", "--device", "cpu", "--protocol"]
    assert "has 60 classes and the data have 3" in skelbench(*run, "classifier", code=1).stderr
    skelbench(*run, "knn")


# --- Refused ----------------------------------------------------------------------------------------------------

Q = "encoder_q."
REFUSED = {
    "holds an object of the type argparse.Namespace": lambda s: {"state_dict": s, "arguments": argparse.Namespace(a=1)},
    "holds an object of the type numpy": lambda s: {"state_dict": s, "curve": np.ones(3)},
    "holds an object of the type pathlib": lambda s: {"state_dict": s, "path": Path("x")},
    "holds several states (state_dict, model)": lambda s: {"state_dict": s, "model": s},
    "missing: encoder_q.data_bn.weight": lambda s: {name: v for name, v in s.items() if name != f"{Q}data_bn.weight"},
    "unknown: encoder_q_motion.fc.x": lambda s: s | {"encoder_q_motion.fc.x": torch.zeros(1)},
    "unknown: encoder_q.other": lambda s: s | {f"{Q}other": torch.zeros(1)},
    "of another shape: encoder_q.data_bn.bias (5,) for (75,)": lambda s: s | {f"{Q}data_bn.bias": torch.zeros(5)},
    "lacks its graph (encoder_q.A)": lambda s: {name: v for name, v in s.items() if name != f"{Q}A"},
    "(A) differs from this one": lambda s: s | {f"{Q}A": torch.zeros(3, 25, 25)},
    "was never trained": lambda s: {name: torch.zeros_like(v) if "num_batches" in name else v for name, v in s.items()},
    "NaN or infinite values in encoder_q.fc.bias": lambda s: s | {f"{Q}fc.bias": torch.full((3,), torch.nan)},
    "is not one linear layer of 16 features": lambda s: s | {f"{Q}fc.weight": torch.zeros(3, 8)},
    "does not hold a state dict": lambda s: {"epoch": 3},
    "has no encoder of this backbone: its keys begin with student": lambda s: {f"student.{n}": v for n, v in s.items()},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_one_sentence_and_leaves_no_run(message, imported, tmp_path):
    _, result = imported(REFUSED[message](state()), code=2)
    assert message in result.stderr
    assert result.stderr.count("Error:") == 1 and "\x1b" not in result.stderr
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.parametrize("damage", [lambda whole: whole[:-300], lambda whole: b"", lambda whole: b"<html>sorry</html>"])
def test_a_damaged_file_is_one_sentence(damage, imported, tmp_path):
    torch.save(state(), tmp_path / "linear.pt")
    (tmp_path / "linear.pt").write_bytes(damage((tmp_path / "linear.pt").read_bytes()))
    _, result = imported(None, code=2)
    assert "is damaged or no checkpoint of torch" in result.stderr and len(result.stderr) < 500


def test_numbers_of_numpy_are_not_made(tmp_path, monkeypatch):
    """Their constructors would trust what the file says."""
    torch.save({"state_dict": state(), "best": np.float64(1.0)}, tmp_path / "a.pt")
    monkeypatch.setattr(np, "dtype", lambda *_: pytest.fail("numpy's constructor was called"))
    assert set(read_state(tmp_path / "a.pt")) == set(state())


# --- Real checkpoints on real clips -----------------------------------------------------------------------------

SHARED = Path(os.environ.get("SKELBENCH_SHARED", Path(__file__).resolve().parents[4] / "shared"))
RELEASED = {
    "aimclr_best": ("aimclr_xview_joint_linear_best.pt", ("--method", "aimclr"), 76, 30),
    "actclr_87_14": (
        "actclr_xview_joint_linear_epoch100_acc87.14.pt", ("--method", "other", "--title", "ActCLR"), 88, 36,
    ),
    "sgclr_74_33": (
        "sgclr_xview_joint_linear_epoch100_acc74.33.pt", ("--method", "other", "--title", "SGCLR"), 78, 30,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A store of the real clips, prepared once."""
    archive = SHARED / "data" / "raw" / "ntu-a023" / "ntu_a023_subset.tar.gz"
    if not archive.exists() or not (SHARED / "released").is_dir():
        pytest.skip("the released checkpoints and real clips are not available (set SKELBENCH_SHARED)")
    folder = tmp_path_factory.mktemp("real")
    from skelbench.datasets import prepare

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKELBENCH_DATA", str(folder))
        return folder, prepare("ntu60", archive)


@pytest.mark.full_depth
@pytest.mark.parametrize(
    "name",  # AimCLR's, and one of the two whose method is not registered
    [pytest.param(name, marks=pytest.mark.slow if name == "sgclr_74_33" else ()) for name in RELEASED],
)
def test_released_weights_give_their_authors_logits_on_real_clips(name, real, skelbench, tmp_path, monkeypatch):
    """From the raw archive to the logits that the authors' own reader, preparation and network gave."""
    data, store = real
    monkeypatch.setenv("SKELBENCH_DATA", str(data))
    assert len(store.clips) == 96, "the clips of the official missing list are excluded"
    file, words, right, right_xview = RELEASED[name]
    take = ["import-weights", SHARED / "released" / file, *words, "--split", "xview", "--out", tmp_path / "runs"]
    folder = skelbench(*take).stdout.splitlines()[0]
    evaluate = ["evaluate", folder, "--dataset", "ntu60", "--split", "xview", "--protocol", "classifier"]
    for clips, told in (("test", f"{right_xview} of 36 clips right"), ("all", f"{right} of 96 clips right")):
        assert told in skelbench(*evaluate, "--clips", clips, "--device", "cpu").stdout
    runs = RunStore(tmp_path / "runs")
    found = {len(read_scores(runs.folder(r.key) / "scores.npz")[0]): r for r in runs.records() if r.last}
    assert set(found) == {96, 36}
    with np.load(SHARED / "released" / "expected_logits.npz") as recorded:
        logits = dict(zip(recorded["name"].tolist(), recorded[name], strict=True))
    for count, correct in ((96, right), (36, right_xview)):
        names, label, scores = read_scores(runs.folder(found[count].key) / "scores.npz")
        np.testing.assert_allclose(scores, np.stack([logits[one] for one in names]), rtol=0, atol=1e-3)
        assert (scores.argmax(axis=1) == label).sum() == correct
    assert (found[36].cell.track == "published") == (name == "aimclr_best")
    classes = read_per_class(runs.folder(found[96].key) / "per_class.csv")
    assert [(cls, clips) for cls, clips, _ in classes if clips] == [("hand waving", 96)]


# --- Features out -----------------------------------------------------------------------------------------------


def test_features_are_written_with_names_labels_and_sides(imported, store, skelbench, tmp_path):
    """They are what the encoder gives for the clips that `evaluate` prepares."""
    from skelbench.datasets.clips import load_dataset

    folder, _ = imported(state())
    to = tmp_path / "features.npz"
    words = ["features", folder, "--dataset", "tiny", "--device", "cpu", "--to"]
    assert "24 clips, 16 features" in skelbench(*words, to).stdout
    sides = load_dataset(store, "xsub", frames=50)
    one = create_backbone("stgcn", layout="ntu25", num_frames=50, num_persons=1, dropout=0.0, graph="inout", **SIZES)
    one.load_state_dict(backbone().state_dict())
    with torch.no_grad():
        expected = one.eval().pool(one(torch.cat([side.x for side in sides])))
    with np.load(to) as written:
        np.testing.assert_allclose(written["features"], expected, rtol=1e-5, atol=1e-6)
        assert written["name"].tolist() == [*sides[0].name, *sides[1].name]
        assert written["label"].tolist() == [*sides[0].label.tolist(), *sides[1].label.tolist()]
        assert written["side"].tolist() == ["train"] * 12 + ["test"] * 12
        assert written["class_names"].tolist() == list(sides[0].class_names)
    assert "must end in .npz" in skelbench(*words, tmp_path / "features.txt", code=2).stderr
    assert not (tmp_path / "features.txt").exists()
