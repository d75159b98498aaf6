"""The command line, used by a person and by a script."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys

import click
import numpy as np
import pytest
import torch

from skelbench import __version__
from skelbench.backbones import BACKBONES
from skelbench.benchmark.cli import main
from skelbench.benchmark.plan.grid import presets
from skelbench.benchmark.protocols import PROTOCOLS
from skelbench.benchmark.train.trainer import Trainer
from skelbench.datasets import READERS
from skelbench.datasets.layout import LAYOUTS
from skelbench.methods import METHODS
from skelbench.results.store import RunStore

KINDS = {
    "methods": METHODS,
    "backbones": BACKBONES,
    "readers": READERS,
    "layouts": LAYOUTS,
    "protocols": PROTOCOLS,
    "tracks": ("equal", "published"),
    "presets": presets(),
}


def tree(command: click.Command = main, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command, those of groups too."""
    below = command.commands if isinstance(command, click.Group) else {}
    return [path] * bool(path) + [words for name, inner in below.items() for words in tree(inner, (*path, name))]


def program(*arguments, **more):
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "skelbench", *map(str, arguments)], capture_output=True, text=True, **more
    )


# --- Looking ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", KINDS)
def test_ls_names_every_entry_of_a_kind_with_a_word_about_it(skelbench, what):
    lines = skelbench("ls", what).stdout.splitlines()
    count = len(KINDS[what])  # the tracks are followed by their settings
    assert [line.split()[0] for line in lines][:count] == sorted(KINDS[what])
    listed = json.loads(skelbench("ls", what, "--json").stdout)[what]
    assert [entry["name"] for entry in listed][:count] == sorted(KINDS[what])
    assert what == "tracks" or len(listed) == len(lines) == count
    assert all(entry["about"] for entry in listed)


def test_ls_without_a_kind_shows_all_but_cells(skelbench):
    listed = json.loads(skelbench("ls", "--json").stdout)
    assert set(listed) == {*KINDS, "datasets"}
    text = skelbench("ls").stdout
    assert all(f"{kind}:" in text.splitlines() for kind in listed)


def test_ls_datasets_shows_what_is_prepared_and_what_can_be_generated(skelbench, store):
    lines = skelbench("ls", "datasets").stdout.splitlines()
    assert lines[0].split() == ["synthetic", "generated", "on", "first", "use"]
    assert "24 clips, 3 classes, ntu25, xsub, xview" in lines[1]


def test_ls_cells_shows_what_is_done(skelbench, finished, tmp_path):
    cells = json.loads(skelbench("ls", "cells", "--out", finished, "--json").stdout)["cells"]
    done = {str(r.cell): r for r in RunStore(finished).records()}
    assert {entry["name"] for entry in cells} == set(done)
    for entry in cells:
        last = done[entry["name"]].last
        assert entry["about"] == (f"top-1 {last.top1:.1f} %" if last else "trained")
    assert skelbench("ls", "cells", "--out", tmp_path / "nothing").stdout == "  none\n"


def test_inspect_counts_clips_by_split_and_class_and_draws_one(skelbench, store):
    facts = json.loads(skelbench("inspect", "tiny", "--json").stdout)
    assert facts["clips"] == 24
    assert facts["splits"]["xsub"]["train"] == facts["splits"]["xview"]["test"] == 12
    assert [c["clips"] for c in facts["classes"].values()] == [8, 8, 8]
    text = skelbench("inspect", "tiny").stdout
    assert "24 clips, checksums fit" in text
    assert any(0x2800 < ord(letter) <= 0x28FF for letter in text), "a picture in Braille dots"


def test_prepare_turns_an_interchange_file_into_a_store(skelbench, arrays, tmp_path):
    np.savez(tmp_path / "mine.npz", **arrays())
    (tmp_path / "leave.json").write_text('["s1c0r0", "s2c1r1"]')
    text = skelbench(
        "prepare", "arrays", "--from", tmp_path / "mine.npz", "--name", "mine", "--exclude", tmp_path / "leave.json"
    ).stdout
    assert text.splitlines()[0].startswith("mine: 22 clips,")
    assert "xsub: 11 train, 11 test" in text
    assert "excluded: 2 clips" in text
    assert str(tmp_path / "data" / "mine") in text
    assert "22 clips" in skelbench("inspect", "mine").stdout


def test_doctor_finds_a_sound_environment_sound_and_names_what_is_not(skelbench, store, tmp_path):
    text = skelbench("doctor", "--out", tmp_path / "runs").stdout
    assert all(line.startswith("ok  ") for line in text.splitlines())
    assert torch.__version__.split("+")[0] in text
    assert "data set tiny: 24 clips, checksums fit" in text
    assert not (tmp_path / "runs").exists(), "looking leaves nothing behind"
    (store.path / "clips.json").write_text("[]")
    result = skelbench("doctor", "--out", tmp_path / "runs", code=2)
    assert any(line.startswith("BAD  data set tiny:") for line in result.stdout.splitlines())
    assert result.stderr.startswith("Error: 1 of the checks above failed")


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}'])
def test_one_damaged_store_is_listed_as_such_among_the_others(skelbench, store, tmp_path, content):
    shutil.copytree(store.path, store.path.with_name("worn"))
    (store.path.with_name("worn") / "manifest.json").write_text(content)
    for what in ((), ("datasets",)):
        listed = {row["name"]: row["about"] for row in json.loads(skelbench("ls", *what, "--json").stdout)["datasets"]}
        assert "24 clips" in listed["tiny"]
        assert listed["worn"].startswith("DAMAGED: ")
    lines = skelbench("doctor", "--out", tmp_path / "runs", code=2).stdout.splitlines()
    assert any(line.startswith("BAD  data set worn:") for line in lines)
    assert "ok   data set tiny: 24 clips, checksums fit" in lines


def test_doctor_reports_a_missing_package(skelbench, tmp_path, monkeypatch):
    from skelbench.benchmark.doctor import machine

    monkeypatch.setattr(machine, "PACKAGES", ("numpy", "no-such-package"))
    text = skelbench("doctor", "--out", tmp_path, code=2).stdout
    assert "BAD  no-such-package: missing; pip install no-such-package" in text


# --- Tables -----------------------------------------------------------------------------------------------------


def test_the_table_of_a_folder_of_runs_in_every_format(skelbench, finished):
    linear = {
        (r.cell.method, r.cell.seed): r.last.top1
        for r in RunStore(finished).records()
        if r.cell.protocol == "linear" and r.last
    }
    floor = np.mean([linear["untrained", seed] for seed in (0, 1, 2)])
    table = list(csv.DictReader(io.StringIO(skelbench("table", "--out", finished, "--format", "csv").stdout)))
    by_method = {row["method"]: row for row in table}
    assert float(by_method["skeletonclr"]["linear"]) == pytest.approx(linear["skeletonclr", 0], abs=0.051)
    (untrained,) = (row for name, row in by_method.items() if name.startswith("untrained"))
    assert float(untrained["linear"]) == pytest.approx(floor, abs=0.051)
    markdown = skelbench("table", "--out", finished, "--format", "md").stdout
    rich = skelbench("table", "--out", finished).stdout
    for text in (markdown, rich):
        assert "tiny xsub, joint (custom: tiny)" in text
        for method in ("untrained (floor)", "skeletonclr", "skeattnclr"):
            assert method in text
    assert "|" in markdown


def test_a_grid_prints_the_table_of_its_own_cells(finished_once, finished, skelbench):
    grid = finished_once.output
    assert "tiny xsub, joint (custom: tiny)" in grid
    assert grid == skelbench("table", "--out", finished).stdout


def test_a_table_can_be_narrowed_and_says_when_nothing_fits(skelbench, finished):
    assert "custom: tiny" in skelbench("table", "--out", finished, "--track", "custom", "--label", "tiny").stdout
    for option in (("--track", "equal"), ("--dataset", "other"), ("--label", "demo")):
        result = skelbench("table", "--out", finished, *option, code=2)
        assert result.stderr.startswith("Error: No finished evaluation in")


# --- Running ----------------------------------------------------------------------------------------------------


def test_run_trains_and_evaluates_one_cell(skelbench, store, tiny_run, tmp_path):
    result = skelbench(*tiny_run, "--method", "skeletonclr", "--split", "xview", "--stream", "bone", "--seed", 3)
    records = RunStore(tmp_path / "runs").records()
    assert {(r.cell.split, r.cell.stream, r.cell.seed) for r in records} == {("xview", "bone", 3)}
    assert sorted(r.cell.protocol for r in records) == ["knn", "linear", "pretrain"]
    assert "skeletonclr" in result.stdout
    assert "epoch 2: loss" in result.stderr


def test_quiet_prints_results_only(skelbench, store, tiny_run):
    result = skelbench("--quiet", *tiny_run, "--method", "untrained", "--protocol", "knn")
    assert result.stderr == ""
    assert "untrained" in result.stdout


def test_a_setting_by_hand_goes_over_the_files_and_into_the_variant(skelbench, store, grid_file, tmp_path):
    out = tmp_path / "runs"
    file = grid_file(methods=["untrained"], protocols=["knn"], set={"frames": 16, "batch": 4, "clips": 24})
    skelbench("grid", file, "--out", out, "--set", "clips=20", "--set", "epochs=5")
    cells = [record.cell for record in RunStore(out).records()]
    assert {(cell.label, cell.variant) for cell in cells} == {("tiny", "clips=20")}, "a floor has no epochs"
    assert [r.settings["clips"] for r in RunStore(out).records()] == [20] * 6


def test_comma_lists_name_the_axes_of_a_grid(skelbench, store, tmp_path):
    text = skelbench(
        "grid", "--methods", "untrained, skeletonclr", "--datasets", "tiny", "--splits", "xsub,xview",
        "--streams", "joint,motion", "--protocols", "knn", "--seeds", "0,4", "--set", "batch=4",
        "--out", tmp_path / "runs", "--dry-run",
    ).stdout  # fmt: skip
    trained = [line for line in text.splitlines() if " pretrain " in line]
    assert len(trained) == 2 * 2 * (4 + 2)


def test_a_terminated_run_exits_143_and_the_same_command_finishes_it(skelbench, warm, store, tiny_run, tmp_path):
    plugin = tmp_path / "terminate.py"
    plugin.write_text(
        "import os, signal\n"
        "from skelbench.benchmark.train.trainer import Trainer\n"
        "step = Trainer.take_step\n"
        "def counted(self):\n"
        "    step(self)\n"
        "    if (self.run.epoch, self.run.iteration) == (2, 0):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "Trainer.take_step = counted\n"
    )
    method = ("--method", "skeletonclr", "--protocol", "knn", "--set", "epochs=3")
    stopped = warm.command("--plugin", plugin, *tiny_run, *method)
    assert stopped.wait() == 143, stopped.error
    assert "the same command resumes from it" in stopped.error
    assert "Traceback" not in stopped.error
    assert RunStore(tmp_path / "runs").records() == RunStore(tmp_path / "runs").failures() == []
    (checkpoint,) = (tmp_path / "runs").rglob("checkpoint.pt")
    assert torch.load(checkpoint, weights_only=True)["epoch"] == 2

    skelbench(*tiny_run, *method)
    skelbench(*tiny_run, *method, "--out", tmp_path / "undisturbed")
    (here,) = (tmp_path / "runs").rglob("encoder-0003.pt")
    (there,) = (tmp_path / "undisturbed").rglob("encoder-0003.pt")
    ours, theirs = (torch.load(path, weights_only=True) for path in (here, there))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("force", [False, True])
def test_a_stop_reports_its_signal_and_how_to_resume(skelbench, store, tiny_run, monkeypatch, number, code, force):
    step = Trainer.take_step
    monkeypatch.setattr(Trainer, "take_step", lambda self: (step(self), signal.raise_signal(number)))
    before = signal.getsignal(number)
    result = skelbench(*tiny_run, "--method", "skeletonclr", *["--force"] * force, code=code)
    assert ("the same command without --force resumes" in result.stderr) == force
    assert ("the same command resumes" in result.stderr) != force
    assert signal.getsignal(number) == before


def test_a_second_interrupt_ends_the_run_at_once(skelbench, store, tiny_run, tmp_path, monkeypatch):
    def impatient(*_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it went on")

    monkeypatch.setattr(Trainer, "take_step", impatient)
    result = skelbench(*tiny_run, "--method", "skeletonclr", code=130)
    assert "Stopped at once." in result.stderr
    assert not list((tmp_path / "runs").rglob("checkpoint.pt"))


def test_a_forced_run_that_was_stopped_goes_on_without_force(skelbench, store, tiny_run, tmp_path, monkeypatch):
    method = ("--method", "skeletonclr", "--protocol", "knn")
    skelbench(*tiny_run, *method)
    step = Trainer.take_step
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "take_step", lambda self: (step(self), signal.raise_signal(signal.SIGTERM)))
        skelbench(*tiny_run, *method, "--force", code=143)
    assert RunStore(tmp_path / "runs").records() == []
    starts = []
    monkeypatch.setattr(Trainer, "take_step", lambda self: (starts.append(self.run.iteration), step(self)))
    skelbench(*tiny_run, *method)
    assert starts == [1, 2, 0, 1, 2]
    assert len(RunStore(tmp_path / "runs").records()) == 2


def test_names_and_seeds_given_twice_count_once(skelbench, store, tmp_path):
    plan = skelbench(
        "grid", "--methods", "skeletonclr,skeletonclr", "--datasets", "tiny", "--protocols", "knn,knn",
        "--seeds", "0,0,00", "--set", "batch=4", "--out", tmp_path / "runs", "--dry-run", "--no-floor",
    ).stdout  # fmt: skip
    *cells, hours, _counted = plan.splitlines()
    assert (len(cells), hours.partition(";")[0]) == (2, "2 of 2 cells left")


# --- Loading ----------------------------------------------------------------------------------------------------


def test_looking_at_help_and_tables_does_not_load_torch(finished):
    script = (
        "import sys\n"
        "from skelbench.benchmark.cli import main\n"
        "for line in sys.stdin.read().splitlines():\n"
        "    main(line.split('|'), standalone_mode=False)\n"
        "    assert 'torch' not in sys.modules, line\n"
    )
    commands = ["--help", "--version", *("|".join((*command, "--help")) for command in tree())]
    commands += [f"table|--out|{finished}|--format|{style}" for style in ("rich", "md", "csv")]
    done = subprocess.run([sys.executable, "-c", script], input="\n".join(commands), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "skeletonclr" in done.stdout


def test_the_package_runs_as_a_module():
    done = program("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["skelbench,", "version", __version__]


@pytest.mark.parametrize("command", tree(), ids=" ".join)
def test_every_command_explains_itself(skelbench, command):
    text = skelbench(*command, "--help").stdout
    assert len(text.splitlines()) > 3
    assert os.environ["SKELBENCH_DATA"] not in text
