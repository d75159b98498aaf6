"""FreST: its transforms, its start as the identity, what it weights, and what turning it off must not change."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from scipy.fft import dct, rfft

from skelbench import create_method
from skelbench.backbones import create_backbone
from skelbench.backbones.frest import AXES, BANDS, SPARSITIES, TRANSFORMS, FreST, basis, sparsemax
from skelbench.benchmark.plan.tracks import resolve
from skelbench.errors import SkelbenchError

SMALL = {"layout": "kinect20", "width": 4, "dim": 16, "dropout": 0.0}
each_how = pytest.mark.parametrize(("axis", "transform", "sparsity"), [
    *((axis, transform, "sparsemax") for axis in AXES for transform in TRANSFORMS), ("time", "dct", "topk"),
])  # fmt: skip


def small(seed: Any = 0, **args) -> Any:
    torch.manual_seed(seed)
    return create_backbone("stgcn", **(SMALL | args))


def opened(backbone):
    """A backbone whose frequency blocks are active."""
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if name.endswith(("frest.gamma", "frest.beta")):
                parameter.fill_(0.5)
            elif "frest" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return backbone


# --- transforms --------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 12, 25, 64])
def test_a_transform_is_orthonormal_and_undone_by_its_transpose(transform, size):
    matrix = basis(transform, size, torch.zeros(()))
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(size), rtol=0, atol=1e-5)
    x = torch.randn(size, 3)
    torch.testing.assert_close(matrix.T @ (matrix @ x), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [2, 5, 12, 25])
def test_transforms_are_those_of_scipy(size):
    x = torch.randn(size, dtype=torch.float64)
    np.testing.assert_allclose(basis("dct", size, x) @ x, np.asarray(dct(x.numpy(), norm="ortho")), atol=1e-12)
    spectrum = np.asarray(rfft(x.numpy(), norm="ortho"))
    energy = np.abs(spectrum) ** 2
    energy[1 : len(energy) - (size % 2 == 0)] *= 2  # of a frequency and its negative
    ours = (basis("rfft", size, x) @ x).square().numpy()
    np.testing.assert_allclose([ours[0], *(ours[i : i + 2].sum() for i in range(1, size, 2))], energy, atol=1e-12)


def test_sparsemax_is_the_nearest_point_of_the_simplex():
    scores = torch.randn(40, 7, dtype=torch.float64) * 2
    ours = sparsemax(scores)
    low, high = scores.amin(dim=1) - 1, scores.amax(dim=1)  # by bisection of the threshold
    for _ in range(80):
        middle = (low + high) / 2
        more = (scores - middle[:, None]).clamp(min=0).sum(dim=1) > 1
        low, high = torch.where(more, middle, low), torch.where(more, high, middle)
    torch.testing.assert_close(ours, (scores - low[:, None]).clamp(min=0), rtol=0, atol=1e-9)
    assert (ours == 0).any(), "and sparse"


# --- the block ---------------------------------------------------------------------------------------


@each_how
@pytest.mark.parametrize("where", ["stages", "all"])
def test_it_starts_as_the_identity_bit_for_bit(axis, transform, sparsity, where):
    how = {"frest_axis": axis, "frest_transform": transform, "frest_sparsity": sparsity}
    plain, with_frest = small().eval(), small(frest=where, **how).eval()
    missing = with_frest.load_state_dict(plain.state_dict(), strict=False)
    assert missing.missing_keys and all(".frest." in name for name in missing.missing_keys)
    assert not missing.unexpected_keys, "weights of a plain ST-GCN load"
    x = torch.randn(3, 3, 18, 20, 2)
    x[0, ..., 1] = 0
    assert torch.equal(plain(x), with_frest(x))
    assert not torch.allclose(plain(x), opened(with_frest)(x))


@each_how
def test_every_part_of_an_open_block_takes_gradient(axis, transform, sparsity):
    block = opened(torch.nn.ModuleDict({"frest": FreST(8, 20, axis=axis, transform=transform, sparsity=sparsity)}))
    block["frest"](torch.randn(4, 8, 12, 20)).square().mean().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or name.endswith("bias"), name


def test_it_is_in_the_blocks_it_is_asked_for():
    for where, expected in (("none", []), ("stages", [3, 6, 9]), ("all", list(range(10)))):
        backbone = small(frest=where)
        assert [i for i, block in enumerate(backbone.blocks) if block.frest is not None] == expected


def test_absent_persons_are_unchanged_by_it():
    block = opened(torch.nn.ModuleDict({"frest": FreST(8, 20)}))["frest"]
    x = torch.randn(4, 8, 12, 20)
    y = block(x, torch.tensor([True, False, True, False]))
    assert torch.equal(y[1], x[1]) and torch.equal(y[3], x[3])
    assert not torch.allclose(y[0], x[0])


@pytest.mark.parametrize("axis", AXES)
def test_joints_are_scored_by_their_motion_and_not_by_where_they_are(axis):
    block = FreST(8, 20, axis=axis)
    x = 9 * torch.randn(2, 8, 1, 20).expand(-1, -1, 12, -1).clone()
    x[:, :, :, 5] += torch.randn(2, 8, 12)
    look = block.look(x)
    assert look.joints.argmax(dim=1).tolist() == [5, 5]
    torch.testing.assert_close(look.joints.sum(dim=1), torch.ones(2))
    assert (look.joints[:, [j for j in range(20) if j != 5]] == 0).all(), "one joint moves: one key joint"


def test_energy_of_joints_is_that_of_all_frequencies_but_the_lowest():
    x = torch.randn(3, 8, 12, 20, dtype=torch.float64)
    spectrum = np.asarray(dct(x.numpy(), axis=2, norm="ortho"))
    expected = (spectrum[:, :, 1:] ** 2).sum(axis=(1, 2))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(FreST(8, 20).double().look(x).energy, expected, atol=1e-12)


def test_a_faster_motion_lies_in_a_higher_band():
    block = FreST(4, 20)
    time = torch.arange(48)
    peaks = []
    for cycles in (3, 9, 15, 21):  # DCT coefficients 6, 18, 30, 42 of 48, six to a band
        x = torch.cos(2 * torch.pi * cycles * (time + 0.5) / 48).view(1, 1, 48, 1).expand(1, 4, 48, 20)
        peaks.append(int(block.look(x).bands[0].mean(dim=1).argmax()))
    assert peaks == [1, 3, 5, 7]
    assert block.look(x).bands.shape == (1, BANDS, 20)


def test_half_precision_around_it_does_not_reach_its_spectrum():
    block = opened(torch.nn.ModuleDict({"frest": FreST(8, 20)}))["frest"].eval()
    x = torch.randn(2, 8, 12, 20)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(block(x), block(x.clone()))
        inside = block(x)
    torch.testing.assert_close(inside, block(x), rtol=0, atol=0)


def test_two_classes_that_differ_in_frequency_only_are_separated_better_with_it():
    """Compare linear probes on the pooled output of a block that adds nothing yet and of one that mixes by band."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(80) % 2
    phase = 2 * torch.pi * torch.rand(80, generator=generator)
    cycles = 2 + 6 * label[:, None]
    wave = torch.sin(2 * torch.pi * cycles * torch.arange(24) / 24 + phase[:, None])  # (80, T), of one energy
    x = torch.zeros(80, 8, 24, 20) + torch.randn(80, 8, 24, 20, generator=generator)
    x[:, :, :, 7] += wave[:, None] * 2
    shut = FreST(8, 20)
    bands = shut.look(x).bands.mean(dim=2)  # what a block sees
    plain = x.mean(dim=(2, 3))  # what pooling leaves of the clip
    accuracy = {}
    for name, features in (("with", bands), ("without", plain)):
        standard = (features - features[:40].mean(dim=0)) / features[:40].std(dim=0)
        weight = torch.linalg.lstsq(standard[:40], 2.0 * label[:40, None] - 1).solution
        accuracy[name] = ((standard[40:] @ weight)[:, 0].gt(0) == label[40:].bool()).float().mean().item()
    assert accuracy["with"] >= 0.95 >= accuracy["without"]


# --- as an option ------------------------------------------------------------------------------------


def test_without_it_weights_and_random_numbers_are_unchanged():
    for args in ({}, {"frest": "none"}):
        backbone = small(seed=3, **args)
        after = torch.rand(1)
        assert not any("frest" in name for name in backbone.state_dict())
        assert torch.equal(after, _rand_after_plain())


def _rand_after_plain():
    torch.manual_seed(3)
    create_backbone("stgcn", **SMALL)
    return torch.rand(1)


def settled(overrides):
    from skelbench.benchmark.plan.overrides import Changes
    from skelbench.benchmark.plan.tracks import Sizes
    from skelbench.results.record import Configuration

    place = ("skeletonclr", "stgcn", "mine", "xsub", "joint")
    changes = Changes(single=overrides)
    return resolve(Configuration(*place), "equal", Sizes(1000, 2000), changes)


def test_cells_without_it_keep_their_settings_and_so_their_identity():
    assert settled({}).recipe.backbone == {"width": 8, "dim": 64, "dropout": 0.0, "graph": "hop"}
    off = settled({"backbone.frest": "none"})
    assert off.recipe == settled({}).recipe
    assert not off.differing
    on = settled({"backbone.frest": "stages", "backbone.frest_axis": "joint"})
    assert on.recipe.backbone["frest"] == "stages"
    assert "linear" in on.differing


def test_any_method_takes_it():
    method: Any = create_method("skeletonclr", backbone_args={"frest": "stages", "width": 4, "dim": 16}, queue_size=4)
    assert any("frest" in name for name in copy.deepcopy(method.state_dict()))


@pytest.mark.parametrize("setting", ["frest", "frest_axis", "frest_transform", "frest_sparsity"])
def test_an_invalid_setting_is_named(setting):
    with pytest.raises(SkelbenchError, match=rf"'{setting}' cannot be 'sideways'; it is one of"):
        small(**({"frest": "all"} | {setting: "sideways"}))


def test_all_options_are_tried_above():
    assert set(SPARSITIES) == {"sparsemax", "topk"}
