"""What cells are forecast to take: `skelbench forecast`, dry runs, and the number of workers."""

import json

import pytest

from skelbench.benchmark.forecast import expected, trace
from skelbench.benchmark.forecast.cells import forecast_cells, largest
from skelbench.benchmark.forecast.counting import Work
from skelbench.benchmark.forecast.devices import ASSUMED, Device, Shares, known_devices
from skelbench.benchmark.forecast.expected import largest_mb
from skelbench.benchmark.forecast.report import hours
from skelbench.benchmark.launchers import capacity
from skelbench.benchmark.plan.grid import Grid, read_grid
from skelbench.benchmark.plan.planner import plan_grids
from skelbench.datasets.unprepared import open_or_list
from skelbench.methods import METHODS
from skelbench.results.store import RunStore

from ...conftest import slow_but
from ..conftest import TINY


@pytest.fixture(autouse=True)
def traced_anew(monkeypatch):
    """Tests change encoders, of which a remembered trace would know nothing."""
    monkeypatch.setattr(trace, "_remembered", trace._Remembered())


def planned(**given):
    settings = TINY | given.pop("set", {})
    grid = {"name": "tiny", "methods": ("skeletonclr",), "protocols": ("knn", "linear"), "seeds": (0,)}
    return plan_grids([Grid(**grid | {"set": settings} | given)], opener=open_or_list)


# --- Cells ------------------------------------------------------------------------------------------------------


def test_a_pre_training_is_its_steps_and_features_are_counted_once():
    plan = planned(datasets=("ntu60",), splits=("xsub",), set={"batch": 128, "epochs": 3})
    ((task, _),) = plan.tasks
    found = {one.key.cell.protocol: one for one in forecast_cells(plan, "cuda")}
    step = found["pretrain"].step
    assert step is not None
    assert found["pretrain"].work.flop == pytest.approx(step.flop * 3 * (40_091 // 128))
    clips, encoders = 40_091 + 16_487, len({*task.recipe.snapshots, 3})
    assert found["knn"].work.flop > 0 == found["linear"].work.flop
    assert found["knn"].work.flop == pytest.approx(step.flop * encoders * clips / (128 * 7), rel=0.5)
    resident = 4 * 3 * 16 * 25 * 2 * clips
    assert resident < found["pretrain"].living < 2 * resident
    biggest = largest([*found.values()])
    assert biggest is not None and biggest.living == max(one.living for one in found.values())


def test_finished_cells_are_left_out_and_the_next_one_gets_the_features(store):
    plan = planned(datasets=("tiny",))
    every = {one.key.cell.protocol: one for one in forecast_cells(plan, "cpu")}
    done = {every[name].key.identity for name in ("pretrain", "knn")}
    (left,) = forecast_cells(plan, "cpu", done)
    assert left.key.cell.protocol == "linear"
    assert left.work == every["knn"].work


@pytest.mark.parametrize("protocol", slow_but(["finetune", "semi10"], "finetune"))
def test_a_tuned_encoder_is_trained_for_the_epochs_of_its_protocol(protocol, store):
    work = []
    for epochs in (2, 4):
        plan = planned(
            datasets=("tiny",), protocols=(protocol,), set={f"{protocol}.epochs": epochs, f"{protocol}.lr_steps": []}
        )
        (cell,) = (one for one in forecast_cells(plan, "cpu") if one.key.cell.protocol == protocol)
        assert not cell.unknown and cell.step
        work.append(cell.work.flop)
    assert work[0] < work[1] <= 2 * work[0]


PEEKING = """
from skelbench.methods import METHODS
from skelbench.methods.skeletonclr import SkeletonCLR


class Peeking(SkeletonCLR):
    def loss(self, views, **how):
        next(iter(views.values())).sum().item()
        return super().loss(views, **how)


METHODS.add("peeking", Peeking)
"""


def test_a_method_that_needs_values_is_told_and_the_others_are_forecast(store, tmp_path, skelbench):
    (tmp_path / "peeking.py").write_text(PEEKING)
    words = ["--plugin", tmp_path / "peeking.py", "forecast", "--methods", "peeking,skeletonclr", "--datasets", "tiny"]
    try:
        lines = skelbench(*words, *sets(), "--protocols", "knn", "--seeds", "0", "--no-floor").stdout.splitlines()
    finally:
        METHODS._entries.pop("peeking", None)
    (told,) = (line for line in lines if line.startswith("peeking") and "pretrain" in line)
    assert "It cannot be traced without values" in told
    (other,) = (line for line in lines if line.startswith("skeletonclr") and "pretrain" in line)
    assert "FLOP" in other and "of memory" in other


# --- Devices ----------------------------------------------------------------------------------------------------


def test_every_device_has_a_source_and_limits_of_this_world():
    devices = known_devices()
    assert {"h200", "h100", "a100", "rtx3090"} <= set(devices)
    for one in devices.values():
        assert one.source.strip()
        assert 8 <= one.memory <= 300 and 100 <= one.bandwidth <= 10_000 and 5 <= one.fp32 <= 200
        assert (one.shares.product, one.shares.copy_) == (ASSUMED, ASSUMED)


def test_seconds_are_products_traffic_and_operations_one_after_the_other():
    shares = Shares(product=0.5, copy_=0.25, operation=1e-3)
    device = Device(name="d", title="d", memory=1, bandwidth=100, fp32=2, source="made up", shares=shares)
    assert device.seconds(Work(flop=3e12, bytes=50e9, operations=100)) == pytest.approx(3 + 2 + 0.1)
    assert device.seconds(Work(flop=3e12), "bf16") is None


# --- The command ------------------------------------------------------------------------------------------------


def sets():
    return [word for key, value in TINY.items() for word in ("--set", f"{key}={json.dumps(value)}")]


def test_the_command_forecasts_data_that_are_not_prepared(skelbench):
    words = ["forecast", "--methods", "skeletonclr", "--datasets", "ntu60", "--splits", "xsub", "--protocols", "knn"]
    words += [*sets(), "--seeds", "0", "--no-floor"]
    found = skelbench(*words, "--on", "rtx3090,h200")
    assert "ntu60 is not prepared here; its published list of 56,578 clips is taken." in found.stderr
    *cells, together, first, second = found.stdout.splitlines()
    assert len(cells) == 2 and together == "Together, one after the other, pre-training in fp32:"
    assert first.startswith("  NVIDIA GeForce RTX 3090: ") and second.startswith("  NVIDIA H200 SXM: ")
    assert " s at 50% of its limits, which is assumed; 24 GB, the largest cell fits (" in first
    read = json.loads(skelbench(*words, "--on", "h200", "--json").stdout)
    (device,) = read["devices"]
    flop, moved = (sum(one[name] for one in read["cells"]["cuda"]) for name in ("flop", "bytes"))
    assert device["hours"] * 3600 == pytest.approx(flop / (67e12 / 2) + moved / (4800e9 / 2))


def test_evaluations_are_in_fp32_whatever_the_pre_training_is_in():
    plan = planned(datasets=("ntu60",), protocols=("knn",), set={"batch": 128})
    counted = forecast_cells(plan, "cuda")
    device = Device(name="d", title="d", memory=1, bandwidth=1e9, fp32=1, bf16=4, source="made up")
    by = {one.key.cell.protocol: one.work.flop / 1e12 / 0.5 / 3600 for one in counted}
    assert hours(counted, device, "bf16") == pytest.approx(by["pretrain"] / 4 + by["knn"], rel=1e-3)


def test_a_dry_run_plans_with_data_that_are_not_prepared_and_a_run_does_not(skelbench, tmp_path):
    words = ["grid", "--methods", "untrained", "--datasets", "ntu60", "--protocols", "knn", "--seeds", "0"]
    words += ["--set", "frames=16", "--no-floor", "--out", tmp_path / "runs"]
    assert "ntu60 is not prepared here; its published list" in skelbench(*words, "--dry-run").stderr
    assert "There is no data set 'ntu60'" in skelbench(*words, code=2).stderr


def test_an_unknown_device_and_data_that_nobody_lists_are_told(skelbench):
    words = ["forecast", "--methods", "skeletonclr", "--protocols", "knn"]
    wrong = skelbench(*words, "--datasets", "ntu60", "--on", "h20", code=2).stderr.splitlines()[-1]
    assert wrong.startswith("Error: There is no device 'h20' in the table")
    assert "nowhere" in skelbench(*words, "--datasets", "nowhere", code=2).stderr


def test_a_dry_run_counts_where_no_finished_cell_tells(store, skelbench, tmp_path):
    words = ["grid", "--methods", "skeletonclr", "--datasets", "tiny", "--protocols", "knn", "--seeds", "0"]
    lines = skelbench(*words, *sets(), "--no-floor", "--out", tmp_path / "runs", "--dry-run").stdout.splitlines()
    assert lines[-2].startswith("2 of 2 cells left; no similar cell is finished here on ")
    assert lines[-1].startswith("by counting: about 0.00 device hours (")
    assert [line.split("; ")[0].rsplit(": ")[-1] for line in lines[:-2]] == ["to do", "to do"]
    assert all(" M parameters" in line and line.endswith("B of memory") for line in lines[:-2])


# --- Workers ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_as_many_workers_are_started_as_the_largest_cell_lets_fit(store, skelbench, tmp_path, monkeypatch):
    words = ["grid", "--methods", "skeletonclr", "--datasets", "tiny", "--protocols", "knn", "--seeds", "0"]
    monkeypatch.setattr(capacity, "free_memory_mb", lambda device: 10_000.0)
    monkeypatch.setattr(capacity, "available_cores", lambda: 16)
    asked: list[float] = []
    monkeypatch.setattr(expected, "peak_mb", lambda living, device: asked.append(living) or 3_000.0)
    words += [*sets(), "--no-floor", "--out", tmp_path / "runs", "--workers", "auto", "--device", "cpu"]
    found = skelbench(*words)
    assert "2 workers: the largest cell is to take 3000 MB" in found.stdout + found.stderr, "0.9 * 10,000 / 3,750"
    counted = forecast_cells(planned(datasets=("tiny",), protocols=("knn",)), "cpu")
    assert max(asked) == pytest.approx(max(one.living for one in counted))


def test_a_finished_cell_of_another_seed_tells_how_much_memory_the_next_one_takes(
    store, skelbench, grid_file, tmp_path
):
    changes = {"methods": ["skeletonclr"], "protocols": ["knn"], "set": TINY}
    skelbench("grid", grid_file(**changes), "--out", tmp_path / "runs", "--no-floor", "--device", "cpu")
    runs = RunStore(tmp_path / "runs")
    assert largest_mb(plan_grids([read_grid(grid_file(**changes))]), runs, "cpu") is None, "nothing is open"
    another = plan_grids([read_grid(grid_file(**changes, seeds=[5]))])
    measured = max(record.cost["peak_memory_mb"] or 0.0 for record in runs.records())
    assert largest_mb(another, runs, "cpu") == measured
    finished = plan_grids([read_grid(grid_file(**changes))])
    assert largest_mb(finished, runs, "cpu", again=True) == measured
    assert largest_mb(another, RunStore(tmp_path / "none"), "cpu") != measured
