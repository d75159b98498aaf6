import numpy as np
import pytest

from skelbench.benchmark.run.fusion import Scores, fuse
from skelbench.errors import SkelbenchError

STREAMS = ("joint", "bone", "motion")


def streams(seed, clips=17, classes=5):
    """Three streams' scores of the same clips, each in an order of its own."""
    rng = np.random.default_rng(seed)
    names, labels = np.array([f"clip{i}" for i in range(clips)]), rng.integers(0, classes, clips)
    found = {}
    for stream in STREAMS:
        order = rng.permutation(clips)
        found[stream] = Scores(names[order], labels[order], rng.standard_normal((clips, classes))[order])
    return found


def by_hand(given, weights):
    """Clip by clip, with dictionaries."""
    of = {s: dict(zip(v.names.tolist(), v.scores.tolist(), strict=True)) for s, v in given.items()}
    return {
        name: [sum(weights[s] * of[s][name][k] for s in given) for k in range(len(scores))]
        for name, scores in of["joint"].items()
    }


@pytest.mark.parametrize("seed", range(10))
def test_fusion_is_the_sum_by_clip_whatever_the_order_of_clips_and_streams(seed):
    given, weights = streams(seed), {"joint": 0.6, "bone": 0.6, "motion": 0.4}
    fused = fuse(given, weights)
    expected = by_hand(given, weights)
    for name, scores in zip(fused.names.tolist(), fused.scores, strict=True):
        np.testing.assert_allclose(scores, expected[name], rtol=1e-12)
    rng = np.random.default_rng(seed)
    shuffled = {}
    for stream in reversed(STREAMS):
        order = rng.permutation(len(given[stream].names))
        shuffled[stream] = Scores(*(getattr(given[stream], f)[order] for f in ("names", "labels", "scores")))
    again = fuse(shuffled, weights)
    np.testing.assert_array_equal(again.names, fused.names)
    np.testing.assert_array_equal(again.labels, fused.labels)
    np.testing.assert_allclose(again.scores, fused.scores, rtol=1e-12)


def without(scores, row):
    return Scores(*(np.delete(getattr(scores, f), row, axis=0) for f in ("names", "labels", "scores")))


def test_a_clip_that_one_stream_lacks_is_an_error_and_not_a_shift():
    given = streams(0)
    gone = given["bone"].names[3]
    with pytest.raises(SkelbenchError, match=rf"1 clips are not in both .* '{gone}', not in 'bone'"):
        fuse(given | {"bone": without(given["bone"], 3)}, {"joint": 1.0, "bone": 1.0, "motion": 1.0})


def test_what_does_not_fit_is_named():
    given, equal = streams(0), {"joint": 1.0, "bone": 1.0, "motion": 1.0}
    bone = given["bone"]
    twice = bone.ordered(np.array([*range(len(bone.names)), 0]))
    for wrong, message in (
        (twice, "two scores of the clip"),
        (Scores(bone.names, (bone.labels + 1) % 5, bone.scores), "has another label in the stream 'bone'"),
        (Scores(bone.names, bone.labels, bone.scores[:, :4]), "'bone' has 4 classes and 'joint' has 5"),
    ):
        with pytest.raises(SkelbenchError, match=message):
            fuse(given | {"bone": wrong}, equal)
    for weights in ({"joint": 1.0}, equal | {"other": 1.0}):
        with pytest.raises(SkelbenchError, match="give one weight per stream"):
            fuse(given, weights)
