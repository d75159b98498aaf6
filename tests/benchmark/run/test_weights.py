"""Released checkpoints into runs, finished runs into files of weights, and the evaluation of both."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from skelbench import create_backbone, create_method
from skelbench.backbones.weights import read_facts
from skelbench.benchmark.train.checkpoint import read_tensors, write_tensors
from skelbench.benchmark.train.trainer import snapshot_path
from skelbench.errors import SkelbenchError
from skelbench.methods import METHODS, Progress
from skelbench.results.store import RunStore

from ...conftest import slow_but

TRAINABLE = [name for name in METHODS if METHODS[name].trainable]
SIZES = {"width": 4, "dim": 16}
CONFIG = {"feature_dim": 8, "queue_size": 8, "heads": 4}
STREAMS = ("joint", "motion", "bone")
# the plainest method, that of several encoders, and that with a backbone and layers of its own
EVALUATED = ("skeletonclr", "crosclr", "mica")


def trained(name: str, seed: int = 1) -> Any:
    """A small method with released settings after one step."""
    torch.manual_seed(seed)
    fields = METHODS[name].Config.model_fields
    config: dict[str, Any] = {key: value for key, value in CONFIG.items() if key in fields}
    stream = "all" if METHODS[name].streams_together else "joint"
    method = create_method(name, backbone_args=SIZES, stream=stream, **config).train()
    x = torch.randn(4, 3, method.build.num_frames, 25, 2, generator=torch.Generator().manual_seed(0))
    draws = method.draw(x, torch.Generator().manual_seed(0))
    method.loss(method.views(x, draws), draws=draws)
    method.after_step(Progress(1, 0, 1, 2))
    return method


def official(method: Any) -> dict[str, torch.Tensor]:
    """What the released code would have saved."""
    state = method.state_dict()
    named = {theirs: state[own] for own, theirs in method.official_names().items()}
    return named | method.official_constants()


@pytest.fixture
def checkpoint(tmp_path):
    """Write a checkpoint by the released names."""

    def write(name: str, change: Any = None) -> Any:
        path = tmp_path / "epoch300_model.pt"
        state = official(trained(name))
        torch.save(change(state) if change else state, path)
        return path

    return write


def importing(name: str, path: Any, out: Any) -> list[Any]:
    fields = METHODS[name].Config.model_fields
    sets = [f"backbone.{key}={value}" for key, value in SIZES.items()]
    sets += [f"method.{key}={value}" for key, value in CONFIG.items() if key in fields]
    pairs = [word for pair in sets for word in ("--set", pair)]
    return ["import-weights", path, "--method", name, "--out", out, *pairs]


@pytest.mark.parametrize("name", slow_but(TRAINABLE, *EVALUATED))
def test_an_imported_checkpoint_is_evaluated_with_its_own_weights(name, checkpoint, store, skelbench, tmp_path):
    runs = tmp_path / "runs"
    folder = skelbench(*importing(name, checkpoint(name), runs)).stdout.splitlines()[0]
    (record,) = RunStore(runs).records()
    assert (record.cell.method, record.cell.protocol, record.cell.track) == (name, "pretrain", "custom")
    kept = read_tensors(snapshot_path(RunStore(runs).folder(record.key), record.model["epochs"]))  # type: ignore[arg-type]
    theirs = trained(name).evaluation_state()
    assert kept.keys() == theirs.keys()
    assert all(torch.equal(kept[key], theirs[key]) for key in kept)
    table = skelbench("evaluate", folder, "--dataset", "tiny", "--protocol", "knn", "--device", "cpu").stdout
    assert name in table
    assert "untrained (floor)" in table
    evaluations = [r for r in RunStore(runs).records() if r.cell.protocol == "knn"]
    assert [r.cell.method for r in evaluations].count("untrained") == 3
    (evaluated,) = [r for r in evaluations if r.cell.method == name]
    assert evaluated.pretrain == record.identity
    assert evaluated.cell.dataset == "tiny"
    assert "imported" in (evaluated.cell.label or "")


def test_the_same_file_is_imported_to_the_same_place_and_another_to_another(checkpoint, skelbench, tmp_path):
    runs = tmp_path / "runs"
    first = skelbench(*importing("skeletonclr", checkpoint("skeletonclr"), runs)).stdout
    assert skelbench(*importing("skeletonclr", checkpoint("skeletonclr"), runs)).stdout == first
    torch.save(official(trained("skeletonclr", seed=9)), tmp_path / "epoch300_model.pt")
    assert skelbench(*importing("skeletonclr", tmp_path / "epoch300_model.pt", runs)).stdout != first


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_a_state_dict_in_a_wrapper_is_found(wrapper, checkpoint, skelbench, tmp_path):
    skelbench(*importing("aimclr", checkpoint("aimclr", lambda state: {wrapper: state}), tmp_path / "r"))
    assert len(RunStore(tmp_path / "r").records()) == 1


class Foreign:
    """Something that only pickle can bring back."""


REFUSED = {
    "missing: encoder_q.data_bn.weight": lambda s: {k: v for k, v in s.items() if k != "encoder_q.data_bn.weight"},
    "unknown: encoder_q.other": lambda s: s | {"encoder_q.other": torch.zeros(1)},
    "of another shape: queue": lambda s: s | {"queue": torch.zeros(8, 5)},
    "differs from this graph": lambda s: s | {"encoder_q.A": torch.zeros(3, 25, 25)},
    "does not hold a state dict": lambda s: list(s.values()),
    "holds an object of the type ": lambda s: s | {"foreign": Foreign()},
    "NaN or infinite values": lambda s: s | {"queue": s["queue"] * float("nan")},
    "lacks its graph (encoder_k.A)": lambda s: {k: v for k, v in s.items() if k != "encoder_k.A"},
    "was never trained": lambda s: {k: torch.zeros_like(v) if "num_batches" in k else v for k, v in s.items()},
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_checkpoint_that_does_not_fit_is_refused_and_nothing_is_written(message, checkpoint, skelbench, tmp_path):
    result = skelbench(*importing("aimclr", checkpoint("aimclr", REFUSED[message]), tmp_path / "runs"), code=2)
    assert message in result.stderr
    assert result.stderr.count("Error:") == 1
    assert not list((tmp_path / "runs").glob("*"))


def test_a_file_that_is_not_there_and_a_method_without_training_are_refused(checkpoint, skelbench, tmp_path):
    gone = skelbench("import-weights", tmp_path / "gone.pt", "--method", "aimclr", "--out", tmp_path / "runs", code=2)
    assert "There is no file" in gone.stderr
    floor = skelbench("import-weights", checkpoint("aimclr"), "--method", "untrained", "--out", tmp_path, code=2)
    assert "trains nothing" in floor.stderr


def pretraining(folder: Path) -> Any:
    """Folder of the finished pre-training of a method."""

    def find(name: str) -> Any:
        runs = RunStore(folder)
        (record,) = [r for r in runs.records() if (r.cell.method, r.cell.protocol) == (name, "pretrain")]
        return runs.folder(record.key)

    return find


@pytest.fixture
def pretrained(finished):
    """Folder of the finished pre-training of a method, to read."""
    return pretraining(finished)


@pytest.fixture
def pretrained_copy(finished_copy):
    """Folder of the finished pre-training of a method, which a test may change."""
    return pretraining(finished_copy)


@pytest.mark.parametrize("name", TRAINABLE)
def test_exported_weights_make_the_same_backbone_without_another_word(name, pretrained, skelbench, tmp_path):
    path = tmp_path / "encoder.safetensors"
    skelbench("export-weights", pretrained(name), "--to", path)
    backbone = create_backbone("stgcn", weights=path).eval()
    kept = read_tensors(snapshot_path(pretrained(name), 2))
    prefix = "encoder_q.backbone."
    own = {key.removeprefix(prefix): value for key, value in kept.items() if key.startswith(prefix)}
    state = backbone.state_dict()
    assert state.keys() == own.keys()
    assert all(torch.equal(state[key], own[key]) for key in own)
    facts = read_facts(path)
    assert (facts["num_frames"], facts["num_persons"], facts["args"]["width"]) == (16, 1, 4)
    assert facts["cell"].startswith(name)


@pytest.mark.parametrize("stream", STREAMS)
def test_each_stream_of_crosclr_is_exported_and_evaluated_on_its_own(stream, pretrained_copy, skelbench, tmp_path):
    path = tmp_path / f"{stream}.safetensors"
    skelbench("export-weights", pretrained_copy("crosclr"), "--to", path, "--stream", stream)
    suffix = "" if stream == "joint" else f"_{stream}"
    kept = read_tensors(snapshot_path(pretrained_copy("crosclr"), 2))
    weight = create_backbone("stgcn", weights=path).state_dict()["blocks.0.spatial.weight"]
    assert torch.equal(weight, kept[f"encoder_q{suffix}.backbone.blocks.0.spatial.weight"])
    assert read_facts(path)["stream"] == stream
    skelbench(
        *("evaluate", pretrained_copy("crosclr"), "--dataset", "tiny"), *("--stream", stream, "--protocol", "knn")
    )
    records = RunStore(pretrained_copy("crosclr").parent).records()
    labelled = [r for r in records if "trained on" in (r.cell.label or "") and r.cell.method == "crosclr"]
    assert [r.cell.stream for r in labelled] == [stream]


def test_a_stream_that_was_not_trained_is_not_exported(pretrained, skelbench, tmp_path):
    arguments = ("--to", tmp_path / "e.safetensors", "--stream", "bone")
    refused = skelbench("export-weights", pretrained("skeletonclr"), *arguments, code=2).stderr
    assert "trained on the stream 'joint', not on 'bone'" in refused
    assert not (tmp_path / "e.safetensors").exists()


def test_exported_weights_say_what_they_do_not_fit(pretrained, skelbench, tmp_path):
    path = tmp_path / "encoder.safetensors"
    skelbench("export-weights", pretrained("skeletonclr"), "--to", path)
    with pytest.raises(SkelbenchError, match="trained with another 'A'"):
        create_backbone("stgcn", weights=path, graph="inout")
    with pytest.raises(SkelbenchError, match="do not fit"):
        create_backbone("stgcn", weights=path, width=8)
    with pytest.raises(SkelbenchError, match="another 'A'"):
        create_backbone("stgcn", weights=path, layout="kinect20")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SkelbenchError, match=r"encoder\.safetensors do not fit"):
        create_backbone("stgcn", weights=path)
    assert (
        "must end in .safetensors"
        in skelbench("export-weights", pretrained("skeletonclr"), "--to", tmp_path / "encoder.pt", code=2).stderr
    )


def test_only_a_finished_pre_training_on_the_same_skeleton_is_evaluated(
    pretrained_copy, finished_copy, skelbench, arrays, tmp_path
):
    folder = pretrained_copy("skeletonclr")
    assert "is not a finished cell" in skelbench("evaluate", tmp_path, "--dataset", "tiny", code=2).stderr
    evaluation = next(path for path in finished_copy.iterdir() if "-knn-" in path.name)
    assert "is not a pre-training" in skelbench("evaluate", evaluation, "--dataset", "tiny", code=2).stderr
    other = skelbench("evaluate", folder, "--dataset", "tiny", "--stream", "bone", code=2).stderr
    assert "trained on the stream 'joint', not on 'bone'" in other
    record = json.loads((folder / "record.json").read_text())
    del record["seal"]  # which would reveal the change
    record["data"]["skeleton"] = "0" * 12
    (folder / "record.json").write_text(json.dumps(record))
    assert "has the skeleton 'ntu25'" in skelbench("evaluate", folder, "--dataset", "tiny", code=2).stderr


def test_the_split_asked_for_is_evaluated_on_all_its_clips_and_nothing_is_trained(
    pretrained_copy, skelbench, store, tmp_path, monkeypatch
):
    folder = pretrained_copy("skeletonclr")
    record = json.loads((folder / "record.json").read_text())
    del record["seal"]  # which would reveal the change
    record["settings"]["clips"] = 4  # the training may have seen fewer
    (folder / "record.json").write_text(json.dumps(record))
    copy = tmp_path / "elsewhere" / "my copy"
    copy.parent.mkdir()
    folder.rename(copy)
    monkeypatch.setattr("skelbench.benchmark.run.pretrain.Trainer.train", lambda self: pytest.fail("it trained"))
    skelbench("evaluate", copy, "--dataset", "tiny", "--split", "xview", "--protocol", "knn")
    records = RunStore(copy.parent).records()
    (evaluated,) = [r for r in records if r.cell.protocol == "knn" and r.cell.method == "skeletonclr"]
    sides = store.sides("xview")
    assert (evaluated.data["train"], evaluated.data["test"]) == (int((sides == 1).sum()), int((sides == 0).sum()))
    assert evaluated.cell.split == "xview"


def test_one_untrained_encoder_of_several_is_enough_to_refuse(pretrained_copy, skelbench):
    folder = pretrained_copy("crosclr")
    settings = json.loads((folder / "record.json").read_text())["settings"]
    torch.manual_seed(0)
    start = create_method(
        "crosclr", stream="all", backbone_args=settings["backbone"], num_frames=16, num_persons=1, **settings["method"]
    ).evaluation_state()
    path = snapshot_path(folder, 2)
    kept = read_tensors(path)
    write_tensors(path, {key: start[key] if key.startswith("encoder_q_bone.backbone") else kept[key] for key in kept})
    result = skelbench("evaluate", folder, "--dataset", "tiny", "--protocol", "knn", code=1)
    assert "equals its own initialisation" in result.stderr


def test_settings_of_an_evaluated_protocol_are_given_on_the_command_line(pretrained_copy, skelbench):
    folder = pretrained_copy("skeletonclr")
    words = ("evaluate", folder, "--dataset", "tiny", "--protocol", "knn,linear")
    skelbench(*words, "--set", "linear.epochs=3", "--set", "knn.k=3")
    made = [r for r in RunStore(folder.parent).records() if "evaluation" in (r.cell.label or "") and r.last]
    assert len(made) == 8, "two protocols of the encoder and of three floors"
    for record in made:
        settings = {"linear": {"epochs": 3}, "knn": {"k": 3}}[record.cell.protocol]
        ((name, value),) = settings.items()
        assert record.settings[record.cell.protocol][name] == value  # type: ignore[index, call-overload]
        assert record.cell.variant == "knn.k=3, linear.epochs=3", "one row of one table"
        assert "=" not in str(record.cell.label)
    command = next(str(r.environment["command"]) for r in made if r.cell.protocol == "linear")
    assert command.endswith("--protocol linear,knn --track equal --set linear.epochs=3 --set knn.k=3")
    before = {path.name for path in folder.parent.iterdir()}
    skelbench(*(folder if word == "RUN" else word for word in shlex.split(command)[1:]))
    assert {path.name for path in folder.parent.iterdir()} == before, "the command makes the same cells"
    for setting in ("epochs=5", "backbone.width=8", "fewshot.ways=2"):
        assert "is not a setting of knn, linear" in skelbench(*words, "--set", setting, code=2).stderr
    assert "There is no setting 'linear.epoch'" in skelbench(*words, "--set", "linear.epoch=5", code=2).stderr
    assert {path.name for path in folder.parent.iterdir()} == before
