"""What of host code a launch plan holds: the plan does what the host code does, or says what it cannot hold, and where.

Each piece of host code is followed without a GPU, by the compile step in a forked child. The plan is then carried out
on tensors of the CPU and compared with the host code itself, the kernel in both of them done by torch.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from followed import BEFORE, COUNT, KERNEL, LAUNCH, RETURN, by_host_code, by_plan, edited, follow

from evolve_core.judge.host.plan import Copy, Fill, KernelLaunch, Operation
from evolve_core.judge.host.tier import complete


def returning(expression: str) -> str:
    return edited((RETURN, f"    return {expression}\n"))


def before(*statements: str) -> str:
    return edited((BEFORE, "".join(f"    {one}\n" for one in statements) + BEFORE))


def at_import(definitions: str, *changes: tuple[str, str]) -> str:
    return edited(("def double(", f"{definitions}\n\n\ndef double("), *changes)


def with_table(table: str) -> str:
    return at_import(f"TABLE = {table}", (RETURN, "    return out + TABLE.to(x.device)\n"))


HONEST = {
    "zeros": edited(("torch.empty_like(x)", "torch.zeros_like(x)")),
    "a sum": returning("out.sum()"),
    "a sum of halves in a wider type": returning("out.half().view(10, -1).sum(1, dtype=torch.float64)"),
    "a mean and a division": returning("out.mean() / 2, out / out.amax(0, keepdim=True)"),
    "a cast": returning("out.to(torch.bfloat16).float()"),
    "a copy of a transposed one": before("x = x.view(-1, 2).t().contiguous().t().reshape(-1)"),
    "views": returning("out.view(10, -1)[2:, 1::3].t()[1], out.unflatten(0, (2, -1)).chunk(2)[1]"),
    "joined views": returning("torch.cat([x[:7], out[5:9], torch.stack([x[:2], out[:2]]).flatten()])"),
    "in place": returning("out.mul_(2).add_(x, alpha=0.5).clamp_(min=0.25)"),
    "into an output": edited((RETURN, "    y = torch.empty_like(out)\n    torch.add(out, x, out=y)\n    return y\n")),
    "an item set": edited((RETURN, "    out[3] = 7\n    out[5:9] = x[:4]\n    return out\n")),
    "picked by index": returning("out[torch.tensor([4, 2], device=x.device)]"),
    "comparisons": returning("torch.where(x > 0, out, 0.0), x.masked_fill(x < 0, 3.0), x.view(8, -1).max(-1)"),
    "numbers made on the host": returning("out * out.new_tensor([2.0]) + torch.tensor([3, 4], device='cuda').sum()"),
    "a scalar on the CPU": returning("out * torch.tensor(2.0)"),
    "a range made on the CPU": returning("out + (torch.arange(1000) * 2).to(x.device)"),
    "a product of matrices": returning("out.view(10, -1) @ x.view(10, -1).t()"),
    "a part of a tensor": edited((LAUNCH, LAUNCH.replace("(x, out, n", "(x[10:], out[20:], 100"))),
    "a grid of no programs beside it": edited((LAUNCH, LAUNCH.replace("(triton.cdiv(n, 256),)", "(0,)") + LAUNCH)),
    "the input changed": edited((LAUNCH, LAUNCH + "    x.copy_(out)\n"), (RETURN, "    return x\n")),
}


def fill_of(source: str) -> str:
    """Host code that leaves no element unwritten: what is in fresh memory is not compared."""
    return source.replace("torch.empty_like(x)", "torch.zeros_like(x)", 1)


@pytest.mark.parametrize("name", HONEST)
def test_a_plan_does_what_the_host_code_does(tmp_path: Path, name: str) -> None:
    source = fill_of(HONEST[name])
    found = follow(tmp_path, source)
    assert len(found.plans) == 2, found
    assert any(isinstance(step, KernelLaunch) for step in found.plans[0].steps)
    given = torch.randn(COUNT)
    ((*expected,),) = by_host_code(source, [given.clone()])
    ((*outputs,),) = by_plan(found.plans[0], [given.clone()])
    assert len(outputs) == len(expected)
    for output, other in zip(outputs, expected, strict=True):
        assert torch.equal(output, other)
        assert (output.dtype, output.stride()) == (other.dtype, other.stride())


REFUSED = {
    "random numbers": (
        edited(("torch.empty_like(x)", "torch.rand_like(x)")),
        "aten::rand_like.default (kernels.py:15)",
    ),
    "an operator off the list": (returning("torch.fft.rfft(out)"), "aten::_fft_r2c.default (kernels.py:18)"),
    "in place, off the list": (
        edited((RETURN, "    out[out > 0] = 0\n    return out\n")),
        "aten::index_put_.default (kernels.py:18)",
    ),
    "on the CPU": (returning("out.cpu().cuda()"), "moves a tensor from the device to the CPU (kernels.py:18)"),
    "an output on the CPU": (returning("out, torch.zeros(3)"), "returns a tensor on the CPU"),
    "a kernel on the CPU": (
        edited((LAUNCH, LAUNCH.replace("(x, out", "(torch.zeros(n), out"))),
        "hands a tensor on the CPU to a kernel (kernels.py:17)",
    ),
    "a subclass": (returning("out.as_subclass(type('Own', (torch.Tensor,), {}))"), "a Own of a tensor (kernels.py:18)"),
    "a number": (returning("out, 3"), "a int where a tensor is expected"),
    "complex numbers": (returning("torch.view_as_complex(out.view(-1, 2)).real"), "aten::view_as_complex"),
    "a table off the list": (with_table("torch.randn(1000, device='cuda')"), "aten::randn.default (kernels.py:14)"),
    "an earlier call's input": (
        at_import("KEPT = []", (BEFORE, "    KEPT.append(x)\n" + BEFORE), (RETURN, "    return out + KEPT[0]\n")),
        "an input of an earlier call",
    ),
    "a result of an earlier call's input": (
        at_import("KEPT = []", (BEFORE, "    KEPT.append(x * 2)\n" + BEFORE), (RETURN, "    return out + KEPT[0]\n")),
        "computed from an earlier call's inputs",
    ),
    "a thread that goes on": (
        at_import(
            "import threading\nimport time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
        ),
        "leaves threads running",
    ),
    "a tensor larger than any device": (
        edited((BEFORE, "    torch.empty(1 << 42, device='cuda')\n" + BEFORE)),
        "more than any GPU has (kernels.py:15)",
    ),
    "a stream of its own": (
        edited((LAUNCH, "    with torch.cuda.stream(torch.cuda.Stream()):\n    " + LAUNCH)),
        "on a stream of its own (kernels.py:17)",
    ),
    "a stream of its own, set": (
        edited((LAUNCH, "    torch.cuda.set_stream(torch.cuda.Stream())\n" + LAUNCH)),
        "on a stream of its own (kernels.py:17)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_plan_holds_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    source, reason = REFUSED[name]
    found = follow(tmp_path, source)
    assert not found.plans
    assert all(reason in one for one in found.why_not), found.why_not
    assert len(found.why_not) == 2


KEEPING = {
    "a table on the device": with_table("torch.arange(1000, device='cuda').float() * 0.5"),
    "a table on the CPU": with_table("torch.arange(1000) * 0.25"),
    "a table that a kernel made": at_import(
        "MADE = []",
        (
            BEFORE,
            "    if not MADE:\n        MADE.append(None)\n        MADE[0] = double(torch.ones(1000, device='cuda'))\n"
            + BEFORE,
        ),
        (RETURN, "    return out + MADE[0] if MADE[0] is not None else out\n"),
    ),
    "tensors by shape": at_import(
        "CACHE = {}",
        (
            BEFORE,
            "    if x.shape not in CACHE:\n        CACHE[x.shape] = torch.zeros_like(x)\n    out = CACHE[x.shape]\n",
        ),
    ),
    "a table by shape": at_import(
        "CACHE = {}",
        (
            BEFORE,
            BEFORE + "    if x.shape not in CACHE:\n        CACHE[x.shape] = torch.arange(n0, device='cuda') * 2\n",
        ),
        ("    out = torch.empty_like(x)\n    if", "    n0 = x.numel()\n    out = torch.empty_like(x)\n    if"),
        (RETURN, "    return out + CACHE[x.shape]\n"),
    ),
    "a copy of the input where it always lies": at_import(
        "PLACE = torch.empty(1000, device='cuda')", (BEFORE, "    PLACE.copy_(x)\n    x = PLACE\n" + BEFORE)
    ),
}


@pytest.mark.parametrize("name", KEEPING)
def test_what_is_kept_between_calls_is_made_before_the_first(tmp_path: Path, name: str) -> None:
    source = fill_of(KEEPING[name])
    found = follow(tmp_path, source)
    assert len(found.plans) == 2, found
    calls = [torch.randn(COUNT) for _ in range(3)]
    expected = by_host_code(source, [one.clone() for one in calls])
    outputs = by_plan(found.plans[1], [one.clone() for one in calls[1:]])
    assert any(memory.kept for memory in found.plans[1].memories)
    for output, other in zip(outputs, expected[1:], strict=True):
        assert all(torch.equal(*pair) for pair in zip(output, other, strict=True))


def test_an_earlier_launch_on_other_inputs_is_not_made_again(tmp_path: Path) -> None:
    """An entry that hands out what its first call computed: its plan hands out memory that no kernel wrote."""
    source = at_import("KEPT = []", (RETURN, "    KEPT.append(out)\n    return KEPT[0]\n"))
    plan = follow(tmp_path, source).plans[0]
    assert not plan.prelude
    assert plan.outputs is not None
    assert plan.memories[plan.outputs[0].view.memory].kept
    assert all(one.memory != plan.outputs[0].view.memory for step in plan.steps for one in step.arguments)  # type: ignore[union-attr]


def test_the_current_stream_by_its_name_is_followed(tmp_path: Path) -> None:
    source = edited((LAUNCH, "    with torch.cuda.stream(torch.cuda.current_stream()):\n    " + LAUNCH))
    (launch,) = follow(tmp_path, source).plans[0].steps
    assert isinstance(launch, KernelLaunch)


def test_an_answer_by_its_inputs_address_is_handed_out_again(tmp_path: Path) -> None:
    """Another call's inputs may lie where these lay: no kernel writes then what the plan hands out."""
    source = at_import(
        "KEPT = {}",
        (BEFORE, "    if x.data_ptr() in KEPT:\n        return KEPT[x.data_ptr()]\n" + BEFORE),
        (RETURN, "    KEPT[x.data_ptr()] = out\n    return out\n"),
    )
    for plan in follow(tmp_path, source).plans:
        assert not plan.steps


def test_an_allocation_and_a_copy_are_no_operators(tmp_path: Path) -> None:
    plan = follow(tmp_path, edited((BEFORE, "    x = x.clone()\n    out = torch.full_like(x, 3)\n"))).plans[0]
    assert [type(step) for step in plan.steps] == [Copy, Fill, KernelLaunch]


def test_operators_come_in_order_with_the_launches(tmp_path: Path) -> None:
    source = edited((LAUNCH, "    x = x + 1\n" + LAUNCH + "    out = out.sum()\n"))
    plan = follow(tmp_path, source).plans[0]
    assert [type(step) for step in plan.steps] == [Operation, KernelLaunch, Operation]
    assert plan.operators == {"aten::add": COUNT, "aten::sum": COUNT}


TUNED = "@triton.autotune([triton.Config({}, num_warps=n) for n in (2, 4)], key=['n'])\n"


def test_of_an_autotuned_kernel_the_first_configuration_is_followed_and_not_timed(tmp_path: Path) -> None:
    found = follow(tmp_path, edited((KERNEL, TUNED + KERNEL)))
    (launch,) = found.plans[0].steps
    assert isinstance(launch, KernelLaunch)
    assert launch.block == (2 * 32, 1, 1)
    assert "double_kernel: first of 2 autotune configurations" in found.plans[0].untimed[0]
    assert [one["num_warps"] for one in found.launches] == [2, 2]
    said = complete({"w0": {"plan": found.plans[0].as_json()}}, ["w0"], set(found.plans[0].binaries))
    assert "its configuration is found by timing" in said.why_not


def test_one_configuration_is_no_choice(tmp_path: Path) -> None:
    plan = follow(tmp_path, edited((KERNEL, TUNED.replace("(2, 4)", "(4,)") + KERNEL))).plans[0]
    assert not plan.untimed
    assert complete({"w0": {"plan": plan.as_json()}}, ["w0"], set(plan.binaries)).why_not == ""


def test_heuristics_are_followed(tmp_path: Path) -> None:
    chosen = "@triton.heuristics({'BLOCK': lambda given: 512 if given['n'] > 10 else 16})\n"
    source = edited(
        (KERNEL, chosen + KERNEL), (", BLOCK=256)", ")"), ("(triton.cdiv(n, 256),)", "lambda given: (given['BLOCK'],)")
    )
    (launch,) = follow(tmp_path, source).plans[0].steps
    assert isinstance(launch, KernelLaunch)
    assert launch.grid == (512, 1, 1)


def test_contents_that_the_host_reads_end_the_step(tmp_path: Path) -> None:
    assert "reads its tensors' contents" in follow(tmp_path, returning("out * out.sum().item()")).failure
