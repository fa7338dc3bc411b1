"""What a kernel tells the compiler is held against the accesses that become wider by it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import ttir_hinted_kernels as hinted

from evolve_core.judge.host.ttir import knowing
from evolve_core.judge.host.ttir.errors import Unsupported
from evolve_core.judge.host.ttir.launch import run_launch
from evolve_core.judge.host.ttir.memory import Memory
from evolve_core.judge.host.ttir.parser import parse
from evolve_core.judge.host.ttir.wide import wide_accesses

HINTED = "ttir_hinted_kernels"
APART, ALIKE, CROOKED = "are no neighbours", "are not all masked alike", "begin at no multiple of 16 bytes"


def marked_line(name: str) -> int:
    lines = (Path(__file__).parent / f"{HINTED}.py").read_text(encoding="utf-8").splitlines()
    return next(number for number, text in enumerate(lines, 1) if text.endswith(f"# HERE: {name}"))


@pytest.mark.parametrize(
    ("entry", "inputs", "mark", "words"),
    [
        ("rows", '{"count": 2, "n": 32, "pitch": 33}', "rows", CROOKED),
        ("rows", '{"count": 1, "n": 30, "pitch": 32}', "rows", ALIKE),
        ("late_address", '{"start": 3}', "address", CROOKED),
        ("every_fourth", "{}", "run", APART),
        ("hops", '{"hop": 1}', "hop", CROOKED),
        ("hops", '{"hop": 2}', "hop", CROOKED),
        ("after_the_largest", '{"at": 17}', "index", CROOKED),
        ("product_hinted_along_both_axes", '{"lda": 66}', "both axes", CROOKED),
    ],
)
def test_what_is_not_so_is_found_where_it_makes_an_access_wider(
    as_ttir: Callable, entry: str, inputs: str, mark: str, words: str
) -> None:
    first = as_ttir(entry, inputs, HINTED).findings[0]
    assert (first["kind"], first["line"]) == ("broken-promise", marked_line(mark))
    assert re.fullmatch(
        rf"reads [248] elements at once, by what multiple_of, max_contiguous or max_constancy say, and they {words}",
        first["message"],
    )


@pytest.mark.parametrize(
    ("entry", "inputs"),
    [
        ("rows", '{"count": 3, "n": 24, "pitch": 40}'),
        ("rows", '{"count": 3, "n": 23, "pitch": 33, "divisor": 1, "alike": 1}'),
        ("late_address", '{"start": 4}'),
        ("hops", '{"hop": 4}'),
        ("after_the_largest", '{"at": 48}'),
        ("tile_that_wraps_around", '{"rows": 32}'),
        ("tile_that_wraps_around", '{"rows": 40}'),
        ("tile_that_wraps_around", '{"rows": 37}'),
        ("tile_that_is_clamped", '{"rows": 21}'),
        ("product_hinted_along_both_axes", "{}"),
        ("product_hinted_along_both_axes", '{"lda": 72}'),
        ("hint_on_what_a_branch_gives", '{"n": 7}'),
    ],
)
def test_what_is_so_or_does_no_harm_is_nothing(as_ttir: Callable, entry: str, inputs: str) -> None:
    ran = as_ttir(entry, inputs, HINTED)
    assert (ran.error, ran.findings) == (None, [])


@pytest.mark.parametrize("sliced", [False, True])
def test_a_kernel_is_sliced_with_its_hints(as_ttir: Callable, sliced: bool) -> None:
    ran = as_ttir("tile_that_wraps_around", '{"rows": 40}', HINTED, sliced=sliced)
    assert (ran.error, ran.findings, ran.uncovered) == (None, [], [])


COMPILED = {
    "every_fourth": (hinted._every_fourth_kernel, {"x_ptr": "*fp32", "out_ptr": "*fp32"}, {"N": 512}, 16),
    "address": (hinted._address_kernel, {"x_ptr": "*fp32", "out_ptr": "*fp32"}, {"N": 512}, 1),
    "hop": (hinted._hop_kernel, {"x_ptr": "*fp32", "out_ptr": "*fp32", "hop": "i32"}, {"M": 16, "N": 32}, 16),
    "bytes": (hinted._address_kernel, {"x_ptr": "*i8", "out_ptr": "*fp32"}, {"N": 512}, 1),
}


@pytest.mark.parametrize("name", COMPILED)
def test_loads_are_as_wide_as_the_compiler_makes_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One warp, so that there are elements enough for every thread."""
    import triton
    from triton.backends.compiler import GPUTarget

    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
    kernel, signature, constants, divisor = COMPILED[name]
    names = kernel.arg_names
    asked = triton.compiler.ASTSource(
        kernel,
        {one: signature.get(one, "constexpr") for one in names},
        constexprs={(names.index(one),): value for one, value in constants.items()},
        attrs={(names.index("out_ptr"),): [["tt.divisibility", 16]], (0,): [["tt.divisibility", divisor]]},
    )
    made = triton.compile(asked, target=GPUTarget("cuda", 90, 32), options={"num_warps": 1}).asm
    (wide,) = {one.elements for one in wide_accesses(parse(made["ttir"])).values()}
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
