"""A Triton driver and a few torch.cuda answers for a machine, or a process, without a GPU.

Triton's ``driver.active`` raises where there is no GPU, and users' modules touch it at import. The stub answers what
host code usually asks: the target, the device, its properties. It launches nothing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver

from .errors import StepError


@dataclass(frozen=True)
class DeviceFacts:
    """What ``torch.cuda.get_device_properties`` would say. Source: the vendors' data sheets of the device named."""

    name: str
    multi_processor_count: int
    total_memory: int
    shared_memory_per_block_optin: int
    max_threads_per_multi_processor: int = 2048
    regs_per_multiprocessor: int = 65536
    warp_size: int = 32
    L2_cache_size: int = 50 << 20


_DEVICES = {
    "sm_80": DeviceFacts("NVIDIA A100", 108, 80 << 30, 163 << 10, L2_cache_size=40 << 20),
    "sm_86": DeviceFacts("NVIDIA A10", 72, 24 << 30, 99 << 10, 1536, L2_cache_size=6 << 20),
    "sm_89": DeviceFacts("NVIDIA L4", 58, 24 << 30, 99 << 10, 1536, L2_cache_size=48 << 20),
    "sm_90": DeviceFacts("NVIDIA H100", 132, 80 << 30, 227 << 10),
    "sm_100": DeviceFacts("NVIDIA B200", 148, 180 << 30, 227 << 10, L2_cache_size=126 << 20),
    "sm_120": DeviceFacts("NVIDIA GeForce RTX 5090", 170, 32 << 30, 99 << 10, 1536, L2_cache_size=96 << 20),
    "gfx942": DeviceFacts("AMD Instinct MI300X", 304, 192 << 30, 64 << 10, 2048, 131072, 64, 4 << 20),
    "gfx950": DeviceFacts("AMD Instinct MI355X", 256, 288 << 30, 160 << 10, 2048, 131072, 64, 4 << 20),
    "gfx1100": DeviceFacts("AMD Radeon RX 7900 XTX", 96, 24 << 30, 64 << 10, 1024, 196608, 32, 6 << 20),
}


def gpu_target(name: str) -> GPUTarget:
    """``sm_90`` → GPUTarget("cuda", 90, 32); ``gfx942`` → GPUTarget("hip", "gfx942", 64)."""
    if match := re.fullmatch(r"sm_(\d+)a?", name):
        return GPUTarget("cuda", int(match[1]), 32)
    if re.fullmatch(r"gfx[0-9a-f]+", name):
        return GPUTarget("hip", name, 64 if name.startswith("gfx9") else 32)
    raise StepError("bad-request", f"unknown target {name!r}: use a name such as sm_90 or gfx942")


def device_facts(target: str) -> DeviceFacts:
    return _DEVICES.get(target, _DEVICES["sm_90"])


class StubDriver:
    """Answers questions about the device; anything that would need a real one fails in the caller's own words."""

    def __init__(self, target: str, device: torch.device) -> None:
        self._target = gpu_target(target)
        self._device = device
        self.utils = self

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def set_current_device(self, device: int) -> None:
        pass

    def get_current_stream(self, device: int | None = None) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return self._device

    def get_device_interface(self) -> Any:
        return torch.cuda

    def get_device_properties(self, device: int) -> dict[str, int]:
        facts = device_facts(_name(self._target))
        return {
            "max_shared_mem": facts.shared_memory_per_block_optin,
            "max_num_regs": facts.regs_per_multiprocessor,
            "multiprocessor_count": facts.multi_processor_count,
            "warpSize": facts.warp_size,
        }

    def get_empty_cache_for_benchmark(self) -> Any:
        return torch.empty(0)

    def clear_cache(self, cache: Any) -> None:
        pass


def _name(target: GPUTarget) -> str:
    return target.arch if isinstance(target.arch, str) else f"sm_{target.arch}"


def install_stub_driver(target: str, device: str = "cpu") -> None:
    driver.set_active(StubDriver(target, torch.device(device)))


class _StandIn:
    """A stream or an event: everything that host code does with one is over at once."""

    cuda_stream = 0
    stream_id = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.device = torch.device("cuda", 0)

    def __enter__(self) -> _StandIn:
        return self

    def __exit__(self, *unused: object) -> None:
        pass

    def query(self) -> bool:
        return True

    def elapsed_time(self, other: object) -> float:
        return 0.0

    def _nothing(self, *args: Any, **kwargs: Any) -> None:
        pass

    synchronize = record = wait = wait_event = wait_stream = record_event = _nothing


class _Stream(_StandIn):
    """``entered`` is told when work is put on one that the host code made."""

    entered: Callable[..., object]
    is_own = True

    def __enter__(self) -> _StandIn:
        if self.is_own:
            self.entered()
        return self

    def set(self) -> None:
        """As the current one, until another is set."""
        if self.is_own:
            self.entered(for_good=True)

    @classmethod
    def current(cls, device: object = None) -> _Stream:
        found = cls()
        found.is_own = False
        return found


def _does_nothing() -> Callable[..., None]:
    """A new function at each call: torch._dynamo, which many modules load, tells functions apart by identity."""

    def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    return nothing


def _properties(target: str) -> SimpleNamespace:
    facts = device_facts(target)
    major, minor = _capability(target)
    optin = facts.shared_memory_per_block_optin
    return SimpleNamespace(
        **asdict(facts),
        major=major,
        minor=minor,
        gcnArchName=target if target.startswith("gfx") else facts.name,
        shared_memory_per_block=min(optin, 48 << 10),
        # The driver keeps 1 KiB of each block's share (CUDA C++ programming guide, compute capabilities 8.0 and newer).
        shared_memory_per_multiprocessor=optin + (1 << 10),
    )


def _questions(target: str) -> dict[str, Callable[..., Any]]:
    """What ``torch.cuda`` is asked about a device that nobody has to use for the answer."""
    properties = _properties(target)
    memory = (properties.total_memory, properties.total_memory)
    return {
        "is_bf16_supported": lambda including_emulation=True: properties.major >= 8,
        "current_device": lambda: 0,
        "get_device_capability": lambda device=None: (properties.major, properties.minor),
        "get_device_properties": lambda device=None: properties,
        "get_device_name": lambda device=None: properties.name,
        "mem_get_info": lambda device=None: memory,
    }


def answer_questions(target: str) -> None:
    """Let code ask about the target's device where there is none. Only in a child that ends with its step.

    Unlike under ``pretended_cuda`` no GPU is available and none is counted: whoever looks for one keeps to the CPU.
    """
    install_stub_driver(target)
    for name, answer in _questions(target).items():
        setattr(torch.cuda, name, answer)


@contextlib.contextmanager
def pretended_cuda(target: str, other_stream: Callable[..., object] = lambda for_good=False: None) -> Iterator[None]:
    """Let host code believe that it has the target's device. Only in a child that ends with its step.

    ``other_stream`` is called where work is put on another stream than the current one; ``for_good``: all that follows.
    """

    class Stream(_Stream):
        entered = staticmethod(other_stream)

    def on_stream(stream: Any = None) -> Any:
        return stream if isinstance(stream, Stream) else contextlib.nullcontext()

    replaced = {
        **_questions(target),
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "memory_allocated": lambda device=None: 0,
        "device": lambda device=None: contextlib.nullcontext(),
        "device_of": lambda tensor=None: contextlib.nullcontext(),
        "stream": on_stream,
        "set_stream": lambda stream: stream.set() if isinstance(stream, Stream) else None,
        "current_stream": Stream.current,
        "default_stream": Stream.current,
        "Stream": Stream,
        "Event": _StandIn,
        **{name: _does_nothing() for name in ("set_device", "synchronize", "empty_cache", "manual_seed")},
    }
    kept = {name: getattr(torch.cuda, name) for name in replaced}
    for name, value in replaced.items():
        setattr(torch.cuda, name, value)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(torch.cuda, name, value)


def _capability(target: str) -> tuple[int, int]:
    digits = "".join(ch for ch in target.partition("_")[2] if ch.isdigit())
    return (int(digits[:-1]), int(digits[-1])) if digits else (9, 0)
