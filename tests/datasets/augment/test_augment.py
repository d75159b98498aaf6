"""The augmentations: against the released tensors, against numpy, and over their complete ranges of draws."""

import numpy as np
import pytest
import torch

from skelbench.datasets.augment import (
    basic,
    check_mix,
    crop,
    crop_index,
    draw_basic,
    draw_crop,
    draw_joint_mask,
    draw_mix,
    draw_shear,
    mix,
    shear,
)
from skelbench.datasets.layout import LAYOUTS, PARTS, Layout
from skelbench.errors import SkelbenchError

RELEASED_PARTS = (
    "trunk",
    "right_arm",
    "left_arm",
    "right_leg",
    "left_leg",
)  # in the order of the recorded codes
MIXES = ["skelemix_0", "skelemix_1", "skeattn_0", "skeattn_1", "skeattn_T50"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def clips(n=5, frames=16, joints=25, persons=2):
    return torch.randn(n, 3, frames, joints, persons, generator=generator(99))


# --- temporal crop --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_crop_is_the_released_at_50_frames(golden, seed):
    recorded = golden("moco-family/augment_ops.npz")
    x, start = torch.from_numpy(recorded["x"])[None], torch.tensor([int(recorded[f"crop_seed{seed}_start"])])
    assert torch.equal(crop(x, start, 6)[0], torch.from_numpy(recorded[f"crop_seed{seed}_out"]))


@pytest.mark.parametrize("i", [0, 1, 2])
def test_crop_is_the_released_at_64_frames(golden, i):
    recorded = golden("mixing/preprocess64.npz")
    x = torch.from_numpy(recorded["T64/position"][1])[None]
    out = crop(x, torch.from_numpy(recorded["crop_start"])[i : i + 1], 6)
    assert torch.equal(out[0], torch.from_numpy(recorded[f"crop_out{i}"]))


@pytest.mark.parametrize(("frames", "ratio"), [(50, 6), (13, 4), (6, 6), (7, 1), (3, 6), (1, 1)])
def test_crop_is_a_slice_of_the_mirrored_clip_at_every_start(frames, ratio):
    pad = frames // ratio
    starts = torch.arange(2 * pad + 1)
    x = clips(len(starts), frames, joints=4)
    padded = np.pad(x.numpy(), [(0, 0), (0, 0), (pad, pad), (0, 0), (0, 0)], mode="symmetric")
    out = crop(x, starts, ratio)
    for i, start in enumerate(starts.tolist()):
        np.testing.assert_array_equal(out[i].numpy(), padded[i, :, start : start + frames])


@pytest.mark.parametrize(("frames", "ratio"), [(50, 6), (13, 4), (6, 6), (7, 1), (3, 6), (1, 1)])
def test_crop_takes_consecutive_frames_that_turn_back_at_the_ends(frames, ratio):
    pad = frames // ratio
    starts = torch.arange(2 * pad + 1)
    index = crop_index(starts, frames, ratio)
    assert (index.shape, index.dtype) == ((len(starts), frames), torch.int64)
    there_and_back = [*reversed(range(pad)), *range(frames), *reversed(range(frames - pad, frames))]
    assert index.tolist() == [there_and_back[start : start + frames] for start in starts.tolist()]


@pytest.mark.parametrize(("frames", "ratio", "last"), [(50, 6, 16), (64, 6, 20), (5, 6, 0)])
def test_crop_starts_are_uniform_over_both_pads(frames, ratio, last):
    start = draw_crop(4000, frames, ratio, generator())["start"]
    assert (start.shape, start.dtype) == ((4000,), torch.int64)
    counts = torch.bincount(start, minlength=last + 1)
    assert len(counts) == last + 1
    expected = 4000 / (last + 1)
    assert (counts - expected).abs().max() < 5 * expected**0.5


# --- shear ----------------------------------------------------------------------------------------


def test_shear_is_the_released_at_50_frames(golden):
    recorded = golden("moco-family/augment_ops.npz")
    x = torch.from_numpy(recorded["x"]).double()[None]
    out = shear(x, torch.from_numpy(recorded["shear_R"])[None])
    np.testing.assert_allclose(out[0].numpy(), recorded["shear_out"], rtol=0, atol=1e-12)


def test_shear_is_the_released_at_64_frames(golden):
    recorded = golden("mixing/preprocess64.npz")
    (a0, a1, a2), (b0, b1, b2) = recorded["shear_draws_s1_s2"].reshape(2, 3)
    matrix = torch.tensor([[[1, a0, b0], [a1, 1, b1], [a2, b2, 1]]], dtype=torch.float64)
    x = torch.from_numpy(recorded["T64/position"][1])[None]
    np.testing.assert_allclose(shear(x, matrix)[0], recorded["shear_out"], rtol=0, atol=1e-5)


def test_shear_multiplies_every_joint_by_its_clips_matrix():
    x, matrix = clips(3, 4, 5).double(), draw_shear(3, 0.5, generator())["matrix"]
    out = shear(x, matrix)
    for n, t, v, m in np.ndindex(3, 4, 5, 2):
        np.testing.assert_allclose(out[n, :, t, v, m], matrix[n].double().numpy() @ x[n, :, t, v, m].numpy())


def test_shear_works_on_a_tensor_that_is_not_contiguous():
    x, matrix = clips(3, 4, 5), draw_shear(3, 0.5, generator())["matrix"]
    turned = x.transpose(3, 4).contiguous().transpose(3, 4)
    assert torch.equal(shear(turned, matrix), shear(x, matrix))


@pytest.mark.parametrize("amplitude", [0.1, 0.5, 2.0])
def test_shear_matrices_have_a_unit_diagonal_and_fill_their_range(amplitude):
    matrix = draw_shear(2000, amplitude, generator())["matrix"]
    assert torch.equal(matrix.diagonal(dim1=1, dim2=2), torch.ones(2000, 3))
    rest = matrix[:, ~torch.eye(3, dtype=torch.bool)] / amplitude  # (2000, 6)
    assert -1 <= rest.min() < -0.99
    assert 0.99 < rest.max() <= 1
    assert rest.mean(0).abs().max() < 5 * (1 / 3 / 2000) ** 0.5
    assert abs(rest.var() - 1 / 3) < 0.02
    assert torch.corrcoef(rest.T).sub(torch.eye(6)).abs().max() < 0.12, "the six draws are independent"


# --- the basic view -------------------------------------------------------------------------------


def test_the_basic_view_crops_then_shears():
    x = clips(frames=50)
    draws = draw_basic(x, 6, 0.5, generator())
    expected = shear(crop(x, draws["crop"]["start"], 6), draws["shear"]["matrix"])
    assert torch.equal(basic(x, draws, 6), expected)
    assert draws["crop"]["start"].shape == (5,)
    assert draws["shear"]["matrix"].shape == (5, 3, 3)


@pytest.mark.parametrize(("ratio", "amplitude", "kept"), [(0, 0.5, ["shear"]), (6, 0.0, ["crop"]), (0, 0.0, [])])
def test_zero_turns_a_step_of_the_basic_view_off(ratio, amplitude, kept):
    x = clips()
    draws = draw_basic(x, ratio, amplitude, generator())
    assert list(draws) == kept
    assert torch.equal(basic(x, draws, ratio), x) == (not kept)


# --- SkeleMix -------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", MIXES)
def test_mix_is_the_released(golden, case):
    recorded = golden("mixing/skelemix_aug.npz")
    x = torch.from_numpy(recorded["x_T50" if case.endswith("T50") else "x_T64"])
    out = mix(x, torch.from_numpy(recorded[f"{case}/randidx"]), torch.from_numpy(recorded[f"{case}/mask"]))
    assert torch.equal(out, torch.from_numpy(recorded[f"{case}/x_mix"]))


@pytest.mark.parametrize("case", MIXES)
def test_recorded_draws_lie_in_our_ranges_and_parts(golden, case):
    recorded = golden("mixing/skelemix_aug.npz")
    codes = recorded[f"{case}/draw_parts"]
    joints = sorted(j for code in codes for j in LAYOUTS["ntu25"].parts[RELEASED_PARTS[code]])
    assert joints == recorded[f"{case}/joints"].tolist()
    _, length, start = recorded[f"{case}/draw_nparts_Ct_t0"]
    expected = np.zeros_like(recorded[f"{case}/mask"])
    expected[start : start + length, joints] = True
    np.testing.assert_array_equal(recorded[f"{case}/mask"], expected)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("frames", [32, 50])
def test_mix_changes_only_masked_positions_in_all_channels_and_persons(name, frames):
    layout = LAYOUTS[name]
    x = clips(5, frames, layout.num_joints)
    draws = draw_mix(5, frames, layout, (2, 3), (2, 5), 2, generator())
    for donor, mask in zip(draws["donor"], draws["mask"], strict=True):
        out = mix(x, donor, mask)
        expected = x.clone()
        for i, t, v in np.ndindex(5, frames, layout.num_joints):
            if mask[t // 4, v]:
                expected[i, :, t, v] = x[donor[i], :, t, v]
        assert torch.equal(out, expected)
        changed = (out != x).any(dim=0).any(dim=0).any(dim=-1)  # (T, V)
        assert torch.equal(changed, mask.repeat_interleave(4, dim=0)[:frames])


def test_mix_pastes_from_the_unmixed_donor():
    x = clips(3, 4, 25)
    everything = torch.ones(1, 25, dtype=torch.bool)
    assert torch.equal(mix(x, torch.tensor([1, 2, 0]), everything), x[[1, 2, 0]])


@pytest.mark.parametrize("n", [3, 4, 7])
def test_donors_are_every_cyclic_shift_from_1_to_n_minus_2(n):
    draws = draw_mix(n, 16, LAYOUTS["ntu25"], (1, 2), (1, 2), 600, generator())
    shift = draws["donor"][:, 0]
    assert draws["donor"].dtype == torch.int64
    assert torch.equal(draws["donor"], (torch.arange(n) + shift[:, None]) % n), "one shift for the whole batch"
    counts = torch.bincount(shift, minlength=n)
    assert counts[0] == counts[n - 1] == 0
    expected = 600 / (n - 2)
    assert (counts[1 : n - 1] - expected).abs().max() < 5 * expected**0.5 + 1


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("parts", [(1, 1), (2, 3), (3, 5)])
def test_masks_are_complete_body_parts_and_every_choice_occurs(name, parts):
    layout = LAYOUTS[name]
    mask = draw_mix(5, 16, layout, parts, (2, 2), 1500, generator())["mask"]
    joints = mask.any(dim=1)  # (J, V)
    chosen = torch.stack([joints[:, list(layout.parts[part])].all(dim=1) for part in PARTS], dim=1)  # (J, 5)
    rebuilt = torch.zeros_like(joints)
    for column, part in enumerate(PARTS):
        rebuilt[:, list(layout.parts[part])] |= chosen[:, column, None]
    assert torch.equal(rebuilt, joints), "nothing but whole parts"
    count = chosen.sum(dim=1)
    share = torch.bincount(count, minlength=6)[parts[0] : parts[1] + 1] / 1500
    assert share.sum() == 1
    assert (share - 1 / len(share)).abs().max() < 0.07
    assert (chosen.float().mean(0) - count.float().mean() / 5).abs().max() < 0.07, "no part is preferred"


@pytest.mark.parametrize(("frames", "units"), [(64, 16), (50, 13), (49, 13), (17, 5)])
def test_windows_are_contiguous_have_every_length_and_reach_both_ends(frames, units):
    low, high = 2, min(7, units)
    mask = draw_mix(5, frames, LAYOUTS["ntu25"], (3, 4), (low, high), 3000, generator())["mask"]
    assert (mask.shape, mask.dtype) == ((3000, units, 25), torch.bool)
    inside = mask.any(dim=2)  # (J, U)
    # the window times the parts, nothing else
    assert torch.equal(mask, inside[:, :, None] & mask.any(dim=1)[:, None, :])
    length = inside.sum(dim=1)
    start = inside.int().argmax(dim=1)
    unit = torch.arange(units)
    assert torch.equal(inside, (unit >= start[:, None]) & (unit < (start + length)[:, None]))
    seen = {(int(a), int(b)) for a, b in zip(length, start, strict=True)}
    assert seen == {(n, s) for n in range(low, high + 1) for s in range(units - n + 1)}


def test_each_of_several_mixes_has_its_own_draws():
    draws = draw_mix(8, 64, LAYOUTS["ntu25"], (2, 3), (7, 11), 3, generator())
    assert draws["donor"].shape == (3, 8)
    assert draws["mask"].shape == (3, 16, 25)
    many = draw_mix(8, 64, LAYOUTS["ntu25"], (2, 3), (7, 11), 200, generator())
    assert len({row.numpy().tobytes() for row in many["mask"]}) > 50


def test_the_smallest_batch_of_a_mix_is_three():
    layout = LAYOUTS["ntu25"]
    assert draw_mix(3, 16, layout, (1, 2), (1, 2), 1, generator())["donor"].tolist() == [[1, 2, 0]]
    for n in (1, 2):
        with pytest.raises(SkelbenchError, match=f"at least 3 clips in a batch, not {n}"):
            draw_mix(n, 16, layout, (1, 2), (1, 2), 1, generator())


# --- HiCLR's joint mask ---------------------------------------------------------------------------


def test_the_joint_mask_hides_as_many_joints_a_frame_as_the_released(golden):
    recorded = golden("moco-family/hiclr_tiny.npz")["mask_joint_indices_seed0"]  # (T, joints a frame)
    mask = draw_joint_mask(len(recorded), 25, 0.1, generator())
    assert (mask.shape, mask.dtype) == ((50, 25), torch.bool)
    assert (mask.sum(1) == recorded.shape[1]).all()
    assert all(len(set(row)) == recorded.shape[1] for row in recorded.tolist()), "none is drawn twice"


@pytest.mark.parametrize(
    ("joints", "ratio", "hidden"),
    [(25, 0.1, 2), (20, 0.1, 2), (22, 0.2, 4), (25, 0.03, 0), (25, 0.0, 0), (20, 1.0, 20)],
)
def test_the_joint_mask_hides_that_share_of_every_frame_rounded_down(joints, ratio, hidden):
    assert (draw_joint_mask(64, joints, ratio, generator()).sum(1) == hidden).all()


def test_the_joint_mask_prefers_no_joint_and_no_pair_and_differs_between_frames():
    mask = draw_joint_mask(6000, 5, 0.4, generator()).float()
    together = mask.T @ mask / 6000  # (V, V): how often two joints are hidden together
    expected = torch.full((5, 5), 1 / 10).fill_diagonal_(2 / 5)
    assert (together - expected).abs().max() < 5 * (0.4 * 0.6 / 6000) ** 0.5
    repeated = (mask[1:] == mask[:-1]).all(1).float().mean()
    assert abs(repeated - 1 / 10) < 5 * (0.1 * 0.9 / 6000) ** 0.5


# --- draws and applications -----------------------------------------------------------------------


def draw_everything(source):
    x = clips(frames=50)
    mixing = draw_mix(5, 50, LAYOUTS["ntu25"], (2, 3), (4, 7), 2, source)
    view = draw_basic(x, 6, 0.5, source)
    masking = {"joint_mask": draw_joint_mask(50, 25, 0.1, source)}
    return {"start": view["crop"]["start"], "matrix": view["shear"]["matrix"], **mixing, **masking}


def test_the_same_generator_state_gives_the_same_draws_and_another_gives_others():
    first, again, other = (draw_everything(generator(seed)) for seed in (1, 1, 2))
    for name in first:
        assert torch.equal(first[name], again[name]), name
        assert not torch.equal(first[name], other[name]), name
    source = generator(1)
    draw_everything(source)
    assert not torch.equal(first["matrix"], draw_everything(source)["matrix"]), "the generator moves on"


def test_neither_drawing_nor_applying_touches_the_global_random_state():
    before = torch.random.get_rng_state()
    draws = draw_everything(generator())
    x = clips(frames=50)
    shear(crop(x, draws["start"], 6), draws["matrix"])
    mix(x, draws["donor"][0], draws["mask"][0])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_applying_leaves_its_input_alone_and_is_repeatable():
    draws = draw_everything(generator())
    x = clips(frames=50)
    before = x.clone()
    for apply in (
        lambda: crop(x, draws["start"], 6),
        lambda: shear(x, draws["matrix"]),
        lambda: mix(x, draws["donor"][0], draws["mask"][0]),
    ):
        assert torch.equal(apply(), apply())
        assert torch.equal(x, before)


# --- what cannot be mixed -------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [(0, 2), (3, 2), (2, 6)])
def test_a_range_of_parts_outside_the_five_is_an_error(parts):
    with pytest.raises(SkelbenchError, match=r"Somebody mixes .* body parts; a range within 1 to 5"):
        check_mix(64, LAYOUTS["ntu25"], parts, (4, 7), "Somebody")


@pytest.mark.parametrize(("frames", "window"), [(64, (0, 3)), (64, (5, 4)), (64, (4, 17)), (24, (4, 7))])
def test_a_window_longer_than_the_clip_is_an_error(frames, window):
    units = -(-frames // 4)
    with pytest.raises(SkelbenchError, match=f"a clip of {frames} frames has {units}; set 'window' or more frames"):
        check_mix(frames, LAYOUTS["ntu25"], (3, 4), window, "Somebody")


def test_a_window_as_long_as_the_clip_is_allowed():
    check_mix(25, LAYOUTS["ntu25"], (1, 5), (7, 7), "Somebody")
    mask = draw_mix(5, 25, LAYOUTS["ntu25"], (5, 5), (7, 7), 1, generator())["mask"]
    assert mask.all()


def test_a_layout_without_body_parts_is_an_error():
    with pytest.raises(SkelbenchError, match=r"Somebody needs 'parts'.*'bare'"):
        check_mix(64, Layout("bare", ("a", "b"), (-1, 0)), (1, 2), (1, 2), "Somebody")


def test_drawing_a_window_longer_than_the_clip_is_an_error():
    with pytest.raises(SkelbenchError, match="a clip of 8 frames has 2"):
        draw_mix(5, 8, LAYOUTS["ntu25"], (3, 4), (4, 7), 1, generator())


def test_drawing_a_mix_copies_nothing_from_the_host_and_needs_no_float64(operations):
    draw_everything(generator())
    with operations() as drawing:
        draw_mix(5, 50, LAYOUTS["ntu25"], (2, 3), (4, 7), 2, generator())
    assert drawing.names and drawing.names.isdisjoint(operations.FROM_HOST | {"aten::scalar_tensor"})
    assert torch.float64 not in drawing.dtypes


def test_drawing_a_joint_mask_copies_nothing_from_the_host_and_needs_no_float64(operations):
    with operations() as drawing:
        draw_joint_mask(50, 25, 0.1, generator())
    assert drawing.names and drawing.names.isdisjoint(operations.FROM_HOST | {"aten::scalar_tensor"})
    assert torch.float64 not in drawing.dtypes
