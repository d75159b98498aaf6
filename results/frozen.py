"""Which protocols keep the encoder frozen, so that an untrained encoder is their floor: records say it."""

from __future__ import annotations

from collections.abc import Iterable

from .record import Record

FROZEN = "frozen"  # in a record's `model`
_OLDER = ("knn", "linear", "fewshot")  # the protocols on frozen features whose older records do not say it


def is_frozen(record: Record) -> bool:
    """Whether the encoder of an evaluation was kept as it was pre-trained."""
    return bool(record.model.get(FROZEN, named_frozen(record.cell.protocol)))


def named_frozen(protocol: str) -> bool:
    """Whether a protocol of that name keeps the encoder frozen, where no record of it is at hand."""
    return protocol in _OLDER


def frozen_protocols(records: Iterable[Record]) -> set[str]:
    """The protocols of records that keep the encoder frozen in all of them."""
    said: dict[str, bool] = {}
    for record in records:
        protocol = record.cell.protocol
        said[protocol] = said.get(protocol, True) and is_frozen(record)
    return {protocol for protocol, frozen in said.items() if frozen}
