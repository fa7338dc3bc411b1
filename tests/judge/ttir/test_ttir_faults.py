"""What kernels do wrong is found, with its place; and what only looks wrong is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evolve_core.judge.host.ttir.errors import BadIr, BadLaunch, TooLong, Unsupported
from evolve_core.judge.host.ttir.findings import Kind
from evolve_core.judge.host.ttir.launch import BufferArgument, run_launch
from evolve_core.judge.host.ttir.memory import Memory
from evolve_core.judge.host.ttir.work import Budget


def marked_line(name: str) -> int:
    lines = (Path(__file__).parent / "ttir_faulty_kernels.py").read_text(encoding="utf-8").splitlines()
    return next(number for number, text in enumerate(lines, 1) if text.endswith(f"# HERE: {name}"))


FAULTY = "ttir_faulty_kernels"
FAULTS = {
    "load_past_the_end": ('{"x": torch.randn(100)}', "out-of-bounds", "load without a mask", 28),
    "store_before_the_start": ('{"x": torch.randn(100)}', "out-of-bounds", "shifted store", 3),
    "blocks_that_overlap": ("{}", "race", "racing store", 12),
    "last_program_adds_up_in_order": ('{"x": torch.ones(8), "order": "relaxed"}', "race", "load without an order", 7),
    "atomic_beside_a_plain_store": ("{}", "race", "atomic beside a plain store", 2),
    "assumes_many": ('{"n": 6}', "broken-promise", "assumption", 2),
    "all_read_what_the_last_writes": ("{}", "race", "store that all read", 1),
    "neighbours_in_place": ('{"x": torch.randn(8)}', "race", "store that a neighbour read", 8),
}


@pytest.mark.parametrize("entry", FAULTS)
def test_a_fault_is_found_where_it_is(as_ttir: Callable, entry: str) -> None:
    inputs, kind, mark, count = FAULTS[entry]
    (finding,) = as_ttir(entry, inputs, FAULTY).findings
    assert (finding["kind"], finding["line"], finding["count"]) == (kind, marked_line(mark), count)
    assert finding["file"].endswith("ttir_faulty_kernels.py")


@pytest.mark.parametrize("order", ["relaxed", "acquire", "release"])
def test_half_an_order_is_none(as_ttir: Callable, order: str) -> None:
    inputs = f'{{"x": torch.ones(8), "order": "{order}"}}'
    (finding,) = as_ttir("last_program_adds_up_in_order", inputs, FAULTY).findings
    assert (finding["kind"], finding["line"]) == ("race", marked_line("load without an order"))


def test_out_of_bounds_names_buffer_index_and_program(as_ttir: Callable) -> None:
    (finding,) = as_ttir("load_past_the_end", '{"x": torch.randn(100)}', FAULTY).findings
    assert (finding["buffer"], finding["index"], finding["program"]) == ("x_ptr", 100, [1, 0, 0])
    assert finding["message"] == "reads element 100 of x_ptr, which has 100"


@pytest.mark.parametrize(
    ("entry", "inputs", "module"),
    [
        ("blocks_side_by_side", "{}", FAULTY),
        ("many_set_one_flag", '{"x": torch.randn(50)}', FAULTY),
        ("last_program_adds_up", '{"x": torch.randn(16, 32)}', "ttir_kernels"),
        ("last_program_adds_up_in_order", '{"x": torch.ones(8), "order": "acq_rel"}', FAULTY),
        ("load_past_the_end", '{"x": torch.randn(128)}', FAULTY),
        ("divides_by", '{"by": 2}', FAULTY),
        ("assumes_many", '{"n": 64}', FAULTY),
    ],
)
def test_what_only_looks_like_a_fault_is_none(as_ttir: Callable, entry: str, inputs: str, module: str) -> None:
    ran = as_ttir(entry, inputs, module)
    assert (ran.error, ran.findings) == (None, [])


def test_division_truncates_and_by_zero_is_reported(as_ttir: Callable) -> None:
    assert as_ttir("divides_by", '{"by": 2}', FAULTY).outputs[0] == -3
    ran = as_ttir("divides_by", '{"by": 0}', FAULTY)
    assert [(one["kind"], one["line"]) for one in ran.findings] == [("division-by-zero", marked_line("division"))]


def test_waiting_for_a_later_program_is_not_supported(as_ttir: Callable) -> None:
    ran = as_ttir("waits_for_a_later_program", "{}", FAULTY)
    assert ran.error is not None
    assert ran.error.startswith("Unsupported: scf.while that waits for another program")


# ── written by hand: what Triton's front end would not make, or host code could not ──

COPY = """
tt.func public @copy(%x: !tt.ptr<i32> {tt.divisibility = 16 : i32}, %y: !tt.ptr<i32>,
                     %n: i32 {tt.divisibility = 8 : i32}) {
  %p = tt.get_program_id x : i32
  %q = tt.addptr %x, %p : !tt.ptr<i32>, i32
  %r = tt.addptr %y, %p : !tt.ptr<i32>, i32
  %v = tt.load %q : !tt.ptr<i32>
  tt.store %r, %v : !tt.ptr<i32>
  tt.return
}
"""
FOREVER = """
tt.func public @forever(%n: i32) {
  cf.br ^bb1
^bb1:
  cf.br ^bb1
}
"""
WHILE_TRUE = """
tt.func public @forever(%n: i32) {
  %true = arith.constant true
  %r = scf.while (%a = %n) : (i32) -> i32 {
    scf.condition(%true) %a : i32
  } do {
  ^bb0(%b: i32):
    %c = arith.addi %b, %b : i32
    scf.yield %c : i32
  }
  tt.return
}
"""
RECURSION = "tt.func public @forever(%n: i32) {\n tt.call @forever(%n) : (i32) -> ()\n tt.return\n}\n"


def copy(count: int, given: int, *, offset: int = 0, number: int = 8, written: int | None = None) -> list[Kind]:
    memory = Memory()
    source = memory.add("x", np.arange(given, dtype=np.int32), initialised=written is None)
    if source.initialised is not None:
        source.initialised[:written] = True
    target = memory.add("y", np.zeros(count, np.int32), initialised=False)
    arguments = [BufferArgument(source, offset), BufferArgument(target), number]
    report = run_launch(COPY, "copy", (count,), arguments, memory)
    assert target.initialised is not None
    assert target.initialised.all()
    assert report.written == ("y",)
    assert (report.work.bytes_loaded, report.work.bytes_stored) == (4 * count, 4 * count)
    return [finding.kind for finding in report.findings]


def test_reading_what_nothing_wrote() -> None:
    assert copy(8, 8, written=8) == []
    assert copy(8, 8, written=7) == [Kind.UNINITIALISED]


def test_arguments_that_break_the_compilers_assumptions() -> None:
    assert copy(8, 64, offset=16) == []
    assert copy(8, 64, offset=20) == [Kind.MISALIGNED]
    assert copy(8, 64, number=12) == [Kind.MISALIGNED]
    assert copy(8, 64, offset=2) == [Kind.MISALIGNED, Kind.MISALIGNED]


@pytest.mark.parametrize("text", [FOREVER, WHILE_TRUE])
def test_a_kernel_without_end_is_ended(text: str) -> None:
    with pytest.raises(TooLong, match="element operations"):
        run_launch(text, "forever", (4,), [1], Memory(), Budget(elements=10_000))
    with pytest.raises(TooLong, match=r"0\.2 s"):
        run_launch(text, "forever", (4,), [1], Memory(), Budget(seconds=0.2))


def test_recursion_is_refused() -> None:
    with pytest.raises(BadIr, match="calls itself"):
        run_launch(RECURSION, "forever", (1,), [1], Memory())


def test_a_launch_that_does_not_fit_the_kernel_says_why() -> None:
    memory = Memory()
    buffer = BufferArgument(memory.add("x", np.zeros(4, np.int32)))
    for kernel, grid, arguments, says in (
        ("paste", (1,), [buffer, buffer, 8], "no kernel 'paste'; it has copy"),
        ("copy", (0,), [buffer, buffer, 8], "grid"),
        ("copy", (1 << 20, 1 << 20), [buffer, buffer, 8], "more than"),
        ("copy", (1,), [buffer, buffer], "takes 3 arguments"),
        ("copy", (1,), [buffer, 3, 8], "%y is !tt.ptr<i32>, the number 3"),
        ("copy", (1,), [buffer, buffer, buffer], "%n is i32, a buffer"),
        ("copy", (1,), [buffer, buffer, 1.5], "the float 1.5"),
    ):
        with pytest.raises(BadLaunch, match=says.replace("(", r"\(")):
            run_launch(COPY, kernel, grid, arguments, memory)


def test_an_operation_that_is_not_done_is_named() -> None:
    operation = '%a = tt.elementwise_inline_asm "clock" {pure = true} %n : i32 -> i32'
    with pytest.raises(Unsupported, match="elementwise_inline_asm"):
        run_launch(f"tt.func public @k(%n: i32) {{\n {operation}\n tt.return\n}}\n", "k", (1,), [1], Memory())
