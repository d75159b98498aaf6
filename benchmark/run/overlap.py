"""Test clips that the pre-training of a transferred encoder has seen: by content, and by NTU RGB+D's names."""

from __future__ import annotations

from ...datasets.catalogue import open_dataset
from ...datasets.clips import Clips, digest_of, training_rows
from ...datasets.readers.ntu_names import read_name
from ...datasets.store import list_stores
from ...methods import METHODS
from ...results.record import Cell
from ...results.tables.footnotes import SEEN


def seen_in_pretraining(cell: Cell, test: Clips, limit: int | None = None) -> dict[str, float]:
    """Number of test clips that the encoder was pre-trained on, as an entry of a record's `extra`.

    Nothing where nothing was trained elsewhere, or where that data set is not here any more.

    Args:
        cell: the evaluation.
        test: the clips that it tests on.
        limit: the total number of clips of the data set that were used, None for all.
    """
    if cell.pretrained_on is None or not METHODS[cell.method].trainable:
        return {}
    dataset, _, split = cell.pretrained_on.partition(":")
    if dataset != "synthetic" and dataset not in list_stores():
        return {}
    store = open_dataset(dataset)
    if split not in store.splits:
        return {}
    trained = [store.clips[row] for row in training_rows(store, split, limit)]
    digests = {digest_of(store.keypoints[clip["offset"] : clip["offset"] + clip["length"]]) for clip in trained}
    names = {clip["name"] for clip in trained if read_name(clip["name"]) is not None}
    seen = [name in names or digest in digests for name, digest in zip(test.name, test.digest, strict=True)]
    return {SEEN: float(sum(seen))}
