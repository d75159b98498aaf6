"""SkeAttnCLR against float64 tensors recorded from the released code."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from replay import expect_float64 as expect
from replay import recorded_weights, three_steps
from skelbench.backbones import create_backbone
from skelbench.backbones.dsta_block import position_table
from skelbench.datasets.streams import to_stream
from skelbench.methods import Progress, create_method
from skelbench.methods.attention import AttentionMask
from skelbench.methods.skeattnclr import Config, Encoder

pytestmark = pytest.mark.full_depth

BLOCKS = ((16, 16, 4, 1), (16, 32, 8, 2), (32, 32, 8, 1), (32, 64, 16, 2))
RUNS = {
    "stgcn": {"backbone_args": {"width": 16, "dropout": 0.0}},
    "bigru": {"backbone_args": {"hidden": 32}, "feature_dim": 32},
    "dsta": {"backbone_args": {"blocks": BLOCKS}, "feature_dim": 32},
}
FILES = {"stgcn": "skeattn_stgcn", "bigru": "skeattn_gru", "dsta": "skeattn_dsta"}


@pytest.fixture(scope="module", params=RUNS)
def backbone(request):
    return request.param


@pytest.fixture(scope="module")
def recorded(golden, backbone):
    return golden(f"mixing/{FILES[backbone]}.npz")


@pytest.fixture
def method(recorded, backbone, golden):
    method: Any = create_method("skeattnclr", backbone=backbone, queue_size=64, **RUNS[backbone])
    method.load_official(recorded_weights(recorded))
    if backbone == "dsta":  # the recording machine's sines differ from others in the last bit of float32
        tables = golden("mixing/dsta.npz")
        if not torch.equal(position_table(25, 16), torch.from_numpy(tables["pe_layer0_spatial"])[0, :, 0].T):
            pytest.skip("this machine's float32 sines are not the recording machine's in any table")
        table = torch.from_numpy(tables["pe_layer3_temporal"])[0, :, :, 0].T
        for encoder in (method.encoder_q, method.encoder_k):
            encoder.backbone.blocks[3].temporal.positions.copy_(table)
    return method.double().train()


def views(recorded):
    return {
        "query": torch.from_numpy(recorded["x_q"]).double(),
        "key": torch.from_numpy(recorded["x_k"]).double(),
    }


def draws(recorded, step):
    return {
        "donor": torch.from_numpy(recorded[f"draw/randidx_s{step}"]).long()[None],
        "mask": torch.from_numpy(recorded[f"draw/mask_s{step}"]).bool()[None],
    }


def test_first_forward_gives_the_released_logits_and_mask(recorded, method):
    outputs = method.outputs(views(recorded), draws=draws(recorded, 0))
    for part in ("z", "s", "ns"):
        expect(outputs[f"logits_{part}"], recorded[f"f64/logits_{part}"])
    mask = outputs["mask"].flatten(0, 1).flatten(1, 2)  # (N·M, T'·V', D)
    if "f32/mask_Ms" in recorded:
        torch.testing.assert_close(mask.float(), torch.from_numpy(recorded["f32/mask_Ms"]), rtol=1e-5, atol=1e-6)
    expect(mask.mean(2), recorded["f64/mask_Ms_mean_over_channels"])
    expect(mask.mean((0, 1)), recorded["f64/mask_Ms_first_row_mean"])


@pytest.mark.parametrize(
    "backbone",
    [name if name == "bigru" else pytest.param(name, marks=pytest.mark.slow) for name in RUNS],
    indirect=True,
)
def test_three_steps_follow_the_released_run(recorded, method):
    own = {official: name for name, official in method.official_names().items()}
    parameters = dict(method.named_parameters())
    trained = [own[n] for n in recorded["param_names_trainable_side"] if n in own]
    assert len(trained) == (recorded["f64/grad_norms_step0"] >= 0).sum()
    for step, losses in three_steps(method, views(recorded), partial(draws, recorded)):
        for part in ("z", "s", "ns"):
            assert losses[f"loss_{part}"].item() == pytest.approx(recorded[f"f64/steps_loss_{part}"][step], rel=1e-8)
        assert losses["loss"].item() == pytest.approx(recorded["f64/steps_loss"][step], rel=1e-8)
        for name, norm in zip(
            recorded["param_names_trainable_side"], recorded[f"f64/grad_norms_step{step}"], strict=True
        ):
            if name not in own:
                assert norm == -1, f"{name} has a gradient in the released run but no place here"
                continue
            grad = parameters[own[name]].grad
            # the bias before a batch norm has no true gradient: the recorded one is rounding
            assert grad.norm().item() == pytest.approx(norm, rel=1e-8, abs=1e-12), name
        assert method.momentum_at(Progress(1, step, 10, 3)).item() == pytest.approx(
            recorded["f64/steps_ema_m"][step], rel=1e-12
        )
        for side in ("q", "k"):
            for name, norm in zip(
                recorded["param_names_encoder"], recorded[f"f64/steps_norm_{side}"][step], strict=True
            ):
                if f"encoder_{side}.{name}" in own:
                    value = parameters[own[f"encoder_{side}.{name}"]]
                    assert value.norm().item() == pytest.approx(norm, rel=1e-8, abs=1e-12), name
        for name, norm in zip(
            recorded["param_names_predictors"], recorded["f64/steps_norm_predictors"][step], strict=True
        ):
            assert parameters[own[name]].norm().item() == pytest.approx(norm, rel=1e-8, abs=1e-12), name
        if step == 0:
            expect(method.queue[:, :4], recorded["f64/queue_z_cols0_3_after_step0"])
            state = method.state_dict()
            for key in (k for k in recorded if k.startswith("f64/bn_after_step0/")):
                expect(state[own[key.removeprefix("f64/bn_after_step0/")]], recorded[key])
            for name, count in zip(recorded["nbt_names"], recorded["nbt_after_step0"], strict=True):
                if name in own:
                    assert state[own[name]].item() == count, name
        assert method.queue_ptr.item() == recorded["f64/steps_ptr"][step]


def test_features_for_nearest_neighbours_and_the_linear_layer_are_the_released(recorded, method):
    method.float().eval()
    x = torch.from_numpy(recorded["x_q"])
    weight, bias = (torch.from_numpy(recorded[f"sd/encoder_q.backbone.fc.{name}"]) for name in ("weight", "bias"))
    for actual, key in (
        (method.features(x) @ weight.T + bias, "linear/logits_backbone_fc_eval"),
        (method.embedding(x), "knn/feature_all_eval"),
    ):
        expected = torch.from_numpy(recorded[key])
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(
    ("kind", "file", "args"),
    [("stgcn", "neck_stgcn", {"width": 4, "dim": 32}), ("bigru", "neck_gru", {"hidden": 32})],
)
def test_the_neck_alone(golden, kind, file, args, mode):
    recorded = golden(f"mixing/{file}.npz")
    encoder = Encoder(create_backbone(kind, **args), Config(feature_dim=16))
    heads = {"norm": "norm0", "attention": "Attn", "projection": "proj.mlp"}
    for part, official in heads.items():
        module = getattr(encoder, part)
        state = {name: torch.from_numpy(recorded[f"sd/{official}.{name}"]) for name in module.state_dict()}
        module.load_state_dict({n: v[..., 0] if v.ndim == 3 else v for n, v in state.items()})  # 1×1 convolutions
    encoder.double().train(mode == "train")

    def features(name):
        value = torch.from_numpy(recorded[name]).double()
        if kind == "bigru":
            return value[:, None, :, None]
        n, d, t, v, m = value.shape  # the released view: right numbers, wrong order of axes
        return value.reshape(n, m, d, t, v).permute(0, 1, 3, 4, 2)

    mixed = features("f_mix")
    mask = encoder.mask(mixed)
    expect(mask.flatten(0, 1).flatten(1, 2), recorded[f"{mode}/mask"])
    parts = encoder.project_parts(mixed, mask)
    if mode == "train":
        expect(encoder.projection[1].running_mean, recorded["train/proj_bn_running_mean_after"])
        assert encoder.projection[1].num_batches_tracked == recorded["train/proj_bn_nbt_after"]
    for name, part in zip(("global", "salient", "nonsalient"), parts, strict=True):
        expect(part[..., None], recorded[f"{mode}/z_{name}"])
    for name, part in zip(
        ("global", "salient", "nonsalient"), encoder.project_parts(features("f_key"), mask), strict=True
    ):
        expect(part[..., None], recorded[f"{mode}/key_{name}"])
    expect(encoder.projection(encoder.backbone.pool(mixed))[..., None], recorded[f"{mode}/z_only"])


@pytest.mark.parametrize(("lam", "key"), [(2.0, "f64/mask"), (4.0, "f64/mask_lambda4")])
def test_attention_mask_alone(golden, lam, key):
    recorded = golden("mixing/mhsam.npz")
    module = AttentionMask(64, 8, lam).double()
    module.load_state_dict(recorded_weights(recorded))
    expect(module(torch.from_numpy(recorded["x"]).double()), recorded[key])


def test_momentum_schedule_is_the_released(golden, method):
    recorded = golden("mixing/momentum.npz")
    for iterations_per_epoch, epochs, iteration, expected in recorded["rows_B_E_iter_m"]:
        epoch, inside = divmod(iteration, iterations_per_epoch)
        where = [int(v) for v in (epoch, inside, iterations_per_epoch, epochs)]
        assert method.momentum_at(Progress(*where)).item() == pytest.approx(expected, rel=1e-12)
        on_device = Progress(*(torch.tensor(float(v), dtype=torch.float64) for v in where))
        assert method.momentum_at(on_device).item() == pytest.approx(expected, rel=1e-12)


def test_streams_are_taken_after_mixing(golden):
    from skelbench.datasets.augment import mix
    from skelbench.datasets.layout import LAYOUTS

    recorded = golden("mixing/skelemix_aug.npz")
    donor = torch.from_numpy(recorded["skeattn_0/randidx"]).long()
    mask = torch.from_numpy(recorded["skeattn_0/mask"]).bool()
    mixed = mix(torch.from_numpy(recorded["x_T64"]), donor, mask)
    for stream in ("bone", "motion"):
        np.testing.assert_array_equal(to_stream(mixed, stream, LAYOUTS["ntu25"]), recorded[f"skeattn_0/x_mix_{stream}"])
