"""Single operations against torch, Python's integers and exact fractions: exhaustively where a type has few values."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

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


# ── floats ──

TORCH = {
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "f8E4M3FN": torch.float8_e4m3fn,
    "f8E5M2": torch.float8_e5m2,
    "f8E4M3FNUZ": torch.float8_e4m3fnuz,
    "f8E5M2FNUZ": torch.float8_e5m2fnuz,
}
STORED = {"f16": np.float16, "bf16": np.uint16}
LARGEST = {name: torch.finfo(kind).max for name, kind in TORCH.items()}


def _floats() -> np.ndarray:
    """float32 of all exponents, random and close to where roundings change."""
    random = np.random.default_rng(0).integers(0, 2**32, 1 << 16, np.uint64).astype(np.uint32)
    near = (random & np.uint32(0xFFFF0000)) + np.random.default_rng(1).integers(0x7FFE, 0x8003, 1 << 16).astype(
        np.uint32
    )
    return np.concatenate([random, near]).view(np.float32)


def _as_torch(raw: np.ndarray, kind: str) -> torch.Tensor:
    signed = raw.view(np.int16 if raw.dtype.itemsize == 2 else np.uint8)
    return torch.tensor(signed).view(TORCH[kind])


@pytest.mark.parametrize("kind", TORCH)
def test_rounding_to_a_narrow_float(kind: str) -> None:
    values = _floats()
    values = values[np.abs(values) <= LARGEST[kind]]
    operation = "arith.truncf {0} : {t0} to {r}" if kind in STORED else "tt.fp_to_fp {0}, rounding = rtne : {t0} -> {r}"
    ours, _ = on_arrays(operation, ["f32"], [values], kind, STORED.get(kind, np.uint8))
    wanted = torch.tensor(values).to(TORCH[kind])
    assert torch.equal(_as_torch(ours, kind).float(), wanted.float())
    zero = wanted.float() == 0
    assert torch.equal(torch.signbit(_as_torch(ours, kind).float())[zero], torch.signbit(wanted.float())[zero])


@pytest.mark.parametrize("kind", TORCH)
def test_every_value_of_a_narrow_float(kind: str) -> None:
    raw = np.arange(1 << 16, dtype=np.uint16).view(STORED[kind]) if kind in STORED else np.arange(256, dtype=np.uint8)
    ours, _ = on_arrays("arith.extf {0} : {t0} to {r}", [kind], [raw], "f32", np.float32)
    np.testing.assert_array_equal(ours, _as_torch(raw, kind).float().numpy())


@pytest.mark.parametrize("kind", TORCH)
def test_beyond_the_largest_narrow_float(kind: str) -> None:
    values = np.array([np.inf, -np.inf, np.nan, 3e38], np.float32)
    operation = "arith.truncf {0} : {t0} to {r}" if kind in STORED else "tt.fp_to_fp {0}, rounding = rtne : {t0} -> {r}"
    ours, _ = on_arrays(operation, ["f32"], [values], kind, STORED.get(kind, np.uint8))
    top = math.inf if kind in STORED else LARGEST[kind]
    last = torch.tensor(3e38).bfloat16().item() if kind == "bf16" else top
    np.testing.assert_array_equal(_as_torch(ours, kind).float().numpy(), np.float32([top, -top, math.nan, last]))


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-6e4, max_value=6e4))
@example(1.00390625 + 2**-40)
@example(1.00390625 - 2**-40)
@example(-(1 + 2**-11) - 2**-45)
def test_float64_is_rounded_once(value: float) -> None:
    """To f16 and bf16 the nearest of the two neighbours, and not the nearest to a float32 in between."""
    for kind in STORED:
        raw, _ = on_arrays("arith.truncf {0} : {t0} to {r}", ["f64"], [np.array([value])], kind, STORED[kind])
        ours = Fraction(_as_torch(raw, kind).double().item())
        around = (raw.view(np.uint16) + np.array([-1, 1])).astype(np.uint16).view(STORED[kind])
        others = [other for other in _as_torch(around, kind).double().tolist() if math.isfinite(other)]
        assert all(abs(ours - Fraction(value)) <= abs(Fraction(other) - Fraction(value)) for other in others)


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize(("name", "function"), [("addf", torch.add), ("mulf", torch.mul), ("divf", torch.div)])
def test_narrow_arithmetic_is_correctly_rounded(kind: str, name: str, function: Callable) -> None:
    raw = [
        np.random.default_rng(seed).integers(0, 1 << 16, 1 << 14).astype(np.uint16).view(STORED[kind])
        for seed in (2, 3)
    ]
    ours, _ = on_arrays(f"arith.{name} {{0}}, {{1}} : {{t0}}", [kind, kind], raw, kind, STORED[kind])
    wanted = function(*(_as_torch(array, kind).double() for array in raw)).to(TORCH[kind])
    np.testing.assert_array_equal(_as_torch(ours, kind).float().numpy(), wanted.float().numpy())


SPECIAL = np.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan, 1e-45], np.float32)
GRID = [array.ravel() for array in np.meshgrid(SPECIAL, SPECIAL)]


@pytest.mark.parametrize("name", ["maximumf", "minimumf", "maxnumf", "minnumf"])
def test_nan_in_a_maximum(name: str) -> None:
    functions = {"maximumf": torch.maximum, "minimumf": torch.minimum, "maxnumf": torch.fmax, "minnumf": torch.fmin}
    ours, _ = on_arrays(f"arith.{name} {{0}}, {{1}} : {{t0}}", ["f32", "f32"], GRID, "f32", np.float32)
    np.testing.assert_array_equal(ours, functions[name](*(torch.tensor(array) for array in GRID)).numpy())


@pytest.mark.parametrize(
    "predicate", ["oeq", "ogt", "oge", "olt", "ole", "one", "ord", "ueq", "ugt", "uge", "ult", "ule", "une", "uno"]
)
def test_comparisons_with_nan(predicate: str) -> None:
    def holds(a: float, b: float) -> bool:
        unordered = math.isnan(a) or math.isnan(b)
        if predicate in ("ord", "uno"):
            return unordered == (predicate == "uno")
        plain = {"eq": a == b, "gt": a > b, "ge": a >= b, "lt": a < b, "le": a <= b, "ne": a != b}[predicate[1:]]
        return predicate[0] == "u" if unordered else plain

    ours, _ = on_arrays(f"arith.cmpf {predicate}, {{0}}, {{1}} : {{t0}}", ["f32", "f32"], GRID, "i1", np.uint8)
    assert ours.tolist() == [holds(float(a), float(b)) for a, b in zip(*GRID, strict=True)]


def test_floats_to_integers_saturate() -> None:
    values = np.array([-2.9, 2.9, 300.5, -300.5, 3e9, -3e9, 5e18, 1e30, -1e30, np.inf, -np.inf, np.nan], np.float32)

    def clamped(low: int, high: int) -> list[int]:
        return [0 if math.isnan(x) else low if x < low else high if x > high else int(x) for x in values.tolist()]

    for name, target, stored, low, high in (
        ("fptosi", "i8", np.int8, -128, 127),
        ("fptosi", "i32", np.int32, -(2**31), 2**31 - 1),
        ("fptosi", "i64", np.int64, -(2**63), 2**63 - 1),
        ("fptoui", "i8", np.uint8, 0, 255),
        ("fptoui", "i32", np.uint32, 0, 2**32 - 1),
        ("fptoui", "i64", np.uint64, 0, 2**64 - 1),
    ):
        ours, _ = on_arrays(f"arith.{name} {{0}} : {{t0}} to {{r}}", ["f32"], [values], target, stored)
        assert ours.tolist() == clamped(low, high), (name, target)


def test_integers_to_floats_are_rounded_once() -> None:
    whole = np.random.default_rng(4).integers(-(2**31), 2**31, 4096).astype(np.int32)
    for kind, stored in (("f32", np.float32), ("bf16", np.uint16)):
        ours, _ = on_arrays("arith.sitofp {0} : {t0} to {r}", ["i32"], [whole], kind, stored)
        if kind == "f32":
            np.testing.assert_array_equal(ours, whole.astype(np.float32))
        else:
            error = np.abs(_as_torch(ours, kind).double().numpy() - whole)
            assert (error <= np.maximum(np.abs(whole.astype(np.float64)) / 256, 0.5)).all()
    ours, _ = on_arrays("arith.uitofp {0} : {t0} to {r}", ["i32"], [whole], "f32", np.float32)
    np.testing.assert_array_equal(ours, whole.view(np.uint32).astype(np.float32))


FUNCTIONS = {
    "math.exp": np.exp, "math.exp2": np.exp2, "math.log": np.log, "math.log2": np.log2, "math.sqrt": np.sqrt,
    "math.sin": np.sin, "math.cos": np.cos, "math.tanh": np.tanh, "math.log1p": np.log1p, "math.expm1": np.expm1,
    "math.rsqrt": lambda x: 1 / np.sqrt(x), "math.erf": np.vectorize(math.erf), "math.erfc": np.vectorize(math.erfc),
    "math.floor": np.floor, "math.ceil": np.ceil, "math.roundeven": np.rint, "math.absf": np.abs,
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("kind", "units"), [("f32", 4), ("f64", 4)])
def test_functions_within_units_in_the_last_place(name: str, kind: str, units: int) -> None:
    stored = {"f32": np.float32, "f64": np.float64}[kind]
    values = np.concatenate([np.linspace(-20, 20, 4001), np.geomspace(1e-30, 30, 2000), [0.0, 0.46875, 4.0]])
    values = values.astype(stored)
    if name in ("math.log", "math.log2", "math.sqrt", "math.rsqrt"):
        values = np.abs(values) + stored(1e-30)
    if name == "math.log1p":
        values = values[values > -1]
    ours, _ = on_arrays(f"{name} {{0}} : {{t0}}", [kind], [values], kind, stored)
    wanted = FUNCTIONS[name](values.astype(np.float64))
    # Near a zero of sine and cosine the argument's own last place is what counts.
    allowed = units * np.spacing(np.abs(wanted).astype(stored)) + (1e-7 if name in ("math.sin", "math.cos") else 0)
    assert (np.abs(ours - wanted) <= allowed).all()


@pytest.mark.parametrize(
    ("symbol", "function"),
    [
        ("__nv_tanhf", np.tanh),
        ("__nv_fast_expf", np.exp),
        ("__nv_rsqrtf", lambda x: 1 / np.sqrt(x)),
        ("__ocml_log1p_f32", np.log1p),
    ],
)
def test_library_functions_by_their_symbols(symbol: str, function: Callable) -> None:
    values = np.geomspace(1e-3, 20, 500).astype(np.float32)
    operation = f'tt.extern_elementwise {{0}} {{{{pure = true, symbol = "{symbol}"}}}} : ({{t0}}) -> {{r}}'
    ours, _ = on_arrays(operation, ["f32"], [values], "f32", np.float32)
    np.testing.assert_allclose(ours, function(values.astype(np.float64)), rtol=5e-7)


def test_a_bitcast_keeps_bits() -> None:
    raw = np.random.default_rng(5).integers(0, 1 << 16, 4096).astype(np.uint16)
    numbers = raw[~np.isnan(raw.view(np.float16)) & ((raw & 0x7F80) != 0x7F80)]
    for kind in STORED:
        ours, _ = on_arrays("tt.bitcast {0} : {t0} -> {r}", [kind], [numbers.view(STORED[kind])], "i16", np.int16)
        np.testing.assert_array_equal(ours.view(np.uint16), numbers)


def test_a_fused_operation_rounds_once() -> None:
    a = np.float32([1 + 2**-12, 3.0, 2**-75])
    ours, _ = on_arrays("math.fma {0}, {1}, {2} : {t0}", ["f32"] * 3, [a, a, -(a * a)], "f32", np.float32)
    exact = [float(Fraction(float(x)) ** 2 - Fraction(float(x * x))) for x in a]
    np.testing.assert_array_equal(ours, np.float32(exact))


def test_clamp_and_nan() -> None:
    x, low, high = np.float32([-1, 0.5, 2, np.nan]), np.zeros(4, np.float32), np.ones(4, np.float32)
    for propagate, last in (("none", 0.0), ("all", math.nan)):
        operation = f"tt.clampf {{0}}, {{1}}, {{2}}, propagateNan = {propagate} : {{t0}}"
        ours, _ = on_arrays(operation, ["f32"] * 3, [x, low, high], "f32", np.float32)
        np.testing.assert_array_equal(ours, np.float32([0, 0.5, 1, last]))
