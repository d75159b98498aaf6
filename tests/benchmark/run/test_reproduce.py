"""The same configuration, seed and machine give the same weights bit for bit, and a record can be run again."""

import json

import numpy as np
import pytest
import torch

from skelbench.benchmark.train.checkpoint import read_tensors
from skelbench.methods import METHODS
from skelbench.results.store import RunStore

TINY = {"frames": 8, "epochs": 1, "batch": 4, "backbone.width": 2, "backbone.dim": 8, "linear.epochs": 2}
SIZES = {"feature_dim": 8, "queue_size": 4, "window": [1, 2]}
TRAINABLE = [name for name in METHODS if METHODS[name].trainable]


def run(skelbench, method, out, *more):
    kind = METHODS[method].Config.model_fields
    settings = TINY | {f"method.{key}": value for key, value in SIZES.items() if key in kind}
    pairs = [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    place = ["--dataset", "tiny", "--out", out, "--device", "cpu"]
    skelbench("run", "--method", method, *place, "--protocol", "linear", *pairs, *more)


@pytest.mark.parametrize(
    "method",
    [name if name == "skeletonclr" else pytest.param(name, marks=pytest.mark.slow) for name in TRAINABLE],
)
def test_the_same_run_twice_gives_the_same_weights_bit_for_bit(method, store, skelbench, tmp_path):
    """`lives` in train/test_trainer.py compares two trainings of every method, here one goes through the command."""
    for folder in ("one", "two"):
        run(skelbench, method, tmp_path / folder)
    one, two = (next((tmp_path / folder).glob("*/encoder-0001.pt")) for folder in ("one", "two"))
    mine, theirs = read_tensors(one), read_tensors(two)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
    numbers = [[(r.identity, r.last, r.best) for r in RunStore(tmp_path / f).records()] for f in ("one", "two")]
    assert numbers[0] == numbers[1]


def records(runs):
    return sorted(runs.glob("*/record.json"), key=lambda path: "-pretrain-" in path.parent.name)


def test_a_record_is_run_again_and_found_equal_to_the_last_bit(store, skelbench, tmp_path):
    run(skelbench, "skeletonclr", tmp_path / "runs")
    for record in records(tmp_path / "runs"):
        output = skelbench("-q", "run", "--reproduce", record).output
        assert "Reproduced bit for bit" in output
        assert "= weights of the encoder" in output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "runs", "tiny.npz"]


def test_a_number_that_does_not_come_again_is_shown_beside_the_one_that_came(store, skelbench, tmp_path):
    run(skelbench, "skeletonclr", tmp_path / "runs")
    runs = RunStore(tmp_path / "runs")
    record = next(one for one in runs.records() if one.last)
    assert record.last is not None
    wrong = 50.0 if record.last.top1 != 50 else 25.0
    runs.write(record.model_copy(update={"last": record.last.model_copy(update={"top1": wrong})}))
    output = skelbench("-q", "run", "--reproduce", runs.folder(record.key), code=1).output
    line = next(line for line in output.splitlines() if "last top1" in line)
    assert line.startswith("!")
    assert line.split()[-3:] == [repr(wrong), "->", repr(record.last.top1)]


def test_a_record_of_other_data_or_another_version_is_not_run(store, skelbench, tmp_path, monkeypatch):
    run(skelbench, "skeletonclr", tmp_path / "runs")
    record = records(tmp_path / "runs")[0]
    with monkeypatch.context() as patch:
        patch.setattr(METHODS["skeletonclr"], "version", 99)
        assert "now 99" in " ".join(skelbench("run", "--reproduce", record, code=2).output.split())
    with np.load(tmp_path / "tiny.npz") as file:
        fields = dict(file)
    np.savez(tmp_path / "tiny.npz", **fields | {"keypoints": fields["keypoints"] + 1})
    skelbench("prepare", "arrays", "--from", tmp_path / "tiny.npz", "--name", "tiny", "--force")
    assert "fingerprint" in skelbench("run", "--reproduce", record, code=2).output


def test_deterministic_algorithms_are_asked_for_and_recorded_and_change_no_identity(store, skelbench, tmp_path):
    try:
        run(skelbench, "skeletonclr", tmp_path / "one", "--deterministic")
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    run(skelbench, "skeletonclr", tmp_path / "two")
    one, two = (RunStore(tmp_path / folder).records() for folder in ("one", "two"))
    assert [record.environment.get("deterministic") for record in one] == [True, True]
    assert [record.environment.get("deterministic") for record in two] == [None, None]
    assert [record.identity for record in one] == [record.identity for record in two]
