"""Timed calls of both kernels in turn, and the check of every result that was timed."""

from __future__ import annotations

import secrets
from statistics import median
from typing import Any

from .answers import Answers
from .cases import Case, Cases
from .inputs import pack
from .job import GpuJob
from .link import BenchLink
from .nvml import DeviceWatch
from .phases import Phase, Phases
from .slots import Slot

_CALLS = 5
# Seen on an NVIDIA H200 for honest kernels of 12 to 470 µs: the host notices the end 2 to 7 µs after the event, the
# medians of the two kernels within 2 µs of each other.
_TAIL_NS, _TAIL_SHARE = 6_000, 0.05
_REMEMBERED, _ENOUGH = 1.5, 8
"""What a kept answer saves is most of the work; the noise of the median of three pairs is a few per cent."""
_STATE_EVERY = 10
_BOTH = ("baseline", "candidate")

Samples = dict[str, list[dict[str, Any]]]


class Pairs:
    """Times one candidate after the other in one bench. ``checks`` and ``timing`` are the protocol's, of the latest;
    ``throttle`` and ``clocks`` say how the device was meanwhile.
    """

    def __init__(
        self, job: GpuJob, process: int, link: BenchLink, to_bench: Slot, cases: Cases, answers: Answers, phases: Phases
    ) -> None:
        self._job, self._process, self._link, self._to = job, process, link, to_bench
        self._cases, self._answers, self._phases = cases, answers, phases
        self._watch = DeviceWatch(job.device_uuid)
        self.clocks: dict[str, Any] = {}
        self.next_candidate()

    def next_candidate(self) -> None:
        self.checks: list[dict[str, Any]] = []
        self.timing: list[dict[str, Any]] = []
        self.throttle: set[str] = set()

    def time(self, workload: str, empty_ns: float | None, *, can_warm: bool) -> None:
        """All pairs of one workload; those on a warm cache where the job wants them and the clock ``can_warm`` it.

        Raises BenchFailed, also where work goes on after a call.
        """
        first = self._cases.drawn(workload)
        self._ask({"do": "warm"}, first, self._job.compile_timeout_s)
        samples, seeds = self._series(workload, self._job.pair_count, warm_l2=False)
        self._nothing_remembered(samples, [first.seed, *seeds])
        # Nothing is looked for there that is remembered: where inputs are shared, it was timed on all of them by now.
        warm, _ = self._series(workload, self._job.warm_pair_count if can_warm else 0, warm_l2=True)
        calls = self._ask({"do": "calls", "count": _CALLS}, first)
        self.timing.append({**self._timed(workload, samples, calls), **_warm(warm), "empty_ns": empty_ns})

    def _series(self, workload: str, count: int, *, warm_l2: bool) -> tuple[Samples, list[int]]:
        """``count`` pairs, and the seeds of their inputs."""
        samples: Samples = {which: [] for which in _BOTH}
        seeds = []
        for number in range(count):
            case = self._cases.drawn(workload, number)
            self._pair(case, samples, warm_l2)
            seeds.append(case.seed)
            if number % _STATE_EVERY == 0:
                self._look_at_device()
        if count:
            self._nothing_left_running(samples)
        return samples, seeds

    def _pair(self, case: Case, samples: Samples, warm_l2: bool) -> None:
        order = [*_BOTH] if secrets.randbits(1) else [*reversed(_BOTH)]
        answer = self._ask({"do": "pair", "order": order, "warm_l2": warm_l2}, case)
        for which in order:
            samples[which].append(answer[which])
        outputs = self._answers.outputs(answer["candidate"], case)
        compared = self._answers.compared(outputs, answer["candidate"], case, quantiles=False)
        self.checks.append({**compared, "poison": None, "inputs_changed": [], "timed": True})

    def _ask(self, request: dict[str, Any], case: Case, timeout_s: float | None = None) -> dict[str, Any]:
        with self._phases.phase(Phase.TIME):
            return self._link.ask({**request, **pack(case.inputs, self._to)}, timeout_s)

    def _timed(self, workload: str, samples: Samples, calls: dict[str, Any]) -> dict[str, Any]:
        by_pair = {
            f"{which}_{what}": [sample[what] for sample in samples[which]]
            for which in _BOTH
            for what in ("host_ns", "tail_ns")
        }
        return {
            "workload": workload,
            "stage": self._job.stage,
            "process": self._process,
            "cold_l2": True,
            "all_outputs_checked": True,
            **by_pair,
            **{f"{which}_ns": [sample["device_ns"] for sample in samples[which]] for which in _BOTH},
            **{f"{which}_call_ns": calls[which] for which in _BOTH},
            **{f"{which}_launches": _fewest(samples[which]) for which in _BOTH},
            "held": sum(sample["held"] for which in _BOTH for sample in samples[which]),
        }

    def _nothing_left_running(self, samples: Samples) -> None:
        """Work on another stream runs on after the clock has stopped: the device is not idle when the call is over."""
        tail = {which: median(sample["tail_ns"] for sample in rows) for which, rows in samples.items()}
        own_ns = median(sample["device_ns"] for sample in samples["baseline"])
        if tail["candidate"] - tail["baseline"] > max(_TAIL_NS, _TAIL_SHARE * own_ns):
            after = f"{tail['candidate'] / 1e3:.0f} µs (your kernel: {tail['baseline'] / 1e3:.0f} µs)"
            raise self._link.failed("cheating", f"the GPU is busy for {after} after the call: work outside its stream")

    def _nothing_remembered(self, samples: Samples, seeds: list[int]) -> None:
        """A kernel has nowhere to keep an answer but memory that is not its own. One that does is fast where it was
        before: ``seeds`` are those of the inputs of every pair, and first of those it was warmed up with.
        """
        pairs = zip(samples["candidate"], samples["baseline"], strict=True)
        ratios = [candidate["device_ns"] / baseline["device_ns"] for candidate, baseline in pairs]
        again = [ratio for at, ratio in enumerate(ratios, 1) if seeds[at] in seeds[:at]]
        fresh = [ratio for at, ratio in enumerate(ratios, 1) if seeds[at] not in seeds[:at]]
        if not fresh or len(again) < _ENOUGH or median(fresh) <= _REMEMBERED * median(again):
            return
        times = f"{median(fresh) / median(again):.1f} times as fast"
        raise self._link.failed("cheating", f"it is {times} on inputs that it was timed on before: it keeps answers")

    def _look_at_device(self) -> None:
        state = self._watch.state()
        if state is not None:
            self.throttle.update(state["throttle"])
            self.clocks = {key: state[key] for key in ("sm_mhz", "memory_mhz", "temperature_c", "power_mw")}


def _warm(samples: Samples) -> dict[str, Any]:
    """What the protocol says of pairs on a warm L2 cache; nothing where there were none."""
    if not samples["candidate"]:
        return {}
    return {
        **{f"{which}_warm_ns": [sample["device_ns"] for sample in samples[which]] for which in _BOTH},
        "warm_held": sum(sample["held"] for which in _BOTH for sample in samples[which]),
    }


def _fewest(samples: list[dict[str, Any]]) -> int | None:
    """The fewest launches in one timed call; None where they were not counted."""
    counts = [sample.get("launches") for sample in samples]
    known = [count for count in counts if isinstance(count, int)]
    return min(known) if known and len(known) == len(counts) else None
