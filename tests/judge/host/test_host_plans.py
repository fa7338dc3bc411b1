"""Launch plans, as the judge host sends them.

The host follows every entry without contents, on a machine without a GPU as well; plans are part of the observation.
What of host code plans hold is tried in test_traced_plans.py.
"""

from __future__ import annotations

from typing import Any

import pytest
from host_bench import DOUBLE, EXAMPLES, Bench

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.host.plan import KernelLaunch, LaunchPlan
from evolve_core.judge.host.planreading import plan_from

LAUNCH = "    double_kernel[(triton.cdiv(n, 256),)](x, out, n, BLOCK=256)\n"


def edited(*changes: tuple[str, str]) -> str:
    source = DOUBLE
    for before, after in changes:
        assert source.count(before) == 1, before
        source = source.replace(before, after)
    return source


def plans(bench: Bench, opened: OpenedTask, source: str) -> list[dict[str, Any]]:
    observed = bench.judge(opened, source)
    assert observed.failure is None, observed.failure
    return list(observed.raw["plans"].values())


def plan(bench: Bench, opened: OpenedTask, source: str) -> LaunchPlan:
    found = plans(bench, opened, source)
    assert all("plan" in one for one in found), found
    return plan_from(found[0]["plan"])


@pytest.mark.parametrize("name", sorted(file.stem for file in EXAMPLES.glob("*.py") if ".evolve" not in file.name))
def test_every_example_is_launched_by_a_plan(bench: Bench, name: str) -> None:
    opened = bench.open_example(name)
    found = opened.baseline.raw["plans"]
    assert set(found) == {one.id for one in opened.workloads if one.is_timed}
    assert all("plan" in one for one in found.values()), found


def test_a_plan_has_what_the_call_has(bench: Bench, doubling: OpenedTask) -> None:
    found = plan(bench, doubling, DOUBLE)
    (launch,) = found.steps
    assert isinstance(launch, KernelLaunch)
    pointers = [one for one in launch.arguments if one.memory is not None]
    assert [found.memories[one.memory or 0].given for one in pointers] == ["x", ""]
    assert found.outputs is not None and found.outputs[0].view.memory == pointers[1].memory
    assert found.binaries == {launch.binary}
    assert found == plan_from(found.as_json())


def test_none_among_the_outputs_is_part_of_the_plan(bench: Bench, doubling: OpenedTask) -> None:
    outputs = plan(bench, doubling, edited(("    return out\n", "    return out, None\n"))).outputs
    assert outputs is not None and [(one.name, one.view is None) for one in outputs] == [
        ("out[0]", False),
        ("out[1]", True),
    ]


def test_a_pointer_into_a_tensor_keeps_its_offset(bench: Bench, doubling: OpenedTask) -> None:
    second = (
        "    m = n // 2\n"
        + LAUNCH.replace("(x, out, n", "(x[m:], out[m:], n - m")
        + LAUNCH.replace("n, BLOCK", "m, BLOCK")
    )
    found = plan(bench, doubling, edited((LAUNCH, second)))
    first, last = (step for step in found.steps if isinstance(step, KernelLaunch))
    count = found.givens[0].shape[0]
    assert [one.offset for one in first.arguments[:2]] == [4 * (count // 2)] * 2
    assert [one.offset for one in last.arguments[:2]] == [0, 0]


def test_what_has_no_plan_is_told_with_the_observation(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, edited(("torch.empty_like(x)", "torch.rand_like(x)")))
    assert "aten::rand_like.default (kernels.py:15)" in dict(observed.environment)["no launch plan because"]
    assert "no launch plan because" not in dict(doubling.baseline.environment)
