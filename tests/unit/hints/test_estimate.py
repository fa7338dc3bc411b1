"""What the estimate must never get wrong, whatever its calibration."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve_core.hints.estimate import estimate, floor_us
from evolve_core.hints.model import KernelFacts, WorkProfile
from evolve_core.hints.parse import kernel_facts, work_profile
from evolve_core.hints.predict import predict
from evolve_core.hints.traffic import sharing
from evolve_core.targets import load, names

H100 = load("sm_90")

COPY = KernelFacts(
    "copy", "sm_90", registers=32, spill_bytes=0, shared_bytes=0, num_warps=4, num_stages=3,
    instructions={"ld": 2, "st": 1, "add": 20}, load_bits=(128,), store_bits=(128,),
)  # fmt: skip
"""One program copies 1024 fp32 values."""
COPY_WORK = WorkProfile(
    "w", "copy", (65536, 1, 1), load_bytes_per_program=4096, store_bytes_per_program=4096,
    load_sectors_per_program=128,
    store_sectors_per_program=128, unique_sectors_per_program=128, fp_ops_per_program=1024,
    compulsory_bytes=65536 * 8192,
    load_lines_per_program=32, store_lines_per_program=32, memory_trips_per_program=1,
)  # fmt: skip
MATMUL = KernelFacts(
    "matmul", "sm_90", registers=168, spill_bytes=0, shared_bytes=98304, num_warps=4, num_stages=3,
    instructions={"wgmma": 8, "cp": 32, "add": 200, "loop.wgmma": 8, "loop.cp": 16, "loop.add": 60}, load_bits=(128,),
    store_bits=(128,), tensor_core="wgmma", async_copy=True,
)  # fmt: skip
MATMUL_WORK = WorkProfile(
    "w", "matmul", (1024, 1, 1), load_bytes_per_program=64 * 32768, store_bytes_per_program=32768,
    load_sectors_per_program=65536, store_sectors_per_program=1024, unique_sectors_per_program=65536,
    dot_flops_per_program={"fp16": 64 * 2.0 * 128 * 128 * 64}, loop_steps_per_program=64, loops_per_program=1,
    compulsory_bytes=3 * 2 * 4096 * 4096, dot_tile=(128, 128, 64), load_lines_per_program=16384,
    memory_trips_per_program=64, wave_programs=128, wave_unique_sectors=32768 * 36.0,
)  # fmt: skip


def us(facts: KernelFacts, work: WorkProfile, target: str = "sm_90") -> float:
    return estimate(facts, work, load(target)).time_us


def test_a_large_copy_takes_what_the_bandwidth_allows() -> None:
    found = estimate(COPY, COPY_WORK, H100)
    assert found.bound == "dram"
    assert 1.0 < found.time_us / (COPY_WORK.compulsory_bytes / 3352e3) < 1.4


def test_a_large_matmul_is_bound_by_its_products_or_the_l2() -> None:
    found = estimate(MATMUL, MATMUL_WORK, H100)
    assert found.bound in ("tensor", "l2")
    assert 1.0 < found.time_us / (2 * 4096**3 / 989.4e6) < 2.5


def test_an_empty_launch_costs_the_launch() -> None:
    nothing = WorkProfile("w", "k", (1, 1, 1), 0, 0, 0, 0, 0)
    found = estimate(COPY, nothing, H100)
    assert found.bound == "launch"
    assert found.time_us >= H100.limits.launch_overhead_us


works = st.builds(
    WorkProfile,
    workload=st.just("w"),
    kernel=st.just("k"),
    grid=st.tuples(st.integers(1, 100_000), st.just(1), st.just(1)),
    load_bytes_per_program=st.floats(0, 1e6),
    store_bytes_per_program=st.floats(0, 1e6),
    load_sectors_per_program=st.floats(0, 1e5),
    store_sectors_per_program=st.floats(0, 1e5),
    unique_sectors_per_program=st.floats(0, 1e5),
    dot_flops_per_program=st.dictionaries(st.sampled_from(["fp16", "fp32", "fp8"]), st.floats(0, 1e9), max_size=2),
    fp_ops_per_program=st.floats(0, 1e6),
    special_ops_per_program=st.floats(0, 1e5),
    int_ops_per_program=st.floats(0, 1e6),
    loop_steps_per_program=st.integers(0, 200).map(float),
    loops_per_program=st.integers(0, 3).map(float),
    compulsory_bytes=st.floats(0, 1e10),
    wave_programs=st.integers(0, 256),
    wave_unique_sectors=st.floats(0, 1e6),
)  # fmt: skip
facts = st.builds(
    KernelFacts,
    name=st.just("k"),
    target=st.just("sm_90"),
    registers=st.integers(8, 300),
    spill_bytes=st.sampled_from([0, 64]),
    shared_bytes=st.integers(0, 300_000),
    num_warps=st.sampled_from([1, 2, 4, 8, 16, 32]),
    num_stages=st.integers(1, 5),
    load_bits=st.sampled_from([(), (16,), (32, 128)]),
    tensor_core=st.sampled_from([None, "mma", "wgmma", "mfma"]),
    async_copy=st.booleans(),
)


@settings(deadline=None)
@given(facts, works, st.sampled_from(names()))
def test_never_below_the_roofline_and_always_a_number_or_a_reason(k: KernelFacts, w: WorkProfile, name: str) -> None:
    target = load(name)
    found = estimate(k, w, target)
    if found.launchable:
        assert math.isfinite(found.time_us)
        assert found.time_us >= floor_us(w, target)
        assert found.why_not == ""
        assert found.bound in ("dram", "l2", "tensor", "fp32", "special", "issue", "latency", "launch")
    else:
        assert found.why_not
        assert math.isinf(found.time_us)


GROWING = [
    "load_bytes_per_program", "store_bytes_per_program", "fp_ops_per_program", "special_ops_per_program",
    "reductions_per_program", "atomic_ops_per_program",
]  # fmt: skip
TRAFFIC = [
    "load_bytes_per_program", "store_bytes_per_program", "load_sectors_per_program", "store_sectors_per_program",
    "unique_sectors_per_program", "wave_unique_sectors", "compulsory_bytes",
]  # fmt: skip


@settings(deadline=None)
@given(facts, works, st.sampled_from(GROWING), st.floats(1.01, 10))
def test_more_work_is_never_faster(k: KernelFacts, w: WorkProfile, field: str, factor: float) -> None:
    here, there = estimate(k, w, H100), estimate(k, replace(w, **{field: getattr(w, field) * factor + 1}), H100)
    if here.launchable:
        assert there.time_us >= here.time_us * (1 - 1e-9)


@settings(deadline=None)
@given(facts, works, st.floats(1.01, 10))
def test_more_traffic_of_the_same_kind_is_never_faster(k: KernelFacts, w: WorkProfile, factor: float) -> None:
    more = replace(w, **{field: getattr(w, field) * factor for field in TRAFFIC})
    here, there = estimate(k, w, H100), estimate(k, more, H100)
    if here.launchable:
        assert there.time_us >= here.time_us * (1 - 1e-9)


@settings(deadline=None)
@given(works, st.floats(1.1, 4))
def test_more_bytes_that_must_move_are_never_faster(w: WorkProfile, factor: float) -> None:
    assert us(COPY, replace(w, compulsory_bytes=w.compulsory_bytes * factor)) >= us(COPY, w) * (1 - 1e-9)


def test_strided_access_costs() -> None:
    strided = replace(
        COPY_WORK, load_sectors_per_program=1024, unique_sectors_per_program=1024, load_lines_per_program=256
    )
    assert us(COPY, strided) > 1.5 * us(COPY, COPY_WORK)


def test_narrow_loads_cost_where_the_load_units_are_busy() -> None:
    rereading = replace(COPY_WORK, load_bytes_per_program=4096 * 16, load_sectors_per_program=128 * 16)
    assert us(replace(COPY, load_bits=(16,)), rereading) > us(COPY, rereading)


def test_a_second_pass_over_memory_costs() -> None:
    twice = replace(
        COPY_WORK, load_bytes_per_program=8192, load_sectors_per_program=256, load_lines_per_program=64,
        memory_trips_per_program=2, fp_ops_per_program=2048,
    )  # fmt: skip
    assert us(COPY, twice) > us(COPY, COPY_WORK)


def test_many_small_programs_cost_their_start() -> None:
    def split(parts: int) -> WorkProfile:
        each = {
            name: getattr(COPY_WORK, name) / parts
            for name in COPY_WORK.__dataclass_fields__
            if name.endswith("_per_program") and isinstance(getattr(COPY_WORK, name), (int, float))
        }
        return replace(COPY_WORK, grid=(65536 * parts, 1, 1), **each)

    assert us(COPY, split(16)) > 2 * us(COPY, COPY_WORK)


def test_spills_cost() -> None:
    assert us(replace(COPY, spill_bytes=512), COPY_WORK) > us(COPY, COPY_WORK)


def test_a_product_without_matrix_instructions_costs() -> None:
    assert us(replace(MATMUL, tensor_core=None), MATMUL_WORK) > 5 * us(MATMUL, MATMUL_WORK)
    assert us(replace(MATMUL, tensor_core="mma"), MATMUL_WORK) > us(MATMUL, MATMUL_WORK)
    without = us(replace(MATMUL, tensor_core=None), MATMUL_WORK, "sm_100")
    assert us(replace(MATMUL, tensor_core="tcgen05"), MATMUL_WORK, "sm_100") < without / 5


def test_what_programs_share_need_not_come_from_dram_again() -> None:
    apart = replace(MATMUL_WORK, compulsory_bytes=3e9, wave_programs=0)
    assert sharing(apart, 256) == 1.0
    together = replace(apart, wave_programs=256, wave_unique_sectors=65536 * 16.0)
    assert sharing(together, 256) == pytest.approx(1 / 16)
    assert sharing(together, 64) == pytest.approx(1 / 8)
    assert us(MATMUL, together) < us(MATMUL, apart)


def test_a_program_that_cannot_start_says_why() -> None:
    found = estimate(replace(COPY, shared_bytes=240_000), COPY_WORK, H100)
    assert not found.launchable
    assert found.why_not == "240000 bytes of shared memory in a program, sm_90 allows 232448"


def test_a_workload_is_the_sum_of_its_launches() -> None:
    both = predict([(COPY, COPY_WORK), (MATMUL, MATMUL_WORK)], H100)
    assert both.time_us == pytest.approx(us(COPY, COPY_WORK) + us(MATMUL, MATMUL_WORK))
    refused = predict([(COPY, COPY_WORK), (replace(COPY, num_warps=64), COPY_WORK)], H100)
    assert (refused.launchable, math.isinf(refused.time_us)) == (False, True)
    assert "64 warps" in refused.why_not


def test_a_faster_device_is_estimated_faster() -> None:
    assert us(COPY, COPY_WORK, "h200") < us(COPY, COPY_WORK, "sm_90") < us(COPY, COPY_WORK, "sm_80")


def test_parsing_keeps_what_the_host_sent_and_survives_what_it_did_not() -> None:
    work = work_profile(
        {
            "workload": "w", "kernel": "k", "grid": [7, 2, 1], "compulsory_bytes": 10,
            "wave_unique_sectors": {"programs": 4, "sectors": 9},
            "per_program": {"load_bytes": 5, "dot_flops": {"fp16": 3}, "dot_tile": [1, 2, 3], "memory_trips": 2},
        }
    )  # fmt: skip
    assert (work.programs, work.load_bytes_per_program, work.dot_tile) == (14, 5, (1, 2, 3))
    assert (work.wave_programs, work.wave_unique_sectors, work.memory_trips_per_program) == (4, 9, 2)
    assert work_profile({"grid": [1, 1, 1], "wave_unique_sectors": None}).wave_programs == 0
    sent = {"name": "k", "registers": 9, "load_bits": [128], "tensor_core": None, "instructions": {"ld": 2}, "new": 1}
    assert kernel_facts(sent).load_bits == (128,)
    assert kernel_facts({}).num_warps == 4
