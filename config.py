"""Settings: frozen sets of named values, read from `key=value` pairs and validated with clear messages."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from .errors import SkelbenchError
from .registry import did_you_mean


@dataclass(frozen=True)
class Since:
    """Marks a setting added after the first records, as `patience: Annotated[int, Since("0.2.0")] = 5`.

    At its default it is left out of identities and records, so that older results keep their identity. Its default
    must therefore reproduce the earlier behaviour; any other default needs a version increase. The variant of
    a custom cell lists all settings that were given, so giving the default explicitly is another variant.
    """

    version: str


class Settings(BaseModel):
    """A frozen set of named values; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def deciding(
    settings: BaseModel, mode: Literal["json", "python"] = "python", exclude: Collection[str] = ()
) -> dict[str, Any]:
    """The values that determine a result: all except `exclude` and newer settings (`Since`) at their default."""
    newer = {name: field for name, field in type(settings).model_fields.items() if _is_marked(field)}
    left_out = {
        name
        for name, field in newer.items()
        if _as_json(getattr(settings, name)) == _as_json(field.get_default(call_default_factory=True))
    }
    return settings.model_dump(mode=mode, exclude=left_out | set(exclude))


def _is_marked(field: FieldInfo) -> bool:
    """Whether a field has the mark `Since`, around its type or inside it (`Annotated[int, Since(...)] | None`)."""
    parts = [field.annotation]
    for part in parts:
        parts += get_args(part)
    return any(isinstance(mark, Since) for mark in (*field.metadata, *parts))


def _as_json(value: Any) -> str:
    """A value as it enters an identity: (1,) and [1] are the same there, 0 and False are not."""
    return json.dumps(to_jsonable_python(value), sort_keys=True)


def parse_config(schema: type[Any], values: Mapping[str, Any], who: str) -> Any:
    """Validate values against a schema; raise a `SkelbenchError` that names a wrong value and the reason."""
    try:
        return schema(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise SkelbenchError(
                f"There is no setting '{key}' of {who}{did_you_mean(key, schema.model_fields)}"
            ) from error
        raise SkelbenchError(f"The setting '{key}' of {who} cannot be {first['input']!r}: {first['msg']}.") from error


def parse_pairs(pairs: Iterable[str]) -> Mapping[str, Any]:
    """Read `key=value` pairs; values are YAML ("0.1", "[1, 2]", "true")."""
    values = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise SkelbenchError(f"'{pair}' is not a setting; write key=value, such as epochs=20.")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SkelbenchError(f"The value of '{pair}' cannot be read: {' '.join(str(error).split())}.") from error
        values[key.strip()] = _number(value)
    return values


def dotted(settings: Mapping[str, Any], who: str = "the settings") -> dict[str, Any]:
    """Settings with their groups taken apart: {"linear": {"lr": 1}} gives {"linear.lr": 1}; dotted names stay.

    Only the outer mapping of a group is taken apart: a setting may have a mapping as its value.

    Raises:
        SkelbenchError: if a group is given in both forms.
    """
    grouped = {name: value for name, value in settings.items() if isinstance(value, Mapping) and "." not in name}
    single = {name: value for name, value in settings.items() if name not in grouped}
    for name in single:
        group = name.partition(".")[0]
        if group in grouped:
            raise SkelbenchError(
                f"In {who}, '{group}' is given both as '{name}' and as a mapping; give all of its settings in one of "
                "the two forms."
            )
    return single | {f"{group}.{name}": value for group, inner in grouped.items() for name, value in inner.items()}


def parse_lists(pairs: Iterable[str]) -> Mapping[str, tuple[Any, ...]]:
    """Read `key=value,value,...`; values are YAML ("0.1,0.2", "[60],[80]"). A key that is given twice is an error."""
    values: dict[str, tuple[Any, ...]] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        ((key, found),) = parse_pairs([f"{key}{equals}[{text}]"]).items()
        if key in values:
            raise SkelbenchError(f"The values of '{key}' are given twice; write them once, as {key}=1,2,3.")
        values[key] = numbers(found)
    return values


def numbers(values: Iterable[Any]) -> tuple[Any, ...]:
    """Convert texts that are numbers, as `key=value` pairs do."""
    return tuple(map(_number, values))


def first_error(error: ValidationError) -> str:
    """The first error of an invalid file: its location and pydantic's message."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"


def _number(value: Any) -> Any:
    """Convert text such as 1e-4, which PyYAML does not read as a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
