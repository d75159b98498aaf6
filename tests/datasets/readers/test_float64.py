"""Statistics over positions are computed in float64: a float32 mean of many rows far from the origin stands still."""

import numpy as np
import pytest

from skelbench.datasets.readers.bodies import _motion
from skelbench.datasets.readers.prepared.pyskl import _keypoints


def still_and_moving():
    """Two bodies 300 m away, (F, V, 3) float32: one still but for noise, one that moves a little more."""
    rng = np.random.default_rng(0)
    still, moving = (300 + size * rng.standard_normal((20_000, 25, 3)) for size in (0.010, 0.012))
    return still.astype(np.float32), moving.astype(np.float32)


def test_the_motion_of_a_body_is_that_of_float64():
    for body in still_and_moving():
        expected = body.astype(np.float64).reshape(-1, 3).var(axis=0).sum()
        assert _motion(body) == pytest.approx(expected, rel=1e-9)
        single = body.reshape(-1, 3).var(axis=0).sum()
        assert abs(single / expected - 1) > 0.01, "else this test could not fail"


def test_the_body_that_moves_most_is_kept():
    bodies = np.stack(still_and_moving())
    (clip,) = _keypoints([{"keypoint": bodies}], persons=1)
    assert np.array_equal(clip[:, 0], bodies[1])
