"""Lists of data sets that are not prepared, against the published numbers of clips."""

import pytest

from skelbench.datasets.readers.ntu_names import OFFICIAL
from skelbench.datasets.unprepared import UNPREPARED, open_or_list
from skelbench.errors import SkelbenchError


@pytest.mark.parametrize("dataset", UNPREPARED)
def test_the_list_has_the_published_numbers_of_clips(dataset):
    listed = open_or_list(dataset)
    assert {split: listed.counts(split) for split in OFFICIAL[dataset]} == OFFICIAL[dataset]
    assert len(listed.class_names) == {"ntu60": 60, "ntu120": 120}[dataset]
    assert {clip["label"] for clip in listed.clips} == set(range(len(listed.class_names)))
    names = [clip["name"] for clip in listed.clips]
    assert len(set(names)) == len(names) and all(len(name) == 20 for name in names)


def test_a_prepared_store_goes_before_the_list_and_other_names_are_told(store):
    assert open_or_list("tiny").path == store.path
    with pytest.raises(SkelbenchError, match="nowhere"):
        open_or_list("nowhere")
