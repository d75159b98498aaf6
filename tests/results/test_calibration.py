import numpy as np
import pytest
from scipy.special import softmax

from skelbench.results.calibration import calibration_error


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_sum_over_bins_as_written_in_the_paper(seed):
    rng = np.random.default_rng(seed)
    logits, labels = 3 * rng.normal(size=(200, 6)), rng.integers(0, 6, 200)
    probabilities = softmax(logits, axis=1)
    total = 0.0
    for low in np.arange(15) / 15:
        held = [i for i in range(200) if low < probabilities[i].max() <= low + 1 / 15]
        if held:
            accuracy = np.mean([probabilities[i].argmax() == labels[i] for i in held])
            total += len(held) / 200 * abs(accuracy - np.mean([probabilities[i].max() for i in held]))
    assert calibration_error(logits, labels) == pytest.approx(100 * total)


def test_certain_and_right_is_calibrated_and_certain_and_wrong_is_not():
    logits = 1000.0 * np.eye(4, dtype=np.float32)
    assert calibration_error(logits, np.arange(4)) == 0.0
    assert calibration_error(logits, (np.arange(4) + 1) % 4) == pytest.approx(100.0)


def test_names_by_chance_with_even_probabilities_are_calibrated():
    labels = np.arange(400) % 4
    assert calibration_error(np.zeros((400, 4)), labels) == pytest.approx(0.0)
