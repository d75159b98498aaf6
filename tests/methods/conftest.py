"""ST-GCN has two blocks in these tests, except in those marked full_depth, and sentences are hashed once."""

import functools

import pytest

from skelbench.methods.mica import text_bank


@pytest.fixture(autouse=True)
def depth(request):
    """Shorten ST-GCN unless a test needs its ten blocks."""
    if not request.node.get_closest_marker("full_depth"):
        request.getfixturevalue("short_backbone")


@functools.cache
def hashed(sentences, hashed=text_bank.hashed):
    return hashed(sentences)


@pytest.fixture(autouse=True)
def hashed_once(monkeypatch):
    """Remember the vectors of the four thousand sentences that every step of MICA's begins with."""
    monkeypatch.setattr(text_bank, "hashed", lambda sentences: hashed(tuple(sentences)).copy())
