"""From recorded frames to the tensor a method sees: against the released preprocessing and a plain one."""

import math

import numpy as np
import pytest
import torch

from skelbench.datasets import Clip, Recording, SplitRule
from skelbench.datasets.clips import list_clips, load_dataset, preprocess, turn_parallel, valid_frames
from skelbench.datasets.layout import LAYOUTS, Layout
from skelbench.datasets.store.writer import StoreWriter
from skelbench.errors import SkelbenchError


def plain(clip, count, frames, layout):
    """Centre, resample and turn one clip (T, M, V, 3) frame by frame and joint by joint, in plain floats."""
    persons, joints = clip.shape[1:3]
    start, end = layout.shoulders
    out = np.zeros((frames, persons, joints, 3))
    for m in range(persons):
        centred = [
            [[float(clip[t, m, v, c]) - float(clip[t, m, layout.centre, c]) for c in range(3)] for v in range(joints)]
            for t in range(count)
        ]
        resampled = []
        for d in range(frames):
            source = (d + 0.5) * count / frames - 0.5
            low = math.floor(source)
            share = source - low
            a, b = (centred[min(max(i, 0), count - 1)] for i in (low, low + 1))
            resampled.append([[(1 - share) * a[v][c] + share * b[v][c] for c in range(3)] for v in range(joints)])
        lines = [[frame[end][c] - frame[start][c] for c in (0, 2)] for frame in resampled]
        sign = -1 if sum(line[1] for line in lines) >= 0 else 1
        for t, (frame, (dx, dz)) in enumerate(zip(resampled, lines, strict=True)):
            angle = sign * math.acos(dx / (math.sqrt(dx * dx + dz * dz) + 1e-4))
            for v, (x, y, z) in enumerate(frame):
                out[t, m, v] = (
                    math.cos(angle) * x - math.sin(angle) * z,
                    y,
                    math.sin(angle) * x + math.cos(angle) * z,
                )
    return out


def motion(rng, frames, layout, persons=2):
    """Made-up clip (T, M, V, 3): a random walk of every joint, nowhere exactly zero."""
    walk = rng.normal(scale=0.05, size=(frames, persons, layout.num_joints, 3)).cumsum(axis=0)
    return (walk + rng.normal(size=(1, persons, layout.num_joints, 3)) + 3).astype(np.float32)


def save(folder, layout, clips, sides=None, labels=None):
    """Write clips as a store whose split "own" follows `sides`."""
    sides = sides if sides is not None else [1] * (len(clips) - 1) + [0]
    recording = Recording(
        layout=layout,
        class_names=("a", "b", "c"),
        splits={"own": SplitRule("own", text="given clip by clip")},
        clips=(),
        reader="test",
        reader_version=1,
    )
    with StoreWriter(folder / "made_up", recording) as writer:
        for i, clip in enumerate(clips):
            label = labels[i] if labels is not None else i % 3
            writer.add(Clip(f"clip{i:03d}", clip, label, subject=i, splits={"own": sides[i]}))
        return writer.finish()


def from_released(array):
    """(N, C, T, V, M) as recorded to N clips (T, M, V, 3)."""
    return [sample.transpose(1, 3, 2, 0) for sample in array]


def to_released(x):
    """(N, T, M, V, 3) to (N, C, T, V, M)."""
    return x.transpose(0, 4, 1, 3, 2)


@pytest.mark.parametrize("rule", ["any", "joint0"])
@pytest.mark.parametrize("frames", [50, 64])
def test_clips_are_preprocessed_as_released_at_either_length(golden, frames, rule):
    recorded = golden("mixing/preprocess64.npz")
    clips = from_released(recorded["raw_N3TVM"])
    counts = np.array([valid_frames(clip, rule) for clip in clips])
    assert counts.tolist() == recorded["lengths"].tolist()
    ours = to_released(preprocess(clips, counts, frames, LAYOUTS["ntu25"]))
    np.testing.assert_allclose(ours, recorded[f"T{frames}/position"], rtol=0, atol=1e-5)


def test_two_persons_missing_frames_and_a_late_person_are_preprocessed_as_released(golden):
    recorded = golden("moco-family/preprocess.npz")
    clips = from_released(np.pad(recorded["full_in_first110frames"], [(0, 0), (0, 0), (0, 190), (0, 0), (0, 0)]))
    counts = np.array([valid_frames(clip) for clip in clips])
    ours = to_released(preprocess(clips, counts, 50, LAYOUTS["ntu25"]))
    np.testing.assert_allclose(ours, recorded["full_position"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", ["yrot", "yrot2"])
def test_turning_is_the_released_for_either_sign(golden, case):
    recorded = golden("moco-family/preprocess.npz")
    one = recorded[f"{case}_in"].transpose(1, 2, 0)[None, :, None].astype(np.float64)  # (1, T, 1, V, 3)
    turned = turn_parallel(one, 4, 8)[0, :, 0].transpose(2, 0, 1)
    np.testing.assert_allclose(turned, recorded[f"{case}_out"], rtol=0, atol=1e-5)  # recorded in float32


@pytest.mark.parametrize("length", [7, 37, 50, 103, 300])
def test_resampling_is_the_released(golden, length):
    recorded = golden("moco-family/preprocess.npz")
    # Centre and one shoulder at the origin, the other on the x axis: nothing is left to centre or turn.
    layout = Layout("line", ("a", "b", *(f"j{i}" for i in range(25))), (-1, *[0] * 26), centre=0, shoulders=(0, 1))
    clip = np.zeros((length, 1, 27, 3))
    clip[:, 0, 1, 0] = 1e9
    clip[:, 0, 2:] = recorded[f"resize_in_T{length}"].transpose(1, 2, 0)
    ours = preprocess([clip], np.array([length]), 50, layout)[0, :, 0, 2:].transpose(2, 0, 1)
    np.testing.assert_allclose(ours, recorded[f"resize_out_T{length}"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_loaded_split_equals_a_plain_frame_by_frame_computation(tmp_path, name):
    layout, rng = LAYOUTS[name], np.random.default_rng(3)
    clips = [motion(rng, frames, layout) for frames in (5, 23, 16, 1)]
    clips[0][:, 1] = 0  # absent
    clips[1][:9, 1] = 0  # comes late
    train, test = load_dataset(save(tmp_path, layout, clips), "own", frames=16)
    assert train.x.shape == (3, 3, 16, layout.num_joints, 2), "(N, C, T, V, M)"
    assert (train.x.dtype, test.x.dtype) == (torch.float32, torch.float32)
    for i, clip in enumerate(clips):
        x = train.x[i] if i < 3 else test.x[0]
        expected = plain(clip, len(clip), 16, layout).transpose(3, 0, 2, 1)  # (C, T, V, M)
        np.testing.assert_allclose(x.numpy(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("frames", [1, 7, 64])
def test_clips_are_stretched_and_shrunk_to_the_same_length(tmp_path, frames):
    layout, rng = LAYOUTS["kinect20"], np.random.default_rng(4)
    clips = [motion(rng, length, layout, persons=1) for length in (3, 30)]
    train, test = load_dataset(save(tmp_path, layout, clips), "own", frames=frames)
    for x, clip in ((train.x, clips[0]), (test.x, clips[1])):
        expected = plain(clip, len(clip), frames, layout).transpose(3, 0, 2, 1)
        np.testing.assert_allclose(x[0].numpy(), expected, rtol=0, atol=2e-6)


def test_a_clip_of_one_frame_stands_still(tmp_path):
    layout = LAYOUTS["ntu25"]
    clips = [motion(np.random.default_rng(5), 1, layout) for _ in range(2)]
    train, _ = load_dataset(save(tmp_path, layout, clips), "own", frames=8)
    assert torch.equal(train.x, train.x[:, :, :1].expand_as(train.x))
    assert train.x.abs().sum() > 0


def test_a_clip_of_the_wanted_length_is_only_centred_and_turned(tmp_path):
    layout = LAYOUTS["ntu25"]
    clips = [motion(np.random.default_rng(6), 12, layout) for _ in range(2)]
    train, _ = load_dataset(save(tmp_path, layout, clips), "own", frames=12)
    centred = clips[0] - clips[0][:, :, layout.centre, None]
    bone_lengths = np.linalg.norm(centred, axis=-1)  # a turn keeps them
    np.testing.assert_allclose(train.x[0].norm(dim=0).permute(0, 2, 1), bone_lengths, atol=1e-5)
    np.testing.assert_allclose(train.x[0, 1].permute(0, 2, 1), centred[..., 1], atol=1e-6)
    assert layout.centre is not None
    assert train.x[:, :, :, layout.centre].abs().max() == 0


def test_shoulders_end_parallel_to_x():
    layout = LAYOUTS["ntu25"]
    clip = motion(np.random.default_rng(7), 1, layout)
    x = preprocess([clip], np.array([1]), 1, layout)[0, 0]
    assert layout.shoulders is not None
    line = x[:, layout.shoulders[1]] - x[:, layout.shoulders[0]]
    # the released 1e-4 below the fraction keeps the angle from being exact
    np.testing.assert_allclose(line[:, 2], 0, atol=0.02)
    assert (line[:, 0] > 0).all()


def test_a_block_of_clips_equals_its_clips_one_by_one():
    layout, rng = LAYOUTS["ntu25"], np.random.default_rng(8)
    clips = [motion(rng, length, layout) for length in (4, 19, 1, 33)]
    counts = np.array([3, 19, 1, 20])
    together = preprocess(clips, counts, 10, layout)
    alone = [preprocess([c], n[None], 10, layout)[0] for c, n in zip(clips, counts, strict=True)]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_more_clips_than_a_block_keep_their_order(tmp_path):
    layout = LAYOUTS["kinect20"]
    base = motion(np.random.default_rng(9), 2, layout, persons=1)
    clips = [base * (1 + i) for i in range(300)]
    train, _ = load_dataset(save(tmp_path, layout, clips), "own", frames=2)
    ratio = train.x[:, 1].flatten(1).norm(dim=1) / train.x[0, 1].flatten().norm()  # y is not turned
    np.testing.assert_allclose(ratio, np.arange(1, 300), rtol=1e-5)
    assert train.name == tuple(f"clip{i:03d}" for i in range(299))


def test_an_empty_second_person_stays_zero(tmp_path):
    layout = LAYOUTS["ntu25"]
    clips = [motion(np.random.default_rng(10), 6, layout) for _ in range(2)]
    clips[0][:, 1] = 0
    train, _ = load_dataset(save(tmp_path, layout, clips), "own", frames=16)
    assert train.x[0, ..., 1].abs().max() == 0
    assert train.x[0, ..., 0].abs().max() > 0


def test_a_frame_missing_inside_a_clip_shortens_it():
    layout = LAYOUTS["ntu25"]
    clip = motion(np.random.default_rng(11), 9, layout)
    clip[4, 0] = 0
    assert valid_frames(clip, "any") == valid_frames(clip, "joint0") == 8
    x = preprocess([clip], np.array([8]), 8, layout)[0]
    np.testing.assert_allclose(x, plain(clip, 8, 8, layout), atol=1e-12)
    assert np.abs(x[4, 0]).max() == 0, "the gap itself stays in"


def test_absence_of_the_second_person_does_not_count():
    clip = motion(np.random.default_rng(12), 9, LAYOUTS["ntu25"])
    clip[2:, 1] = 0
    assert valid_frames(clip, "any") == valid_frames(clip, "joint0") == 9


def test_root_centred_data_count_by_any_joint_but_not_by_joint_0(tmp_path):
    layout = LAYOUTS["kinect20"]
    clips = [motion(np.random.default_rng(13), 6, layout, persons=1) for _ in range(2)]
    clips = [clip - clip[:, :, :1] for clip in clips]
    assert valid_frames(clips[0], "any") == 6
    assert valid_frames(clips[0], "joint0") == 0
    store = save(tmp_path, layout, clips)
    train, _ = load_dataset(store, "own", frames=6, valid="any")
    np.testing.assert_allclose(train.x[0].numpy(), plain(clips[0], 6, 6, layout).transpose(3, 0, 2, 1), atol=1e-6)
    with pytest.raises(SkelbenchError, match=r"'clip000' of 'made_up' has no valid frame.*joint0"):
        load_dataset(store, "own", frames=6, valid="joint0")


def test_a_single_coordinate_makes_a_frame_valid():
    clip = np.zeros((3, 1, 20, 3))
    clip[0, 0, 0, 2] = 1e-6
    clip[1, 0, 5, 1] = -1e-6
    assert valid_frames(clip, "any") == 2
    assert valid_frames(clip, "joint0") == 1


@pytest.mark.parametrize("limit", [5, 12, 29])
def test_limit_is_deterministic_and_keeps_both_sides_in_proportion(tmp_path, limit):
    layout, rng = LAYOUTS["kinect20"], np.random.default_rng(14)
    sides = [0 if i % 3 == 0 else 1 for i in range(30)]  # 20 train, 10 test
    store = save(tmp_path, layout, [motion(rng, 2, layout, persons=1) for _ in sides], sides)
    train, test = load_dataset(store, "own", frames=2, limit=limit)
    again = load_dataset(store, "own", frames=2, limit=limit)
    assert (train.name, test.name) == (again[0].name, again[1].name)
    assert abs(len(train) - limit * 2 / 3) <= 0.5
    assert abs(len(test) - limit / 3) <= 0.5
    whole = load_dataset(store, "own", frames=2)
    for few, all_ in ((train, whole[0]), (test, whole[1])):
        place = [all_.name.index(name) for name in few.name]
        assert place == sorted(place)
        assert torch.equal(few.x, all_.x[place])
        assert torch.equal(few.label, all_.label[place])
        assert torch.equal(few.subject, all_.subject[place])


def test_limit_keeps_at_least_one_clip_a_side_and_all_when_it_exceeds_them(tmp_path):
    layout, rng = LAYOUTS["kinect20"], np.random.default_rng(15)
    store = save(tmp_path, layout, [motion(rng, 2, layout, persons=1) for _ in range(8)])
    assert [len(side) for side in load_dataset(store, "own", frames=2, limit=2)] == [2, 1]
    assert [len(side) for side in load_dataset(store, "own", frames=2, limit=800)] == [7, 1]


def test_facts_of_the_clips_travel_with_them(tmp_path):
    layout, rng = LAYOUTS["uiprmd22"], np.random.default_rng(16)
    clips = [motion(rng, 2, layout, persons=1) for _ in range(5)]
    store = save(tmp_path, layout, clips, sides=[0, 1, -1, 1, 0], labels=[2, 0, 1, 2, 1])
    train, test = load_dataset(store, "own", frames=4)
    assert (train.name, test.name) == (("clip001", "clip003"), ("clip000", "clip004"))
    assert (train.label.dtype, train.label.tolist(), test.label.tolist()) == (torch.int64, [0, 2], [2, 1])
    assert (train.subject.dtype, train.subject.tolist()) == (torch.int64, [1, 3])
    assert (train.layout, train.num_classes, len(train)) == (layout, 3, 2)
    assert (train.dataset, train.fingerprint) == ("made_up", store.fingerprint)


def test_an_unknown_split_names_those_there_are(tmp_path):
    layout, rng = LAYOUTS["kinect20"], np.random.default_rng(17)
    store = save(tmp_path, layout, [motion(rng, 2, layout) for _ in range(2)])
    with pytest.raises(SkelbenchError, match=r"no split 'xset'; .*own"):
        load_dataset(store, "xset", frames=4)


def test_no_frames_at_all_is_an_error(tmp_path):
    layout, rng = LAYOUTS["kinect20"], np.random.default_rng(18)
    store = save(tmp_path, layout, [motion(rng, 2, layout) for _ in range(2)])
    with pytest.raises(SkelbenchError, match="frames must be at least 1"):
        load_dataset(store, "own", frames=0)


def test_a_layout_without_centre_or_shoulders_says_what_is_missing():
    without_centre = Layout("bare", ("a", "b", "c"), (-1, 0, 0), shoulders=(1, 2))
    without_shoulders = Layout("bare", ("a", "b", "c"), (-1, 0, 0), centre=0)
    for layout, fact in ((without_centre, "centre"), (without_shoulders, "shoulders")):
        with pytest.raises(SkelbenchError, match=f"'{fact}'.*'bare'"):
            preprocess([np.ones((2, 1, 3, 3))], np.array([2]), 4, layout)


@pytest.mark.parametrize("limit", [None, 7, 24])
@pytest.mark.parametrize("split", ["xsub", "xview"])
def test_the_list_of_clips_is_that_of_the_loaded_ones(store, split, limit):
    loaded = load_dataset(store, split, frames=4, limit=limit)
    for listed, side in zip(list_clips(store, split, limit), loaded, strict=True):
        assert (listed.name, listed.class_names, len(listed)) == (side.name, side.class_names, len(side))
        assert torch.equal(listed.label, side.label) and torch.equal(listed.subject, side.subject)
        again = side.listed()
        assert again.name == listed.name and torch.equal(again.label, listed.label)
