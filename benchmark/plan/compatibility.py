"""Check settings: build every distinct method of a grid once, before anything runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import torch

from ...backbones import BACKBONES, create_backbone
from ...datasets.layout import Layout, get_layout
from ...datasets.store import Store
from ...errors import SkelbenchError
from ...methods.base import METHODS, Method, create_method
from ...methods.recipe import Recipe
from ...results.record import FLOOR, Configuration
from .build import build_method
from .single_values import check_step

Made = TypeVar("Made")


REGISTERED = "ntu25"  # a layout with every fact


class Trial:
    """Builds methods on their backbones and records which pairs are incompatible, and which a skeleton rules out.

    Attributes:
        refused: (method, backbone) -> the reason, a sentence.
        left_out: what cannot be built for the skeleton of a data set ("stgcn DATASET", "aimclr stgcn DATASET") -> the
            reason, a sentence.
    """

    def __init__(self) -> None:
        self.refused: dict[tuple[str, str], str] = {}
        self.left_out: dict[str, str] = {}
        self._tried: set[str] = set()

    def accepts(self, configuration: Configuration, recipe: Recipe, store: Store) -> bool:
        """Whether the pair can be built; each distinct setting is tried once.

        Raises:
            SkelbenchError: if a setting, and not the pair or the skeleton, is invalid.
        """
        method, backbone, _, _, stream = configuration
        of_backbone, of_pair = f"{backbone} {store.name}", f"{method} {backbone} {store.name}"
        if of_backbone in self.left_out or of_pair in self.left_out:
            return False
        place = (method, backbone, stream, store.layout.digest, store.manifest["persons"])
        key = json.dumps([*place, recipe.backbone, recipe.method, recipe.frames, recipe.batch], default=str)
        if (method, backbone) in self.refused or key in self._tried:
            return (method, backbone) not in self.refused
        layout, persons = store.layout, store.manifest["persons"]
        try:
            _try_backbone(backbone, recipe, layout, persons)
        except SkelbenchError as error:
            if not _fits_registered(layout, lambda whole: _try_backbone(backbone, recipe, whole, persons)):
                raise
            self.left_out[of_backbone] = str(error)
            return False
        try:
            made = _try_method(configuration, recipe, layout, persons)
        except SkelbenchError as error:
            reason = None
            with suppress(Exception):  # a constructor that needs real tensors is no refusal; its settings are invalid
                reason = refusal(method, backbone)
            if reason is not None:
                self.refused[method, backbone] = reason
                return False
            if not _fits_registered(layout, lambda whole: _try_method(configuration, recipe, whole, persons)):
                raise
            self.left_out[of_pair] = str(error)
            return False
        if made.trainable:
            made.check_batch(recipe.batch)
            check_step(configuration, recipe, layout, persons)
        self._tried.add(key)
        return True


def refusal(method: str, backbone: str, layout: str | Layout = REGISTERED) -> str | None:
    """The reason why a method refuses a backbone, or the skeleton, with any settings, or None.

    The pair is built with the defaults of both on PyTorch's meta device, where weights take no memory or time. Other
    exceptions of the constructors, such as those of one that needs real tensors, are passed on.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            create_method(method, backbone=backbone, layout=layout)
    except SkelbenchError as error:
        return str(error)
    return None


def refused_for_layout(layout: Layout) -> dict[str, str]:
    """The registered methods and backbones that refuse a skeleton which lacks facts, each with the reason.

    A method is tried with the first backbone that it takes, a backbone with the untrained method. What only loading
    and backbones need is taken to be there when methods are tried.
    """
    found = {}
    whole = replace(layout, centre=layout.centre or 0, shoulders=layout.shoulders or (0, 1))
    for backbone in BACKBONES:
        with suppress(Exception):  # one that cannot be tried without real tensors is refused when a grid begins
            if reason := refusal(FLOOR, backbone, layout):
                found[backbone] = reason
    for method in METHODS:
        with suppress(Exception):
            fitting = next((one for one in BACKBONES if refusal(method, one) is None), None)
            if fitting is not None and (reason := refusal(method, fitting, whole)):
                found[method] = reason
    return found


def check_persons(configuration: Configuration, recipe: Recipe, source: Store, target: Store) -> None:
    """Raise a `SkelbenchError` if an encoder for the source's number of persons cannot read the target's."""
    persons = [store.manifest["persons"] for store in (source, target)]
    if persons[0] == persons[1]:
        return
    shapes = []
    for count in persons:
        made = _try_method(configuration, recipe, source.layout, count)
        shapes.append({name: value.shape for name, value in made.evaluation_state().items()})
    if shapes[0] != shapes[1]:
        raise SkelbenchError(
            f"The backbone '{configuration.backbone}' has weights for every person: trained on the {persons[0]} of "
            f"'{source.name}' it cannot read the {persons[1]} of '{target.name}'; choose another backbone."
        )


def _fits_registered(layout: Layout, make: Callable[[Layout], object]) -> bool:
    """Whether what this layout refuses is made for a registered one, so that the skeleton is the reason."""
    whole = get_layout(REGISTERED)
    if layout.digest == whole.digest:
        return False
    try:
        make(whole)
    except SkelbenchError:
        return False
    return True


def _try_backbone(backbone: str, recipe: Recipe, layout: Layout, persons: int) -> None:
    arguments: dict[str, Any] = {"layout": layout, "num_frames": recipe.frames, "num_persons": persons}
    made = _try(
        lambda: create_backbone(backbone, **arguments, **recipe.backbone),
        f"The backbone '{backbone}'",
        recipe.backbone,
    )
    if any(weight.numel() == 0 for weight in made.parameters()):
        raise SkelbenchError(
            f"The backbone '{backbone}' has empty weights with {_format_settings(recipe.backbone)}; set larger values."
        )


def _try_method(configuration: Configuration, recipe: Recipe, layout: Layout, persons: int) -> Method:
    return _try(
        lambda: build_method(configuration, recipe, layout, persons),
        f"The method '{configuration.method}'",
        recipe.method,
    )


def _try(make: Callable[[], Made], who: str, settings: Mapping[str, Any]) -> Made:
    """Build on the meta device; build for real if the constructor reads tensor values. The random state is kept."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return make()
        except SkelbenchError:
            raise
        except Exception:  # a constructor may read tensor values, which meta tensors do not have
            pass
        try:
            return make()
        except SkelbenchError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise SkelbenchError(
                f"{who} cannot be built with {_format_settings(settings)} ({reason}); set other values."
            ) from error


def _format_settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in settings.items())
