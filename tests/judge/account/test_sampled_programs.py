"""Which programs stand for a grid, and what a few of a launch's programs do, run alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve_core.judge.host.account import sample
from evolve_core.judge.host.account.counting import CountedLaunch
from evolve_core.judge.host.account.records import work_of
from evolve_core.judge.host.ttir.errors import BadLaunch
from evolve_core.judge.host.ttir.launch import BufferArgument, LaunchArgument, run_launch
from evolve_core.judge.host.ttir.memory import Memory

GRIDS = st.tuples(st.integers(1, 3000), st.integers(1, 40), st.integers(1, 4))


def mean(samples: list[sample.Sample], work: object) -> float:
    assert callable(work)
    return sum(one.weight * work(one.program) for one in samples) / sum(one.weight for one in samples)


@settings(deadline=None)
@given(GRIDS, st.integers(1, 9), st.integers(0, 1 << 64))
def test_programs_that_are_alike_are_counted_exactly(grid: sample.Program, count: int, seed: int) -> None:
    samples = sample.drawn(grid, count, seed)
    assert all(0 <= place < size for one in samples for place, size in zip(one.program, grid, strict=True))
    assert len({one.program for one in samples}) == len(samples)
    assert sum(one.weight for one in samples) <= sample.total(grid) * (1 + 1e-9)
    assert {(0, 0, 0), (grid[0] - 1, grid[1] - 1, grid[2] - 1)} <= {one.program for one in samples}
    assert mean(samples, lambda program: 7.0) == pytest.approx(7.0)


@settings(deadline=None)
@given(st.integers(200, 10_000), st.integers(0, 1 << 64))
def test_work_that_grows_along_the_grid_is_met_at_its_mean(size: int, seed: int) -> None:
    """Causal attention: the later a program, the more it reads."""
    found = mean(sample.drawn((size, 1, 1), 4, seed), lambda program: program[0])
    assert found == pytest.approx((size - 1) / 2, rel=0.02)


def test_nobody_knows_the_programs_who_does_not_know_the_seed() -> None:
    drawn = [{one.program for one in sample.drawn((4096, 1, 1), 4, seed)} for seed in range(20)]
    assert len(set().union(*drawn)) > 40
    assert sample.drawn((4096, 1, 1), 4, 3) == sample.drawn((4096, 1, 1), 4, 3)


ADD = """
tt.func public @add(%x: !tt.ptr<f32>, %y: !tt.ptr<f32>, %n: i32) {
  %c = arith.constant 256 : i32
  %p = tt.get_program_id x : i32
  %s = arith.muli %p, %c : i32
  %r = tt.make_range {end = 256 : i32, start = 0 : i32} : tensor<256xi32>
  %t = tt.splat %s : i32 -> tensor<256xi32>
  %o = arith.addi %t, %r : tensor<256xi32>
  %m = tt.splat %n : i32 -> tensor<256xi32>
  %k = arith.cmpi slt, %o, %m : tensor<256xi32>
  %xs = tt.splat %x : !tt.ptr<f32> -> tensor<256x!tt.ptr<f32>>
  %xp = tt.addptr %xs, %o : tensor<256x!tt.ptr<f32>>, tensor<256xi32>
  %v = tt.load %xp, %k : tensor<256x!tt.ptr<f32>>
  %w = arith.addf %v, %v : tensor<256xf32>
  %ys = tt.splat %y : !tt.ptr<f32> -> tensor<256x!tt.ptr<f32>>
  %yp = tt.addptr %ys, %o : tensor<256x!tt.ptr<f32>>, tensor<256xi32>
  tt.store %yp, %w, %k : tensor<256x!tt.ptr<f32>>
  tt.return
}
"""
SUM = """
tt.func public @sum(%x: !tt.ptr<f32>, %y: !tt.ptr<f32>, %n: i32) {
  %zero = arith.constant 0 : i32
  %c = arith.constant 64 : i32
  %none = arith.constant dense<0.000000e+00> : tensor<64xf32>
  %r = tt.make_range {end = 64 : i32, start = 0 : i32} : tensor<64xi32>
  %xs = tt.splat %x : !tt.ptr<f32> -> tensor<64x!tt.ptr<f32>>
  %all = scf.for %i = %zero to %n step %c iter_args(%sum = %none) -> (tensor<64xf32>)  : i32 {
    %t = tt.splat %i : i32 -> tensor<64xi32>
    %o = arith.addi %t, %r : tensor<64xi32>
    %xp = tt.addptr %xs, %o : tensor<64x!tt.ptr<f32>>, tensor<64xi32>
    %v = tt.load %xp : tensor<64x!tt.ptr<f32>>
    %next = arith.addf %sum, %v : tensor<64xf32>
    scf.yield %next : tensor<64xf32>
  }
  %ys = tt.splat %y : !tt.ptr<f32> -> tensor<64x!tt.ptr<f32>>
  %yp = tt.addptr %ys, %r : tensor<64x!tt.ptr<f32>>, tensor<64xi32>
  tt.store %yp, %all : tensor<64x!tt.ptr<f32>>
  tt.return
}
"""


def on_memory(count: int, outputs: int) -> tuple[Memory, list[LaunchArgument], np.ndarray]:
    memory = Memory()
    x, y = np.ones(count, np.float32), np.zeros(outputs, np.float32)
    arguments = [BufferArgument(memory.add("x", x)), BufferArgument(memory.add("y", y)), count]
    return memory, arguments, y


def counted(text: str, kernel: str, count: int, grid: int, outputs: int) -> dict[str, object]:
    memory, arguments, _ = on_memory(count, outputs)
    launch = CountedLaunch(kernel, (grid, 1, 1), {"0": 4.0 * count, "1": 4.0 * outputs}, 4, 11)
    report = run_launch(text, kernel, (grid,), arguments, memory, programs=launch.programs, watcher=launch)
    assert report.clean
    work: dict[str, object] = work_of(launch.record, 0, [])
    return work


def test_only_the_named_programs_run() -> None:
    memory, arguments, y = on_memory(1000, 1000)
    report = run_launch(ADD, "add", (4,), arguments, memory, programs=[3, 1])
    assert (report.programs, report.clean, report.work.bytes_stored) == (2, True, 4 * (256 + 1000 - 3 * 256))
    assert set(np.flatnonzero(y)) == {*range(256, 512), *range(768, 1000)}


@pytest.mark.parametrize("number", [-1, 4])
def test_a_program_outside_of_the_grid_is_refused(number: int) -> None:
    memory, arguments, _ = on_memory(1000, 1000)
    with pytest.raises(BadLaunch, match="4 programs"):
        run_launch(ADD, "add", (4,), arguments, memory, programs=[number])


def test_a_sample_says_nothing_about_races_and_still_sees_strays() -> None:
    memory, arguments, _ = on_memory(1024, 64)
    every = run_launch(SUM, "sum", (2,), [arguments[1], arguments[1], 64], memory)
    assert [one.kind.value for one in every.findings] == []  # both write zeros
    memory, arguments, _ = on_memory(1024, 64)
    sampled = run_launch(ADD, "add", (4,), arguments, memory, programs=[0])
    assert [one.kind.value for one in sampled.findings] == ["out-of-bounds"]


def test_every_byte_of_an_addition() -> None:
    work = counted(ADD, "add", 1_000_000, 3907, 1_000_000)
    per_program = work["per_program"]
    assert isinstance(per_program, dict)
    assert (work["grid"], work["programs"]) == ([3907, 1, 1], 3907)
    # The last program has 64 of 256 elements: it stands for itself alone.
    assert 3907 * per_program["load_bytes"] == pytest.approx(4e6)
    assert 3907 * per_program["store_bytes"] == pytest.approx(4e6)
    assert per_program["fp_ops"] == 256
    assert per_program["memory_trips"] == pytest.approx(1)
    assert work["compulsory_bytes"] == pytest.approx(8e6)
    wave = work["wave_unique_sectors"]
    assert isinstance(wave, dict)
    assert wave["sectors"] == pytest.approx(wave["programs"] * per_program["unique_sectors"])


def test_a_loop_counts_its_steps_and_shares_what_all_read() -> None:
    work = counted(SUM, "sum", 64 * 100, 50, 64)
    per_program = work["per_program"]
    assert isinstance(per_program, dict)
    assert (per_program["loops"], per_program["loop_steps"], per_program["memory_trips"]) == (1, 100, 100)
    assert per_program["fp_ops"] == 64 * 100
    assert per_program["unique_sectors"] == 800
    wave = work["wave_unique_sectors"]
    assert isinstance(wave, dict)
    assert wave["sectors"] == pytest.approx(800)


def test_a_loop_that_is_cut_short_stands_for_all_of_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evolve_core.judge.host.account.counting._PROGRAM_EFFORT", 500_000)
    per_program = counted(SUM, "sum", 64 * 1000, 3, 64)["per_program"]
    assert isinstance(per_program, dict)
    assert per_program["loop_steps"] == pytest.approx(1000)
    assert per_program["load_bytes"] == pytest.approx(64 * 1000 * 4)
    assert per_program["unique_sectors"] == pytest.approx(8000)
