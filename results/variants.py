"""Variants of the cells of a custom grid: which of their settings a floor has, too."""

import re
from collections.abc import Iterable, Sequence

# Settings that do nothing where nothing is trained, and all of a method's that do something there.
TRAINING = (
    *("epochs", "batch", "lr", "lr_steps", "warmup"),
    *("sgd_momentum", "weight_decay", "nesterov", "snapshots"),
)
KEPT = ("init",)


def affects_untrained(setting: str) -> bool:
    """Whether a setting, a dotted name, can affect a method that does not train, by any protocol."""
    head, _, rest = setting.partition(".")
    return rest in KEPT if head == "method" else head not in TRAINING


def settings_of(variant: str | None) -> list[str]:
    """The settings that a variant lists, each as ``key=value``."""
    return re.split(r", (?=[\w.]+=)", variant) if variant else []


def common_settings(trained: Sequence[str | None], untrained: Iterable[str | None] = ()) -> list[str]:
    """The settings that variants have in common, which need not be said of each; none if nothing else is left of them.

    Args:
        trained: variants of methods that train.
        untrained: of those that do not, and lack what cannot affect them; they may have no other value.
    """
    if not trained:
        return []
    first, *others = map(settings_of, trained)
    common = [one for one in first if all(one in mine for mine in others)]
    values = {one.partition("=")[0]: one for one in common}
    for mine in map(settings_of, untrained):
        values = {key: one for key, one in values.items() if all(one == it for it in mine if it.startswith(f"{key}="))}
    common = list(values.values())
    return common if any(set(settings_of(variant)) - set(common) for variant in trained) else []


def without(variant: str | None, settings: Iterable[str]) -> str:
    """The text of a variant without some of its settings."""
    left_out = set(settings)
    return ", ".join(one for one in settings_of(variant) if one not in left_out)


def floor_variant(variant: str | None) -> str | None:
    """The variant of the floor of a variant: the settings that can affect an encoder that is not trained."""
    return ", ".join(one for one in settings_of(variant) if affects_untrained(one.partition("=")[0])) or None
