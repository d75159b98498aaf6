"""The time that work takes on a device: shares of its limits, and the limits of known devices."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

import yaml

from ...config import Settings, parse_config
from ...errors import SkelbenchError
from ...registry import did_you_mean
from .ceilings import measure_ceilings
from .counting import Work

MEASURED = "measured"  # the source of a device of this machine
ASSUMED = 0.5  # share of a limit that is taken for a device on which nothing was measured


class Shares(Settings):
    """How much of a device's limits is reached, and the seconds an operation takes by itself."""

    product: float
    copy_: float
    operation: float


# Fitted to steps of half of the methods on the CPU, see docs/performance.md.
CPU_SHARES = Shares(product=0.88, copy_=0.6, operation=0.0)
ASSUMED_SHARES = Shares(product=ASSUMED, copy_=ASSUMED, operation=0.0)


class Device(Settings):
    """The limits of a device.

    Attributes:
        memory: GB.
        bandwidth: GB/s.
        fp32, tf32, bf16: TFLOP/s of a matrix product; None if it has no such product.
        source: where the numbers are from.
        shares: what is reached of them.
    """

    name: str
    title: str
    memory: float
    bandwidth: float
    fp32: float
    tf32: float | None = None
    bf16: float | None = None
    source: str
    shares: Shares = ASSUMED_SHARES

    @property
    def kind(self) -> str:
        """Whose operations it takes: "cpu", or "cuda" for all others."""
        return "cpu" if self.name == "cpu" else "cuda"

    def seconds(self, work: Work, precision: str = "fp32") -> float | None:
        """How long work takes: products and traffic one after the other; None without a rate for the precision."""
        rate = {"fp32": self.fp32, "tf32": self.tf32, "bf16": self.bf16}[precision]
        if rate is None:
            return None
        products = work.flop / (rate * 1e12 * self.shares.product)
        traffic = work.bytes / (self.bandwidth * 1e9 * self.shares.copy_)
        return products + traffic + work.operations * self.shares.operation


@cache
def known_devices() -> dict[str, Device]:
    """The devices of `devices.yaml` by name."""
    rows = yaml.safe_load((resources.files("skelbench.benchmark.forecast") / "devices.yaml").read_text())
    return {row["name"]: parse_config(Device, row, f"the device '{row['name']}'") for row in rows}


def known_device(name: str) -> Device:
    """A device by name. Raises ``SkelbenchError`` for an unknown one."""
    devices = known_devices()
    if name not in devices:
        raise SkelbenchError(f"There is no device '{name}' in the table{did_you_mean(name, devices)}")
    return devices[name]


def this_device(device: str, memory_mb: float = 0.0, precision: str = "fp32") -> Device:
    """The device of this machine with its measured limits (a second); on the CPU with the fitted shares.

    Args:
        precision: of products that are measured beside those in fp32; there is no rate for any other.
    """
    here = measured_device(device, measure_ceilings(device, rounds=3), memory_mb)
    if precision == "fp32":
        return here
    rate = measure_ceilings(device, precision, rounds=3)["product_gflops"] / 1e3
    return here.model_copy(update={precision: rate})


def measured_device(device: str, ceilings: Mapping[str, float], memory_mb: float = 0.0) -> Device:
    """A device of which `measure_ceilings` measured the limits."""
    return Device(
        name=device,
        title=f"this {device}",
        memory=memory_mb / 1e3,
        bandwidth=ceilings["copy_gb_per_second"],
        fp32=ceilings["product_gflops"] / 1e3,
        source=MEASURED,
        shares=CPU_SHARES if device == "cpu" else ASSUMED_SHARES,
    )
