from collections.abc import Callable
from typing import Any

import pytest

from skelbench.results.record import Best, Cell, Record, Score

PLACE = {"method": "skeattnclr", "backbone": "stgcn", "dataset": "ntu60", "split": "xsub", "stream": "joint"}


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """Build a record of a cell; what a test does not care about has a default."""

    def make(
        *,
        protocol: str = "linear",
        track: Any = "equal",
        label: str | None = None,
        seed: int = 0,
        top1: float | None = 50.0,
        best: float | None = None,
        identity: str = "0123456789abcdef" * 4,
        model: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Record:
        where: dict[str, Any] = PLACE | {k: fields.pop(k) for k in (*PLACE, "pretrained_on") if k in fields}
        defaults: dict[str, Any] = {
            "settings": {"lr": 0.1, "seed": seed},
            "versions": {"method": 1, "protocol": 1},
            "environment": {"torch": "2.0", "device": "cpu"},
            "data": {"fingerprint": "aa", "train": 10, "test": 5, "classes": 3, "layout": "ntu25"},
            "model": {"width": 16, "parameters": 836123, "frames": 48, "epochs": 10} | (model or {}),
            "finished": "2024-05-01T12:00:00Z",
        }
        return Record(
            cell=Cell(**where, track=track, label=label, protocol=protocol, seed=seed),
            identity=identity,
            last=None if top1 is None else Score(top1=top1, top5=None),
            best=None if best is None else Best(top1=best, rule="held-out subjects", epoch=5, step=None),
            **(defaults | fields),
        )

    return make
