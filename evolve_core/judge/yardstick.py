"""What measured times are held against on one machine: the smallest difference that is one, and the device's peaks.

A calibration gives both. Without one the peaks are those of data sheets: the highest of all devices of the
architecture, because which of them this is cannot be told from it. Then nothing is known of the noise beforehand.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evolve_core.judge.calibration import Calibration
from evolve_core.judge.calibration_store import stored
from evolve_core.judge.client import Device
from evolve_core.judge.floor import Floor, LeastWork
from evolve_core.targets import load, names


@dataclass(frozen=True, slots=True)
class Yardstick:
    """``delta`` None: as the user's own kernel against itself shows. ``gbps`` (10^9 bytes a second) 0, ``launch_us`` 0
    and types that ``tflops`` lacks: not known. ``origin`` says in words where it all comes from; "" for nothing.
    """

    delta: float | None = None
    gbps: float = 0.0
    tflops: Mapping[str, float] = field(default_factory=dict)
    launch_us: float = 0.0
    origin: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Yardstick:
        """Raises KeyError, TypeError or ValueError where ``data`` is not the fields of one."""
        return cls(
            delta=None if data["delta"] is None else float(data["delta"]),
            gbps=float(data["gbps"]),
            tflops={str(kind): float(rate) for kind, rate in data["tflops"].items()},
            launch_us=float(data["launch_us"]),
            origin=str(data["origin"]),
        )

    def floor(self, work: LeastWork) -> Floor:
        """The largest of three: an empty kernel, what must pass DRAM, what must be computed (the roofline model)."""
        floors = [Floor(self.launch_us, "what an empty kernel takes here")]
        if self.gbps:
            moved = f"what {work.dram_bytes / 1e6:.0f} MB through DRAM take at {self.gbps:.0f} GB/s"
            floors.append(Floor(work.dram_bytes / (self.gbps * 1e3), moved))
        for dtype, flops in work.flops.items():
            if rate := self._tflops(dtype):
                computed = f"what {flops / 1e9:.3g} GFLOP of {dtype} take at {rate:.0f} TFLOP/s"
                floors.append(Floor(flops / (rate * 1e6), computed))
        return max(floors, key=lambda one: one.us)

    def _tflops(self, dtype: str) -> float:
        """fp32 may be put together out of tf32 products at full accuracy, so the faster of both counts for it."""
        kinds = ("fp32", "tf32") if dtype == "fp32" else (dtype,)
        return max(self.tflops.get(kind, 0.0) for kind in kinds)


NOTHING_KNOWN = Yardstick()


def yardstick_of(devices: Sequence[Device]) -> Yardstick:
    """For the first device, on which the judge host judges; nothing is known where there is none."""
    if not devices:
        return NOTHING_KNOWN
    found = stored(devices[0].uuid, devices[0].driver)
    return calibrated(found) if found is not None else from_data_sheets(devices[0].capability)


def calibrated(found: Calibration) -> Yardstick:
    """The device's own figures."""
    day = time.strftime("%Y-%m-%d", time.gmtime(found.measured_at))
    origin = f"calibrated on {day}: smallest difference {100 * found.delta:.2g} %, {found.peak_gbps:.0f} GB/s"
    return Yardstick(found.delta, found.peak_gbps, found.tflops, found.launch_us, origin)


def from_data_sheets(capability: str) -> Yardstick:
    """For a device that was not calibrated, by its compute capability ("9.0")."""
    architecture = f"sm_{capability.replace('.', '')}"
    known = [target for name in names() if (target := load(name)).architecture == architecture]
    advice = "not calibrated (`kernel-evolve calibrate` measures this GPU)"
    if not known:
        return Yardstick(origin=f"{advice}; no peaks are known of {architecture}")
    kinds = {kind for target in known for kind in (*target.peak_tflops, *target.tensor_tflops)}
    return Yardstick(
        gbps=max(target.limits.dram_gbps for target in known),
        tflops={
            kind: max(max(t.peak_tflops.get(kind, 0.0), t.tensor_tflops.get(kind, 0.0)) for t in known)
            for kind in sorted(kinds)
        },
        origin=f"{advice}; peaks from the data sheets of {' and '.join(target.device for target in known)}",
    )
