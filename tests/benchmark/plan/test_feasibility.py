"""What cannot run is found when it is planned, with its reason; what is left runs."""

import json
from typing import Any

import numpy as np
import pytest

from skelbench.benchmark.plan.grid import Grid
from skelbench.benchmark.plan.planner import plan_grid, plan_grids
from skelbench.benchmark.protocols import PROTOCOLS
from skelbench.datasets import prepare
from skelbench.datasets.layout import LAYOUTS
from skelbench.errors import SkelbenchError
from skelbench.results.store import RunStore

SMALL = {"frames": 16, "batch": 4, "epochs": 1, "backbone.width": 4, "backbone.dim": 16}
EPISODES = {"fewshot.ways": 3, "fewshot.shots": 1, "fewshot.also": [2], "fewshot.queries": 2}
ONE_LEFT = {"finetune.batch": 11, "finetune.drop_last": False, "finetune.least_steps": 0, "finetune.epochs": 1}


def planned(settings: dict[str, Any] | None = None, **axes: Any):
    values = {"datasets": ("tiny",), "methods": ("untrained",), "floor_seeds": (0,), "seeds": (0,)} | axes
    return plan_grid(Grid(**values, set=SMALL | (settings or {})))


def cells(plan):
    return {(key.cell.method, key.cell.dataset, key.cell.protocol) for key in plan.results()}


@pytest.fixture
def bare(arrays, tmp_path):
    """Make a data set whose skeleton has only these of its facts, with 4 subjects and 3 classes."""

    def make(name, **facts):
        values: Any = arrays()
        del values["layout"]
        joints = {"joint_names": [f"joint {number}" for number in range(25)], "parents": LAYOUTS["ntu25"].parents}
        values |= {fact: np.array(value) for fact, value in (joints | facts).items()}
        np.savez(tmp_path / f"{name}.npz", **values)
        return prepare("arrays", tmp_path / f"{name}.npz", name)

    return make


# --- Too few clips ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, possible",
    [
        ({}, True),  # of the 4 clips of each class on either side, 2 are examples at most
        ({"fewshot.also": [3]}, False),
        ({"fewshot.queries": 4}, False),
        ({"fewshot.ways": 4}, False),
        ({"fewshot.shots": 3, "fewshot.also": []}, False),
        ({"clips": 12}, False),  # which leaves half of them
    ],
)
def test_few_shot_episodes_are_planned_if_the_run_can_draw_them(store, tmp_path, settings, possible, skelbench):
    """The plan answers as the run does: the check of the plan is skipped to see what the run says."""
    settings = EPISODES | settings | {"fewshot.episodes": 3}
    plan = planned(settings, protocols=("fewshot", "knn"))
    assert cells(plan) == {("untrained", "tiny", name) for name in ("knn", *(("fewshot",) if possible else ()))}
    assert list(plan.left_out) == ([] if possible else ["untrained stgcn tiny xsub fewshot"])
    grid = ["run", "--method", "untrained", "--dataset", "tiny", "--protocol", "fewshot", "--out", tmp_path / "runs"]
    pairs = [part for name, value in (SMALL | settings).items() for part in ("--set", f"{name}={value}")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skelbench.benchmark.plan.planner.Plan.leave_out_impossible", lambda plan: None)
        ran = skelbench(*grid, *pairs, code=0 if possible else 1)
    if not possible:
        (reason,) = plan.left_out.values()
        assert reason.replace("test clips", "clips").replace("training clips", "clips") in " ".join(ran.stderr.split())
        assert skelbench(*grid, *pairs, code=2).stderr.startswith(f"Error: {reason}")


def test_a_dry_run_says_what_is_left_out_once_for_all_methods_and_exits_with_2_if_nothing_is_left(store, skelbench):
    asked = ["grid", "--methods", "skeletonclr", "--datasets", "tiny", "--seeds", "0", "--dry-run", "--set", "batch=4"]
    result = skelbench(*asked, "--protocols", "knn,fewshot")
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("n/a:")]
    assert line.startswith("n/a: untrained stgcn tiny xsub fewshot, skeletonclr stgcn tiny xsub fewshot: Few-shot")
    assert "fewshot" not in result.stdout and "knn" in result.stdout
    alone = skelbench(*asked, "--protocols", "fewshot", code=2)
    assert alone.stderr.startswith("Error: Few-shot episodes of 5 classes need 16 clips of each")
    assert len(alone.stderr.splitlines()) == 1 and not alone.stdout


def test_a_share_that_is_no_clip_is_found_and_one_without_a_class_is_told(store):
    plan = planned({"semi1.draw": "released", "semi10.draw": "released"}, protocols=("knn", "semi1", "semi10"))
    assert set(plan.left_out) == {f"untrained stgcn tiny xsub {name}" for name in ("semi1", "semi10")}
    assert all("is less than one clip of every class" in reason for reason in plan.left_out.values())


def test_a_training_side_of_one_clip_leaves_no_fit_and_its_pre_training_is_not_run(store):
    settings = {"clips": 2, "batch": 1}
    with pytest.raises(SkelbenchError, match="A training side of 1 clips is too small to hold some out"):
        planned(settings, protocols=("knn", "linear", "finetune"))
    plan = planned(settings | {"selection": "published", "finetune.mode": "eval"}, protocols=("linear", "finetune"))
    assert len(cells(plan)) == 2


def test_what_one_grid_cannot_run_does_not_stop_another(store):
    grids = [
        Grid(datasets=("tiny",), methods=("untrained",), protocols=(name,), set=SMALL) for name in ("fewshot", "knn")
    ]
    plan = plan_grids(grids)
    assert {name for _, _, name in cells(plan)} == {"knn"}
    assert "untrained stgcn tiny xsub fewshot" in plan.left_out
    with pytest.raises(SkelbenchError, match="Few-shot"):
        plan_grids(grids[:1])


def test_a_transfer_that_cannot_be_leaves_out_its_pre_training_too(store, arrays, tmp_path):
    np.savez(tmp_path / "large.npz", **arrays(subjects=8))
    prepare("arrays", tmp_path / "large.npz", "large")
    axes: Any = {"methods": ("skeletonclr",), "pretrained_on": "large"}
    with pytest.raises(SkelbenchError, match="of the 12 test clips"):
        planned(EPISODES | {"fewshot.queries": 3}, protocols=("fewshot",), **axes)
    plan = planned(EPISODES, protocols=("fewshot",), **axes)
    assert len(plan.tasks) == len(plan.transfers) == 1


def test_streams_are_fused_where_they_are_left(store):
    plan = planned(streams=("3s",), protocols=("knn", "semi1"), settings={"semi1.draw": "released"})
    assert {one.cell.protocol for one, _ in plan.fusions} == {"knn"}


def test_a_finished_run_is_not_evaluated_with_what_cannot_be(finished_copy, skelbench):
    (run,) = finished_copy.glob("*-untrained-*-pretrain-s0-*")
    asked = ["evaluate", run, "--dataset", "tiny", "--device", "cpu", "--protocol"]
    assert skelbench(*asked, "fewshot", code=2).stderr.startswith("Error: Few-shot episodes")
    result = skelbench(*asked, "fewshot,knn")
    assert "n/a: untrained stgcn tiny xsub fewshot" in result.stderr


PLUGIN = """
from skelbench.benchmark.protocols import PROTOCOLS, Fit
from skelbench.config import Settings as Base
from skelbench.errors import SkelbenchError


class Settings(Base):
    least: int = 3


class Picky:
    name, version, Settings = "picky", 1, Settings

    def check_clips(self, train, test, *, settings, selection):
        names = train.class_names
        few = [name for kind, name in enumerate(names) if (train.label == kind).sum() < settings.least]
        if few:
            raise SkelbenchError(f"picky needs {settings.least} clips of {few[0]} ({selection}).")
        return [f"{len(test)} clips are scored"]

    def fit(self, train, sets, *, classes, settings, seed):
        raise AssertionError("it ran")

    def extra(self, fit, label):
        return {}


PROTOCOLS.add("picky", Picky())
"""


def test_a_protocol_of_a_plugin_can_tell_too(store, tmp_path, skelbench):
    (tmp_path / "picky.py").write_text(PLUGIN)
    asked = ["--plugin", tmp_path / "picky.py", "grid", "--methods", "untrained", "--datasets", "tiny", "--dry-run"]
    try:
        found = skelbench(*asked, "--protocols", "picky")
        assert found.stderr.splitlines() == ["picky on tiny xsub: 12 clips are scored"]
        wrong = skelbench(*asked, "--protocols", "picky", "--set", "picky.least=5", code=2)
        assert wrong.stderr.splitlines() == ["Error: picky needs 5 clips of class 0 (held_out)."]
    finally:
        PROTOCOLS._entries.pop("picky", None)


# --- Skeletons --------------------------------------------------------------------------------------------------


def test_data_whose_clips_cannot_be_loaded_are_left_out(store, bare, skelbench, tmp_path):
    bare("sitting", centre=20)
    plan = planned(datasets=("tiny", "sitting"), protocols=("knn",))
    assert {dataset for _, dataset, _ in cells(plan)} == {"tiny"}
    assert plan.left_out["sitting"].startswith("Turning a clip of 'sitting' needs 'shoulders'")
    with pytest.raises(SkelbenchError, match="a clip of 'sitting' needs 'shoulders'"):
        planned(datasets=("sitting",))


def test_a_backbone_that_needs_the_centre_is_left_out_and_another_is_not(bare):
    store = bare("centred", shoulders=[4, 8])
    store.manifest["applied"] = ["centred"]
    (store.path / "manifest.json").write_text(json.dumps({**store.manifest, "checksum": None}))
    plan = planned({"backbone.hidden": 4}, datasets=("centred",), backbones=("stgcn", "bigru"), protocols=("knn",))
    assert {key.cell.backbone for key in plan.results()} == {"bigru"}
    assert plan.left_out["stgcn centred"].startswith("The graph 'hop' needs 'centre'")


@pytest.mark.parametrize("method, fact", [("skeattnclr", "parts"), ("hiclr", "mirror"), ("mica", "parts")])
def test_a_method_that_needs_a_fact_is_left_out_for_the_data_without_it_alone(store, bare, method, fact):
    bare("plain", centre=20, shoulders=[4, 8])
    axes: Any = {"methods": ("skeletonclr", method), "protocols": ("knn",)}
    plan = planned(datasets=("tiny", "plain"), **axes)
    assert cells(plan) == {
        ("skeletonclr", "tiny", "knn"), ("skeletonclr", "plain", "knn"), (method, "tiny", "knn"),
    }  # fmt: skip
    assert list(plan.left_out) == [f"{method} stgcn plain"] and not plan.refused
    assert f"needs '{fact}', which the layout 'custom'" in plan.left_out[f"{method} stgcn plain"]
    with pytest.raises(SkelbenchError, match=f"needs '{fact}'"):
        planned(datasets=("plain",), methods=(method,))


def test_a_wrong_setting_on_a_bare_skeleton_still_is_an_error(store, bare):
    bare("plain", centre=20, shoulders=[4, 8])
    with pytest.raises(SkelbenchError, match=r"empty weights|width"):
        planned({"backbone.width": -4}, datasets=("tiny", "plain"))


# --- One value in a batch norm ----------------------------------------------------------------------------------


def test_a_pre_training_whose_batch_norms_get_one_value_is_refused_as_the_training_would(store, skelbench, tmp_path):
    """One clip of one person and one frame: the norm of the input has one value for each channel."""
    settings = {"batch": 1, "frames": 1, "selection": "published"}
    with pytest.raises(
        SkelbenchError, match=r"'encoder_q\.backbone\.input_norm' of skeletonclr on stgcn a single value"
    ):
        planned(settings, methods=("skeletonclr",))
    for other in ({"frames": 2}, {"batch": 2}):
        assert planned(settings | other, methods=("skeletonclr",)).tasks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skelbench.benchmark.plan.compatibility.check_step", lambda *_: None)
        asked = ["run", "--method", "skeletonclr", "--dataset", "tiny", "--protocol", "knn", "--out", tmp_path / "runs"]
        pairs = [part for name, value in (SMALL | settings).items() for part in ("--set", f"{name}={value}")]
        assert "Expected more than 1 value per channel" in skelbench(*asked, *pairs, code=1).stderr


def test_a_last_batch_of_one_clip_is_found_where_the_encoder_is_trained(store, skelbench, tmp_path):
    """11 of 12 clips, then 1; with two frames, a whole last batch or in evaluation mode there is no such batch norm."""
    plan = planned({"frames": 1} | ONE_LEFT, protocols=("knn", "finetune"))
    assert list(plan.left_out) == ["untrained stgcn tiny xsub finetune"]
    (reason,) = plan.left_out.values()
    assert "A batch of finetune has 1 clip" in reason and "backbone.input_norm" in reason
    for other in ({"frames": 2}, {"finetune.drop_last": True}, {"finetune.mode": "eval"}, {"finetune.least_steps": 11}):
        assert not planned({"frames": 1} | ONE_LEFT | other, protocols=("knn", "finetune")).left_out
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skelbench.benchmark.plan.planner.Plan.leave_out_impossible", lambda plan: None)
        asked = ["run", "--method", "untrained", "--dataset", "tiny", "--protocol", "finetune", "--out", tmp_path]
        settings = SMALL | {"frames": 1} | ONE_LEFT
        pairs = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        assert "Expected more than 1 value per channel" in skelbench(*asked, *pairs, code=1).stderr


# --- Notes ------------------------------------------------------------------------------------------------------


def test_a_k_above_the_training_clips_is_told_when_it_is_planned_and_in_the_record(store, skelbench, tmp_path):
    asked = ["run", "--method", "untrained", "--dataset", "tiny", "--protocol", "knn", "--out", tmp_path / "runs"]
    pairs = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    result = skelbench(*asked, *pairs, "--set", "knn.k=13", "--set", "knn.also=[2,30]")
    assert result.stderr.splitlines()[0] == (
        "knn on tiny xsub: k = 13, 30: there are 12 training clips, and all of them vote"
    )
    (record,) = [one for one in RunStore(tmp_path / "runs").records() if one.cell.protocol == "knn"]
    assert record.extra["bank"] == 12
    plan = planned({"knn.k": 7, "knn.also": [12]}, protocols=("knn",))
    assert plan.notes == ("knn on tiny xsub: k = 7: `best` is chosen with 6 training clips, and all of them vote",)
    assert not planned({"knn.k": 6, "knn.also": [12]}, protocols=("knn",)).notes


def test_test_clips_that_retrieval_leaves_out_are_told(arrays, tmp_path):
    values = arrays()
    values["label"] = np.where((values["label"] == 2) & (values["subject"] % 2 == 1), 1, values["label"])
    np.savez(tmp_path / "gap.npz", **values, class_names=np.array(["a", "b", "c"]))
    store = prepare("arrays", tmp_path / "gap.npz", "gap")
    train, test = (
        {c["label"] for c, s in zip(store.clips, store.sides("xsub"), strict=True) if s == side} for side in (1, 0)
    )
    gone = sum(c["label"] in test - train for c, s in zip(store.clips, store.sides("xsub"), strict=True) if s == 0)
    assert gone == 4
    few = {"knn.k": 1, "knn.also": []}
    assert not planned(few, datasets=("gap",), protocols=("knn",)).notes
    plan = planned(few | {"knn.map": True}, datasets=("gap",), protocols=("knn",))
    assert plan.notes == ("knn on gap xsub: 4 test clips are not in map: no training clip is of their class",)
