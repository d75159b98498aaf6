"""The nearest neighbours by cosine similarity, ranked as in float64, at about the cost of a product in float32.

Features of a collapsed encoder are nearly equal: their cosines agree in all digits that float32 has. Features are
therefore normalised and centred in float64. For unit vectors q and b, a centre μ, q' = q - μ and b' = b - μ,

    q·b = q'·b' - |b'|²/2 + (q·μ + (1 - |μ|²)/2),

where the last part is equal for all b. The score q'·b' - |b'|²/2 is computed in float32, with a known bound of its
error; where two scores are closer than that, their cosines are computed in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import SkelbenchError
from ..train.devices import as_double

CHUNK = 1024  # queries per batch: 164 MB of scores of a bank of 40,091 clips
GROUP = 32  # bank clips of which only the largest score is looked at first
SPARE = 8  # candidates beyond the k-th
WIDTH = 8  # the product is fastest if the features' number is a multiple of this
_EXACT = 64  # queries per batch that are scored in float64 alone
_LEAST_NORM = 1e-12  # of `functional.normalize`; shorter features are no unit vectors
_ROUNDING = 2.0**-24  # of float32


@dataclass(frozen=True)
class _Bank:
    """Features of a bank.

    Attributes:
        unit: b (N, D) float64.
        centre: μ (D,) float64.
        fast: b', then -|b'|²/2, then zeros (D', N') float32; -(|b'|² + 1)/2 for a feature of length 0. D' is a multiple
            of `WIDTH`, N' of `GROUP`; columns beyond N are never the largest.
        longest: largest |b'|, or the root of twice the largest |b'|²/2 if that is larger.
    """

    unit: Tensor
    centre: Tensor
    fast: Tensor
    longest: float


def neighbours(bank: Tensor, queries: Tensor, k: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cosine similarity in float64 and index (n, k) of the k nearest of bank (N, D) to queries (N', D), by chunks.

    Nearest first; ties go to the first in the bank. If the bank is smaller than k, all of it is taken.

    Raises:
        SkelbenchError: if a feature is NaN or infinite.
    """
    if not bool(torch.isfinite(bank).all() & torch.isfinite(queries).all()):
        raise SkelbenchError("k-nearest-neighbour voting got NaN or infinite features; check the encoder's weights.")
    k = min(k, len(bank))
    prepared = _prepared(bank)
    few = len(bank) < 2 * GROUP * (k + SPARE)
    scores = prepared.fast.new_empty(0 if few else min(CHUNK, len(queries)), prepared.fast.shape[1])
    for chunk in queries.split(CHUNK):
        unit = functional.normalize(as_double(chunk), dim=1)
        similarity, place = _in_double(prepared, unit, k) if few else _by_groups(prepared, unit, k, scores[: len(unit)])
        yield similarity.to(bank.device), place.to(bank.device)


def _prepared(bank: Tensor) -> _Bank:
    values = as_double(bank)
    length = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    unit = values / length.clamp(min=_LEAST_NORM)
    centre = unit.mean(dim=0)
    centred = unit - centre
    squares = torch.linalg.vector_norm(centred, dim=1).square()
    missing = torch.where(length[:, 0] < _LEAST_NORM, 1 - (length[:, 0] / _LEAST_NORM).square(), 0.0)
    half = (squares + missing) / 2
    count, width = centred.shape
    fast = centred.new_zeros(_multiple(width + 1, WIDTH), _multiple(count, GROUP), dtype=torch.float32)
    fast[:width, :count] = centred.T
    fast[width] = -torch.inf
    fast[width, :count] = -half
    return _Bank(unit, centre, fast, (2 * half).max().sqrt().item())


def _multiple(count: int, of: int) -> int:
    return count + -count % of


def _in_double(bank: _Bank, unit: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest cosines (n, k) of unit queries (n, D) and their places, all computed in float64."""
    found = [_largest(part @ bank.unit.T, k) for part in unit.split(_EXACT)]
    cosine, place = zip(*found, strict=True)
    return torch.cat(cosine), torch.cat(place)


def _by_groups(bank: _Bank, unit: Tensor, k: int, scores: Tensor) -> tuple[Tensor, Tensor]:
    """`_in_double` by a search in float32, whose scores (n, N') are written into memory that every chunk uses.

    A group can only hold one of the k nearest if its largest score is at least that of the k-th best group, less the
    error bound: so the groups up to there are searched, and of their clips those up to the k-th best, less the bound.
    """
    rows = unit - bank.centre
    length = torch.linalg.vector_norm(rows, dim=1)
    padded = functional.pad(functional.pad(rows, (0, 1), value=1.0), (0, len(bank.fast) - rows.shape[1] - 1)).float()
    grouped = torch.mm(padded, bank.fast, out=scores).view(len(rows), GROUP, -1)
    # The float32 value of a sum of products is off by at most D·u times the sum of their sizes, in any order; the rest
    # is from rounding x, y and |b'|²/2.
    error = (len(bank.fast) + 4) * _ROUNDING * bank.longest * (length + bank.longest)
    best, group = grouped.amax(dim=1).topk(k + SPARE, dim=1)  # a group is spread over the bank: quicker to reduce
    unsure = best[:, -1] >= best[:, k - 1] - 2 * error
    inside = grouped.gather(2, group[:, None].expand(-1, GROUP, -1)).flatten(1)
    score, at = inside.topk(k + SPARE, dim=1)
    unsure |= score[:, -1] >= score[:, k - 1] - 2 * error
    place = at // group.shape[1] * grouped.shape[2] + group.gather(1, at % group.shape[1])
    close = score[:, :-1] - score[:, 1:] <= 2 * error[:, None]
    close = functional.pad(close, (0, 1)) | functional.pad(close, (1, 0))
    same = unit @ bank.centre + (1 - bank.centre.square().sum()) / 2
    cosine = score + same[:, None]
    query, candidate = close.nonzero(as_tuple=True)
    cosine[query, candidate] = (unit[query] * bank.unit[place[query, candidate]]).sum(dim=1)
    cosine, place = (values[:, :k].clone() for values in _in_order(cosine, place))
    again = unsure.nonzero()[:, 0]
    if len(again):
        cosine[again], place[again] = _in_double(bank, unit[again], k)
    return cosine, place


def _in_order(cosine: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Candidates (n, ...) by falling cosine, equal ones by rising place."""
    place, order = place.sort(dim=1)
    cosine, second = cosine.gather(1, order).sort(dim=1, descending=True, stable=True)
    return cosine, place.gather(1, second)


def _largest(score: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest values of each row (n, N) and their indices; unlike `topk`, with a defined order of ties."""
    values, places = score.topk(min(k + 1, score.shape[1]), dim=1)
    tied = (values[:, 1:] == values[:, :-1]).any(dim=1)
    values, places = values[:, :k].clone(), places[:, :k].clone()
    rows = tied.nonzero()[:, 0]
    if len(rows):
        values[rows], places[rows] = _first_of_equal(score[rows], values[rows, -1:], k)
    return values, places


def _first_of_equal(score: Tensor, least: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`_largest` for rows (n, N) with ties among the k largest; `least` (n, 1) is the k-th largest value."""
    above, equal = score > least, score == least
    wanted = k - above.sum(dim=1, keepdim=True)
    chosen = above | (equal & (equal.cumsum(dim=1, dtype=torch.int32) <= wanted))
    inside = chosen.nonzero()[:, 1].view(-1, k)  # ascending, so a stable sort puts the first of equal ones first
    order = score.gather(1, inside).sort(dim=1, descending=True, stable=True)
    return order.values, inside.gather(1, order.indices)
