"""The kernel that keeps the device busy until a timed call is queued (clock.py), compiled once for all processes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .cuda_compiler import CudaCompileError, CudaCompilerMissing, compile_cubin
from .nvml import list_devices

_HOLD_SOURCE = """
extern "C" __global__ void hold(
    volatile unsigned* gate, unsigned* expired, unsigned turn, unsigned long long limit_ns) {
    if (threadIdx.x == 0) {
        unsigned long long start, now;
        asm volatile("mov.u64 %0, %globaltimer;" : "=l"(start));
        while (*gate < turn) {
            asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
            if (now - start > limit_ns) { *expired = turn; break; }
        }
    }
    __syncthreads();
}
"""


def compiled_hold(capability: str) -> bytes | None:
    """Its binary for ``capability`` ("9.0"); None where there is no compiler for that."""
    try:
        return compile_cubin(_HOLD_SOURCE, "hold.cu", capability).cubin
    except (CudaCompileError, CudaCompilerMissing):
        return None


def kept_hold(folder: Path, uuid: str) -> bytes | None:
    """The same for the device ``uuid``, compiled where ``folder`` does not have it yet.

    A confirmation starts half a dozen benches; NVRTC takes an interpreter of its own each time.
    """
    capability = next((one["capability"] for one in list_devices() if one["uuid"] == uuid), None)
    if capability is None:
        return None
    name = hashlib.sha256(f"{capability} {_HOLD_SOURCE}".encode()).hexdigest()[:16]
    kept = folder / f"hold-{name}.cubin"
    if kept.exists():
        return kept.read_bytes()
    binary = compiled_hold(capability)
    if binary is not None:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_suffix(".unfinished")
        unfinished.write_bytes(binary)
        unfinished.rename(kept)
    return binary
