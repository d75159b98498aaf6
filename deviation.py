"""What a deviation is: a point where a paper, its released code and we do not all do the same."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Deviation:
    """One point where a paper and its released code differ, or we from both.

    Attributes:
        about: what it is about, in few words.
        paper, code: what each says.
        option: the setting that chooses between them ("mu", "backbone.graph"); its values in the two tracks are
            what we do there.
        ours: what we do where no setting chooses, or what the setting's value does not tell.
        why: the reason for our default; that of "as the code" is that the published numbers were made so.
        effect: on numbers, where known.
    """

    about: str
    paper: str
    code: str
    ours: str = ""
    option: str | None = None
    why: str = ""
    effect: str = ""
