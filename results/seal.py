"""The seal of a record: checksums of it and of the files beside it, as its last line, to detect corruption.

A record written by a version without seals has none and is read as it is.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

_KEY = b',\n"seal": '
_END = b"\n}\n"
_OWN = "record"  # no file beside a record has this name: they all have a suffix


def seal(text: str, folder: Path, files: Iterable[str]) -> bytes:
    """Append the seal to a record's JSON; ``files`` are names in ``folder``."""
    content = text.encode()
    beside = {name: _sum((folder / name).read_bytes()) for name in sorted(set(files))}
    sums = beside | {_OWN: _sum(content + json.dumps(beside).encode())}  # covers the other sums too
    return content.removesuffix(_END) + _KEY + json.dumps(sums).encode() + _END


def unseal(content: bytes) -> bytes:
    """Return the JSON of a record without its seal. Raises ``ValueError`` if it differs from what was sealed."""
    text, sums = _parts(content)
    if sums is not None:
        beside = {name: value for name, value in sums.items() if name != _OWN}
        if sums.get(_OWN) != _sum(text + json.dumps(beside).encode()):
            raise ValueError("its checksum differs")
    return text


def fits(path: Path, content: bytes) -> bool:
    """Whether a file's content matches the seal of the record beside it; True if no seal lists it."""
    try:
        _, sums = _parts((path.parent / "record.json").read_bytes())
    except (OSError, ValueError):  # no record yet, or one that is reported as damaged when it is read
        return True
    return (sums or {}).get(path.name, _sum(content)) == _sum(content)


def _parts(content: bytes) -> tuple[bytes, dict[str, str] | None]:
    text, found, sums = content.rpartition(_KEY)
    if not found:
        return content, None
    if not sums.endswith(_END):
        raise ValueError("it is truncated")
    return text + _END, json.loads(sums.removesuffix(_END))


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
