"""The pre-training step: as a plain function of a batch, and recorded as a CUDA graph and replayed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from ... import distributed
from ...backbones import Backbone
from ...datasets.clips import Clips
from ...errors import SkelbenchError
from ...methods import Method, Progress
from ...methods.recipe import Recipe

WARM_STEPS = 3  # before recording, as torch.cuda.graph requires

Recorder = Callable[[Callable[[], None], Generator], Callable[[], None]]


class Step:
    """Views, loss, gradients, optimiser update and the method's `after_step`; it never waits for the device.

    Args:
        method: on the device of `clips`, in training mode.
        clips: the training clips.
        recipe: the optimiser's settings.
        generator: of the augmentations.
        precision: "bf16" runs the backbones in bfloat16; everything else, parameters included, is unchanged.
        compiled: whether the loss is compiled as a single graph.

    Raises:
        SkelbenchError: if it is to be compiled and several ranks train together.
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
        if compiled:
            _check_alone("A compiled step", "compiled")
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
    """A `Step` recorded once per stage and replayed, so that a step is a single launch.

    Everything that changes from step to step is stored in static tensors. The warm-up steps of a recording are undone
    before the first step that counts.

    Args:
        step: the step to record.
        batch: N.
        record: records a function and returns a function that replays it.

    Raises:
        SkelbenchError: if several ranks train together: a replay would repeat collectives that nothing ties to those of
            the other ranks.
    """

    def __init__(self, step: Step, batch: int, record: Recorder):
        _check_alone("A recorded step", "recorded")
        self.step, self.record = step, record
        device = step.clips.x.device
        self.index = torch.zeros(batch, dtype=torch.long, device=device)
        self.rate = torch.zeros((), device=device)
        numbers = (torch.zeros((), dtype=torch.float64, device=device) for _ in range(4))
        self.progress = Progress(*numbers)
        self.recorded: dict[int, tuple[Callable[[], None], dict[str, Tensor]]] = {}

    def __call__(self, index: Tensor, rate: float, progress: Progress, stage: int) -> dict[str, Tensor]:
        """Like `Step.__call__`; the returned tensors are overwritten by the next call."""
        self.index.copy_(index)
        self.rate.fill_(rate)
        for name, value in vars(self.progress).items():
            value.fill_(getattr(progress, name))
        if stage not in self.recorded:
            self.recorded[stage] = self._record(stage)
        replay, losses = self.recorded[stage]
        replay()
        return losses

    def forget(self) -> None:
        """Record anew from the next step on: the momentum of a loaded state is in other memory."""
        self.recorded.clear()

    def _record(self, stage: int) -> tuple[Callable[[], None], dict[str, Tensor]]:
        losses: dict[str, Tensor] = {}

        def work() -> None:
            for name, value in self.step(self.index, self.rate, self.progress, stage).items():
                if name in losses:
                    losses[name].copy_(value)
                else:
                    losses[name] = value.clone()

        before = self._state()
        for _ in range(WARM_STEPS):
            work()
        self._restore(before)
        return self.record(work, self.step.generator), losses

    def _momentum(self) -> list[tuple[Tensor, Tensor]]:
        """Parameters that have a momentum buffer, and the buffer."""
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

    def _restore(self, state: dict[str, Any]) -> None:
        """Restore a state in place; momentum that did not exist becomes zero, which is equivalent."""
        step, device = self.step, self.index.device
        step.method.load_state_dict(state["method"])
        for parameter, buffer in self._momentum():
            before = state["momentum"].get(parameter)
            buffer.zero_() if before is None else buffer.copy_(before)
        step.generator.set_state(state["generator"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(state["random"], device)
        else:
            torch.set_rng_state(state["random"])


def _check_alone(what: str, option: str) -> None:
    """Raise `SkelbenchError` if several ranks train together."""
    if distributed.world_size() > 1:
        raise SkelbenchError(
            f"{what} is for one process, and {distributed.world_size()} processes train together here; set "
            f"Options({option}=False)."
        )


def encode_in_bf16(method: Method) -> None:
    """Run the backbones of a method under bfloat16 autocast and return their features in float32."""

    def casting(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def encode(x: Tensor, *args: Tensor) -> Tensor:
            with torch.autocast(x.device.type, dtype=torch.bfloat16):
                return forward(x, *args).float()

        return encode

    for part in method.modules():
        if isinstance(part, Backbone):
            part.forward = casting(part.forward)


def cuda_graph(work: Callable[[], None], generator: Generator) -> Callable[[], None]:
    """Record work on the generator's device, with its random numbers, as a CUDA graph; return what replays it.

    A graph records one stream. By default that is a stream of the first device, whatever device the work is on.
    """
    with torch.cuda.device(generator.device):
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(generator)
        with torch.cuda.graph(graph, stream=torch.cuda.Stream()):
            work()
    return graph.replay
