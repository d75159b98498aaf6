"""The three streams: against the released tensors and joint by joint."""

import pytest
import torch

from skelbench.datasets.layout import LAYOUTS, describe_layout
from skelbench.datasets.streams import STREAMS, check_stream, to_stream
from skelbench.errors import SkelbenchError


def joints(layout, frames=6, persons=2):
    return torch.randn(2, 3, frames, layout.num_joints, persons, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("stream", STREAMS)
def test_streams_are_the_released(golden, stream):
    recorded = golden("moco-family/streams.npz")
    ours = to_stream(torch.from_numpy(recorded["joint"]), stream, LAYOUTS["ntu25"])
    assert torch.equal(ours, torch.from_numpy(recorded[stream]))


@pytest.mark.parametrize("stream", ["bone", "motion"])
def test_streams_are_the_released_at_64_frames(golden, stream):
    recorded = golden("mixing/skelemix_aug.npz")
    ours = to_stream(torch.from_numpy(recorded["x_T64"]), stream, LAYOUTS["ntu25"])
    assert torch.equal(ours, torch.from_numpy(recorded[f"view_{stream}_T64"]))


def test_bone_pairs_of_ntu_are_the_released(golden):
    for child, parent in golden("moco-family/streams.npz")["bone_pairs_1based"] - 1:
        assert LAYOUTS["ntu25"].parents[child] == (-1 if parent == child else parent)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_bone_is_a_joint_minus_its_parent_and_the_root_is_zero(name):
    layout = LAYOUTS[name]
    x = joints(layout)
    bone = to_stream(x, "bone", layout)
    roots = 0
    for joint, parent in enumerate(layout.parents):
        if parent < 0:
            roots += 1
            assert bone[:, :, :, joint].abs().max() == 0
        else:
            assert torch.equal(bone[:, :, :, joint], x[:, :, :, joint] - x[:, :, :, parent])
    assert roots == 1


@pytest.mark.parametrize("name", LAYOUTS)
def test_bones_add_up_to_the_joints_along_the_tree(name):
    layout = LAYOUTS[name]
    x = joints(layout).double()
    bone = to_stream(x, "bone", layout)
    for joint in range(layout.num_joints):
        total, at = torch.zeros_like(x[:, :, :, joint]), joint
        while layout.parents[at] >= 0:
            total, at = total + bone[:, :, :, at], layout.parents[at]
        torch.testing.assert_close(total + x[:, :, :, at], x[:, :, :, joint], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LAYOUTS)
def test_motion_is_the_next_frame_minus_this_one_and_the_last_is_zero(name):
    layout = LAYOUTS[name]
    x = joints(layout)
    motion = to_stream(x, "motion", layout)
    for t in range(x.shape[2] - 1):
        assert torch.equal(motion[:, :, t], x[:, :, t + 1] - x[:, :, t])
    assert motion[:, :, -1].abs().max() == 0


def test_motion_of_one_frame_is_zero():
    layout = LAYOUTS["ntu25"]
    assert to_stream(joints(layout, frames=1), "motion", layout).abs().max() == 0


@pytest.mark.parametrize("stream", STREAMS)
def test_an_absent_person_stays_absent_and_the_input_is_left_alone(stream):
    layout = LAYOUTS["ntu25"]
    x = joints(layout)
    x[..., 1] = 0
    before = x.clone()
    assert to_stream(x, stream, layout)[..., 1].abs().max() == 0
    assert torch.equal(x, before)


@pytest.mark.parametrize("stream", STREAMS)
def test_streams_keep_shape_and_precision(stream):
    layout = LAYOUTS["kinect20"]
    out = to_stream(joints(layout).double(), stream, layout)
    assert (out.shape, out.dtype) == ((2, 3, 6, 20, 2), torch.float64)


def test_an_unknown_stream_says_what_was_probably_meant():
    with pytest.raises(SkelbenchError, match=r"no stream 'bones'; did you mean 'bone'"):
        to_stream(joints(LAYOUTS["ntu25"]), "bones", LAYOUTS["ntu25"])
    with pytest.raises(SkelbenchError, match="known: bone, joint, motion"):
        check_stream("xyz")


def test_bones_copy_nothing_from_the_host_but_the_first_time(operations):
    x, layout = joints(LAYOUTS["ntu25"]), LAYOUTS["ntu25"]
    to_stream(x, "bone", layout)
    with operations() as converting:
        to_stream(x, "bone", layout)
    assert converting.names and converting.names.isdisjoint(operations.FROM_HOST | {"aten::scalar_tensor"})


def test_bones_first_made_in_inference_can_be_trained_through():
    layout = describe_layout(["a", "b", "c"], [1, 2, -1])
    with torch.inference_mode():
        to_stream(joints(layout), "bone", layout)
    x = joints(layout).requires_grad_()
    to_stream(x, "bone", layout).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad[0, 0, 0, :, 0], torch.tensor([1.0, 0.0, -1.0]))


def test_compiled_bones_are_one_graph_and_equal_the_eager_ones():
    layout = describe_layout(["a", "b", "c"], [-1, 0, 1])
    x = joints(layout)
    compiled = torch.compile(lambda x: to_stream(x, "bone", layout), fullgraph=True, backend="aot_eager")
    for _ in range(2):
        assert torch.equal(compiled(x), to_stream(x, "bone", layout))
