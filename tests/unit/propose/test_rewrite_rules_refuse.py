"""Kernels on which the naive rewrite would be wrong: each rule refuses, and says why."""

from __future__ import annotations

import textwrap

import pytest

from evolve_core.propose.rewrite.registry import documentation, rule_named, rules
from evolve_core.propose.rewrite.rule import Refusal, Rewritten, apply_rule

HEAD = """import torch
import triton
import triton.language as tl


"""

ROWS = """@triton.jit
def kernel(x_ptr, out_ptr, stride, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
{body}

def entry(x):
    out = torch.empty_like(x)
    rows, n = x.shape
    kernel[{grid}](x, out, x.stride(0), n, BLOCK={block})
    return out
"""


def rows(body: str, grid: str = "(rows,)", block: str = "triton.next_power_of_2(n)") -> str:
    return HEAD + ROWS.format(body=textwrap.indent(textwrap.dedent(body), "    "), grid=grid, block=block)


ROW_SUM = """
cols = tl.arange(0, BLOCK)
x = tl.load(x_ptr + row * stride + cols, mask=cols < n, other=0.0)
"""

CHUNKS = """
total = tl.zeros([BLOCK], dtype=tl.float32)
for start in range(0, n, BLOCK):
    cols = start + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * stride + cols, mask=cols < n, other=0.0)
    total += {added}
mean = tl.sum(total) / n
for start in range(0, n, BLOCK):
    cols = start + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * stride + cols, mask={mask}, other=0.0)
    tl.store(out_ptr + row * stride + cols, {stored}, mask=cols < n)
"""


def chunks(added: str = "x", mask: str = "cols < n", stored: str = "x - mean", tail: str = "") -> str:
    return rows(CHUNKS.format(added=added, mask=mask, stored=stored) + tail, block="256")


MATMUL = """@triton.jit
def kernel(a_ptr, b_ptr, c_ptr, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    pid = tl.program_id(0)
    columns = tl.cdiv(N, BN)
    i = pid // columns
    j = pid % columns
    rm = i * BM + tl.arange(0, BM)
    rn = j * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, K, BK):
        rk = k + tl.arange(0, BK)
        a = tl.load(a_ptr + rm[:, None] * K + rk[None, :], mask=(rm[:, None] < M) & (rk[None, :] < K), other=0.0)
        b = tl.load(b_ptr + rk[:, None] * N + rn[None, :], mask=(rk[:, None] < K) & (rn[None, :] < N), other=0.0)
        acc += tl.dot(a, b)
    tl.store(c_ptr + rm[:, None] * N + rn[None, :], acc, mask=(rm[:, None] < M) & (rn[None, :] < N))


def entry(a, b):
    M, K = a.shape
    N = b.shape[1]
    c = torch.empty((M, N), device=a.device)
    kernel[{grid}](a, b, c, M, N, K, BM=32, BN=64, BK=32)
    return c
"""


def matmul(grid: str) -> str:
    return HEAD + MATMUL.replace("{grid}", grid)


REFUSED = {
    # The next tile would start from the parameters that this one moved.
    "persistent-programs: moved parameter": (
        "persistent-programs",
        rows(
            "x_ptr += row * stride\ncols = tl.arange(0, BLOCK)\n"
            "tl.store(out_ptr + row * stride + cols, tl.load(x_ptr + cols))"
        ),
        "assigns to a parameter",
    ),
    # A program that waits for another one must not come after it in the same program.
    "persistent-programs: waiting programs": (
        "persistent-programs",
        rows(ROW_SUM + "tl.atomic_add(out_ptr, tl.sum(x))"),
        "atomics",
    ),
    "persistent-programs: leaves early": (
        "persistent-programs",
        rows("if row > 3:\n    return\n" + ROW_SUM.strip() + "\ntl.store(out_ptr + row, tl.sum(x))"),
        "Return",
    ),
    # Each row stores the same cell: which row wins would change.
    "rows-per-program: shared cell": (
        "rows-per-program",
        rows(ROW_SUM + "tl.store(out_ptr + cols, x / tl.sum(x), mask=cols < n)"),
        "every row stores to the same place",
    ),
    # The loop runs as long as each row says.
    "rows-per-program: ragged rows": (
        "rows-per-program",
        rows(
            "length = tl.load(out_ptr + row)\ntotal = 0.0\nfor i in range(0, length):\n"
            "    total += tl.sum(tl.load(x_ptr + row * stride + i + tl.arange(0, BLOCK)))\n"
            "tl.store(out_ptr + row, total)"
        ),
        "bounds differ by row",
    ),
    "rows-per-program: a function nobody reads": (
        "rows-per-program",
        rows(ROW_SUM + "tl.store(out_ptr + row, helper(tl.sum(x)))"),
        "a call of helper",
    ),
    "rows-per-program: cumulative along the only axis": (
        "rows-per-program",
        rows(ROW_SUM + "y = tl.cumsum(x, axis=0)\ntl.store(out_ptr + row, tl.sum(y))"),
        "a call of tl.cumsum",
    ),
    "rows-per-program: one shape or another": (
        "rows-per-program",
        rows(
            ROW_SUM + "total = tl.sum(x)\nfor i in range(0, n):\n    if n > i:\n        total = x\n"
            "    else:\n        total = tl.sum(x)\ntl.store(out_ptr + row, tl.sum(x))"
        ),
        "one shape or another",
    ),
    "rows-per-program: hidden grid": (
        "rows-per-program",
        rows(ROW_SUM + "tl.store(out_ptr + row, tl.sum(x))", grid="make_grid(rows)"),
        "grid",
    ),
    # exp(0) of each lane beyond the row's end would join the sum.
    "single-pass: lanes that are not neutral": ("single-pass", chunks(added="tl.exp(x)"), "beyond the row's end"),
    "single-pass: unmasked load": (
        "single-pass",
        chunks().replace(", mask=cols < n, other=0.0)\n        total", ")\n        total"),
        "not masked",
    ),
    "single-pass: another mask": ("single-pass", chunks(mask="cols < n + 8"), "not masked"),
    "single-pass: last chunk used later": (
        "single-pass",
        chunks(tail="tl.store(out_ptr + row, tl.sum(x))\n"),
        "used after the loop",
    ),
    "single-pass: counts lanes": ("single-pass", chunks(added="x * BLOCK"), "outside the loops"),
    "single-pass: grid of blocks": (
        "single-pass",
        chunks().replace("kernel[(rows,)]", "kernel[(triton.cdiv(rows, 256),)]"),
        "grid depends",
    ),
    # The grid has more programs than tiles: renumbering would leave tiles out.
    "l2-program-order: padded grid": (
        "l2-program-order",
        matmul("(triton.cdiv(M, 32) * triton.cdiv(N, 64) + 7,)"),
        "not visibly",
    ),
    "l2-program-order: other columns": (
        "l2-program-order",
        matmul("(triton.cdiv(M, 64) * triton.cdiv(N, 32),)"),
        "not visibly",
    ),
    # One program short of the end, or an index that is no multiple: a multiple of BLOCK proves nothing.
    "drop-redundant-mask: shifted index": (
        "drop-redundant-mask",
        rows("cols = tl.arange(0, BLOCK) + 1\ntl.store(out_ptr + row * stride + cols, 0.0, mask=cols < n)"),
        "no mask compares",
    ),
    "drop-redundant-mask: causal mask": (
        "drop-redundant-mask",
        rows("cols = tl.arange(0, BLOCK)\ntl.store(out_ptr + row * stride + cols, 0.0, mask=cols < row)"),
        "no mask compares",
    ),
    "drop-redundant-mask: length changed": (
        "drop-redundant-mask",
        rows("n = n - 1\ncols = tl.arange(0, BLOCK)\ntl.store(out_ptr + row * stride + cols, 0.0, mask=cols < n)"),
        "no mask compares",
    ),
    "drop-redundant-mask: more programs than tiles": (
        "drop-redundant-mask",
        rows(
            "cols = row * BLOCK + tl.arange(0, BLOCK)\ntl.store(out_ptr + cols, 0.0, mask=cols < n)",
            grid="(triton.cdiv(n, 128),)",
            block="64",
        ),
        "no mask compares",
    ),
    "drop-redundant-mask: other step": (
        "drop-redundant-mask",
        rows(
            "for start in range(0, n, 64):\n    cols = start + tl.arange(0, BLOCK)\n"
            "    tl.store(out_ptr + row * stride + cols, 0.0, mask=cols < n)"
        ),
        "no mask compares",
    ),
    # The next iteration may load what this one stores.
    "software-pipeline: loop that stores": (
        "software-pipeline",
        rows(
            "for i in range(0, n):\n    x = tl.load(out_ptr + row * stride + i)\n"
            "    tl.store(out_ptr + row * stride + i + 1, x + 1)"
        ),
        "does not write memory",
    ),
    "software-pipeline: loop that might store": (
        "software-pipeline",
        rows("for i in range(0, n):\n    helper(out_ptr, tl.load(x_ptr + i))"),
        "does not write memory",
    ),
    "hoist-invariant: moving address": (
        "hoist-invariant:address",
        rows(
            "offset = row * stride\nfor i in range(0, n):\n    tl.store(out_ptr + offset * 2, 1.0)\n    offset += 1"
        ),
        "no loop repeats",
    ),
    "hoist-invariant: quotient of a remainder": (
        "hoist-invariant:address",
        rows("for i in range(0, n):\n    tl.store(out_ptr + row // stride, 1.0)"),
        "no loop repeats",
    ),
    "hoist-invariant: divisor per column": (
        "hoist-invariant",
        rows(ROW_SUM + "tl.store(out_ptr + row * stride + cols, tl.sum(x) / x, mask=cols < n)"),
        "no division",
    ),
    "alignment-hint: scale": (
        "alignment-hint",
        rows("cols = tl.arange(0, BLOCK)\nx = tl.load(x_ptr + cols)\ntl.store(out_ptr + cols, x * stride)"),
        "no integer parameter",
    ),
    "alignment-hint: different every time": (
        "alignment-hint",
        rows(ROW_SUM + "tl.store(out_ptr + row * stride + cols, x, mask=cols < n)").replace(
            "x.stride(0), n,", "next(strides), next(sizes),"
        ),
        "no integer parameter",
    ),
    "eviction-hints: own policy": (
        "eviction-hints",
        rows("cols = tl.arange(0, BLOCK)\ntl.store(out_ptr + cols, tl.load(x_ptr + cols, cache_modifier='.cg'))"),
        "already",
    ),
    "exp-to-exp2: none": ("exp-to-exp2", rows(ROW_SUM + "tl.store(out_ptr + row, tl.sum(x))"), "no exp"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    which, source, reason = REFUSED[name]
    rule = rule_named(which.split(":")[0])
    assert rule is not None
    settings = {"what": "address"} if which.endswith(":address") else rule.settings[0]
    made = apply_rule(rule, source, "kernel", settings)
    assert isinstance(made, Refusal), made.source if isinstance(made, Rewritten) else made
    assert reason in made.reason


def test_every_rule_has_a_kernel_that_it_must_refuse() -> None:
    assert {which.split(":")[0] for which, _, _ in REFUSED.values()} == {rule.name for rule in rules()}


SOUND = {
    "rows-per-program": rows(ROW_SUM + "tl.store(out_ptr + row, tl.sum(x))"),
    "single-pass": chunks(),
    "l2-program-order": matmul("(triton.cdiv(M, 32) * triton.cdiv(N, 64),)"),
    "persistent-programs": rows(ROW_SUM + "tl.store(out_ptr + row, tl.sum(x))"),
}


@pytest.mark.parametrize("name", SOUND)
def test_the_sound_form_of_the_same_kernel_is_rewritten(name: str) -> None:
    """Without this, a rule that refuses everything would pass."""
    rule = rule_named(name)
    assert rule is not None
    assert isinstance(apply_rule(rule, SOUND[name], "kernel", rule.settings[0]), Rewritten)


@pytest.mark.parametrize("rule", rules(), ids=lambda r: r.name)
def test_a_rule_leaves_its_own_result_alone_or_parses(rule) -> None:  # type: ignore[no-untyped-def]
    for source in (*SOUND.values(), "def broken(:", "x = 1\n", ""):
        made = apply_rule(rule, source, "kernel", rule.settings[0])
        if isinstance(made, Rewritten):
            again = apply_rule(rule, made.source, "kernel", rule.settings[0])
            assert isinstance(again, Refusal) or again.source != made.source


def test_comments_and_layout_outside_the_change_survive() -> None:
    source = chunks().replace("    row = tl.program_id(0)", "    row = tl.program_id(0)  # ä row of its own")
    source += "\n\n# the end:   kept   as it is\n"
    for rule in rules():
        made = apply_rule(rule, source, "kernel", rule.settings[0])
        if isinstance(made, Rewritten):
            assert "# ä row of its own" in made.source
            assert made.source.endswith("# the end:   kept   as it is\n")
            assert made.source.startswith(HEAD) or "import math" in made.source


def test_documentation_names_every_rule_and_its_argument() -> None:
    text = documentation()
    for rule in rules():
        assert f"## `{rule.name}`" in text
        for part in ("*What it does.*", "*Why it computes the same.*", "*When it refuses.*"):
            assert part in rule.explanation
