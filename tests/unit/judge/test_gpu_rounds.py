"""The conductor and the bench as they are, on the CPU: only the device's clock is replaced."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from evolve_core.judge.host.distributions import VARIED
from evolve_core.judge.host.errors import StepError
from evolve_core.judge.host.gpu import bench, rivals
from evolve_core.judge.host.gpu.clock import Sample
from evolve_core.judge.host.gpu.confinement import Layer
from evolve_core.judge.host.gpu.guarded import GuardedMemory
from evolve_core.judge.host.gpu.job import GpuJob, Named, Runner
from evolve_core.judge.host.gpu.launches import LaunchCount, idle
from evolve_core.judge.host.gpu.lock import device_lock
from evolve_core.judge.host.gpu.run import judge_on_gpu
from evolve_core.judge.host.operators import RecordedOperators
from tests.gpu.attacks import ATTACKS, Target


class HostClock:
    """Stands in for the device: the call runs at once, and its wall time is the device time."""

    def __init__(self, hold: bytes | None) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {"device": "none", "multiprocessors": 1, "l2_bytes": 1, "hold": "sleep"}

    def peak_bytes(self) -> int:
        return 0

    def expect(self, host_ns: float) -> None:
        pass

    def sample(self, call: Any, warm: Iterable[Any] = ()) -> tuple[Sample, Any]:
        started = time.perf_counter_ns()
        result = call()
        return Sample(float(time.perf_counter_ns() - started + 1), 1, 0, True), result

    def end_to_end_ns(self, call: Any) -> int:
        return int(self.sample(call)[0].device_ns)


def runner(function: Any) -> Any:
    def load() -> Runner:
        def run(inputs: dict[str, Any]) -> Named:
            result = function(**inputs)
            return [("out", result)] if result is not None else list(inputs.items())

        return run

    return load


def double(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    return out.copy_(x * 2)


@pytest.fixture(scope="module", autouse=True)
def recorded_once() -> None:
    """What the first record imports, before anything forks: seconds in every child otherwise."""
    with RecordedOperators():
        torch.empty(1)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpuJob:
    monkeypatch.setattr(bench, "Stopwatch", HostClock)
    return GpuJob(
        device_uuid="GPU-test",
        lock_folder=str(tmp_path / "locks"),
        cache_folder=str(tmp_path / "compiled-baseline"),
        spool=str(tmp_path),
        stage="screening",
        deadline_s=60.0,
        checked=["a"],
        timed=["a"],
        draw=lambda workload, seed, device: {
            "x": torch.randn(33, generator=torch.Generator(device).manual_seed(seed), device=device)
        },
        truth=lambda inputs, names: [("out", inputs["x"].double() * 2)],
        load_baseline=runner(double),
        load_candidate=None,
        pairs=4,
        compile_timeout_s=20.0,
        device="cpu",
    )


class GuardedOnHost(GuardedMemory):
    """Memory of the CPU: the pattern beside tensors is there, and what is not mapped on a device is not missing."""

    def __init__(self) -> None:
        self._page = 4096
        self._free, self._used = {}, []

    def _mapped(self, size: int) -> torch.Tensor:
        return torch.empty(size, dtype=torch.uint8)


def judged(job: GpuJob, candidate: Any, **changes: Any) -> dict[str, Any]:
    return judge_on_gpu(replace(job, load_candidate=runner(candidate), **changes))


def test_a_right_candidate_is_checked_and_timed_on_inputs_it_never_saw(job: GpuJob) -> None:
    seen = judged(job, lambda x: x + x)
    assert seen["failure"] is None
    assert len(seen["checks"]) == 2 + len(VARIED) + 4
    assert len({check["seed"] for check in seen["checks"]}) == 1 + len(VARIED) + 4
    assert all(check["outputs"][0]["exact"] for check in seen["checks"])
    assert seen["checks"][1]["poison_equal"] is True
    assert seen["checks"][1]["repeated"] is True
    (timing,) = seen["timing"]
    assert len(timing["baseline_ns"]) == len(timing["candidate_ns"]) == 4
    assert timing["held"] == 8


def test_host_code_is_checked_on_inputs_that_lie_amid_a_pattern(job: GpuJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "guarded_memory", GuardedOnHost)

    def beside(x: torch.Tensor, by: int) -> torch.Tensor:
        inside = 0 <= x.storage_offset() + by < x.untyped_storage().nbytes() // 4
        return x.as_strided((1,), (1,), x.storage_offset() + by) if inside else torch.zeros(1)

    def writing(x: torch.Tensor) -> torch.Tensor:
        beside(x, -1).fill_(1.0)
        return x * 2

    def reading(x: torch.Tensor) -> torch.Tensor:
        return x * 2 + beside(x, -1) * 0

    for candidate in (writing, reading):
        unwatched = judged(job, candidate)
        assert unwatched["failure"] is None and all(check["outputs"][0]["exact"] for check in unwatched["checks"])
    assert judged(job, writing, guards_inputs=True)["failure"]["message"] == "it writes beside its inputs"
    first, *_ = judged(job, reading, guards_inputs=True)["checks"]
    assert not first["outputs"][0]["nonfinite_ok"]
    honest = judged(job, lambda x: x + x, guards_inputs=True)
    assert honest["failure"] is None and all(check["outputs"][0]["exact"] for check in honest["checks"])


def test_the_bench_is_confined_and_says_so(job: GpuJob, tmp_path: Path) -> None:
    """Its host code runs beside the device: it must not reach what the conductor is judged by."""
    secret, spool, other = tmp_path / "secret", tmp_path / "steps/own", tmp_path / "steps/other"
    for folder in (secret, spool, other):
        folder.mkdir(parents=True)
    (secret / "outputs-0.bin").touch()

    def hostile(x: torch.Tensor) -> torch.Tensor:
        target = Target(Path(os.environ["TMPDIR"]), other, secret, "\0nobody listens here")
        through = [name for name, attack in ATTACKS.items() if attack(target)]
        return x * 2 if through else x * 3

    hidden = (str(secret), str(tmp_path / "steps"))
    seen = judged(job, hostile, spool=str(spool), hidden=hidden)
    assert seen["failure"] is None
    assert not any(check["outputs"][0]["exact"] for check in seen["checks"])
    assert seen["environment"]["confined"] == list(Layer)
    unconfined = judged(job, hostile, spool=str(spool), hidden=hidden, layers=())
    assert all(check["outputs"][0]["exact"] for check in unconfined["checks"])
    assert unconfined["environment"]["confined"] == []


def test_confirmation_runs_fresh_processes(job: GpuJob) -> None:
    seen = judged(job, double, stage="confirmation", processes=3, pairs=2)
    assert [timing["process"] for timing in seen["timing"]] == [0, 1, 2]


def test_a_result_cached_from_earlier_inputs_shows_in_the_timed_checks(job: GpuJob) -> None:
    cache: dict[int, torch.Tensor] = {}

    def cheat(x: torch.Tensor) -> torch.Tensor:
        return cache.setdefault(0, double(x))

    timed = [check for check in judged(job, cheat)["checks"] if check["timed"]]
    assert timed
    assert not any(check["outputs"][0]["exact"] for check in timed)


def test_memory_that_was_never_written_differs_between_the_poisons(job: GpuJob) -> None:
    def partial(x: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(x)
        out[:-1] = x[:-1] * 2
        return out

    checks = judged(job, partial)["checks"]
    assert checks[1]["poison_equal"] is False
    assert not checks[0]["outputs"][0]["nonfinite_ok"]


@pytest.mark.parametrize("results", [[1, 2, 3, 4, 5], [1, 2, 1, 2, 1, 1]], ids=["all-differ", "two-by-chance"])
def test_a_kernel_that_differs_from_run_to_run_is_not_blamed_for_poison(job: GpuJob, results: list[int]) -> None:
    """As sums by atomics do, which now and then come out the same for a while."""
    coming = itertools.chain(results, itertools.repeat(0))
    noisy = judged(job, lambda x: double(x) + next(coming) * 2.0**-20)
    assert noisy["checks"][1]["poison_equal"] is None
    assert [check["repeated"] for check in noisy["checks"][:2]] == [None, False]


def test_changed_inputs_are_named_unless_the_users_kernel_changes_them_too(job: GpuJob) -> None:
    assert judged(job, lambda x: x.mul_(2))["checks"][0]["inputs_changed"] == ["x"]
    assert judged(job, lambda x: x.mul_(2))["checks"][0]["outputs"][0]["aliases_input"]

    def in_place(x: torch.Tensor) -> None:
        x.mul_(2)

    both = judged(job, in_place, load_baseline=runner(in_place), truth=lambda inputs, names: [("x", inputs["x"] * 2.0)])
    assert both["failure"] is None
    assert both["checks"][0]["inputs_changed"] == []
    assert both["checks"][0]["outputs"][0]["exact"]
    assert not both["checks"][0]["outputs"][0]["aliases_input"]


def test_values_that_the_workload_hides_are_tried_where_the_users_kernel_stands_them(job: GpuJob) -> None:
    seen = judged(job, lambda x: torch.where(x.abs() > 50, 0.0, x * 2))
    varied = {check["distribution"]: check for check in seen["checks"] if "distribution" in check}
    assert set(varied) == set(VARIED)
    assert varied["small values"]["outputs"][0]["exact"]
    assert not varied["large values"]["outputs"][0]["exact"]
    assert varied["large values"]["label"] == "x=float32[33] with large values"

    def unfit(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x.abs() > 50, float("nan"), x * 2)

    fragile = judged(job, double, load_baseline=runner(unfit))
    assert "large values" not in {check.get("distribution") for check in fragile["checks"]}


class Lazy(torch.Tensor):
    pass


def test_a_tensor_subclass_is_no_result(job: GpuJob) -> None:
    seen = judged(job, lambda x: double(x).as_subclass(Lazy))
    assert not seen["checks"][0]["outputs"][0]["type_ok"]
    assert seen["timing"] == []


def test_a_raised_exception_is_an_observation(job: GpuJob) -> None:
    def broken(x: torch.Tensor) -> torch.Tensor:
        raise ValueError("no such luck")

    failure = judged(job, broken)["failure"]
    assert failure["kind"] == "crash"
    assert "ValueError: no such luck" in failure["message"]
    assert failure["workload"] == "a"
    assert failure["file"] == __file__


@pytest.mark.parametrize("leave", [lambda: os._exit(0), lambda: os.kill(os.getpid(), 11)])
def test_a_process_that_ends_is_a_crash_with_its_ending(job: GpuJob, leave: Any) -> None:
    def gone(x: torch.Tensor) -> torch.Tensor:
        leave()
        return x

    failure = judged(job, gone)["failure"]
    assert failure["kind"] == "crash"
    assert "exit code 0" in failure["message"] or "signal 11" in failure["message"]


def test_system_exit_is_a_crash_not_a_success(job: GpuJob) -> None:
    def leave(x: torch.Tensor) -> torch.Tensor:
        raise SystemExit(0)

    assert judged(job, leave)["failure"]["kind"] == "crash"


def test_a_call_that_never_ends_times_out_and_leaves_no_process(job: GpuJob) -> None:
    def endless(x: torch.Tensor) -> torch.Tensor:
        time.sleep(3600)
        return x

    before = children()
    assert judged(job, endless, compile_timeout_s=0.5)["failure"]["kind"] == "timeout"
    assert children() == before


def children() -> set[int]:
    """Process ids of this process' children, dead ones that nobody has waited for among them (proc(5), field 4)."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(stat.parent.name))
    return found


def test_a_thread_left_running_beside_the_clock_is_cheating(job: GpuJob) -> None:
    def threaded(x: torch.Tensor) -> torch.Tensor:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        return double(x)

    assert judged(job, threaded)["failure"]["kind"] == "cheating"


def test_a_crash_of_the_users_own_reference_is_not_blamed_on_the_candidate(job: GpuJob) -> None:
    def broken(inputs: dict[str, Any], names: list[str] | None) -> Named:
        raise RuntimeError("the reference is broken")

    assert judged(job, double, truth=broken)["failure"]["kind"] == "host-failure"


def test_a_device_held_by_another_run_is_contended(job: GpuJob, tmp_path: Path) -> None:
    with device_lock("GPU-test", tmp_path / "locks", 1.0):
        failure = judged(job, double, deadline_s=0.2)["failure"]
    assert failure["kind"] == "contended"
    assert "another measurement" in failure["message"]


class Watch:
    """Looks at a device that is what ``state`` says."""

    def __init__(self, state: Callable[[str], dict[str, Any]], uuid: str) -> None:
        self._look = partial(state, uuid)

    def state(self) -> dict[str, Any]:
        return self._look()

    def close(self) -> None:
        pass


def test_only_what_stays_busy_while_we_wait_is_somebody_elses(job: GpuJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "_LOAD_PERIOD_S", 0.0)
    loads = [80, 40, 0]

    def fading(uuid: str) -> dict[str, Any]:
        return {"busy_percent": loads.pop(0) if loads else 0, "processes": [4242], "throttle": []}

    monkeypatch.setattr(rivals, "DeviceWatch", partial(Watch, fading))
    assert judged(job, double)["failure"] is None
    busy = {"busy_percent": 90, "processes": [4242]}
    monkeypatch.setattr(rivals, "DeviceWatch", partial(Watch, lambda uuid: busy))
    failure = judged(job, double)["failure"]
    assert failure["kind"] == "contended"
    assert "4242" in failure["message"]


def test_who_comes_while_it_is_measured_and_stays_was_beside_it(job: GpuJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "_LOAD_PERIOD_S", 0.0)
    looks = iter([{"busy_percent": 0, "processes": []}])
    busy = {"busy_percent": 90, "processes": [4242]}
    monkeypatch.setattr(rivals, "DeviceWatch", partial(Watch, lambda uuid: next(looks, busy)))
    seen = judged(job, double)
    assert seen["timing"]
    assert (seen["failure"]["kind"], "4242" in seen["failure"]["message"]) == ("contended", True)


def test_the_launches_of_every_timed_call_are_counted(job: GpuJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a device the launch itself is left out; the way there is Triton's own."""
    triton = pytest.importorskip("triton")
    monkeypatch.setattr(triton.runtime.jit.JITFunction, "run", lambda *args, **kwargs: None)

    @triton.jit
    def kernel(x_ptr: Any) -> None:
        pass

    def launching(x: torch.Tensor) -> torch.Tensor:
        kernel[(1,)](x)
        kernel.warmup(x, grid=(1,))
        kernel.run(x, grid=(1,), warmup=False)
        return double(x)

    (timing,) = judged(job, double, load_baseline=runner(launching))["timing"]
    assert (timing["baseline_launches"], timing["candidate_launches"]) == (2, 0)
    (timing,) = judged(job, launching, load_baseline=runner(launching))["timing"]
    assert (timing["baseline_launches"], timing["candidate_launches"]) == (2, 2)


@pytest.fixture
def doubling(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Triton kernel whose launch doubles on the host."""
    triton = pytest.importorskip("triton")

    def run(self: Any, x: torch.Tensor, out: torch.Tensor, *, grid: Any, warmup: bool) -> None:
        if not warmup:
            out.copy_(x * 2)

    monkeypatch.setattr(triton.runtime.jit.JITFunction, "run", run)

    @triton.jit
    def kernel(x_ptr: Any, out_ptr: Any) -> None:
        pass

    return kernel


def test_outputs_that_are_the_same_where_launches_do_nothing_are_told(job: GpuJob, doubling: Any) -> None:
    def honest(x: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(x)
        doubling[(1,)](x, out)
        return out

    def decoy(x: torch.Tensor) -> torch.Tensor:
        doubling[(1,)](x, torch.empty_like(x))
        return x * 2

    def waiting(x: torch.Tensor) -> torch.Tensor:
        out = honest(x)
        if out.isnan().any():
            raise RuntimeError("the kernel did not run")
        return out

    def idle_checks(candidate: Any, baseline: Any = honest) -> list[tuple[bool | None, bool | None]]:
        seen = judged(job, candidate, load_baseline=runner(baseline))
        assert seen["failure"] is None
        return [(one["idle_equal"], one["native_idle_equal"]) for one in seen["checks"] if "idle_equal" in one]

    assert idle_checks(honest) == [(False, False)]
    assert idle_checks(decoy) == [(True, False)]
    assert idle_checks(waiting) == [(None, False)]
    assert idle_checks(honest, decoy) == [(False, True)]
    # Nothing to hold back on one side or the other.
    assert idle_checks(double) == [] == idle_checks(honest, double)


def test_a_kernel_that_was_compiled_and_kept_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = pytest.importorskip("triton.compiler.compiler")
    jit = pytest.importorskip("triton.runtime.jit")

    class Kept:
        """A compiled kernel needs a device to exist; what matters is how it is called."""

        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            return lambda *args: args

    monkeypatch.setattr(compiler, "CompiledKernel", Kept)
    monkeypatch.setattr(jit.JITFunction, "run", jit.JITFunction.run)
    count = LaunchCount()
    assert count.seen() is None
    count.install()
    count.install()
    kept = Kept()[(1,)]
    before = count.seen()
    assert kept(1, 2) == (1, 2)
    assert kept() == ()
    assert count.since(before) == 2
    assert count.since(before) == 2
    with idle():
        assert Kept()[(1,)](1, 2) is None
    assert Kept()[(1,)](1, 2) == (1, 2)
    assert count.since(before) == 3


def test_values_that_the_reference_refuses_are_left_out(job: GpuJob) -> None:
    """The task never promised them: neither the candidate's fault nor the judge's."""

    def choosy(inputs: dict[str, Any], names: list[str] | None) -> Named:
        if float(inputs["x"].abs().max()) > 20.0:
            raise StepError("task-error", "reference() wants small values")
        return [("out", inputs["x"].double() * 2)]

    seen = judged(job, double, truth=choosy)
    assert seen["failure"] is None
    varied = {check["distribution"] for check in seen["checks"] if check.get("distribution")}
    assert varied and varied < set(VARIED)


def test_none_and_numbers_among_the_outputs_are_compared_as_they_are(job: GpuJob) -> None:
    def several(function: Any) -> Any:
        return lambda: lambda inputs: [(f"out[{i}]", value) for i, value in enumerate(function(**inputs))]

    own = several(lambda x: (double(x), None, 7))
    task = replace(
        job,
        load_baseline=own,
        truth=lambda inputs, names: [("out[0]", inputs["x"].double() * 2), ("out[1]", None), ("out[2]", 7)],
    )
    seen = judge_on_gpu(replace(task, load_candidate=several(lambda x: (x + x, None, 7))))
    assert seen["failure"] is None and len(seen["timing"]) == 1
    assert all(row["exact"] and row["type_ok"] for check in seen["checks"] for row in check["outputs"])
    for wrong in (lambda x: (x + x, x, 7), lambda x: (x + x, None, 8), lambda x: (x + x,), lambda x: (None, None, 7)):
        seen = judge_on_gpu(replace(task, load_candidate=several(wrong)))
        assert seen["failure"] is None
        assert any(not (row["type_ok"] and row["exact"]) for row in seen["checks"][0]["outputs"])


def test_an_own_kernel_that_raises_is_named_with_its_file_and_line(job: GpuJob) -> None:
    def broken(x: torch.Tensor) -> torch.Tensor:
        return x @ torch.zeros(3, 2)

    failure = judge_on_gpu(replace(job, load_baseline=runner(broken)))["failure"]
    assert (failure["kind"], failure["file"]) == ("host-failure", __file__)
    assert failure["line"] == broken.__code__.co_firstlineno + 1
    assert failure["message"].startswith("RuntimeError: ") and failure["seed"] is not None


@pytest.mark.parametrize("what", ["load_native", "truth"])
def test_a_task_that_raises_is_told_in_its_own_words(job: GpuJob, what: str) -> None:
    def refused(*unused: object) -> Any:
        raise StepError("task-error", "k.evolve.py:3 reference() raised: no. Mend it there, then start again.", "k", 3)

    failure = judge_on_gpu(replace(job, **{what: refused}))["failure"]
    assert (failure["kind"], failure["file"], failure["line"]) == ("host-failure", "k", 3)
    assert failure["message"].endswith("reference() raised: no. Mend it there, then start again.")


def test_a_reference_of_another_form_is_told(job: GpuJob) -> None:
    failure = judge_on_gpu(replace(job, truth=lambda inputs, names: []))["failure"]
    assert failure["kind"] == "host-failure" and "reference() gives 0 output(s), the entry 1" in failure["message"]
