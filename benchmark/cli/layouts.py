"""A skeleton layout as text: joints with their parents, parts and mirror images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...datasets.layout import Layout


def as_json(layout: Layout) -> dict[str, Any]:
    """All facts of a layout, and the axis that points up in a store."""
    return layout.to_json() | {"up": "y"}


def as_text(layout: Layout) -> Iterator[str]:
    """Yield a line about the layout and one for each joint."""
    centre = "none" if layout.centre is None else layout.joints[layout.centre]
    shoulders = "none" if layout.shoulders is None else " and ".join(layout.joints[joint] for joint in layout.shoulders)
    yield f"{layout.name}: {layout.num_joints} joints, centre {centre}, shoulders {shoulders}; y is up in a store"
    part_of = {joint: part for part, group in layout.parts.items() for joint in group}
    image = dict(layout.mirror) | {right: left for left, right in layout.mirror}
    rows = [("", "joint", "parent", "part", "mirror image")]
    for number, joint in enumerate(layout.joints):
        parent = layout.parents[number]
        mirrored = layout.joints[image[number]] if number in image else ""
        rows.append(
            (str(number), joint, "" if parent < 0 else layout.joints[parent], part_of.get(number, ""), mirrored)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        number, *texts = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        yield f"  {number.strip():>{widths[0]}}  {'  '.join(texts)}".rstrip()
