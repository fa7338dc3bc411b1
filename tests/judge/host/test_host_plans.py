"""Launch plans: what of a host code's doing can be written down, and what ends the plan with a reason.

The host follows every entry without contents, on a machine without a GPU as well; plans are part of the observation.
"""

from __future__ import annotations

from typing import Any

import pytest
from host_bench import DOUBLE, EXAMPLES, Bench

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.host.plan import Copy, Fill, KernelLaunch, LaunchPlan, plan_from

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


def test_memory_that_is_filled_or_copied_is_part_of_the_plan(bench: Bench, doubling: OpenedTask) -> None:
    zeros = plan(bench, doubling, edited(("torch.empty_like(x)", "torch.zeros_like(x)")))
    assert [type(step) for step in zeros.steps] == [Fill, KernelLaunch]
    copied = plan(bench, doubling, edited((LAUNCH, "    x = x.clone()\n" + LAUNCH)))
    assert [type(step) for step in copied.steps] == [Copy, KernelLaunch]
    wide = plan(bench, doubling, edited(("    return out", "    return out.to(torch.float64).to(out.dtype)")))
    assert [type(step) for step in wide.steps] == [KernelLaunch, Copy, Copy]


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


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([("    return out", "    return torch.softmax(out, -1)")], "softmax"),
        ([("    return out", "    out += 1\n    return out")], "add_"),
        ([("    return out", "    out[0] = 0\n    return out")], "by index"),
        ([("    return out", "    return out.as_subclass(type('Own', (torch.Tensor,), {}))")], "Own"),
        ([("    return out", "    return out, 3")], "int"),
        ([("torch.empty_like(x)", "torch.rand_like(x)")], "rand_like"),
    ],
    ids=["library", "in place", "by index", "subclass", "number", "random"],
)
def test_what_a_plan_cannot_hold(
    bench: Bench, doubling: OpenedTask, changes: list[tuple[str, str]], reason: str
) -> None:
    found = bench.judge(doubling, edited(*changes)).raw["plans"]
    assert found and all(reason in one.get("why_not", "") for one in found.values()), found


def test_memory_of_an_earlier_call_is_in_no_plan(bench: Bench, doubling: OpenedTask) -> None:
    kept = edited(
        ("def double(", "KEPT = []\n\n\ndef double("),
        ("    out = torch.empty_like(x)\n", "    KEPT.append(torch.empty_like(x))\n    out = KEPT[0][: x.numel()]\n"),
    )
    first, *others = bench.judge(doubling, kept).raw["plans"].values()
    assert "plan" in first
    assert all("this call did not make" in one["why_not"] for one in others)


def test_an_autotuned_kernel_is_not_planned(bench: Bench, doubling: OpenedTask) -> None:
    tuned = edited(
        (
            "@triton.jit\n",
            "@triton.autotune([triton.Config({}, num_warps=n) for n in (2, 4)], key=['n'])\n@triton.jit\n",
        )
    )
    found = bench.judge(doubling, tuned).raw["plans"]
    assert all("autotuned" in one["why_not"] for one in found.values())
