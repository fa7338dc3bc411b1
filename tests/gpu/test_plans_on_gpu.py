"""Host code with torch's operators, on a real GPU: planned and carried out by trusted code, or named with its line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.verdict import Correctness, Failure, Stage, Trust, Verdict
from tests.gpu.judges import Judges, Texts
from tests.gpu.variants import example

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not list_devices(), reason="needs an NVIDIA GPU"),
]

SOURCE, TASK = example("softmax")
RETURN = "    return out\n"


def edited(*changes: tuple[str, str]) -> str:
    source = SOURCE
    for before, after in changes:
        assert source.count(before) == 1, before
        source = source.replace(before, after)
    return source


def returning(expression: str) -> str:
    return edited((RETURN, f"    return {expression}\n"))


HONEST = {
    "a copy first": edited(("    n_rows, n_cols", "    x = x.t().contiguous().t().contiguous()\n    n_rows, n_cols")),
    "wider and back": returning("out.to(torch.float32).to(out.dtype)"),
    "in place": returning("out.mul_(2).mul_(0.5)"),
    "in halves": returning("torch.cat([out[:1], out[1:]])"),
    "a table of the module": edited(
        (RETURN, "    return out * ONE.to(out.dtype)\n"),
        ("def softmax(", 'ONE = torch.arange(2, device="cuda")[1:].float()\n\n\ndef softmax('),
    ),
    "memory by shape": edited(
        ("    out = torch.empty_like(x)\n", "    out = KEPT.setdefault(x.shape, torch.empty_like(x))\n"),
        ("def softmax(", "KEPT = {}\n\n\ndef softmax("),
    ),
}


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judges]:
    found = Judges(tmp_path_factory.mktemp("judges"), lambda name: Texts(SOURCE, TASK))
    yield found
    found.close()


def judged(judges: Judges, source: str) -> Verdict:
    verdict = judges.judge("softmax", source, Stage.SCREENING)
    print(f"{verdict.correctness}, {verdict.failure}, {verdict.trust}, {verdict.reason}, {dict(verdict.environment)}")
    return verdict


@pytest.mark.parametrize("name", HONEST)
def test_honest_host_code_is_carried_out_by_its_plan(judges: Judges, name: str) -> None:
    verdict = judged(judges, HONEST[name])
    assert (verdict.correctness, verdict.trust) == (Correctness.CORRECT, Trust.KERNEL_ONLY), verdict.reason


def test_an_operator_off_the_list_runs_as_host_code_and_is_named(judges: Judges) -> None:
    verdict = judged(judges, returning("out + torch.rand_like(out) * 0"))
    line = SOURCE[: SOURCE.index(RETURN)].count("\n") + 1
    assert verdict.trust is Trust.HOST_CODE
    assert f"aten::rand_like.default (softmax.py:{line})" in dict(verdict.environment)["host code ran because"]


@pytest.mark.parametrize(
    "expression", ["torch.softmax(x, -1)", "(x - x.amax(1, True)).exp() / (x - x.amax(1, True)).exp().sum(1, True)"]
)
def test_the_library_beside_a_kernel_that_is_for_nothing(judges: Judges, expression: str) -> None:
    verdict = judged(judges, returning(expression))
    assert verdict.failure is Failure.CHEATING
    assert verdict.trust is Trust.KERNEL_ONLY
