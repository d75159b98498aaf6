import numpy as np
import pytest

from skelbench.datasets.layout import LAYOUTS, Layout
from skelbench.errors import SkelbenchError
from skelbench.results.plots.attention import Attention, draw_attention, read_attention, write_attention

NTU = LAYOUTS["ntu25"]


def attention(layout=NTU, frames=10, stride=4):
    rng = np.random.default_rng(0)
    keypoints = rng.normal(size=(frames, 2, layout.num_joints, 3))
    keypoints[:, 1] = 0
    mask = rng.uniform(0.4, 0.6, size=(2, -(-frames // stride), layout.num_joints))
    return Attention(mask, keypoints, stride, "clip <1>", "$x_1$", layout)


def test_arrays_are_read_back_as_they_were_written(tmp_path):
    before = attention()
    write_attention(tmp_path, before)
    after = read_attention(tmp_path)
    assert (after.mask == before.mask).all()
    assert (after.keypoints == before.keypoints).all()
    assert (after.clip, after.label, after.stride) == ("clip <1>", "$x_1$", 4)
    assert after.skeleton.joints == NTU.joints
    assert after.skeleton.bones == NTU.bones
    assert after.skeleton.parts == NTU.parts
    assert draw_attention(after) == draw_attention(before)


def test_a_step_of_the_mask_stands_for_its_frames_and_the_last_may_be_cut():
    found = attention(frames=10, stride=4)
    by_frame = found.by_frame()
    assert by_frame.shape == (2, 10, 25)
    for frame in range(10):
        assert (by_frame[:, frame] == found.mask[:, frame // 4]).all()


def test_missing_and_damaged_arrays_are_reported(tmp_path):
    with pytest.raises(SkelbenchError, match="does not exist: omit --stored"):
        read_attention(tmp_path)
    write_attention(tmp_path, attention())
    complete = (tmp_path / "attention.npz").read_bytes()
    for content in (b"", complete[: len(complete) // 2], b"no zip"):
        (tmp_path / "attention.npz").write_bytes(content)
        with pytest.raises(SkelbenchError, match="is damaged"):
            read_attention(tmp_path)


@pytest.mark.parametrize("width", ["single", "double"])
def test_the_figure_names_joints_clip_and_class_in_print_size(width, texts, centimetres):
    svg = draw_attention(attention(), method="skeattnclr", suffix=".svg", width=width)
    found = texts(svg)
    assert set(NTU.joints) <= set(found)
    assert "skeattnclr · $x_1$ · clip <1>" in found
    assert min(found.values()) >= 7
    assert centimetres(svg)[0] == pytest.approx({"single": 8.5, "double": 17.5}[width], abs=0.01)


def test_rows_of_the_map_are_labelled_with_their_joints(monkeypatch):
    """Of a mask in which one joint alone is salient, the row with that joint's name is the dark one."""
    from matplotlib.axes import Axes

    drawn = {}
    imshow = Axes.imshow
    monkeypatch.setattr(
        Axes, "imshow", lambda self, image, **how: drawn.update(image=image, axes=self) or imshow(self, image, **how)
    )
    found = attention()
    found.mask[:] = 0.5
    found.mask[0, 1, NTU.joints.index("HandRight")] = 0.9
    draw_attention(found)
    (row,), (step,) = np.nonzero(drawn["image"] == 0.9)
    assert step == 1
    assert drawn["axes"].get_yticklabels()[row].get_text() == "HandRight"


def test_a_person_who_is_not_there_is_refused():
    with pytest.raises(SkelbenchError, match="shows 1 person, so there is no person 2"):
        draw_attention(attention(), person=1)


def test_a_skeleton_without_parts_is_drawn_in_its_own_order(texts):
    chain = Layout("custom", ("a", "b", "c"), (-1, 0, 1))
    assert {"a", "b", "c"} <= set(texts(draw_attention(attention(chain), suffix=".svg")))


@pytest.mark.parametrize("spread, constant", [(0.0, True), (2e-6, True), (4e-4, True), (6e-4, False), (0.2, False)])
def test_a_map_whose_range_is_below_a_thousandth_of_its_mean_is_said_to_be_constant(
    monkeypatch, texts, spread, constant
):
    from matplotlib.axes import Axes

    drawn = {}
    imshow = Axes.imshow
    monkeypatch.setattr(
        Axes, "imshow", lambda self, *a, norm, **how: drawn.update(norm=norm) or imshow(self, *a, **how)
    )
    found = attention()
    found.mask[0] = 0.5
    found.mask[0, :, :5] += spread
    words = texts(draw_attention(found, suffix=".svg", width="single"))
    assert ("constant: 0.500" in words) == constant
    scale = (drawn["norm"].vmin, drawn["norm"].vmax)
    assert scale == pytest.approx((0, 1) if constant else (0.5, 0.5 + spread))
