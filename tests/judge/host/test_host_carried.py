"""Without a GPU, candidates are plans and TTIR that trusted code runs; and what happens where they cannot be."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.compose import compose
from evolve_core.judge.host.buffers import write_values
from evolve_core.judge.host.interpreting import interpret_step
from evolve_core.judge.host.plan import Argument, Given, KernelLaunch, LaunchPlan, Memory, Output, View
from evolve_core.judge.observation import SAMPLED, Observation, Outcome
from evolve_core.judge.verdict import Correctness, Stage, Trust, Verdict
from tests.judge.host.host_bench import DOUBLE, DOUBLE_TASK, Bench
from tests.judge.redteam.model import edited

STORE = "    tl.store(out_ptr + offsets, x * 2 + x * 0.3, mask=mask)"


def verdict_on(opened: OpenedTask, observed: Observation) -> Verdict:
    return compose(opened, observed, target="sm_90", stage=Stage.SCREENING)


def environment(observed: Observation) -> dict[str, str]:
    return dict(observed.environment)


def test_a_candidate_is_checked_without_its_python(bench: Bench, doubling: OpenedTask) -> None:
    """What it would do where kernels are interpreted, it does not get to do."""
    fatal = "import os\nif os.environ.get('TRITON_INTERPRET') == '1':\n    os._exit(3)\n"
    observed = bench.judge(doubling, edited(DOUBLE, ("x * 2 + x * 0.3", "x * 2.3"), ("    out =", "    out = out =")))
    assert observed.trust is Trust.KERNEL_ONLY
    assert "host code ran because" not in environment(observed)
    assert verdict_on(doubling, observed).correctness is Correctness.CORRECT
    assert {check.poison for check in observed.checks if check.origin != SAMPLED} == {"nan", "zero"}
    hidden = bench.judge(doubling, edited(DOUBLE, ("import torch\n", f"import torch\n{fatal}")))
    assert hidden.failure is None
    assert hidden.trust is Trust.KERNEL_ONLY


ADDS_FIRST = f"    tl.atomic_add(out_ptr + offsets, x, mask=mask)\n{STORE}"
BY_ZERO = f"    y = 1 // (n * 0)\n{STORE.replace('x * 2', 'x * y')}"
TWICE = ("[(triton.cdiv(n, 256),)]", "[(triton.cdiv(n, 256), 2)]")


@pytest.mark.parametrize(
    ("changes", "outcome", "said"),
    [
        ([(", mask=mask)\n\n", ")\n\n")], Outcome.OUT_OF_BOUNDS, "writes element"),
        ([(STORE, ADDS_FIRST)], Outcome.MISMATCH, "which nothing wrote"),
        ([TWICE, ("x * 2 +", "x * (2 + tl.program_id(1)) +")], Outcome.MISMATCH, "race"),
        ([(STORE, BY_ZERO)], Outcome.MISMATCH, "division"),
    ],
    ids=["out-of-bounds", "uninitialised", "race", "division"],
)
def test_what_a_kernel_does_wrong_decides(
    bench: Bench, doubling: OpenedTask, changes: list[tuple[str, str]], outcome: Outcome, said: str
) -> None:
    observed = bench.judge(doubling, edited(DOUBLE, *changes))
    broken = observed.checks[-1]
    assert (observed.failure, broken.outcome) == (None, outcome)
    assert said in broken.message
    assert broken.message.startswith("line ")
    assert verdict_on(doubling, observed).correctness is Correctness.WRONG


def test_host_code_that_no_plan_holds_proves_nothing_beside_a_kernel_that_has_one(
    bench: Bench, doubling: OpenedTask
) -> None:
    looks = edited(DOUBLE, ("    return out", "    float(out.reshape(-1)[0].item())\n    return out"))
    observed = bench.judge(doubling, looks)
    verdict = verdict_on(doubling, observed)
    assert (verdict.correctness, verdict.trust) == (Correctness.UNVERIFIED, Trust.HOST_CODE)
    assert "contents on the host (kernels.py:18)" in verdict.reason
    assert all(check.outcome is Outcome.COMPARED for check in observed.checks)


def test_where_your_own_kernel_has_no_plan_the_host_code_is_run(bench: Bench) -> None:
    looks = edited(DOUBLE, ("    return out", "    out += torch.zeros_like(x).uniform_(0, 1) * 0\n    return out"))
    opened = bench.open(looks, DOUBLE_TASK)
    observed = bench.judge(opened, DOUBLE)
    assert observed.trust is Trust.HOST_CODE
    assert verdict_on(opened, observed).correctness is Correctness.CORRECT


def test_a_finding_in_your_own_kernel_is_a_note(bench: Bench) -> None:
    twice = "[(triton.cdiv(n, 256), 2)]"
    # The right value is written last where programs run in turn.
    racy = edited(DOUBLE, ("[(triton.cdiv(n, 256),)]", twice), ("x * 2 +", "x * (3 - tl.program_id(1)) +"))
    opened = bench.open(racy, DOUBLE_TASK)
    assert any("your own kernel" in note and "kernels.py:" in note for note in opened.notes), opened.notes
    observed = bench.judge(opened, DOUBLE)
    assert observed.trust is Trust.HOST_CODE


# -- the trusted step, on what a hostile child may send ----------------------------------------------------------------

COPY = """\
module {
  tt.func public @copy(%x: !tt.ptr<f32>, %y: !tt.ptr<f32>) {
    %v = tt.load %x : !tt.ptr<f32>
    tt.store %y, %v : !tt.ptr<f32>
    tt.return
  }
}
"""


def plan_of(text: str) -> LaunchPlan:
    name = hashlib.sha256(text.encode()).hexdigest()
    launch = KernelLaunch(name, "copy", (1, 1, 1), (32, 1, 1), 0, (Argument(memory=0), Argument(memory=1)))
    return LaunchPlan(
        (Given("x", "float32", (4,), (1,)),),
        (Memory("x", "float32", 0), Memory("", "float32", 1)),
        (launch,),
        (Output("out", View(1, 0, "float32", (1,), (1,))),),
    )


def interpreted(folder: Path, text: str, made: LaunchPlan, **changes: Any) -> dict[str, Any]:
    file = folder / "inputs.bin"
    header = write_values([("x", torch.arange(4, dtype=torch.float32) + 1)], file)
    name = hashlib.sha256(text.encode()).hexdigest()
    payload = {
        "plan": made.as_json(),
        "kernels": {name: text},
        "inputs": {"file": str(file), "header": header},
        "poisons": ["nan", "zero"],
        "idle": True,
        "seconds": 10.0,
        "file": "kernels.py",
    }
    return interpret_step({**payload, **changes}, folder)


def test_a_plan_is_carried_out_with_both_poisons(tmp_path: Path) -> None:
    answer = interpreted(tmp_path, COPY, plan_of(COPY))
    assert (answer["outcome"], [run["poison"] for run in answer["runs"]]) == ("compared", ["nan", "zero"])
    out, nothing = (Path(one["file"]).read_bytes()[:4] for one in (answer["runs"][1], answer["idle"]))
    assert torch.frombuffer(bytearray(out), dtype=torch.float32).item() == 1.0
    assert torch.frombuffer(bytearray(nothing), dtype=torch.float32).isnan().all()


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("no TTIR at all", "forged"),
        (COPY.replace("@copy", "@other"), "forged"),
        (COPY.replace("%v = tt.load %x : !tt.ptr<f32>", "%v = tt.nonsense %x : f32"), "unsupported"),
    ],
)
def test_text_that_contradicts_itself_says_nothing_good(tmp_path: Path, text: str, outcome: str) -> None:
    assert interpreted(tmp_path, text, plan_of(text))["outcome"] == outcome


def test_a_plan_without_its_kernel_is_refused(tmp_path: Path) -> None:
    assert interpreted(tmp_path, COPY, plan_of(COPY), kernels={})["outcome"] == "raised"


def test_scratch_is_refused(tmp_path: Path) -> None:
    data = plan_of(COPY).as_json()
    data["steps"][0]["scratch_bytes"] = 1 << 40
    answer = interpreted(tmp_path, COPY, plan_of(COPY), plan=data)
    assert answer["outcome"] == "raised"
    assert "scratch" in answer["message"]
