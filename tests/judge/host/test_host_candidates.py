"""Candidates of every kind through the real host: what is right is compared, what is wrong is seen as what it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from host_bench import DOUBLE, Bench

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.compose import compose
from evolve_core.judge.observation import SAMPLED, Outcome
from evolve_core.judge.verdict import Correctness, Failure, Speed, Stage


def changed(old: str, new: str) -> str:
    assert DOUBLE.count(old) == 1
    return DOUBLE.replace(old, new)


def outcomes(bench: Bench, opened: OpenedTask, source: str) -> set[Outcome]:
    return {check.outcome for check in bench.judge(opened, source).checks}


def test_open_describes_what_it_found(bench: Bench, doubling: OpenedTask) -> None:
    timed = [one for one in doubling.workloads if one.role == "timed"]
    assert [one.label for one in timed] == ["x=float32[1048576]", "x=float32[999999]"]
    small = {one.label: one.origin for one in doubling.workloads if one.role == "checked"}
    derived = [label for label, origin in small.items() if origin == "derived"]
    # 999,999 leaves 15 modulo 16, 1,048,576 leaves 0: so do their small versions.
    assert {int(label[10:-1]) % 16 for label in derived} == {0, 15}
    assert "domain" in small.values()


def test_baseline_has_facts_work_and_native_errors(doubling: OpenedTask) -> None:
    baseline = doubling.baseline
    assert {(launch.workload, launch.grid) for launch in baseline.launches} == {
        ("w0", (4096, 1, 1)),
        ("w1", (3907, 1, 1)),
    }
    first, second = (baseline.kernels[launch.facts] for launch in baseline.launches)
    assert first.name == "double_kernel" and first.target == "sm_90" and first.registers > 0
    assert (first.load_bits == (64,) and second.load_bits == (64, 32)) or second.load_bits == (32,)
    assert {profile.workload: profile.load_bytes_per_program for profile in baseline.work}["w0"] == 1024.0
    outputs = [output for check in baseline.checks for output in check.outputs]
    # Relative to the values, which are large in one of the varied checks: x·2 + x·0.3 in fp32 rounds three times.
    assert outputs and all(0 < one.native_max < 1e-6 * one.max_abs_truth for one in outputs)


def test_correct_candidate(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, DOUBLE.replace("256", "1024"))
    assert observed.failure is None
    assert {check.outcome for check in observed.checks} == {Outcome.COMPARED}
    assert {check.poison for check in observed.checks if check.origin != SAMPLED} == {"nan", "zero"}
    assert all(o.max_error <= 3 * o.native_max + 2 * o.ulp for c in observed.checks for o in c.outputs)
    assert [launch.grid for launch in observed.launches] == [(1024, 1, 1), (977, 1, 1)]
    assert len(observed.work) == 2


def test_wrong_candidate(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, changed("x * 0.3", "x * 0.31"))
    assert observed.failure is None
    worst = max(o.max_error / o.native_max for c in observed.checks for o in c.outputs)
    assert worst > 1000
    assert not observed.timing


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("tl.store(out_ptr + offsets", "tl.store(out_ptr + offsets + 1"), 11),
        (("mask=mask)\n    tl.store", ")\n    tl.store"), 10),
    ],
)
def test_out_of_bounds(bench: Bench, doubling: OpenedTask, change: tuple[str, str], line: int) -> None:
    observed = bench.judge(doubling, changed(*change))
    found = [one for check in observed.checks for one in check.out_of_bounds]
    assert observed.checks[-1].outcome is Outcome.OUT_OF_BOUNDS
    assert found[0].kernel == "double_kernel" and found[0].line == line


def test_uninitialised_output_is_a_mismatch(bench: Bench, doubling: OpenedTask) -> None:
    skipping = changed("mask=mask)\n\n", "mask=mask & (offsets % 16 != 7))\n\n")
    assert Outcome.MISMATCH in outcomes(bench, doubling, skipping)


def test_changed_input_is_seen(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, changed("    return out", "    x.zero_()\n    return out"))
    assert all(check.inputs_changed == ("x",) for check in observed.checks)


def test_output_that_is_the_input(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, changed("    return out", "    x.copy_(out)\n    return x"))
    assert all(output.aliases_input for check in observed.checks for output in check.outputs)


@pytest.mark.parametrize(
    ("ending", "flag"),
    [
        ("return out.double()", "dtype_ok"),
        ("return out[None]", "shape_ok"),
        ("return out, out", "type_ok"),
        ("return []", "type_ok"),
        ("return out.tolist()", "type_ok"),
        ("return out.as_subclass(type('Lazy', (torch.Tensor,), {}))", "type_ok"),
    ],
)
def test_output_of_another_kind(bench: Bench, doubling: OpenedTask, ending: str, flag: str) -> None:
    observed = bench.judge(doubling, changed("return out", ending))
    assert observed.checks
    assert all(any(not getattr(output, flag) for output in check.outputs) for check in observed.checks)


def test_compile_error_has_the_line_in_the_file(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, changed("x = tl.load(x_ptr + offsets, mask=mask)", "x = tl.laod(x_ptr)"))
    assert observed.failure is not None
    assert (observed.failure.kind, observed.failure.line) == ("compile-error", 10)
    assert "laod" in observed.failure.message


def test_syntax_error(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, changed("def double(x):", "def double(x:"))
    assert observed.failure is not None
    assert (observed.failure.kind, observed.failure.line) == ("compile-error", 14)


def test_missing_entry(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, changed("def double(x):", "def triple(x):"))
    assert observed.failure is not None and "'double'" in observed.failure.message
    assert observed.failure.kind == Failure.CRASH


def test_raising_host_code(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, changed("    n = x.numel()", "    n = x.numell()"))
    assert observed.failure is not None
    assert (observed.failure.kind, observed.failure.line) == ("crash", 16)


def test_needs_a_size_that_only_the_listed_workloads_have(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, changed("    n = x.numel()", "    n = x.numel()\n    assert n > 900_000"))
    assert observed.failure is not None
    assert observed.failure.kind == "crash" and observed.failure.seed is not None
    assert doubling.workload(observed.failure.workload or "") is not None


AUTOTUNED = (
    DOUBLE.replace(
        "@triton.jit",
        '@triton.autotune(configs=[triton.Config({"BLOCK": b}) for b in (512, 64)], key=["n"])\n@triton.jit',
    )
    .replace("(triton.cdiv(n, 256),)", 'lambda meta: (triton.cdiv(n, meta["BLOCK"]),)')
    .replace(", BLOCK=256)", ")")
)


def test_host_code_that_reads_contents_has_no_launches_but_is_checked(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, changed("    n = x.numel()", "    n = x.numel() + int(x[0].item() * 0)"))
    assert observed.failure is None and observed.launches == ()
    assert "contents" in observed.notes[0]
    assert {check.outcome for check in observed.checks} == {Outcome.COMPARED}


def test_autotuned_kernel_takes_its_first_configuration(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, AUTOTUNED)
    assert observed.failure is None
    assert observed.launches[0].constexprs["BLOCK"] == "512"
    assert "first of 2" in observed.notes[0]


def test_host_code_that_speaks_of_cuda(bench: Bench, doubling: OpenedTask) -> None:
    speaking = changed(
        "    out = torch.empty_like(x)",
        "    x = x.cuda()[:].view(-1)[0:]\n"
        "    assert x.device.type == 'cuda' and x.is_cuda\n"
        "    assert torch.cuda.get_device_properties(x.device).multi_processor_count > 0\n"
        '    out = torch.empty(x.shape, device="cuda", dtype=x.dtype)',
    )
    observed = bench.judge(doubling, speaking)
    assert observed.failure is None
    assert {check.outcome for check in observed.checks} == {Outcome.COMPARED}


def test_confirmation_draws_new_inputs(bench: Bench, doubling: OpenedTask) -> None:
    first = bench.judge(doubling, DOUBLE)
    second = bench.host.judge(doubling, "candidate", DOUBLE, Stage.CONFIRMATION, 60.0)
    drawn, again = ({check.seed for check in one.checks if check.origin != SAMPLED} for one in (first, second))
    assert not drawn & again
    assert {check.outcome for check in second.checks} == {Outcome.COMPARED}


def test_outputs_that_no_kernel_made_are_cheating(bench: Bench, doubling: OpenedTask) -> None:
    launch = "    double_kernel[(triton.cdiv(n, 256),)](x, out, n, BLOCK=256)\n"
    for reads_contents in ("", "    n += int(x[0].item() * 0)\n"):
        observed = bench.judge(doubling, changed(launch, f"{reads_contents}    out = x * 2 + x * 0.3\n"))
        assert observed.traced == (not reads_contents) and not observed.launches
        verdict = compose(doubling, observed, target="sm_90", stage=Stage.SCREENING)
        assert verdict.failure is Failure.CHEATING and "launches no kernel" in verdict.reason


def test_launches_in_the_interpreter_are_counted(bench: Bench, doubling: OpenedTask) -> None:
    twice = changed("    return out", "    double_kernel[(triton.cdiv(n, 64),)](x, out, n, BLOCK=64)\n    return out")
    observed = bench.judge(doubling, twice)
    assert {(check.launches, check.native_launches) for check in observed.checks} == {(2, 1)}


def test_a_kernel_that_does_not_fit_the_target_is_never_correct(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, DOUBLE.replace("256", "1024"))
    assert compose(doubling, observed, target="sm_90", stage=Stage.SCREENING).correctness is Correctness.CORRECT
    larger = tuple(replace(facts, shared_bytes=1 << 20) for facts in observed.kernels)
    verdict = compose(doubling, replace(observed, kernels=larger), target="sm_90", stage=Stage.CONFIRMATION)
    assert (verdict.correctness, verdict.failure) == (Correctness.UNVERIFIED, Failure.COMPILE_ERROR)
    assert verdict.speed is Speed.UNMEASURED and not verdict.is_winner
    assert "1048576 bytes of shared memory" in verdict.reason
