"""ST-GCN has two blocks in these tests, except in those marked full_depth, and sentences are hashed once."""

import pytest


@pytest.fixture(autouse=True)
def depth(request, hashed_once):
    """Shorten ST-GCN unless a test needs its ten blocks."""
    if not request.node.get_closest_marker("full_depth"):
        request.getfixturevalue("short_backbone")
