"""The kernels of the clock (clock.py), compiled once for all processes.

``hold`` keeps the device busy until a timed call is queued, ``touch`` reads memory into the L2 cache.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from .cuda_compiler import CudaCompileError, CudaCompilerMissing, compile_cubin
from .nvml import list_devices

_SOURCE = """
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

// A byte of every sector is enough. Volatile: nobody uses what was read, and it has to be read all the same.
extern "C" __global__ void touch(volatile const unsigned char* start, unsigned long long bytes) {
    const unsigned long long sector = 32, step = sector * gridDim.x * blockDim.x;
    unsigned long long at = sector * (blockIdx.x * blockDim.x + threadIdx.x);
    for (; at < bytes + sector - 1; at += step) {
        const unsigned char read = start[at < bytes ? at : bytes - 1];
        (void)read;
    }
}
"""


def compiled_kernels(capability: str) -> bytes | None:
    """Their binary for ``capability`` ("9.0"); None where there is no compiler for that."""
    try:
        return compile_cubin(_SOURCE, "clock.cu", capability).cubin
    except (CudaCompileError, CudaCompilerMissing):
        return None


def kept_kernels(folder: Path, uuid: str) -> bytes | None:
    """The same for the device ``uuid``, compiled where ``folder`` does not have it yet.

    A confirmation starts half a dozen benches; NVRTC takes an interpreter of its own each time.
    """
    capability = next((one["capability"] for one in list_devices() if one["uuid"] == uuid), None)
    if capability is None:
        return None
    name = hashlib.sha256(f"{capability} {_SOURCE}".encode()).hexdigest()[:16]
    kept = folder / f"clock-{name}.cubin"
    if kept.exists():
        return kept.read_bytes()
    binary = compiled_kernels(capability)
    if binary is not None:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_suffix(".unfinished")
        unfinished.write_bytes(binary)
        unfinished.rename(kept)
    return binary
