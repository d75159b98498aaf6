"""A cell that a plugin makes is another cell once the plugin's code has changed, by its command line."""

import shlex
import shutil
from pathlib import Path

import pytest

from skelbench.benchmark.launchers import processes, worker
from skelbench.results.files import read_curve
from skelbench.results.record import PRETRAIN
from skelbench.results.store import RunStore

FLIP = """
from skelbench.methods import METHODS
from skelbench.methods.skeletonclr import SkeletonCLR
from signs import SIGN


@METHODS.register("flip")
class Flip(SkeletonCLR):
    def loss(self, views, **context):
        return {"loss": SIGN * super().loss(views, **context)["loss"]}
"""
MEAN = """
import torch
from skelbench.benchmark.protocols import PROTOCOLS, Fit
from skelbench.methods.recipe import Settings


class Mean:
    name, version, Settings = "mean", 1, Settings

    def fit(self, train, sets, *, classes, settings, seed):
        means = torch.stack([train.x[train.label == c].mean(0) for c in range(classes)])
        return [Fit(None, {name: -torch.cdist(x, means) for name, x in sets.items()})]

    def extra(self, fit, label):
        return {}


PROTOCOLS.add("mean", Mean())
"""
SIGN = "SIGN = {}\n"
TINY = ("frames=16", "epochs=2", "batch=4", "backbone.width=4", "backbone.dim=16")


class Bench:
    """A folder with two plugins, and the command line over it; every command is a process of its own."""

    def __init__(self, warm, folder):
        self.warm, self.folder, self.out = warm, folder, folder / "runs"
        self.write("flip.py", FLIP)
        self.write("signs.py", SIGN.format(1))
        self.write("mean.py", MEAN)

    def write(self, name, text):
        (self.folder / "code").mkdir(exist_ok=True)
        (self.folder / "code" / name).write_text(text)

    def command(self, *words, plugins=("flip", "mean"), code=0, by=None):
        loaded = [word for name in plugins for word in ("--plugin", self.folder / "code" / f"{name}.py")]
        program = self.warm(__file__, by, *loaded, *words) if by else self.warm.command(*loaded, *words)
        assert program.wait() == code, program.error
        return program

    def grid(self, *words, methods="flip", protocols="mean", out=None, **how):
        settings = [word for pair in TINY for word in ("--set", pair)]
        axes = ("--methods", methods, "--datasets", "tiny", "--protocols", protocols, "--no-floor")
        return self.command("grid", *axes, *settings, "--device", "cpu", "--out", out or self.out, *words, **how)

    def records(self, protocol, out=None):
        """By the hash of what they were made with, as the records have it."""
        found = [record for record in RunStore(out or self.out).records() if record.cell.protocol == protocol]
        return {str(record.versions.get("plugins")): record for record in found}


@pytest.fixture
def bench(warm, store, tmp_path):
    return Bench(warm, tmp_path)


def loss(bench, record):
    return read_curve(RunStore(bench.out).folder(record.key) / "curve.csv", "loss")[0][-1][1]


def test_a_method_whose_loss_changes_its_sign_is_trained_again(bench):
    bench.grid()
    ((code, before),) = bench.records(PRETRAIN).items()
    assert bench.grid().error.count("done before") == 1, "nothing has changed"
    bench.write("signs.py", SIGN.format(-1))  # a module that it imports
    again = bench.grid()
    assert "done before" not in again.error
    assert "2 older record(s) are kept" in again.error and "plugin flip.py was " in again.error
    trained = bench.records(PRETRAIN)
    (after,) = (record for named, record in trained.items() if named != code)
    assert after.cell == before.cell and after.identity != before.identity
    assert loss(bench, before) > 0 > loss(bench, after)
    bench.write("signs.py", SIGN.format(1))
    assert bench.grid().error.count("done before") == 1, "as it was before"
    assert len(RunStore(bench.out).records()) == 4


def test_a_changed_protocol_is_evaluated_again_and_nothing_is_trained(bench):
    bench.grid()
    bench.write("mean.py", MEAN + "# a remark\n")
    (trained,) = RunStore(bench.out).root.glob("*-pretrain-*")
    made = (trained / "encoder-0002.pt").stat().st_mtime_ns
    bench.grid()
    assert (trained / "encoder-0002.pt").stat().st_mtime_ns == made
    assert len(bench.records(PRETRAIN)) == 1
    assert len(bench.records("mean")) == 2


def test_what_is_built_in_is_the_same_cell_with_and_without_a_plugin(bench):
    bench.grid(methods="skeletonclr", protocols="knn", plugins=())
    assert bench.grid(methods="skeletonclr", protocols="knn").error.count("done before") == 1
    assert list(bench.records("knn")) == ["None"]


def test_a_record_names_its_plugins_and_its_command_makes_it_again(bench, monkeypatch):
    bench.grid()
    (trained,), (evaluated,) = bench.records(PRETRAIN).values(), bench.records("mean").values()
    (version,) = trained.versions["plugins"].values()
    assert evaluated.versions["plugins"] == {"flip.py": version, "mean.py": evaluated.versions["plugins"]["mean.py"]}
    assert str(bench.folder) not in trained.to_json() + evaluated.to_json()
    assert shlex.split(trained.environment["command"])[:4] == ["skelbench", "--plugin", "flip.py", "grid"]
    words = shlex.split(evaluated.environment["command"])
    assert words[:6] == ["skelbench", "--plugin", "flip.py", "--plugin", "mean.py", "grid"]
    with monkeypatch.context() as there:
        there.chdir(bench.folder / "code")
        again = bench.command(*words[1:], "--out", bench.out, plugins=())
    assert again.error.count("done before") == 1


def test_to_reproduce_a_record_takes_the_plugins_that_it_was_made_with(bench):
    bench.grid()
    (record,) = bench.records("mean").values()
    run = ("-q", "run", "--reproduce", RunStore(bench.out).folder(record.key), "--device", "cpu")
    assert "Reproduced bit for bit" in bench.command(*run).out
    missing = bench.command(*run, plugins=("mean",), code=2).error
    named = record.versions["plugins"]["flip.py"][:10]
    assert f"was made with the plugin flip.py ({named}), which is not loaded; give it: skelbench --plugin" in missing
    assert "mean.py" in bench.command(*run, plugins=("flip",), code=2).error
    bench.write("signs.py", SIGN.format(-1))
    changed = bench.command(*run, code=2).error
    assert f"was made with the plugin flip.py ({named}), and the one here is " in changed
    bench.write("signs.py", SIGN.format(1))
    (bench.folder / "code" / "flip.py").rename(bench.folder / "code" / "flop.py")
    assert "Reproduced bit for bit" in bench.command(*run, plugins=("flop", "mean")).out


def test_an_encoder_of_a_plugin_is_evaluated_only_with_its_code(bench):
    bench.grid()
    (record,) = bench.records(PRETRAIN).values()
    evaluate = ("evaluate", RunStore(bench.out).folder(record.key), "--dataset", "tiny", "--protocol", "knn")
    assert "plugin flip.py" in bench.command(*evaluate, plugins=(), code=2).error
    bench.command(*evaluate)
    found = [one for one in bench.records("knn").values() if one.cell.method == "flip"]
    assert [shlex.split(one.environment["command"])[:4] for one in found] == [
        ["skelbench", "--plugin", "flip.py", "evaluate"]
    ]
    bench.write("signs.py", SIGN.format(-1))
    assert "and the one here is" in bench.command(*evaluate, code=2).error


@pytest.mark.slow
def test_workers_make_the_same_cells(bench):
    """In processes that load the plugins themselves."""
    bench.grid("--seeds", "0,1", out=bench.folder / "alone")
    bench.grid("--seeds", "0,1", "--workers", 2)
    alone, apart = RunStore(bench.folder / "alone").records(), RunStore(bench.out).records()
    assert {one.identity for one in alone} == {one.identity for one in apart}
    assert {str(one.versions) for one in alone} == {str(one.versions) for one in apart}
    shutil.rmtree(bench.folder / "alone")
    assert bench.grid("--seeds", "0,1").error.count("done before") == 2


def edited_before_the_workers_start(*words):
    """A command whose worker processes find another source of `signs.py` than the command did."""
    from warm import load  # pyright: ignore[reportMissingImports] - in the warm process

    def edited(content):
        packed = worker.packed(content)
        (plugin,) = (path for path in worker.loaded_plugins() if path.name == "flip.py")
        (plugin.parent / "signs.py").write_text(SIGN.format(-1))
        return packed

    processes.packed = edited
    load(Path(__file__).parent / "launchers" / "test_launchers.py").with_forked_workers(*words)


def test_a_worker_that_finds_another_source_runs_nothing(bench):
    run = bench.grid("--workers", 2, "--retries", 0, by="edited_before_the_workers_start", code=1)
    (failure,) = RunStore(bench.out).failures()
    assert "has changed since it was loaded" in failure.reason, run.error
    assert not RunStore(bench.out).records()
