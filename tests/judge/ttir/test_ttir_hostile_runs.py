"""Text that contradicts itself, or asks for too much, ends in an error of ours and in bounded time and memory."""

from __future__ import annotations

import contextlib
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve_core.judge.host.ttir.errors import TooLong, TtirError, Unsupported
from evolve_core.judge.host.ttir.launch import MOST_BYTES, BufferArgument, run_launch
from evolve_core.judge.host.ttir.memory import Memory
from evolve_core.judge.host.ttir.work import Budget

KERNEL = """
tt.func public @k(%x: !tt.ptr<f32>, %y: !tt.ptr<i32>, %n: i32) {
  %c1 = arith.constant 1 : i32
  %cst = arith.constant dense<1.500000e+00> : tensor<8xf32>
  %p = tt.get_program_id x : i32
  %r = tt.make_range {end = 8 : i32, start = 0 : i32} : tensor<8xi32>
  %b = tt.splat %x : !tt.ptr<f32> -> tensor<8x!tt.ptr<f32>>
  %q = tt.addptr %b, %r : tensor<8x!tt.ptr<f32>>, tensor<8xi32>
  %l = tt.splat %n : i32 -> tensor<8xi32>
  %m = arith.cmpi slt, %r, %l : tensor<8xi32>
  %v = tt.load %q, %m, %cst : tensor<8x!tt.ptr<f32>>
  %e = tt.expand_dims %v {axis = 1 : i32} : tensor<8xf32> -> tensor<8x1xf32>
  %w = tt.broadcast %e : tensor<8x1xf32> -> tensor<8x4xf32>
  %t = tt.trans %w {order = array<i32: 1, 0>} : tensor<8x4xf32> -> tensor<4x8xf32>
  %s = "tt.reduce"(%t) <{axis = 0 : i32}> ({
  ^bb0(%a0: f32, %a1: f32):
    %a2 = arith.addf %a0, %a1 : f32
    tt.reduce.return %a2 : f32
  }) : (tensor<4x8xf32>) -> tensor<8xf32>
  %z = scf.for %i = %c1 to %n step %c1 iter_args(%o = %s) -> (tensor<8xf32>) : i32 {
    %u = arith.mulf %o, %cst : tensor<8xf32>
    scf.yield %u : tensor<8xf32>
  }
  %d = tt.dot %w, %t, %dd : tensor<8x4xf32> * tensor<4x8xf32> -> tensor<8x8xf32>
  %h = arith.fptosi %z : tensor<8xf32> to tensor<8xi32>
  %g = arith.remsi %h, %l : tensor<8xi32>
  %k = tt.atomic_rmw add, acq_rel, gpu, %y, %p : (!tt.ptr<i32>, i32) -> i32
  tt.store %q, %z, %m : tensor<8x!tt.ptr<f32>>
  tt.return
}
""".replace("  %d = tt.dot", "  %dd = arith.constant dense<0.000000e+00> : tensor<8x8xf32>\n  %d = tt.dot")
SWAPS = {
    r"\bf32\b": ["i32", "f16", "f64", "i1", "bf16", "f8E5M2", "!tt.ptr<f32>"],
    r"\bi32\b": ["i64", "f32", "i1", "i8"],
    r"8x4x|4x8x|8x1x|8x8x|8x": ["4x", "8x4x", "4x8x", "1x", "16x", "8x1x8x", ""],
    r"\b(?:arith|tt|math)\.\w+": [
        "arith.addi", "arith.addf", "arith.select", "arith.bitcast", "tt.splat", "tt.reshape", "tt.broadcast",
        "tt.trans", "tt.load", "tt.join", "tt.split", "tt.cat", "tt.gather", "tt.int_to_ptr", "math.exp", "arith.extf",
        "arith.sitofp", "tt.histogram", "tt.unsplat", "arith.trunci", "tt.expand_dims",
    ],
    r"%\w+": ["%x", "%p", "%r", "%v", "%s", "%z", "%m", "%c1", "%a0", "%i"],
    r"\d+": ["0", "1", "2", "-1", "7", "4294967296"],
}  # fmt: skip


def run(text: str) -> None:
    memory = Memory()
    x, y = memory.add("x", np.ones(8, np.float32)), memory.add("y", np.zeros(1, np.int32))
    arguments = [BufferArgument(x), BufferArgument(y), 5]
    run_launch(text, "k", (3,), arguments, memory, Budget(elements=10**6, seconds=5))


def test_the_kernel_itself_runs() -> None:
    run(KERNEL)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_changed_kernel_runs_or_is_refused(data: st.DataObject) -> None:
    text = KERNEL
    for _ in range(data.draw(st.integers(1, 3))):
        pattern = data.draw(st.sampled_from(list(SWAPS)))
        places = list(re.finditer(pattern, text))
        place = data.draw(st.sampled_from(places))
        text = text[: place.start()] + data.draw(st.sampled_from(SWAPS[pattern])) + text[place.end() :]
    with contextlib.suppress(TtirError):
        run(text)


def test_values_beyond_memory_are_refused_before_they_are_made() -> None:
    count = MOST_BYTES // (8 << 20)
    splats = [f"%a{i} = tt.splat %n : i32 -> tensor<1048576xi32>" for i in range(count)]
    sums = [f"%b{i} = arith.addi %a{i}, %a{i} : tensor<1048576xi32>" for i in range(count)]
    lines = "\n".join([*splats, *sums])
    with pytest.raises(Unsupported, match="GiB at once"):
        run_launch(f"tt.func public @k(%n: i32) {{\n{lines}\ntt.return\n}}\n", "k", (1,), [1], Memory())


def test_a_grid_of_a_billion_programs_ends_by_its_budget() -> None:
    text = "tt.func public @k(%n: i32) {\n%a = arith.addi %n, %n : i32\ntt.return\n}\n"
    with pytest.raises(TooLong):
        run_launch(text, "k", (1 << 15, 1 << 15), [1], Memory(), Budget(elements=10**6))
