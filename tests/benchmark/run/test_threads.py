"""A cell on the CPU runs on one thread, whatever the process uses, and its record says so."""

import pytest
import torch

from skelbench.benchmark.cli.launch import _usual
from skelbench.results.store import RunStore


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("words", "threads"), [((), 1), (("--threads", 2), 2)])
def test_a_cell_takes_the_threads_it_is_given(words, threads, two_threads, store, tiny_run, skelbench, tmp_path):
    skelbench(*tiny_run, "--method", "skeletonclr", "--protocol", "knn", "--set", "epochs=1", *words)
    records = RunStore(tmp_path / "runs").records()
    assert len(records) >= 2
    assert [record.environment["threads"] for record in records] == [threads] * len(records)
    assert torch.get_num_threads() == 2, "and gives them back"


def test_as_many_cells_as_cores_run_at_once_on_the_cpu(monkeypatch):
    monkeypatch.setattr("skelbench.datasets.readers.parallel.available_cores", lambda: 8)
    assert _usual(["cpu"], 30, 1) == "8"
    assert _usual(["cpu"], 3, 1) == "3"
    assert _usual(["cpu"], 30, 4) == "2"
    assert _usual(["cuda:0"], 30, 1) == "1"
    assert _usual(["cpu"], 0, 1) == "1"
