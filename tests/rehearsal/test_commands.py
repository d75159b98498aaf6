"""Commands on a machine with a card: what they write is what the CPU's write, and where they wait is known."""

import json

import numpy as np
import pytest
import torch

from skelbench.benchmark.protocols import PROTOCOLS, run_protocol
from skelbench.benchmark.protocols.base import Features
from skelbench.benchmark.train.devices import choose_device
from skelbench.results.files import read_scores_and_facts

from .card import Card, Machine
from .small import TRAINABLE

PROTOCOLS_OF_RUNS = [name for name in PROTOCOLS if not getattr(PROTOCOLS[name], "imported_only", False)]
SETTINGS = {
    "frames": 16,
    "epochs": 1,
    "batch": 4,
    "backbone.width": 4,
    "backbone.dim": 16,
    "backbone.dropout": 0,
    "linear.epochs": 2,
    "linear.batch": 8,
    "finetune.epochs": 1,
    "finetune.crop": 6,
    "semi1.epochs": 1,
    "semi10.epochs": 1,
    "knn.map": True,
    "fewshot.ways": 2,
    "fewshot.queries": 1,
    "fewshot.also": [],
    "fewshot.episodes": 2,
}
# The modules in which a run waits for the card, or copies from the host. No step of a pre-training does.
WAITS = {
    "backbones/stgcn",  # how many persons are there, in evaluation mode
    "benchmark/protocols/base",  # accuracies, and clips held out
    "benchmark/protocols/collapse",
    "benchmark/protocols/features",  # infinite features
    "benchmark/protocols/fewshot",
    "benchmark/protocols/head",
    "benchmark/protocols/linear",  # infinite weights
    "benchmark/protocols/neighbours",  # ties
    "benchmark/protocols/retrieval",
    "benchmark/protocols/tuning",  # loss and accuracy of an epoch
    "benchmark/run/encoders",
    "benchmark/run/record",
    "benchmark/train/trainer",  # losses of an epoch
    "datasets/clips",
}
COPIES = {
    "benchmark/protocols/base",
    "benchmark/protocols/fewshot",
    "benchmark/protocols/finetune",
    "benchmark/protocols/linear",  # the classifier's start, and the order of the clips in each epoch
    "benchmark/protocols/tuning",
    "benchmark/run/encoders",  # weights
    "benchmark/train/trainer",  # the order of the clips in each epoch
    "datasets/clips",
}


def modules(places):
    return {place.partition(" ")[0] for place in places}


def records(folder):
    """The records of a folder by protocol, without what differs between two runs of the same."""
    found = {}
    for path in folder.glob("*/record.json"):
        record = json.loads(path.read_text())
        found[record["cell"]["protocol"]] = record
    return found


def rounded(value):
    """A value with its numbers to four digits."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


@pytest.fixture
def both(skelbench, store, tmp_path):
    """Run the same command on the CPU and on a card; the folders of runs and the machine."""
    changes = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={json.dumps(value)}")]

    def run(*words):
        command = [*words, *changes]
        skelbench(*command, "--device", "cpu", "--out", tmp_path / "cpu")
        with Machine() as machine:
            skelbench(*command, "--device", "cuda", "--out", tmp_path / "card")
        return tmp_path / "cpu", tmp_path / "card", machine

    return run


def test_a_run_on_a_card_writes_what_the_cpu_writes(both):
    cpu, card, machine = both(
        "run", "--dataset", "tiny", "--method", "skeletonclr", "--protocol", ",".join(PROTOCOLS_OF_RUNS)
    )
    expected, found = records(cpu), records(card)
    assert set(expected) == set(found) == {"pretrain", *PROTOCOLS_OF_RUNS}
    for name, record in expected.items():
        for part in ("last", "best", "extra", "model", "settings"):
            assert rounded(found[name][part]) == rounded(record[part]), (name, part)
    assert modules(machine.waits) == WAITS
    assert modules(machine.copies) == COPIES
    of_steps = ("benchmark/train/step", "benchmark/train/trainer take_step", "methods/")
    assert not [place for place in (*machine.waits, *machine.copies) if place.startswith(of_steps)]


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINABLE)
def test_every_method_trains_on_a_card_as_on_the_cpu(name, both):
    cpu, card, machine = both("run", "--dataset", "tiny", "--method", name, "--protocol", "knn")
    expected, found = records(cpu), records(card)
    assert rounded(found["knn"]["last"]) == rounded(expected["knn"]["last"])
    assert rounded(found["pretrain"]["model"]) == rounded(expected["pretrain"]["model"])
    assert modules(machine.waits) <= WAITS
    assert "benchmark/train/trainer take_step" not in machine.waits | machine.copies


@pytest.mark.slow
def test_streams_are_fused_and_features_written_on_a_card_as_on_the_cpu(both, skelbench, tmp_path):
    words = ["--methods", "skeletonclr", "--backbones", "stgcn", "--datasets", "tiny", "--splits", "xsub"]
    cpu, card, _ = both("grid", *words, "--streams", "joint,bone,motion,3s", "--protocols", "linear", "--workers", 1)
    written = []
    for folder, device in ((cpu, "cpu"), (card, "cuda")):
        run = next(folder.glob("*-joint-pretrain-*"))
        with Machine():
            skelbench("features", run, "--dataset", "tiny", "--device", device, "--to", tmp_path / f"{device}.npz")
        with np.load(tmp_path / f"{device}.npz") as content:
            written.append(content["features"])
    np.testing.assert_allclose(written[1], written[0], rtol=1e-4, atol=1e-5)
    fused = [next(folder.glob("*-3s-linear-*/scores.npz")) for folder in (cpu, card)]
    scores = [read_scores_and_facts(path)[2] for path in fused]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-2, atol=1e-2)


def test_a_classifier_scores_on_a_card():
    label, subject = torch.arange(4) % 2, torch.arange(4)
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [2.0, 3.0], [2.0, 3.0]])
    protocol = PROTOCOLS["classifier"]
    how = {"classes": 2, "settings": protocol.Settings(), "selection": "held_out", "seed": 0}
    with Machine():
        side = Features(logits.to("cuda"), label.to("cuda"), subject)
        outcome = run_protocol(protocol, {1: (side, side)}, **how)
        assert isinstance(outcome.scores, Card)
    assert outcome.last == {"top1": 75.0, "top5": None}


def test_the_card_is_the_device_that_auto_takes():
    with Machine():
        assert choose_device("auto") == "cuda"


def test_doctor_computes_on_the_card(skelbench, tmp_path):
    with Machine():
        found = skelbench("doctor", "--out", tmp_path).output
    assert "cuda (a card without a driver)" in found
    assert "a convolution gives the expected result" in found


@pytest.mark.slow
def test_figures_are_drawn_and_runs_reproduced_on_a_card(skelbench, store, tmp_path):
    changes = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    for method, figures in (("skeattnclr", ("tsne", "attention")), ("mica", ("frest",))):
        with Machine():
            command = ["run", "--dataset", "tiny", "--method", method, "--protocol", "knn", *changes]
            skelbench(*command, "--device", "cuda", "--out", tmp_path / method)
        run = next((tmp_path / method).glob(f"*-{method}-*-pretrain-*"))
        for figure in figures:
            drawn = []
            for device in ("cpu", "cuda"):
                with Machine():
                    skelbench("plot", figure, run, "--to", tmp_path / f"{device}.svg", "--device", device)
                drawn.append((tmp_path / f"{device}.svg").stat().st_size)
            assert min(drawn) > 1000, figure
        with Machine():
            assert "Reproduced bit for bit" in skelbench("run", "--reproduce", run, "--device", "auto").output
