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
