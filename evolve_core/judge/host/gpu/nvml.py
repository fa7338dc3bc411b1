"""What the driver says about the devices, through NVML and never through CUDA.

The main host forks children that use CUDA, which only works while the host itself has not initialised it; NVML has no
such state. Everything here answers with an empty list or None where there is no NVIDIA driver.

Structures, function names and constants follow NVIDIA's NVML API reference (nvml.h).
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

_LIBRARIES = (
    "libnvidia-ml.so.1",
    "/usr/local/nvidia/lib64/libnvidia-ml.so.1",
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
)
_SUCCESS = 0
_INSUFFICIENT_SIZE = 7
_CLOCK_SM, _CLOCK_MEMORY = 1, 2
_TEMPERATURE_GPU = 0

# nvmlClocksThrottleReason* bits. The first group is how a healthy device behaves; the second slows it down behind our
# back.
_REASONS = {
    0x1: "idle",
    0x2: "application-clocks",
    0x4: "power-cap",
    0x8: "hardware-slowdown",
    0x10: "sync-boost",
    0x20: "software-thermal",
    0x40: "hardware-thermal",
    0x80: "power-brake",
    0x100: "display-clocks",
}
SLOWING = frozenset({"hardware-slowdown", "software-thermal", "hardware-thermal", "power-brake"})


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class _Utilization(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class _Process(ctypes.Structure):
    _fields_ = [
        ("pid", ctypes.c_uint),
        ("used_bytes", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    ]


def list_devices() -> list[dict[str, Any]]:
    """Every NVIDIA device as ``{index, uuid, name, capability: "9.0", memory_bytes, driver}``; [] without a driver."""
    with _nvml() as nvml:
        if nvml is None:
            return []
        driver = _text(nvml.nvmlSystemGetDriverVersion)
        count = ctypes.c_uint()
        if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) != _SUCCESS:
            return []
        return [device for index in range(count.value) if (device := _describe(nvml, index, driver)) is not None]


class DeviceWatch:
    """Looks at one device again and again, in a process that forks no more: its children could not use the copy."""

    def __init__(self, uuid: str) -> None:
        self._nvml = _opened()
        self._handle = _handle(self._nvml, uuid)

    def state(self) -> dict[str, Any] | None:
        """As ``device_state``."""
        return None if self._handle is None else _state(self._nvml, self._handle)

    def close(self) -> None:
        if self._nvml is not None:
            self._nvml.nvmlShutdown()


def device_state(uuid: str) -> dict[str, Any] | None:
    """Clocks (MHz), throttle reasons, load and the processes that compute on the device now; None without a driver."""
    watch = DeviceWatch(uuid)
    try:
        return watch.state()
    finally:
        watch.close()


def _handle(nvml: Any, uuid: str) -> ctypes.c_void_p | None:
    handle = ctypes.c_void_p()
    if nvml is None or nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)) != _SUCCESS:
        return None
    return handle


def _state(nvml: Any, handle: ctypes.c_void_p) -> dict[str, Any]:
    return {
        "sm_mhz": _unsigned(nvml.nvmlDeviceGetClockInfo, handle, _CLOCK_SM),
        "memory_mhz": _unsigned(nvml.nvmlDeviceGetClockInfo, handle, _CLOCK_MEMORY),
        "temperature_c": _unsigned(nvml.nvmlDeviceGetTemperature, handle, _TEMPERATURE_GPU),
        "power_mw": _unsigned(nvml.nvmlDeviceGetPowerUsage, handle),
        "throttle": _throttle(nvml, handle),
        "busy_percent": _busy(nvml, handle),
        "processes": _processes(nvml, handle),
    }


def others_computing(state: dict[str, Any] | None, own: Collection[int] = ()) -> list[int]:
    """The processes that compete with a measurement, from a ``device_state`` taken while no process of ours uses the
    device. ``own``: what the driver calls those of ours that are there and idle.

    A process that merely holds memory (an idle notebook) does not count: only where the device is busy do its
    processes. Process ids are the driver's; inside a container they may belong to another namespace."""
    if state is None or not state["busy_percent"] or state["busy_percent"] < 5:
        return []
    return [pid for pid in state["processes"] if pid not in own]


@contextmanager
def _nvml() -> Iterator[Any]:
    library = _opened()
    try:
        yield library
    finally:
        if library is not None:
            library.nvmlShutdown()


def _opened() -> Any:
    """The library, to be shut down; None where there is none."""
    library = next((found for name in _LIBRARIES if (found := _load(name)) is not None), None)
    return None if library is None or library.nvmlInit_v2() != _SUCCESS else library


def _load(name: str) -> Any:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _describe(nvml: Any, index: int, driver: str) -> dict[str, Any] | None:
    handle = ctypes.c_void_p()
    if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) != _SUCCESS:
        return None
    major, minor, memory = ctypes.c_int(), ctypes.c_int(), _Memory()
    nvml.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor))
    nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    return {
        "index": index,
        "uuid": _text(nvml.nvmlDeviceGetUUID, handle),
        "name": _text(nvml.nvmlDeviceGetName, handle),
        "capability": f"{major.value}.{minor.value}",
        "memory_bytes": int(memory.total),
        "driver": driver,
    }


def _text(function: Any, *arguments: Any) -> str:
    buffer = ctypes.create_string_buffer(128)
    return buffer.value.decode() if function(*arguments, buffer, len(buffer)) == _SUCCESS else ""


def _unsigned(function: Any, *arguments: Any) -> int | None:
    value = ctypes.c_uint()
    return value.value if function(*arguments, ctypes.byref(value)) == _SUCCESS else None


def _throttle(nvml: Any, handle: ctypes.c_void_p) -> list[str]:
    bits = ctypes.c_ulonglong()
    if nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle, ctypes.byref(bits)) != _SUCCESS:
        return []
    return [name for bit, name in _REASONS.items() if bits.value & bit]


def _busy(nvml: Any, handle: ctypes.c_void_p) -> int | None:
    rates = _Utilization()
    if nvml.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(rates)) != _SUCCESS:
        return None
    return int(rates.gpu)


def _processes(nvml: Any, handle: ctypes.c_void_p) -> list[int]:
    function = getattr(nvml, "nvmlDeviceGetComputeRunningProcesses_v3", None)
    if function is None:
        return []
    room = ctypes.c_uint(64)
    processes = (_Process * room.value)()
    if function(handle, ctypes.byref(room), processes) not in (_SUCCESS, _INSUFFICIENT_SIZE):
        return []
    return [int(process.pid) for process in processes[: min(room.value, len(processes))]]
