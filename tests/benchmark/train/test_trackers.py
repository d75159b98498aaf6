"""The learning curve written during training."""

import csv
import json
import signal
import sys

import pytest

from skelbench.benchmark.train.progress import Silent
from skelbench.benchmark.train.trackers import tracked
from skelbench.benchmark.train.trainer import Trainer


def row(epoch, loss=1.5):
    return {"epoch": epoch, "loss": loss, "lr": 0.1, "seconds": 2.0, "clips_per_second": 64.0}


def lines(folder):
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]


def track(folder, *rows, names=()):
    watcher = tracked(Silent(), folder, names)
    with watcher.training(9, 1, 1):
        for one in rows:
            watcher.epoch(one)


class Recorder(Silent):
    def __init__(self):
        self.heard = []

    def epoch(self, row):
        self.heard.append(row)

    def say(self, text):
        self.heard.append(text)


def test_a_line_is_there_as_soon_as_its_epoch_is_over(tmp_path):
    watcher = tracked(Silent(), tmp_path)
    for epoch in (1, 2, 3):
        watcher.epoch(row(epoch))
        assert [one["epoch"] for one in lines(tmp_path)] == list(range(1, epoch + 1))
    assert lines(tmp_path)[1] == row(2)


def test_what_the_watcher_hears_is_passed_on(tmp_path):
    watcher = Recorder()
    forwarding = tracked(watcher, tmp_path)
    forwarding.epoch(row(1))
    forwarding.say("a line")
    assert watcher.heard == [row(1), "a line"]


def test_epochs_that_are_trained_again_replace_their_rows(tmp_path):
    track(tmp_path, row(1), row(2), row(3, loss=9.0))
    track(tmp_path, row(3, loss=0.5), row(4))
    assert lines(tmp_path) == [row(1), row(2), row(3, loss=0.5), row(4)]


def test_a_run_that_starts_over_leaves_nothing_of_the_older_one(tmp_path):
    track(tmp_path, row(1), row(2))
    track(tmp_path, row(1, loss=0.5))
    assert lines(tmp_path) == [row(1, loss=0.5)]


@pytest.mark.parametrize("partial", ['{"epoch": 3, "lo', "\x00\x00", "[3]", "{}"])
def test_an_incomplete_last_line_is_removed(tmp_path, partial):
    track(tmp_path, row(1), row(2))
    with (tmp_path / "curve.jsonl").open("a") as file:
        file.write(partial)
    track(tmp_path, row(3))
    assert lines(tmp_path) == [row(1), row(2), row(3)]


def test_a_run_killed_behind_its_checkpoint_keeps_each_epoch_once(skelbench, store, tiny_run, tmp_path, monkeypatch):
    command = (*tiny_run, "--method", "skeletonclr", "--protocol", "knn", "--set", "epochs=4")
    step = Trainer.take_step

    def stopped(self):
        step(self)
        if self.run.epoch == 2:
            signal.raise_signal(signal.SIGTERM)

    def killed(self):
        if self.run.epoch == 4:
            raise KeyboardInterrupt
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "take_step", stopped)
        skelbench(*command, code=143)
        patch.setattr(Trainer, "take_step", killed)
        skelbench(*command, code=None)
    (folder,) = (path.parent for path in (tmp_path / "runs").rglob("checkpoint.pt"))
    assert [one["epoch"] for one in lines(folder)] == [1, 2, 3]  # the checkpoint is of the second epoch

    skelbench(*command)
    assert [one["epoch"] for one in lines(folder)] == [1, 2, 3, 4]
    with (folder / "curve.csv").open() as file:
        curve = list(csv.DictReader(file))
    assert [{name: str(value) for name, value in one.items()} for one in lines(folder)] == curve


def test_a_tracker_without_its_package_is_one_sentence_before_anything_runs(
    skelbench, store, tiny_run, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    result = skelbench(*tiny_run, "--method", "skeletonclr", "--tracker", "tensorboard", code=2)
    assert result.stderr.strip().splitlines() == [
        "Error: --tracker tensorboard needs the package tensorboard; install it with: "
        'pip install "skelbench[tensorboard]"'
    ]
    assert not (tmp_path / "runs").exists()


def test_an_unknown_tracker_is_refused(skelbench, store, tiny_run):
    result = skelbench(*tiny_run, "--method", "skeletonclr", "--tracker", "tensorbored", code=2)
    assert "There is no tracker 'tensorbored'; did you mean 'tensorboard'?" in result.stderr


def test_event_files_hold_the_curve_and_of_a_resumed_run_each_epoch_once(tmp_path):
    module = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = pytest.importorskip(module, reason="the package tensorboard is not installed")
    track(tmp_path, row(1), row(2), row(3, loss=9.0), names=("tensorboard",))
    track(tmp_path, row(3, loss=0.5), row(4), names=("tensorboard",))
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "lr", "seconds", "clips_per_second"}
    assert [(one.step, one.value) for one in events.Scalars("loss")] == [(1, 1.5), (2, 1.5), (3, 0.5), (4, 1.5)]


def test_a_grid_with_a_tracker_writes_events_into_the_folder_of_the_run(skelbench, store, tiny_run, tmp_path):
    pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
    skelbench(*tiny_run, "--method", "skeletonclr", "--protocol", "knn", "--tracker", "tensorboard")
    (events,) = (tmp_path / "runs").rglob("events.out.tfevents.*")
    assert (events.parent / "curve.jsonl").exists()
