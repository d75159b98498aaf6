"""Build a method from the settings of a cell, and read the settings of a finished one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...datasets.layout import Layout
from ...methods.base import METHODS, Method, create_method
from ...methods.recipe import Recipe
from ...results.record import Configuration, Record


def build_method(
    configuration: Configuration, recipe: Recipe, layout: Layout, num_persons: int, class_names: Sequence[str] = ()
) -> Method:
    """Build the method of a cell, with new weights from torch's global generator.

    Args:
        configuration: its stream is not used by a method that trains all streams together.
        layout, num_persons, class_names: of the data that it is trained on; names only for a method that reads them.

    Raises:
        SkelbenchError: for an invalid setting, or a method and backbone that do not fit together.
    """
    return create_method(
        configuration.method,
        backbone=configuration.backbone,
        backbone_args=recipe.backbone,
        layout=layout,
        num_frames=recipe.frames,
        num_persons=num_persons,
        stream="all" if METHODS[configuration.method].streams_together else configuration.stream,
        class_names=class_names,
        **recipe.method,
    )


def recipe_of(record: Record, **changes: Any) -> Recipe:
    """The settings of a record as a recipe, with some of them changed."""
    settings = {name: value for name, value in record.settings.items() if name in Recipe.model_fields}
    return Recipe.model_validate(settings | changes)
