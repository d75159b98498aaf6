"""The extreme augmentation: against the released tensors, against numpy loops, and fused against step by step."""

import itertools
import json
import os
import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from skelbench.datasets.augment import basic, crop, draw_basic, shear
from skelbench.datasets.augment.extreme import (
    TimeFlip,
    axis_mask,
    blur,
    draw_axis_mask,
    draw_blur,
    draw_extreme,
    draw_flip,
    draw_noise,
    draw_rotate,
    extreme,
    flip,
    mirror_index,
    noise,
    rotate,
    rotation,
    time_flip,
)
from skelbench.datasets.layout import LAYOUTS, Layout
from skelbench.errors import SkelbenchError

NTU = LAYOUTS["ntu25"]
MANY = 4000
REVERSES: tuple[TimeFlip, ...] = ("off", "released_first", "last")
STEPS = ["flip", "rotate", "noise", "blur", "axis_mask"]
GATED = ["flip", "noise", "blur", "axis_mask", "time_flip"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def clips(n=5, frames=16, joints=25, persons=2, dtype=torch.float32):
    return torch.randn(n, 3, frames, joints, persons, generator=generator(99)).to(dtype)


def alternate(n):
    """Every second clip, from the second on."""
    return torch.arange(n) % 2 == 1


def each(tensors):
    """Every tensor of nested draws, by its path."""
    for name, value in tensors.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{path}", tensor) for path, tensor in each(value))
        else:
            yield name, value


def moved(draws, device):
    return {
        name: moved(value, device) if isinstance(value, dict) else value.to(device) for name, value in draws.items()
    }


def by_rotating(axis, degrees):
    """The matrix that turns about one axis, from its definition."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array(
        {
            "x": [[1, 0, 0], [0, c, s], [0, -s, c]],
            "y": [[c, 0, -s], [0, 1, 0], [s, 0, c]],
            "z": [[c, s, 0], [-s, c, 0], [0, 0, 1]],
        }[axis]
    )


# --- against the released code --------------------------------------------------------------------


def test_flip_is_the_released(golden):
    recorded = golden("moco-family/augment_ops.npz")
    assert list(mirror_index(NTU)) == recorded["flip_perm"].tolist()
    out = flip(torch.from_numpy(recorded["x"])[None], torch.tensor([True]), NTU)
    assert torch.equal(out[0], torch.from_numpy(recorded["flip_out"]))


def test_time_flip_is_the_released(golden):
    recorded = golden("moco-family/augment_ops.npz")
    out = time_flip(torch.from_numpy(recorded["x"])[None], torch.tensor([True]))
    assert torch.equal(out[0], torch.from_numpy(recorded["time_flip_out"]))


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_rotate_is_the_released(golden, seed):
    recorded = golden("moco-family/augment_ops.npz")
    x, degrees = torch.from_numpy(recorded["x"]).double(), torch.from_numpy(recorded[f"rotate_seed{seed}_angles_deg"])
    out = rotate(x[None], degrees[None])
    np.testing.assert_allclose(out[0], recorded[f"rotate_seed{seed}_out"], rtol=0, atol=1e-12)


def test_noise_is_the_released(golden):
    recorded = golden("moco-family/augment_ops.npz")
    x = torch.from_numpy(recorded["x"]).double()[None]
    value = torch.from_numpy(np.random.RandomState(11).normal(0, 0.01, x.shape))
    out = noise(x, torch.tensor([True]), value)
    np.testing.assert_allclose(out[0], recorded["noise_seed11_out"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("i", [0, 1, 2])
def test_blur_is_the_released(golden, i):
    recorded = golden("moco-family/augment_ops.npz")
    x = torch.from_numpy(recorded["x"]).double()[None]
    out = blur(x, torch.tensor([True]), torch.tensor([float(recorded[f"blur_sigma_{i}"])], dtype=torch.float64))
    np.testing.assert_allclose(out[0], recorded[f"blur_out_{i}"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_axis_mask_is_the_released(golden, seed):
    recorded = golden("moco-family/augment_ops.npz")
    x = torch.from_numpy(recorded["x"]).double()[None]
    out = axis_mask(x, torch.tensor([True]), torch.tensor([int(recorded[f"axismask_seed{seed}_axis"])]))
    np.testing.assert_array_equal(out[0], recorded[f"axismask_seed{seed}_out"])


class Released:
    """The draws of the released feeder, in the order in which it reads its two generators."""

    def __init__(self, seed, shape):
        self.python, self.numpy, self.shape = random.Random(seed), np.random.RandomState(seed), shape

    def basic(self):
        start = int(self.numpy.randint(0, 2 * (self.shape[1] // 6) + 1))
        a0, a1, a2, b0, b1, b2 = (self.python.uniform(-0.5, 0.5) for _ in range(6))
        matrix = [[[1, a0, b0], [a1, 1, b1], [a2, b2, 1]]]
        return {
            "crop": {"start": torch.tensor([start])},
            "shear": {"matrix": torch.tensor(matrix, dtype=torch.float64)},
        }

    def extreme(self):
        python = self.python
        draws = self.basic() | {"flip": {"on": torch.tensor([python.random() < 0.5])}}
        main = python.randint(0, 2)
        degrees = [python.uniform(0, 30 if axis == main else 1) for axis in range(3)]
        draws["rotate"] = {"degrees": torch.tensor([degrees], dtype=torch.float64)}
        noisy = python.random() < 0.5
        value = self.numpy.normal(0, 0.01, self.shape) if noisy else np.zeros(self.shape)
        draws["noise"] = {"on": torch.tensor([noisy]), "value": torch.from_numpy(value)[None]}
        sigma = torch.tensor([python.uniform(0.1, 2.0)], dtype=torch.float64)
        draws["blur"] = {"on": torch.tensor([bool(self.numpy.random_sample() < 0.5)]), "sigma": sigma}
        masked = python.random() < 0.5
        axis = torch.tensor([python.randint(0, 2) if masked else 0])
        draws["axis_mask"] = {"on": torch.tensor([masked]), "axis": axis}
        return draws


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_complete_pipeline_is_the_released(golden, seed):
    recorded = golden("moco-family/feeder_triple.npz")
    x = torch.from_numpy(recorded["data"][int(recorded[f"seed{seed}_index"])]).double()[None]
    released = Released(seed, x.shape[1:])
    for view in ("strong", "normal1", "normal2"):
        if view == "strong":
            draws = released.extreme()
            out, atol = extreme(x, draws, 6, NTU), 1e-6
        else:
            out, atol = basic(x, released.basic(), 6), 1e-12
        np.testing.assert_allclose(out[0], recorded[f"seed{seed}_{view}"], rtol=0, atol=atol, err_msg=view)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_replayed_draws_are_the_recorded(golden, seed):
    shape = golden("moco-family/feeder_triple.npz")["data"].shape[1:]
    root = Path(os.environ.get("SKELBENCH_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "golden"
    recorded = json.loads((root / "moco-family/feeder_triple_draws.json").read_text())[f"seed{seed}"]
    draws = Released(seed, shape).extreme()
    assert draws["crop"]["start"].item() == recorded["crop"]
    assert draws["rotate"]["degrees"].argmax().item() == recorded["rot_axis"]
    assert draws["blur"]["sigma"].item() == recorded["sigma"]
    for ours, theirs in {"flip": "flip", "noise": "noise", "blur": "blur", "axis_mask": "axmask"}.items():
        assert draws[ours]["on"].item() == recorded[theirs], ours
    if recorded["axmask"]:
        assert draws["axis_mask"]["axis"].item() == recorded["ax"]


# --- spatial flip ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYOUTS)
def test_mirrored_joints_are_those_whose_names_differ_in_the_side_only(name):
    names = LAYOUTS[name].joints
    if name == "ntu25":
        other = [n.replace("Left", "?").replace("Right", "Left").replace("?", "Right") for n in names]
    else:
        other = [{"L": "R", "R": "L"}.get(n[0], n[0]) + n[1:] if n[1].isupper() else n for n in names]
    assert [names[j] for j in mirror_index(LAYOUTS[name])] == other


@pytest.mark.parametrize("name", LAYOUTS)
def test_flip_swaps_mirrored_joints_of_chosen_clips_and_no_coordinate(name):
    layout = LAYOUTS[name]
    x, on = clips(4, 6, layout.num_joints), alternate(4)
    expected = x.clone()
    for i, (left, right) in itertools.product([1, 3], layout.mirror):
        expected[i, :, :, left], expected[i, :, :, right] = x[i, :, :, right], x[i, :, :, left]
    out = flip(x, on, layout)
    assert torch.equal(out, expected)
    assert not torch.equal(out, x)
    assert torch.equal(flip(out, on, layout), x), "twice is not at all"


@pytest.mark.parametrize(
    "call",
    [
        lambda x, layout: mirror_index(layout),
        lambda x, layout: flip(x, alternate(len(x)), layout),
        lambda x, layout: extreme(x, draw_extreme(x, 6, 0.5, generator()), 6, layout),
    ],
)
def test_a_layout_without_mirror_pairs_is_an_error(call):
    bare = Layout("bare", ("a", "b"), (-1, 0))
    with pytest.raises(SkelbenchError, match=r"The spatial flip needs 'mirror'.*'bare'"):
        call(clips(joints=2), bare)


# --- rotation -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotation_is_about_x_then_y_then_z(dtype):
    degrees = torch.tensor([[30.0, 0, 0], [0, 30, 0], [0, 0, 30], [12, -50, 170], [0, 0, 0]])
    matrices = rotation(degrees, dtype)
    assert (matrices.shape, matrices.dtype) == ((5, 3, 3), dtype)
    for angles, matrix in zip(degrees.tolist(), matrices.numpy(), strict=True):
        about_x, about_y, about_z = (by_rotating(axis, angle) for axis, angle in zip("xyz", angles, strict=True))
        np.testing.assert_allclose(matrix, about_z @ (about_y @ about_x), atol=1e-6 if dtype.itemsize == 4 else 1e-12)


def test_rotations_turn_without_mirroring_or_stretching():
    matrices = rotation(draw_rotate(200, generator())["degrees"], torch.float64)
    eye = torch.eye(3, dtype=torch.float64).expand(200, 3, 3)
    torch.testing.assert_close(matrices @ matrices.mT, eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(200, dtype=torch.float64), rtol=0, atol=1e-12)


def test_rotate_turns_every_joint_by_its_clips_angles():
    x, degrees = clips(3, 4, 5, dtype=torch.float64), draw_rotate(3, generator())["degrees"]
    out = rotate(x, degrees)
    for n, t, v, m in np.ndindex(3, 4, 5, 2):
        point = x[n, :, t, v, m].numpy()
        for axis, angle in zip("xyz", degrees[n].double().numpy(), strict=True):
            point = by_rotating(axis, angle) @ point
        np.testing.assert_allclose(out[n, :, t, v, m], point, rtol=0, atol=1e-12)


def test_angles_reach_30_degrees_about_one_uniform_axis_and_1_about_the_others():
    degrees = draw_rotate(MANY, generator())["degrees"]
    assert (degrees.shape, degrees.dtype) == ((MANY, 3), torch.float32)
    assert degrees.min() >= 0
    large = degrees > 1
    assert large.sum(1).max() == 1
    share = large.float().mean(0)  # 29 of 30 main angles, spread over three axes
    assert (share - 29 / 90).abs().max() < 5 * (29 / 90 * 61 / 90 / MANY) ** 0.5
    main = degrees[large]
    assert 29.9 < main.max() <= 30
    assert abs(main.mean() - 15.5) < 5 * 29 / (12 * len(main)) ** 0.5
    for axis in range(3):
        other = degrees[large.sum(1) - large[:, axis].int() == 1, axis]  # where another axis is the main one
        assert 0.99 < other.max() <= 1
        assert abs(other.mean() - 0.5) < 5 / (12 * len(other)) ** 0.5

        related = torch.corrcoef(degrees[large[:, axis]].T)
        assert (related - torch.eye(3)).abs().max() < 5 / large[:, axis].sum() ** 0.5, "drawn apart"


# --- noise ----------------------------------------------------------------------------------------


def test_noise_falls_on_every_coordinate_of_chosen_clips_and_on_absent_persons():
    x = clips(4)
    x[..., 1] = 0
    value = draw_noise(x, generator())["value"]
    out = noise(x, alternate(4), value)
    for i in range(4):
        np.testing.assert_array_equal(out[i].numpy(), x[i].numpy() + value[i].numpy() * (i % 2))
    assert (out[1::2, ..., 1] != 0).all()


def test_noise_is_normal_with_a_deviation_of_1_cm_and_its_own_in_every_place():
    draws = draw_noise(clips(20), generator())
    value = draws["value"]
    assert (value.shape, value.dtype) == ((20, 3, 16, 25, 2), torch.float32)
    assert abs(value.mean()) < 5 * 0.01 / value.numel() ** 0.5
    assert abs(value.std() / 0.01 - 1) < 5 / (2 * value.numel()) ** 0.5
    assert abs((value.abs() < 0.01).float().mean() - 0.6827) < 0.01, "normal"
    assert abs((value.abs() < 0.02).float().mean() - 0.9545) < 0.01, "normal"
    for axis in range(5):
        here, there = value.narrow(axis, 0, value.shape[axis] - 1), value.narrow(axis, 1, value.shape[axis] - 1)
        related = torch.corrcoef(torch.stack([here.flatten(), there.flatten()]))[0, 1]
        assert related.abs() < 5 / here.numel() ** 0.5, f"neighbours along axis {axis} are independent"


# --- blur -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [50, 15, 9, 1])
def test_blur_convolves_chosen_clips_with_15_unnormalised_taps(frames):
    sigma = torch.tensor([0.1, 0.4, 1.0, 1.7, 1.3, 2.0], dtype=torch.float64)
    x, on = clips(6, frames, joints=4, dtype=torch.float64), alternate(6)
    out = blur(x, on, sigma)
    assert torch.equal(out[0::2], x[0::2])
    lag = np.arange(-7, 8)
    for n, c, v, m in np.ndindex(6, 3, 4, 2):
        if on[n]:
            taps = np.exp(-(lag**2) / (2 * float(sigma[n]) ** 2))
            expected = np.convolve(x[n, c, :, v, m], taps, mode="full")[7 : 7 + frames]
            np.testing.assert_allclose(out[n, c, :, v, m], expected, rtol=0, atol=1e-12)


def test_blur_multiplies_a_still_pose_by_up_to_5_and_loses_it_at_the_ends():
    x = torch.ones(1, 3, 50, 4, 1, dtype=torch.float64)
    out = blur(x, torch.tensor([True]), torch.tensor([2.0]))[0, 0, :, 0, 0]
    assert out[25].item() == pytest.approx(5.01, abs=0.01)
    assert out[0].item() == pytest.approx(3.0, abs=0.01)
    assert out[49].item() == pytest.approx(out[0].item())


def test_blurs_sigma_is_uniform_from_a_tenth_to_2_frames():
    sigma = draw_blur(MANY, generator())["sigma"]
    assert (sigma.shape, sigma.dtype) == ((MANY,), torch.float32)
    assert 0.1 <= sigma.min() < 0.11
    assert 1.99 < sigma.max() <= 2
    assert abs(sigma.mean() - 1.05) < 5 * 1.9 / (12 * MANY) ** 0.5
    assert abs((sigma < 0.575).float().mean() - 0.25) < 5 * (3 / 16 / MANY) ** 0.5


# --- axis mask and temporal flip ------------------------------------------------------------------


def test_axis_mask_zeroes_one_coordinate_of_chosen_clips():
    x, axis = clips(6), torch.tensor([0, 0, 1, 1, 2, 2])
    expected = x.numpy().copy()
    for i, lost in [(1, 0), (3, 1), (5, 2)]:
        expected[i, lost] = 0
    np.testing.assert_array_equal(axis_mask(x, alternate(6), axis).numpy(), expected)


def test_axis_mask_loses_even_what_is_not_finite():
    x = torch.full((1, 3, 2, 2, 1), torch.nan)
    out = axis_mask(x, torch.tensor([True]), torch.tensor([1]))
    assert (out[0, 1] == 0).all()
    assert out[0, [0, 2]].isnan().all()


def test_the_masked_axis_is_uniform():
    axis = draw_axis_mask(MANY, generator())["axis"]
    assert (axis.shape, axis.dtype) == ((MANY,), torch.int64)
    assert axis.max() == 2
    assert (torch.bincount(axis) - MANY / 3).abs().max() < 5 * (MANY * 2 / 9) ** 0.5


def test_time_flip_reverses_the_frames_of_chosen_clips():
    x, on = clips(4, 7), alternate(4)
    out = time_flip(x, on)
    for i in range(4):
        for t in range(7):
            assert torch.equal(out[i, :, t], x[i, :, 6 - t if i % 2 else t])


# --- the complete pipeline ------------------------------------------------------------------------


def step_by_step(x, draws, ratio, layout, reverse):
    if "crop" in draws:
        x = crop(x, draws["crop"]["start"], ratio)
    if "shear" in draws:
        x = shear(x, draws["shear"]["matrix"])
    x = flip(x, draws["flip"]["on"], layout)
    x = rotate(x, draws["rotate"]["degrees"])
    if reverse == "released_first":
        x = time_flip(x, draws["time_flip"]["on"])
    x = noise(x, draws["noise"]["on"], draws["noise"]["value"])
    x = blur(x, draws["blur"]["on"], draws["blur"]["sigma"])
    x = axis_mask(x, draws["axis_mask"]["on"], draws["axis_mask"]["axis"])
    if reverse == "last":
        x = time_flip(x, draws["time_flip"]["on"])
    return x


@pytest.mark.parametrize("reverse", REVERSES)
@pytest.mark.parametrize(("ratio", "amplitude"), [(6, 0.5), (0, 0.5), (6, 0.0), (0, 0.0)])
@pytest.mark.parametrize(("name", "frames", "persons"), [(name, 23, 2) for name in LAYOUTS] + [("ntu25", 3, 1)])
def test_the_fused_pipeline_equals_its_steps_one_after_another(reverse, ratio, amplitude, name, frames, persons):
    layout = LAYOUTS[name]
    x = clips(40, frames, layout.num_joints, persons, torch.float64)
    draws = draw_extreme(x, ratio, amplitude, generator(1), reverse=reverse)
    out = extreme(x, draws, ratio, layout, reverse=reverse)
    assert (out.shape, out.dtype) == (x.shape, torch.float64)
    torch.testing.assert_close(out, step_by_step(x, draws, ratio, layout, reverse), rtol=1e-12, atol=1e-12)


def test_the_temporal_flip_comes_before_the_noise_or_after_it():
    x = clips(40, dtype=torch.float64)
    draws = draw_extreme(x, 6, 0.5, generator(), reverse="last")
    off, early, late = (extreme(x, draws, 6, NTU, reverse=reverse) for reverse in REVERSES)
    flipped, noisy = draws["time_flip"]["on"], draws["noise"]["on"]
    assert torch.equal(late, time_flip(off, flipped))
    differs = (early - late).abs().amax(dim=(1, 2, 3, 4)) > 1e-9
    assert torch.equal(differs, flipped & noisy), "blur and axis mask commute with it, noise does not"
    for i in range(40):
        if not flipped[i]:
            assert torch.equal(early[i], off[i])


@pytest.mark.parametrize("reverse", REVERSES)
@pytest.mark.parametrize(
    ("ratio", "amplitude", "moves"),
    [(6, 0.5, ["crop", "shear"]), (0, 0.5, ["shear"]), (6, 0.0, ["crop"]), (0, 0.0, [])],
)
def test_zero_turns_crop_and_shear_off_and_the_temporal_flip_is_drawn_where_asked(reverse, ratio, amplitude, moves):
    draws = draw_extreme(clips(), ratio, amplitude, generator(), reverse=reverse)
    assert list(draws) == moves + STEPS + ["time_flip"] * (reverse != "off")


def test_crop_and_shear_are_drawn_as_for_the_basic_view_and_the_temporal_flip_last():
    x = clips(50)
    draws = dict(each(draw_extreme(x, 6, 0.5, generator(), reverse="last")))
    others = dict(each(draw_extreme(x, 6, 0.5, generator())))
    for name, value in each(draw_basic(x, 6, 0.5, generator())):
        assert torch.equal(value, draws[name]), name
    assert set(draws) - set(others) == {"time_flip.on"}
    for name, value in others.items():
        assert torch.equal(value, draws[name]), name


def test_every_optional_step_falls_on_half_of_the_clips_independently_of_the_others():
    x = clips(MANY, 2, 2, 1)
    draws = draw_extreme(x, 6, 0.5, generator(), reverse="last")
    on = torch.stack([draws[step]["on"] for step in GATED])  # (5, N)
    assert (on.shape, on.dtype) == ((5, MANY), torch.bool)
    assert (on.float().mean(1) - 0.5).abs().max() < 5 * 0.5 / MANY**0.5
    values = [draws["blur"]["sigma"], draws["axis_mask"]["axis"], *draws["rotate"]["degrees"].T]
    related = torch.corrcoef(torch.stack([*on.float(), *(value.float() for value in values)]))
    related[7:, 7:] = torch.eye(3)  # one angle is large where the others are small
    assert (related - torch.eye(10)).abs().max() < 5 / MANY**0.5


@pytest.mark.parametrize("draw", [draw_flip, draw_blur, draw_axis_mask])
def test_each_step_alone_falls_on_half_of_the_clips(draw):
    on = draw(MANY, generator())["on"]
    assert (on.shape, on.dtype) == ((MANY,), torch.bool)
    assert abs(on.float().mean() - 0.5) < 5 * 0.5 / MANY**0.5


def test_float32_gives_the_view_of_float64_up_to_rounding():
    x = clips(40)
    draws = draw_extreme(x, 6, 0.5, generator(), reverse="released_first")
    single = extreme(x, draws, 6, NTU, reverse="released_first")
    double = extreme(x.double(), draws, 6, NTU, reverse="released_first")
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=2e-5)


# --- draws and applications -----------------------------------------------------------------------


def test_the_same_generator_state_gives_the_same_draws_and_another_gives_others():
    x = clips(50)
    first, again, other = (dict(each(draw_extreme(x, 6, 0.5, generator(s), reverse="last"))) for s in (1, 1, 2))
    assert len(first) == 11
    for name, value in first.items():
        assert torch.equal(value, again[name]), name
        assert not torch.equal(value, other[name]), name
    source = generator(1)
    draw_extreme(x, 6, 0.5, source, reverse="last")
    assert not torch.equal(dict(each(draw_extreme(x, 6, 0.5, source)))["noise.value"], first["noise.value"])


def test_neither_drawing_nor_applying_touches_the_global_random_state():
    before = torch.random.get_rng_state()
    x = clips()
    extreme(x, draw_extreme(x, 6, 0.5, generator(), reverse="last"), 6, NTU, reverse="last")
    assert torch.equal(torch.random.get_rng_state(), before)


def applications(x, draws):
    """Every step and the whole, by name."""
    return {
        "flip": lambda: flip(x, draws["flip"]["on"], NTU),
        "rotate": lambda: rotate(x, **draws["rotate"]),
        "noise": lambda: noise(x, **draws["noise"]),
        "blur": lambda: blur(x, **draws["blur"]),
        "axis_mask": lambda: axis_mask(x, **draws["axis_mask"]),
        "time_flip": lambda: time_flip(x, draws["time_flip"]["on"]),
        **{reverse: partial(extreme, x, draws, 6, NTU, reverse=reverse) for reverse in REVERSES},
    }


@pytest.mark.parametrize("name", [*STEPS, "time_flip", *REVERSES])
def test_applying_leaves_clips_and_draws_alone_and_is_repeatable(name):
    x = clips(40)
    draws = draw_extreme(x, 6, 0.5, generator(), reverse="last")
    kept = {"x": x.clone(), **{path: value.clone() for path, value in each(draws)}}
    apply = applications(x, draws)[name]
    out = apply()
    assert not torch.equal(out, x)
    assert torch.equal(apply(), out)
    out.fill_(7)
    for path, value in each({"x": x, **draws}):
        assert torch.equal(value, kept[path]), path


@pytest.mark.parametrize("name", [*STEPS, "time_flip", *REVERSES])
def test_a_turned_view_of_the_clips_gives_the_same_as_a_copy(name):
    x = clips(40)
    draws = draw_extreme(x, 6, 0.5, generator(), reverse="last")
    turned = x.permute(4, 2, 0, 3, 1).contiguous().permute(2, 4, 1, 3, 0)
    assert not turned.is_contiguous()
    torch.testing.assert_close(applications(turned, draws)[name](), applications(x, draws)[name]())


def test_drawing_copies_nothing_from_the_host_and_needs_no_float64(operations):
    x = clips()
    draw_extreme(x, 6, 0.5, generator(), reverse="last")
    with operations() as drawing:
        draw_extreme(x, 6, 0.5, generator(), reverse="last")
    assert drawing.names and drawing.names.isdisjoint(operations.FROM_HOST)
    assert torch.float64 not in drawing.dtypes


@pytest.mark.parametrize("name", [*STEPS, "time_flip", *REVERSES])
def test_applying_makes_nothing_on_the_host_and_needs_no_float64(name, operations):
    x = clips()
    draws = moved(draw_extreme(x, 6, 0.5, generator(), reverse="last"), "meta")
    apply = applications(x.to("meta"), draws)[name]
    apply()  # copies the mirrored joints once
    with operations() as applying:
        apply()
    assert applying.devices == {torch.device("meta")}
    assert "aten::lift_fresh" not in applying.names
    assert torch.float64 not in applying.dtypes
