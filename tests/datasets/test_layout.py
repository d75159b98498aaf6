import random

import pytest

from skelbench.datasets.layout import LAYOUTS, PARTS, Layout, describe_layout, get_layout
from skelbench.errors import SkelbenchError


def chain(**facts):
    """Three joints in a row, of no registered layout."""
    return describe_layout(["a", "b", "c"], [-1, 0, 1], **facts)


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_a_registered_layout_is_one_tree_whose_five_parts_hold_every_joint_once(name):
    layout = get_layout(name)
    assert layout.parents.count(-1) == 1
    assert len(layout.bones) == layout.num_joints - 1
    assert set(layout.parts) == set(PARTS)
    assert sorted(j for part in layout.parts.values() for j in part) == list(range(layout.num_joints))


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_mirror_pairs_exchange_left_and_right_parts_and_names(name):
    layout = get_layout(name)
    left, right = zip(*layout.mirror, strict=True)
    face = set(layout.parts["trunk"])  # eyes and ears, where a layout has them
    assert set(left) - face == {*layout.parts["left_arm"], *layout.parts["left_leg"]}
    assert set(right) - face == {*layout.parts["right_arm"], *layout.parts["right_leg"]}
    for a, b in layout.mirror:
        swapped = layout.joints[a].replace("Left", "Right")
        if layout.joints[a].startswith("L"):
            swapped = "R" + layout.joints[a][1:]
        assert layout.joints[b] == swapped


@pytest.mark.parametrize(
    ("name", "joints", "centre", "shoulders"),
    [("ntu25", 25, 20, (4, 8)), ("kinect20", 20, 2, (4, 8)), ("uiprmd22", 22, 2, (7, 11))],
)
def test_centre_and_shoulders_are_those_the_field_uses(name, joints, centre, shoulders):
    layout = get_layout(name)
    assert (layout.num_joints, layout.centre, layout.shoulders) == (joints, centre, shoulders)
    assert set(shoulders) <= set(layout.parts["left_arm"]) | set(layout.parts["right_arm"])


def test_an_unknown_layout_says_what_was_probably_meant():
    with pytest.raises(SkelbenchError, match=r"no layout 'ntu_25'; did you mean 'ntu25'"):
        get_layout("ntu_25")


def test_a_layout_survives_json():
    layout = chain(centre=1, shoulders=[0, 2], mirror=[[0, 2]], parts={part: [0] for part in PARTS})
    assert Layout.from_json(layout.to_json()) == layout
    assert Layout.from_json(get_layout("ntu25").to_json()) == get_layout("ntu25")


def test_joint_names_and_parents_of_a_registered_layout_are_that_layout():
    known = get_layout("kinect20")
    assert describe_layout(known.joints, known.parents) is known
    rooted_on_itself = [j if p == -1 else p for j, p in enumerate(known.parents)]
    assert describe_layout(known.joints, rooted_on_itself) is known


def test_other_parents_make_a_custom_layout_that_keeps_the_parts_of_its_joints():
    known = get_layout("kinect20")
    parents = [-1, 0, 0, *known.parents[3:]]
    layout = describe_layout(known.joints, parents)
    assert (layout.name, layout.parents[2]) == ("custom", 0)
    assert (layout.parts, layout.centre, layout.shoulders) == (known.parts, known.centre, known.shoulders)


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_joints_in_another_order_keep_what_is_known_of_them_by_name(name):
    known = get_layout(name)
    order = random.Random(0).sample(range(known.num_joints), known.num_joints)
    joints = [known.joints[j] for j in order]
    parents = [-1 if known.parents[j] < 0 else order.index(known.parents[j]) for j in order]
    layout = describe_layout(joints, parents)

    def names(of, group):
        return [of.joints[j] for j in group]

    assert (layout.name, layout.joints, layout.parents) == ("custom", tuple(joints), tuple(parents))
    assert layout.centre is not None and known.centre is not None
    assert joints[layout.centre] == known.joints[known.centre]
    assert names(layout, layout.shoulders) == names(known, known.shoulders)
    assert [names(layout, pair) for pair in layout.mirror] == [names(known, pair) for pair in known.mirror]
    for part in PARTS:
        assert names(layout, layout.parts[part]) == names(known, known.parts[part])


def test_given_facts_and_parents_stand_over_those_of_the_same_joints_in_another_order():
    known = get_layout("kinect20")
    joints = known.joints[::-1]
    layout = describe_layout(joints, [-1, *range(19)], centre=0)
    assert (layout.centre, layout.parents) == (0, (-1, *range(19)))
    assert [joints[j] for j in layout.shoulders or ()] == ["LShoulder", "RShoulder"]


def test_joints_of_a_layout_with_one_twice_are_others():
    joints = [*get_layout("kinect20").joints[:-1], "HipCenter"]
    assert describe_layout(joints, [-1, *range(19)]).centre is None


@pytest.mark.parametrize("fact", ["mirror", "parts", "centre", "shoulders"])
def test_a_fact_that_a_custom_layout_lacks_is_named_with_who_needs_it(fact):
    with pytest.raises(SkelbenchError, match=rf"SkeAttnCLR needs '{fact}'.*'custom'.*ntu25"):
        chain().need(fact, "SkeAttnCLR")


def test_centre_zero_is_a_centre():
    chain(centre=0).need("centre", "centring")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"centre": 3}, "joint 3 in 'centre'; joints run from 0 to 2"),
        ({"shoulders": (0, 7)}, "joint 7 in 'shoulders'"),
        ({"mirror": [(0, -2)]}, "joint -2 in 'mirror'"),
        ({"parts": {"trunk": [0]}}, r"parts \['trunk'\]; the five"),
    ],
)
def test_facts_that_do_not_fit_the_joints_are_refused(facts, message):
    with pytest.raises(SkelbenchError, match=message):
        chain(**facts)


@pytest.mark.parametrize(
    ("joints", "parents", "message"),
    [
        (["a", "b"], [-1], "2 joint names but 1 parents"),
        ([], [], "0 joint names"),
        (["a", "b", "c"], [-1, 2, 1], "form a cycle"),
        (["a", "b"], [-1, 5], "joint 5 in 'parents'"),
    ],
)
def test_parents_that_are_no_tree_are_refused(joints, parents, message):
    with pytest.raises(SkelbenchError, match=message):
        describe_layout(joints, parents)
