"""The trusted side of a measurement: draws inputs, computes truth, directs the bench, checks everything it returns.

This process runs the task module, the reference and the user's own kernel, and no candidate code, ever. What the
bench sends is treated as data: layouts are validated, sizes bounded, and every answer has a deadline.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from itertools import product
from typing import Any

import torch

from ..checks import is_of_another_kind
from ..compare import same_bits
from ..copies import clone_inputs
from ..distributions import distributions_on
from ..errors import StepError, log
from ..loading import raised_at
from .answers import Answers, counted
from .cases import Case, Cases
from .channel import Channel
from .ghost import idle_equal, own_idle_equal
from .inputs import describe, pack
from .job import GpuJob, Named
from .least import written_bytes
from .link import BenchFailed, BenchLink
from .pairs import Pairs
from .phases import Phase, Phases
from .poison import POISONS
from .slots import Slot

_LEAST_DRAWS = 3
_REPEATS = 4
"""Runs with each poison before the memory is blamed: a kernel with two equally likely results is, once in 256 times."""


class Conductor:
    def __init__(self, job: GpuJob, channel: Channel, to_bench: Slot, from_bench: Slot, process: int) -> None:
        self._job = job
        self._link, self._phases = BenchLink(channel), Phases()
        self._to, self._from = to_bench, from_bench
        self._cases = Cases(job, self._link, self._phases)
        self._answers = Answers(self._link, from_bench, job.device, self._phases)
        self._pairs = Pairs(job, process, self._link, to_bench, self._cases, self._answers, self._phases)
        self._environment: dict[str, Any] = {}
        self._checks: list[dict[str, Any]] = []

    def run(self, ready: Callable[[], None]) -> dict[str, Any]:
        """The whole measurement: correctness on every checked workload first, then the timed pairs.

        ``ready`` is called before any candidate code is loaded, and returns when it is this measurement's turn. What
        went before that, beside others, no phase accounts for.
        """

        def measure() -> None:
            self._prepare()
            ready()
            self._phases.begin()
            self._settle()
            self._ask({"do": "load"}, self._job.compile_timeout_s)
            self._observe()
            self._close()
            self._check_idle()

        return self._report(measure)

    def run_planned(self, plans: dict[str, Any]) -> dict[str, Any]:
        """The same for one more candidate, on the bench that is there already."""
        self._cases.next_candidate()
        self._pairs.next_candidate()
        self._phases.begin()
        self._checks = []

        def measure() -> None:
            if not self._environment:
                self._prepare()
                self._settle()
            self._ask({"do": "plan", "plans": plans}, self._job.compile_timeout_s)
            self._observe()

        return self._report(measure)

    def _observe(self) -> None:
        for number, workload in enumerate(self._job.checked):
            self._check(workload)
            for distribution in distributions_on(number, len(self._job.checked)):
                self._check_varied(workload, distribution)
        if not is_of_another_kind(self._checks):
            for workload in self._job.timed:
                self._pairs.time(workload, self._environment.get("empty_ns"))
                self._pairs.timing[-1].update(self._least(workload))

    def _least(self, workload: str) -> dict[str, Any]:
        """``{least: {dram_bytes, flops}}`` where the job asks for it: the smallest of a few draws, because lengths and
        indices that are drawn may ask for more or less.
        """
        if self._job.least_work is None:
            return {}
        found = []
        for number in range(_LEAST_DRAWS):
            case = self._cases.drawn(workload, number)
            least = self._job.least_work(clone_inputs(case.inputs))
            found.append((least["read_bytes"] + written_bytes(case.native, case.effects.aliased), least["flops"]))
        if self._job.device == "cuda":
            torch.cuda.empty_cache()  # Derivatives take much memory, which the bench may need for the next workload.
        kinds = set.intersection(*(set(flops) for _, flops in found))
        flops = {kind: min(one[kind] for _, one in found) for kind in sorted(kinds)}
        # What is written last may still lie in L2 when the clock stops, and a flush may have left some input there.
        through_dram = max(0, min(moved for moved, _ in found) - int(self._environment["l2_bytes"]))
        return {"least": {"dram_bytes": through_dram, "flops": flops}}

    def _report(self, measure: Callable[[], None]) -> dict[str, Any]:
        failure = None
        try:
            measure()
        except BenchFailed as failed:
            failure = failed.failure
        except (Exception, SystemExit) as raised:  # noqa: BLE001 - this process's boundary: the user's code runs here
            log(traceback.format_exc())
            failure = self._link.failed("host-failure", *_told(raised)).failure
        return {
            "failure": failure,
            "checks": [*self._checks, *self._pairs.checks],
            "timing": self._pairs.timing,
            "environment": {
                **self._environment,
                **({"clocks": self._pairs.clocks} if self._pairs.clocks else {}),
                "throttle": sorted(self._pairs.throttle),
                "seconds": self._phases.seconds(),
                "transfer": self._to.path,
            },
        }

    def _prepare(self) -> None:
        """Both processes get ready beside each other: a context takes either of them half a second.

        Device memory is handed over where each side can open the other's: a bench's confinement may forbid it.
        """
        offer = ""

        def own() -> None:
            nonlocal offer
            with self._phases.phase(Phase.DRAW):
                self._cases.load()
                self._cases.warm_up()
                offer = self._to.offer(self._job.device)

        with self._phases.phase(Phase.WAIT):
            self._environment.update(self._link.ask({"do": "prepare"}, self._job.compile_timeout_s, own))
        theirs = self._ask({"do": "open", "offer": offer}, self._job.compile_timeout_s)
        if not theirs["opened"]:
            self._to.stay_on_host()
        self._ask({"do": "opened", "opened": self._from.can_open(theirs["offer"])})

    def _settle(self) -> None:
        self._environment.update(self._ask({"do": "empty"}))

    def _ask(self, request: dict[str, Any], timeout_s: float | None = None) -> dict[str, Any]:
        with self._phases.phase(Phase.WAIT):
            return self._link.ask(request, timeout_s)

    def _check(self, workload: str) -> None:
        case = self._cases.drawn(workload, recorded=True)
        results: dict[str, Named] = {}
        for poison in POISONS:
            answer = self._run(case, poison, first_call=not results)
            results[poison] = self._answers.outputs(answer, case)
            compared = self._answers.compared(results[poison], answer, case, quantiles=True)
            changed = self._answers.changed(answer, case)
            said = {"host_operators": counted(answer.get("operators")), **case.operators}
            self._checks.append({**compared, **said, "poison": poison, "inputs_changed": changed, "timed": False})
        self._checks[-1]["poison_equal"] = self._poison_equal(results, case)

    def _check_varied(self, workload: str, distribution: str) -> None:
        """The same workload with other values, where reference() and the user's own kernel stand them."""
        case = self._cases.varied(workload, distribution)
        if case is None:
            return
        answer = self._run(case, POISONS[0], first_call=True)
        compared = self._answers.compared(self._answers.outputs(answer, case), answer, case, quantiles=True)
        extra = {"poison": POISONS[0], "inputs_changed": [], "timed": False, "distribution": distribution}
        self._checks.append({**compared, **extra, "label": f"{describe(case.inputs)} with {distribution}"})

    def _poison_equal(self, results: dict[str, Named], case: Case) -> bool | None:
        """Whether what was in fresh memory made no difference; None where the kernel differs from run to run anyway.

        Atomics often land in the same order twice, so that one repetition would blame the memory for their order; and
        where a plan's tensors lie, which differs by poison, may settle it: in half of its repetitions they lie as with
        the other one.
        """
        if same_bits(results["nan"], results["zero"]):
            return True
        for moved, poison in product((True, False) * (_REPEATS // 2), POISONS):
            again = self._answers.outputs(self._run(case, poison, first_call=False, moved=moved), case)
            if not same_bits(results[poison], again):
                return None
        return False

    def _check_idle(self) -> None:
        """A candidate once more, then where its launches do nothing: what is the same was no kernel's work.

        Asked last, because host code may wait for its kernels for ever. A plan without operators of torch leaves
        nothing to ask.
        """
        if self._job.load_candidate is None or not self._job.checked or is_of_another_kind(self._checks):
            return
        if self._job.is_planned and not any(check.get("host_operators") for check in self._checks):
            return
        case = self._cases.drawn(self._job.checked[-1])
        own = self._own_idle_equal(case)
        answer = self._run(case, self._idle_poison, first_call=False)
        # Without launches that are seen, none could be held back.
        if own is None or not answer.get("launches"):
            return
        outputs = self._answers.outputs(answer, case)
        compared = self._answers.compared(outputs, answer, case, quantiles=True)
        extra = {"poison": self._idle_poison, "inputs_changed": self._answers.changed(answer, case), "timed": False}
        seen = {"idle_equal": self._idle_equal(case, outputs), "native_idle_equal": own}
        self._checks.append({**compared, **extra, **seen})

    @property
    def _idle_poison(self) -> str:
        """What fresh memory holds where no kernel writes it. An index out of it must lie inside a tensor where a plan's
        operators go by it: the device would fault, and host code raises.
        """
        return "zero" if self._job.is_planned else POISONS[0]

    def _own_idle_equal(self, case: Case) -> bool | None:
        """The same of the user's own kernel: by its plan where plans are carried out, else by its host code."""
        if not self._job.is_planned:
            return own_idle_equal(self._cases.native, case)
        answer = self._run(case, self._idle_poison, first_call=False, idle=True, which="baseline")
        return idle_equal(self._answers.outputs(answer, case), case.native, case)

    def _idle_equal(self, case: Case, outputs: Named) -> bool | None:
        try:
            answer = self._run(case, self._idle_poison, first_call=False, idle=True)
        except BenchFailed:
            return None
        return idle_equal(self._answers.outputs(answer, case), outputs, case)

    def _run(
        self,
        case: Case,
        poison: str,
        *,
        first_call: bool,
        idle: bool = False,
        moved: bool = False,
        which: str = "candidate",
    ) -> dict[str, Any]:
        # Host code compiles in its first call; a plan's kernels are compiled already.
        deadline = self._job.compile_timeout_s if first_call and not self._job.is_planned else None
        request = {"do": "run", "which": which, "poison": poison, "idle": idle, "moved": moved}
        with self._phases.phase(Phase.WAIT):
            return self._link.ask({**request, **pack(case.inputs, self._to)}, deadline)

    def _close(self) -> None:
        left = self._ask({"do": "close"})
        self._environment["peak_bytes"] = left["peak_bytes"]
        if (left["new_threads"] or left["children"]) and not self._job.candidate_is_trusted:
            what = f"{left['new_threads']} threads and {left['children']} processes"
            raise self._link.failed("cheating", f"the candidate left {what} running beside the clock")


def _told(raised: BaseException) -> tuple[str, str | None, int | None]:
    """What the task or the user's own kernel raised: message, file and line of theirs."""
    if isinstance(raised, StepError):
        return raised.message, raised.file, raised.line
    place = raised_at(raised)
    said = f"it called sys.exit({raised.code!r})" if isinstance(raised, SystemExit) else str(raised)
    return f"{type(raised).__name__}: {said}", str(place.file) if place else None, place.line if place else None
