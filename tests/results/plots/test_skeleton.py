import io

import numpy as np
import pytest
from PIL import Image

from skelbench.datasets.layout import LAYOUTS
from skelbench.results.plots.page import picture, sheet
from skelbench.results.plots.skeleton import Motion, animate, draw_poses, draw_scores, draw_strip, extent_of, spaced


def motion(layout, frames=10, persons=2, name="walk"):
    rng = np.random.default_rng(0)
    keypoints = rng.normal(size=(frames, 2, layout.num_joints, 3))
    keypoints[:, persons:] = 0
    return Motion(name, keypoints, list(range(100, 100 + frames)))


@pytest.fixture(params=list(LAYOUTS))
def layout(request):
    return LAYOUTS[request.param]


def drawn(figure):
    """Lines of bones and places of joints on the only axes of a figure."""
    from matplotlib.collections import LineCollection, PathCollection

    (axes,) = figure.axes
    bones = [part for part in axes.collections if isinstance(part, LineCollection)]
    joints = [part for part in axes.collections if isinstance(part, PathCollection)]
    return bones, joints


def test_bones_join_the_joints_that_the_layout_says(layout):
    clip = motion(layout, frames=1, persons=1)
    with sheet("single", 4) as figure:
        draw_poses(figure.subplots(), layout, clip)
        (bones,), (joints,) = drawn(figure)
        moved = clip.keypoints[0, 0, :, :2] - (extent_of(clip.keypoints).left, 0)
        assert np.allclose(np.asarray(joints.get_offsets()), moved)
        expected = [(moved[child], moved[parent]) for child, parent in enumerate(layout.parents) if parent >= 0]
        assert np.allclose(bones.get_segments(), expected)


def test_who_is_absent_is_not_drawn():
    layout = LAYOUTS["ntu25"]
    for persons in (1, 2):
        with sheet("single", 4) as figure:
            draw_poses(figure.subplots(), layout, motion(layout, frames=3, persons=persons))
            assert len(drawn(figure)[1]) == 3 * persons


def test_persons_differ_in_colour():
    layout = LAYOUTS["ntu25"]
    with sheet("single", 4) as figure:
        draw_poses(figure.subplots(), layout, motion(layout, frames=1))
        first, second = drawn(figure)[1]
        assert not np.allclose(first.get_facecolor(), second.get_facecolor())


def test_poses_are_side_by_side():
    layout = LAYOUTS["sbu15"]
    clip = motion(layout, frames=4, persons=1)
    with sheet("double", 4) as figure:
        draw_poses(figure.subplots(), layout, clip)
        places = [np.asarray(joints.get_offsets())[:, 0] for joints in drawn(figure)[1]]
    box = extent_of(clip.keypoints)
    for number, place in enumerate(places):  # each in a separate column, as wide as the widest
        assert (np.floor(place / (box.right - box.left)) == number).all()


def test_a_higher_score_is_a_larger_and_darker_joint():
    from matplotlib.colors import Normalize

    layout = LAYOUTS["ntu25"]
    clip = motion(layout, frames=1, persons=1)
    scores = np.linspace(0, 1, 25)[None, None]
    with sheet("single", 4) as figure:
        draw_poses(figure.subplots(), layout, clip, scores=scores, scale=Normalize(0, 1))
        figure.canvas.draw()
        (joints,) = drawn(figure)[1]
        assert (np.diff(joints.get_sizes()) > 0).all()
        brightness = np.asarray(joints.get_facecolor())[:, :3] @ (0.299, 0.587, 0.114)
        assert (np.diff(brightness) < 0).all()


@pytest.mark.parametrize("shape", [(10, 25), (25,)])
def test_scores_of_frames_or_of_joints_alone_are_drawn_with_their_scale(shape, texts):
    layout = LAYOUTS["ntu25"]
    keypoints = motion(layout).keypoints[:, 0]
    scores = np.linspace(0, 1, int(np.prod(shape))).reshape(shape)
    found = texts(draw_scores(layout, keypoints, scores, name="$e_v$", suffix=".svg"))
    assert "$e_v$" in found
    assert {"0", "9"} <= set(found)  # the first and the last frame


def test_a_strip_has_a_row_a_motion_with_its_name_and_frames(texts, centimetres):
    layout = LAYOUTS["ntu25"]
    svg = draw_strip([motion(layout), motion(layout, name="$query_1$")], layout, suffix=".svg")
    found = texts(svg)
    assert {"walk", "$query_1$", "100", "109"} <= set(found)
    assert min(found.values()) >= 7
    assert centimetres(svg)[0] == pytest.approx(17.5, abs=0.01)


def test_an_animation_has_every_frame_at_the_speed_asked_for(layout):
    content = animate([motion(layout, 3, 1), motion(layout, 3, 2)], layout, fps=10)
    image = Image.open(io.BytesIO(content))
    assert image.format == "GIF"
    assert getattr(image, "n_frames", 1) == 3
    assert image.info["duration"] == 100
    assert image.info["loop"] == 0  # for ever


def test_an_animation_shows_what_a_still_clip_does_not():
    layout = LAYOUTS["sbu15"]
    moving = motion(layout, 3, 1)
    image = Image.open(io.BytesIO(animate([moving], layout, fps=10)))
    frames = []
    for number in range(3):
        image.seek(number)
        frames.append(np.asarray(image.convert("L")).copy())
    assert (frames[0] != frames[1]).mean() > 0.005


def test_evenly_spaced_frames_hold_the_first_and_the_last():
    assert spaced(100, 4).tolist() == [0, 33, 66, 99]
    assert spaced(2, 8).tolist() == [0, 1]
    assert spaced(1, 4).tolist() == [0]


def test_a_figure_without_persons_is_empty_and_not_an_error():
    layout = LAYOUTS["sbu15"]
    with sheet("single", 4) as figure:
        draw_poses(figure.subplots(), layout, motion(layout, frames=2, persons=0))
        assert drawn(figure) == ([], [])
        assert picture(figure, ".png")
