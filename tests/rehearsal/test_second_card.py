"""What runs on a card that is not the first: CUDA's calls without a device are about the current one, which is."""

import json
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from skelbench.benchmark.forecast.ceilings import measure_ceilings
from skelbench.benchmark.forecast.counting import Work
from skelbench.benchmark.forecast.trace import Traced
from skelbench.benchmark.protocols.head import Head
from skelbench.benchmark.train.devices import reset_peak_memory
from skelbench.benchmark.train.step import cuda_graph

from .card import Card, Machine
from .placed import PlacedGenerator

SECOND = "cuda:1"


@pytest.fixture
def noted(monkeypatch):
    """What a program does on which card: [(what, number)]."""
    current, done = [0], []

    @contextmanager
    def device(name):
        current.append(torch.device(name).index)
        yield
        current.pop()

    @contextmanager
    def graph(graph, stream=None):
        done.append(("graph", 0 if stream is None else stream.number))  # torch keeps a stream of the first card
        yield

    class Event:
        def __init__(self, enable_timing=False):
            assert enable_timing

        def record(self):
            done.append(("event", current[-1]))

        def elapsed_time(self, later):
            return 1.0

    changes: dict[str, Any] = {
        "device": device,
        "graph": graph,
        "Event": Event,
        "Stream": lambda: SimpleNamespace(number=current[-1]),
        "CUDAGraph": lambda: SimpleNamespace(register_generator_state=lambda generator: None, replay=None),
        "synchronize": lambda: done.append(("synchronize", current[-1])),
    }
    for name, value in changes.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return done


def test_a_graph_records_a_stream_of_the_card_that_its_work_is_on(noted):
    cuda_graph(lambda: noted.append(("work", 1)), PlacedGenerator(SECOND))
    assert noted == [("synchronize", 1), ("graph", 1), ("work", 1)]


def test_steps_are_timed_on_the_card_that_they_run_on(noted, monkeypatch):
    monkeypatch.setattr("skelbench.benchmark.forecast.ceilings.COPY", 10**6)
    monkeypatch.setattr("skelbench.benchmark.forecast.ceilings.PRODUCT", {"cuda": 128})
    with Machine():
        measure_ceilings(SECOND)
    assert set(noted) == {("event", 1)}


@pytest.mark.slow
def test_a_bench_runs_on_a_second_card(noted, skelbench, monkeypatch):
    traced = Traced(Work(1.0, 1.0, 1.0), 1.0)  # the stand-in gives values to the tensors that a trace has without
    monkeypatch.setattr("skelbench.benchmark.speed.step.training_step", lambda *_: traced)
    monkeypatch.setattr("skelbench.benchmark.forecast.ceilings.COPY", 10**6)
    monkeypatch.setattr("skelbench.benchmark.forecast.ceilings.PRODUCT", {"cuda": 128})
    words = ["--batch", 4, "--frames", 16, "--width", 4, "--steps", 3, "--plain-steps", 0, "--device", SECOND, "--json"]
    with Machine():
        found = json.loads(skelbench("bench", "step", *words).stdout)
    assert found["device"] == "a card without a driver"
    assert [row["median_ms"] for row in found["rows"]] == [1.0]
    assert set(noted) == {("event", 1)}


def test_a_process_that_has_used_no_card_yet_measures_the_memory_of_one_by_its_number():
    """As a worker whose first cell fine-tunes: clips and encoder are loaded after the measurement has begun."""
    with Machine() as machine:
        with pytest.raises(RuntimeError, match="Invalid device"):
            torch.cuda.reset_peak_memory_stats(SECOND)
        reset_peak_memory(SECOND)
        assert machine.started


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_torch_refuses_a_number_before_a_card_is_used():
    with pytest.raises(RuntimeError, match="Invalid device"):
        torch.cuda.reset_peak_memory_stats(SECOND)


def test_a_classifier_on_a_card_is_completed_there():
    with Machine():
        head = Head(torch.ones(2, 3, device="cuda"), torch.zeros(2, device="cuda"))
        x = torch.rand(4, 3, device="cuda")
        scores = head.standardising()(x)
        assert isinstance(scores, Card)
        assert torch.equal(scores, head(x))
