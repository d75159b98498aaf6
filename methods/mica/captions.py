"""Rule-based captions: describe the motion of a clip in an English sentence, without labels.

A caption has eight slots of a few phrases each, which makes 3,888 sentences in all. Every clip gets the number of its
sentence, computed in batches on the device; a text encoder embeds the sentences once, before training.

Source: this project's design. MICA aligns skeletons with "action description or generated prompt sentence"; which
sentences it generates is not known.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...backbones.frest import basis
from ...datasets.layout import PARTS, Layout
from ...datasets.on_device import on_device

PHRASES: tuple[tuple[str, ...], ...] = (
    (
        "keeps still",
        "moves the trunk most",
        "moves the left arm most",
        "moves the right arm most",
        "moves the left leg most",
        "moves the right leg most",
    ),
    ("on one side only", "with both sides alike"),
    ("sideways", "up and down", "forwards and backwards"),
    ("slowly and once", "again and again", "fast and briefly"),
    ("the hands stay away from the head", "a hand comes close to the head"),
    ("the hands stay apart", "the hands come together"),
    ("the body keeps its height", "the body sinks down", "the body rises"),
    ("nobody else is there", "another person stands by", "another person moves as well"),
)
SIZES = tuple(len(phrases) for phrases in PHRASES)
COUNT = math.prod(SIZES)

# In trunk lengths; chosen by how often phrases occur for generated motion, without looking at classes.
STILL = 0.02  # mean energy of the part that moves most, in squared lengths
ALIKE = 0.5  # energy of the limb that moves less over that of the other side
NEAR_HEAD, NEAR_HAND = 0.8, 0.5
SINKS = 0.12  # relative change of height
OTHER_SIDE = (0, 2, 1, 4, 3)  # each of the parts' number on the other side of the body
CYCLES = (3, 8)  # DCT coefficients from which motion counts as repeated, and from which as fast


def sentences() -> list[str]:
    """All captions, in the order of their numbers."""
    return [_sentence(phrases) for phrases in itertools.product(*PHRASES)]


def _sentence(phrases: tuple[str, ...]) -> str:
    main, sides, way, rhythm, head, hands, height, others = phrases
    return f"A person {main} {sides}, {way}, {rhythm}; {head}, {hands}, {height}, {others}."


@dataclass(frozen=True)
class Body:
    """The joints that captions are computed from.

    Attributes:
        parts: the joints of the five body parts.
        hands, feet: the outermost joint of each arm and of each leg, left first.
        head: the joint of the trunk that is furthest from the legs.
        trunk: two joints whose distance is the unit of length.
    """

    parts: tuple[tuple[int, ...], ...]
    hands: tuple[int, int]
    feet: tuple[int, int]
    head: int
    trunk: tuple[int, int]

    @classmethod
    def of(cls, layout: Layout) -> Body:
        """Find them in a layout; raises `SkelbenchError` if it has no body parts or no shoulders."""
        layout.need("parts", "A caption")
        layout.need("shoulders", "A caption")
        assert layout.shoulders is not None
        parts = tuple(tuple(layout.parts[part]) for part in PARTS)
        depth = [_depth(layout, joint) for joint in range(layout.num_joints)]
        ends = [max(part, key=lambda joint: depth[joint]) for part in parts]
        hips = [min(part, key=lambda joint: depth[joint]) for part in parts[3:]]
        trunk = (layout.shoulders[0], hips[0])
        return cls(parts, (ends[1], ends[2]), (ends[3], ends[4]), _head(layout, parts[0]), trunk)


def _depth(layout: Layout, joint: int) -> int:
    """Bones between a joint and the root."""
    parent = layout.parents[joint]
    return 0 if parent < 0 else 1 + _depth(layout, parent)


def _head(layout: Layout, trunk: tuple[int, ...]) -> int:
    """The joint of the trunk that is furthest, in bones, from the first joint of the left leg."""
    hip = min(layout.parts["left_leg"], key=lambda joint: _depth(layout, joint))
    return max(trunk, key=lambda joint: _bones_between(layout, joint, hip))


def _bones_between(layout: Layout, a: int, b: int) -> int:
    ways = [_way_up(layout, joint) for joint in (a, b)]
    shared = len(set(ways[0]) & set(ways[1]))
    return len(ways[0]) + len(ways[1]) - 2 * shared


def _way_up(layout: Layout, joint: int) -> list[int]:
    way = [joint]
    while layout.parents[way[-1]] >= 0:
        way.append(layout.parents[way[-1]])
    return way


def caption(x: Tensor, body: Body) -> Tensor:
    """The number of each clip's sentence (N,), from unaugmented joint coordinates x (N, 3, T, V, M).

    Captions describe the first person. Coordinates are those of `datasets.clips`: every body about its own centre, x
    along the shoulders, y up. As both bodies are centred, their distance is unknown, and captions do not mention it.
    """
    person = x[..., 0]  # (N, 3, T, V)
    unit = _distance(person, *body.trunk).mean(dim=1).clamp(min=1e-6)  # (N,)
    person = person / unit[:, None, None, None]
    parts = [on_device(part, x.device) for part in body.parts]
    energy = torch.stack([_energy(person[..., part]) for part in parts], dim=1)  # (N, 5)
    main = energy.argmax(dim=1)
    moving = energy.amax(dim=1) > STILL
    track = _tracks(person, body).gather(1, main[:, None, None, None].expand(-1, 1, 3, person.shape[2]))[:, 0]
    spoken = (
        torch.where(moving, main + 1, 0),
        _sides(energy, main),
        track.var(dim=2, unbiased=False).argmax(dim=1),
        _rhythm(track),
        _near(person, [(hand, body.head) for hand in body.hands], NEAR_HEAD),
        _near(person, [body.hands], NEAR_HAND),
        _height(person, body),
        _others(x, unit),
    )
    number = torch.zeros_like(main)
    for size, said in zip(SIZES, spoken, strict=True):
        number = number * size + said.long()
    return number


def _distance(person: Tensor, a: int, b: int) -> Tensor:
    """Distance between two joints of (N, 3, T, V): (N, T)."""
    return (person[..., a] - person[..., b]).norm(dim=1)


def _energy(joints: Tensor) -> Tensor:
    """Mean squared distance of joints (N, 3, T, J) from their mean positions: (N,)."""
    return (joints - joints.mean(dim=2, keepdim=True)).square().sum(dim=1).mean(dim=(1, 2))


def _tracks(person: Tensor, body: Body) -> Tensor:
    """The paths of the five parts' ends (N, 5, 3, T); the trunk's is the head's."""
    ends = on_device((body.head, *body.hands, *body.feet), person.device)
    return person[..., ends].permute(0, 3, 1, 2)


def _sides(energy: Tensor, main: Tensor) -> Tensor:
    """1 where the other side's limb moves nearly as much; the trunk has no other side."""
    mirrored = energy[:, on_device(OTHER_SIDE, energy.device)].gather(1, main[:, None])[:, 0]
    own = energy.amax(dim=1).clamp(min=1e-12)
    return (main > 0) & (mirrored / own > ALIKE)


def _rhythm(track: Tensor) -> Tensor:
    """0 slow, 1 repeated, 2 fast, by where the energy of a path (N, 3, T) lies."""
    frames = track.shape[2]
    spectrum = track @ basis("dct", frames, track).T
    index = torch.arange(frames, device=track.device)
    energy = (spectrum.square() * index).sum(dim=1)  # between that of the path (slow) and of its speed (mostly noise)
    band = (index[:, None] >= on_device(CYCLES, track.device)).sum(dim=1)  # (T,)
    of_band = (band == torch.arange(3, device=track.device)[:, None]).to(track.dtype)  # (3, T)
    return (energy @ of_band.T).argmax(dim=1)


def _near(person: Tensor, pairs: list[tuple[int, int]], limit: float) -> Tensor:
    """1 where one of the pairs of joints comes closer than the limit in any frame."""
    return torch.stack([_distance(person, *pair) for pair in pairs]).amin(dim=(0, 2)) < limit


def _height(person: Tensor, body: Body) -> Tensor:
    """0 unchanged, 1 lower, 2 higher: head above feet in the last quarter compared with the first."""
    feet = on_device(body.feet, person.device)
    height = person[:, 1, :, body.head] - person[:, 1, :, feet].mean(dim=2)  # (N, T)
    quarter = max(1, height.shape[1] // 4)
    before, after = height[:, :quarter].mean(dim=1), height[:, -quarter:].mean(dim=1)
    change = (after - before) / before.abs().clamp(min=1e-6)
    return (change < -SINKS) * 1 + (change > SINKS) * 2


def _others(x: Tensor, unit: Tensor) -> Tensor:
    """0 alone, 1 with somebody who keeps still, 2 with somebody who moves."""
    if x.shape[-1] < 2:
        return torch.zeros(len(x), dtype=torch.long, device=x.device)
    second = x[..., 1]
    moves = _energy(second) / unit.square() > STILL
    return (second != 0).flatten(1).any(dim=1) * (1 + moves.long())
