"""Runs one operation of TTIR on arrays."""

from __future__ import annotations

import numpy as np

from evolve_core.judge.host.ttir.findings import Finding
from evolve_core.judge.host.ttir.launch import BufferArgument, run_launch
from evolve_core.judge.host.ttir.memory import Memory

BLOCK = 64


def on_arrays(
    operation: str, kinds: list[str], arrays: list[np.ndarray], result: str, stored: type
) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """``operation`` is text with ``{0}``, ``{1}``, … for its operands, ``{t0}``, … for their types and ``{r}`` for the
    result's. ``arrays``: elements as they lie in memory, all of one length. What it gives, as it lies in memory."""
    count = len(arrays[0])
    padded = -count % BLOCK
    names = [f"x{place}" for place in range(len(arrays))]
    lines = []
    for name, kind in zip(names, kinds, strict=True):
        lines += _reach(name, kind)
        lines.append(f"%{name}v = tt.load %{name}q : tensor<{BLOCK}x!tt.ptr<{kind}>>")
    types = {f"t{place}": f"tensor<{BLOCK}x{kind}>" for place, kind in enumerate(kinds)}
    called = operation.format(*(f"%{name}v" for name in names), **types, r=f"tensor<{BLOCK}x{result}>")
    lines += [f"%r = {called}", *_reach("out", result), f"tt.store %outq, %r : tensor<{BLOCK}x!tt.ptr<{result}>>"]
    header = ", ".join(
        f"%{name}: !tt.ptr<{kind}>" for name, kind in zip([*names, "out"], [*kinds, result], strict=True)
    )
    text = "\n".join(
        [
            f"tt.func public @k({header}) {{",
            "%p = tt.get_program_id x : i32",
            f"%c = arith.constant {BLOCK} : i32",
            "%b = arith.muli %p, %c : i32",
            f"%l = tt.make_range {{end = {BLOCK} : i32, start = 0 : i32}} : tensor<{BLOCK}xi32>",
            f"%s = tt.splat %b : i32 -> tensor<{BLOCK}xi32>",
            f"%o = arith.addi %s, %l : tensor<{BLOCK}xi32>",
            *lines,
            "tt.return",
            "}",
        ]
    )
    memory = Memory()
    # The last element stands in for what is missing to whole blocks.
    filled = [np.concatenate([array, np.repeat(array[-1:], padded)]) for array in arrays]
    out = np.zeros(count + padded, stored)
    arguments = [BufferArgument(memory.add(name, array)) for name, array in zip(names, filled, strict=True)]
    report = run_launch(text, "k", (len(out) // BLOCK,), [*arguments, BufferArgument(memory.add("out", out))], memory)
    return out[:count], report.findings


def _reach(name: str, kind: str) -> list[str]:
    pointers = f"tensor<{BLOCK}x!tt.ptr<{kind}>>"
    return [
        f"%{name}p = tt.splat %{name} : !tt.ptr<{kind}> -> {pointers}",
        f"%{name}q = tt.addptr %{name}p, %o : {pointers}, tensor<{BLOCK}xi32>",
    ]
