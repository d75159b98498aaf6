"""Progress output."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from skelbench.benchmark.train.progress import Silent, Talkative

ROW = {"epoch": 3, "loss": 1.25, "seconds": 2.0, "clips_per_second": 640.4}


def printed(watcher_of, *, terminal, verbose=False):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=120, color_system=None)
    watcher = watcher_of(console, verbose=verbose)
    with watcher.training(2, 5, 64) as watch:
        for epoch in (1, 2):
            for iteration in range(1, 6):
                watch(epoch, iteration)
            watcher.epoch(ROW)
    watcher.say("a line of [text]")
    return screen.getvalue()


def test_without_a_terminal_there_is_a_plain_line_per_epoch():
    line = "  epoch 3: loss 1.2500, 2.0 s, 640 clips/s"
    assert printed(Talkative, terminal=False).splitlines() == [line, line, "a line of [text]"]


@pytest.mark.parametrize("verbose", [False, True])
def test_on_a_terminal_there_is_a_bar_and_lines_only_if_asked_for(verbose):
    text = printed(Talkative, terminal=True, verbose=verbose)
    assert "10/10" in text
    assert "epoch 2/2" in text
    assert "clips/s" in text
    assert ("loss 1.2500" in text) == verbose


def test_a_resumed_run_counts_its_speed_from_where_it_resumed(monkeypatch):
    seconds = iter([0.0, 1.0, 2.0])
    monkeypatch.setattr("skelbench.benchmark.train.progress.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    screen = io.StringIO()
    watcher = Talkative(Console(file=screen, force_terminal=True, width=120, color_system=None))
    with watcher.training(100, 5, 64) as watch:
        watch(99, 3)  # 492 steps were done by the run before, one by this
        watch(99, 4)
    assert "494/500" in screen.getvalue()
    assert " 64 clips/s" in screen.getvalue()


def test_silence_says_nothing(capsys):
    watcher = Silent()
    with watcher.training(1, 1, 1) as watch:
        watch(1, 1)
    watcher.epoch(ROW)
    watcher.say("nothing")
    assert capsys.readouterr() == ("", "")
