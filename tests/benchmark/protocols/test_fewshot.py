"""Few-shot episodes against plain loops, and what they may depend on."""

import math
import statistics
from typing import Any

import numpy as np
import pytest
import torch

from skelbench.benchmark.protocols import Features
from skelbench.benchmark.protocols.fewshot import FewShot, FewShotSettings, episodes, interval
from skelbench.errors import SkelbenchError

SMALL = FewShotSettings(ways=3, shots=2, also=(1,), queries=4, episodes=20)


def blobs(n=90, dim=6, classes=6, seed=0, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (n,), generator=generator)
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(99))
    return Features(centres[label] + spread * torch.randn(n, dim, generator=generator), label, torch.arange(n) % 5)


def in_plain_python(x, label, settings, seed):
    """The same draws, the rest in plain Python loops."""
    generator = torch.Generator().manual_seed(seed)
    needed = settings.shots + settings.queries
    pools = [np.flatnonzero(label == c).tolist() for c in np.unique(label)]
    pools = [pool for pool in pools if len(pool) >= needed]
    unit = [[v / math.hypot(*row) for v in row] for row in x.tolist()]
    for _ in range(settings.episodes):
        classes = torch.randperm(len(pools), generator=generator)[: settings.ways].tolist()
        drawn = []
        for c in classes:
            order = torch.randperm(len(pools[c]), generator=generator).tolist()
            drawn.append([pools[c][i] for i in order[:needed]])
        support = [[unit[i] for i in clips[settings.queries :]] for clips in drawn]
        means = [[statistics.mean(column) for column in zip(*rows, strict=True)] for rows in support]
        right = 0
        for true, clips in enumerate(drawn):
            for i in clips[: settings.queries]:
                cos = [sum(a * b for a, b in zip(unit[i], m, strict=True)) / math.hypot(*m) for m in means]
                right += cos.index(max(cos)) == true
        yield 100 * right / (settings.ways * settings.queries)


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("shots", [1, 3])
def test_episodes_are_those_of_a_loop_in_plain_python(seed, shots):
    side = blobs(seed=seed)
    settings = SMALL.model_copy(update={"shots": shots})
    expected = list(in_plain_python(side.x.double().numpy(), side.label.numpy(), settings, seed))
    assert len(set(expected)) > 3, "else this test could not fail"
    assert episodes(side.x, side.label, settings, seed).tolist() == pytest.approx(expected)
    assert episodes(side.x, side.label, SMALL, seed, shots=shots).tolist() == pytest.approx(expected)


def test_a_seed_repeats_the_episodes_whatever_the_global_generator_does():
    side = blobs()
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = episodes(side.x, side.label, SMALL, 3)
    assert torch.equal(torch.random.get_rng_state(), before), "and leaves it alone"
    torch.manual_seed(2)
    assert torch.equal(episodes(side.x, side.label, SMALL, 3), first)
    assert not torch.equal(episodes(side.x, side.label, SMALL, 4), first)


def test_clips_of_one_episode_are_all_different():
    """A query that was also an example would classify itself; here nothing else could classify it."""
    n, dim = 8, 64
    x = torch.eye(dim)[: 2 * n]
    label = torch.arange(2 * n) % 2
    settings = FewShotSettings(ways=2, shots=4, queries=4, episodes=30)
    assert set(episodes(x, label, settings, 0).tolist()) == {50.0}, "all cosines are 0, the first class is taken"


def test_classes_with_too_few_clips_are_left_out():
    label = torch.tensor([0] * 6 + [1] * 5 + [2] * 6 + [5] * 6)
    x = torch.eye(6)[label]
    x[label == 1] = torch.eye(6)[0]  # would be taken for class 0
    assert set(episodes(x, label, SMALL, 0).tolist()) == {100.0}


def test_too_few_classes_are_one_clear_error_that_names_the_small_ones():
    label = torch.tensor([0] * 6 + [3] * 5 + [4] * 6 + [8] * 2)
    with pytest.raises(SkelbenchError, match=r"of the 19 clips 2 classes have enough \(not the classes 3, 8\); set"):
        episodes(torch.randn(len(label), 4), label, SMALL, 0)
    with pytest.raises(SkelbenchError, match=r"of 3 classes need 6 clips of each, .* 2 classes have enough; set"):
        episodes(torch.randn(12, 4), torch.arange(12) // 6, SMALL, 0)
    with pytest.raises(SkelbenchError, match=r"0 classes have enough \(not the classes 0, 1, .* 9 and more\); set"):
        episodes(torch.randn(20, 4), torch.arange(20), SMALL, 0)


def test_features_without_a_class_are_at_chance_and_separate_ones_are_right():
    settings = FewShotSettings(episodes=400)
    label = torch.arange(400) % 8
    chance = episodes(torch.randn(400, 32, generator=torch.Generator().manual_seed(1)), label, settings, 0)
    assert abs(chance.mean().item() - 20) < 3 * interval(chance)
    assert set(episodes(torch.eye(8)[label], label, settings, 0).tolist()) == {100.0}
    same = episodes(torch.ones(400, 8), label, settings, 0)
    assert same.tolist() == pytest.approx([20] * 400), "a collapsed encoder is at chance"


def test_the_interval_is_that_of_the_mean():
    accuracy = torch.tensor([20.0, 40.0, 60.0, 90.0]).double()
    assert interval(accuracy) == pytest.approx(1.96 * statistics.stdev(accuracy.tolist()) / 2)


def test_the_interval_holds_the_mean_of_many_episodes_about_95_times_in_100():
    side = blobs(n=300, spread=2)
    true = episodes(side.x, side.label, SMALL.model_copy(update={"episodes": 4000}), 1000).mean().item()
    inside = 0
    for seed in range(100):
        accuracy = episodes(side.x, side.label, SMALL, seed)
        inside += abs(accuracy.mean().item() - true) < interval(accuracy)
    assert 86 <= inside <= 100


def outcome(epochs, selection: Any = "held_out"):
    return FewShot().measure(epochs, classes=6, settings=SMALL, selection=selection, seed=0)


def test_the_protocol_reports_mean_and_interval_for_each_number_of_shots():
    train, test = blobs(seed=1), blobs(seed=2)
    found = outcome({3: (train, test)})
    main = episodes(test.x, test.label, SMALL, 0)
    other = episodes(test.x, test.label, SMALL, 0, shots=1)
    assert found.last == {"top1": pytest.approx(main.mean().item()), "top5": None}
    assert found.extra == pytest.approx(
        {"interval": interval(main), "top1_shots1": other.mean().item(), "interval_shots1": interval(other)}
    )
    assert found.scores.numel() == 0, "a clip has no score for the classes that its episode did not draw"


def test_best_is_chosen_by_episodes_of_training_clips_and_by_the_test_set_only_in_published():
    epochs = {
        1: (blobs(seed=1, spread=2), blobs(seed=11, spread=0.1)),
        2: (blobs(seed=2, spread=0.1), blobs(seed=12, spread=2)),
        3: (blobs(seed=3, spread=2), blobs(seed=13, spread=2)),
    }
    fair, published = outcome(epochs), outcome(epochs, "published")
    assert (fair.best["epoch"], published.best["epoch"]) == (2, 1)
    assert "training clips" in fair.best["rule"]
    assert "test set" in published.best["rule"]
    assert fair.last == published.last == {"top1": fair.curve[2]["test_top1"], "top5": None}
    assert [set(row) for row in fair.curve] == [{"epoch", "test_top1", "held_out_top1"}] * 3
    assert [set(row) for row in published.curve] == [{"epoch", "test_top1"}] * 3
