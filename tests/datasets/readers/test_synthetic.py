import inspect
import itertools
from collections import Counter

import numpy as np
import pytest

from skelbench.datasets import Clip, ensure_synthetic, list_stores, open_store, prepare
from skelbench.datasets.layout import get_layout
from skelbench.datasets.readers import synthetic
from skelbench.datasets.readers.synthetic import generate
from skelbench.datasets.readers.synthetic.actions import ACTIONS, CHANNELS, Take, ease
from skelbench.datasets.readers.synthetic.body import SUBJECTS, draw_people, joints, mirror
from skelbench.datasets.store import data_folder

LAYOUT = get_layout("ntu25")
PAIRS = {"shake hands", "hand over"}


def made(count, seed=0):
    """So many generated clips."""
    return [clip for clip in generate(count, seed=seed).clips if isinstance(clip, Clip)]


@pytest.fixture(scope="module")
def clips():
    return made(960, seed=3)


@pytest.fixture(scope="module")
def people():
    return draw_people(np.random.default_rng(0))


def test_the_same_seed_gives_the_same_clips_and_another_seed_others():
    first, again, other = (made(64, seed=seed) for seed in (0, 0, 1))
    assert [c.name for c in first] == [c.name for c in again] == [c.name for c in other]
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.keypoints, same.keypoints)
    assert all(
        a.keypoints.shape != b.keypoints.shape or (a.keypoints != b.keypoints).any()
        for a, b in zip(first, other, strict=True)
    )


def test_there_are_at_least_twelve_actions_two_of_them_of_two_persons():
    assert len(ACTIONS) >= 12
    assert {name for name, action in ACTIONS.items() if action.persons == 2} == PAIRS
    assert generate(0).class_names == tuple(ACTIONS)


@pytest.mark.parametrize("count", [960, 1000, 333])
def test_clips_are_balanced_over_class_subject_and_camera(count, clips):
    clips = clips if count == len(clips) else made(count)
    assert len({c.name for c in clips}) == len(clips) == count
    for fact, kinds in (("label", len(ACTIONS)), ("subject", SUBJECTS), ("camera", 3)):
        counts = Counter(getattr(c, fact) for c in clips)
        assert len(counts) == kinds
        assert max(counts.values()) - min(counts.values()) <= 2 * len(ACTIONS)
    both = Counter((c.label, c.subject) for c in clips)
    assert max(both.values()) - min(both.get(key, 0) for key in itertools.product(range(16), range(1, 21))) <= 1


def test_every_class_subject_and_camera_occur_together_once_there_are_enough_clips(clips):
    assert len({(c.label, c.subject, c.camera) for c in clips}) == len(ACTIONS) * SUBJECTS * 3


def test_clips_are_float32_of_two_persons_and_of_varying_length(clips):
    lengths = {len(c.keypoints) for c in clips}
    assert min(lengths) >= 40 and max(lengths) <= 120 and len(lengths) > 40
    assert {c.keypoints.shape[1:] for c in clips} == {(2, 25, 3)}
    assert {c.keypoints.dtype for c in clips} == {np.dtype(np.float32)}


def test_the_second_person_is_there_in_the_actions_of_two_only(clips):
    for clip in clips:
        assert clip.keypoints[:, 0].any(axis=(1, 2)).all()
        second = clip.keypoints[:, 1].any(axis=(1, 2))
        assert second.all() if generate(0).class_names[clip.label] in PAIRS else not second.any()


def test_people_stand_before_the_camera_upright_and_of_human_size(clips):
    for clip in clips:
        body = clip.keypoints[:, 0]
        root, head = np.median(body[:, 0], axis=0), np.median(body[:, 3], axis=0)
        assert 1.5 < root[2] < 4.8 and abs(root[0]) < 1.7  # tilt and skew act about the camera, metres away
        assert head[1] > root[1]
        thigh = np.median(np.linalg.norm(body[:, [13, 17]] - body[:, [12, 16]], axis=-1))
        assert 0.26 < thigh < 0.58


def test_a_person_who_faces_camera_one_has_the_right_shoulder_at_larger_x(clips):
    single = [c for c in clips if c.camera == 1 and c.label < 14]
    across = [np.median(c.keypoints[:, 0, 8, 0] - c.keypoints[:, 0, 4, 0]) for c in single]
    assert np.mean(np.array(across) > 0.1) > 0.95


def test_cameras_two_and_three_look_from_opposite_sides(clips):
    def heading(camera):
        line = [c.keypoints[:, 0, 8] - c.keypoints[:, 0, 4] for c in clips if c.camera == camera and c.label < 14]
        return np.degrees(np.median([np.arctan2(np.median(d[:, 2]), np.median(d[:, 0])) for d in line]))

    front, one_side, other_side = heading(1), heading(2), heading(3)
    assert abs(front) < 10
    assert 35 < abs(one_side - front) < 55 and 35 < abs(other_side - front) < 55
    assert one_side * other_side < 0


def test_bones_keep_their_length_whatever_the_pose(people):
    rng = np.random.default_rng(1)
    angles = 60 * rng.standard_normal((50, len(CHANNELS)))
    bones = people.bones[rng.integers(SUBJECTS, size=50)]
    body = joints(angles, bones)
    parents = {1: 0, 20: 1, 2: 20, 3: 2, 4: 20, 5: 4, 6: 5, 7: 6, 8: 20, 9: 8, 10: 9, 11: 10,
               12: 0, 13: 12, 14: 13, 15: 14, 16: 0, 17: 16, 18: 17, 19: 18, 21: 7, 22: 7, 23: 11, 24: 11}  # fmt: skip
    for joint, parent in parents.items():
        length = np.linalg.norm(body[:, joint] - body[:, parent], axis=-1)
        np.testing.assert_allclose(length, np.linalg.norm(bones[:, joint], axis=-1), rtol=1e-9)


def pose(people, **degrees):
    """One subject in one pose (V, 3)."""
    angles = np.zeros((1, len(CHANNELS)))
    for channel, value in degrees.items():
        angles[0, CHANNELS.index(channel)] = value
    return joints(angles, people.bones[:1])[0]


def test_angles_move_limbs_the_way_their_names_say(people):
    still = pose(people)
    forward, up, right = (
        (lambda a, b: b[2] < a[2] - 0.1),
        (lambda a, b: b[1] > a[1] + 0.1),
        (lambda a, b: b[0] > a[0] + 0.1),
    )
    assert forward(still[10], pose(people, r_flex=60)[10]) and up(still[10], pose(people, r_flex=60)[10])
    assert right(still[10], pose(people, r_abd=60)[10]) and right(pose(people, l_abd=60)[6], still[6])
    assert forward(still[10], pose(people, r_elbow=80)[10])
    bent = pose(people, r_elbow=80)
    assert right(bent[10], pose(people, r_elbow=80, r_ext=50)[10])
    assert forward(still[17], pose(people, r_hip=60)[17]) and forward(pose(people, r_knee=80)[18], still[18])
    assert forward(still[3], pose(people, trunk=50)[3])
    assert forward(still[3], pose(people, head=80)[3])
    assert pose(people, lift=0.3)[:, 1] == pytest.approx(still[:, 1] + 0.3)


def test_the_standing_foot_stays_on_the_floor_where_it_was(people):
    rng = np.random.default_rng(2)
    still = pose(people)
    for _ in range(20):
        body = pose(people, l_hip=rng.uniform(0, 20), l_knee=rng.uniform(0, 30), r_hip=rng.uniform(40, 90), r_knee=80)
        feet = body[[14, 15, 18, 19], 1]
        assert feet.min() == pytest.approx(0, abs=1e-9)
        np.testing.assert_allclose(body[14, [0, 2]], still[14, [0, 2]], atol=0.02)


def test_mirroring_exchanges_the_sides(people):
    right, left = pose(people, r_flex=70, r_elbow=40, l_hip=30), pose(people, l_flex=70, l_elbow=40, r_hip=30)
    np.testing.assert_allclose(mirror(right), left, atol=1e-12)


def test_a_curve_passes_through_its_points_and_rests_outside():
    take = Take(progress=np.array([-1, 0, 0.25, 0.5, 0.75, 1, 2]), cycle=np.zeros(7), held=np.ones(7))
    curve = take.keys((0, 0), (0.5, 80), (1, 20))
    np.testing.assert_allclose(curve, [0, 0, 40, 80, 50, 20, 20])
    np.testing.assert_allclose(ease(np.array([-3, 0, 0.5, 1, 9])), [0, 0, 0.5, 1, 1])


@pytest.mark.parametrize("name", list(ACTIONS))
def test_an_action_names_known_channels_and_moves_someone(name):
    frames = np.linspace(0, 1, 60)
    for partner in (False, True)[: ACTIONS[name].persons]:
        curves = ACTIONS[name].curves(Take(frames, 6 * np.pi * frames, np.ones(60), partner=partner))
        assert set(curves) <= set(CHANNELS)
        assert max(np.ptp(curve) for curve in curves.values()) > 5


def test_hands_of_a_pair_meet(clips):
    nearest = []
    for clip in clips:
        if generate(0).class_names[clip.label] in PAIRS:
            hands = [[clip.keypoints[:, person, hand] for hand in (7, 11)] for person in (0, 1)]
            nearest.append(min(np.linalg.norm(a - b, axis=-1).min() for a in hands[0] for b in hands[1]))
    assert np.median(nearest) < 0.25


def test_partners_are_others_of_the_same_side_of_xsub(monkeypatch):
    stylise, seen = synthetic._stylise, []

    def watched(pose, people, who, *more):
        seen.append(who)
        return stylise(pose, people, who, *more)

    monkeypatch.setattr(synthetic, "_stylise", watched)
    made(320)
    for who, partner in (seen[-4:-2], seen[-2:]):  # the two actions of two persons come last
        assert ((who - partner) % 2 == 0).all() and (who != partner).all()


def test_splits_divide_subjects_and_cameras(monkeypatch):
    assert inspect.signature(generate).parameters["clips"].default == 2000
    monkeypatch.setattr(synthetic, "generate", lambda: generate(200))
    store = prepare("synthetic", source=data_folder())
    subject, camera = store.column("subject"), store.column("camera")
    assert (store.sides("xsub") == subject % 2).all()
    assert (store.sides("xview") == (camera < 3)).all()
    assert len(store.clips) == 200
    store.verify()


def test_the_default_is_generated_once_and_again_when_it_is_outdated(monkeypatch):
    calls = []
    small = generate
    monkeypatch.setattr(synthetic, "generate", lambda: (calls.append(1), small(64))[1])
    first = ensure_synthetic()
    assert list_stores() == ["synthetic"]
    assert ensure_synthetic().fingerprint == first.fingerprint == open_store("synthetic").fingerprint
    assert len(calls) == 1
    monkeypatch.setattr(synthetic, "VERSION", synthetic.VERSION + 1)
    ensure_synthetic()
    assert len(calls) == 2


def test_nearest_neighbours_distinguish_actions_but_not_easily():
    """The floor of the difficulty: above chance by far, well below a solved task."""
    clips = made(640)
    poses = np.stack([_resample(c.keypoints[:, 0], 16) for c in clips]).reshape(len(clips), -1)
    label, train = np.array([c.label for c in clips]), np.array([c.subject % 2 == 1 for c in clips])
    distance = (poses[train] ** 2).sum(1) - 2 * poses[~train] @ poses[train].T
    top1 = (label[train][distance.argmin(1)] == label[~train]).mean()
    assert 0.25 < top1 < 0.85


def _resample(body, frames):
    """One person (T, V, 3) at `frames` moments, about the spine and facing the camera."""
    body = body[np.linspace(0, len(body) - 1, frames).round().astype(int)]
    body = body - body[:, 20:21]
    line = body[:, 8] - body[:, 4]
    angle = np.arctan2(line[:, 2], line[:, 0])[:, None]
    x, z = body[..., 0], body[..., 2]
    return np.stack([np.cos(angle) * x + np.sin(angle) * z, body[..., 1], np.cos(angle) * z - np.sin(angle) * x], -1)
