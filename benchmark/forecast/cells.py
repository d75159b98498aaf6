"""What each cell of a plan will cost."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from ...datasets.clips import list_clips
from ...datasets.store import Store
from ...errors import SkelbenchError
from ...methods import METHODS
from ...results.record import Key
from ..plan.identity import Pretraining
from ..plan.planner import Plan
from ..plan.tracks import protocol_settings
from ..protocols import PROTOCOLS
from ..protocols.base import KnowsItsTrainings, TuningProtocol
from ..run.encoders import feature_kind
from .counting import Work
from .trace import ENCODED, NUMBER, Shape, encoding, stages, training_step, tuning_step

NOTHING = Work()


@dataclass(frozen=True)
class CellForecast:
    """What a cell will cost.

    Attributes:
        key: of the cell.
        parameters: of the backbone of one encoder.
        work: of the whole cell. Features are counted with the first evaluation that needs them, and classifiers on
            frozen features not at all.
        step: of one step of its training, in its last stage; None if it trains no encoder.
        living: bytes of the tensors that live at once.
        unknown: why nothing is known, a sentence; the numbers are zero then.
    """

    key: Key
    parameters: int = 0
    work: Work = NOTHING
    step: Work | None = None
    living: float = 0.0
    unknown: str = ""


def forecast_cells(plan: Plan, device: str, done: Container[str] = ()) -> list[CellForecast]:
    """What the open cells of a plan but the fusions will cost, in fp32; cells that share a pre-training name it once.

    Args:
        device: "cpu", or any other, whose operations are taken to be CUDA's.
        done: identities of the cells that are left out.
    """
    found: dict[str, CellForecast] = {}
    for tasks, trained in ((plan.tasks, True), (plan.transfers, False)):
        for task, store in tasks:
            for one in _task(_Data(task, store, "cpu" if device == "cpu" else "cuda"), done, trained=trained):
                found.setdefault(one.key.identity, one)
    return list(found.values())


class _Data:
    """A task, and the numbers of its clips."""

    def __init__(self, task: Pretraining, store: Store, device: str):
        self.task, self.store = task, store
        recipe, persons = task.recipe, store.manifest["persons"]
        self.shape = Shape(task.cell.configuration, recipe, store.layout, persons, store.class_names, device)
        self.train, self.test = _counts(store, task.split, recipe.clips)
        self.resident = self.shape.resident(self.train + self.test)


def _task(data: _Data, done: Container[str], *, trained: bool) -> Iterator[CellForecast]:
    if trained and data.task.key.identity not in done:
        yield _known(data.task.key, lambda: _pretraining(data))
    kinds: set[str] = set()
    for key in data.task.evaluations:
        if key.identity in done:
            continue
        kind = feature_kind(data.task, key.cell.protocol)
        if kind is None:
            yield _known(key, lambda key=key: _tuning(key, data))
        else:
            first = kind not in kinds
            kinds.add(kind)
            yield _known(key, lambda key=key, first=first: _frozen(key, data, first=first))


def _known(key: Key, make: Callable[[], CellForecast]) -> CellForecast:
    """A forecast, or why there is none: a method or protocol of a plugin may need values."""
    try:
        return make()
    except Exception as error:
        reason = str(error) if isinstance(error, SkelbenchError) else f"{type(error).__name__}: {error}"
        return CellForecast(key, unknown=f"It cannot be traced without values ({' '.join(reason.split())[:160]}).")


def _pretraining(data: _Data) -> CellForecast:
    task, recipe = data.task, data.task.recipe
    if not METHODS[task.cell.method].trainable or not recipe.epochs:
        return CellForecast(task.key, encoding(data.shape).parameters, living=data.resident)
    iterations = data.train // recipe.batch
    epochs = stages(data.shape)
    steps = {stage: training_step(data.shape, stage) for stage in sorted(epochs)}
    work = sum((steps[stage].work * (count * iterations) for stage, count in epochs.items()), NOTHING)
    last = steps[max(steps)]
    living = data.resident + max(step.memory for step in steps.values())
    return CellForecast(task.key, last.parameters, work, last.work, living)


def _frozen(key: Key, data: _Data, *, first: bool) -> CellForecast:
    traced, recipe = encoding(data.shape), data.task.recipe
    encoders, clips = len({*recipe.snapshots, recipe.epochs}), data.train + data.test
    work = traced.work * (encoders * clips / ENCODED) if first else NOTHING
    features = encoders * clips * traced.dim * NUMBER
    return CellForecast(key, traced.parameters, work, living=data.resident + traced.memory + features)


def _tuning(key: Key, data: _Data) -> CellForecast:
    protocol, recipe = PROTOCOLS[key.cell.protocol], data.task.recipe
    if not isinstance(protocol, KnowsItsTrainings) or not isinstance(protocol, TuningProtocol):
        raise SkelbenchError(f"the protocol '{key.cell.protocol}' does not say how long it trains")
    settings = protocol_settings(recipe, key.cell.protocol)
    train, test = list_clips(data.store, data.task.split, recipe.clips)
    encoded = encoding(data.shape)
    work, steps = NOTHING, []
    for training in protocol.trainings(train, len(test), settings=settings, selection=recipe.selection):
        step = tuning_step(data.shape, settings, training.batch)
        work += step.work * training.steps + encoded.work * (training.scored / ENCODED)
        steps.append(step)
    living = data.resident + max(encoded.memory, *(step.memory for step in steps))
    return CellForecast(key, encoded.parameters, work, steps[0].work, living)


@cache
def _counts(store: Store, split: str, limit: int | None) -> tuple[int, int]:
    """Clips on either side, as `load_dataset` takes them."""
    train, test = list_clips(store, split, limit)
    return len(train), len(test)


def largest(cells: Sequence[CellForecast]) -> CellForecast | None:
    """The cell that needs the most memory."""
    return max(cells, key=lambda cell: cell.living, default=None)
