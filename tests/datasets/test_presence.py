"""Frames and persons that are there: late entries, changes of slot, gaps, and what stays as released."""

import numpy as np
import pytest

from skelbench.datasets import prepare
from skelbench.datasets.clips import load_dataset
from skelbench.datasets.inspect import describe
from skelbench.datasets.presence import arrange, is_touched

JOINTS = 25
RNG = np.random.default_rng(0)


def motion(frames, persons=2, here=((0, None), None)):
    """Keypoints (T, M, V, 3); `here` says for each person in which frames, from and to, it is there."""
    clip = np.zeros((frames, persons, JOINTS, 3), np.float32)
    for person, when in enumerate(here):
        if when is not None:
            frames_of = slice(*when)
            clip[frames_of, person] = 1 + RNG.random(clip[frames_of, person].shape)
    return clip


CASES = {  # clip -> frames that remain, and for each of them whether persons 0 and 1 are there
    "always there": (motion(20), [(1, 0)] * 20),
    "enters late": (motion(20, here=((12, None), None)), [(1, 0)] * 8),
    "leaves early": (motion(20, here=((0, 5), None)), [(1, 0)] * 5),
    "only in slot 1": (motion(20, here=(None, (3, 20))), [(1, 0)] * 17),
    "moves to slot 1": (motion(20, here=((0, 4), (4, 20))), [(0, 1)] * 4 + [(1, 0)] * 16),
    "a second person joins": (motion(20, here=((0, 20), (10, 20))), [(1, 0)] * 10 + [(1, 1)] * 10),
}


@pytest.mark.parametrize("name", CASES)
def test_frames_and_persons_of_a_clip(name):
    clip, expected = CASES[name]
    arranged = arrange(clip)
    assert arranged.any(axis=(2, 3)).tolist() == [[bool(a), bool(b)] for a, b in expected]
    assert np.sort(arranged, axis=None).tolist()[-100:] == np.sort(clip, axis=None).tolist()[-100:], "values are kept"
    assert is_touched(clip) == (name not in ("always there", "a second person joins"))


def test_a_gap_within_a_clip_stays_and_counts():
    clip = motion(20)
    clip[8:11] = 0
    assert arrange(clip).shape[0] == 20
    assert is_touched(clip)


def source(clips):
    return {
        "keypoints": np.concatenate(clips),
        "lengths": np.array([len(clip) for clip in clips]),
        "label": np.arange(len(clips)) % 2,
        "name": np.array([f"clip {i}" for i in range(len(clips))]),
        "subject": 1 + np.arange(len(clips)) % 2,
        "layout": "ntu25",
    }


def prepared(tmp_path, name, clips):
    np.savez(tmp_path / f"{name}.npz", **source(clips))
    return prepare("arrays", tmp_path / f"{name}.npz", name)


def test_no_clip_reaches_an_encoder_empty_or_cut(tmp_path):
    clips = [clip for clip, _ in CASES.values()]
    store = prepared(tmp_path, "late", clips)
    sides = load_dataset(store, "xsub", frames=16)
    assert all(bool(side.x.flatten(1).any(dim=1).all()) for side in sides)
    moved = next(side.x[side.name.index("clip 4")] for side in sides if "clip 4" in side.name)
    persons = moved.any(dim=0).any(dim=1).sum(dim=1).tolist()
    assert set(persons) == {1, 2}
    assert persons.count(2) == 1, "in every frame one person, and between frames 3 and 4 both are interpolated"
    assert store.manifest["presence"] == {"rule": "any slot", "touches": 4}
    lines = "\n".join(describe(store)["lines"])
    assert "4 clips with frames without person 0: empty frames at the ends are cut" in lines


def test_the_rule_is_part_of_the_fingerprint_only_where_it_matters(tmp_path):
    whole = [motion(20), motion(15)]
    store = prepared(tmp_path, "whole", whole)
    before = dict(store.manifest)
    del store.manifest["presence"]  # as an older version wrote it
    fingerprint = store.__class__.fingerprint.func(store)
    store.manifest.update(before)
    assert store.fingerprint == fingerprint
    gap = [clip.copy() for clip in whole]
    gap[0][8:11] = 0
    store = prepared(tmp_path, "gap", gap)
    with_rule = store.fingerprint
    del store.manifest["presence"]
    assert store.__class__.fingerprint.func(store) != with_rule
    assert not store.any_slot, "an older store is read as before"
    assert load_dataset(store, "xsub", frames=8)[0].x.shape[2] == 8
