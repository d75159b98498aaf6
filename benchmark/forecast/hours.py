"""The device hours that are left of a plan: from finished cells, and from counting where none tells."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from ...results.status.estimate import Estimate, format_duration
from ...results.store import RunStore
from ..plan.planner import Plan
from ..run.launched import launched
from .cells import CellForecast
from .devices import this_device


def hours_left(
    plan: Plan, counted: Sequence[CellForecast], done: Container[str], runs: RunStore, device: str
) -> Iterator[str]:
    """Lines: how many cells are left and the estimated device hours.

    Args:
        counted: what the open cells take; empty if that is not known.
        done: identities of the finished cells.
        runs: whose finished cells the first estimate is made from.
    """
    planned = launched(plan, device)
    open_ = [one for one in planned.cells if one.identity not in done]
    estimate = Estimate(runs.records(), planned.device_name)
    seconds, unknown = estimate.total(open_)
    count = f"{len(open_)} of {len(planned.cells)} cells left"
    if not open_:
        yield count
        return
    if seconds or not unknown:
        rest = f", without {unknown} cells of which no similar one is finished" if unknown else ""
        yield (
            f"{count}; about {seconds / 3600:.2f} device hours ({format_duration(seconds)}) "
            f"on {planned.device_name}{rest}, from {estimate.records} finished cells"
        )
    else:
        yield f"{count}; no similar cell is finished here on {planned.device_name}"
    if unknown and counted:
        yield _by_counting(counted, device)


def _by_counting(cells: Sequence[CellForecast], device: str) -> str:
    here = this_device(device)
    known = [one for one in cells if not one.unknown]
    seconds = sum(here.seconds(one.work) or 0.0 for one in known)
    shares = here.shares
    rest = f", without {len(cells) - len(known)} that cannot be counted" if len(known) < len(cells) else ""
    limits = (
        f"{shares.product:.0%} of {here.fp32 * 1e3:,.0f} GFLOP/s and {shares.copy_:.0%} of {here.bandwidth:,.1f} GB/s"
    )
    return (
        f"by counting: about {seconds / 3600:.2f} device hours ({format_duration(seconds)}) in fp32 at {limits}, "
        f"measured now{rest}"
    )
