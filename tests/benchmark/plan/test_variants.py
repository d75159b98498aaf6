"""Grids that vary settings: one table, a variant for each combination, and a floor only where the encoder differs."""

import shlex

import pytest
import yaml

from skelbench.benchmark.plan.grid import Grid, named, read_grid
from skelbench.benchmark.plan.planner import plan_grid
from skelbench.benchmark.protocols import PROTOCOLS
from skelbench.config import parse_lists
from skelbench.errors import SkelbenchError
from skelbench.methods import METHODS

METHODS_OF_GRIDS = [name for name in METHODS if not METHODS[name].imported_only]
SMALL = {"batch": 4, "frames": 16, "epochs": 1, "backbone.width": 4, "backbone.dim": 16}


def tasks(**changes):
    values = {"datasets": ("tiny",), "name": "mine", "set": SMALL, "floor_seeds": (0,)} | changes
    return [task for task, _ in plan_grid(Grid(**values)).tasks]


def variants(planned, method):
    return [task.evaluations[0].cell.variant for task in planned if task.cell.method == method]


def keys(planned):
    return {key for task in planned for key in (task.key, *task.evaluations)}


# --- One grid, one table -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", [{"finetune.lr": 0.7}, {"knn.k": 3}, {"epochs": 3}, {"clips": 20}])
def test_all_cells_of_a_grid_are_custom_if_one_of_them_is(store, setting):
    names = [name for name in PROTOCOLS if not getattr(PROTOCOLS[name], "imported_only", False)]
    planned = tasks(name=None, set={}, also={"batch": 4, "method.window": [1, 2], **setting}, protocols=tuple(names))
    cells = [key.cell for key in keys(planned)]
    assert {cell.track for cell in cells} == {"custom"}
    (label,) = {cell.label for cell in cells}
    assert len(str(label)) == 8 and set(str(label)) <= set("0123456789abcdef")


def test_a_grid_without_a_difference_stays_in_its_track_unless_it_is_named_on_the_command_line(small):
    plain = tasks(datasets=(small,), set={}, methods=("skeletonclr",), also={"epochs": 100})
    assert {(key.cell.track, key.cell.label, key.cell.variant) for key in keys(plain)} == {("equal", None, None)}
    custom = tasks(datasets=(small,), set={}, methods=("skeletonclr",), also={"epochs": 100}, custom=True)
    assert {(key.cell.track, key.cell.label, key.cell.variant) for key in keys(custom)} == {
        ("custom", "mine", "epochs=100")
    }
    assert [task.identity for task in plain] == [task.identity for task in custom], "the training is the same"


@pytest.fixture
def small(arrays, tmp_path):
    """A data set for which a batch of the equal track fits."""
    import numpy as np

    from skelbench.datasets import prepare

    np.savez(tmp_path / "more.npz", **arrays(repetitions=11))
    return prepare("arrays", tmp_path / "more.npz", "more").name


def test_grids_without_a_name_have_one_of_their_settings(store):
    labels = [
        {task.cell.label for task in tasks(name=None, set={}, also=SMALL | changes)}
        for changes in ({}, {"epochs": 2}, {"lr": 0.2}, {})
    ]
    assert labels[0] == labels[3]
    assert len(set.union(*labels)) == 3


def test_settings_of_python_without_a_name_are_a_variant_those_of_a_file_are_not(store):
    (unnamed,) = tasks(name=None, set=SMALL, methods=("skeletonclr",))
    assert unnamed.evaluations[0].cell.variant == ("backbone.dim=16, backbone.width=4, batch=4, epochs=1, frames=16")
    (file,) = tasks(methods=("skeletonclr",))
    assert (file.cell.label, file.evaluations[0].cell.variant) == ("mine", None)
    assert unnamed.identity == file.identity, "the training has neither label nor variant"


# --- Variants ------------------------------------------------------------------------------------------------------


def test_a_floor_that_a_setting_cannot_change_is_planned_once(store):
    for vary in ({"method.temperature": (0.05, 0.07, 0.1)}, {"lr": (0.1, 0.2, 0.3)}):
        planned = tasks(methods=("untrained", "skeletonclr"), vary=vary)
        ((setting, values),) = vary.items()
        assert variants(planned, "skeletonclr") == [f"{setting}={value}" for value in values]
        assert variants(planned, "untrained") == [None]
        assert {key.cell.label for key in keys(planned)} == {"mine"}
        assert len({task.identity for task in planned}) == 4


@pytest.mark.parametrize("vary", [{"frames": (16, 24)}, {"backbone.width": (4, 8)}])
def test_a_floor_whose_encoder_differs_is_planned_for_each_value(store, vary):
    planned = tasks(methods=("untrained", "skeletonclr"), vary=vary)
    ((setting, values),) = vary.items()
    for method in ("untrained", "skeletonclr"):
        assert variants(planned, method) == [f"{setting}={value}" for value in values]
    assert len({task.identity for task in planned}) == 4


def test_a_floor_is_the_same_whatever_is_trained_beside_it(store):
    """Settings of a training from the command line do not enter its identity, those of a grid file do."""
    floors = [keys(tasks(methods=("untrained",), also=also, custom=True)) for also in ({}, {"lr": 0.3}, {"epochs": 9})]
    assert floors[0] == floors[1] == floors[2]
    assert keys(tasks(methods=("untrained",), set=SMALL | {"lr": 0.3})) != floors[0]


def test_one_training_serves_all_variants_of_its_evaluation(store):
    planned = tasks(methods=("skeletonclr",), vary={"linear.lr": (0.1, 0.2)}, protocols=("knn", "linear"))
    assert len({task.key for task in planned}) == 1
    assert planned[0].cell.variant is None
    evaluated = [{key.cell.variant for key in task.evaluations} for task in planned]
    assert evaluated == [{"linear.lr=0.1"}, {"linear.lr=0.2"}], "the row is not torn apart"


def test_every_combination_is_a_variant_and_the_default_is_one_too(store):
    vary = {"method.temperature": (0.07, 0.1), "knn.k": (10, 3)}
    planned = tasks(methods=("untrained", "skeletonclr"), vary=vary)
    both = [f"knn.k={k}, method.temperature={t}" for t in (0.07, 0.1) for k in (10, 3)]
    assert variants(planned, "skeletonclr") == both
    assert sorted(map(str, variants(planned, "untrained"))) == ["knn.k=10", "knn.k=3"]


@pytest.mark.parametrize("setting", ["method.temperature", "method.mu", "method.init"])
def test_a_methods_variants_are_those_of_settings_it_has(store, setting):
    values = {"method.temperature": (0.05, 0.1), "method.mu": (0.5, 1.0), "method.init": ("torch", "released")}[setting]
    own = {"method.window": [1, 2], "method.feature_dim": 8}
    planned = tasks(methods=tuple(METHODS_OF_GRIDS), set=SMALL | own, vary={setting: values})
    for method in METHODS_OF_GRIDS:
        has = setting.removeprefix("method.") in METHODS[method].Config.model_fields
        used = has and (METHODS[method].trainable or setting == "method.init")
        assert len(variants(planned, method)) == (2 if used else 1), method
        assert (None in variants(planned, method)) != used, method


def test_fused_streams_and_transfers_have_variants(store, prepared_other):
    vary = {"method.temperature": (0.05, 0.1)}
    grid = Grid(
        name="mine", set=SMALL, datasets=("other",), methods=("untrained", "skeletonclr"), vary=vary, streams=("3s",),
        pretrained_on="tiny", protocols=("knn",), floor_seeds=(0,),
    )  # fmt: skip
    plan = plan_grid(grid)
    transferred = [(task.stream, task.evaluations[0].cell.variant) for task, _ in plan.transfers]
    texts = ("method.temperature=0.05", "method.temperature=0.1")
    assert sorted(transferred) == sorted((stream, text) for stream in ("joint", "bone", "motion") for text in texts)
    assert sorted(str(fusion.cell.variant) for fusion, _ in plan.fusions) == ["None", *texts]
    assert len({fusion.identity for fusion, _ in plan.fusions}) == 3


@pytest.fixture
def prepared_other(arrays, tmp_path):
    import numpy as np

    from skelbench.datasets import prepare

    np.savez(tmp_path / "other.npz", **arrays(subjects=4))
    return prepare("arrays", tmp_path / "other.npz", "other")


# --- How they are written ------------------------------------------------------------------------------------------


def test_lists_of_values_are_read_as_yaml():
    assert parse_lists(
        ["lr=0.1,1e-4", "lr_steps=[60],[80,90]", "backbone.graph=hop", "linear.standardise=true,false"]
    ) == {
        "lr": (0.1, 1e-4),
        "lr_steps": ([60], [80, 90]),
        "backbone.graph": ("hop",),
        "linear.standardise": (True, False),
    }


def test_a_grid_file_may_vary_settings(store, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"vary": {"lr": ["1e-2", 0.1], "lr_steps": [[1], [2]]}, "methods": ["skeletonclr"]}))
    grid = read_grid(path)
    assert grid.vary == {"lr": (0.01, 0.1), "lr_steps": ([1], [2])}
    planned = tasks(methods=("skeletonclr",), vary=grid.vary)
    assert variants(planned, "skeletonclr") == [f"lr={lr}, lr_steps={step}" for lr in (0.01, 0.1) for step in (1, 2)]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--vary", "lr="), "The setting 'lr' is varied without a value; give some, as --vary lr=1,2,3."),
        (("--vary", "lr"), "'lr[]' is not a setting; write key=value"),
        (("--vary", "lr=1", "--vary", "lr=2"), "The values of 'lr' are given twice"),
        (("--vary", "lr=0.1,0.10"), "The setting 'lr' is varied with the same value twice: 0.1, 0.1."),
        (("--vary", "lr=1,1.0"), "The setting 'lr' is varied with the same value twice: 1, 1.0."),
        (("--vary", "lr=0.1,0.2", "--set", "lr=0.1"), "The setting 'lr' is both set and varied"),
        (("--vary", "lrr=0.1,0.2"), "There is no setting 'lrr'; did you mean"),
        (("--vary", "method.temprature=0.1"), "did you mean 'temperature'"),
        (("--vary", "lr=[1"), "cannot be read"),
        (("--vary", "lr=0.1,fast"), "The setting 'lr' of a cell cannot be 'fast'"),
        (("--name", " "), "The name of a grid cannot be empty"),
        (("--preset", "ablation", "--name", "x"), "The parts of this grid have different settings"),
    ],
)
def test_a_wrong_variant_or_name_is_one_sentence(store, skelbench, words, complaint):
    grid = ("grid", "--datasets", "tiny", "--methods", "skeattnclr", "--set", "batch=4", "--dry-run")
    result = skelbench(*grid, *words, code=2)
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


def test_parts_with_the_same_settings_may_have_one_name():
    grid = Grid(name="file", set=SMALL, parts=({"datasets": ["a"]}, {"datasets": ["b"]}))
    assert {(part.name, part.custom) for part in named(grid.split(), "x")} == {("x", True)}


@pytest.mark.parametrize("file", ["custom: true", "parts: [{custom: true}]"])
def test_a_file_cannot_ask_to_be_custom(tmp_path, file):
    (tmp_path / "mine.yaml").write_text(file + "\n")
    with pytest.raises(SkelbenchError, match="custom"):
        read_grid(tmp_path / "mine.yaml")


# --- The command that makes a cell again ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"vary": {"method.temperature": (0.05, 0.1), "linear.lr_steps": ([1], [2, 3])}},
        {"vary": {"frames": (16, 24)}},
        {"also": {"lr": 0.3, "finetune.epochs": 3}},
        {"also": {"lr": 0.3}, "track": "published"},
        {"custom": True, "name": "my name, $HOME"},
    ],
    ids=lambda changes: ", ".join(changes),
)
def test_the_command_of_every_cell_plans_the_same_cell(store, monkeypatch, changes):
    values = {
        "set": {},
        "name": None,
        "methods": ("untrained", "skeletonclr"),
        "protocols": ("knn", "linear"),
    } | changes
    if "vary" in changes or "also" in changes:
        values["also"] = {"batch": 4, "epochs": 1, **changes.get("also", {})}
    else:
        values["also"] = {"batch": 4}
    planned = tasks(**values)
    for task in planned:
        for key in (task.key, *task.evaluations):
            again = keys(from_command(monkeypatch, task.commands[key.cell.protocol]))
            assert key in again
    assert len(keys(planned)) > 2


def from_command(monkeypatch, command):
    """The tasks that a command plans."""
    from click.testing import CliRunner

    from skelbench.benchmark.cli import main

    caught = []

    def stop(plan, *_):
        caught.extend(task for task, _ in plan.tasks)

    monkeypatch.setattr("skelbench.benchmark.cli.launch._print_plan", stop)
    result = CliRunner().invoke(main, [*shlex.split(command)[1:], "--dry-run"])
    assert result.exit_code == 0, result.output
    return caught


def test_a_value_that_the_command_line_cannot_give_has_no_command(store):
    (task,) = tasks(methods=("skeletonclr",), also={"lr": "0.1"})
    assert not task.commands, "--set lr=0.1 is the number, a variant of another text"


def test_a_value_that_is_printed_like_another_is_the_same_in_the_list(store):
    with pytest.raises(SkelbenchError, match="the same value twice"):
        tasks(vary={"knn.k": (3, "3")})


def test_variants_do_not_enter_the_training(store):
    (plain,) = tasks(methods=("skeletonclr",), set=SMALL | {"lr": 0.3})
    (varied,) = tasks(methods=("skeletonclr",), also={"lr": 0.3})
    assert plain.identity == varied.identity
    assert {one.identity for one in plain.evaluations}.isdisjoint({one.identity for one in varied.evaluations})
