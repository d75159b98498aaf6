"""The evaluation protocols against the released code's numbers and against plain loops."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from skelbench.benchmark.evaluate import evaluate
from skelbench.benchmark.protocols import PROTOCOLS, Features, Fit, held_out, run_protocol, top
from skelbench.benchmark.protocols.collapse import effective_rank, mean_cosine
from skelbench.benchmark.protocols.features import extract
from skelbench.benchmark.protocols.knn import KnnSettings, vote
from skelbench.benchmark.protocols.linear import LinearSettings, standardiser
from skelbench.errors import SkelbenchError
from skelbench.methods import create_method

LINEAR: Any = PROTOCOLS["linear"]
FAST = LinearSettings(epochs=6, batch=8, lr=0.5, lr_steps=(4,), standardise=True, every=2)


def blobs(n=40, dim=6, classes=4, subjects=5, seed=0, spread=1.5):
    """Features (n, dim) scattered around a centre for each class."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % classes
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(99))
    x = centres[label] + spread * torch.randn(n, dim, generator=generator)
    return Features(x, label, 1 + torch.arange(n) // classes % subjects)


def linear(train, test, settings=FAST, seed=0, classes=4):
    return LINEAR.fit(train, {"test": test}, classes=classes, settings=settings, seed=seed)


# --- knn --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [10, 20, 40])
def test_votes_are_those_of_the_released_code(golden, k):
    recorded = golden("mixing/knn.npz")
    bank, queries = torch.from_numpy(recorded["bank_DxN"].T), torch.from_numpy(recorded["query"])
    label = torch.from_numpy(recorded["bank_labels"])
    scores = vote(bank, label, queries, k=k, temperature=0.1, classes=10)
    np.testing.assert_allclose(scores.numpy(), recorded[f"scores_k{k}"], rtol=1e-5, atol=1e-6)
    assert scores.argmax(dim=1).tolist() == recorded[f"pred_k{k}"][:, 0].tolist()


@pytest.mark.parametrize("k", [1, 3, 10, 500])
def test_votes_are_those_of_a_loop_in_plain_python(k):
    bank, queries = blobs(seed=1), blobs(n=7, seed=2)
    scores = vote(bank.x, bank.label, queries.x, k=k, temperature=0.2, classes=5)
    for query, row in zip(queries.x.tolist(), scores.tolist(), strict=True):
        length = math.sqrt(sum(v * v for v in query))
        near = []
        for other, label in zip(bank.x.tolist(), bank.label.tolist(), strict=True):
            dot = sum(a * b for a, b in zip(query, other, strict=True))
            near.append((dot / length / math.sqrt(sum(v * v for v in other)), label))
        near = sorted(near, reverse=True)[:k]  # a k larger than the bank takes all of it
        expected = [sum(math.exp(cos / 0.2) for cos, label in near if label == c) for c in range(5)]
        assert row == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("temperature", [0.01, 1e-4])
def test_votes_at_a_low_temperature_are_numbers_and_order_the_classes_as_exactly_computed(temperature):
    bank, queries = blobs(seed=1), blobs(n=7, seed=2)
    scores = vote(bank.x, bank.label, queries.x, k=10, temperature=temperature, classes=4)
    assert torch.isfinite(scores).all()
    near = functional.normalize(queries.x, dim=1) @ functional.normalize(bank.x, dim=1).T
    similarity, nearest = near.topk(10, dim=1)
    votes = ((similarity.double() - similarity[:, :1].double()) / temperature).exp()
    exact = torch.zeros(7, 4, dtype=torch.float64).scatter_add_(1, bank.label[nearest], votes)
    torch.testing.assert_close(scores.double(), exact, rtol=1e-3, atol=1e-6)


def test_votes_in_chunks_are_the_votes_at_once(monkeypatch):
    bank, queries = blobs(seed=1), blobs(n=11, seed=2)
    complete = vote(bank.x, bank.label, queries.x, k=5, temperature=0.1, classes=4)
    monkeypatch.setattr("skelbench.benchmark.protocols.neighbours.CHUNK", 4)
    chunked = vote(bank.x, bank.label, queries.x, k=5, temperature=0.1, classes=4)
    torch.testing.assert_close(chunked, complete, rtol=1e-5, atol=0)


def test_knn_keeps_the_main_k_as_its_score_and_the_others_beside_it():
    train, test = blobs(seed=1), blobs(n=20, seed=2)
    settings = KnnSettings(k=3, also=(1, 7), temperature=0.1)
    outcome = run_protocol(
        PROTOCOLS["knn"], {0: (train, test)}, classes=4, settings=settings, selection="held_out", seed=0
    )
    expected = {
        k: 100
        * (vote(train.x, train.label, test.x, k=k, temperature=0.1, classes=4).argmax(1) == test.label)
        .double()
        .mean()
        .item()
        for k in (1, 3, 7)
    }
    assert outcome.last["top1"] == pytest.approx(expected[3])
    collapse = {"mean_cosine": mean_cosine(train.x), "effective_rank": effective_rank(train.x)}
    assert outcome.extra == pytest.approx({"top1_k1": expected[1], "top1_k7": expected[7]} | collapse)
    assert outcome.best["step"] is None, "voting has no training"


# --- linear -----------------------------------------------------------------------------------------------------


def test_linear_takes_the_steps_of_the_released_probe(golden, monkeypatch):
    recorded = golden("moco-family/linear_probe_steps.npz")
    start = torch.from_numpy(recorded["W0"])
    monkeypatch.setattr(torch, "randn", lambda *size, generator: start / 0.02)
    monkeypatch.setattr(torch, "randperm", lambda n, generator: torch.arange(n))
    losses, weights, cross_entropy, step = [], [], functional.cross_entropy, torch.optim.SGD.step

    def recording(logits, label):
        loss = cross_entropy(logits, label)
        losses.append(loss.item())
        return loss

    def stepped(self, *args):
        step(self, *args)
        weights.append([p.detach().clone() for p in self.param_groups[0]["params"]])

    monkeypatch.setattr(functional, "cross_entropy", recording)
    monkeypatch.setattr(torch.optim.SGD, "step", stepped)
    label = torch.from_numpy(recorded["labels"]).long()
    train = Features(torch.from_numpy(recorded["features"]), label, torch.zeros(64))
    released = LinearSettings(epochs=2, batch=16, lr=3.0, lr_steps=(80,), momentum=0.9)
    linear(train, train.x, released, classes=60)
    assert losses[:6] == pytest.approx(recorded["losses"].tolist(), rel=1e-5)
    np.testing.assert_allclose(weights[5][0].numpy(), recorded["W_after6"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(weights[5][1].numpy(), recorded["b_after6"], rtol=1e-4, atol=1e-5)


def test_the_linear_rates_are_the_released_ones(golden_json, monkeypatch):
    recorded, rates, step = golden_json("moco-family/lr_schedules.json")["linear_100"], [], torch.optim.SGD.step

    def stepped(self, *args):
        rates.append(self.param_groups[0]["lr"])
        step(self, *args)

    monkeypatch.setattr(torch.optim.SGD, "step", stepped)
    train = blobs(n=8)
    linear(train, train.x, LinearSettings(epochs=100, batch=8, lr=3.0, lr_steps=(80,)))
    assert rates == pytest.approx(recorded, rel=1e-12)


@pytest.mark.parametrize("standardise", [False, True])
def test_linear_on_cached_features_is_linear_trained_through_the_frozen_encoder(clips, standardise):
    train, test = clips
    torch.manual_seed(4)
    backbone = {"width": 4, "dim": 16, "dropout": 0.5}
    method = create_method("untrained", backbone_args=backbone, num_frames=16, num_persons=1, init="torch")
    method.train()
    with torch.no_grad():  # give batch norm other running statistics
        for _ in range(5):
            method.features(train.x)
    method.eval()
    settings = LinearSettings(epochs=8, batch=5, lr=0.5, lr_steps=(6,), every=8, standardise=standardise)
    cached = extract(method.features, train), extract(method.features, test)
    (fit,) = linear(cached[0], cached[1].x, settings, seed=9, classes=3)

    generator = torch.Generator().manual_seed(9)
    layer = nn.Linear(16, 3)
    layer.weight.data = torch.randn(3, 16, generator=generator) * 0.02
    layer.bias.data.zero_()
    optimiser = torch.optim.SGD(layer.parameters(), 0.5, momentum=0.9)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [6], 0.1)
    constants = cached[0].x.double()
    mean, std = constants.mean(0), constants.std(0, unbiased=False)

    def logits(x):
        with torch.no_grad():
            features = method.features(x)
        if standardise:
            features = ((features - mean) / (std + 1e-3 * std.mean())).float()
        return layer(features)

    for _ in range(8):
        order = torch.randperm(12, generator=generator)
        for batch in (order[:5], order[5:10]):
            optimiser.zero_grad()
            functional.cross_entropy(logits(train.x[batch]), train.label[batch]).backward()
            optimiser.step()
        schedule.step()
    torch.testing.assert_close(fit.scores["test"], logits(test.x).detach(), rtol=1e-5, atol=1e-5)
    assert fit.step == 8


def test_what_is_scored_does_not_influence_the_linear_fit():
    train, test = blobs(seed=1), blobs(n=20, seed=2)
    alone = linear(train, test.x)
    both = LINEAR.fit(train, {"other": 50 * test.x[:5] + 3, "test": test.x}, classes=4, settings=FAST, seed=0)
    for a, b in zip(alone, both, strict=True):
        assert torch.equal(a.scores["test"], b.scores["test"])


def test_linear_can_be_read_at_every_so_many_epochs_and_at_the_end():
    train = blobs()
    steps = [fit.step for fit in linear(train, train.x, FAST.model_copy(update={"epochs": 7, "every": 3}))]
    assert steps == [3, 6, 7]


def test_linear_is_learnt_and_a_seed_repeats_it():
    train, test = blobs(n=80, seed=1, spread=0.3), blobs(n=40, seed=2, spread=0.3)
    first, again, other = (linear(train, test.x, seed=seed)[-1].scores["test"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert top(first, test.label, 1) > 90


def test_a_linear_evaluation_that_diverges_is_one_clear_error():
    train = blobs()
    wild = replace(train, x=train.x * 1e30)
    with pytest.raises(SkelbenchError, match=r"diverged at a learning rate of 0\.5; set a smaller linear\.lr"):
        linear(wild, wild.x, FAST.model_copy(update={"standardise": False}))


@pytest.mark.parametrize("change", [lambda x: 1e-6 * x, lambda x: 1e4 * x, lambda x: x + 20, lambda x: 1e-6 * x + 3e-5])
def test_standardised_linear_does_not_know_the_scale_and_the_offset_of_the_features(change):
    train, test = blobs(seed=1), blobs(n=20, seed=2)
    plain = linear(train, test.x)[-1].scores["test"]
    moved = linear(replace(train, x=change(train.x)), change(test.x))[-1].scores["test"]
    torch.testing.assert_close(moved, plain, rtol=2e-3, atol=2e-3)
    assert torch.equal(moved.argmax(1), plain.argmax(1))


def test_the_standardiser_is_mean_and_deviation_with_a_relative_epsilon():
    x = blobs().x
    mean, scale = standardiser(x)
    deviation = x.double().numpy().std(axis=0)
    np.testing.assert_allclose(mean.numpy(), x.double().numpy().mean(axis=0))
    np.testing.assert_allclose(scale.numpy(), deviation + 1e-3 * deviation.mean())
    dead = torch.cat([x, torch.full((len(x), 1), 7.0)], dim=1)
    mean, scale = standardiser(dead)
    assert ((dead - mean) / scale)[:, -1].abs().max() == 0, "a feature that never changes says nothing"
    assert standardiser(torch.ones(5, 2))[1].tolist() == [1, 1]


# --- last, best, and who may choose it --------------------------------------------------------------------------


class Spy:
    """A protocol whose features are its scores already, and which remembers what it was fitted on."""

    name, version, Settings = "spy", 1, None.__class__

    def __init__(self, steps=(None,)):
        self.steps = steps
        self.fitted = []

    def fit(self, train, sets, *, classes, settings, seed):
        self.fitted.append(train)
        weights = [1.0 if step in (None, self.steps[-1]) else -1.0 for step in self.steps]
        return [
            Fit(step, {name: w * rows for name, rows in sets.items()})
            for step, w in zip(self.steps, weights, strict=True)
        ]

    def extra(self, fit, label):
        return {}


def scored(label, right, subject=None):
    """Features that are scores: correct in the share `right` of the clips, the next class elsewhere."""
    n = len(label)
    shown = torch.where(torch.arange(n) < right * n, label, (label + 1) % 3)
    subject = 1 + torch.arange(n) % 5 if subject is None else subject
    return Features(functional.one_hot(shown, 3).float(), label, subject)


LABEL = torch.arange(30) % 3


def outcome_of(protocol, epochs, selection: Any = "held_out", settings=None, classes=3):
    return run_protocol(protocol, epochs, classes=classes, settings=settings, selection=selection, seed=0)


def test_held_out_subjects_never_train_in_the_fit_that_chooses():
    train, test = blobs(n=60, subjects=7), blobs(n=20, seed=2)
    spy = Spy()
    outcome = run_protocol(spy, {0: (train, test)}, classes=4, settings=None, selection="held_out", seed=0)
    first, second = spy.fitted
    kept_back = sorted(set(train.subject.tolist()))[::5]
    assert first is train, "`last` is trained on all training clips"
    assert set(second.subject.tolist()) == set(train.subject.tolist()) - set(kept_back)
    assert len(second.x) == sum(s not in kept_back for s in train.subject.tolist())
    assert "2 of 7" in outcome.best["rule"]


@pytest.mark.parametrize("name", ["knn", "linear"])
def test_one_training_clip_is_too_few_to_hold_some_out(name):
    one, test = blobs(n=1), blobs(n=7, seed=1)
    settings = PROTOCOLS[name].Settings()
    with pytest.raises(SkelbenchError, match="A training side of 1 clips is too small to hold some out"):
        run_protocol(PROTOCOLS[name], {1: (one, test)}, classes=4, settings=settings, selection="held_out", seed=0)


def test_where_there_is_one_subject_every_fifth_clip_is_held_out():
    assert held_out(torch.full((12,), 4)).nonzero().flatten().tolist() == [0, 5, 10]
    assert held_out(torch.tensor([3, 1, 2, 1])).tolist() == [False, True, False, True]


def held_out_is_right(right, n=30):
    """Training features whose held-out clips (subject 1 of five) are right in that share."""
    return scored(LABEL[:n], right, subject=torch.ones(n)), scored(LABEL[:n], 0.5, subject=2 + torch.arange(n) % 4)


def joined(*sides):
    return Features(*(torch.cat([getattr(s, f) for s in sides]) for f in ("x", "label", "subject")))


def test_best_is_chosen_on_held_out_subjects_and_not_on_the_test_set():
    epochs = {
        2: (joined(*held_out_is_right(0.2)), scored(LABEL, 0.9)),
        5: (joined(*held_out_is_right(0.8)), scored(LABEL, 0.1)),
        9: (joined(*held_out_is_right(0.4)), scored(LABEL, 0.5)),
    }
    fair, published = outcome_of(Spy(), epochs), outcome_of(Spy(), epochs, "published")
    assert (fair.best["epoch"], published.best["epoch"]) == (5, 2)
    assert fair.best["top1"] == pytest.approx(10)
    assert published.best["top1"] == pytest.approx(90)
    assert fair.last == published.last == {"top1": pytest.approx(50), "top5": None}
    assert "test set" in published.best["rule"]
    assert "held out" in fair.best["rule"]


@pytest.mark.parametrize("name, settings", [("linear", FAST), ("knn", KnnSettings(k=3, also=(1,)))])
def test_test_labels_choose_only_in_published(name, settings):
    epochs = {e: (blobs(seed=e, spread=s), blobs(n=24, seed=50 + e, spread=s)) for e, s in ((1, 3), (2, 1), (3, 2))}
    chosen = {"held_out": set(), "published": set()}
    for seed in range(6):
        order = torch.randperm(24, generator=torch.Generator().manual_seed(seed))
        shuffled = {e: (a, replace(b, label=b.label[order])) for e, (a, b) in epochs.items()}
        for selection, choices in chosen.items():
            best = outcome_of(PROTOCOLS[name], shuffled, selection, settings, classes=4).best
            choices.add((best["epoch"], best["step"]))
    assert len(chosen["held_out"]) == 1
    assert len(chosen["published"]) > 1, "else this test could not fail"


def test_best_may_be_an_earlier_step_of_the_classifiers_training():
    train = joined(*held_out_is_right(0.0))
    fair = outcome_of(Spy(steps=(5, 10)), {3: (train, scored(LABEL, 0.7))})
    assert (fair.best["epoch"], fair.best["step"]) == (3, 5), "the last step is wrong on all held-out clips"
    assert fair.last["top1"] == pytest.approx(70)


def test_the_curve_has_a_row_for_every_kept_epoch():
    epochs = {
        1: (joined(*held_out_is_right(0.2)), scored(LABEL, 0.9)),
        4: (joined(*held_out_is_right(0.8)), scored(LABEL, 0.1)),
    }
    assert outcome_of(Spy(), epochs).curve == [
        {"epoch": 1, "test_top1": pytest.approx(90), "held_out_top1": pytest.approx(20)},
        {"epoch": 4, "test_top1": pytest.approx(10), "held_out_top1": pytest.approx(80)},
    ]
    assert [set(row) for row in outcome_of(Spy(), epochs, "published").curve] == [{"epoch", "test_top1"}] * 2


# --- accuracy ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_is_numpys(k):
    rng = np.random.default_rng(k)
    scores, label = rng.normal(size=(50, 9)), rng.integers(9, size=50)
    ranks = np.argsort(-scores, axis=1)[:, :k]
    expected = 100 * np.mean([label[i] in ranks[i] for i in range(50)])
    assert top(torch.from_numpy(scores), torch.from_numpy(label), k) == pytest.approx(expected)


@pytest.mark.parametrize("classes", [4, 5, 6, 9])
def test_top_5_is_reported_from_six_classes_on(classes):
    train, test = blobs(n=40, classes=classes, seed=1), blobs(n=40, classes=classes, seed=2)
    outcome = outcome_of(PROTOCOLS["linear"], {0: (train, test)}, settings=FAST, classes=classes)
    if classes < 6:
        assert outcome.last["top5"] is outcome.best["top5"] is None
    else:
        assert outcome.last["top5"] == pytest.approx(top(outcome.scores, test.label, 5))
        assert outcome.last["top5"] > outcome.last["top1"]


# --- features ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encode, complaint",
    [
        (lambda x: x, r"returned \(12, 3, 16, 25, 1\) for 12 clips; a tensor \(12, D\) is needed"),
        (lambda x: x.mean(dim=(1, 2, 3, 4)), r"returned \(12,\) for 12 clips"),
        (lambda x: x.flatten(1)[:5], r"returned \(5, 1200\) for 12 clips"),
        (lambda x: x.flatten(1).numpy(), "returned ndarray for 12 clips"),
        (lambda x: x.flatten(1) * math.nan, "NaN or infinite features"),
        (lambda x: x.flatten(1) / 0, "NaN or infinite features"),
    ],
)
def test_features_that_do_not_fit_are_one_clear_error(clips, encode, complaint):
    with pytest.raises(SkelbenchError, match=complaint):
        extract(encode, clips[0])


def test_features_are_fp32_whatever_the_owner_of_the_encoder_has_set(clips):
    matmul, seen = torch.backends.cuda.matmul, []
    before = matmul.allow_tf32
    matmul.allow_tf32 = True
    try:
        extract(lambda x: (seen.append(matmul.allow_tf32), x.flatten(1))[1], clips[0])
        assert seen == [False]
        assert matmul.allow_tf32
    finally:
        matmul.allow_tf32 = before


def test_features_keep_the_order_of_the_clips_in_whatever_batches(clips):
    train = clips[0]
    complete = extract(lambda x: x.flatten(1).double(), train)
    assert torch.equal(complete.x, train.x.flatten(1))
    assert torch.equal(extract(lambda x: x.flatten(1), train, batch=5).x, complete.x)
    assert torch.equal(complete.label, train.label)
    part = complete[torch.arange(12) % 2 == 1]
    assert torch.equal(part.x, complete.x[1::2])
    assert torch.equal(part.subject, train.subject[1::2])


# --- frozen means frozen ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["knn", "linear"])
def test_weights_and_statistics_of_the_encoder_are_unchanged_bit_for_bit(clips, name):
    torch.manual_seed(4)
    method = create_method("skeletonclr", backbone_args={"width": 4, "dim": 16}, num_frames=16, num_persons=1)
    method.train()
    method.features(clips[0].x)  # updates the running statistics
    before = {key: value.clone() for key, value in method.state_dict().items()}
    evaluate(Wrapped(method), clips, "xsub", name, seed=0, settings={"linear": FAST})
    after = method.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert all(module.training for module in method.modules())
    assert all(parameter.grad is None for parameter in method.parameters())
    method.features(clips[0].x)
    assert any(not torch.equal(value, method.state_dict()[key]) for key, value in before.items()), "it could have moved"


class Wrapped(nn.Module):
    """A method wrapped as a user's own encoder."""

    def __init__(self, method):
        super().__init__()
        self.method = method

    def forward(self, x):
        return self.method.features(x)


def test_a_protocol_that_trains_the_encoder_cannot_be_run_on_features(clips):
    with pytest.raises(SkelbenchError, match="'finetune' trains the encoder"):
        evaluate(lambda x: x.flatten(1), clips, "xsub", "finetune", seed=0)
