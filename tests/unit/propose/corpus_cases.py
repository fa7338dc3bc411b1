"""The kernels that the rules are tried on, and inputs for them. Data alone: children import this beside torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[2] / "examples"

Spec = tuple[str, tuple[int, ...]]
"""(dtype, shape) of a tensor of normal numbers; dtype ``below N`` is a tensor of indices."""


@dataclass(frozen=True)
class Case:
    file: Path
    kernel: str
    entry: str
    arguments: tuple[str, ...]
    calls: tuple[tuple[Spec, ...], ...]
    large: tuple[Spec, ...]
    """Inputs at a real size, for compilation."""

    @property
    def source(self) -> str:
        return self.file.read_text(encoding="utf-8")


def _rows(dtype: str, *shapes: tuple[int, int], vectors: int = 0, copies: int = 1) -> tuple[tuple[Spec, ...], ...]:
    return tuple(((dtype, s),) * copies + ((dtype, s[1:]),) * vectors for s in shapes)


def _products(dtype: str, *sizes: tuple[int, int, int]) -> tuple[tuple[Spec, ...], ...]:
    return tuple(((dtype, (m, k)), (dtype, (k, n))) for m, n, k in sizes)


def _own(name: str, kernel: str, entry: str, arguments: str, calls: tuple[tuple[Spec, ...], ...]) -> Case:
    return Case(HERE / "corpus" / f"{name}.py", kernel, entry, tuple(arguments.split()), calls[:-1], calls[-1])


def _example(name: str, arguments: str, calls: tuple[tuple[Spec, ...], ...]) -> Case:
    file = EXAMPLES / f"{name}.py"
    return Case(file, f"{name}_kernel", name, tuple(arguments.split()), calls[:-1], calls[-1])


CASES = {
    "softmax": _example("softmax", "x", _rows("float32", (5, 33), (4, 64), (1, 1), (9, 7), (1024, 1000))),
    "layernorm": _example(
        "layernorm", "x weight bias", _rows("float16", (3, 700), (5, 256), (1, 5), (2, 512), (512, 5000), vectors=2)
    ),
    "matmul": _example(
        "matmul", "a b", _products("float16", (70, 130, 40), (128, 64, 64), (5, 200, 33), (1, 1, 1), (1024, 1024, 512))
    ),
    "swiglu": _example(
        "swiglu", "gate up", _rows("float16", (3, 300), (2, 512), (1, 1), (512, 5460), copies=2)
    ),
    "rms_norm": _own(
        "rms_norm", "rms_norm_kernel", "rms_norm", "x weight",
        _rows("float16", (6, 48), (3, 64), (1, 1), (512, 1000), vectors=1),
    ),
    "cross_entropy": _own(
        "cross_entropy", "cross_entropy_kernel", "cross_entropy", "x target",
        tuple(
            (("float32", (r, c)), (f"below {c}", (r,))) for r, c in ((5, 150), (4, 64), (1, 1), (3, 129), (256, 5000))
        ),
    ),
    "matmul_two_axes": _own(
        "matmul_two_axes", "tiled_kernel", "product", "a b",
        _products("float16", (70, 40, 50), (64, 32, 32), (1, 33, 7), (512, 512, 256)),
    ),
    "scaled_add": _own(
        "scaled_add", "scaled_add_kernel", "scaled_add", "x y",
        _rows("float32", (3, 100), (4, 64), (1, 1), (512, 5460), copies=2),
    ),
    "row_softmax_2d": _own(
        "row_softmax_2d", "scaled_softmax_kernel", "scaled_softmax", "x",
        tuple((("float16", s),) for s in ((2, 5, 33), (3, 4, 64), (1, 1, 1), (4, 256, 1000))),
    ),
    "affine_rows": _own(
        "affine_rows", "affine_rows_kernel", "affine_rows", "x",
        _rows("float32", (5, 300), (3, 128), (1, 1), (512, 5000)),
    ),
    "matmul_autotuned": _own(
        "matmul_autotuned", "matmul_kernel", "matmul", "a b",
        _products("float16", (70, 130, 40), (128, 64, 64), (5, 200, 33), (1024, 1024, 512)),
    ),
}  # fmt: skip
