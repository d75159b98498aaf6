"""SkeletonCLR with faults that a first run on a card would show."""

from typing import Any

import torch

from skelbench.methods import METHODS

from .small import small

Plain: Any = METHODS["skeletonclr"]


class ReadsValue(Plain):
    """Reads a value on the host in each step."""

    def after_step(self, progress):
        super().after_step(progress)
        self.queue.mul_(0.9 if self.queue_ptr.item() else 1.0)


class ReadsProgress(Plain):
    """Computes a schedule in Python."""

    def after_step(self, progress):
        super().after_step(progress)
        self.queue.mul_(1 - 0.1 / float(progress.epoch))


class ShapedByValues(Plain):
    """Makes a tensor as long as there are positive coordinates."""

    def loss(self, views, **how):
        x = views["query"]
        return super().loss({**views, "query": x * x[x > 0].mean()}, **how)


class WritesThroughMask(Plain):
    """Writes clips to places that a mask marks, whose number must be known first."""

    def loss(self, views, **how):
        x = views["query"].clone()
        x[torch.arange(len(x), device=x.device) < 3] = views["key"][:3]
        return super().loss({**views, "query": x}, **how)


class WithoutDevice(Plain):
    """Makes a tensor on the host."""

    def views(self, x, draws):
        return {name: view + torch.zeros(view.shape) for name, view in super().views(x, draws).items()}


class WithoutDeviceInBackward(Plain):
    """Makes a tensor on the host while gradients are computed."""

    def loss(self, views, **how):
        losses = super().loss(views, **how)
        losses["loss"].register_hook(lambda gradient: gradient * torch.ones(1).sum())
        return losses


class ScalarOfHost(Plain):
    """Multiplies by a tensor of the host without axes, which torch allows and a graph would copy in each step."""

    def loss(self, views, **how):
        return {"loss": super().loss(views, **how)["loss"] * torch.tensor(2.0)}


class ListOfIndices(Plain):
    """Takes joints by a list, which is copied to the card in each step."""

    def views(self, x, draws):
        return super().views(x[:, :, :, list(range(x.shape[3]))], draws)


class Counts(Plain):
    """Counts its steps in Python."""

    taken = 0

    def after_step(self, progress):
        super().after_step(progress)
        self.taken += 1
        self.queue.mul_(1 - 0.01 * self.taken)


class Rebinds(Plain):
    """Binds a buffer to another tensor."""

    def after_step(self, progress):
        super().after_step(progress)
        self.queue = self.queue * 0.9


class KeepsLoss(Plain):
    """Keeps a tensor of one step for the next."""

    last: Any = None

    def loss(self, views, **how):
        losses = super().loss(views, **how)
        before, self.last = self.last, losses["loss"].detach()
        return losses if before is None else {"loss": losses["loss"] * (1 + before)}


class KeepsGraph(Plain):
    """Keeps a loss with what it was computed from, and so the stream that its gradients are added up on."""

    last: Any = None

    def loss(self, views, **how):
        losses = super().loss(views, **how)
        self.last = losses["loss"]
        return losses


def faulty(kind: Any) -> Any:
    """SkeletonCLR with one of these faults."""
    method = small("skeletonclr")
    method.__class__ = kind
    return method
