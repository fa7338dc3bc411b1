"""Candidates of known worth, made out of the examples: many honest variants, the same kernel again, a slowed one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LAUNCHES = {
    "softmax": ("BLOCK=BLOCK)", "BLOCK=BLOCK{options})"),
    "layernorm": ("BLOCK=256, num_warps=4)", "BLOCK=BLOCK{options})"),
    "matmul": ("BLOCK_K=BLOCK_K,\n    )", "BLOCK_K=BLOCK_K{options},\n    )"),
}
"""The end of each example's launch, and the same with room for launch options."""
PRECISION = {"softmax": "float32", "layernorm": "float16", "matmul": "float16"}
"""Of each example's inputs."""
_BLOCKS = {
    "softmax": [
        ("BLOCK = triton.next_power_of_2(n_cols)", f"BLOCK = {n} * triton.next_power_of_2(n_cols)") for n in (1, 2, 4)
    ],
    "layernorm": [
        ("    n_rows, n_cols = x.shape\n", f"    n_rows, n_cols = x.shape\n    BLOCK = {n}\n") for n in (128, 512, 1024)
    ],
    "matmul": [("= 64, 64, 32", f"= {m}, {n}, {k}") for m, n, k in ((64, 128, 32), (128, 64, 32), (128, 128, 64))],
}


def source_of(name: str) -> str:
    return (EXAMPLES / f"{name}.py").read_text()


def variants(name: str) -> Iterator[str]:
    """Different sources with different binaries, all of them right: tiles × warps × stages × registers."""
    launch, room = LAUNCHES[name]
    for (before, after), warps, stages, registers in product(_BLOCKS[name], (1, 2, 4, 8), (1, 2, 3), (64, 128, 255)):
        options = f", num_warps={warps}, num_stages={stages}, maxnreg={registers}"
        yield _edited(_edited(source_of(name), before, after), launch, room.format(options=options))


def again(name: str, number: int) -> str:
    """The example itself, told from others like it by a comment."""
    return source_of(name) + f"\n# the same again, number {number}\n"


def _edited(source: str, before: str, after: str) -> str:
    if source.count(before) != 1:
        raise ValueError(f"{before!r} is not there once")
    return source.replace(before, after)
