"""What a record says of the protocol that made it."""

import numpy as np
import pytest
from scipy.special import softmax

from skelbench.results.files import read_scores
from skelbench.results.store import RunStore


def test_an_evaluation_says_that_its_encoder_was_frozen_and_a_training_says_nothing(finished):
    for record in RunStore(finished).records():
        assert record.model.get("frozen") is (None if record.cell.protocol == "pretrain" else True)


def test_the_calibration_error_is_that_of_the_scores_of_a_protocol_with_probabilities(finished):
    runs = RunStore(finished)
    checked = set()
    for record in runs.records():
        if record.cell.protocol != "linear":
            assert "ece" not in record.extra
            continue
        _, labels, logits = read_scores(runs.folder(record.key) / record.files["scores"])
        probabilities = softmax(logits.astype(np.float64), axis=1)
        confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
        bins = np.digitize(confidence, np.arange(1, 15) / 15, right=True)
        error = sum(abs(right[bins == b].sum() - confidence[bins == b].sum()) for b in range(15)) / len(labels)
        assert record.extra["ece"] == pytest.approx(100 * error, abs=1e-3)
        checked.add(record.cell.method)
    assert len(checked) > 5
