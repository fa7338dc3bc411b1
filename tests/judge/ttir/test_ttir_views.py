"""Tensor descriptors made by the host, block pointers, and inline assembly: forms that the examples do not have."""

from __future__ import annotations

import numpy as np
import pytest
from one_operation import on_arrays

from evolve_core.judge.host.ttir.errors import BadLaunch, Unsupported
from evolve_core.judge.host.ttir.findings import Kind
from evolve_core.judge.host.ttir.launch import BufferArgument, DescriptorArgument, LaunchReport, run_launch
from evolve_core.judge.host.ttir.memory import Memory

FROM_THE_HOST = """
module {
  tt.func public @copy(%d: !tt.tensordesc<4x8xf32>, %n: i32, %m: i32, %s: i64, %t: i64, %o: !tt.ptr<f32>) {
    %c4 = arith.constant 4 : i32
    %c8 = arith.constant 8 : i32
    %c0 = arith.constant 0 : i32
    %p = tt.get_program_id x : i32
    %row = arith.muli %p, %c4 : i32
    %e = tt.make_tensor_descriptor %o, [%n, %m], [%s, %t] : <f32>, <4x8xf32>
    %v = tt.descriptor_load %d[%row, %c0] : !tt.tensordesc<4x8xf32> -> tensor<4x8xf32>
    tt.descriptor_store %e[%row, %c0], %v : !tt.tensordesc<4x8xf32>, tensor<4x8xf32>
    tt.return
  }
}
"""


def test_a_descriptor_made_by_the_host() -> None:
    memory = Memory()
    source, target = np.arange(50, dtype=np.float32), np.zeros(50, np.float32)
    x, y = memory.add("x", source), memory.add("y", target)
    descriptor = DescriptorArgument(BufferArgument(x), (10, 5), (5, 1))
    report = run_launch(FROM_THE_HOST, "copy", (3,), [descriptor, 10, 5, 5, 1, BufferArgument(y)], memory)
    assert (report.findings, report.written) == ((), ("y",))
    assert report.work.bytes_loaded == report.work.bytes_stored == 200
    np.testing.assert_array_equal(source, target)


def test_a_descriptor_of_other_dimensions_is_refused() -> None:
    memory = Memory()
    x = BufferArgument(memory.add("x", np.zeros(50, np.float32)))
    with pytest.raises(BadLaunch, match="descriptor of 1 dimensions"):
        run_launch(FROM_THE_HOST, "copy", (1,), [DescriptorArgument(x, (50,), (1,)), 10, 5, 5, 1, x], memory)


def by_block_pointers(check: str, padding: str) -> tuple[np.ndarray, LaunchReport]:
    """A matrix of 6 × 10 in a row-major buffer, moved on by blocks of 4 × 8, each plus one."""
    text = f"""
tt.func public @k(%x: !tt.ptr<f32>, %y: !tt.ptr<f32>, %n: i64, %m: i64) {{
  %c0 = arith.constant 0 : i32
  %c4 = arith.constant 4 : i32
  %c8 = arith.constant 8 : i32
  %one = arith.constant 1 : i64
  %plus = arith.constant dense<1.0> : tensor<4x8xf32>
  %cols = arith.constant 10 : i32
  %a = tt.make_tensor_ptr %x, [%n, %m], [%m, %one], [%c0, %c0] {{order = array<i32: 1, 0>}} : <tensor<4x8xf32>>
  %b = tt.make_tensor_ptr %y, [%n, %m], [%m, %one], [%c0, %c0] {{order = array<i32: 1, 0>}} : <tensor<4x8xf32>>
  %r:2 = scf.for %i = %c0 to %cols step %c8 iter_args(%p = %a, %q = %b)
      -> (!tt.ptr<tensor<4x8xf32>>, !tt.ptr<tensor<4x8xf32>>) : i32 {{
    %v = tt.load %p {{{check}{padding}}} : !tt.ptr<tensor<4x8xf32>>
    %w = arith.addf %v, %plus : tensor<4x8xf32>
    tt.store %q, %w {{{check}}} : !tt.ptr<tensor<4x8xf32>>
    %p2 = tt.advance %p, [%c0, %c8] : <tensor<4x8xf32>>
    %q2 = tt.advance %q, [%c0, %c8] : <tensor<4x8xf32>>
    scf.yield %p2, %q2 : !tt.ptr<tensor<4x8xf32>>, !tt.ptr<tensor<4x8xf32>>
  }}
  tt.return
}}
"""
    memory = Memory()
    x, y = memory.add("x", np.arange(60, dtype=np.float32)), memory.add("y", np.zeros(60, np.float32))
    report = run_launch(text, "k", (1,), [BufferArgument(x), BufferArgument(y), 6, 10], memory)
    return y.elements(np.dtype(np.float32)).reshape(6, 10), report


def test_block_pointers_stop_at_the_edges_that_are_checked() -> None:
    out, report = by_block_pointers("boundaryCheck = array<i32: 0, 1>", ", padding = 2 : i32")
    assert report.findings == ()
    wanted = np.zeros((6, 10), np.float32)
    wanted[:4] = np.arange(40).reshape(4, 10) + 1
    np.testing.assert_array_equal(out, wanted)
    assert report.work.bytes_loaded == 40 * 4


def test_block_pointers_run_over_an_edge_that_is_not_checked() -> None:
    out, report = by_block_pointers("boundaryCheck = array<i32: 0>", "")
    # Columns 10 to 15 of a row are columns 0 to 5 of the next one, which is in bounds for all but nobody's business.
    assert out[4, 0] == 41
    assert report.findings == ()


SOFTPLUS = (
    "{ .reg .pred p; setp.gt.f32 p, $1, 15.; @p mov.f32 $0, $1; @!p ex2.approx.ftz.f32 $0, $1; "
    "@!p add.f32 $0, $0, 1.0; @!p lg2.approx.ftz.f32 $0, $0; }"
)


def assembly(text: str) -> str:
    properties = '{{constraints = \\"=r,r\\", packed_element = 1 : i32, pure = true}}'.replace("\\", "")
    return (
        f'tt.elementwise_inline_asm "{text.replace("{", "{{").replace("}", "}}")}" {properties} {{0}} : {{t0}} -> {{r}}'
    )


def test_softplus_in_assembly() -> None:
    values = np.linspace(-20, 30, 500).astype(np.float32)
    ours, _ = on_arrays(assembly(SOFTPLUS), ["f32"], [values], "f32", np.float32)
    wanted = np.where(values > 15, values, np.log2(1 + np.exp2(values.astype(np.float64))))
    np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("bar.sync 0;", "bar.sync"),
        ("mov.f32 $0, %clock;", "%clock"),
        ("@p mov.f32 $0, $1;", "@p"),
        ("add.f32 $0, $1;", "add.f32"),
        ("", "no result"),
    ],
)
def test_other_assembly_is_not_supported(text: str, names: str) -> None:
    with pytest.raises(Unsupported, match=names):
        on_arrays(assembly(text), ["f32"], [np.zeros(1, np.float32)], "f32", np.float32)


def test_an_address_out_of_an_integer_is_looked_up() -> None:
    text = """
tt.func public @k(%x: !tt.ptr<i64>, %y: !tt.ptr<i64>) {
  %a = tt.load %x : !tt.ptr<i64>
  %p = tt.int_to_ptr %a : i64 -> !tt.ptr<i64>
  %v = tt.load %p : !tt.ptr<i64>
  tt.store %y, %v : !tt.ptr<i64>
  tt.return
}
"""
    for shift, wanted in ((0, 7), (8, 0)):
        memory = Memory()
        far = memory.add("far", np.array([7], np.int64))
        table = memory.add("table", np.array([far.base + shift], np.int64))
        out = np.zeros(1, np.int64)
        report = run_launch(text, "k", (1,), [BufferArgument(table), BufferArgument(memory.add("out", out))], memory)
        assert out[0] == wanted
        assert [one.kind for one in report.findings] == ([Kind.OUT_OF_BOUNDS] if shift else [])
