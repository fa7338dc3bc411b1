"""One operator under the project's own rule: the judge's inputs, its comparison, its decision."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.mutants.kit import Function, Operator
from benchmarks.mutants.teeth import teeth_of
from evolve_core.judge.correctness import Accepted, Rejected, judge_checks
from evolve_core.judge.host.buffers import flatten_outputs
from evolve_core.judge.host.compare import Expectation
from evolve_core.judge.host.copies import clone_inputs
from evolve_core.judge.host.distributions import AS_DRAWN, OTHERWISE, VARIED, expected_on, is_sound, measure_on, vary
from evolve_core.judge.host.gpu.inputs import same_bytes
from evolve_core.judge.host.oracle import reference_truth
from evolve_core.judge.host.tasks import TaskModule
from evolve_core.judge.observation import Check, Outcome, OutputCheck

Named = list[tuple[str, Any]]
HONEST, MUTANT, TOOTH, NATIVE = "honest", "mutant", "tooth", "native"
LOOSE = 1e-2
"""rtol and atol of the ``allclose`` that the rule is compared with."""


@dataclass(frozen=True, slots=True)
class Row:
    """The verdict on one implementation with one seed. ``where`` names the check that failed it.

    ``loose``: whether ``allclose`` takes it on the values as drawn, ``loose_varied`` on all values. ``same``: it gave
    the bits of the native one throughout, so that nobody could tell the two apart.
    """

    family: str
    operator: str
    kind: str
    name: str
    seed: int
    accepted: bool
    proven: bool
    reason: str
    where: str
    loose: bool
    loose_varied: bool
    same: bool
    statistics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """Inputs, and what must come out of them."""

    label: str
    distribution: str
    seed: int
    inputs: dict[str, Any]
    truth: Named
    native: Named
    expected: Expectation
    aliased: frozenset[str]
    """Outputs of the native implementation that share memory with an input; a copy of one column may be a view."""


def judged(family: str, operator: Operator, seed: int) -> list[Row]:
    """Every implementation of ``operator`` on inputs drawn from ``seed``."""
    cases = list(drawn(operator, seed))
    teeth = teeth_of(operator, cases[-1].native[0][1])
    groups = {
        NATIVE: {"native": operator.native},
        HONEST: operator.honest,
        MUTANT: operator.mutants,
        TOOTH: {name: one for name, one in teeth.items() if name not in operator.mutants},
    }
    return [
        _row(family, operator.name, kind, name, function, cases, seed)
        for kind, functions in groups.items()
        for name, function in functions.items()
    ]


def drawn(operator: Operator, seed: int) -> Iterator[Case]:
    """Each shape as drawn and with every distribution that the native implementation stands, as the judge does it."""
    number = 1000 * seed
    for shape in operator.shapes:
        for distribution in (AS_DRAWN, *VARIED):
            number += 1
            generator = torch.Generator().manual_seed(number)
            inputs = vary(operator.draw(generator, *shape), distribution)
            truth, own = truth_of(operator, inputs), clone_inputs(inputs)
            native = flatten_outputs(operator.native(**own), own)
            other = OTHERWISE.get(distribution)
            otherwise = truth_of(operator, other(inputs)) if other else None
            if distribution == AS_DRAWN or is_sound(native, truth, distribution, otherwise):
                label = f"{'×'.join(map(str, shape))}, {distribution}"
                measure = measure_on(distribution, native, truth, otherwise)
                expected = expected_on(distribution, measure, truth, otherwise)
                yield Case(label, distribution, number, inputs, truth, native, expected, aliased(native, own))


def task_of(operator: Operator) -> TaskModule:
    """A task with the operator's reference, as the oracle would load it."""
    module = types.ModuleType("study")
    module.__dict__["reference"] = operator.reference
    return TaskModule(file=Path(f"{operator.name}.evolve.py"), copy=Path(operator.name), module=module)


def truth_of(operator: Operator, inputs: dict[str, Any]) -> Named:
    """The reference, called as the oracle calls a task's."""
    truth = reference_truth(task_of(operator), inputs, None)
    narrow = [name for name, value in truth if value.is_floating_point() and value.dtype != torch.float64]
    if narrow:
        raise TypeError(f"the reference of {operator.name} does not compute {narrow[0]} in fp64: let it")
    return truth


def aliased(found: Named, inputs: dict[str, Any]) -> frozenset[str]:
    """Names of the outputs that share memory with an input."""
    memory = {value.untyped_storage().data_ptr() for value in inputs.values() if isinstance(value, torch.Tensor)}
    return frozenset(name for name, value in found if value.untyped_storage().data_ptr() in memory)


def _row(family: str, operator: str, kind: str, name: str, function: Function, cases: list[Case], seed: int) -> Row:
    checks, loose, loose_varied, same = [], True, True, True
    for case in cases:
        inputs = clone_inputs(case.inputs)
        found = flatten_outputs(function(**inputs), inputs)
        checks.append(check_of(case, inputs, found))
        close = all(_close(out, truth) for (_, out), (_, truth) in zip(found, case.truth, strict=True))
        loose = loose and (close or case.distribution != AS_DRAWN)
        loose_varied = loose_varied and close
        same = same and all(_same(a, b) for (_, a), (_, b) in zip(found, case.native, strict=True))
    verdict = judge_checks(checks)
    failed = verdict.check if isinstance(verdict, Rejected) else None
    return Row(
        family=family,
        operator=operator,
        kind=kind,
        name=name,
        seed=seed,
        accepted=isinstance(verdict, Accepted),
        proven=isinstance(verdict, Accepted | Rejected),
        reason="" if isinstance(verdict, Accepted) else verdict.reason,
        where=failed.label if failed else "",
        loose=loose,
        loose_varied=loose_varied,
        same=same,
        statistics=_statistics(failed) if failed else {},
    )


def check_of(case: Case, inputs: dict[str, Any], found: Named) -> Check:
    """The judge's check of one run: ``inputs`` are the arguments after it, ``found`` what it returned."""
    rows = case.expected.compare(found, quantiles=True)
    given = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    views = aliased(found, inputs) - case.aliased
    checked = tuple(OutputCheck(**{**row, "aliases_input": row["name"] in views}) for row in rows)
    changed = tuple(name for name, value in given.items() if not same_bytes(value, case.inputs[name]))
    return Check(
        workload=case.label,
        seed=case.seed,
        poison="nan",
        outcome=Outcome.COMPARED,
        message="",
        inputs_changed=changed,
        outputs=checked,
        out_of_bounds=(),
        label=case.label,
    )


def _statistics(check: Check) -> dict[str, Any]:
    """The numbers of the output with the largest errors relative to the native one's."""
    keys = ("n", "rms_truth", "max_error", "native_max", "rms_error", "native_rms", "signed_error", "native_signed",
            "mean_error", "native_mean", "quantile_ratio", "misrounded", "native_misrounded",
            "ulp")  # fmt: skip
    worst = max(check.outputs, key=lambda out: (out.max_error or 0.0) / ((out.native_max or 0.0) + 1e-300))
    return {key: getattr(worst, key) for key in keys}


def _close(out: torch.Tensor, truth: torch.Tensor) -> bool:
    if out.shape != truth.shape:
        return False
    return torch.allclose(out.double(), truth.double(), rtol=LOOSE, atol=LOOSE, equal_nan=True)


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.stride() == b.stride() and same_bytes(a, b)
