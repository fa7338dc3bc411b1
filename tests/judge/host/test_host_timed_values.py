"""Without a GPU, values at the timed sizes are looked at, at some places of the outputs."""

from __future__ import annotations

import pytest

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.compose import compose
from evolve_core.judge.observation import SAMPLED, Observation
from evolve_core.judge.verdict import Correctness, Stage, Verdict
from tests.judge.host.host_bench import DOUBLE, DOUBLE_TASK, Bench
from tests.judge.redteam.model import edited

LARGE = "n > 500000"
STORE = "tl.store(out_ptr + offsets, x * 2 + x * 0.3, mask=mask)"
WRONG = {
    "zeros": edited(DOUBLE, (STORE, f"tl.store(out_ptr + offsets, tl.where({LARGE}, 0.0, x * 2.3), mask=mask)")),
    "slightly off": edited(DOUBLE, (STORE, f"tl.store(out_ptr + offsets, x * 2.3 + ({LARGE}) * 1e-3, mask=mask)")),
    "its neighbour's": edited(
        DOUBLE,
        ("x_ptr + offsets, mask=mask", f"x_ptr + offsets + ({LARGE}) * 1, mask=mask & (offsets + ({LARGE}) < n)"),
    ),
}
AGAIN = """\
    again = torch.empty_like(out)
    double_kernel[(triton.cdiv(n, 256),)](out, again, n, BLOCK=256)
    return again / 2.3
"""
TWICE = edited(DOUBLE, ("    return out\n", AGAIN))
SUMMED = edited(
    DOUBLE, (STORE, "tl.atomic_add(out_ptr + offsets, x * 2.3, mask=mask)"), ("torch.empty_like", "torch.zeros_like")
)


def verdict_on(opened: OpenedTask, observed: Observation) -> Verdict:
    return compose(opened, observed, target="sm_90", stage=Stage.SCREENING)


def test_right_values_are_right(bench: Bench, doubling: OpenedTask) -> None:
    source = edited(DOUBLE, ("BLOCK=256", "BLOCK=512"), ("cdiv(n, 256)", "cdiv(n, 512)"))
    observed = bench.judge(doubling, source)
    sampled = [check for check in observed.checks if check.origin == SAMPLED]
    assert {check.workload for check in sampled} == {"w0", "w1"}
    assert all(output.n >= 256 and (output.max_error or 0) < 1e-6 for check in sampled for output in check.outputs)
    verdict = verdict_on(doubling, observed)
    assert verdict.correctness is Correctness.CORRECT
    assert "where values were looked at, at 2 timed sizes" in verdict.reason


@pytest.mark.parametrize("name", WRONG)
def test_values_that_are_wrong_only_where_the_size_is_large_are_wrong(
    bench: Bench, doubling: OpenedTask, name: str
) -> None:
    verdict = verdict_on(doubling, bench.judge(doubling, WRONG[name]))
    assert verdict.correctness is Correctness.WRONG, verdict.reason
    assert "1048576" in verdict.reason


def test_what_an_earlier_launch_leaves_is_there(bench: Bench, doubling: OpenedTask) -> None:
    verdict = verdict_on(doubling, bench.judge(doubling, TWICE))
    assert verdict.correctness is Correctness.CORRECT, verdict.reason


def test_what_several_programs_add_up_is_added_up(bench: Bench, doubling: OpenedTask) -> None:
    verdict = verdict_on(doubling, bench.judge(doubling, SUMMED))
    assert verdict.correctness is Correctness.CORRECT, verdict.reason
    wrong = edited(SUMMED, ("[(triton.cdiv(n, 256),)]", f"[(triton.cdiv(n, 256), 1 + ({LARGE}))]"))
    assert verdict_on(doubling, bench.judge(doubling, wrong)).correctness is Correctness.WRONG


LAUNCH = "    double_kernel[(triton.cdiv(n, 256),)](x, out, n, BLOCK=256)\n"


def where_large(*statements: str) -> str:
    return f"    if {LARGE}:\n" + "".join(f"        {one}\n" for one in statements)


SPOILED = "double_kernel[(triton.cdiv(n, 256),)]"
BEYOND = {
    "its input before": edited(DOUBLE, (LAUNCH, where_large(f"{SPOILED}(x, x, n, BLOCK=256)") + LAUNCH)),
    "its input after": edited(DOUBLE, (LAUNCH, LAUNCH + where_large(f"{SPOILED}(out, x, n, BLOCK=256)"))),
    "in its input": edited(DOUBLE, (LAUNCH, where_large("out = x") + LAUNCH)),
    "an output more": edited(DOUBLE, ("    return out\n", where_large("return out, out") + "    return out\n")),
    "through a copy": edited(
        DOUBLE,
        (
            LAUNCH,
            LAUNCH
            + where_large("kept = torch.empty_like(x)", f"{SPOILED}(x, kept, n, BLOCK=256)")
            + where_large("out = out + kept.clone()"),
        ),
    ),
    "with what nobody wrote": edited(
        DOUBLE, ("    return out\n", where_large("out = out + torch.empty_like(x)") + "    return out\n")
    ),
}


@pytest.mark.parametrize("name", BEYOND)
def test_what_is_done_beyond_where_the_size_is_large_is_seen(bench: Bench, doubling: OpenedTask, name: str) -> None:
    verdict = verdict_on(doubling, bench.judge(doubling, BEYOND[name]))
    assert verdict.correctness is Correctness.WRONG, verdict.reason


def test_what_goes_through_torch_between_launches_is_there(bench: Bench, doubling: OpenedTask) -> None:
    again = (
        "    z = out.clone() / 2.3\n    y = torch.empty_like(x)\n"
        + LAUNCH.replace("(x, out", "(z, y")
        + "    return y\n"
    )
    verdict = verdict_on(doubling, bench.judge(doubling, edited(DOUBLE, ("    return out\n", again))))
    assert verdict.correctness is Correctness.CORRECT, verdict.reason


IN_PLACE = edited(
    DOUBLE,
    ("    out = torch.empty_like(x)\n", ""),
    ("def double(x)", "def double(x, out)"),
    ("    return out\n", ""),
)
IN_PLACE_TASK = """\
import torch

entry = "double"


def inputs(gen, device, n):
    return {"x": torch.randn(n, generator=gen, device=device), "out": torch.zeros(n, device=device)}


def workloads():
    for n in [1 << 20, 999_999]:
        yield lambda gen, device, n=n: inputs(gen, device, n)


def reference(x, out):
    out.copy_(x * 2.3)


def domain(rng):
    n = rng.randint(1, 3000)
    return lambda gen, device: inputs(gen, device, n)
"""


def test_an_entry_that_works_in_place(bench: Bench) -> None:
    opened = bench.open(IN_PLACE, IN_PLACE_TASK)
    twice = edited(IN_PLACE, ("x * 2 + x * 0.3", "x * 2.3"))
    verdict = verdict_on(opened, bench.judge(opened, twice))
    assert verdict.correctness is Correctness.CORRECT, verdict.reason
    assert "where values were looked at, at 2 timed sizes" in verdict.reason
    fresh = edited(IN_PLACE, (LAUNCH, where_large("out = torch.empty_like(x)") + LAUNCH))
    assert verdict_on(opened, bench.judge(opened, fresh)).correctness is Correctness.WRONG


def test_without_a_reference_no_value_is_looked_at(bench: Bench) -> None:
    opened = bench.open(DOUBLE, edited(DOUBLE_TASK, ("def reference(x):\n    return x * 2.3\n", "")))
    observed = bench.judge(opened, DOUBLE)
    assert not any(check.origin == SAMPLED for check in observed.checks)
    assert any("no reference()" in note for note in observed.notes)
