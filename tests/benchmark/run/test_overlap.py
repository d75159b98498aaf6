"""Test clips that a transferred encoder was pre-trained on are counted, by content and by NTU RGB+D's names."""

import numpy as np
import pytest

from skelbench.benchmark.run.overlap import seen_in_pretraining
from skelbench.datasets import prepare
from skelbench.datasets.clips import load_dataset
from skelbench.results.record import Cell
from skelbench.results.tables.leaderboard import leaderboard

FACTS = {"backbone": "stgcn", "track": "equal", "stream": "joint", "protocol": "linear", "seed": 0}


def stored(tmp_path, name, names, subjects, seeds):
    """A store of clips that are equal where their seeds are."""
    clips = [np.random.default_rng(seed).standard_normal((9, 1, 25, 3)) for seed in seeds]
    np.savez(
        tmp_path / f"{name}.npz", keypoints=np.concatenate(clips), lengths=np.full(len(clips), 9), name=names,
        label=np.arange(len(clips)) % 2, subject=subjects, layout="ntu25",
    )  # fmt: skip
    return prepare("arrays", tmp_path / f"{name}.npz", name)


@pytest.fixture
def seen(tmp_path):
    """Count the test clips of `there` that training clips of `here` contain."""

    def count(method="skeletonclr", pretrained_on="here:xsub", **there):
        stored(tmp_path, "here", ["a", "b", "S001C001P001R001A001", "d"], [1, 1, 1, 2], [1, 2, 3, 4])
        stored(tmp_path, "there", **there)
        cell = Cell(method=method, dataset="there", split="xsub", pretrained_on=pretrained_on, **FACTS)
        return seen_in_pretraining(cell, load_dataset("there", "xsub", frames=4)[1])

    return count


def test_test_clips_are_recognised_by_content_whatever_their_names(seen):
    there = {"names": ["x", "y", "z", "w"], "subjects": [1, 2, 2, 2], "seeds": [1, 2, 4, 9]}
    assert seen(**there) == {"seen_in_pretraining": 1.0}  # y; x trains there, and z only tests here


def test_names_of_ntu_are_samples_and_other_names_are_not(seen):
    there = {"names": ["S001C001P001R001A001", "a", "q"], "subjects": [2, 2, 1], "seeds": [10, 11, 12]}
    assert seen(**there) == {"seen_in_pretraining": 1.0}


def test_nothing_is_said_of_untrained_encoders_and_of_data_that_is_gone(seen):
    there = {"names": ["x", "y"], "subjects": [1, 2], "seeds": [1, 2]}
    assert seen(method="untrained", **there) == seen(pretrained_on="gone:xsub", **there) == {}
    assert seen(pretrained_on="here:xview", **there) == seen(pretrained_on=None, **there) == {}


def test_a_table_says_it(make_record):
    record = make_record(extra={"seen_in_pretraining": 3.0}, pretrained_on="ntu120:xsub", data={"test": 16487})
    (table,) = leaderboard([record])
    assert (
        "WARNING: test clips were among those that the encoder was pre-trained on: 3 of 16,487 (skeattnclr stgcn)."
        in table.footnotes
    )
