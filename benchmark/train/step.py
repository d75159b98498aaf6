"""One step of pre-training, as a plain function of a batch and as a recording that a CUDA device replays."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from ... import distributed
from ...backbones import Backbone
from ...datasets.clips import Clips
from ...methods import Method, Progress
from ...methods.recipe import Recipe

WARM_STEPS = 3  # before a recording, as torch.cuda.graph asks for

Recorder = Callable[[Callable[[], None], Generator], Callable[[], None]]


class Step:
    """Views, loss, gradients, optimiser, and what follows it; nothing in it waits for the device.

    Args:
        method: on the device of `clips`, in training mode.
        clips: the training side.
        recipe: the optimiser's settings.
        generator: of the augmentations.
        precision: "bf16" has the backbones compute in it; all else, parameters included, stays as it is.
        compiled: whether the loss is compiled, as one graph.
    """

    def __init__(
        self,
        method: Method,
        clips: Clips,
        recipe: Recipe,
        generator: Generator,
        *,
        precision: str = "fp32",
        compiled: bool = False,
    ):
        self.method, self.clips, self.generator = method, clips, generator
        if precision == "bf16":
            encode_in_bf16(method)
        distributed.synchronise_batch_norm(method)
        self.optimiser = torch.optim.SGD(
            [p for p in method.parameters() if p.requires_grad],
            lr=recipe.lr,
            momentum=recipe.sgd_momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
            fused=clips.x.device.type == "cuda" or None,
        )
        self.compiled = torch.compile(method.loss, fullgraph=True, dynamic=False) if compiled else None

    def __call__(self, index: Tensor, rate: float | Tensor, progress: Progress, stage: int) -> dict[str, Tensor]:
        """Train on the clips of `index` (N,) at a learning rate; return the losses, 0-d and without gradient."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        label = self.clips.label[index] if self.method.uses_labels else None
        x = self.clips.x[index]
        draws = self.method.draw(x, self.generator)
        loss = self.compiled or self.method.loss
        losses = loss(self.method.views(x, draws), stage=stage, draws=draws, index=index, label=label)
        self.optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        distributed.average_gradients(self.method.parameters())
        self.optimiser.step()
        self.method.after_step(progress)
        return {name: value.detach() for name, value in losses.items()}


class RecordedStep:
    """A `Step` recorded once a stage and replayed: the whole step is one launch.

    Everything that changes from step to step lies in tensors that stay where they are. The steps that warm a recording
    up are undone before the first that counts.

    Args:
        step: what is recorded.
        batch: N.
        record: makes a recording of a function and returns what replays it.
    """

    def __init__(self, step: Step, batch: int, record: Recorder):
        self.step, self.record = step, record
        device = step.clips.x.device
        self.index = torch.zeros(batch, dtype=torch.long, device=device)
        self.rate = torch.zeros((), device=device)
        numbers = (torch.zeros((), dtype=torch.float64, device=device) for _ in range(4))
        self.progress = Progress(*numbers)
        self.recorded: dict[int, tuple[Callable[[], None], dict[str, Tensor]]] = {}

    def __call__(self, index: Tensor, rate: float, progress: Progress, stage: int) -> dict[str, Tensor]:
        """As a `Step`; what it returns is overwritten by the next one."""
        self.index.copy_(index)
        self.rate.fill_(rate)
        for name, value in vars(self.progress).items():
            value.fill_(getattr(progress, name))
        if stage not in self.recorded:
            self.recorded[stage] = self._record(stage)
        replay, losses = self.recorded[stage]
        replay()
        return losses

    def _record(self, stage: int) -> tuple[Callable[[], None], dict[str, Tensor]]:
        losses: dict[str, Tensor] = {}

        def work() -> None:
            for name, value in self.step(self.index, self.rate, self.progress, stage).items():
                if name in losses:
                    losses[name].copy_(value)
                else:
                    losses[name] = value.clone()

        kept = self._state()
        for _ in range(WARM_STEPS):
            work()
        self._restore(kept)
        return self.record(work, self.step.generator), losses

    def _momentum(self) -> list[tuple[Tensor, Tensor]]:
        """Parameters and their momentum, as far as there is any."""
        found = ((p, state.get("momentum_buffer")) for p, state in self.step.optimiser.state.items())
        return [(p, buffer) for p, buffer in found if buffer is not None]

    def _state(self) -> dict[str, Any]:
        device, step = self.index.device, self.step
        return {
            "method": copy.deepcopy(step.method.state_dict()),
            "momentum": {p: buffer.clone() for p, buffer in self._momentum()},
            "generator": step.generator.get_state(),
            "random": torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state(),
        }

    def _restore(self, kept: dict[str, Any]) -> None:
        """Put a state back into the tensors that hold it; momentum that was not there becomes zero, which is equal."""
        step, device = self.step, self.index.device
        step.method.load_state_dict(kept["method"])
        for parameter, buffer in self._momentum():
            before = kept["momentum"].get(parameter)
            buffer.zero_() if before is None else buffer.copy_(before)
        step.generator.set_state(kept["generator"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(kept["random"], device)
        else:
            torch.set_rng_state(kept["random"])


def encode_in_bf16(method: Method) -> None:
    """Have the backbones of a method compute under autocast to bfloat16 and return features in float32."""

    def casting(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def encode(x: Tensor, *args: Tensor) -> Tensor:
            with torch.autocast(x.device.type, dtype=torch.bfloat16):
                return forward(x, *args).float()

        return encode

    for part in method.modules():
        if isinstance(part, Backbone):
            part.forward = casting(part.forward)


def cuda_graph(work: Callable[[], None], generator: Generator) -> Callable[[], None]:
    """Record work on the current CUDA device, with the random numbers it draws; return what replays it."""
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        work()
    return graph.replay
