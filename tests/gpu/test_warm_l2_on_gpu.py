"""Calls with their inputs in the L2 cache, on a real GPU: that reading puts them there, and what is told of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.verdict import Correctness, Stage, Trust, Verdict, WorkloadVerdict
from tests.gpu.judges import Judges, Texts
from tests.gpu.variants import example

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not list_devices(), reason="needs an NVIDIA GPU"),
]

SOURCE, TASK = example("softmax")
RETURN = "    return out\n"
# In a process of its own: what the judge forks from must not have touched CUDA.
SUMS = """
import json
import torch
from evolve_core.judge.host.gpu.clock import Stopwatch

watch = Stopwatch()
x = torch.ones(watch.l2_bytes // 16, device="cuda")  # a quarter of the cache, in bytes
odd = torch.zeros(watch.l2_bytes * 3 + 1, dtype=torch.uint8, device="cuda")
others = [odd, odd[1:], odd[-1:], odd[:0], x[5::3], x.expand(7, -1), x[0], torch.ones(3), "text", 7, None]
sample, _ = watch.sample(lambda: None, others)
times = {"cold": [], "warm": [], "odd": [sample.device_ns], "sums": []}
for _ in range(31):
    for name, warm in (("cold", []), ("warm", [x])):
        sample, total = watch.sample(lambda: x.sum(), warm)
        times[name].append(sample.device_ns)
        times["sums"].append(total.item() / x.numel())
print(json.dumps({**times, "hold": watch.hold_kind}))
"""


def test_a_sum_is_no_slower_of_what_was_just_read() -> None:
    """Of a quarter of the cache; the two kinds of call take turns."""
    ended = subprocess.run([sys.executable, "-c", SUMS], capture_output=True, text=True, timeout=200, check=False)
    assert ended.returncode == 0, ended.stderr
    times = json.loads(ended.stdout)
    cold, warm = (sorted(times[name])[15] for name in ("cold", "warm"))
    print(f"cold {cold / 1e3:.2f} µs, warm {warm / 1e3:.2f} µs: {cold / warm:.2f}×")
    assert times["hold"] == "gate" and times["odd"][0] > 0
    assert set(times["sums"]) == {1.0}
    assert cold / warm > 1.0


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judges]:
    found = Judges(tmp_path_factory.mktemp("judges"), lambda name: Texts(SOURCE, TASK))
    yield found
    found.close()


def timed_rows(verdict: Verdict) -> list[WorkloadVerdict]:
    assert (verdict.correctness, verdict.failure) == (Correctness.CORRECT, None), verdict.reason
    return [row for row in verdict.workloads if row.candidate_us is not None]


@pytest.mark.parametrize("trust", Trust)
def test_a_confirmation_tells_of_a_warm_cache_beside_the_cold_one(judges: Judges, trust: Trust) -> None:
    """The user's own kernel; with an operator that no plan holds, its host code runs."""
    planned = trust is Trust.KERNEL_ONLY
    source = SOURCE if planned else SOURCE.replace(RETURN, "    return out + torch.rand_like(out) * 0\n")
    verdict = judges.judge("softmax", source, Stage.CONFIRMATION)
    rows = timed_rows(verdict)
    assert verdict.trust is trust and len(rows) == 3
    for row in rows:
        print(f"{row.label}: {row.baseline_us}, warm {row.baseline_warm_us} µs; {row.ratio}, warm {row.warm_ratio}")
        assert row.warm_ratio is not None and row.warm_interval is not None
        assert row.warm_interval.low <= row.warm_ratio <= row.warm_interval.high
        assert row.baseline_warm_us and row.candidate_warm_us
    # 16 MiB of inputs: all of them fit into the cache of an A100 or later.
    small = rows[0]
    assert small.baseline_us and small.baseline_warm_us
    assert small.baseline_us / small.baseline_warm_us > 0.95


def test_a_screening_tells_of_none(judges: Judges) -> None:
    rows = timed_rows(judges.judge("softmax", SOURCE, Stage.SCREENING))
    assert rows and all(row.warm_ratio is row.candidate_warm_us is None for row in rows)
