"""ST-GCN has two blocks in these tests, except in those marked full_depth."""

import pytest


@pytest.fixture(autouse=True)
def depth(request):
    """Shorten ST-GCN unless a test needs its ten blocks."""
    if not request.node.get_closest_marker("full_depth"):
        request.getfixturevalue("short_backbone")
