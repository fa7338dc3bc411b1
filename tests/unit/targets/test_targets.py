"""The data files, and occupancy against what NVIDIA's occupancy calculator gives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve_core.targets import UnknownTarget, load, names
from evolve_core.targets.occupancy import Limiter, occupancy, why_not_launchable
from evolve_core.targets.roofline import peak_tflops, roofline_us

ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120", "gfx942", "gfx950", "gfx1100")


def test_every_architecture_is_there_and_names_its_sources() -> None:
    assert set(ARCHITECTURES) <= set(names())
    for name in names():
        target = load(name)
        assert target.sources, name
        assert target.architecture in ARCHITECTURES
        assert target.name == name


def test_values_called_assumed_exist() -> None:
    for name in names():
        target = load(name)
        fields = {f for part in (target.limits, target.sm, target.per_clock) for f in part.__dataclass_fields__}
        assert set(target.assumed) <= fields, name


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(UnknownTarget, match=r"unknown target 'sm_61': use one of sm_80, .*gfx1100"):
        load("sm_61")


@pytest.mark.parametrize("name", [n for n in names() if n.startswith("sm_")])
def test_vector_peak_agrees_with_lanes_and_clock(name: str) -> None:
    """Two facts from one data sheet: lanes × 2 × SMs × clock is the fp32 peak, within the clock the vendor used."""
    target = load(name)
    computed = target.per_clock.fp32_lanes * 2 * target.limits.sms * target.limits.clock_mhz * 1e-6
    assert computed == pytest.approx(target.peak_tflops["fp32"], rel=0.1)


# (target, registers, shared bytes, warps) → programs per SM and limiter, by the calculator's rules: registers
# of a warp rounded up to 256, warps per SM down to a multiple of 4, shared memory plus 1 KiB rounded up to 128 bytes.
CALCULATOR = [
    ("sm_90", 32, 0, 8, 8, Limiter.WARPS),
    ("sm_90", 33, 0, 8, 6, Limiter.REGISTERS),
    ("sm_90", 40, 0, 8, 6, Limiter.REGISTERS),
    ("sm_90", 64, 0, 4, 8, Limiter.REGISTERS),
    ("sm_90", 65, 0, 4, 7, Limiter.REGISTERS),
    ("sm_90", 128, 0, 8, 2, Limiter.REGISTERS),
    ("sm_90", 168, 0, 4, 3, Limiter.REGISTERS),
    ("sm_90", 255, 0, 4, 2, Limiter.REGISTERS),
    ("sm_90", 255, 0, 8, 1, Limiter.REGISTERS),
    ("sm_90", 16, 0, 1, 32, Limiter.PROGRAMS),
    ("sm_90", 16, 227 * 1024, 4, 1, Limiter.SHARED),
    ("sm_90", 16, 113 * 1024, 4, 2, Limiter.SHARED),
    ("sm_90", 16, 114 * 1024, 4, 1, Limiter.SHARED),
    ("sm_80", 32, 48 * 1024, 4, 3, Limiter.SHARED),
    ("sm_80", 96, 0, 8, 2, Limiter.REGISTERS),
    ("sm_86", 32, 0, 4, 12, Limiter.WARPS),
    ("sm_86", 24, 0, 2, 16, Limiter.PROGRAMS),
    ("sm_89", 24, 0, 2, 24, Limiter.WARPS),
    ("sm_89", 42, 0, 8, 5, Limiter.REGISTERS),
]


@pytest.mark.parametrize(("name", "registers", "shared", "warps", "programs", "limiter"), CALCULATOR)
def test_occupancy_is_the_calculators(
    name: str, registers: int, shared: int, warps: int, programs: int, limiter: Limiter
) -> None:
    found = occupancy(load(name), registers, shared, warps)
    assert (found.programs_per_sm, found.limiter) == (programs, limiter)
    assert found.active_warps == programs * warps
    assert found.fraction == pytest.approx(programs * warps / load(name).sm.max_warps)


@settings(deadline=None)
@given(
    st.sampled_from(names()),
    st.integers(1, 255),
    st.integers(0, 200_000),
    st.sampled_from([1, 2, 4, 8, 16]),
    st.integers(0, 60),
    st.integers(0, 40_000),
)
def test_more_of_anything_never_raises_occupancy(
    name: str, registers: int, shared: int, warps: int, more_registers: int, more_shared: int
) -> None:
    target = load(name)
    here = occupancy(target, registers, shared, warps)
    assert 0 <= here.fraction <= 1
    assert occupancy(target, registers + more_registers, shared, warps).programs_per_sm <= here.programs_per_sm
    assert occupancy(target, registers, shared + more_shared, warps).programs_per_sm <= here.programs_per_sm


@settings(deadline=None)
@given(st.sampled_from(names()), st.integers(1, 512), st.integers(0, 300_000), st.sampled_from([1, 2, 4, 8, 16, 32]))
def test_a_program_that_may_start_fits(name: str, registers: int, shared: int, warps: int) -> None:
    target = load(name)
    if not why_not_launchable(target, registers, shared, warps):
        assert occupancy(target, registers, shared, warps).programs_per_sm >= 1


def test_why_a_program_cannot_start() -> None:
    target = load("sm_90")
    assert why_not_launchable(target, 64, 1024, 4) == ""
    assert "232449 bytes of shared memory" in why_not_launchable(target, 64, 232449, 4)
    assert "255 registers × 512 threads" in why_not_launchable(target, 255, 0, 16)
    assert "64 warps" in why_not_launchable(target, 16, 0, 64)


def test_the_roofline_is_the_slower_of_memory_and_products() -> None:
    target = load("sm_90")
    assert roofline_us(target, 3352e6, {}) == pytest.approx(1000)
    assert roofline_us(target, 0, {"fp16": 989.4e9}) == pytest.approx(1000)
    assert roofline_us(target, 3352e6, {"fp16": 989.4e9 * 2}) == pytest.approx(2000)
    assert roofline_us(target, 0, {"tf32": 494.7e9, "fp16": 989.4e9}) == pytest.approx(2000)
    assert peak_tflops(target, "fp32") == 66.9
