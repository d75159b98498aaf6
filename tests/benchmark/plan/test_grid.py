"""Grids from plan to records: what is written, skipped, done again, and what a failure leaves."""

import csv
import json
import threading
from dataclasses import replace
from importlib import resources
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from skelbench.backbones import create_backbone
from skelbench.benchmark.forecast import cells
from skelbench.benchmark.plan.grid import Grid, presets, read_grid, read_preset
from skelbench.benchmark.plan.identity import Pretraining
from skelbench.benchmark.plan.overrides import check_owners
from skelbench.benchmark.plan.planner import Plan, plan_grid
from skelbench.benchmark.protocols import PROTOCOLS
from skelbench.benchmark.protocols.features import extract
from skelbench.benchmark.protocols.knn import vote
from skelbench.benchmark.run.evaluation import Evaluation
from skelbench.benchmark.run.record import flops_per_clip
from skelbench.benchmark.run.runner import Runner
from skelbench.benchmark.run.tasks import tasks_of
from skelbench.benchmark.train.checkpoint import write_tensors
from skelbench.benchmark.train.options import Options, StoppedError
from skelbench.benchmark.train.trainer import Trainer, snapshot_path
from skelbench.config import parse_pairs
from skelbench.datasets import prepare
from skelbench.datasets.clips import load_dataset
from skelbench.errors import SkelbenchError
from skelbench.methods import METHODS, create_method
from skelbench.results.files import read_scores
from skelbench.results.record import MAX_BYTES, Key
from skelbench.results.store import RunStore

TRAINABLE = [name for name in METHODS if METHODS[name].trainable]


def planned(**changes) -> list[Pretraining]:
    values = {"datasets": ("tiny",), "set": {"epochs": 2, "batch": 4, "frames": 16, "method.window": [1, 2]}} | changes
    return [task for task, _ in plan_grid(Grid(**values)).tasks]


def record_of(runs, method, protocol, seed=0):
    (found,) = [
        r for r in RunStore(runs).records() if (r.cell.method, r.cell.protocol, r.cell.seed) == (method, protocol, seed)
    ]
    return found, RunStore(runs).folder(found.key)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def not_again(*_, **__):
    pytest.fail("it ran again")


# --- The plan ---------------------------------------------------------------------------------------------------


def test_a_plan_has_every_combination_once_with_floors_first(store):
    tasks = planned(splits=("xsub", "xview"), streams=("joint", "bone"), seeds=(0, 4), floor_seeds=(0, 1, 2))
    places = [(t.cell.method, t.cell.split, t.cell.stream, t.cell.seed) for t in tasks]
    seeds = {name: (0, 4) if name in TRAINABLE else (0, 1, 2) for name in ("untrained", "skeletonclr", "skeattnclr")}
    expected = {(m, s, t, n) for m in seeds for s in ("xsub", "xview") for t in ("joint", "bone") for n in seeds[m]}
    assert set(places) == expected
    assert len(places) == len(expected)
    assert len({task.identity for task in tasks}) == len(tasks)
    for start in range(0, len(places), 7):
        assert [place[0] for place in places[start : start + 3]] == ["untrained"] * 3


def test_a_grid_file_is_read_and_named_after_itself(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("methods: [skeletonclr]\nseeds: [0, 1]\nset: {epochs: 3, method.window: [1, 2]}\n")
    grid = read_grid(path)
    assert grid == Grid(name="mine", methods=("skeletonclr",), seeds=(0, 1), set={"epochs": 3, "method.window": [1, 2]})
    assert (grid.track, grid.protocols, grid.splits) == ("equal", ("knn", "linear"), ("xsub",))


@pytest.mark.parametrize("name", presets())
def test_every_preset_can_be_read_and_names_what_there_is(name):
    grid = read_preset(name)
    assert grid.name == name
    for part in grid.split():
        assert all(method in METHODS for method in part.methods)
        assert all(protocol in PROTOCOLS for protocol in part.protocols)
        check_owners(part.set, part.methods, part.backbones)


def test_a_preset_begins_with_its_command():
    for name in presets():
        text = (resources.files("skelbench.benchmark") / "presets" / f"{name}.yaml").read_text()
        assert f"--preset {name}" in text.splitlines()[0]


def test_a_part_of_a_grid_has_the_rest_from_the_whole():
    whole = Grid(
        name="mine",
        methods=("skeletonclr",),
        set={"epochs": 3},
        parts=({"datasets": ["a"]}, {"name": "b", "set": {"lr": 1}}),
    )
    first, second = whole.split()
    assert (first.name, first.datasets, first.methods, first.set) == ("mine", ("a",), ("skeletonclr",), {"epochs": 3})
    assert (second.name, second.datasets, second.set) == ("b", ("synthetic",), {"epochs": 3, "lr": 1})
    assert Grid(name="mine").split() == [Grid(name="mine")]


@pytest.mark.parametrize("part", ["{colour: red}", "{parts: []}", "{also: {lr: 1}}", "3"])
def test_a_wrong_part_is_refused_when_the_file_is_read(tmp_path, part):
    (tmp_path / "mine.yaml").write_text(f"parts: [{part}]\n")
    with pytest.raises(SkelbenchError):
        read_grid(tmp_path / "mine.yaml")


def test_every_part_is_run_and_the_command_line_wins_over_all(store, skelbench, tmp_path):
    (tmp_path / "mine.yaml").write_text("parts:\n  - {name: one, set: {lr: 0.1}}\n  - {name: two, datasets: [other]}\n")
    plan = skelbench(
        "grid",
        tmp_path / "mine.yaml",
        "--datasets",
        "tiny",
        "--methods",
        "skeletonclr",
        "--set",
        "batch=4",
        "--dry-run",
    )
    assert "(custom: one, batch=4)" in plan.stdout and "(custom: two, batch=4)" in plan.stdout
    assert "tiny" in plan.stdout and "other" not in plan.stdout


def test_overrides_are_read_as_yaml_and_small_numbers_as_numbers():
    pairs = ["epochs=3", "lr=1e-4", "linear.lr_steps=[1, 2]", "linear.standardise=false", "backbone.graph=hop", "a=b=c"]
    assert parse_pairs(pairs) == {
        "epochs": 3,
        "lr": 1e-4,
        "linear.lr_steps": [1, 2],
        "linear.standardise": False,
        "backbone.graph": "hop",
        "a": "b=c",
    }


@pytest.mark.parametrize("pair", ["epochs", "=3", "epochs=[1"])
def test_an_override_that_cannot_be_read_is_one_clear_sentence(pair):
    with pytest.raises(SkelbenchError, match=r"not a setting; write key=value|cannot be read") as caught:
        parse_pairs([pair])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "setting", [{"backbone.width": "wide"}, {"backbone.width": -4}, {"backbone.graph": "ring"}, {"backbone.dropout": 2}]
)
def test_a_backbone_that_cannot_be_made_is_told_before_anything_runs(store, setting):
    with pytest.raises(SkelbenchError):
        planned(set={"batch": 4} | setting)


def test_a_constructor_that_reads_its_own_tensors_is_tried_in_earnest(store, monkeypatch):
    made, init = [], METHODS["untrained"].__init__

    def reading(self, *arguments):
        made.append(torch.ones(2).sum().item())  # a meta tensor has no values to read
        init(self, *arguments)

    monkeypatch.setattr(METHODS["untrained"], "__init__", reading)
    state = torch.get_rng_state()
    assert len(planned(methods=("untrained",))) == 3
    assert made == [2.0], "once for three seeds"
    assert torch.equal(torch.get_rng_state(), state)


def test_a_method_that_cannot_be_made_is_one_sentence(store, monkeypatch):
    monkeypatch.setattr(METHODS["untrained"], "__init__", lambda *_: 1 / 0)
    with pytest.raises(SkelbenchError, match=r"The method 'untrained' cannot be built with .*division by zero"):
        planned(methods=("untrained",))


def test_names_and_seeds_of_a_grid_count_once(store, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("methods: [untrained, untrained]\nprotocols: [knn, knn]\nfloor_seeds: [1, 0, 1]\n")
    grid = read_grid(path)
    assert (grid.methods, grid.protocols, grid.floor_seeds) == (("untrained",), ("knn",), (1, 0))


# --- Pairs that refuse each other -------------------------------------------------------------------------------


PAIRS = {"methods": ["skeletonclr", "skelemixclr"], "backbones": ["stgcn", "bigru"], "protocols": ["knn"]}
REASON = "SkeleMixCLR masks features by time and joint, which the backbone 'bigru' does not keep apart"


def test_a_refused_pair_is_left_out_told_once_and_shown_as_such(store, grid_file, skelbench, tmp_path):
    grid = ("grid", grid_file(**PAIRS, seeds=[0, 1]), "--out", tmp_path / "runs", "--set", "backbone.hidden=8")
    result = skelbench(*grid)
    refusals = [line for line in result.stderr.splitlines() if line.startswith("n/a:")]
    assert len(refusals) == 1
    assert refusals[0].startswith(f"n/a: skelemixclr on bigru: {REASON}")
    records = RunStore(tmp_path / "runs").records()
    pairs = {(r.cell.method, r.cell.backbone) for r in records}
    methods = ("untrained", "skeletonclr", "skelemixclr")
    assert pairs == {(m, b) for m in methods for b in ("stgcn", "bigru")} - {("skelemixclr", "bigru")}
    assert not RunStore(tmp_path / "runs").failures()
    assert ["skelemixclr", "bigru", "n/a"] in [line.split() for line in result.stdout.splitlines()]
    assert f"n/a: {REASON}" in " ".join(result.stdout.split())
    assert "n/a" not in skelbench("table", "--out", tmp_path / "runs").stdout, "stored runs know nothing of it"
    plan = skelbench(*grid, "--dry-run").stdout
    assert "skelemixclr bigru" not in plan and "to do" not in plan


def test_a_refused_pair_that_was_asked_for_by_itself_is_an_error(store, skelbench, tmp_path):
    asked = ("run", "--method", "skelemixclr", "--backbone", "bigru", "--dataset", "tiny", "--set", "batch=4")
    result = skelbench(*asked, "--out", tmp_path / "runs", code=2)
    assert result.stderr.startswith(f"Error: {REASON}")
    assert not (tmp_path / "runs").exists()


def test_a_setting_that_does_not_fit_is_an_error_although_another_pair_is_refused(store, grid_file, skelbench):
    result = skelbench("grid", grid_file(**PAIRS), "--set", "backbone.hidden=-1", code=2)
    assert "A BiGRU cannot have 3 layers of -1 units" in result.stderr


# --- What a grid leaves -----------------------------------------------------------------------------------------


def test_a_grid_leaves_a_record_for_every_cell(finished):
    records = RunStore(finished).records()
    cells = [(r.cell.method, r.cell.protocol, r.cell.seed) for r in records]
    seeds = {"untrained": (0, 1, 2)} | {name: (0,) for name in TRAINABLE}
    expected = {(m, p, s) for m in seeds for s in seeds[m] for p in ("pretrain", "knn", "linear")}
    assert sorted(cells) == sorted(expected)
    assert not list(finished.rglob("*.tmp"))
    assert {(r.cell.track, r.cell.label) for r in records} == {("custom", "tiny")}


def test_a_record_says_what_was_run_on_what(finished):
    for record in RunStore(finished).records():
        folder = RunStore(finished).folder(record.key)
        assert len((folder / "record.json").read_bytes()) <= MAX_BYTES == 4096
        assert (record.data["train"], record.data["test"], record.data["classes"]) == (12, 12, 3)
        trained = record.cell.method in TRAINABLE
        assert record.model["epochs"] == (2 if trained else 0)
        assert (record.model["width"], record.model["frames"], record.model["persons"]) == (4, 16, 1)
        assert record.environment["device"] == "cpu"
        assert record.settings["frames"] == 16
        if record.cell.protocol == "pretrain":
            assert record.last is record.best is record.pretrain is None
            assert ((record.cost["clips_per_second"] or 0) > 0) == trained
        else:
            pretrained, _ = record_of(finished, record.cell.method, "pretrain", record.cell.seed)
            assert record.pretrain == pretrained.identity
            assert record.last is not None and record.last.top5 is None
            assert record.best is not None and "held out" in record.best.rule


def own_backbone(name):
    """The backbone that a method has in the tiny grid."""
    method = METHODS[name]
    return create_backbone("stgcn", num_persons=1, **method.backbone_args(method.Config(), {"width": 4, "dim": 16}))


def test_the_parameters_counted_are_the_encoders(finished):
    for record in RunStore(finished).records():
        backbone = own_backbone(record.cell.method)
        assert record.model["parameters"] == sum(p.numel() for p in backbone.parameters())


def test_the_files_beside_a_record_agree_with_it_and_with_the_data(finished):
    _, test = load_dataset("tiny", "xsub", frames=16)
    truth = dict(zip(test.name, test.label.tolist(), strict=True))
    for method in ("untrained", *TRAINABLE):
        for protocol in ("knn", "linear"):
            record, folder = record_of(finished, method, protocol)
            names, labels, scores = read_scores(folder / record.files["scores"])
            assert dict(zip(names.tolist(), labels.tolist(), strict=True)) == truth
            right = scores.argmax(axis=1) == labels
            assert record.last is not None
            assert record.last.top1 == pytest.approx(100 * right.mean())
            confusion = rows(folder / record.files["confusion"])
            assert [row["true"] for row in confusion] == list(test.class_names)
            for c, row in enumerate(confusion):
                counts = [int(row[name]) for name in test.class_names]
                assert counts == np.bincount(scores.argmax(axis=1)[labels == c], minlength=3).tolist()
            for c, row in enumerate(rows(folder / record.files["per_class"])):
                assert float(row["top1"]) == pytest.approx(100 * right[labels == c].mean())
                assert int(row["clips"]) == (labels == c).sum()


@pytest.mark.parametrize("method", ["untrained", *TRAINABLE])
def test_the_recorded_accuracy_is_the_one_computed_by_hand_from_the_kept_encoder(finished, method):
    record, _ = record_of(finished, method, "knn")
    pretrained, folder = record_of(finished, method, "pretrain")
    train, test = load_dataset("tiny", "xsub", frames=16)
    backbone = own_backbone(method)
    state = torch.load(folder / f"encoder-{pretrained.model['epochs']:04d}.pt", weights_only=True)
    prefix = "encoder_q.backbone."
    backbone.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    backbone.eval()
    with torch.no_grad():
        bank, queries = (backbone(side.x).mean(dim=(1, 2, 3)) for side in (train, test))
    scores = vote(bank, train.label, queries, k=10, temperature=0.1, classes=3)
    right = (scores.argmax(1) == test.label).double().mean().item()
    assert record.last is not None
    assert record.last.top1 == pytest.approx(100 * right)


def test_the_curves_have_a_row_for_every_epoch(finished):
    for method in TRAINABLE:
        record, folder = record_of(finished, method, "pretrain")
        trained = rows(folder / record.files["curve"])
        assert [row["epoch"] for row in trained] == ["1", "2"]
        assert all(float(row["loss"]) > 0 for row in trained)
        record, folder = record_of(finished, method, "linear")
        evaluated = rows(folder / record.files["curve"])
        assert [row["epoch"] for row in evaluated] == ["1", "2"]
        assert record.last is not None
        assert float(evaluated[-1]["test_top1"]) == pytest.approx(record.last.top1)
        assert record.settled == "unknown"  # two epochs
    assert record_of(finished, "untrained", "linear")[0].settled is None


def test_running_never_changes_the_data(store, grid_file, skelbench, tmp_path, tree):
    before = tree(tmp_path / "data")
    skelbench("grid", grid_file(methods=["skeattnclr"]), "--out", tmp_path / "runs", "--seeds", "3")
    assert tree(tmp_path / "data") == before
    assert len(before) == 3


# --- Again ------------------------------------------------------------------------------------------------------


def test_the_same_grid_again_skips_everything(finished, grid_file, skelbench, monkeypatch, tree):
    before = tree(finished)
    monkeypatch.setattr(Trainer, "train", not_again)
    monkeypatch.setattr("skelbench.benchmark.run.evaluation.run_protocol", not_again)
    monkeypatch.setattr("skelbench.benchmark.run.runner.load_dataset", not_again)
    again = skelbench("grid", grid_file(), "--out", finished)
    assert tree(finished) == before
    assert again.stderr.count("done before") == 3 + len(TRAINABLE)
    assert "skeattnclr" in again.stdout


def test_other_ways_to_run_find_the_same_records(finished, grid_file, skelbench, monkeypatch):
    monkeypatch.setattr(Trainer, "train", not_again)
    skelbench("--quiet", "grid", grid_file(), "--out", finished, "--checkpoint-every", 0, "--device", "cpu")


def test_a_grid_that_grew_runs_only_what_is_new(finished_copy, grid_file, skelbench, monkeypatch):
    ran, train = [], Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda self: (ran.append(self.key.cell.seed), train(self))[1])
    skelbench("grid", grid_file(methods=["skeattnclr"], protocols=["knn"]), "--out", finished_copy, "--seeds", "0,7")
    assert ran == [7]


def test_an_evaluation_that_is_missing_is_made_from_the_kept_encoders(
    finished_copy, grid_file, skelbench, monkeypatch, tree
):
    record, folder = record_of(finished_copy, "skeletonclr", "linear")
    (folder / "record.json").unlink()
    before = tree(finished_copy)
    monkeypatch.setattr(Trainer, "train", not_again)
    skelbench("grid", grid_file(), "--out", finished_copy)
    again, _ = record_of(finished_copy, "skeletonclr", "linear")
    assert (again.last, again.best, again.identity) == (record.last, record.best, record.identity)
    after = tree(finished_copy)
    changed = {name for name in after if after[name] != before.get(name)}
    assert {name for name in changed if not name.startswith((".claims/", ".plans/"))} == {f"{folder.name}/record.json"}


def test_force_runs_what_is_done_again_to_the_same_numbers(finished_copy, grid_file, skelbench, monkeypatch):
    before, folder = record_of(finished_copy, "skeattnclr", "linear")
    scores = read_scores(folder / "scores.npz")[2]
    ran, train = [], Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda self: (ran.append(self.run.epoch), train(self))[1])
    steps, step = [], Trainer.take_step
    monkeypatch.setattr(Trainer, "take_step", lambda self: (steps.append(1), step(self))[1])
    skelbench("grid", grid_file(methods=["skeattnclr"]), "--out", finished_copy, "--force")
    after, _ = record_of(finished_copy, "skeattnclr", "linear")
    assert ran == [1]
    assert len(steps) == 6, "from the beginning, not from the finished_copy checkpoint"
    assert after.last == before.last
    np.testing.assert_array_equal(read_scores(folder / "scores.npz")[2], scores)


def test_a_dry_run_tells_what_is_done_and_writes_nothing(finished, grid_file, skelbench, monkeypatch, tree, tmp_path):
    monkeypatch.setattr(Runner, "perform", not_again)
    monkeypatch.setattr(cells, "forecast_cells", lambda *_: [])  # tests of the forecast trace what takes seconds here
    before = tree(finished)
    plan = skelbench("grid", grid_file(), "--out", finished, "--seeds", "0,5", "--dry-run").stdout
    *lines, hours = plan.splitlines()
    assert "cells left" in hours and "without" not in hours
    assert tree(finished) == before
    assert {line.rsplit(": ", 1)[1].split("; ")[0] for line in lines if "seed 5" in line} == {"to do"}
    assert {line.rsplit(": ", 1)[1] for line in lines if "seed 0" in line} == {"done"}
    assert len(lines) == 3 * (4 + 2 * len(TRAINABLE)), "floors of seeds 0, 1, 2 and 5, methods of two seeds"
    skelbench("grid", grid_file(), "--out", tmp_path / "new", "--dry-run")
    assert not (tmp_path / "new").exists()


# --- Failing ----------------------------------------------------------------------------------------------------


def test_a_failing_cell_is_recorded_the_rest_goes_on_and_a_later_success_clears_it(
    store, grid_file, skelbench, tmp_path, monkeypatch
):
    methods = ["untrained", "skeletonclr", "skeattnclr"]
    out, file = tmp_path / "runs", grid_file(methods=methods, protocols=["knn"])
    with monkeypatch.context() as patch:
        patch.setattr(METHODS["skeletonclr"], "loss", lambda *a, **k: 1 / 0)
        result = skelbench("grid", file, "--out", out, code=1)
    (failure,) = RunStore(out).failures()
    assert (failure.cell.method, failure.cell.protocol) == ("skeletonclr", "pretrain")
    assert failure.reason == "ZeroDivisionError: division by zero"
    assert "in take_step" in failure.traceback
    assert result.stderr.splitlines()[-2:] == [
        "1 cells failed:",
        f"  {failure.cell}: ZeroDivisionError: division by zero",
    ]
    assert "Traceback" not in result.output
    assert {r.cell.method for r in RunStore(out).records()} == {"untrained", "skeattnclr"}
    assert "skeattnclr" in result.stdout
    assert "FAILED: ZeroDivisionError" in skelbench("ls", "cells", "--out", out).stdout
    skelbench("grid", file, "--out", out)
    assert RunStore(out).failures() == []
    assert {r.cell.method for r in RunStore(out).records()} == {"untrained", "skeletonclr", "skeattnclr"}


def test_a_loss_that_is_no_number_fails_its_cell(store, tiny_run, skelbench, tmp_path):
    result = skelbench(*tiny_run, "--method", "skeletonclr", "--set", "lr=1e30", code=1)
    (failure,) = RunStore(tmp_path / "runs").failures()
    assert failure.reason.startswith("The loss is NaN or infinite in epoch")
    assert RunStore(tmp_path / "runs").records() == []
    assert "The loss is NaN or infinite" in result.stderr


def test_a_method_that_does_not_fit_the_clips_is_told_before_anything_runs(store, grid_file, skelbench, tmp_path):
    file = grid_file(methods=["skeletonclr", "skeattnclr"], protocols=["knn"])
    result = skelbench("grid", file, "--out", tmp_path / "runs", "--set", "method.window=[5, 6]", code=2)
    assert "a clip of 16 frames has 4" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_one_training_of_crosclr_serves_the_evaluations_of_every_stream(
    store, grid_file, skelbench, tmp_path, monkeypatch
):
    trained, train = [], Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda self: (trained.append(self.method.stream), train(self))[1])
    file = grid_file(methods=["crosclr"], protocols=["knn"], streams=["joint", "bone", "motion"])
    skelbench("grid", file, "--out", tmp_path / "runs", "--no-floor")
    assert trained == ["all"]
    records = RunStore(tmp_path / "runs").records()
    (pretrained,) = [r for r in records if r.cell.protocol == "pretrain"]
    evaluated = {r.cell.stream: r for r in records if r.cell.protocol == "knn"}
    assert set(evaluated) == {"joint", "bone", "motion"}
    assert {r.pretrain for r in evaluated.values()} == {pretrained.identity}
    scores = {
        stream: read_scores(RunStore(tmp_path / "runs").folder(r.key) / r.files["scores"])[2].tobytes()
        for stream, r in evaluated.items()
    }
    assert len(set(scores.values())) == 3, "each stream has its own encoder"


def test_a_grid_without_a_floor_gets_one_unless_asked_not_to(store, grid_file, skelbench, tmp_path):
    file = grid_file(methods=["skeletonclr"], protocols=["knn"])
    alone = skelbench("grid", file, "--out", tmp_path / "runs", "--no-floor", "--dry-run").stdout
    assert "untrained" not in alone
    table = skelbench("grid", file, "--out", tmp_path / "runs").stdout
    assert "untrained (floor)" in table
    assert {r.cell.seed for r in RunStore(tmp_path / "runs").records() if r.cell.method == "untrained"} == {0, 1, 2}


def test_a_damaged_record_of_another_grid_does_not_matter(finished_copy, grid_file, skelbench):
    _, foreign = record_of(finished_copy, "untrained", "knn")
    (foreign / "record.json").write_text("{")
    assert (
        "skeletonclr"
        in skelbench("grid", grid_file(methods=["skeletonclr"]), "--out", finished_copy, "--no-floor").stdout
    )


def test_a_damaged_record_of_this_grid_is_told_before_anything_runs(
    finished_copy, grid_file, skelbench, monkeypatch, tree
):
    _, last = record_of(finished_copy, "skeletonclr", "linear")
    _, first = record_of(finished_copy, "untrained", "knn")
    (last / "record.json").write_text("{")
    (first / "record.json").unlink()
    before = tree(finished_copy)
    monkeypatch.setattr(Runner, "perform", not_again)
    assert "record.json cannot be read" in skelbench("grid", grid_file(), "--out", finished_copy, code=2).stderr
    assert tree(finished_copy) == before


def test_a_pre_training_is_shared_by_all_labels_and_forced_once(store, tmp_path, monkeypatch):
    settings = {"frames": 16, "epochs": 1, "batch": 4, "backbone.width": 4, "backbone.dim": 16}
    ((task, opened),) = plan_grid(
        Grid(methods=("skeletonclr",), datasets=("tiny",), protocols=("knn",), set=settings)
    ).tasks
    relabelled = {"label": "other"}
    other = replace(
        task,
        key=task.key._replace(cell=task.cell.model_copy(update=relabelled)),
        evaluations=tuple(Key(cell.model_copy(update=relabelled), "f" * 32) for cell, _ in task.evaluations),
    )
    tasks = tasks_of(Plan(tasks=[(task, opened), (other, opened)]))
    runs, trained, train = RunStore(tmp_path / "runs"), [], Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda self: (trained.append(self.key.identity), train(self))[1])
    for force in (False, True):
        trained.clear()
        runner = Runner(runs, Options(force=force))
        assert [runner.perform(one).failures for one in tasks] == [(), ()]
        assert trained == [task.identity]
    scores = [r.last for r in runs.records() if r.cell.protocol == "knn"]
    assert len(scores) == 2 and scores[0] == scores[1]


def test_a_store_that_is_damaged_is_told_as_such_before_its_clips_are_read(store, tiny_run, skelbench):
    keypoints = np.load(store.path / "keypoints.npy", mmap_mode="r+")
    keypoints[:20] = 0
    keypoints.flush()
    result = skelbench(*tiny_run, "--method", "skeletonclr", code=1)
    assert "keypoints.npy does not match its checksum" in result.stderr


def test_what_was_carried_without_its_encoder_is_trained_again_where_an_evaluation_needs_it(
    finished, grid_file, skelbench, tmp_path
):
    skelbench("results", "export", tmp_path / "some.zip", "--out", finished)
    skelbench("results", "import", tmp_path / "some.zip", "--out", tmp_path / "there")
    result = skelbench("grid", grid_file(), "--out", tmp_path / "there")
    assert "trained again" not in result.stderr, "nothing is missing"
    record, linear = record_of(tmp_path / "there", "skeletonclr", "linear")
    (linear / "record.json").unlink()
    result = skelbench("grid", grid_file(), "--out", tmp_path / "there")
    assert result.stderr.count("its record is here but its encoder is missing, so it is trained again") == 1
    again, _ = record_of(tmp_path / "there", "skeletonclr", "linear")
    assert again.last == record.last
    _, ours = record_of(tmp_path / "there", "skeletonclr", "pretrain")
    _, theirs = record_of(finished, "skeletonclr", "pretrain")
    assert (ours / "encoder-0002.pt").read_bytes() == (theirs / "encoder-0002.pt").read_bytes()


def test_a_lost_encoder_is_taken_from_the_checkpoint(finished_copy, grid_file, skelbench, monkeypatch):
    _, trained = record_of(finished_copy, "skeletonclr", "pretrain")
    _, linear = record_of(finished_copy, "skeletonclr", "linear")
    before = (trained / "encoder-0002.pt").read_bytes()
    (trained / "encoder-0002.pt").unlink()
    (linear / "record.json").unlink()
    monkeypatch.setattr(Trainer, "take_step", lambda self: pytest.fail("nothing has to be trained"))
    skelbench("grid", grid_file(), "--out", finished_copy)
    assert (trained / "encoder-0002.pt").read_bytes() == before


def test_an_encoder_lost_on_the_way_fails_the_evaluations_that_need_it(finished_copy, grid_file, skelbench):
    _, trained = record_of(finished_copy, "skeletonclr", "pretrain")
    _, linear = record_of(finished_copy, "skeletonclr", "linear")
    (trained / "encoder-0001.pt").unlink()
    (linear / "record.json").unlink()
    skelbench("grid", grid_file(), "--out", finished_copy, code=1)
    (failure,) = RunStore(finished_copy).failures()
    assert (failure.cell.method, failure.cell.protocol) == ("skeletonclr", "linear")
    assert "encoder-0001.pt is missing" in failure.reason


def test_features_that_are_no_numbers_fail_the_evaluations_and_not_the_pre_training(
    store, tiny_run, skelbench, tmp_path, monkeypatch
):
    monkeypatch.setattr(METHODS["untrained"], "features", lambda self, x: x.flatten(1) * float("nan"))
    skelbench(*tiny_run, "--method", "untrained", code=1)
    runs = RunStore(tmp_path / "runs")
    assert [record.cell.protocol for record in runs.records()] == ["pretrain"]
    assert [failure.cell.protocol for failure in runs.failures()] == ["knn", "linear"]
    assert all("NaN or infinite features" in failure.reason for failure in runs.failures())


def test_a_damaged_checkpoint_fails_its_cell_with_the_way_out(store, grid_file, skelbench, tmp_path):
    file = grid_file(methods=["skeattnclr"], protocols=["knn"])
    skelbench("grid", file, "--out", tmp_path / "runs")
    _, folder = record_of(tmp_path / "runs", "skeattnclr", "pretrain")
    (folder / "record.json").unlink()
    (folder / "checkpoint.pt").write_bytes(b"not a checkpoint")
    result = skelbench("grid", file, "--out", tmp_path / "runs", code=1)
    assert "checkpoint.pt cannot be read" in result.stderr
    assert "delete it and run its cell again" in result.stderr
    (folder / "checkpoint.pt").unlink()
    skelbench("grid", file, "--out", tmp_path / "runs")


def test_a_store_that_was_changed_since_is_not_trained_on(store, tiny_run, skelbench, tmp_path):
    path = store.path / "keypoints.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    result = skelbench(*tiny_run, "--method", "skeletonclr", code=1)
    assert "keypoints.npy does not match its checksum" in result.stderr
    assert RunStore(tmp_path / "runs").records() == []


# --- Corners ----------------------------------------------------------------------------------------------------


def test_asked_to_stop_before_a_task_nothing_is_begun(store, tmp_path):
    stop = threading.Event()
    stop.set()
    task, *_ = tasks_of(plan_grid(Grid(methods=("untrained",), datasets=("tiny",), set={"frames": 16})))
    with pytest.raises(StoppedError):
        Runner(RunStore(tmp_path / "runs"), Options(stop=stop)).perform(task)
    assert not (tmp_path / "runs").exists()


def test_an_encoder_that_equals_its_initialisation_is_not_evaluated(store, tiny_run, skelbench, tmp_path):
    result = skelbench(*tiny_run, "--method", "skeletonclr", "--protocol", "knn", "--set", "epochs=0", code=1)
    assert "equals its own initialisation" in result.output
    assert not [r for r in RunStore(tmp_path / "runs").records() if r.cell.protocol == "knn"]


def test_a_snapshot_put_back_to_the_start_is_not_evaluated(store, tiny_run, skelbench, tmp_path):
    skelbench(*tiny_run, "--method", "skeletonclr", "--protocol", "knn")
    record, folder = record_of(tmp_path / "runs", "skeletonclr", "pretrain")
    torch.manual_seed(record.cell.seed)
    settings: Any = record.settings
    args = {"backbone_args": settings["backbone"], "num_frames": 16, "num_persons": 1}
    write_tensors(
        snapshot_path(folder, 2), create_method("skeletonclr", **args, **settings["method"]).evaluation_state()
    )
    result = skelbench(*tiny_run, "--method", "skeletonclr", "--protocol", "linear", code=1)
    assert "equals its own initialisation" in result.output


def test_snapshots_after_the_last_epoch_are_not_waited_for(store, tiny_run, skelbench, tmp_path):
    skelbench(*tiny_run, "--method", "skeletonclr", "--protocol", "knn", "--set", "snapshots=[1, 50]")
    record, folder = record_of(tmp_path / "runs", "skeletonclr", "knn")
    assert [row["epoch"] for row in rows(folder / record.files["curve"])] == ["1", "2"]


def test_fewer_clips_are_the_same_for_all_and_counted(store, tiny_run, skelbench, tmp_path):
    skelbench(*tiny_run, "--method", "untrained", "--protocol", "knn", "--set", "clips=16")
    record, folder = record_of(tmp_path / "runs", "untrained", "knn")
    assert (record.data["train"], record.data["test"]) == (8, 8)
    assert len(read_scores(folder / "scores.npz")[0]) == 8


@pytest.mark.parametrize("name", ["untrained", *TRAINABLE])
def test_evaluating_leaves_weights_and_batch_norm_statistics_as_they_are(clips, name):
    config: dict[str, Any] = {"window": (1, 2)} if "window" in METHODS[name].Config.model_fields else {}
    method = create_method(name, backbone_args={"width": 4, "dim": 16}, num_frames=16, num_persons=1, **config).eval()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    assert any("running_mean" in key for key in before)
    first = extract(method.features, clips[1])
    flops_per_clip(method, clips[1])
    again = extract(method.features, clips[1])
    assert torch.equal(first.x, again.x), "no dropout, no batch statistics"
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


def test_flops_grow_with_the_width_as_they_must(clips):
    counts = []
    for width in (4, 8):
        method = create_method("untrained", backbone_args={"width": width, "dim": 4 * width}, num_persons=1)
        counts.append(flops_per_clip(method, clips[1]))
    assert 3 < counts[1] / counts[0] < 4, "nearly quadratic"


@pytest.mark.full_depth
def test_flops_are_those_of_the_network_as_written(clips):
    """Sums over neighbours, 1×1 and 9×1 convolutions and shortcuts of one person, counted by hand."""
    method = create_method("untrained", backbone_args={"width": 4, "dim": 24}, num_persons=1)
    frames, joints = clips[1].x.shape[2:4]
    expected, sizes = 0, (3, 4, 4, 4, 4, 8, 8, 8, 16, 16, 24)
    for block, (inputs, outputs) in enumerate(pairwise(sizes)):
        stride = 2 if block in (4, 7) else 1
        places, later = frames * joints, frames // stride * joints
        expected += 2 * places * 3 * joints * inputs + 2 * places * 3 * inputs * outputs + 2 * joints * 3 * outputs
        expected += 2 * later * 9 * outputs**2 + (2 * later * inputs * outputs if inputs != outputs > 4 else 0)
        frames //= stride
    assert flops_per_clip(method, clips[1]) == expected


def test_a_snapshot_of_another_width_is_one_clear_error(clips, tmp_path):
    narrow, wide = (create_method("untrained", backbone_args={"width": w, "dim": 16}) for w in (4, 8))
    with pytest.raises(SkelbenchError, match="The saved encoder does not fit this method"):
        wide.load_evaluation_state(narrow.evaluation_state())
    assert snapshot_path(tmp_path, 7).name == "encoder-0007.pt"


def test_records_are_plain_json(finished):
    for path in finished.rglob("record.json"):
        assert json.loads(path.read_text())["format"] == 1


def test_a_floor_stands_with_all_methods_in_one_table(arrays, tmp_path):
    np.savez(tmp_path / "more.npz", **arrays(repetitions=11))  # 66 training clips: a batch of the equal track fits
    prepare("arrays", tmp_path / "more.npz", "more")
    tasks = planned(datasets=("more",), set={}, also={"method.mu": 1.0})
    (label,) = {task.cell.label for task in tasks}
    assert label is not None
    variants = {name: {t.cell.variant for t in tasks if t.cell.method == name} for name in METHODS}
    assert variants["skeletonclr"] == {None}, "it has no mu"
    assert variants["skeattnclr"] == {"method.mu=1.0"}
    assert variants["untrained"] == {None}
    assert len(tasks) == 3 + 1 + 1


SMALL = {"frames": 16, "epochs": 1, "batch": 4, "backbone.width": 4, "backbone.dim": 16}


# --- Forced -----------------------------------------------------------------------------------------------------


def test_forced_and_stopped_nothing_of_the_old_encoder_is_left(store, grid_file, skelbench, tmp_path, monkeypatch):
    """One pre-training is evaluated on three streams: all of them and their fusion are made from the new encoder."""
    file = grid_file(methods=["crosclr"], streams=["3s"], protocols=["knn"], set=SMALL)
    run = ["grid", file, "--out", tmp_path / "runs", "--device", "cpu", "--no-floor"]
    skelbench(*run)
    evaluate = Evaluation.evaluate

    def stopped_after_one(self, key, claim):
        if key.cell.stream != "joint":
            raise StoppedError
        return evaluate(self, key, claim)

    with monkeypatch.context() as patch:
        patch.setattr(Evaluation, "evaluate", stopped_after_one)
        skelbench(*run, "--force", code=None)
    left = {(record.cell.protocol, record.cell.stream) for record in RunStore(tmp_path / "runs").records()}
    assert left == {("pretrain", "all"), ("knn", "joint")}


def test_forced_on_damaged_data_every_old_record_stays(store, grid_file, skelbench, tmp_path):
    changes = {"streams": ["joint"], "splits": ["xview"], "pretrained_on": "tiny:xsub", "protocols": ["knn"]}
    file = grid_file(methods=["skeletonclr"], set=SMALL, **changes)
    run = ["grid", file, "--out", tmp_path / "runs", "--device", "cpu", "--no-floor"]
    skelbench(*run)
    before = {record.key for record in RunStore(tmp_path / "runs").records()}
    content = bytearray((store.path / "keypoints.npy").read_bytes())
    content[-1] ^= 1
    (store.path / "keypoints.npy").write_bytes(content)
    assert "does not match its checksum" in skelbench(*run, "--force", code=1).stderr
    assert {record.key for record in RunStore(tmp_path / "runs").records()} == before


def test_a_record_that_its_command_would_make_too_large_is_written_without_it(store, grid_file, skelbench, tmp_path):
    many = {f"semi1.{name}": value for name, value in {"epochs": 1, "lr": 0.012345678901234567}.items()}
    pairs = [word for key, value in many.items() for word in ("--set", f"{key}={value}")]
    long = [word for _ in range(1) for word in ("--set", "snapshots=[" + ",".join(["1"] * 500) + "]")]
    file = grid_file(methods=["skeletonclr"], protocols=["knn"], set=SMALL)
    skelbench("grid", file, "--out", tmp_path / "runs", "--device", "cpu", "--no-floor", *pairs, *long, code=None)
    commands = ["command" in record.environment for record in RunStore(tmp_path / "runs").records()]
    assert commands and not all(commands)
