"""`evaluate`: every protocol on any encoder."""

import numpy as np
import pytest
import torch
from torch import nn

import skelbench
from skelbench.benchmark.evaluate import evaluate
from skelbench.benchmark.protocols.knn import KnnSettings
from skelbench.benchmark.protocols.linear import LinearSettings
from skelbench.errors import SkelbenchError
from skelbench.methods import create_method
from skelbench.results.files import read_scores
from skelbench.results.store import RunStore

FAST = {"knn": KnnSettings(k=5, also=(1,)), "linear": LinearSettings(epochs=10, batch=4, lr=0.1, standardise=True)}


def flat(x):
    return x.flatten(1)


class Encoder(nn.Module):
    """One that shows its mode: dropout and batch norm, one part frozen by its owner."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(75)
        self.frozen = nn.BatchNorm1d(75)
        self.drop = nn.Dropout(0.5)
        self.seen = set()

    def forward(self, x):
        self.seen.add(tuple(module.training for module in self.modules()))
        return self.drop(self.frozen(self.norm(x.permute(0, 4, 2, 1, 3).flatten(0, 2).flatten(1)))).view(len(x), -1)


def test_a_plain_function_is_evaluated_on_the_frozen_features_it_gives(store):
    results = skelbench.evaluate(flat, "tiny", "xsub", ["knn", "linear"], seed=0, frames=16, settings=FAST)
    assert list(results) == ["knn", "linear"]
    train, test = skelbench.load_dataset("tiny", "xsub", frames=16)
    bank, queries = (side.x.flatten(1) / side.x.flatten(1).norm(dim=1, keepdim=True) for side in (train, test))
    nearest = train.label[(queries @ bank.T).argmax(dim=1)]
    assert results["knn"]["top1_k1"] == pytest.approx(100 * (nearest == test.label).double().mean().item())
    for result in results.values():
        assert result["scores"].shape == (12, 3)
        right = (result["scores"].argmax(dim=1) == test.label).double().mean().item()
        assert result["top1"] == pytest.approx(100 * right)
        assert result["top5"] is None
        assert "held out" in result["best"]["rule"]
    assert results["linear"]["top1"] > 60, "each class moves another limb"


def test_by_name_by_folder_and_loaded_give_the_same(store):
    loaded = skelbench.load_dataset("tiny", "xsub", frames=16)
    ways = ("tiny", store.path, loaded)
    scores = [evaluate(flat, way, "xsub", ["knn"], seed=0, frames=16)["knn"]["scores"] for way in ways]
    assert torch.equal(scores[0], scores[1])
    assert torch.equal(scores[0], scores[2])


def test_the_default_is_the_equal_tracks_setting(store):
    shapes = []

    def encode(x):
        shapes.append(tuple(x.shape[1:]))
        return flat(x)

    results = evaluate(encode, "tiny", "xsub", seed=0)
    assert set(shapes) == {(3, 32, 25, 1)}  # of small data
    assert set(results) == {"knn", "linear"}
    assert {k for k in results["knn"] if k.startswith("top1_k")} == {"top1_k1", "top1_k5", "top1_k20", "top1_k40"}


def test_a_module_is_evaluated_in_evaluation_mode_and_every_part_gets_its_own_mode_back(clips):
    encoder = Encoder()
    encoder.train()
    encoder.frozen.eval()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    modes = [module.training for module in encoder.modules()]
    first, again = (evaluate(encoder, clips, "xsub", ["knn"], seed=0)["knn"]["scores"] for _ in range(2))
    assert encoder.seen == {(False,) * 4}
    assert [module.training for module in encoder.modules()] == modes == [True, True, False, True]
    assert torch.equal(first, again)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_the_mode_comes_back_after_an_error_too(clips):
    class Broken(Encoder):
        def forward(self, x):
            raise RuntimeError("out of order")

    encoder = Broken()
    encoder.train()
    with pytest.raises(RuntimeError, match="out of order"):
        evaluate(encoder, clips, "xsub", ["knn"], seed=0)
    assert encoder.training


def test_no_gradient_is_kept(clips):
    encoder = Encoder()
    scores = evaluate(encoder, clips, "xsub", ["knn"], seed=0)["knn"]["scores"]
    assert not scores.requires_grad
    assert all(p.grad is None for p in encoder.parameters())


@pytest.mark.parametrize(
    "encoder, complaint",
    [
        (lambda x: x, r"a tensor \(12, D\) is needed"),
        (lambda x: x.flatten(1)[:1], r"returned \(1, 1200\) for 12 clips"),
        (lambda x: None, "returned NoneType for 12 clips"),
        (lambda x: x.flatten(1) * float("nan"), "NaN or infinite features; check its weights"),
    ],
)
def test_an_encoder_whose_output_does_not_fit_is_refused(clips, encoder, complaint):
    with pytest.raises(SkelbenchError, match=complaint):
        evaluate(encoder, clips, "xsub", seed=0)


def test_unknown_names_get_a_did_you_mean(clips, store):
    with pytest.raises(SkelbenchError, match="no protocol 'knm'; did you mean 'knn'"):
        evaluate(flat, clips, "xsub", ["knm"], seed=0)
    with pytest.raises(SkelbenchError, match="no split 'xsup'"):
        evaluate(flat, "tiny", "xsup", ["knn"], seed=0)


def test_it_gives_the_runners_numbers_for_the_runners_encoder(finished):
    records = {(r.cell.method, r.cell.protocol, r.cell.seed): r for r in RunStore(finished).records()}
    settings = {"linear": LinearSettings(epochs=10, batch=128, lr=0.1, lr_steps=(80,), standardise=True)}
    for seed in (0, 2):
        trained = records["untrained", "pretrain", seed]
        method = create_method("untrained", backbone_args={"width": 4, "dim": 16}, num_frames=16, num_persons=1)
        folder = RunStore(finished).folder(trained.key)
        method.load_evaluation_state(torch.load(folder / "encoder-0000.pt", weights_only=True))
        method.eval()
        results = evaluate(method.features, "tiny", "xsub", seed=seed, frames=16, settings=settings)
        for protocol, result in results.items():
            record = records["untrained", protocol, seed]
            scores = read_scores(RunStore(finished).folder(record.key) / "scores.npz")[2]
            np.testing.assert_allclose(result["scores"].numpy(), scores, rtol=1e-6)
            assert record.last is not None
            assert record.best is not None
            assert result["top1"] == record.last.top1
            assert result["best"]["top1"] == record.best.top1


def test_another_seed_starts_the_linear_layer_elsewhere(clips):
    scores = [evaluate(flat, clips, "xsub", ["linear"], seed=s, settings=FAST)["linear"]["scores"] for s in (0, 0, 1)]
    assert torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[0], scores[2])


def test_one_protocol_may_be_given_by_its_name_alone(store):
    assert list(evaluate(flat, "tiny", "xsub", "knn", seed=0, frames=16, settings=FAST)) == ["knn"]


def test_the_clips_go_to_the_encoders_own_device(store, monkeypatch):
    asked = []

    def load(*_, device, **__):
        asked.append(str(device))
        raise SkelbenchError("far enough")

    monkeypatch.setattr("skelbench.benchmark.evaluate.load_dataset", load)
    for encoder, device in ((nn.Linear(2, 2, device="meta"), None), (flat, None), (nn.Flatten(), None), (flat, "x")):
        with pytest.raises(SkelbenchError, match="far enough"):
            evaluate(encoder, "tiny", "xsub", "knn", seed=0, device=device)
    assert asked == ["meta", "cpu", "cpu", "x"]


@pytest.mark.parametrize("given", [{"linear.lr": 1e-9}, {"linear": {"lr": 1e-9}}])
def test_a_setting_changes_the_tracks_by_dotted_name_and_by_protocol(store, given):
    """At a rate of 1e-9 the layer stays where it starts; everything else is as without the setting."""
    found = evaluate(flat, "tiny", "xsub", "linear", seed=0, frames=16, settings=given)["linear"]
    whole = LinearSettings(epochs=100, batch=128, lr=1e-9, lr_steps=(80,), standardise=True)
    same = evaluate(flat, "tiny", "xsub", "linear", seed=0, frames=16, settings={"linear": whole})["linear"]
    usual = evaluate(flat, "tiny", "xsub", "linear", seed=0, frames=16)["linear"]
    assert torch.equal(found["scores"], same["scores"])
    assert not torch.equal(found["scores"], usual["scores"])


@pytest.mark.parametrize(
    "given, complaint",
    [
        ({"linear.lr": 1, "linear": {"lr": 2}}, "'linear' is given both as 'linear.lr' and as a mapping"),
        ({"linear": {"lr": 2}, "linear.epochs": 3}, "'linear' is given both as 'linear.epochs' and as a mapping"),
        ({"linear": LinearSettings(), "linear.lr": 1}, "'linear' is given both"),
        ({"linaer": {"lr": 1}}, "no setting 'linaer.lr' of a protocol; did you mean 'linear'"),
        ({"epochs": 3}, "no setting 'epochs' of a protocol"),
        ({"linear.rate": 1}, "no setting 'linear.rate'"),
        ({"linear": {"lr": -1}}, "The setting 'lr' of the protocol 'linear' cannot be -1"),
        ({"linear": 3}, "no setting 'linear'; did you mean 'linear.lr'"),
        ({"linear": KnnSettings()}, "The settings of 'linear' cannot be a KnnSettings"),
    ],
)
def test_settings_that_cannot_be_are_one_clear_sentence(store, given, complaint):
    with pytest.raises(SkelbenchError, match=complaint) as caught:
        evaluate(flat, "tiny", "xsub", "linear", seed=0, frames=16, settings=given)
    assert "\n" not in str(caught.value)


def test_too_few_clips_are_found_before_the_encoder_runs(store):
    with pytest.raises(SkelbenchError, match="of the 12 test clips 0 classes have enough"):
        evaluate(lambda x: pytest.fail("it ran"), "tiny", "xsub", ["knn", "fewshot"], seed=0, frames=16)


def test_a_k_above_the_training_clips_is_told(store):
    assert evaluate(flat, "tiny", "xsub", "knn", seed=0, frames=16, settings={"knn.k": 13})["knn"]["bank"] == 12
    settings = {"knn": {"k": 12, "also": [1]}}
    assert "bank" not in evaluate(flat, "tiny", "xsub", "knn", seed=0, frames=16, settings=settings)["knn"]
