"""One timed call on a cold or a warm cache, with the stream held until everything is queued.

The order inside a sample is: overwrite the L2 cache, block the device with the ``hold`` kernel, record the start
event, make the call (its launches queue up behind the hold), record the end event, open the gate, wait. The time
between the events is device work alone: no launch gap of the host counts. ``hold`` takes every thread slot of every
multiprocessor, so work that a candidate sneaks onto another stream cannot start before the start event either; it
shows up as time that the device stays busy after the end event (``tail_ns``).

On a warm cache, the ``touch`` kernel reads the call's inputs after the overwriting and before the hold. What fits of
them is in L2 then, as where an earlier layer of a network has just written them, and nothing else is. The call is not
made twice for that: a candidate could keep what the first one gave. Everything that it gets was poisoned before the
overwriting, as on a cold cache.

A call that waits for the device inside (``.item()``, ``torch.cuda.synchronize()``) cannot be held; the gate then
opens after ``limit`` and the sample says ``held: False``.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from .clock_kernels import compiled_kernels
from .driver import Driver
from .slots import span_bytes

_BLOCKS_PER_MULTIPROCESSOR = (
    2  # two blocks of half the thread slots each: 2 × 1024 on sm_80/90/100, 2 × 768 on sm_86/89
)
_SLEEP_CYCLES_PER_NS = (
    2.0  # above the highest boost clock of current parts (GHz), so that a sleep is at least as long as asked
)
_SLOWEST_HOLD_NS = 20_000_000
_SHORTEST_HOLD_NS = 500_000
_HOLD_MARGIN = 20
_EVENT_DEFAULT = 0
GATE, SLEEP = "gate", "sleep"


@dataclass(frozen=True)
class Sample:
    """``device_ns`` between the events; ``host_ns`` to queue the call; ``tail_ns`` the device stayed busy after the
    end event.
    """

    device_ns: float
    host_ns: int
    tail_ns: int
    held: bool


class Stopwatch:
    """Made before any candidate code is loaded, so that what it calls was looked up before anything could be
    replaced.
    """

    def __init__(self, kernels: bytes | None = None) -> None:
        """``kernels``: the binary of the clock's own; None: to be compiled."""
        torch.empty(1, device="cuda")  # makes torch's context the current one, which the driver calls below need
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        self._driver = Driver()
        self._start, self._end = self._event(), self._event()
        self.l2_bytes = int(getattr(properties, "L2_cache_size", 0)) or (64 << 20)
        self._flush_bytes = 2 * self.l2_bytes
        self._flush = torch.empty(self._flush_bytes, dtype=torch.uint8, device="cuda")
        self._multiprocessors = int(properties.multi_processor_count)
        self._threads_per_multiprocessor = int(getattr(properties, "max_threads_per_multi_processor", 2048))
        self._gate = torch.zeros(64, dtype=torch.int32, pin_memory=True)
        self._gate_words = (ctypes.c_uint32 * 64).from_address(self._gate.data_ptr())
        self._turn = 0
        self._limit_ns = _SLOWEST_HOLD_NS
        binary = kernels or compiled_kernels(f"{properties.major}.{properties.minor}")
        module = self._driver.load_module(binary) if binary else None
        self._hold = self._driver.function(module, "hold") if module else None
        self._touch = self._driver.function(module, "touch") if module else None
        self._sleep = torch.cuda._sleep
        self._now = time.perf_counter_ns

    def describe(self) -> dict[str, Any]:
        """The device and how it is held, for the observation's environment."""
        return {
            "device": torch.cuda.get_device_name(),
            "multiprocessors": self._multiprocessors,
            "l2_bytes": self.l2_bytes,
            "hold": self.hold_kind,
        }

    def peak_bytes(self) -> int:
        return int(torch.cuda.max_memory_allocated())

    @property
    def hold_kind(self) -> str:
        """ "gate" for the kernel above, "sleep" where it could not be compiled and torch's one-block sleep stands
        in: then ``touch`` is missing, too, and no cache can be warmed.
        """
        return GATE if self._hold is not None else SLEEP

    def expect(self, host_ns: float) -> None:
        """Say how long the host takes to queue a call; the hold waits that long with a wide margin, and no longer."""
        wanted = int(host_ns * _HOLD_MARGIN)
        self._limit_ns = max(_SHORTEST_HOLD_NS, min(wanted, _SLOWEST_HOLD_NS))

    def sample(self, call: Callable[[], Any], warm: Iterable[Any] = ()) -> tuple[Sample, Any]:
        """Time one ``call`` on an L2 cache that is cold, but for what fits of the device's tensors among ``warm``.

        Raises what the call raises, after the gate is open.
        """
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        self._driver.call(
            "cuMemsetD8Async",
            ctypes.c_uint64(self._flush.data_ptr()),
            ctypes.c_ubyte(0),
            ctypes.c_size_t(self._flush_bytes),
            stream,
        )
        for value in warm:
            if isinstance(value, torch.Tensor) and value.is_cuda and value.numel():
                self._read(value, stream)
        self._close_gate(stream)
        try:
            self._driver.call("cuEventRecord", self._start, stream)
            before = self._now()
            result = call()
            after = self._now()
            self._driver.call("cuEventRecord", self._end, stream)
        finally:
            held = self._open_gate()
        self._driver.call("cuEventSynchronize", self._end)
        ended = self._now()
        self._driver.call("cuCtxSynchronize")
        idle = self._now()
        return Sample(self._elapsed_ns(), after - before, idle - ended, held), result

    def end_to_end_ns(self, call: Callable[[], Any]) -> int:
        """Wall time of one call from an idle device to an idle device, as a user's program would wait for it."""
        self._driver.call("cuCtxSynchronize")
        before = self._now()
        call()
        self._driver.call("cuCtxSynchronize")
        return self._now() - before

    def _read(self, tensor: torch.Tensor, stream: ctypes.c_void_p) -> None:
        """The whole of the memory that a tensor spans, gaps included."""
        assert self._touch is not None
        arguments = [ctypes.c_uint64(tensor.data_ptr()), ctypes.c_uint64(span_bytes(tensor))]
        self._driver.launch(self._touch, *self._everywhere(), 0, stream.value or 0, arguments)

    def _everywhere(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Grid and block that take every thread slot of the device."""
        threads = self._threads_per_multiprocessor // _BLOCKS_PER_MULTIPROCESSOR
        return (self._multiprocessors * _BLOCKS_PER_MULTIPROCESSOR, 1, 1), (threads, 1, 1)

    def _close_gate(self, stream: ctypes.c_void_p) -> None:
        self._turn += 1
        if self._hold is None:
            self._sleep(int(self._limit_ns / _HOLD_MARGIN * 3 * _SLEEP_CYCLES_PER_NS))
            return
        base = self._gate.data_ptr()
        arguments = [
            ctypes.c_uint64(base),
            ctypes.c_uint64(base + 128),
            ctypes.c_uint32(self._turn),
            ctypes.c_uint64(self._limit_ns),
        ]
        self._driver.launch(self._hold, *self._everywhere(), 0, stream.value or 0, arguments)

    def _open_gate(self) -> bool:
        """Let the device go on; True where it had waited until now."""
        if self._hold is None:
            return self._driver.pending(self._start)
        held = self._gate_words[32] != self._turn
        self._gate_words[0] = self._turn
        return held

    def _elapsed_ns(self) -> float:
        milliseconds = ctypes.c_float()
        self._driver.call("cuEventElapsedTime", ctypes.byref(milliseconds), self._start, self._end)
        return milliseconds.value * 1e6

    def _event(self) -> ctypes.c_void_p:
        event = ctypes.c_void_p()
        self._driver.call("cuEventCreate", ctypes.byref(event), _EVENT_DEFAULT)
        return event
