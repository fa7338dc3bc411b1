"""What the judge host says it saw, parsed: ``dict[str, Any]`` ends here.

Lines count from one, as compilers count. Field names are the protocol's (docs/judge-host-protocol.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from evolve_core.hints.model import KernelFacts, WorkProfile
from evolve_core.hints.parse import kernel_facts, work_profile
from evolve_core.judge.verdict import Trust


class Outcome(StrEnum):
    COMPARED = "compared"
    MISMATCH = "mismatch"
    """Two poisons of uninitialised memory gave different outputs."""
    CRASH = "crash"
    TIMEOUT = "timeout"
    OUT_OF_BOUNDS = "out-of-bounds"
    RAISED = "raised"


@dataclass(frozen=True, slots=True)
class OutputCheck:
    """Statistics of one output against the truth, and of the user's own kernel (``native_*``) on the same inputs.

    ``n`` counts elements. Numbers are None where the output could not be compared.
    ``quantile_ratio`` and ``misrounded``: see judge/host/deviations.py. The latter is None for 32-bit and wider types.
    """

    name: str
    type_ok: bool
    dtype_ok: bool
    shape_ok: bool
    stride_ok: bool
    aliases_input: bool
    nonfinite_ok: bool
    exact: bool
    n: int
    max_abs_truth: float | None = None
    rms_truth: float | None = None
    max_error: float | None = None
    rms_error: float | None = None
    mean_error: float | None = None
    signed_error: float | None = None
    native_max: float | None = None
    native_rms: float | None = None
    native_mean: float | None = None
    native_signed: float | None = None
    quantile_ratio: float | None = None
    row_ratio: float | None = None
    misrounded: float | None = None
    native_misrounded: float | None = None
    ulp: float | None = None


SAMPLED = "sampled"


@dataclass(frozen=True, slots=True)
class OutOfBounds:
    kernel: str
    line: int | None
    tensor: str
    access: str
    message: str


@dataclass(frozen=True, slots=True)
class Check:
    """One run on one checked workload. ``poison`` is what uninitialised memory held.

    ``label``, ``origin`` and ``recipe`` are there where the workload was drawn for this observation alone. Of a timed
    workload with the origin ``SAMPLED``, the outputs are only some places of those.
    """

    workload: str
    seed: int
    poison: str
    outcome: Outcome
    message: str
    inputs_changed: tuple[str, ...]
    outputs: tuple[OutputCheck, ...]
    out_of_bounds: tuple[OutOfBounds, ...]
    poison_equal: bool | None = None
    repeated: bool | None = None
    """Whether the result has the bits of this source's first one on the same inputs; None: this was the first."""
    label: str = ""
    origin: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    distribution: str = ""
    """How the values differ from the workload's own, as ``label`` says too; "" where they do not."""
    before: int | None = None
    """The seed of other inputs that the entry was called with first, in the same process; None: this was the first."""
    launches: int | None = None
    """Launches in this run, and those of the user's own kernel on the same inputs. None: not counted."""
    native_launches: int | None = None
    host_operators: Mapping[str, int] = field(default_factory=dict)
    """torch's operators that this run's host code called, the user's own host code, and reference(): the elements
    handed to each. ``input_elements``: of all inputs; 0: nothing was recorded.
    """
    native_operators: Mapping[str, int] = field(default_factory=dict)
    reference_operators: Mapping[str, int] = field(default_factory=dict)
    input_elements: int = 0
    idle_equal: bool | None = None
    """Whether the outputs are the same where launches do nothing, and the user's own kernel's. None: not looked at."""
    native_idle_equal: bool | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of the entry at a timed workload's real size; ``facts`` indexes ``Observation.kernels``."""

    workload: str
    kernel: str
    grid: tuple[int, int, int]
    facts: int
    num_warps: int
    num_stages: int
    constexprs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Timing:
    """Raw samples of one workload in one process, in nanoseconds; index i of both belongs to one pair."""

    workload: str
    stage: str
    process: int
    baseline_ns: tuple[float, ...]
    candidate_ns: tuple[float, ...]
    cold_l2: bool
    all_outputs_checked: bool
    empty_ns: float = 0.0
    """What an empty measured region costs on this device; 0: not calibrated."""
    baseline_call_ns: tuple[float, ...] = ()
    """A few whole calls, device idle to device idle."""
    candidate_call_ns: tuple[float, ...] = ()
    baseline_launches: int | None = None
    """The fewest launches of Triton kernels in one timed call; None: not counted."""
    candidate_launches: int | None = None
    least_dram_bytes: int = 0
    """What every right kernel has to move and to compute on this workload, as far as can be shown
    (judge/host/gpu/least.py); of the user's own kernel's timing alone.
    """
    least_flops: Mapping[str, float] = field(default_factory=dict)


HOST_FAILURE = "host-failure"
"""A kind of failure that is ours."""


@dataclass(frozen=True, slots=True)
class SeenFailure:
    """``kind`` is a word of verdict.Failure, or ``HOST_FAILURE``, or ``too-large`` (a workload that does not fit)."""

    kind: str
    message: str
    file: str | None = None
    line: int | None = None
    workload: str | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that was seen of one source. ``raw`` is what the host sent, for the evidence."""

    failure: SeenFailure | None
    kernels: tuple[KernelFacts, ...]
    launches: tuple[Launch, ...]
    work: tuple[WorkProfile, ...]
    checks: tuple[Check, ...]
    timing: tuple[Timing, ...]
    environment: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    raw: Mapping[str, Any]
    trust: Trust = Trust.HOST_CODE
    traced: bool = False
    """``launches`` is all of them: the host code ran to its end on every timed workload."""
    unplanned: str = ""
    """Why this source's kernels could not be checked without its host code, where the user's own could; "" else."""
    unaudited: str = ""
    """Why nobody knows what it writes at the timed sizes, where it is known of the user's own kernel; "" else."""
    planned_operators: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By workload that has a launch plan: torch's operators in it, and the elements handed to each."""


@dataclass(frozen=True, slots=True)
class Input:
    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Workload:
    """``role``: ``timed``, ``checked`` or ``both``; ``origin``: ``listed``, ``domain`` or ``derived`` (shrunk).

    ``recipe`` with a check's seed draws the same inputs again (judge/host/tasks.py).
    """

    id: str
    label: str
    weight: float
    origin: str
    role: str
    inputs: tuple[Input, ...]
    recipe: Mapping[str, Any]

    @property
    def is_timed(self) -> bool:
        return self.role in ("timed", "both")


_BOOKKEEPING = frozenset({"seconds", "transfer", "hold", "empty_ns", "peak_bytes"})
"""How a measurement went, not what it rests on: it stays in ``raw`` and with that in the evidence."""


def parse_observation(data: Mapping[str, Any]) -> Observation:
    """Raises KeyError, TypeError or ValueError where the host sent something else than an Observation."""
    environment = dict(data["environment"])
    notes = environment.pop("notes", [])
    trust = Trust(environment.pop("trust", Trust.HOST_CODE))
    return Observation(
        failure=_failure(data["failure"]),
        kernels=tuple(kernel_facts(one) for one in data["kernels"]),
        launches=tuple(_launch(one) for one in data["launches"]),
        work=tuple(work_profile(one) for one in data["work"]),
        checks=tuple(_check(one) for one in data["checks"]),
        timing=tuple(parse_timing(one) for one in data["timing"]),
        environment=tuple(
            (str(key), _text(value))
            for key, value in environment.items()
            if value not in (None, "", []) and key not in _BOOKKEEPING
        ),
        notes=tuple(str(note) for note in notes),
        raw=dict(data),
        trust=trust,
        traced=bool(data.get("traced")),
        unplanned=str(data.get("unplanned") or ""),
        unaudited=str(data.get("unaudited") or ""),
        planned_operators={
            str(name): _operators(said["operators"]) for name, said in data.get("plans", {}).items() if "plan" in said
        },
    )


def nothing_seen(kind: str, message: str) -> Observation:
    """Of a source about which the host said nothing, because it failed (``kind``, as in SeenFailure)."""
    nothing: dict[str, Any] = {name: [] for name in ("kernels", "launches", "work", "checks", "timing")}
    return parse_observation({**nothing, "failure": {"kind": kind, "message": message}, "environment": {}})


def parse_workload(data: Mapping[str, Any]) -> Workload:
    inputs = tuple(Input(str(i["name"]), str(i["dtype"]), tuple(int(n) for n in i["shape"])) for i in data["inputs"])
    return Workload(
        id=str(data["id"]),
        label=str(data["label"]),
        weight=float(data["weight"]),
        origin=str(data["origin"]),
        role=str(data["role"]),
        inputs=inputs,
        recipe=dict(data.get("recipe") or {}),
    )


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items() if part not in (None, "", []))
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(part) for part in value)
    return str(value)


def _failure(data: Mapping[str, Any] | None) -> SeenFailure | None:
    if data is None:
        return None
    return SeenFailure(
        kind=str(data["kind"]),
        message=str(data["message"]),
        file=data.get("file"),
        line=_optional_int(data.get("line")),
        workload=data.get("workload"),
        seed=_optional_int(data.get("seed")),
    )


def _optional_int(value: Any) -> int | None:
    return None if value is None else int(value)


def _launch(data: Mapping[str, Any]) -> Launch:
    x, y, z = (int(n) for n in data["grid"])
    return Launch(
        workload=str(data["workload"]),
        kernel=str(data["kernel"]),
        grid=(x, y, z),
        facts=int(data["facts"]),
        num_warps=int(data["num_warps"]),
        num_stages=int(data["num_stages"]),
        constexprs={str(key): str(value) for key, value in data["constexprs"].items()},
    )


def parse_timing(data: Mapping[str, Any]) -> Timing:
    """Raises KeyError, TypeError or ValueError where the host sent something else than a Timing."""
    least = data.get("least") or {}
    return Timing(
        workload=str(data["workload"]),
        stage=str(data["stage"]),
        process=int(data["process"]),
        baseline_ns=tuple(float(ns) for ns in data["baseline_ns"]),
        candidate_ns=tuple(float(ns) for ns in data["candidate_ns"]),
        cold_l2=bool(data["cold_l2"]),
        all_outputs_checked=bool(data["all_outputs_checked"]),
        empty_ns=float(data.get("empty_ns") or 0.0),
        baseline_call_ns=tuple(float(ns) for ns in data.get("baseline_call_ns", ())),
        candidate_call_ns=tuple(float(ns) for ns in data.get("candidate_call_ns", ())),
        baseline_launches=_optional_int(data.get("baseline_launches")),
        candidate_launches=_optional_int(data.get("candidate_launches")),
        least_dram_bytes=int(least.get("dram_bytes", 0)),
        least_flops={str(kind): float(count) for kind, count in least.get("flops", {}).items()},
    )


def _check(data: Mapping[str, Any]) -> Check:
    return Check(
        workload=str(data["workload"]),
        seed=int(data["seed"]),
        poison=str(data["poison"]),
        outcome=Outcome(data["outcome"]),
        message=str(data["message"]),
        inputs_changed=tuple(str(name) for name in data["inputs_changed"]),
        outputs=tuple(parse_output(one) for one in data["outputs"]),
        out_of_bounds=_out_of_bounds(data.get("out_of_bounds", ())),
        poison_equal=data.get("poison_equal"),
        repeated=data.get("repeated"),
        label=str(data.get("label", "")),
        origin=str(data.get("origin", "")),
        recipe=dict(data.get("recipe") or {}),
        distribution=str(data.get("distribution") or ""),
        before=_optional_int(data.get("before")),
        launches=_optional_int(data.get("launches")),
        native_launches=_optional_int(data.get("native_launches")),
        host_operators=_operators(data.get("host_operators")),
        native_operators=_operators(data.get("native_operators")),
        reference_operators=_operators(data.get("reference_operators")),
        input_elements=int(data.get("input_elements") or 0),
        idle_equal=data.get("idle_equal"),
        native_idle_equal=data.get("native_idle_equal"),
    )


def _operators(data: Mapping[str, Any] | None) -> Mapping[str, int]:
    return {str(name): int(elements) for name, elements in (data or {}).items()}


def _out_of_bounds(data: Sequence[Mapping[str, Any]]) -> tuple[OutOfBounds, ...]:
    return tuple(
        OutOfBounds(
            str(one["kernel"]),
            _optional_int(one.get("line")),
            str(one.get("tensor")),
            str(one.get("access")),
            str(one["message"]),
        )
        for one in data
    )


def parse_output(data: Mapping[str, Any]) -> OutputCheck:
    def number(key: str) -> float | None:
        return None if data.get(key) is None else float(data[key])

    return OutputCheck(
        name=str(data["name"]),
        type_ok=bool(data["type_ok"]),
        dtype_ok=bool(data["dtype_ok"]),
        shape_ok=bool(data["shape_ok"]),
        stride_ok=bool(data["stride_ok"]),
        aliases_input=bool(data["aliases_input"]),
        nonfinite_ok=bool(data["nonfinite_ok"]),
        exact=bool(data["exact"]),
        n=int(data["n"]),
        max_abs_truth=number("max_abs_truth"),
        rms_truth=number("rms_truth"),
        max_error=number("max_error"),
        rms_error=number("rms_error"),
        mean_error=number("mean_error"),
        signed_error=number("signed_error"),
        native_max=number("native_max"),
        native_rms=number("native_rms"),
        native_mean=number("native_mean"),
        native_signed=number("native_signed"),
        quantile_ratio=number("quantile_ratio"),
        row_ratio=number("row_ratio"),
        misrounded=number("misrounded"),
        native_misrounded=number("native_misrounded"),
        ulp=number("ulp"),
    )
