"""A step of pre-training: every way of taking it gives the losses of a plain transcription of the released code."""

import functools
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skelbench.benchmark.forecast.counting import Traffic
from skelbench.benchmark.speed.reference.augment import draw_clip, view_clip
from skelbench.benchmark.speed.reference.step import PLAIN, plain_copy
from skelbench.benchmark.train.step import RecordedStep, Step, cuda_graph
from skelbench.datasets.augment import draw_basic
from skelbench.datasets.augment.extreme import mirror_index
from skelbench.datasets.clips import Clips
from skelbench.datasets.layout import get_layout
from skelbench.methods import METHODS, Progress, create_method
from skelbench.methods.recipe import Recipe

from ...conftest import slow_but

STEPS, BATCH = 8, 6
LR = 1e-4  # so small that training does not magnify rounding: heads with batch norm do, a hundredfold a step at 0.01
BF16 = (0.01, 0.1)  # bounds on the first loss in bfloat16 and on those of eight steps, relative
TRAINABLE = [name for name in METHODS if METHODS[name].trainable]


def clips(device="cpu", dtype=torch.float32):
    generator = torch.Generator().manual_seed(5)
    poses, motion = (
        torch.randn(24, 3, 1, 25, 2, generator=generator),
        torch.randn(24, 3, 16, 25, 2, generator=generator),
    )
    x = (2 * poses + motion / 5).to(
        device, dtype
    )  # clips that differ: of like ones a batch norm magnifies the rounding
    label = torch.arange(24, device=device) % 3
    names = tuple(map(str, range(24)))
    return Clips(x, label, names, label.cpu(), get_layout("ntu25"), names[:3], "made up", "")


def tiny(name, *, dropout=0.0, device="cpu"):
    torch.manual_seed(0)
    fields = METHODS[name].Config.model_fields
    sizes = {"feature_dim": 8, "queue_size": 12, "window": (1, 2), "momentum": 0.9, "mining_epoch": 1, "init": "torch"}
    method = create_method(
        name,
        backbone_args={"width": 4, "dim": 16, "dropout": dropout, "graph": "hop"},
        num_frames=16,
        stream="all" if METHODS[name].streams_together else "joint",
        **{key: value for key, value in sizes.items() if key in fields},
    )
    return method.to(device).train()


def take(
    name, *, wrap=lambda step: step, dropout=0.0, device="cpu", stage=None, method=None, lr=LR, steps=STEPS, **how
):
    """Losses of seeded steps, and the method."""
    method = method or tiny(name, dropout=dropout, device=device)
    dtype = next(method.parameters()).dtype
    recipe = Recipe(source="a test", frames=16, epochs=2, batch=BATCH, lr=lr)
    generator = torch.Generator(device).manual_seed(1)
    step = wrap(Step(method, clips(device, dtype), recipe, generator, **how))
    torch.manual_seed(2)
    losses = []
    for i in range(steps):
        epoch = 1 + i // 4
        index = (torch.arange(BATCH, device=device) * 5 + i) % 24
        at = method.stage(epoch) if stage is None else stage
        losses.append(step(index, lr / epoch, Progress(epoch, i % 4, 4, 2), at)["loss"].item())
    return torch.tensor(losses, dtype=torch.float64), method


needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")


# In float32 an activation at the kink of a ReLU falls to either side by rounding, and each of these small steps
# magnifies that about tenfold (SkeAttnCLR on AVX-512: 2e-5, 2e-4, 3e-3, ...; in float64 1e-14 at every step).
@pytest.mark.parametrize(
    ("dtype", "lr", "rtol", "steps"), [(torch.float32, LR, 1e-4, 2), (torch.float64, 0.05, 1e-8, STEPS)]
)
@pytest.mark.full_depth
@pytest.mark.parametrize("name", PLAIN)
def test_steps_have_the_losses_and_the_weights_of_the_plain_reference(name, dtype, lr, rtol, steps):
    method = tiny(name).to(dtype)
    model: Any = plain_copy(name, method)
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr, 0.9, weight_decay=1e-4)
    generator, expected = torch.Generator().manual_seed(1), []
    for i in range(steps):
        epoch = 1 + i // 4
        optimiser.param_groups[0]["lr"] = lr / epoch
        x = clips(dtype=dtype).x[(torch.arange(BATCH) * 5 + i) % 24]
        draws = method.draw(x, generator)
        loss = model(method.views(x, draws), draws)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        model.after_step(Progress(epoch, i % 4, 4, 2))
        expected.append(loss.item())
    losses, method = take(name, method=method, stage=0, lr=lr, steps=steps)
    assert_close(losses, torch.tensor(expected, dtype=torch.float64), rtol=rtol, atol=0)
    own, theirs = method.state_dict(), model.state_dict()
    for mine, official in method.official_names().items():
        assert_close(own[mine], theirs[official], rtol=rtol, atol=rtol, msg=lambda m, n=mine: f"{n}: {m}")


@pytest.mark.slow  # that a loss compiles to one graph is tested for two methods without
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=needs_compiler)])
def test_compiled_steps_have_the_losses_of_eager_ones(backend, monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    assert_close(take("skeletonclr", compiled=True)[0], take("skeletonclr")[0], rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", slow_but(TRAINABLE, "skeletonclr", "mica"))
def test_bfloat16_keeps_parameters_queue_and_losses_in_float32_and_stays_near(name):
    losses, method = take(name, precision="bf16")
    assert {value.dtype for value in method.state_dict().values() if value.is_floating_point()} == {torch.float32}
    expected = take(name)[0]
    assert not torch.equal(losses, expected)
    assert_close(losses[:1], expected[:1], rtol=BF16[0], atol=0)
    assert_close(losses, expected, rtol=BF16[1], atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("name", TRAINABLE)
def test_steps_on_cuda_wait_for_nothing_and_their_recording_gives_the_same_losses(name):
    wait = torch.cuda.set_sync_debug_mode

    def strict(step):
        def call(*args):
            wait("error")
            try:
                return step(*args)
            finally:
                wait("default")

        return call

    expected, _ = take(name, device="cuda", wrap=strict)
    losses, _ = take(name, device="cuda", wrap=lambda step: RecordedStep(step, BATCH, cuda_graph))
    assert_close(losses, expected, rtol=1e-4, atol=0)


def test_the_plain_views_are_ours_clip_by_clip():
    method = tiny("aimclr")
    x = clips().x[:BATCH]
    draws = method.draw(x, torch.Generator().manual_seed(3))
    ours, mirrored = method.views(x, draws), mirror_index(get_layout("ntu25"))
    for name, drawn in draws.items():
        for i, clip in enumerate(x.numpy()):
            numbers = {op: {key: value[i].numpy() for key, value in values.items()} for op, values in drawn.items()}
            view = view_clip(clip.astype(np.float64), numbers, method.config.crop, mirrored)
            assert_close(torch.from_numpy(view).float(), ours[name][i], rtol=1e-4, atol=1e-5)


def test_the_plain_draws_have_the_shapes_and_ranges_of_ours():
    clip, rng = clips().x[0].numpy(), np.random.default_rng(0)
    starts, on = set(), 0
    for _ in range(200):
        drawn = draw_clip(clip, 6, 0.5, True, rng)
        starts.add(int(drawn["crop"]["start"]))
        on += drawn["flip"]["on"]
        assert np.abs(drawn["shear"]["matrix"] - np.eye(3)).max() <= 0.5
        assert 0 < drawn["rotate"]["degrees"].max() <= 30
    ours = draw_basic(clips().x.repeat(40, 1, 1, 1, 1), 6, 0.5, torch.Generator().manual_seed(0))
    assert starts == set(ours["crop"]["start"].tolist()) == set(range(5))
    assert 70 < on < 130


def test_traffic_counts_inputs_and_outputs_once_and_views_not():
    a, b = torch.ones(10, 20), torch.ones(20, 30)
    with Traffic() as traffic:
        (a @ b).T.view(-1, 10)
    assert traffic.bytes == 4 * (10 * 20 + 20 * 30 + 10 * 30)
    with Traffic() as traffic:
        torch.add(a, torch.ones(1, 1).expand(10, 20))
    assert traffic.bytes == 4 * (1 + 10 * 20 + 1 + 10 * 20), "ones is written, then both are read and one is written"
