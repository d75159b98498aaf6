"""The code outside skelbench that a cell depends on: the plugins and packages of its method, backbone and protocol.

Data sets are not among them: what a plugin's reader or layout made is in the fingerprint of the data.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...backbones import BACKBONES
from ...errors import SkelbenchError
from ...methods.base import METHODS
from ...registry import Registry
from ...results.record import PRETRAIN, Cell, Record, code_of
from ...sources import Source
from ..protocols import PROTOCOLS


def encoder_code(method: str, backbone: str) -> dict[str, Any]:
    """What enters the identity of a pre-training: its method's and its backbone's sources."""
    return _facts([*METHODS.sources(method), *BACKBONES.sources(backbone)])


def protocol_code(protocol: str) -> dict[str, Any]:
    """What enters the identity of an evaluation, besides its pre-training's identity."""
    return _facts(PROTOCOLS.sources(protocol))


def _facts(sources: Iterable[Source]) -> dict[str, Any]:
    """Hashes of files and versions of packages; nothing, not even an empty list, where all code is skelbench's."""
    listed = sorted({f"{one.name} {one.version}" if one.installed else one.version for one in sources})
    return {"code": listed} if listed else {}


def code_versions(cell: Cell) -> dict[str, dict[str, str]]:
    """The same for a record's `versions`: the hash of each file and the version of each package, by name."""
    return _versions(source for registry, name in _entries(cell) for source in registry.sources(name))


def _entries(cell: Cell) -> list[tuple[Registry[Any], str]]:
    encoder: list[tuple[Registry[Any], str]] = [(METHODS, cell.method), (BACKBONES, cell.backbone)]
    return encoder if cell.protocol == PRETRAIN else [*encoder, (PROTOCOLS, cell.protocol)]


def _versions(sources: Iterable[Source]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for one in sources:
        found.setdefault("packages" if one.installed else "plugins", {})[one.name] = one.version
    return found


def plugins_of(cell: Cell) -> list[str]:
    """Names of the files that a command has to give as plugins to make a cell."""
    return sorted(code_versions(cell).get("plugins", {}))


def check_code(record: Record) -> None:
    """Raise a `SkelbenchError` unless the plugins and packages that a record was made with are loaded, and the same."""
    cell = record.cell
    now = _versions(one for kind, name in _entries(cell) if name in kind for one in kind.sources(name))
    for kind, then in code_of(record).items():
        for name, version in then.items():
            here = now.get(kind, {})
            if version in here.values():  # a file may have been renamed
                continue
            thing = f"{kind.removesuffix('s')} {name} ({version[:10]})"
            if name in here:
                raise SkelbenchError(
                    f"{cell} was made with the {thing}, and the one here is {here[name][:10]}; take the one that it "
                    "was made with, or make the cell again with this one."
                )
            way = f"give it: skelbench --plugin {name}" if kind == "plugins" else f"install {name} {version}"
            raise SkelbenchError(f"{cell} was made with the {thing}, which is not loaded; {way}.")
