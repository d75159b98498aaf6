"""What rank 0 tells the other processes of a training that torchrun has started."""

from __future__ import annotations

from torch import distributed

from ..backbones import ranks


def announce(identity: str | None) -> None:
    """Tell the other ranks which pre-training comes next; None: there is no more."""
    if ranks.count() > 1:
        distributed.broadcast_object_list([identity], 0)


def announced() -> str | None:
    """Hear it."""
    heard: list[str | None] = [None]
    distributed.broadcast_object_list(heard, 0)
    return heard[0]
