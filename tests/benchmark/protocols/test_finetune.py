"""Fine-tuning: against other implementations of the same training, and from the command line."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from skelbench.benchmark.plan.tracks import Sizes, protocol_settings, resolve
from skelbench.benchmark.protocols import PROTOCOLS, run_protocol
from skelbench.benchmark.protocols.base import RULES, TuningProtocol, held_out, run_tuning, top
from skelbench.benchmark.protocols.features import extract
from skelbench.benchmark.protocols.linear import LinearSettings
from skelbench.benchmark.protocols.tuning import Rate, Tuner, TuningSettings, new_head, nothing
from skelbench.benchmark.run.evaluation import Evaluation
from skelbench.benchmark.train.progress import Silent
from skelbench.errors import SkelbenchError
from skelbench.methods import METHODS, create_method
from skelbench.results.record import Configuration
from skelbench.results.store import RunStore

# Settings under which a tiny encoder learns in a blink.
LEARNING = TuningSettings(
    epochs=30, batch=12, lr=0.02, lr_steps=(), warmup=0, weight_decay=0.0, nesterov=False, head="torch", every=1
)
FAST = TuningSettings(epochs=6, batch=4, lr=0.05, lr_steps=(4,), warmup=0, every=2)


def encoder(name="untrained", dropout=0.5, stream="joint", seed=4, **config):
    """A small method on clips of `tiny`, with batch norm statistics that are not the initial ones."""
    torch.manual_seed(seed)
    backbone = {"width": 4, "dim": 16, "dropout": dropout}
    method = create_method(
        name, backbone_args=backbone, num_frames=16, num_persons=1, init="torch", stream=stream, **config
    )
    method.train()
    with torch.no_grad():
        for _ in range(5):
            method.features(3 * torch.randn(8, 3, 16, 25, 1))
    return method


def outcome_of(clips, method=None, settings=FAST, selection: Any = "held_out", seed=0, stream=None, **how):
    method = encoder() if method is None else method
    how = {"stream": stream, "watcher": Silent(), "check": nothing} | how
    protocol: Any = PROTOCOLS["finetune"]
    return run_tuning(
        protocol,
        method,
        *clips,
        settings=settings,
        selection=selection,
        seed=seed,
        **how,  # type: ignore[arg-type]
    )


def state_of(method):
    return {name: value.clone() for name, value in method.state_dict().items()}


def changed(before, method):
    return {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}


# --- against other implementations ------------------------------------------------------------------------------


def test_with_a_frozen_encoder_fine_tuning_is_linear_evaluation(clips):
    method = encoder().requires_grad_(False)
    settings = TuningSettings(
        mode="eval", epochs=7, batch=5, lr=0.5, lr_steps=(4,), warmup=0, weight_decay=0.01, nesterov=False, every=3
    )
    features = extract(method.eval().features, clips[0]), extract(method.features, clips[1])
    same = LinearSettings(epochs=7, batch=5, lr=0.5, lr_steps=(4,), weight_decay=0.01, every=3)
    expected = run_protocol(PROTOCOLS["linear"], {3: features}, classes=3, settings=same, selection="held_out", seed=9)
    before = state_of(method)
    found = outcome_of(clips, method, settings, seed=9)
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-4, atol=1e-5)
    assert found.last == expected.last
    assert [row["step"] for row in found.curve] == [3, 6, 7]
    assert not changed(before, method)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_it_takes_the_steps_of_a_plain_loop(clips, mode):
    train, test = clips
    settings = FAST.model_copy(update={"mode": mode, "warmup": 3, "epochs": 5, "lr_steps": (3,), "batch": 5})
    found = outcome_of(clips, encoder(dropout=0.0), settings, "published", seed=7)

    method: Any = encoder(dropout=0.0)
    generator = torch.Generator().manual_seed(7)
    head = nn.Linear(16, 3)
    head.weight.data = 0.02 * torch.randn(3, 16, generator=generator)
    head.bias.data.zero_()
    model = nn.ModuleList([method.encoder_q.backbone, head])
    optimiser = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4, nesterov=True)
    for lr in (0.05 / 3, 0.1 / 3, 0.05, 0.005, 0.005):
        model.train(mode == "train")
        optimiser.param_groups[0]["lr"] = lr
        order = torch.randperm(12, generator=generator)
        for batch in (order[:5], order[5:10]):
            optimiser.zero_grad()
            functional.cross_entropy(head(method.features(train.x[batch])), train.label[batch]).backward()
            optimiser.step()
    model.eval()
    torch.testing.assert_close(found.scores, head(method.features(test.x)).detach(), rtol=1e-4, atol=1e-5)


def test_the_released_rates_are_those_of_the_released_code(golden_json):
    recorded = golden_json("moco-family/lr_schedules.json")
    for backbone, name in (("stgcn", "hiclr_finetune_gcn_70"), ("dsta", "hiclr_finetune_transformer_80")):
        recipe, exact = METHODS["hiclr"].published_for(backbone, "ntu60", "xsub", "joint")
        settings = protocol_settings(recipe, "finetune")
        rates = [Rate(settings).at(epoch) for epoch in range(1, settings.epochs + 1)]
        assert exact
        assert rates == pytest.approx(recorded[name], rel=1e-12)


def test_skelemixclrs_rate_rises_over_ten_epochs_and_drops_after_three():
    recipe, _ = METHODS["skelemixclr+"].published("ntu60", "xview", "joint")
    rate = Rate(protocol_settings(recipe, "finetune"))
    assert [round(rate.at(epoch), 6) for epoch in (1, 9, 10, 50, 51, 71, 91)] == [
        *(0.01, 0.09, 0.1, 0.1),
        *(0.01, 0.001, 0.0001),
    ]


@pytest.mark.parametrize("patience", [0, 2])
def test_a_plateau_is_pytorchs(patience):
    settings = TuningSettings(schedule="plateau", lr=0.05, patience=patience, factor=0.5, warmup=0)
    rate = Rate(settings)
    weight = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=0.05)
    pytorchs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=patience)
    losses = [3, 2, 2, 2.1, 1.99999, 2.2, 1.5, 1.6, 1.6, 1.6, 1.6, 1.4, 1.4, 1.4, 1.4]
    for epoch, loss in enumerate(losses, 1):
        assert rate.at(epoch) == pytest.approx(optimiser.param_groups[0]["lr"])
        rate.after(loss)
        pytorchs.step(loss)
    assert rate.drops > 1, "else this test could not fail"


def test_the_classifier_starts_as_named():
    names = ("released", "torch", "xavier")
    start = {name: new_head(16, 3, name, torch.Generator().manual_seed(0)).requires_grad_(False) for name in names}
    assert start["released"].weight.std().item() == pytest.approx(0.02, rel=0.4)
    assert start["xavier"].weight.std().item() == pytest.approx(math.sqrt(2 / 19), rel=0.4)
    assert start["torch"].weight.abs().max() <= 0.25
    assert start["torch"].bias.abs().min() > 0
    assert start["released"].bias.abs().max() == start["xavier"].bias.abs().max() == 0


# --- what it changes --------------------------------------------------------------------------------------------


@pytest.mark.full_depth
def test_it_learns_the_training_clips_and_changes_the_encoder(clips):
    method = encoder(dropout=0.0)
    before = state_of(method)
    found = outcome_of(clips, method, LEARNING, "published")
    assert found.extra["train_top1"] > found.curve[0]["train_top1"]
    assert found.extra["train_top1"] > 90
    assert found.curve[-1]["loss"] < found.curve[0]["loss"]
    weights = {name for name, _ in method.named_parameters() if name.endswith("weight")}
    assert weights <= changed(before, method)
    assert found.curve[-1]["test_top1"] == found.last["top1"]


def test_eval_mode_keeps_the_statistics_of_batch_norm_and_train_mode_moves_them(clips):
    moved = {}
    for mode in ("eval", "train"):
        method = encoder()
        before = state_of(method)
        outcome_of(clips, method, FAST.model_copy(update={"mode": mode}), "published")
        moved[mode] = {name for name in changed(before, method) if "running" in name or "num_batches" in name}
    assert not moved["eval"]
    assert moved["train"] == {n for n in state_of(encoder()) if "running" in n or "num_batches" in n}


def test_eval_mode_has_no_dropout_and_leaves_recurrent_layers_trainable_by_cudnn(clips):
    scores, modes = [], set()
    for dropout in (0.0, 0.5):
        torch.manual_seed(4)
        arguments = {"hidden": 8, "num_layers": 2, "dropout": dropout}
        method = create_method("untrained", backbone="bigru", backbone_args=arguments, num_frames=16, num_persons=1)
        recurrent = [layer for layer in method.modules() if isinstance(layer, nn.GRU)]
        recurrent[0].register_forward_pre_hook(lambda layer, _: modes.add((layer.training, torch.is_grad_enabled())))
        scores.append(outcome_of(clips, method, FAST.model_copy(update={"mode": "eval"}), "published").scores)
    assert torch.equal(*scores)
    assert modes == {(True, True), (False, False)}, "trained in training mode, scored in evaluation mode"


@pytest.mark.parametrize(
    "backbone, arguments", [("dsta", {"blocks": [(8, 8, 4, 1), (8, 16, 4, 2)]}), ("images", {"size": 32})]
)
def test_other_backbones_are_tuned_too(clips, backbone, arguments):
    torch.manual_seed(4)
    method = create_method("untrained", backbone=backbone, backbone_args=arguments, num_frames=16, num_persons=1)
    before = state_of(method)
    found = outcome_of(clips, method, FAST.model_copy(update={"epochs": 1}), "published")
    assert math.isfinite(found.curve[0]["loss"])
    assert changed(before, method)


def test_only_the_query_encoders_backbone_is_trained(clips):
    method = encoder("skeletonclr", feature_dim=8, queue_size=8)
    before = state_of(method)
    outcome_of(clips, method, selection="published")
    assert changed(before, method)
    assert all(name.startswith("encoder_q.backbone.") for name in changed(before, method))


def test_crosclr_trains_the_backbone_of_the_stream_it_is_asked_for(clips):
    method = encoder("crosclr", stream="all", feature_dim=8, queue_size=8)
    before = state_of(method)
    outcome_of(clips, method, selection="published", stream="bone")
    assert changed(before, method)
    assert all(name.startswith("encoder_q_bone.backbone.") for name in changed(before, method))


@pytest.mark.parametrize("change", [{}, {"crop": 6, "shear": 0.5}])
def test_a_seed_repeats_it_and_another_does_not(clips, change):
    settings = FAST.model_copy(update=change)
    first, again, other = (outcome_of(clips, settings=settings, seed=seed).scores for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_augmentation_changes_the_training_and_the_global_random_numbers_are_put_back(clips):
    plain = outcome_of(clips, selection="published").scores
    torch.manual_seed(3)
    expected = torch.rand(4)
    method = encoder()
    torch.manual_seed(3)
    sheared = outcome_of(clips, method, FAST.model_copy(update={"shear": 0.5}), "published").scores
    assert torch.equal(torch.rand(4), expected)
    assert not torch.equal(plain, sheared)


def test_a_short_epoch_passes_over_its_clips_again(clips):
    tuner = Tuner(encoder(), None, clips[0], torch.arange(5), FAST.model_copy(update={"least_steps": 7}), seed=0)
    assert (tuner.steps, tuner.size, tuner.batch) == (7, 28, 4)
    plain = Tuner(encoder(), None, clips[0], torch.arange(5), FAST, seed=0)
    assert (plain.steps, plain.size) == (1, 5)
    complete = FAST.model_copy(update={"drop_last": False})
    assert Tuner(encoder(), None, clips[0], torch.arange(5), complete, seed=0).steps == 2


# --- last, best, and who may choose it --------------------------------------------------------------------------


def test_best_is_chosen_by_held_out_subjects_of_a_second_training(clips):
    train, _ = clips
    found = outcome_of(clips, settings=FAST.model_copy(update={"every": 1}))
    away = held_out(train.subject)
    second = Tuner(encoder(), None, train, torch.arange(12)[~away], FAST, seed=0)
    expected = []
    torch.manual_seed(0)
    for epoch in range(1, 7):
        second.epoch(Rate(FAST).at(epoch))
        expected.append(top(second.scores(train.x[away]), train.label[away], 1))
    assert [row["held_out_top1"] for row in found.curve] == pytest.approx(expected)
    chosen = max(range(6), key=lambda i: (expected[i], i))
    assert found.best["step"] == chosen + 1
    assert found.best["top1"] == found.curve[chosen]["test_top1"]
    assert "1 of 2" in found.best["rule"]


def test_test_labels_choose_only_in_published(clips, monkeypatch):
    def scores(tuner, x, rows=None):
        tuner.read = getattr(tuner, "read", 0) + 1
        generator = torch.Generator().manual_seed(tuner.read)
        return torch.randn(len(x) if rows is None else len(rows), 3, generator=generator)

    monkeypatch.setattr(Tuner, "scores", scores)
    monkeypatch.setattr(Tuner, "epoch", lambda *_: (1.0, 50.0))
    train, test = clips
    settings = FAST.model_copy(update={"every": 1})
    steps = {"held_out": set(), "published": set()}
    for seed in range(5):
        order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
        for selection, found in steps.items():
            best = outcome_of(
                (train, replace(test, label=test.label[order])), settings=settings, selection=selection
            ).best
            found.add(best["step"])
            assert (best["rule"] == RULES["published"]) == (selection == "published")
    assert len(steps["held_out"]) == 1
    assert len(steps["published"]) > 1, "else this test could not fail"


def test_choosing_does_not_touch_the_training_on_all_clips(clips):
    fair, published = (outcome_of(clips, selection=selection) for selection in ("held_out", "published"))
    assert torch.equal(fair.scores, published.scores)


def test_a_training_that_diverges_is_one_clear_sentence(clips):
    with pytest.raises(
        SkelbenchError, match=r"The loss of finetune is NaN or infinite in epoch \d+ at a learning rate of"
    ):
        outcome_of(clips, settings=FAST.model_copy(update={"lr": 1e30}))


def test_frozen_features_are_not_enough_for_it(clips):
    features = extract(encoder().eval().features, clips[0])
    assert isinstance(PROTOCOLS["finetune"], TuningProtocol)
    assert not isinstance(PROTOCOLS["linear"], TuningProtocol)
    with pytest.raises(SkelbenchError, match="'finetune' trains the encoder"):
        run_protocol(
            PROTOCOLS["finetune"], {0: (features, features)}, classes=3, settings=FAST, selection="published", seed=0
        )


# --- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, dataset, split, stream, finetune",
    [
        ("skeattnclr", "ntu60", "xsub", "joint", {"mode": "eval", "lr": 0.008, "epochs": 150, "weight_decay": 0.0}),
        ("skeattnclr", "ntu60", "xview", "joint", {"lr": 0.005, "nesterov": False, "lr_steps": (60, 100)}),
        ("skeattnclr", "ntu120", "xsub", "bone", {"lr": 3.0}),
        ("skeattnclr", "pkummd2", "xview", "joint", {"lr": 0.005}),
        ("skelemixclr", "ntu60", "xview", "joint", {"mode": "eval", "nesterov": True, "warmup": 10, "batch": 128}),
        ("aimclr", "ntu60", "xsub", "bone", {"mode": "eval", "lr": 0.1, "weight_decay": 1e-4}),
        ("hiclr", "ntu60", "xsub", "joint", {"mode": "train", "batch": 64, "head": "torch"}),
        ("hiclr", "ntu60", "xview", "bone", {"lr_steps": (24, 49)}),
        ("crosclr", "ntu60", "xview", "joint", TuningSettings().model_dump()),
    ],
)
def test_published_has_the_released_settings(method, dataset, split, stream, finetune):
    configuration = Configuration(method, "stgcn", dataset, split, stream)
    recipe = resolve(configuration, "published", Sizes(40_000, 56_000)).recipe
    settings = protocol_settings(recipe, "finetune").model_dump()
    assert {name: settings[name] for name in finetune} == finetune


def test_equal_has_one_setting_for_all(clips):
    for protocol in ("finetune", "semi1", "semi10"):
        settings = {
            protocol_settings(
                resolve(Configuration(method, "stgcn", "x", "xsub", "joint"), "equal", Sizes(size, size)).recipe,
                protocol,
            )
            for method in METHODS
            for size in (700, 40_000)
        }
        assert len(settings) == 1
        (one,) = settings
        assert one.mode == "train"


# --- from the command line --------------------------------------------------------------------------------------

QUICK = ["--set", "finetune.epochs=2", "--set", "finetune.batch=4", "--set", "finetune.least_steps=0"]


def records(out) -> dict[str, tuple[Any, Any]]:
    runs = RunStore(out)
    return {r.cell.protocol: (runs.folder(r.key), r) for r in runs.records()}


def test_supervised_from_scratch_is_untrained_with_finetune(skelbench, store, tiny_run, tmp_path):
    skelbench(*tiny_run, *QUICK, "--method", "untrained", "--protocol", "finetune")
    folder, record = records(tmp_path / "runs")["finetune"]
    assert record.best.step == 2
    assert record.best.epoch == 0
    assert record.settings["finetune"]["epochs"] == 2
    assert record.model["frozen"] is False
    assert record.extra["train_top1"] > 0
    header = (folder / record.files["curve"]).read_text().splitlines()[0]
    assert header == "step,lr,loss,train_top1,test_top1,held_out_top1"
    assert "finetune.epochs=2" in record.cell.variant
    again = skelbench(*tiny_run, *QUICK, "--method", "untrained", "--protocol", "finetune")
    assert "done before" in again.stderr


def test_frozen_means_frozen_whatever_runs_beside_it(skelbench, store, tiny_run, tmp_path):
    """Scores of knn and linear are the same alone and after a fine-tuning, and so are the files on disk."""
    run = [*tiny_run, *QUICK, "--method", "skeletonclr", "--set", "method.feature_dim=8"]
    scores, saved = {}, {}
    for name, protocols in (("alone", "knn,linear"), ("beside", "finetune,knn,linear")):
        skelbench(*run, "--protocol", protocols, "--out", tmp_path / name)
        found = records(tmp_path / name)
        scores[name] = {p: (found[p][0] / "scores.npz").read_bytes() for p in ("knn", "linear")}
        saved[name] = torch.load(found["pretrain"][0] / "encoder-0002.pt", weights_only=True)
    assert scores["alone"] == scores["beside"]
    assert all(torch.equal(value, saved["beside"][key]) for key, value in saved["alone"].items())


def test_no_protocol_changes_the_encoder_that_the_others_see(skelbench, store, tiny_run, monkeypatch):
    seen, evaluate = [], Evaluation.evaluate

    def spy(self, key, claim):
        self._features_of(key.cell.protocol)
        before = state_of(self.method)
        record = evaluate(self, key, claim)
        seen.append((key.cell.protocol, changed(before, self.method), [m.training for m in self.method.modules()]))
        return record

    monkeypatch.setattr(Evaluation, "evaluate", spy)
    run = [*tiny_run, *QUICK, "--method", "skeletonclr", "--set", "method.feature_dim=8"]
    skelbench(*run, "--protocol", "knn,finetune,linear")
    assert [protocol for protocol, *_ in seen] == ["knn", "finetune", "linear"]
    for _, moved, modes in seen:
        assert not moved, "neither weights nor the statistics of batch norm"
        assert not any(modes)


def test_it_starts_from_the_last_epochs_encoder(skelbench, store, tiny_run, tmp_path, monkeypatch):
    started, run = [], PROTOCOLS["finetune"].tune  # type: ignore[union-attr]

    def spy(self, method, *clips, **how):
        started.append(method.evaluation_state()["encoder_q.backbone.input_norm.weight"].clone())
        return run(method, *clips, **how)

    monkeypatch.setattr(type(PROTOCOLS["finetune"]), "tune", spy)
    skelbench(*tiny_run, *QUICK, "--method", "skeletonclr", "--protocol", "finetune", "--set", "method.feature_dim=8")
    folder, _ = records(tmp_path / "runs")["pretrain"]
    saved = torch.load(folder / "encoder-0002.pt", weights_only=True)
    assert len(started) == 1
    assert torch.equal(started[0], saved["encoder_q.backbone.input_norm.weight"])


def test_a_run_that_is_asked_to_stop_stops_in_the_middle_of_it(clips):
    class Stopped(Exception):  # noqa: N818 - it is not an error
        pass

    steps = []

    def check():
        steps.append(1)
        if len(steps) == 5:
            raise Stopped

    with pytest.raises(Stopped):
        outcome_of(clips, check=check)
    assert len(steps) == 5
