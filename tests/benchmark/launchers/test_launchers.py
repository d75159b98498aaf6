"""Launchers: scheduling, several processes, lost processes, Ray and Slurm."""

import importlib.util
import json
import os
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skelbench.benchmark.launchers import capacity, processes, worker
from skelbench.benchmark.launchers.bundle import pack, unpack
from skelbench.benchmark.launchers.capacity import slots_that_fit
from skelbench.benchmark.launchers.drive import Drive
from skelbench.benchmark.launchers.processes import Processes
from skelbench.benchmark.launchers.remote import do_job, job
from skelbench.benchmark.launchers.schedule import Schedule
from skelbench.benchmark.plan.grid import Grid
from skelbench.benchmark.plan.planner import plan_grid
from skelbench.benchmark.run.cell import Ended
from skelbench.benchmark.run.runner import Runner
from skelbench.benchmark.run.tasks import tasks_of
from skelbench.benchmark.train.options import Options
from skelbench.benchmark.train.progress import Silent
from skelbench.errors import SkelbenchError
from skelbench.results.claims import Claims
from skelbench.results.record import Failure
from skelbench.results.store import RunStore
from skelbench.sources import source_of_file

TINY = {"epochs": 2, "batch": 4, "frames": 16, "backbone.hidden": 2}


def planned(**changes):
    values: dict[str, Any] = {"datasets": ("tiny",), "methods": ("skeletonclr",), "backbones": ("bigru",)}
    return plan_grid(Grid(**values | {"protocols": ("knn",), "set": TINY} | changes))


@pytest.fixture
def three(store):
    """The tasks of a grid of three streams and their fusion: three trainings, one fusion."""
    return tasks_of(planned(streams=("3s",)))


# --- Scheduling -------------------------------------------------------------------------------------------------


def test_a_fusion_comes_after_all_of_its_parts_whatever_order_they_end_in(three):
    schedule = Schedule(three, retries=0)
    *parts, fusion = three
    assert [schedule.take() for _ in range(4)] == [*parts, None]
    for part in (parts[2], parts[0]):
        schedule.end(part, Ended())
        assert schedule.take() is None
    schedule.end(parts[1], Ended())
    assert schedule.take() == fusion
    schedule.end(fusion, Ended())
    assert schedule.finished


def failure_of(task):
    cell, identity = task.cells()[0]
    return Failure(cell=cell, identity=identity, reason="no", finished="2026-01-01T00:00:00+00:00")


def test_only_a_temporary_failure_is_retried_and_only_so_often(three):
    schedule = Schedule(three, retries=2)
    first, second, *_ = three
    passing = Ended((failure_of(first),), again=True)
    lasting = Ended((failure_of(second),))
    assert schedule.take() == first
    assert [schedule.end(first, passing)] == [True]
    assert schedule.take() == second, "the other tasks come first"
    assert not schedule.end(second, lasting)
    tries = 1
    while (task := schedule.take()) is not None:
        if task == first:
            tries += 1
            assert schedule.end(first, passing) == (tries < 3)
        else:
            schedule.end(task, Ended())
    assert tries == 3
    assert [one.identity for one in schedule.failures()] == [first.work.identity, second.work.identity]


def test_a_task_that_another_launch_is_running_is_not_a_failure_and_is_taken_again_later(three):
    schedule = Schedule(three[:1], retries=0)
    (task,) = three[:1]
    assert schedule.take() == task
    schedule.end(task, Ended(left=True))
    assert schedule.take() is None and not schedule.finished
    schedule.look_again()
    assert schedule.take() == task


def test_tasks_that_share_a_pre_training_wait_for_the_first_of_them(store):
    tasks = tasks_of(planned(methods=("crosclr",), streams=("joint", "bone")))
    assert [task.work.identity for task in tasks] == [tasks[0].work.identity] * 2
    assert [(task.needs, task.first) for task in tasks] == [((), True), ((1,), False)]


# --- How many fit -----------------------------------------------------------------------------------------------


def test_cells_fit_that_the_free_memory_takes_with_a_margin():
    assert slots_that_fit(10_000, 1000, on_gpu=False) == 7  # 0.9 * 10,000 / 1,250
    assert slots_that_fit(10_000, 1000, on_gpu=True) == 4  # 600 more each
    assert slots_that_fit(100, 1000, on_gpu=False) == 0


def test_workers_are_as_many_as_fit_with_the_expected_peak_and_at_least_one_on_each_device(tmp_path, monkeypatch):
    monkeypatch.setattr(capacity, "free_memory_mb", {"cpu": 10_000.0, "cuda:0": 100.0}.get)
    monkeypatch.setattr(capacity, "available_cores", lambda: 8)

    def workers(devices, expected):
        return dict(Processes(RunStore(tmp_path), Options(), devices, None, expected_mb=expected).slots)

    assert workers(["cpu"], 1000) == {"cpu": 7}
    assert workers(["cpu"], 100) == {"cpu": 8}, "no more than cores"
    assert workers(["cpu", "cuda:0"], 1000) == {"cpu": 4, "cuda:0": 1}, "half of the cores each"
    assert workers(["cpu"], None) == {"cpu": 1}, "until the first cell has ended"


# --- Elsewhere, in this process ---------------------------------------------------------------------------------


def test_a_task_done_elsewhere_brings_back_what_it_leaves_here(store, tmp_path):
    """Records, scores and encoders; a transfer then builds on an encoder that was carried to it."""
    plan = planned(datasets=("tiny",), splits=("xview",), pretrained_on="tiny:xsub")
    train, transfer = tasks_of(plan)
    here = RunStore(tmp_path / "here")
    for task in (train, transfer):
        given = pack(here, task.work.key, task.cells())
        ended, bundle = do_job(job(task, Options(), None, "cpu", given))
        assert not ended.failures and bundle is not None
        unpack(bundle, here, task.work.key)
    alone = RunStore(tmp_path / "alone")
    assert not Drive(plan, alone, Options(), 0).run()
    for key in [*train.cells(), *transfer.cells()]:
        mine, theirs = here.find(key), alone.find(key)
        assert mine is not None and theirs is not None
        assert (mine.last, mine.best) == (theirs.last, theirs.best)
        for name in theirs.files.values():
            if not name.startswith("curve"):  # which has seconds
                assert (here.folder(key) / name).read_bytes() == (alone.folder(key) / name).read_bytes()


def test_a_bundle_with_a_file_that_is_not_an_encoder_is_refused(store, tmp_path):
    plan = planned(methods=("untrained",))
    task = tasks_of(plan)[0]
    runs = RunStore(tmp_path / "runs")
    Runner(runs, Options()).perform(task)
    bundle = pack(runs, task.work.key, task.cells())
    bad = type(bundle)(bundle.records, {"../encoder-0000.pt": b""})
    with pytest.raises(SkelbenchError, match="is not an encoder file"):
        unpack(bad, RunStore(tmp_path / "other"), task.work.key)
    assert not (tmp_path / "other").exists()


def test_data_that_differ_on_the_other_machine_are_a_failure_of_the_cell(store, tmp_path):
    task = tasks_of(planned())[0]
    changed = replace(task, fingerprint="0" * 16)
    ended = Runner(RunStore(tmp_path / "runs"), Options()).perform(changed)
    assert "is not the data set 'tiny' that the grid was planned with" in ended.failures[0].reason
    (failure,) = RunStore(tmp_path / "runs").failures()
    assert failure.identity == task.work.identity


def test_a_claimed_cell_is_left_and_done_when_it_is_released(store, tmp_path, monkeypatch):
    monkeypatch.setattr("skelbench.benchmark.launchers.drive.ELSEWHERE", 0.01)
    plan = planned(methods=("untrained",), floor_seeds=(0,))
    runs = RunStore(tmp_path / "runs")
    task = tasks_of(plan)[0]
    claim = Claims(runs.root).take(task.work.key)
    assert claim is not None
    said = []

    class Watch(Silent):
        def say(self, text):
            said.append(text)
            if "another process" in text:
                claim.release()

    drive = Drive(plan, runs, Options(watcher=Watch()), 0)
    assert not drive.run()
    assert len(runs.records()) == 2
    assert sum("another process" in line for line in said) == 1


# --- Several processes ------------------------------------------------------------------------------------------

# A protocol that kills its process: once for seed 0, always for seed 1. It logs a line for every record written, so
# that a cell which is finished twice is detected, and sends a signal to the launcher once a file says so.
PLUGIN = """
import os, signal
from pathlib import Path

import torch
from skelbench.benchmark.protocols import PROTOCOLS, Fit
from skelbench.methods.recipe import Settings as Base
from skelbench.results.store import RunStore

MARKS = Path(os.environ["MARKS"])
write = RunStore.write


def logging(self, record):
    write(self, record)
    with (MARKS / "written").open("a") as file:
        file.write(record.identity + "\\n")
    wanted = MARKS / "signal"
    if wanted.exists():
        count, number = map(int, wanted.read_text().split())
        if len((MARKS / "written").read_text().split()) >= count:
            wanted.unlink(missing_ok=True)
            os.kill(os.getppid(), number)


RunStore.write = logging


class Settings(Base):
    deaths: int = 0


class Centroid:
    name, version, Settings = "centroid", 1, Settings

    def fit(self, train, sets, *, classes, settings, seed):
        mark = MARKS / f"died-{seed}"
        if seed < settings.deaths and (seed == 1 or not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        means = torch.stack([train.x[train.label == c].mean(0) for c in range(classes)])
        return [Fit(None, {name: -torch.cdist(x, means) for name, x in sets.items()})]

    def extra(self, fit, label):
        return {}


PROTOCOLS.add("centroid", Centroid())
"""
SMALL = ["--backbones", "bigru", "--set", "frames=16", "--set", "backbone.hidden=2"]


@pytest.fixture
def grid(tmp_path, store):
    """Command line of a grid of untrained encoders, evaluated by the plugin's protocol in two processes."""
    (tmp_path / "plugin.py").write_text(PLUGIN)
    start = ["--plugin", tmp_path / "plugin.py", "grid", "--device", "cpu", "--workers", 2, "--out", tmp_path / "runs"]
    return [*start, "--methods", "untrained", "--datasets", "tiny", "--protocols", "centroid", *SMALL]


def with_forked_workers(*words):
    """A command whose worker processes are forks of it, so that they do not load torch again."""
    from warm import Forked, run_command  # pyright: ignore[reportMissingImports] - in the warm process

    popen = lambda _, **how: Forked(worker.serve, **how)  # noqa: E731
    processes.subprocess = SimpleNamespace(Popen=popen, PIPE=subprocess.PIPE)  # pyright: ignore
    run_command(*map(str, words))


def written(tmp_path):
    path = tmp_path / "written"
    return path.read_text().splitlines() if path.exists() else []


def test_a_process_that_is_killed_costs_its_cell_a_try_and_no_other_cell_anything(grid, warm, tmp_path):
    words = [*grid, "--seeds", "0,1,2", "--set", "centroid.deaths=2", "--retries", 1]
    run = warm(__file__, "with_forked_workers", *words, MARKS=str(tmp_path))
    assert run.wait() == 1, run.error
    assert run.error.count("tried again (1 of 1)") == 2
    runs = RunStore(tmp_path / "runs")
    done = [record.cell.seed for record in runs.records() if record.cell.protocol == "centroid"]
    assert sorted(done) == [0, 2]
    (failure,) = runs.failures()
    assert (failure.cell.seed, failure.cell.protocol) == (1, "centroid")
    assert "ended by SIGKILL" in failure.reason
    assert "SIGKILL" in run.out + run.error, "the summary has the reason"


@pytest.mark.parametrize(("cells", "kills"), [(8, 1), pytest.param(200, 5, marks=pytest.mark.slow)])
def test_a_grid_that_is_killed_and_started_again_ends_with_every_record_once(grid, warm, tmp_path, cells, kills):
    words = [*grid, "--seeds", ",".join(map(str, range(cells // 2)))]
    for kill in range(kills):
        number = signal.SIGTERM if kill % 2 else signal.SIGKILL
        (tmp_path / "signal").write_text(f"{(kill + 1) * cells // (kills + 2)} {int(number)}")
        run = warm(__file__, "with_forked_workers", *words, MARKS=str(tmp_path))
        assert run.wait() == (128 + signal.SIGTERM if kill % 2 else -signal.SIGKILL), run.error
        assert len(written(tmp_path)) < cells, "it was killed before the end"
    run = warm(__file__, "with_forked_workers", *words, MARKS=str(tmp_path))
    assert run.wait() == 0, run.error
    assert len(RunStore(tmp_path / "runs").records()) == cells
    lines = written(tmp_path)
    assert len(lines) == len(set(lines)), "no cell was finished twice"
    assert not RunStore(tmp_path / "runs").failures()
    assert not list(Claims(tmp_path / "runs").held())


def test_a_worker_is_a_program_of_its_own_that_loads_the_plugins_of_the_launch(store, tmp_path, monkeypatch):
    (tmp_path / "marks.py").write_text(f"import os\nopen({str(tmp_path / 'mark')!r}, 'w').write(str(os.getpid()))\n")
    plugins = {tmp_path / "marks.py": source_of_file(tmp_path / "marks.py").version}
    monkeypatch.setattr(worker, "loaded_plugins", lambda: plugins)
    runs = RunStore(tmp_path / "runs")
    plan = planned(methods=("untrained",), floor_seeds=(0,), set={"frames": 16, "backbone.hidden": 2})
    team = processes.Processes(runs, Options(), ["cpu"], 1)
    assert not Drive(plan, runs, Options(), 0).run(team)
    assert sorted(record.cell.protocol for record in runs.records()) == ["knn", "pretrain"]
    assert int((tmp_path / "mark").read_text()) != os.getpid()


# --- Slurm and Ray ----------------------------------------------------------------------------------------------

submitit = pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="submitit is not installed")
ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None or "SKELBENCH_RAY_TESTS" not in os.environ,
    reason="needs the package ray and SKELBENCH_RAY_TESTS=1: starting a cluster takes half a minute",
)


SLURM = pytest.param(
    "slurm",
    marks=pytest.mark.skipif(
        "SKELBENCH_SLURM_TESTS" not in os.environ,
        reason="needs a Slurm (see slurm_node.sh) and SKELBENCH_SLURM_TESTS=1",
    ),
)


@submitit
@pytest.mark.parametrize("cluster", ["debug", pytest.param("local", marks=pytest.mark.slow), SLURM])
def test_slurm_jobs_leave_what_a_launch_in_this_process_leaves(skelbench, store, tmp_path, cluster):
    """The cluster `debug` runs the jobs in this process, `local` in processes of their own."""
    axes = ["grid", "--methods", "skeletonclr", "--no-floor", "--datasets", "tiny", "--protocols", "knn"]
    axes += ["--seeds", "0,1", *SMALL, "--set", "epochs=1", "--set", "batch=4"]
    skelbench(*axes, "--out", tmp_path / "alone")
    skelbench(*axes, "--out", tmp_path / "slurm", "--launcher", "slurm", "--slurm", f"cluster={cluster}")
    alone, slurm = (
        {record.identity: (record.last, record.best) for record in RunStore(tmp_path / name).records()}
        for name in ("alone", "slurm")
    )
    assert slurm == alone and len(alone) == 4


# A plugin with which a job logs its steps and gets the warning after the first of its third epoch.
WARNED = """
import os, signal
from pathlib import Path

from skelbench.benchmark.train.trainer import Trainer

step = Trainer.take_step


def warned(self):
    number = f"{self.run.epoch}.{self.run.iteration}\\n"
    step(self)
    steps = Path(os.environ["STEPS"])
    with steps.open("a") as file:
        file.write(number)
    if self.run.epoch == 3 and steps.read_text().count("\\n3.") == 1:
        os.kill(os.getpid(), signal.SIGUSR2)


Trainer.take_step = warned
"""


def supervise(folder):
    """What submitit starts for a local job, but the job is a fork of it."""
    from submitit.core.submission import process_job
    from submitit.local import local
    from warm import Forked  # pyright: ignore[reportMissingImports] - in the warm process

    popen = lambda words, **how: Forked(lambda: process_job(words[-1]), **how)  # noqa: E731
    local.subprocess = SimpleNamespace(Popen=popen)  # pyright: ignore
    local.Controller(Path(folder)).run()


@pytest.fixture
def warned_jobs(warm, tmp_path, monkeypatch):
    """Local jobs are warned of their end in their third epoch, and do not load torch again."""
    from submitit.local import local

    (tmp_path / "warned.py").write_text(WARNED)
    monkeypatch.setenv("STEPS", str(tmp_path / "steps"))
    plugins = {tmp_path / "warned.py": source_of_file(tmp_path / "warned.py").version}
    monkeypatch.setattr(worker, "loaded_plugins", lambda: plugins)
    popen = lambda words, env, **_: warm(__file__, "supervise", words[-1], **env)  # noqa: E731
    monkeypatch.setattr(local, "subprocess", SimpleNamespace(Popen=popen))


@submitit
@pytest.mark.parametrize("cluster", ["local", SLURM])
def test_a_pre_empted_job_is_requeued_and_resumes(request, store, tmp_path, cluster):
    """The warning comes in the middle of a training; the job still ends normally."""
    from skelbench.benchmark.launchers.slurm import Queue, _executor

    large = {"epochs": 24, "batch": 4, "frames": 16, "backbone.width": 4, "backbone.dim": 16}
    plan = planned(set=TINY | {"epochs": 4}, protocols=())
    if cluster == "local":
        request.getfixturevalue("warned_jobs")
    else:
        plan = planned(backbones=("stgcn",), set=large, protocols=())
    runs = RunStore(tmp_path / "runs")
    (task,) = tasks_of(plan)
    curve = runs.folder(task.cells()[0]) / "curve.jsonl"
    queue = Queue(_executor(runs, {"cluster": cluster}, 1, 0), runs, "cpu")
    queue.start(task, Options(checkpoint_seconds=0.0 if cluster == "local" else 0.2))
    assert not queue.ended(0.0)
    if cluster == "slurm":
        ((_, submitted),) = queue.running
        while not curve.exists() or curve.read_text().count("\n") < 3:
            time.sleep(0.05)
        submitted._interrupt()
    ended = []
    while not ended:
        ended = queue.ended(0.1)
    ((_, how),) = ended
    assert (how.failures, how.lost, how.left) == ((), None, False)
    assert runs.find(task.cells()[0]) is not None
    epochs = [json.loads(line)["epoch"] for line in curve.read_text().splitlines()]
    assert epochs == list(range(1, plan.tasks[0][0].recipe.epochs + 1))
    if cluster == "local":
        steps = (tmp_path / "steps").read_text().split()
        assert len(steps) == len(set(steps)) + 1, "only the step of the warning is taken again"
    assert "Requeued" in "".join(path.read_text() for path in (runs.root / ".slurm").rglob("*.out"))


@submitit
def test_a_fraction_of_a_gpu_is_refused_by_slurm(skelbench, store, tmp_path):
    words = ["grid", "--methods", "untrained", "--datasets", "tiny", "--launcher", "slurm", "--gpus", "0.5"]
    result = skelbench(*words, "--out", tmp_path / "runs", code=2)
    assert "Slurm allocates an integer number of GPUs" in result.stderr


@ray
@pytest.mark.parametrize("carry", [False, True])
def test_a_node_that_dies_in_the_middle_of_a_cell_costs_a_try(store, tmp_path, carry):
    """A cluster of a head and two nodes; the second node dies during training."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    from skelbench.benchmark.launchers.ray import connect

    small = {"object_store_memory": 80_000_000}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    nodes = [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
    said = []

    class Watch(Silent):
        def say(self, text):
            said.append(text)

    plan, runs = planned(seeds=(0, 1, 2), set=TINY | {"epochs": 200}), RunStore(tmp_path / "runs")
    threading.Timer(10.0, lambda: cluster.remove_node(nodes[1], allow_graceful=False)).start()
    try:
        options = Options(watcher=Watch())
        team = connect(runs, options, address=cluster.address, cpus=1, gpus=None, carry=carry)
        failures = Drive(plan, runs, options, 1).run(team)
    finally:
        cluster.shutdown()
    assert not failures
    assert any("tried again" in line for line in said), "a cell was running on the node that died"
    assert len(runs.records()) == 6
