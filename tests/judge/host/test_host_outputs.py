"""What an entry may return: None, strings and numbers among its tensors are compared as they are."""

from __future__ import annotations

import pytest
from host_bench import DOUBLE, DOUBLE_TASK, Bench

from evolve_core.judge.client import HostError
from evolve_core.judge.correctness import Accepted, Rejected, judge_checks

RETURN = "    return out\n"
REFERENCE = "    return x * 2.3\n"


def with_results(entry: str, reference: str) -> tuple[str, str]:
    """The task whose entry and reference return these."""
    return DOUBLE.replace(RETURN, f"    return {entry}\n"), DOUBLE_TASK.replace(REFERENCE, f"    return {reference}\n")


@pytest.mark.parametrize(
    ("entry", "reference", "wrong"),
    [
        ("out, None", "x * 2.3, None", ["out, out", "(out,)", "out", "None, out", "out, 0", "None"]),
        (
            "out, 'mean', n",
            "x * 2.3, 'mean', x.numel()",
            ["out, 'sum', n", "out, 'mean', n + 1", "out, 'mean', 1 << 99"],
        ),
        ("{'loss': out, 'z': None}", "x * 2.3, None", ["{'loss': out, 'z': out}"]),
    ],
    ids=["tuple", "values", "dict"],
)
def test_values_that_are_no_tensors_must_be_the_same(
    bench: Bench, entry: str, reference: str, wrong: list[str]
) -> None:
    source, task = with_results(entry, reference)
    opened = bench.open(source, task)
    right = bench.judge(opened, source.replace("256", "128"))
    assert right.failure is None and isinstance(judge_checks(right.checks), Accepted)
    for other in wrong:
        observed = bench.judge(opened, source.replace(f"return {entry}", f"return {other}"))
        assert observed.failure is None and isinstance(judge_checks(observed.checks), Rejected), other


def test_none_without_a_reference(bench: Bench) -> None:
    source, task = with_results("out, None", "x")
    opened = bench.open(source, task[: task.index("def reference")] + task[task.index("def domain") :])
    assert isinstance(judge_checks(bench.judge(opened, source.replace("256", "128")).checks), Accepted)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("x * 2.3", "reference() gives 1 output(s), the entry 2 (out[1]: None)"),
        ("x * 2.3, x", "reference() gives a Tensor for out[1], the entry gives None"),
        ("None, x * 2.3", "reference() gives None for out[0], the entry gives a Tensor"),
        ("x[:, None] * 2.3, None", "for out[0], the entry gives [3]; return the entry's shape"),
    ],
)
def test_a_reference_of_another_form_is_named_with_its_line(bench: Bench, reference: str, said: str) -> None:
    source, task = with_results("out, None", reference)
    task = task.replace("rng.randint(1, 3000)", "3").replace("[1 << 20, 999_999]", "[3]")
    with pytest.raises(HostError) as caught:
        bench.open(source, task)
    assert (caught.value.kind, caught.value.line) == ("task-error", 11)
    assert caught.value.message.startswith("kernels.evolve.py:11: ") and said in caught.value.message


def test_an_output_that_no_judge_can_compare(bench: Bench) -> None:
    source, task = with_results("out, object()", "x * 2.3, None")
    with pytest.raises(HostError) as caught:
        bench.open(source, task)
    assert "'out[1]' is a object: use tensors, numbers, strings, None" in caught.value.message
