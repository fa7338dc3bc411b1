"""Single operations against torch, Python's integers and exact fractions: exhaustively where a type has few values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from one_operation import on_arrays

from evolve_core.judge.host.ttir.findings import Kind

PAIRS = [array.ravel() for array in np.meshgrid(np.arange(-128, 128), np.arange(-128, 128))]
LEFT, RIGHT = (array.astype(np.int8) for array in PAIRS)


def _truncated(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return torch.div(torch.tensor(a), torch.tensor(b), rounding_mode="trunc").numpy()


def _bits(a: np.ndarray) -> np.ndarray:
    return a & 255


ON_BYTES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "arith.addi": lambda a, b: a + b,
    "arith.subi": lambda a, b: a - b,
    "arith.muli": lambda a, b: a * b,
    "arith.andi": lambda a, b: a & b,
    "arith.ori": lambda a, b: a | b,
    "arith.xori": lambda a, b: a ^ b,
    "arith.minsi": np.minimum,
    "arith.maxsi": np.maximum,
    "arith.minui": lambda a, b: np.minimum(_bits(a), _bits(b)),
    "arith.maxui": lambda a, b: np.maximum(_bits(a), _bits(b)),
    "tt.mulhiui": lambda a, b: _bits(a) * _bits(b) >> 8,
}
DIVIDING_BYTES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "arith.divsi": _truncated,
    "arith.remsi": lambda a, b: a - _truncated(a, b) * b,
    "arith.floordivsi": lambda a, b: a // b,
    "arith.ceildivsi": lambda a, b: -(-a // b),
    "arith.divui": lambda a, b: _bits(a) // _bits(b),
    "arith.remui": lambda a, b: _bits(a) % _bits(b),
    "arith.ceildivui": lambda a, b: -(-_bits(a) // _bits(b)),
}


@pytest.mark.parametrize("name", ON_BYTES)
def test_every_pair_of_bytes(name: str) -> None:
    ours, findings = on_arrays(f"{name} {{0}}, {{1}} : {{t0}}", ["i8", "i8"], [LEFT, RIGHT], "i8", np.int8)
    np.testing.assert_array_equal(ours, ON_BYTES[name](*PAIRS).astype(np.int8))
    assert findings == ()


@pytest.mark.parametrize("name", DIVIDING_BYTES)
def test_every_division_of_bytes(name: str) -> None:
    operation = f"{name} {{0}}, {{1}} : {{t0}}"
    divides = RIGHT != 0
    pairs = [array[divides] for array in PAIRS]
    ours, findings = on_arrays(operation, ["i8", "i8"], [LEFT[divides], RIGHT[divides]], "i8", np.int8)
    np.testing.assert_array_equal(ours, DIVIDING_BYTES[name](*pairs).astype(np.int8))
    assert findings == ()
    _, (finding,) = on_arrays(operation, ["i8", "i8"], [LEFT, RIGHT], "i8", np.int8)
    assert (finding.kind, finding.count) == (Kind.DIVISION_BY_ZERO, 256)


@pytest.mark.parametrize(("name", "sign"), [("arith.shli", 0), ("arith.shrsi", 1), ("arith.shrui", 0)])
def test_every_shift_of_a_byte(name: str, sign: int) -> None:
    wide = PAIRS[0] if sign else _bits(PAIRS[0])
    amount = np.minimum(_bits(PAIRS[1]), 8)
    wanted = wide << amount if name == "arith.shli" else wide >> amount
    ours, _ = on_arrays(f"{name} {{0}}, {{1}} : {{t0}}", ["i8", "i8"], [LEFT, RIGHT], "i8", np.int8)
    np.testing.assert_array_equal(ours, wanted.astype(np.int8))


COMPARED = {"eq": "==", "ne": "!=", "slt": "<", "sle": "<=", "sgt": ">", "sge": ">="}
COMPARED |= {"ult": "<", "ule": "<=", "ugt": ">", "uge": ">="}


@pytest.mark.parametrize("predicate", COMPARED)
def test_every_comparison_of_bytes(predicate: str) -> None:
    a, b = (_bits(array) for array in PAIRS) if predicate[0] == "u" else PAIRS
    wanted = eval(f"a {COMPARED[predicate]} b", {"a": a, "b": b})
    ours, _ = on_arrays(f"arith.cmpi {predicate}, {{0}}, {{1}} : {{t0}}", ["i8", "i8"], [LEFT, RIGHT], "i1", np.uint8)
    np.testing.assert_array_equal(ours, wanted)


@pytest.mark.parametrize(
    ("operation", "source", "target", "wanted"),
    [
        ("arith.extsi {0} : {t0} to {r}", np.arange(-128, 128, dtype=np.int8), ("i64", np.int64), lambda x: x),
        ("arith.extui {0} : {t0} to {r}", np.arange(-128, 128, dtype=np.int8), ("i32", np.int32), lambda x: x & 255),
        (
            "math.ctpop {0} : {t0}",
            np.arange(-128, 128, dtype=np.int8),
            ("i8", np.int8),
            lambda x: _count(x, str.count, "1"),
        ),
        ("math.ctlz {0} : {t0}", np.arange(-128, 128, dtype=np.int8), ("i8", np.int8), lambda x: _count(x, _leading)),
        ("math.cttz {0} : {t0}", np.arange(-128, 128, dtype=np.int8), ("i8", np.int8), lambda x: _count(x, _trailing)),
        ("math.absi {0} : {t0}", np.arange(-128, 128, dtype=np.int8), ("i8", np.int8), np.abs),
    ],
)
def test_every_byte(operation: str, source: np.ndarray, target: tuple[str, type], wanted: Callable) -> None:
    ours, _ = on_arrays(operation, ["i8"], [source], *target)
    np.testing.assert_array_equal(ours, wanted(source.astype(np.int64)).astype(target[1]))


def _count(values: np.ndarray, count: Callable, *more: str) -> np.ndarray:
    return np.array([count(f"{value & 255:08b}", *more) for value in values.tolist()])


def _leading(bits: str) -> int:
    return len(bits) - len(bits.lstrip("0"))


def _trailing(bits: str) -> int:
    return len(bits) - len(bits.rstrip("0"))


def test_one_bit_is_minus_one_where_it_has_a_sign() -> None:
    bits = np.array([0, 1, 0, 1], np.uint8)
    other = np.array([0, 0, 1, 1], np.uint8)
    assert on_arrays("arith.extsi {0} : {t0} to {r}", ["i1"], [bits], "i32", np.int32)[0].tolist() == [0, -1, 0, -1]
    assert on_arrays("arith.extui {0} : {t0} to {r}", ["i1"], [bits], "i32", np.int32)[0].tolist() == [0, 1, 0, 1]
    assert on_arrays("arith.sitofp {0} : {t0} to {r}", ["i1"], [bits], "f32", np.float32)[0].tolist() == [0, -1, 0, -1]
    for predicate, wanted in (("slt", [0, 1, 0, 0]), ("ult", [0, 0, 1, 0])):
        ours, _ = on_arrays(
            f"arith.cmpi {predicate}, {{0}}, {{1}} : {{t0}}", ["i1", "i1"], [bits, other], "i1", np.uint8
        )
        assert ours.tolist() == wanted
    assert on_arrays("arith.addi {0}, {1} : {t0}", ["i1", "i1"], [bits, other], "i1", np.uint8)[0].tolist() == [
        0,
        1,
        1,
        0,
    ]


WHOLE = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WHOLE, WHOLE), min_size=1, max_size=64))
@example([(-(2**63), -1), (2**63 - 1, 2**63 - 1), (-1, -1), (-(2**63), -(2**63))])
def test_64_bits_wrap_around(pairs: list[tuple[int, int]]) -> None:
    left, right = (np.array(column, np.int64) for column in zip(*pairs, strict=True))

    def wrapped(values: list[int]) -> np.ndarray:
        return np.array([value & (2**64 - 1) for value in values], np.uint64).view(np.int64)

    mask = 2**64 - 1
    for name, wanted in (
        ("arith.muli", [a * b for a, b in pairs]),
        ("tt.mulhiui", [(a & mask) * (b & mask) >> 64 for a, b in pairs]),
        ("arith.divsi", [abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if b else -1 for a, b in pairs]),
        ("arith.divui", [(a & mask) // (b & mask) if b else -1 for a, b in pairs]),
    ):
        ours, _ = on_arrays(f"{name} {{0}}, {{1}} : {{t0}}", ["i64", "i64"], [left, right], "i64", np.int64)
        np.testing.assert_array_equal(ours, wrapped(wanted), err_msg=name)
