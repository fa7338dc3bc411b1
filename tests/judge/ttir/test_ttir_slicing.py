"""An address slice writes to the places that its kernel writes to, and computes nothing for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from evolve_core.judge.host.ttir.errors import BadIr
from evolve_core.judge.host.ttir.findings import Kind
from evolve_core.judge.host.ttir.launch import BufferArgument, run_launch
from evolve_core.judge.host.ttir.memory import NOBODY, Memory
from evolve_core.judge.host.ttir.parser import parse
from evolve_core.judge.host.ttir.plan import operations_of
from evolve_core.judge.host.ttir.slicing import address_slice, reads_memory

ENTRIES = [
    ("programs_that_go_different_ways", '{"x": torch.randn(37)}', "ttir_kernels"),
    ("returns_in_branches", '{"x": torch.randn(61)}', "ttir_kernels"),
    ("rearranged", '{"x": torch.randn(5, 16, 16)}', "ttir_kernels"),
    ("reductions_and_scans", '{"x": torch.randint(-9, 9, (3, 8, 16), dtype=torch.int32)}', "ttir_kernels"),
    ("atomics", '{"x": torch.randint(1, 1000, (11, 64), dtype=torch.int32)}', "ttir_kernels"),
    ("locked_sum", '{"x": torch.randn(19)}', "ttir_kernels"),
    ("last_program_adds_up", '{"x": torch.randn(16, 32)}', "ttir_kernels"),
    ("random_numbers", '{"seed": 1234567}', "ttir_kernels"),
    ("through_descriptors", '{"x": torch.randn(37, 52)}', "ttir_kernels"),
    ("softmax", '{"x": torch.randn(7, 33)}', "softmax"),
    ("layernorm", '{"x": torch.randn(5, 99).half(), "weight": torch.ones(99).half(), "bias": torch.ones(99).half()}',
     "layernorm"),
    ("matmul", '{"a": torch.randn(70, 40).half(), "b": torch.randn(40, 90).half()}', "matmul"),
    ("flash_attention", '{name: torch.randn(1, 2, 100, 32).half() for name in "qkv"}', "flash_attention"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "inputs", "module"), ENTRIES, ids=[one[0] for one in ENTRIES])
def test_a_slice_covers_what_its_kernel_writes(as_ttir: Callable, entry: str, inputs: str, module: str) -> None:
    ran = as_ttir(entry, inputs, module, sliced=True)
    assert (ran.error, ran.uncovered) == (None, [])


BLOCK = """
  %p = tt.get_program_id x : i32
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c3 = arith.constant 3 : i32
  %size = arith.constant 8 : i32
  %b = arith.muli %p, %size : i32
  %l = tt.make_range {end = 8 : i32, start = 0 : i32} : tensor<8xi32>
  %s = tt.splat %b : i32 -> tensor<8xi32>
  %o = arith.addi %s, %l : tensor<8xi32>
  %xs = tt.splat %x : !tt.ptr<f32> -> tensor<8x!tt.ptr<f32>>
  %xq = tt.addptr %xs, %o : tensor<8x!tt.ptr<f32>>, tensor<8xi32>
  %ys = tt.splat %y : !tt.ptr<f32> -> tensor<8x!tt.ptr<f32>>
  %yq = tt.addptr %ys, %o : tensor<8x!tt.ptr<f32>>, tensor<8xi32>
"""


def kernel(body: str) -> str:
    return f"tt.func public @k(%x: !tt.ptr<f32>, %y: !tt.ptr<f32>, %n: i32) {{{BLOCK}{body}\n  tt.return\n}}"


def covered(text: str, programs: int, n: int, elements: int, *, known: bool = True) -> tuple[np.ndarray, tuple]:
    """Who owns each element of y, and the findings."""
    memory = Memory()
    x = memory.add("x", np.arange(elements, dtype=np.float32), initialised=known)
    y = memory.add("y", np.zeros(elements, np.float32))
    sliced = address_slice(parse(text))
    report = run_launch(sliced, "k", (programs,), [BufferArgument(x), BufferArgument(y), n], memory)
    assert not y.elements(np.dtype(np.float32)).any()
    return y.owners[:-1], report.findings


LOOP = """
  %acc = scf.for %i = %c0 to %n step %c1 iter_args(%a = %xq) -> (tensor<8x!tt.ptr<f32>>) : i32 {
    %v = tt.load %a : tensor<8x!tt.ptr<f32>>
    %next = tt.addptr %a, %l : tensor<8x!tt.ptr<f32>>, tensor<8xi32>
    scf.yield %next : tensor<8x!tt.ptr<f32>>
  }
  %w = tt.load %acc : tensor<8x!tt.ptr<f32>>
  tt.store %yq, %w : tensor<8x!tt.ptr<f32>>"""


def test_a_loop_that_only_computes_is_gone() -> None:
    """Its reads would be far out of bounds."""
    text = kernel(LOOP)
    names = {one.name for one in operations_of(address_slice(parse(text)).functions["k"].body)}
    assert names.isdisjoint({"scf.for", "tt.load"})
    owners, findings = covered(text, 2, 1000, 24)
    assert (owners.tolist(), findings) == ([0] * 8 + [1] * 8 + [NOBODY] * 8, ())


STORES_IN_TURN = """
  %z = arith.constant dense<0.0> : tensor<8xf32>
  %r:2 = scf.for %i = %c0 to %n step %c1 iter_args(%a = %z, %q = %yq) -> (tensor<8xf32>, tensor<8x!tt.ptr<f32>>) : i32 {
    %v = tt.load %xq : tensor<8x!tt.ptr<f32>>
    %sum = arith.addf %a, %v : tensor<8xf32>
    tt.store %q, %sum : tensor<8x!tt.ptr<f32>>
    %eight = tt.splat %size : i32 -> tensor<8xi32>
    %next = tt.addptr %q, %eight : tensor<8x!tt.ptr<f32>>, tensor<8xi32>
    scf.yield %sum, %next : tensor<8xf32>, tensor<8x!tt.ptr<f32>>
  }"""


def test_a_loop_around_a_store_goes_on_without_its_values() -> None:
    text = kernel(STORES_IN_TURN)
    assert not reads_memory(address_slice(parse(text)))
    owners, findings = covered(text, 1, 2, 24)
    assert (owners.tolist(), findings) == ([0] * 16 + [NOBODY] * 8, ())


MASKED = """
  %v = tt.load %xq : tensor<8x!tt.ptr<f32>>
  %t = arith.constant dense<3.0> : tensor<8xf32>
  %m = arith.cmpf olt, %v, %t : tensor<8xf32>
  tt.store %yq, %t, %m : tensor<8x!tt.ptr<f32>>"""


def test_a_mask_out_of_memory_is_read() -> None:
    text = kernel(MASKED)
    assert reads_memory(address_slice(parse(text)))
    owners, findings = covered(text, 1, 0, 8)
    assert (owners.tolist(), findings) == ([0] * 3 + [NOBODY] * 5, ())


def test_a_mask_out_of_memory_that_nobody_knows_is_a_finding() -> None:
    _, findings = covered(kernel(MASKED), 1, 0, 8, known=False)
    assert [one.kind for one in findings] == [Kind.UNINITIALISED]


GUARDED = """
  %few = arith.cmpi slt, %p, %n : i32
  %v = tt.load %xq : tensor<8x!tt.ptr<f32>>
  scf.if %few {
    tt.store %yq, %v : tensor<8x!tt.ptr<f32>>
  }"""


def test_a_branch_around_a_store_stays() -> None:
    owners, _ = covered(kernel(GUARDED), 3, 2, 24)
    assert owners.tolist() == [0] * 8 + [1] * 8 + [NOBODY] * 8


def test_a_store_out_of_bounds_is_found() -> None:
    _, (finding,) = covered(kernel(LOOP), 4, 1, 24)
    assert (finding.kind, finding.message) == (Kind.OUT_OF_BOUNDS, "writes element 24 of y, which has 24")


def test_no_text_has_the_names_of_a_slice() -> None:
    with pytest.raises(BadIr, match="no operation"):
        parse(kernel("  covers %yq : tensor<8x!tt.ptr<f32>>"))
