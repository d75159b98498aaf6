"""Deviations: points where a paper, its released code and this package differ."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Deviation:
    """One point where a paper and its released code differ, or this package differs from both.

    Attributes:
        about: the topic, in a few words.
        paper, code: what each says.
        option: the setting that chooses between them ("mu", "backbone.graph"); its values in the two tracks are
            what we use there.
        ours: what we do if there is no setting, or what the setting's value does not show.
        why: the reason for our default; for "as the code" it is that the published numbers were obtained that way.
        effect: on the results, if known.
    """

    about: str
    paper: str
    code: str
    ours: str = ""
    option: str | None = None
    why: str = ""
    effect: str = ""
