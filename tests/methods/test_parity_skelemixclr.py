"""SkeleMixCLR+ against float64 tensors recorded from the released code."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

from replay import expect_float64 as expect
from replay import recorded_weights, three_steps
from skelbench.datasets.augment import mix
from skelbench.methods import Progress, create_method
from skelbench.methods.contrast import info_nce

pytestmark = pytest.mark.full_depth

MIXES = 3


@pytest.fixture(scope="module")
def recorded(golden):
    return golden("mixing/skelemixclr.npz")


@pytest.fixture
def method(recorded):
    method = create_method("skelemixclr+", queue_size=64, backbone_args={"dropout": 0.0})
    method.load_official(recorded_weights(recorded))
    return method.double().train()


def views(recorded):
    return {
        "query": torch.from_numpy(recorded["im_q"]).double(),
        "key": torch.from_numpy(recorded["im_k"]).double(),
    }


def draws(recorded, step):
    donors = [row[2:] for row in recorded["draw/randidx"] if row[0] == step]
    masks = [recorded[f"draw/mask_s{step}_r{j}"] for j in range(MIXES)]
    return {"donor": torch.from_numpy(np.stack(donors)).long(), "mask": torch.from_numpy(np.stack(masks)).bool()}


def test_mixed_clips_are_the_released(recorded):
    drawn = draws(recorded, 0)
    assert drawn["donor"].shape == (MIXES, 4)
    for j in range(MIXES):
        mixed = mix(torch.from_numpy(recorded["im_q"]), drawn["donor"][j], drawn["mask"][j])
        assert torch.equal(mixed, torch.from_numpy(recorded[f"draw/x_mix_s0_r{j}"]))


def test_first_forward_gives_the_released_embeddings_logits_and_keys(recorded, method):
    heads = []
    method.encoder_q.head.register_forward_hook(lambda _module, _inputs, out: heads.append(out))
    outputs = method.outputs(views(recorded), draws=draws(recorded, 0))
    names = ["q_raw"] + [f"{part}_raw{j}" for j in range(MIXES) for part in ("p", "c")]
    for out, name in zip(heads, names, strict=True):
        expect(out, recorded[f"f64/{name}"])
    expect(outputs["keys"], functional.normalize(torch.from_numpy(recorded["f64/k_raw"]), dim=1))
    expect(outputs["logits"], recorded["f64/logits_ins"])
    for j in range(MIXES):
        for part in ("p", "c"):
            logits = outputs[f"logits_{part}"][j]
            expect(logits, recorded[f"f64/logits_{part}{j}"])
            expect(info_nce(logits), recorded[f"f64/steps_loss_{part}"][0, j])
    method.after_step(Progress(1, 0, 10, 3))
    expect(method.queue, recorded["f64/queue_after_step0"])


@pytest.mark.slow
def test_three_steps_follow_the_released_run(recorded, method):
    own = {official: name for name, official in method.official_names().items()}
    parameters = dict(method.named_parameters())
    assert len(recorded["param_names"]) == len(list(method.encoder_q.parameters())) == 110

    def norms(side, of=lambda p: p):
        return np.array([of(parameters[own[f"encoder_{side}.{n}"]]).norm().item() for n in recorded["param_names"]])

    for step, losses in three_steps(method, views(recorded), partial(draws, recorded)):
        if step == 0:
            assert (recorded["f64/grad_norm_step0"] >= 0).all()
            # the bias before a batch norm has no true gradient: the recorded one is rounding
            np.testing.assert_allclose(
                norms("q", lambda p: p.grad), recorded["f64/grad_norm_step0"], rtol=1e-8, atol=1e-12
            )
        expect(losses["loss"], recorded["f64/steps_loss"][step])
        expect(losses["loss_ins"], recorded["f64/steps_loss_ins"][step])
        expect((losses["loss_p"] + losses["loss_c"]) / 2, recorded["f64/steps_loss_reg"][step])
        for part in ("p", "c"):
            expect(losses[f"loss_{part}"], recorded[f"f64/steps_loss_{part}"][step].sum())
        for side in ("q", "k"):
            np.testing.assert_allclose(norms(side), recorded[f"f64/steps_{side}norm"][step], rtol=1e-8, atol=1e-12)
            statistics = getattr(method, f"encoder_{side}").backbone.input_norm
            expect(statistics.running_mean, recorded[f"f64/steps_bn_{side}_running_mean"][step])
        expect(method.encoder_q.head[1].running_mean, recorded["f64/steps_fcbn_q_running_mean"][step])
        counted = [method.encoder_q.backbone.input_norm, method.encoder_k.backbone.input_norm, method.encoder_q.head[1]]
        counts = [norm.num_batches_tracked.item() for norm in counted]
        assert counts == recorded["f64/steps_nbt_databn_q_k_fcbn"][step].tolist()
        assert method.queue_ptr.item() == recorded["f64/steps_ptr"][step]


def test_the_feature_of_the_recorded_evaluation(recorded, method):
    method = method.float().eval()
    with torch.no_grad():
        raw = method.encoder_q(torch.from_numpy(recorded["im_q"]))
        embedding = method.embedding(torch.from_numpy(recorded["im_q"]))
    expected = torch.from_numpy(recorded["eval/encoder_q_raw"])
    torch.testing.assert_close(raw, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    torch.testing.assert_close(embedding, functional.normalize(expected, dim=1), rtol=1e-5, atol=1e-5)
