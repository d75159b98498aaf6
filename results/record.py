"""The record of a finished cell, and the failure record of a cell that did not finish."""

import json
import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from ..errors import SkelbenchError

# Words in cells that are no registered names.
PRETRAIN = "pretrain"  # the protocol of a pre-training's own cell
FUSED = "3s"  # the stream of a late fusion
FUSED_STREAMS = ("joint", "bone", "motion")  # what it is fused from
FLOOR = "untrained"  # the method of the floor
RAW, RAW_LABEL = "raw", "raw data"  # method and label of raw joints, without an encoder
TRACKS = ("published", "equal", "custom")

# Files in the folder of a cell.
RECORD = "record.json"
FAILURE = "failure.json"
CURVE = "curve.jsonl"  # of a running training, a line per epoch
ENCODER = "encoder-{epoch:04d}.pt"  # saved after an epoch
ENCODERS = "encoder-*.pt"

FORMAT = 1
MAX_BYTES = 4096
TRACEBACK_LINES = 20


def _plain(value: Any, info: ValidationInfo) -> Any:
    """Turn tuples into lists, so that a record equals itself after a round trip through JSON."""
    return value if info.mode == "json" else _listed(value)


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


def _utc(text: str) -> str:
    if datetime.fromisoformat(text).utcoffset() != timedelta(0):
        raise ValueError(f"{text!r} is not in UTC")
    return text


@lru_cache(maxsize=1 << 16)
def _instant(finished: str) -> datetime:
    return datetime.fromisoformat(finished)


def _relative(text: str) -> str:
    parts = text.split("/")
    if text.startswith("/") or "\\" in text or ".." in parts or all(part in ("", ".") for part in parts):
        raise ValueError(f"{text!r} is not a path below the record's folder")
    return text


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-TRACEBACK_LINES:])


Name = Annotated[str, Field(min_length=1)]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{10,128}$")]
Percent = Annotated[FiniteFloat, Field(ge=0, le=100)]
Facts = Annotated[dict[str, JsonValue], BeforeValidator(_plain)]
Settled = Literal["yes", "rising", "falling", "unknown"]
Utc = Annotated[str, AfterValidator(_utc)]
RelativePath = Annotated[str, AfterValidator(_relative)]


class _Frozen(BaseModel):
    # pydantic reserves the prefix "model_"; the field `Record.model` does not collide with it.
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def to_json(self) -> str:
        """JSON with one top-level key per line: compact, and still readable in a diff."""
        lines = (
            f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
            for key, value in self.model_dump(mode="json").items()
        )
        return "{\n" + ",\n".join(lines) + "\n}\n"


class Configuration(NamedTuple):
    """What is trained on what: the five names that determine the settings of a cell in a track."""

    method: str
    backbone: str
    dataset: str
    split: str
    stream: str


class Cell(_Frozen):
    """One point of a grid: what was trained, on what, and how it was evaluated.

    ``label`` names a custom cell by its grid ("demo"); the other tracks have none. ``pretrained_on`` names the data set
    and split that the encoder was pre-trained on ("ntu60:xsub") where they are not the cell's own. ``variant`` lists
    what differs from other cells of the same custom grid ("method.temperature=0.1"); without one it is left out of
    JSON and of identities. Raises ``ValueError`` where label or variant do not fit the track.
    """

    track: Literal["equal", "published", "custom"]
    label: Name | None = None
    method: Name
    backbone: Name
    dataset: Name
    split: Name
    stream: Name
    protocol: Name
    seed: Annotated[int, Field(ge=0)]
    pretrained_on: Name | None = None
    variant: Name | None = None

    @model_validator(mode="after")
    def _custom_is_labelled(self) -> "Cell":
        if (self.track == "custom") != (self.label is not None):
            raise ValueError(
                f"a custom cell needs a label, any other has none: track {self.track!r}, label {self.label!r}"
            )
        if self.variant is not None and self.track != "custom":
            raise ValueError(f"only a custom cell has a variant: track {self.track!r}, variant {self.variant!r}")
        return self

    @model_serializer(mode="wrap")
    def _without_an_empty_variant(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = serialize(self)
        if self.variant is None:
            values.pop("variant", None)
        return values

    @property
    def configuration(self) -> Configuration:
        """Its method, backbone, data set, split and stream."""
        return Configuration(self.method, self.backbone, self.dataset, self.split, self.stream)

    def slug(self) -> str:
        """A folder name that any file system accepts; it may be truncated, so append the identity."""
        setting = (self.track, self.label or "", self.method, self.backbone)
        origin = f"from {self.pretrained_on}" if self.pretrained_on else ""
        parts = (*setting, self.variant or "", self.dataset, self.split, self.stream, self.protocol, origin)
        safe = [re.sub(r"[^A-Za-z0-9=._]+", "_", part).strip("._")[:40] for part in parts]
        return "-".join(part for part in safe if part)[:160] + f"-s{self.seed}"

    def __str__(self) -> str:
        """Format for messages: ``skeattnclr stgcn ntu60 xsub joint linear seed 0 (equal)``."""
        track = self.track if self.label is None else f"{self.track}: {self.label}"
        names = (self.method, self.backbone, self.dataset, self.split, self.stream, self.protocol)
        variant = f", {self.variant}" if self.variant else ""
        origin = f", pre-trained on {self.pretrained_on}" if self.pretrained_on else ""
        return f"{' '.join(names)} seed {self.seed} ({track}{variant}{origin})"


class Key(NamedTuple):
    """A cell and its identity, the hash of everything that determines its result."""

    cell: Cell
    identity: str


class Score(_Frozen):
    """Accuracy on the test split in percent, 0 to 100; top-5 is null at five classes or fewer."""

    top1: Percent
    top5: Percent | None = None


class Best(Score):
    """The score at a chosen epoch. ``rule`` says in words how it was chosen and on which clips.

    ``epoch`` counts the pre-training, ``step`` the probe's own training.
    """

    rule: Name
    epoch: int | None = None
    step: int | None = None


class Record(_Frozen):
    """The result of a finished cell, at most 4 kB; larger data is stored beside it in ``files``.

    ``identity`` is the hash that decides whether a cell was already run; ``pretrain`` is the identity of
    the pre-training it builds on. ``last`` is what tables show; it is null for a pre-training. ``settled`` says
    whether accuracy on held-out training subjects still changed when training ended (``results.settled``); it is
    null for a pre-training, a floor, an imported encoder and older records.

    Keys that readers rely on: ``data`` fingerprint, train, test, classes, layout; ``model`` parameters,
    width, frames, epochs, flops_per_clip, persons; ``cost`` train_seconds, eval_seconds,
    clips_per_second, peak_memory_mb; ``versions`` method, protocol, plugins and packages (see ``code_of``)
    where they are not skelbench's own, and fidelity where a method is not
    its authors' code: one sentence, which tables show under a dagger; ``settings`` supervision where a
    method is not self-supervised: a word, which puts it in separate tables; ``files`` curve, confusion,
    per_class, scores, each relative to the record's folder. ``finished`` is ISO 8601 in UTC.
    """

    format: Literal[1] = FORMAT
    cell: Cell
    identity: Hex
    pretrain: Hex | None = None
    settings: Facts
    versions: Facts
    environment: Facts
    data: Facts
    model: Facts
    last: Score | None = None
    best: Best | None = None
    settled: Settled | None = None
    extra: dict[str, FiniteFloat] = {}
    cost: dict[str, FiniteFloat | None] = {}
    files: dict[str, RelativePath] = {}
    finished: Utc

    @property
    def key(self) -> Key:
        """Its cell and identity."""
        return Key(self.cell, self.identity)

    @property
    def ended(self) -> datetime:
        """When it finished."""
        return _instant(self.finished)

    def excess(self) -> int:
        """Bytes of UTF-8 above 4 kB (4096); negative if there is room."""
        return len(super().to_json().encode()) - MAX_BYTES

    def to_json(self) -> str:
        """Serialise; raise ``SkelbenchError`` above 4 kB (4096 bytes of UTF-8) that names the largest parts."""
        text = super().to_json()
        size = len(text.encode())
        if size > MAX_BYTES:
            lines = sorted(text.splitlines(), key=len, reverse=True)[:2]
            largest = ", ".join(f"{line.split(':')[0]} ({len(line.encode())})" for line in lines)
            raise SkelbenchError(
                f"The record of {self.cell} takes {size} bytes and may take {MAX_BYTES}; its largest parts "
                f"are {largest}: move them to a file beside it and name that in `files`."
            )
        return text


def code_of(record: Record) -> dict[str, dict[str, str]]:
    """The plugins (name of a file -> hash of its source) and packages (name -> version) that a record names."""
    found: dict[str, dict[str, str]] = {}
    for kind in ("plugins", "packages"):
        named = record.versions.get(kind)  # a record may come from somebody else
        if isinstance(named, dict):
            found[kind] = {name: str(version) for name, version in named.items()}
    return found


class Failure(_Frozen):
    """Why a cell did not finish: one sentence, and the last 20 lines of the traceback."""

    cell: Cell
    identity: Hex
    reason: Name
    traceback: Annotated[str, AfterValidator(_tail)] = ""
    finished: Utc

    @property
    def key(self) -> Key:
        """Its cell and identity."""
        return Key(self.cell, self.identity)
