"""Settings that override a track's: parse dotted names, check and apply them, and list them in a cell's variant."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...backbones import BACKBONES
from ...config import parse_config
from ...errors import SkelbenchError
from ...methods.base import METHODS
from ...methods.recipe import Recipe
from ...registry import did_you_mean
from ...results.record import PRETRAIN
from ...results.variants import affects_untrained
from ..protocols import PROTOCOLS

_UNSETTABLE = ("source", "protocols")


@dataclass(frozen=True)
class Changes:
    """Dotted settings ("epochs", "backbone.width", "method.temperature", "linear.lr").

    Attributes:
        name: of the grid, the label of its cells if they are custom.
        named: settings that the name stands for, those of a grid file.
        single: further settings, which take precedence; a cell's variant lists them.
    """

    name: str = ""
    named: Mapping[str, Any] = field(default_factory=dict)
    single: Mapping[str, Any] = field(default_factory=dict)

    @property
    def merged(self) -> dict[str, Any]:
        """All settings."""
        return {**self.named, **self.single}

    def of(self, method: str, backbone: str) -> Changes:
        """Leave out the single settings that cannot affect a run of this method and backbone, by any protocol."""
        kept = {key: value for key, value in self.single.items() if _matters(key, method, backbone)}
        return replace(self, single=kept)

    def named_for(self, protocol: str) -> dict[str, Any]:
        """The named settings that affect a cell of this protocol."""
        return {key: value for key, value in self.named.items() if _affects(key, protocol)}

    def single_for(self, protocol: str) -> dict[str, Any]:
        """The single settings that a cell's variant lists: for all protocols of a run the same.

        A pre-training's, which runs of several variants may share, has only those that affect it.
        """
        return {key: value for key, value in self.single.items() if protocol != PRETRAIN or _affects(key, PRETRAIN)}

    def variant(self, protocol: str) -> str | None:
        """The variant of a cell of this protocol: its single settings as text; None if there are none."""
        return _format(self.single_for(protocol)) or None


NO_CHANGES = Changes()


def override(recipe: Recipe, overrides: Mapping[str, Any], method: str, backbone: str) -> Recipe:
    """Apply dotted settings to a recipe; `method.` and `backbone.` settings that it does not have are skipped."""
    owned = {"method": METHODS[method].Config.model_fields, "backbone": backbone_defaults(backbone)}
    values = recipe.model_dump()
    for key, value in overrides.items():
        head, _, rest = key.partition(".")
        if head in PROTOCOLS and rest in PROTOCOLS[head].Settings.model_fields:
            values["protocols"] = values["protocols"] | {head: values["protocols"].get(head, {}) | {rest: value}}
            continue
        if head not in values or head in _UNSETTABLE or (rest and not isinstance(values[head], dict)):
            raise SkelbenchError(f"There is no setting '{key}'{did_you_mean(key, _known(values))}")
        if isinstance(values[head], dict) and not rest:
            raise SkelbenchError(
                f"'{key}' is a group of settings; set one of them, such as {head}.{next(iter(values[head]), 'NAME')}."
            )
        if rest and rest not in owned.get(head, (rest,)):
            continue  # `check_owners` has checked that another one in the grid has it
        if rest:
            values[head] = {**values[head], rest: value}
        else:
            values[head] = value
    changed = parse_config(Recipe, values, "a cell")
    parse_config(METHODS[method].Config, changed.method, f"the method '{method}'")
    for protocol, settings in changed.protocols.items():
        parse_config(PROTOCOLS[protocol].Settings, settings, f"the protocol '{protocol}'")
    return changed


def check_owners(overrides: Mapping[str, Any], methods: Sequence[str], backbones: Sequence[str]) -> None:
    """Raise a `SkelbenchError` for a `method.` or `backbone.` setting that none of them has."""
    owners = {
        "method": (methods, {field for method in methods for field in METHODS[method].Config.model_fields}),
        "backbone": (backbones, {argument for backbone in backbones for argument in backbone_defaults(backbone)}),
    }
    for key in overrides:
        head, _, rest = key.partition(".")
        names, known = owners.get(head, ((), ()))
        if names and rest and rest not in known:
            raise SkelbenchError(f"None of {', '.join(names)} has the setting '{rest}'{did_you_mean(rest, known)}")


def backbone_defaults(backbone: str) -> dict[str, Any]:
    """Settings of a backbone, with their defaults."""
    given = ("layout", "num_frames", "num_persons")
    parameters = inspect.signature(BACKBONES[backbone]).parameters
    return {name: parameter.default for name, parameter in parameters.items() if name not in given}


def same_value(one: Any, other: Any) -> bool:
    """Whether two values of a setting are the same, or would be the same variant."""
    return _short(one) == _short(other) or (one == other and isinstance(one, bool) == isinstance(other, bool))


def integer(overrides: Mapping[str, Any], key: str, default: int) -> int:
    """Return a setting that must be an integer of at least 1 (epochs: 0). Raises `SkelbenchError` otherwise."""
    value = overrides.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < (0 if key == "epochs" else 1):
        raise SkelbenchError(f"The setting '{key}' cannot be {value!r}; an integer is needed, at least 1 (epochs: 0).")
    return value


def _affects(key: str, protocol: str) -> bool:
    head = key.partition(".")[0]
    if head in PROTOCOLS or head == "selection":
        return protocol != PRETRAIN and head in (protocol, "selection")
    return True


def _matters(key: str, method: str, backbone: str) -> bool:
    head, _, rest = key.partition(".")
    if head == "backbone":
        return rest in backbone_defaults(backbone)
    if not METHODS[method].trainable:
        return affects_untrained(key)
    return head != "method" or rest in METHODS[method].Config.model_fields


def _format(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_short(settings[key])}" for key in sorted(settings))


def _short(value: Any) -> str:
    if not isinstance(value, list | tuple):
        return str(value)
    return "x".join(f"({_short(one)})" if isinstance(one, list | tuple) else str(one) for one in value)


def _known(values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        if key not in _UNSETTABLE:
            yield from [f"{key}.{inner}" for inner in value] if isinstance(value, dict) else [key]
    for protocol in PROTOCOLS:
        yield from (f"{protocol}.{setting}" for setting in PROTOCOLS[protocol].Settings.model_fields)
