"""The command on a cell's page reproduces the cell: planned by the grid, it has the same identity."""

import shlex
from pathlib import Path

import pytest
import yaml

from skelbench.benchmark.plan.command import grid_command
from skelbench.benchmark.plan.overrides import Changes
from skelbench.results.command import GRID_FILE
from skelbench.results.record import Record, Score
from skelbench.results.site.cells import StoredRecord, read_runs, site_cells
from skelbench.results.site.repeat_command import reproduction
from skelbench.results.store import RunStore


@pytest.fixture(scope="session")
def generated(tmp_path_factory) -> Path:
    """A folder of data with the generated motion, shared by all tests."""
    return tmp_path_factory.mktemp("generated")


@pytest.fixture
def recorded(tmp_path, generated, monkeypatch, short_backbone):
    """Plan grids and write, untrained, the record that each of their cells would leave."""
    monkeypatch.setenv("SKELBENCH_DATA", str(generated))
    from skelbench.benchmark.plan.grid import Grid
    from skelbench.benchmark.plan.planner import plan_grid
    from skelbench.benchmark.run.record import settings_of

    runs = RunStore(tmp_path / "runs")

    def write(grid: Grid, precision: str = "fp32") -> RunStore:
        plan = plan_grid(grid, precision=precision)
        for task, _ in (*plan.tasks, *plan.transfers):
            for cell, identity in (task.key, *task.evaluations):
                runs.write(_record(cell, identity, settings_of(task, cell), task.commands.get(cell.protocol)))
        for fusion, _ in plan.fusions:
            part = next(t for t, _ in plan.tasks if t.identity == fusion.parts[0].pretrain)
            settings = settings_of(part, fusion.cell) | {"fusion": {}}
            runs.write(_record(fusion.cell, fusion.identity, settings, fusion.command))
        return runs

    return write


def _record(cell, identity, settings, command) -> Record:
    return Record(
        cell=cell, identity=identity, settings=settings, versions={}, data={}, model={},
        environment={"command": command},
        last=None if cell.protocol == "pretrain" else Score(top1=50.0), finished="2024-05-01T12:00:00Z",
    )  # fmt: skip


def grid(**changes):
    from skelbench.benchmark.plan.grid import Grid

    base = {"datasets": ["synthetic"], "methods": ["skeletonclr"], "protocols": ["linear"], "floor_seeds": [0]}
    return Grid.model_validate(base | changes)


def preset(**changes):
    from skelbench.benchmark.plan.grid import read_preset

    return read_preset("demo").model_copy(update=changes)


CASES = {
    "equal": lambda: grid(seeds=[0, 3], protocols=["knn", "linear"]),
    "the floor": lambda: grid(methods=["untrained"]),
    "published": lambda: grid(track="published", methods=["skeattnclr"]),
    "three streams": lambda: grid(streams=["3s"]),
    "streams trained together": lambda: grid(methods=["crosclr"], streams=["bone"]),
    "settings of the command line": lambda: grid(
        also={"epochs": 3, "lr_steps": [1, 2], "method.temperature": 1e-05, "linear.lr": 0.5}
    ),
    "a list of one": lambda: grid(also={"lr_steps": [2], "nesterov": True, "backbone.graph": "inout"}),
    "published, changed": lambda: grid(track="published", also={"epochs": 3}),
    "a preset": lambda: preset(),
    "a preset, changed": lambda: preset(also={"epochs": 3}),
    "a grid file": lambda: grid(
        name="my grid, $HOME",
        methods=["skeattnclr", "untrained"],
        set={"epochs": 2, "method.window": [2, 4]},
        also={"batch": 16},
    ),
    "a sweep": lambda: grid(
        methods=["untrained", "skeletonclr"], vary={"epochs": [2, 3], "knn.k": [3]}, protocols=["knn"], name="sweep"
    ),
    "a sweep of a preset": lambda: preset(vary={"backbone.width": [4, 8]}),
    "a named grid without a difference": lambda: grid(custom=True, name="mine"),
    "settings another method has": lambda: grid(methods=["skeletonclr", "skeattnclr"], also={"method.window": [2, 4]}),
    "an evaluation's own settings": lambda: grid(set={"linear.epochs": 5}, name="short"),
}


NEEDS_FILE = {"a grid file", "an evaluation's own settings"}


@pytest.mark.parametrize("case", CASES)
def test_the_command_plans_the_same_cell(case, recorded, skelbench, tmp_path, monkeypatch):
    runs = recorded(CASES[case]())
    monkeypatch.chdir(tmp_path)
    plans: dict[tuple[str, str], list[str]] = {}  # of each command and grid file; many cells have the same
    for cell in site_cells(read_runs(runs.root)).values():
        made = reproduction(cell, "runs")
        assert case in NEEDS_FILE or not made.file
        if (made.command, made.file) not in plans:
            Path(GRID_FILE).write_text(made.file)
            plan = skelbench(*shlex.split(made.command)[1:], "--out", runs.root, "--dry-run").output
            plans[made.command, made.file] = [line.strip() for line in plan.splitlines()]
        for one in cell.shown:
            assert f"{one.record.cell}: done" in plans[made.command, made.file], made


def test_other_precision_is_asked_for(recorded):
    runs = recorded(grid(), precision="tf32")
    cell = next(iter(site_cells(read_runs(runs.root)).values()))
    assert "--precision tf32" in reproduction(cell, "runs").command


def how(record):
    """What the page says of a record's cell."""
    return reproduction(next(iter(site_cells([StoredRecord(record, Path("runs/folder"))]).values())), "runs")


@pytest.mark.parametrize("command", [None, "skelbench --plugin 'my flip.py' grid --methods flip --seeds 0"])
def test_plugins_are_named_with_their_hashes(command, make_record):
    versions = {"method": 1, "protocol": 1, "plugins": {"my flip.py": "0123456789abcdef"}}
    environment = {"command": command} if command else {}
    made = how(make_record(versions=versions, environment=environment))
    assert shlex.split(made.command)[:3] == ["skelbench", "--plugin", "my flip.py"]
    assert "my flip.py is the plugin with the hash 0123456789abcdef." in made.note
    strange = {"method": 1, "protocol": 1, "plugins": ["flip.py"]}
    assert "plugin" not in how(make_record(versions=strange, environment=environment)).note


def test_names_cannot_escape_their_word(recorded):
    runs = recorded(grid(also={"epochs": 1}, name="x; rm -rf ~ #"))
    odd = runs.records()[0].cell.model_copy(update={"dataset": "a; $(b) 'c'"})
    assert "a; $(b) 'c'" in shlex.split(grid_command(odd, "equal", Changes()))


@pytest.mark.parametrize("command", ["skelbench grid; rm -rf ~", "skelbench grid --set a=$(b)", "skelbench ls `b`"])
def test_a_command_in_a_record_of_somebody_else_does_nothing_but_call_skelbench(command, make_record):
    shown = how(make_record(environment={"command": command})).command
    assert shown.startswith("skelbench ") and shlex.split(shown) == shlex.split(command)
    assert all(word == shlex.quote(shlex.split(word)[0]) for word in shlex.split(shown, posix=False))


@pytest.mark.parametrize("command", [None, "", "rm -rf ~", "skelbench 'grid", 7])
def test_without_a_command_the_record_itself_is_run_again(command, make_record):
    assert how(make_record(environment={"command": command})).command == (
        "skelbench run --reproduce runs/folder/record.json"
    )


def test_imported_and_evaluated_runs_have_commands_of_their_own(make_record):
    imported = how(
        make_record(
            track="custom",
            label="imported 0123abcd",
            protocol="pretrain",
            top1=None,
            settings={"source": "epoch300.pt, sha256 01"},
            environment={"command": "skelbench import-weights FILE --method skeattnclr"},
        )
    )
    assert imported.command == "skelbench import-weights FILE --method skeattnclr"
    assert "epoch300.pt, sha256 01" in imported.note
    evaluated = how(make_record(environment={"command": "skelbench evaluate RUN --dataset nwucla"}))
    assert evaluated.command == "skelbench evaluate RUN --dataset nwucla" and "in runs/" in evaluated.note
    raw = how(make_record(track="custom", label="raw data", method="raw", protocol="ridge", settings={"frames": 32}))
    assert raw.command == "skelbench baselines --datasets ntu60 --splits xsub --frames 32"


def test_a_grid_file_is_read_back_as_it_was_written(recorded):
    runs = recorded(grid(name="mine", set={"epochs": 2, "weight_decay": 1e-05}))
    cell = next(cell for key, cell in site_cells(read_runs(runs.root)).items() if key.protocol == "linear")
    file = yaml.safe_load(reproduction(cell, "runs").file)
    assert file["name"] == "mine"
    assert file["set"]["weight_decay"] == 1e-05
    assert file["set"]["epochs"] == 2
