"""Nearest-neighbour mining: from some epoch on, the nearest keys in the queue count as positives too."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional

from ..errors import SkelbenchError
from .base import Build, Deviation
from .contrast import info_nce
from .momentum import MomentumConfig, MomentumMethod

MinedLoss = Literal["mean_log", "log_sum"]
MINED_LOSS = Deviation(
    about="loss of several positives",
    paper="−log of their summed probability",
    code="the mean of their −log probabilities",
    option="mined_loss",
    why="the published numbers were made so",
)


class MiningConfig(MomentumConfig):
    """Settings that every method with mining has.

    Attributes:
        topk: number of nearest keys taken as positives of each query.
        mining_epoch: last epoch (counted from 1) without mining.
        mined_loss: of several positives, the mean of −log p ("mean_log", as released) or −log of the sum of p
            ("log_sum", as the papers write it).
    """

    topk: PositiveInt = 1
    mining_epoch: int = Field(default=150, ge=0)
    mined_loss: MinedLoss = "mean_log"


class MiningMethod(MomentumMethod):
    """Two stages: 0 up to `mining_epoch`, 1 after it."""

    config: MiningConfig

    def __init__(self, build: Build, config: MiningConfig):
        super().__init__(build, config)
        if config.topk > config.queue_size:
            raise SkelbenchError(
                f"The {config.topk} nearest of a queue of {config.queue_size} keys cannot be taken; set a smaller "
                "topk or a larger queue_size."
            )

    def stage(self, epoch: int) -> int:
        """0 without mining, 1 with it."""
        return int(epoch > self.config.mining_epoch)

    def instance_loss(self, logits: Tensor, positive: Tensor, stage: int) -> Tensor:
        """InfoNCE of logits (N, 1 + K), or with mining the loss over all marked positives."""
        return mined_nce(logits, positive, self.config.mined_loss) if stage else info_nce(logits)


def nearest(similarities: Tensor, topk: int) -> Tensor:
    """Mark the `topk` largest of each row of similarities (N, K): (N, K) of 0 and 1."""
    places = similarities.topk(topk, dim=1).indices
    return torch.zeros_like(similarities).scatter_(1, places, 1)


def positives(logits: list[Tensor], topk: int, stage: int) -> Tensor:
    """Mark the positives (N, 1 + K): the key and, with mining, the nearest keys in the queue of any query."""
    key = torch.zeros_like(logits[0])
    key[:, 0] = 1
    if not stage:
        return key
    found = torch.stack([nearest(row[:, 1:].detach(), topk) for row in logits]).amax(dim=0)
    return torch.cat([key[:, :1], found], dim=1)


def mined_nce(logits: Tensor, positive: Tensor, how: MinedLoss) -> Tensor:
    """Mean loss of logits (N, L) with several positives each, marked by 1 in `positive` (N, L)."""
    log_probability = functional.log_softmax(logits, dim=1)
    if how == "log_sum":
        return -torch.logsumexp(log_probability.masked_fill(positive == 0, -torch.inf), dim=1).mean()
    return -((positive * log_probability).sum(dim=1) / positive.sum(dim=1)).mean()
