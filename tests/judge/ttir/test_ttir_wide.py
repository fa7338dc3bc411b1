"""What a kernel tells the compiler is held against the accesses that become wider by it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import ttir_hinted_kernels as hinted

from evolve_core.judge.host.ttir import knowing
from evolve_core.judge.host.ttir.errors import Unsupported
from evolve_core.judge.host.ttir.launch import BufferArgument, run_launch
from evolve_core.judge.host.ttir.memory import Memory
from evolve_core.judge.host.ttir.parser import parse
from evolve_core.judge.host.ttir.wide import wide_accesses

HINTED = "ttir_hinted_kernels"


def marked_line(name: str) -> int:
    lines = (Path(__file__).parent / f"{HINTED}.py").read_text(encoding="utf-8").splitlines()
    return next(number for number, text in enumerate(lines, 1) if text.endswith(f"# HERE: {name}"))


@pytest.mark.parametrize(
    ("entry", "inputs", "mark", "verb"),
    [
        ("rows", '{"count": 2, "n": 128, "pitch": 129}', "rows", "reads"),
        ("product_of_padded_matrices", '{"m": 37, "n": 44, "pitch": 64}', "wrapped columns", "reads"),
        ("late_address", '{"start": 3}', "address", "reads"),
        ("hops", '{"hop": 1}', "hop", "reads"),
        ("hops", '{"hop": 2}', "hop", "reads"),
        ("after_the_largest", '{"at": 17}', "index", "reads"),
        ("product_hinted_along_both_axes", '{"lda": 66}', "both axes", "reads"),
        ("adds_from", '{"start": 3}', "update", "updates"),
    ],
)
def test_an_address_that_divides_by_less_is_found(
    as_ttir: Callable, entry: str, inputs: str, mark: str, verb: str
) -> None:
    first = as_ttir(entry, inputs, HINTED).findings[0]
    assert (first["kind"], first["line"]) == ("broken-promise", marked_line(mark))
    assert re.fullmatch(rf"{verb} [248] elements at once, .* no multiple of (4|8|16) bytes", first["message"])


def test_neighbours_and_masks_are_those_of_the_first_element(as_ttir: Callable) -> None:
    """The device reads and writes what stands here, and not what the kernel says."""
    ran = as_ttir("every_fourth", "{}", HINTED)
    told = as_ttir("every_fourth_as_it_is_made", "{}", HINTED)
    assert ran.findings == [] and (ran.outputs[0] == told.outputs[0]).all()
    ran = as_ttir("rows", '{"count": 1, "n": 122, "pitch": 128}', HINTED)
    assert ran.findings == [] and (ran.outputs[0][:124] != 0).all() and (ran.outputs[0][124:] == 0).all()


@pytest.mark.parametrize(
    ("entry", "inputs"),
    [
        ("rows", '{"count": 3, "n": 124, "pitch": 136}'),
        ("rows", '{"count": 3, "n": 123, "pitch": 129, "divisor": 1, "alike": 1}'),
        ("late_address", '{"start": 4}'),
        ("hops", '{"hop": 4}'),
        ("after_the_largest", '{"at": 48}'),
        ("tile_that_wraps_around", '{"rows": 32}'),
        ("tile_that_wraps_around", '{"rows": 40}'),
        ("tile_that_wraps_around", '{"rows": 37}'),
        ("tile_that_is_clamped", '{"rows": 21}'),
        ("adds_from", '{"start": 8}'),
        ("product_hinted_along_both_axes", "{}"),
        ("product_hinted_along_both_axes", '{"lda": 72}'),
        ("hint_on_what_a_branch_gives", '{"n": 7}'),
    ],
)
def test_what_is_so_or_does_no_harm_is_nothing(as_ttir: Callable, entry: str, inputs: str) -> None:
    ran = as_ttir(entry, inputs, HINTED)
    assert (ran.error, ran.findings) == (None, [])


@pytest.mark.parametrize(("m", "n", "pitch"), [(64, 64, 64), (37, 60, 64), (64, 62, 80), (33, 40, 40)])
def test_what_wraps_around_and_is_not_stored_does_no_harm(as_ttir: Callable, m: int, n: int, pitch: int) -> None:
    ran = as_ttir("product_of_padded_matrices", f'{{"m": {m}, "n": {n}, "pitch": {pitch}}}', HINTED)
    assert (ran.error, ran.findings) == (None, [])
    assert abs(ran.outputs[0]).max() < 0.05


def test_hints_beside_a_call_are_not_followed(as_ttir: Callable) -> None:
    error = as_ttir("fills_through_a_call", '{"start": 16}', HINTED).error
    assert error is not None and error.startswith("Unsupported: tt.call beside hints")


@pytest.mark.parametrize("sliced", [False, True])
def test_a_kernel_is_sliced_with_its_hints(as_ttir: Callable, sliced: bool) -> None:
    ran = as_ttir("tile_that_wraps_around", '{"rows": 40}', HINTED, sliced=sliced)
    assert (ran.error, ran.findings, ran.uncovered) == (None, [], [])


COMPILED = {
    "every_fourth": (hinted._every_fourth_kernel, {"x_ptr": "*fp32", "out_ptr": "*fp32"}, {"N": 512}, 16, 0),
    "address": (hinted._address_kernel, {"x_ptr": "*fp32", "out_ptr": "*fp32"}, {"N": 512}, 1, 0),
    "hop": (hinted._hop_kernel, {"x_ptr": "*fp32", "out_ptr": "*fp32", "hop": "i32"}, {"M": 16, "N": 32}, 16, 1),
    "bytes": (hinted._address_kernel, {"x_ptr": "*i8", "out_ptr": "*fp32"}, {"N": 512}, 1, 0),
    "columns": (hinted._columns_kernel, {"x_ptr": "*fp32", "out_ptr": "*fp32"}, {"N": 32}, 16, 0),
}


@pytest.mark.parametrize("name", COMPILED)
def test_loads_are_as_wide_as_the_compiler_makes_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One warp, so that there are elements enough for every thread."""
    import triton
    from triton.backends.compiler import GPUTarget

    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
    kernel, signature, constants, divisor, axis = COMPILED[name]
    names = kernel.arg_names
    asked = triton.compiler.ASTSource(
        kernel,
        {one: signature.get(one, "constexpr") for one in names},
        constexprs={(names.index(one),): value for one, value in constants.items()},
        attrs={(names.index("out_ptr"),): [["tt.divisibility", 16]], (0,): [["tt.divisibility", divisor]]},
    )
    made = triton.compile(asked, target=GPUTarget("cuda", 90, 32), options={"num_warps": 1}).asm
    (wide,) = {one.elements for one in wide_accesses(parse(made["ttir"])).values() if one.axis == axis}
    bits = max(int(v or 1) * int(b) for v, b in re.findall(r"ld\.global(?:\.v(\d))?\.b(\d+)", made["ptx"]))
    assert wide * (8 if "*i8" in signature.values() else 32) == bits


def nested(loops: int) -> str:
    """Loops in each other, each with a value that it carries, around a hint."""
    lines = ["tt.func public @nested(%n: i32) {", "%c = arith.constant 4 : i32"]
    for depth in range(loops):
        given = f"%a{depth - 1}" if depth else "%c"
        lines.append(
            f"%r{depth} = scf.for %i{depth} = %c to %n step %c iter_args(%a{depth} = {given}) -> (i32)  : i32 {{"
        )
    lines.append(f"%r{loops} = arith.addi %a{loops - 1}, %c {{tt.divisibility = dense<4> : tensor<1xi32>}} : i32")
    for depth in reversed(range(loops)):
        lines += [f"scf.yield %r{depth + 1} : i32", "}"]
    return "\n".join([*lines, "tt.return", "}", ""])


def test_loops_in_loops_are_not_looked_at_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_launch(nested(20), "nested", (1,), [4], Memory()).clean
    monkeypatch.setattr(knowing, "_MOST_OPERATIONS", 30)
    assert run_launch(nested(4), "nested", (1,), [4], Memory()).clean
    with pytest.raises(Unsupported, match="nested has hints on values that cannot be followed"):
        run_launch(nested(20), "nested", (1,), [4], Memory())


ROTATING = """
tt.func public @rotating(%n: i32, %x: !tt.ptr<f32>) {{
  %c = arith.constant 2 : i32
  %r:{count} = scf.while ({start}) : ({types}) -> ({types}) {{
    %go = arith.cmpi slt, %a0, %n : i32
    scf.condition(%go) {names} : {types}
  }} do {{
  ^bb0({arguments}):
    %half = arith.divsi %b{last}, %c {{tt.divisibility = dense<1> : tensor<1xi32>}} : i32
    scf.yield %half, {handed} : {types}
  }}
  tt.return
}}
"""


def test_values_that_do_not_settle_are_not_trusted() -> None:
    """Each turn hands them on by one place, and halves the last; more of them than an honest loop has."""
    count = 80
    text = ROTATING.format(
        count=count,
        last=count - 1,
        start=", ".join(f"%a{n} = %n" for n in range(count)),
        types=", ".join(["i32"] * count),
        names=", ".join(f"%a{n}" for n in range(count)),
        arguments=", ".join(f"%b{n}: i32" for n in range(count)),
        handed=", ".join(f"%b{n}" for n in range(count - 1)),
    ).replace("%n: i32,", "%n: i32 {tt.divisibility = 1073741824 : i32},")
    memory = Memory()
    x = BufferArgument(memory.add("x", np.zeros(4, np.float32)))
    with pytest.raises(Unsupported, match="rotating has hints on values that cannot be followed"):
        run_launch(text, "rotating", (1,), [0, x], memory)


@pytest.mark.parametrize("operation", ["arith.muli", "arith.shli", "arith.divsi", "arith.remsi", "arith.addi"])
@pytest.mark.parametrize("number", [2**62, 20_000_000_000, -(2**63), 3])
def test_constants_of_any_size_are_taken(operation: str, number: int) -> None:
    chain = "\n".join(f"  %v{n + 1} = {operation} %v{n}, %c : i64" for n in range(40))
    text = (
        "tt.func public @chain(%n: i32) {\n"
        f"  %c = arith.constant {number} : i64\n  %v0 = arith.constant {number} : i64\n{chain}\n"
        "  %h = arith.addi %n, %n {tt.divisibility = dense<4> : tensor<1xi32>} : i32\n  tt.return\n}\n"
    )
    assert run_launch(text, "chain", (1,), [8], Memory()).programs == 1
