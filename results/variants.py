"""Variants of the cells of a custom grid: which of their settings a floor has, too."""

import re

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


def floor_variant(variant: str | None) -> str | None:
    """The variant of the floor of a variant: the settings that can affect an encoder that is not trained."""
    return ", ".join(one for one in settings_of(variant) if affects_untrained(one.partition("=")[0])) or None
