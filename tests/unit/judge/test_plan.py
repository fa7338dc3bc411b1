"""A plan comes from a process that ran foreign code: what is read, what is refused, what is carried out."""

from __future__ import annotations

import ctypes
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evolve_core.judge.host.binaries import BinaryStore
from evolve_core.judge.host.carrying import OrdinaryRoom
from evolve_core.judge.host.errors import StepError
from evolve_core.judge.host.gpu import kernels
from evolve_core.judge.host.gpu.arguments import scalar
from evolve_core.judge.host.gpu.guarded import Edge, place
from evolve_core.judge.host.gpu.planned import PlannedRunner, kept_alignments
from evolve_core.judge.host.plan import (
    Argument,
    Copy,
    Fill,
    Given,
    KernelLaunch,
    LaunchPlan,
    Memory,
    Output,
    View,
)
from evolve_core.judge.host.planreading import plan_from
from evolve_core.judge.host.planrules import BadPlan
from evolve_core.judge.host.tier import Plans, complete, joint

CUBIN = b"no real kernel"
BINARY = hashlib.sha256(CUBIN).hexdigest()
WHOLE = View(1, 0, "float32", (4, 2), (2, 1))
LAUNCH = KernelLaunch(
    BINARY, "kernel", (2, 1, 1), (128, 1, 1), 0, (Argument(memory=0, offset=8), Argument(scalar="i32", value=-7))
)
PLAN = LaunchPlan(
    givens=(Given("x", "float32", (4, 2), (2, 1)), Given("eps", value=1e-5)),
    memories=(Memory("x", "float32", 0), Memory("", "float32", 8)),
    steps=(
        Fill(WHOLE, float("-inf")),
        LAUNCH,
        Copy(View(0, 4, "float32", (3,), (2,)), View(1, 0, "float32", (3,), (1,))),
    ),
    outputs=(Output("out", WHOLE), Output("out[1]", View(0, 0, "float32", (8,), (1,))), Output("out[2]", None)),
)


def test_a_plan_survives_its_journey() -> None:
    assert plan_from(PLAN.as_json()) == PLAN


@pytest.mark.parametrize(
    "change",
    [
        {"steps": (replace(LAUNCH, grid=(0, 1, 1)),)},
        {"steps": (replace(LAUNCH, grid=(1, 65536, 1)),)},
        {"steps": (replace(LAUNCH, block=(2048, 1, 1)),)},
        {"steps": (replace(LAUNCH, binary="../../etc/passwd"),)},
        {"steps": (replace(LAUNCH, arguments=(Argument(memory=9),)),)},
        {"steps": (replace(LAUNCH, arguments=(Argument(scalar="str"),)),)},
        {"steps": (LAUNCH,) * 300},
        {"memories": (Memory("y", "float32", 0),), "steps": (), "outputs": None},
        {"memories": (Memory("x", "float32", -1), Memory("", "float32", 8))},
        {"outputs": (Output("out", replace(WHOLE, memory=2)),)},
    ],
)
def test_what_the_driver_must_not_be_asked_is_no_plan(change: dict[str, Any]) -> None:
    with pytest.raises(BadPlan):
        plan_from(replace(PLAN, **change).as_json())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(part=st.sampled_from(["givens", "memories", "prelude", "steps", "outputs", "untimed"]), value=_JSON)
def test_any_other_json_is_refused_or_harmless(part: str, value: Any) -> None:
    try:
        found = plan_from({**PLAN.as_json(), part: value})
    except BadPlan:
        return
    assert found == plan_from(found.as_json())


class Driver:
    """Writes down what would be launched; the binaries take what the plans give them, and Triton's two pointers."""

    def __init__(self) -> None:
        self.launches: list[tuple[str, tuple[int, ...], list[Any]]] = []
        self.calls: list[str] = []

    def call(self, function: str, *arguments: Any) -> None:
        self.calls.append(function)

    def load_module(self, binary: bytes) -> bytes:
        self.calls.append("load")
        return binary

    def function(self, module: bytes, name: str) -> str:
        return name

    def shared_limit_bytes(self) -> int:
        return 1 << 16

    def parameter_bytes(self, function: str) -> list[int]:
        return [8, 4, 8, 8]

    def launch(self, function: str, grid: Any, block: Any, shared: int, stream: int, arguments: list[Any]) -> None:
        self.launches.append((function, (*grid, *block), [one.value for one in arguments]))


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    made = Driver()
    monkeypatch.setattr(kernels, "Driver", lambda: made)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: type("Stream", (), {"cuda_stream": 0}))
    return made


@pytest.fixture
def binaries(tmp_path: Path) -> Path:
    (tmp_path / f"{BINARY}.cubin").write_bytes(CUBIN)
    return tmp_path


def inputs() -> dict[str, Any]:
    return {"x": torch.arange(8.0).reshape(4, 2), "eps": 1e-5}


def test_a_plan_is_carried_out(driver: Driver, binaries: Path) -> None:
    given = inputs()
    (name, out), (second, same), third = PlannedRunner([PLAN], binaries, "cpu")(given)
    assert (name, second, third) == ("out", "out[1]", ("out[2]", None))
    assert out.flatten().tolist() == [1.0, 3.0, 5.0, *[float("-inf")] * 5]
    assert same.data_ptr() == given["x"].data_ptr()
    assert driver.launches == [("kernel", (2, 1, 1, 128, 1, 1), [given["x"].data_ptr() + 8, -7, 0, 0])]


@pytest.mark.parametrize(
    "other",
    [
        {"x": torch.zeros(4, 3), "eps": 1e-5},
        {"x": torch.zeros(4, 2), "eps": 1e-6},
        {"x": torch.zeros(4, 2, dtype=torch.float64), "eps": 1e-5},
        {"x": torch.zeros(9)[1:].reshape(4, 2), "eps": 1e-5},
        {"x": torch.zeros(2, 4).t(), "eps": 1e-5},
        {"x": torch.zeros(4, 2)},
    ],
    ids=["shape", "value", "dtype", "alignment", "stride", "missing"],
)
def test_a_plan_is_for_the_inputs_it_was_made_for(driver: Driver, binaries: Path, other: dict[str, Any]) -> None:
    with pytest.raises(StepError, match="no plan"):
        PlannedRunner([PLAN], binaries, "cpu")(other)
    assert not driver.launches


def test_a_view_outside_its_memory_is_refused(driver: Driver, binaries: Path) -> None:
    for view in (
        replace(WHOLE, offset=4),
        replace(WHOLE, offset=-4),
        replace(WHOLE, shape=(5, 2)),
        replace(WHOLE, offset=2),
    ):
        with pytest.raises(StepError, match="outside its memory"):
            PlannedRunner([replace(PLAN, steps=(Fill(view, 0),))], binaries, "cpu")(inputs())


def test_a_binary_must_take_what_the_plan_gives(driver: Driver, binaries: Path) -> None:
    wrong = replace(LAUNCH, arguments=(*LAUNCH.arguments, Argument(scalar="fp16", value=1.0)))
    with pytest.raises(StepError, match=r"parameters of \[8, 4, 8, 8\] bytes"):
        PlannedRunner([replace(PLAN, steps=(wrong,))], binaries, "cpu")(inputs())
    greedy = replace(LAUNCH, shared_bytes=1 << 17)
    with pytest.raises(StepError, match="131072 bytes of shared memory"):
        PlannedRunner([replace(PLAN, steps=(greedy,))], binaries, "cpu")(inputs())


def test_a_timed_call_finds_nothing_of_an_earlier_one(
    driver: Driver, binaries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that remembers answers needs memory that stays: neither buffers nor scratch do."""
    kept: dict[tuple[int, torch.dtype], torch.Tensor] = {}

    def same_again(self: OrdinaryRoom, count: int, dtype: torch.dtype) -> torch.Tensor:
        return kept.setdefault((count, dtype), torch.zeros(count, dtype=dtype))

    monkeypatch.setattr(OrdinaryRoom, "_fresh", same_again)
    plan = replace(PLAN, steps=(replace(LAUNCH, scratch_bytes=3),))
    runner = PlannedRunner([plan], binaries, "cpu")
    runner.prepared(inputs(), anew=False)()
    for memory in kept.values():
        memory.zero_()
    call = runner.prepared(inputs(), anew=False)
    assert {tensor.dtype: tensor.numel() for tensor in kept.values()} == {torch.float32: 8, torch.uint8: 6}
    assert all((tensor.view(torch.uint8) == 0xFF).all() for tensor in kept.values())
    assert not driver.launches[1:]
    (_, out), *_rest = call()
    assert out.isnan().all() and len(driver.launches) == 2


def test_modules_are_loaded_anew_for_a_call_that_must_not_find_what_they_keep(driver: Driver, binaries: Path) -> None:
    """Once for both kernels of a file, which share what it keeps, and before the call."""
    plan = replace(PLAN, steps=(LAUNCH, replace(LAUNCH, function="other")))
    runner = PlannedRunner([plan], binaries, "cpu")
    assert runner.keeps_memory(inputs())  # nobody can read the file
    runner.prepared(inputs(), anew=False)()
    assert driver.calls == ["load"] and len(driver.launches) == 2
    call = runner.prepared(inputs(), anew=True)
    renewed = ["cuCtxSynchronize", "cuModuleUnload", "load", "cuFuncLoad", "cuFuncLoad"]
    assert driver.calls[1:] == renewed and len(driver.launches) == 2
    call()
    assert driver.calls[1:] == renewed and len(driver.launches) == 4


PAGES, BYTES = 2 << 20, 4 * 33


@pytest.mark.parametrize(
    ("shift", "offsets", "kept", "slack"),
    [(0, (0,), 16, 12), (4, (0,), 4, 0), (8, (0,), 8, 4), (4, (12,), 16, 8), (4, (4, 8), 8, 0), (0, (4,), 4, 0)],
    ids=["promised", "off-by-one-element", "half", "promised-further-in", "two-views", "only-seen-further-in"],
)
def test_a_tensor_lies_as_close_to_the_guard_as_its_promises_allow(
    shift: int, offsets: tuple[int, ...], kept: int, slack: int
) -> None:
    launch = replace(LAUNCH, arguments=tuple(Argument(memory=0, offset=offset) for offset in offsets))
    plan = replace(PLAN, givens=(Given("x", "float32", (33,), (1,), shift), PLAN.givens[1]), steps=(launch,))
    assert kept_alignments(plan) == {"x": kept}
    back = place(Edge.BACK, PAGES, BYTES, shift % kept, kept)
    assert PAGES - (back + BYTES) == slack
    assert all((back + offset) % kept == (shift + offset) % kept for offset in offsets)
    assert place(Edge.FRONT, PAGES, BYTES, shift % kept, kept) == shift % kept


def test_what_no_kernel_sees_keeps_its_place() -> None:
    assert kept_alignments(replace(PLAN, steps=(Fill(WHOLE, 0.0),))) == {}


def test_scalars_have_the_bits_that_the_kernel_reads() -> None:
    def bits(kind: str, value: float) -> bytes:
        return bytes(scalar(Argument(scalar=kind, value=value)))

    assert bits("fp16", 1.5) == b"\x00\x3e" and bits("bf16", 1.5) == b"\xc0\x3f"
    assert bits("fp32", 1.5) == bytes(ctypes.c_float(1.5)) and bits("fp64", 1.5) == bytes(ctypes.c_double(1.5))
    assert bits("i1", True) == b"\x01" and bits("u32", -1) == b"\xff" * 4 and bits("i64", -2) == b"\xfe" + b"\xff" * 7


def test_only_what_a_binary_is_called_gets_into_the_store(tmp_path: Path) -> None:
    store, foreign = BinaryStore(tmp_path / "store"), tmp_path / "foreign"
    foreign.mkdir()
    names = {kind: hashlib.sha256(kind.encode()).hexdigest() for kind in ("file", "link", "pipe", "other", "absent")}
    (foreign / f"{names['file']}.cubin").write_bytes(b"file")
    (tmp_path / "elsewhere").write_bytes(b"link")
    (foreign / f"{names['link']}.cubin").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(foreign / f"{names['pipe']}.cubin")
    (foreign / f"{names['other']}.cubin").write_bytes(b"something else")
    assert store.take(foreign, names.values()) == {names["file"]} == store.at_hand()
    assert (store.folder / f"{names['file']}.cubin").read_bytes() == b"file"


def test_a_binary_stays_as_long_as_somebody_needs_it(tmp_path: Path, binaries: Path) -> None:
    store = BinaryStore(tmp_path / "store")
    for _ in range(2):
        store.take(binaries, [BINARY])
    store.release([BINARY])
    assert store.at_hand() == {BINARY}
    store.release([BINARY])
    assert store.at_hand() == set()


def test_both_kernels_are_planned_or_neither() -> None:
    traced = {"w0": {"plan": PLAN.as_json()}, "w1": {"why_not": "it computes with aten.mm"}}
    whole = complete(traced, ["w0"], {BINARY})
    assert joint(whole, whole) == ({"baseline": {"w0": PLAN.as_json()}, "candidate": {"w0": PLAN.as_json()}}, "")
    assert complete(traced, ["w0"], set()).why_not == "a compiled kernel is missing"
    partial = complete(traced, ["w0", "w1"], {BINARY})
    untimed = {"w0": {"plan": replace(PLAN, untimed=("kernel: the first of 3",)).as_json()}}
    assert "found by timing: kernel: the first of 3" in complete(untimed, ["w0"], {BINARY}).why_not
    assert joint(whole, partial) == (None, "it computes with aten.mm")
    assert joint(partial, whole) == (None, "of your own kernel: it computes with aten.mm")
    assert joint(Plans(), whole)[0] is None
