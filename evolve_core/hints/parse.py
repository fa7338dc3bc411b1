"""From the judge host's JSON to facts and profiles. What is missing there is zero here; what is unknown is ignored."""

from __future__ import annotations

from typing import Any

from evolve_core.hints.model import KernelFacts, WorkProfile


def kernel_facts(data: dict[str, Any]) -> KernelFacts:
    """A ``KernelFacts`` object of the judge-host protocol."""
    return KernelFacts(
        name=str(data.get("name", "")),
        target=str(data.get("target", "")),
        registers=int(data.get("registers") or 0),
        spill_bytes=int(data.get("spill_bytes") or 0),
        shared_bytes=int(data.get("shared_bytes") or 0),
        num_warps=int(data.get("num_warps") or 4),
        num_stages=int(data.get("num_stages") or 1),
        stack_bytes=int(data.get("stack_bytes") or 0),
        instructions={str(name): int(count) for name, count in (data.get("instructions") or {}).items()},
        load_bits=tuple(int(bits) for bits in data.get("load_bits") or ()),
        store_bits=tuple(int(bits) for bits in data.get("store_bits") or ()),
        tensor_core=data.get("tensor_core") or None,
        async_copy=bool(data.get("async_copy")),
        constexprs={str(name): str(value) for name, value in (data.get("constexprs") or {}).items()},
        binary_sha256=str(data.get("binary_sha256") or ""),
    )


def work_profile(data: dict[str, Any]) -> WorkProfile:
    """A ``WorkProfile`` object of the judge-host protocol."""
    per_program = data.get("per_program") or {}
    wave = data.get("wave_unique_sectors") or {}

    def mean(name: str) -> float:
        return float(per_program.get(name) or 0.0)

    x, y, z = (int(size) for size in data.get("grid", (1, 1, 1)))
    m, n, k = (int(size) for size in per_program.get("dot_tile") or (0, 0, 0))
    return WorkProfile(
        workload=str(data.get("workload", "")),
        kernel=str(data.get("kernel", "")),
        grid=(x, y, z),
        load_bytes_per_program=mean("load_bytes"),
        store_bytes_per_program=mean("store_bytes"),
        load_sectors_per_program=mean("load_sectors"),
        store_sectors_per_program=mean("store_sectors"),
        unique_sectors_per_program=mean("unique_sectors"),
        dot_flops_per_program={
            str(dtype): float(flops) for dtype, flops in (per_program.get("dot_flops") or {}).items()
        },
        fp_ops_per_program=mean("fp_ops"),
        special_ops_per_program=mean("special_ops"),
        int_ops_per_program=mean("int_ops"),
        atomic_ops_per_program=mean("atomic_ops"),
        loop_steps_per_program=mean("loop_steps"),
        reductions_per_program=mean("reductions"),
        compulsory_bytes=float(data.get("compulsory_bytes") or 0.0),
        wave_programs=int(wave.get("programs") or 0),
        wave_unique_sectors=float(wave.get("sectors") or 0.0),
        loops_per_program=mean("loops"),
        load_lines_per_program=mean("load_lines"),
        store_lines_per_program=mean("store_lines"),
        memory_trips_per_program=mean("memory_trips"),
        dot_tile=(m, n, k),
        trusted=bool(data.get("trusted")),
    )
