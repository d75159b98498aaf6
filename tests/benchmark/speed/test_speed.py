"""The speed benchmarks: every part runs, and the plain references compute the same as ours."""

import json
import math
import multiprocessing

import pytest
import torch
from torch.nn import functional

from skelbench.benchmark.forecast import ceilings
from skelbench.benchmark.plan.tracks import equal
from skelbench.benchmark.protocols.knn import vote
from skelbench.benchmark.speed.evaluate import bench_evaluate, made_up
from skelbench.benchmark.speed.reference.evaluation import steps_through_the_encoder, vote_plain
from skelbench.benchmark.speed.step import SMALL_CLIPS
from skelbench.errors import SkelbenchError

SMALL = ["--train", 130, "--test", 120, "--dim", 8, "--classes", 6, "--clips", 6]


@pytest.mark.full_depth
def test_bench_eval_prints_a_line_for_every_figure_and_the_same_names_in_json(skelbench):
    shown = skelbench("bench", "eval", *SMALL).stdout
    figures = json.loads(skelbench("bench", "eval", *SMALL, "--json").stdout)["figures"]
    assert all(set(figure) == {"name", "value", "unit"} and figure["value"] > 0 for figure in figures)
    names = [figure["name"] for figure in figures]
    assert [line[:55].strip() for line in shown.splitlines()] == [name[:55] for name in names]
    assert all(len(name) <= 55 for name in names), "the table's columns hold"
    for wanted in ("encode, ST-GCN of width 16", "knn, k 1, 5, 10, 20, 40", "linear, 100 epochs", "extrapolated"):
        assert any(wanted in name for name in names), wanted


def test_bench_eval_with_too_few_test_clips_is_one_clear_error(skelbench):
    message = skelbench("bench", "eval", "--test", 100, "--classes", 30, code=2).output
    assert "100 test clips are too few for 30 classes: an episode draws 16 of each" in message
    with pytest.raises(SkelbenchError, match="too few"):
        next(bench_evaluate(train=100, test=100, dim=4, classes=30))


def test_the_plain_neighbours_vote_as_knn_does():
    bank, queries = made_up(200, 40, 6, 5)
    unit = functional.normalize(bank.x, dim=1)
    plain = [vote_plain(unit, bank.label.tolist(), query, k=10, temperature=0.1) for query in queries.x]
    ours = vote(bank.x, bank.label, queries.x, k=10, temperature=0.1, classes=5)
    assert plain == ours.argmax(dim=1).tolist()
    assert len(set(plain)) == 5


def test_made_up_features_are_the_same_every_time_and_neither_easy_nor_hopeless():
    (train, test), (again, _) = made_up(4000, 600, 32, 10), made_up(4000, 600, 32, 10)
    assert torch.equal(train.x, again.x)
    assert not torch.equal(train.x[:600], test.x)
    right = vote(train.x, train.label, test.x, k=10, temperature=0.1, classes=10).argmax(1) == test.label
    assert 0.15 < right.float().mean() < 0.95


def test_a_step_through_the_encoder_encodes_the_complete_batch_each_time():
    seen = []

    def encode(x):
        seen.append(len(x))
        return x.flatten(1)

    seconds = steps_through_the_encoder(encode, torch.randn(6, 3, 2, 2, 1), torch.arange(6) % 3, 3, steps=2)
    assert seen == [1, 6, 6, 6]
    assert math.isfinite(seconds) and seconds > 0


@pytest.fixture
def small_ceilings(monkeypatch):
    monkeypatch.setattr(ceilings, "COPY", 2**16)
    monkeypatch.setattr(ceilings, "PRODUCT", dict.fromkeys(ceilings.PRODUCT, 64))


@pytest.mark.full_depth
@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_bench_step_is_measured_beside_the_plain_reference_and_compared_by_check(
    start, skelbench, small_ceilings, tmp_path, monkeypatch
):
    """The process of the reference is a new one; a fork, which has loaded torch already, runs the same."""
    if start == "fork" and torch.cuda.is_available():
        pytest.skip("autograd with a GPU starts threads, which a fork loses")
    context = multiprocessing.get_context(start)
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: context)
    sizes = ["--width", 4, "--batch", 4, "--frames", 8, "--steps", 5, "--plain-steps", 5]
    stored = json.loads(skelbench("bench", "step", *sizes, "--json").stdout)
    ours, plain = stored["rows"]
    assert (ours["name"], plain["name"], ours["steps"], plain["steps"]) == ("skeletonclr", "plain reference", 5, 5)
    assert ours["times_faster"] == pytest.approx(plain["median_ms"] / ours["median_ms"], rel=1e-2)
    assert ours["recompilations"] == 0
    assert all(value > 0 for key, value in ours.items() if key not in ("name", "recompilations"))
    assert all(value > 0 for value in stored["ceilings"].values())
    (tmp_path / "stored.json").write_text(json.dumps(stored))
    skelbench("check", tmp_path / "stored.json", "--against", tmp_path / "stored.json")
    ours["median_ms"] *= 1.06
    (tmp_path / "fresh.json").write_text(json.dumps(stored))
    shown = skelbench("check", tmp_path / "fresh.json", "--against", tmp_path / "stored.json", code=1).stdout
    assert "skeletonclr" in shown and "fail" in shown


def test_bench_step_prints_a_table(skelbench, small_ceilings):
    shown = skelbench(
        "bench", "step", "--width", 4, "--batch", 4, "--frames", 8, "--steps", 1, "--plain-steps", 0
    ).stdout
    for wanted in (
        "skeletonclr:",
        "median_ms",
        "gflop",
        "share_of_copy",
        "recompilations",
        "ceiling: copy_gb_per_second",
    ):
        assert wanted in shown, wanted
    assert "plain reference" not in shown


def test_bench_step_small_takes_the_settings_of_the_equal_track_on_open_data(skelbench, small_ceilings):
    stored = json.loads(skelbench("bench", "step", "--small", "--steps", 1, "--plain-steps", 0, "--json").stdout)
    settings, rule = stored["settings"], equal("skeletonclr", "stgcn", SMALL_CLIPS, {})
    assert settings["backbone_args"] == rule.backbone
    assert (settings["batch"], settings["frames"], settings["threads"]) == (rule.batch, rule.frames, 1)
    assert (settings["layout"], settings["persons"]) == ("kinect20", 1)
    message = skelbench("bench", "step", "--small", "--frames", 8, code=2).output
    assert "--small sets --frames itself; leave one of them out." in message
