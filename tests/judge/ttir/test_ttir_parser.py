"""Reading TTIR: what Triton prints, and text that no compiler printed."""

from __future__ import annotations

import contextlib
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve_core.judge.host.ttir.errors import BadIr, TtirError, Unsupported
from evolve_core.judge.host.ttir.ir import Location, Pointer, Scalar, Tensor
from evolve_core.judge.host.ttir.parser import parse

KERNEL = """
#loc = loc("/k.py":3:1)
#loc1 = loc(unknown)
#loc4 = loc("x"(#loc2))
module {
  tt.func public @scale(%x: !tt.ptr<f32> {tt.divisibility = 16 : i32} loc("x"(#loc)), %n: i32 loc("n"(#loc))) {
    %c4_i32 = arith.constant 4 : i32 loc(#loc1)
    %cst = arith.constant dense<0xFF800000> : tensor<4xf32> loc(#loc1)
    %0 = tt.make_range {end = 4 : i32, start = 0 : i32} : tensor<4xi32> loc(#loc1)
    %p = tt.splat %x : !tt.ptr<f32> -> tensor<4x!tt.ptr<f32>> loc(#loc4)
    %q = tt.addptr %p, %0 : tensor<4x!tt.ptr<f32>>, tensor<4xi32> loc(#loc4)
    %l = tt.splat %n : i32 -> tensor<4xi32> loc(#loc4)
    %m = arith.cmpi slt, %0, %l : tensor<4xi32> loc(#loc4)
    %v = tt.load %q, %m, %cst {cachePolicy = #tt.cache_policy<cache_modifier = cg>} : tensor<4x!tt.ptr<f32>> loc(#loc4)
    %r:2 = "tt.reduce"(%v, %0) <{axis = 0 : i32}> ({
    ^bb0(%a: f32 loc(callsite(#loc1 at #loc4)), %b: i32 loc(unknown), %c: f32 loc(unknown), %d: i32 loc(unknown)):
      %e = arith.cmpf ogt, %a, %c : f32 loc(#loc5)
      %f = arith.select %e, %a, %c : f32 loc(#loc5)
      %g = arith.select %e, %b, %d : i32 loc(#loc5)
      tt.reduce.return %f, %g : f32, i32 loc(#loc5)
    }) : (tensor<4xf32>, tensor<4xi32>) -> (f32, i32) loc(#loc5)
    tt.store %x, %r#0 : !tt.ptr<f32> loc(#loc3)
    tt.return loc(#loc)
  } loc(#loc)
} loc(#loc)
#loc2 = loc("/k.py":7:9)
#loc3 = loc(fused["y", #loc2])
#loc5 = loc(callsite(#loc6 at #loc2))
#loc6 = loc("/usr/lib/triton/language/standard.py":216:16)
"""


def body(*lines: str) -> str:
    return "tt.func public @k(%n: i32) {\n" + "\n".join(lines) + "\ntt.return\n}\n"


def test_a_kernel_with_its_arguments_types_and_results() -> None:
    kernel = parse(KERNEL).functions["scale"]
    pointer, size = kernel.arguments
    assert (pointer.type, pointer.divisibility) == (Pointer(Scalar("f32")), 16)
    assert (size.type, size.divisibility) == (Scalar("i32"), 1)
    operations = kernel.body.blocks[0].operations
    load, reduction = operations[7], operations[8]
    assert load.result_types == (Tensor((4,), Scalar("f32")),)
    assert load.operands == ("%q", "%m", "%cst")
    assert reduction.results == ("%r#0", "%r#1")
    assert reduction.attributes["axis"] == 0
    assert [one.name for one in reduction.regions[0].blocks[0].operations][-1] == "tt.reduce.return"


def test_a_line_is_the_kernels_own_and_not_tritons_librarys() -> None:
    operations = parse(KERNEL).functions["scale"].body.blocks[0].operations
    places = [operation.location for operation in operations]
    assert places[0] is None
    assert places[3] == Location("/k.py", 7, 9)
    assert places[8] == Location("/k.py", 7, 9)
    assert places[9] == Location("/k.py", 7, 9)


def test_text_without_locations_reads_the_same() -> None:
    bare = re.sub(r"(?m) loc\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)|^#loc.*$", "", KERNEL)
    assert "loc" not in bare
    named = [one.name for one in parse(KERNEL).functions["scale"].body.blocks[0].operations]
    assert [one.name for one in parse(bare).functions["scale"].body.blocks[0].operations] == named


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["%0 = arith.addi %n, %m : i32"], "%m is not defined"),
        (["%0 = arith.addi %n, %n : i64"], "%n is of type i32 and used as i64"),
        (["%0 = arith.addi %n : i32"], "operands"),
        (["%n = arith.addi %n, %n : i32"], "defined twice"),
        (["%0 = arith.constant dense<1.0> : tensor<0xf32>"], "no type"),
        (["%0 = arith.constant dense<1.0> : tensor<2097152xf32>"], "no type"),
        (["%0 = arith.constant dense<[1, 2, 3]> : tensor<2xi32>"], "3 elements"),
        (["tt.store %n, %n : i32"], "do not fit"),
        (["%0 = scf.if %n -> (i32) {", "scf.yield %n : i32", "}"], "used as i1"),
        (["scf.for %i = %n to %n step %n : i32 {", "scf.yield %n : i32", "}"], "hands over 1"),
        (["tt.return", "%0 = arith.addi %n, %n : i32"], "follow the end"),
        (["\x00"], "unexpected character"),
        (["%0 = arith.addi %n, %n : i32 }"], ""),
    ],
)
def test_contradictions_are_refused_with_a_line(lines: list[str], says: str) -> None:
    with pytest.raises(BadIr, match="line") as refused:
        parse(body(*lines))
    assert says in str(refused.value)
    assert refused.value.line >= 2


def test_an_unknown_operation_is_named() -> None:
    with pytest.raises(Unsupported, match=r"ttng.tmem_load") as refused:
        parse(body("%0 = ttng.tmem_load %n : i32 -> i32"))
    assert refused.value.operation == "ttng.tmem_load"


HOSTILE = {
    "regions a thousand deep": body(*["%c = arith.constant true"], *["scf.if %c {"] * 1000),
    "attributes a thousand deep": body("%0 = tt.make_range {a = " + "[" * 1000 + "} : tensor<4xi32>"),
    "locations a thousand deep": body("%0 = arith.addi %n, %n : i32 " + "loc(callsite(" * 1000),
    "a location that is its own caller": '#loc = loc("x"(#loc))\n' + body("%0 = arith.addi %n, %n : i32 loc(#loc)"),
    "locations that double": "\n".join(f"#l{i} = loc(fused[#l{i + 1}, #l{i + 1}])" for i in range(60))
    + body("%0 = arith.addi %n, %n : i32 loc(#l0)"),
    "a million results": body("%0:1000000 = arith.addi %n, %n : i32"),
    "a numeral of a million digits": body(f"%0 = arith.constant {'9' * 1_000_000} : i32"),
    "a type of a million sizes": body(f"%0 = arith.constant 1 : tensor<{'1x' * 1_000_000}i32>"),
    "angles that never close": body("%0 = arith.constant dense<" + "<" * 100_000),
    "quotes that never close": body('tt.print "' + "\\" * 100_000),
    "nothing": "",
    "too much": " " * (17 << 20),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_ends_soon(name: str) -> None:
    start = time.monotonic()
    try:
        parse(HOSTILE[name])
    except TtirError as refused:
        assert len(str(refused)) < 500
    # Quadratic or worse would take hours.
    assert time.monotonic() - start < 60


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_text_is_refused_or_read_but_never_crashes(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(KERNEL) - 1))
    stop = data.draw(st.integers(start, min(len(KERNEL), start + 40)))
    put = data.draw(
        st.sampled_from(["", "%x", "{", "}", "(", "<", ">", ":", "tensor<4xf32>", "->", "0x", '"', "#loc", "i32"])
    )
    with contextlib.suppress(TtirError):
        parse(KERNEL[:start] + put + KERNEL[stop:])


@pytest.mark.parametrize("cut", range(0, KERNEL.index("\n} loc"), 31))
def test_every_prefix_is_refused_with_an_error_of_ours(cut: int) -> None:
    with pytest.raises(TtirError):
        parse(KERNEL[:cut].rstrip("#"))
