"""The trusted side of a measurement: draws inputs, computes truth, directs the bench, checks everything it returns.

This process runs the task module, the reference and the user's own kernel, and no candidate code, ever. What the
bench sends is treated as data: layouts are validated, sizes bounded, and every answer has a deadline.
"""

from __future__ import annotations

import secrets
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from ..compare import same_bits
from ..copies import clone_inputs
from ..distributions import AS_DRAWN, VARIED, is_sound, vary
from ..errors import StepError, log
from ..loading import raised_at
from ..operators import RecordedOperators
from ..truths import matched
from .channel import Channel
from .inputs import PLAIN, describe, pack, same_bytes
from .job import GpuJob, Named, Runner
from .link import BenchFailed, BenchLink
from .nvml import device_state
from .poison import POISONS
from .slots import BadLayout, Slot, wait_for_device

_CALLS = 5
# Seen on an NVIDIA H200 for honest kernels of 12 to 470 µs: the host notices the end 2 to 7 µs after the event, the
# medians of the two kernels within 2 µs of each other.
_TAIL_NS, _TAIL_SHARE = 6_000, 0.05
_STATE_EVERY = 10
_REPEATS = 4
"""Runs with each poison before the memory is blamed: a kernel with two equally likely results is, once in 256 times."""


@dataclass
class _Case:
    """Fresh inputs of one workload, their truth, and what the user's own kernel made of them.

    ``names`` is None where the entry returns its outputs, else the inputs that it changes instead.
    """

    inputs: dict[str, Any]
    truth: Named
    native: Named
    names: list[str] | None
    changed: set[str]
    aliased: set[str]
    operators: dict[str, Any]
    """What of torch the user's host code and the reference called on them."""

    def results(self, outputs: Named) -> Named:
        return outputs if self.names is None else [pair for pair in outputs if pair[0] in self.names]


class Conductor:
    def __init__(self, job: GpuJob, channel: Channel, to_bench: Slot, from_bench: Slot, process: int) -> None:
        self._job, self._process = job, process
        self._link = BenchLink(channel)
        self._to, self._from = to_bench, from_bench
        self._native: Runner
        """The user's own kernel, once it was prepared."""
        self.checks: list[dict[str, Any]] = []
        self.timing: list[dict[str, Any]] = []
        self.environment: dict[str, Any] = {}
        self.throttle: set[str] = set()
        self.seconds: dict[str, float] = {}
        """Where this round's time went, by phase."""

    def run(self) -> dict[str, Any]:
        """The whole measurement: correctness on every checked workload first, then the timed pairs."""

        def measure() -> None:
            with self._phase("prepare"):
                self._prepare()
                self._link.ask({"do": "load"}, self._job.compile_timeout_s)
            self._observe()
            self._close()

        return self._report(measure)

    def run_planned(self, plans: dict[str, Any]) -> dict[str, Any]:
        """The same for one more candidate, on the bench that is there already."""
        self.checks, self.timing, self.seconds, self.throttle = [], [], {}, set()

        def measure() -> None:
            with self._phase("prepare"):
                if not self.environment:
                    self._prepare()
                self._link.ask({"do": "plan", "plans": plans}, self._job.compile_timeout_s)
            self._observe()

        return self._report(measure)

    def _observe(self) -> None:
        with self._phase("check"):
            for workload in self._job.checked:
                self._check(workload)
        if not _wrong(self.checks):
            with self._phase("time"):
                for workload in self._job.timed:
                    self._time(workload)

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
            "checks": self.checks,
            "timing": self.timing,
            "environment": {
                **self.environment,
                "throttle": sorted(self.throttle),
                "seconds": self.seconds,
                "transfer": self._to.path,
            },
        }

    def _prepare(self) -> None:
        """Device memory is handed over where each side can open the other's: a bench's confinement may forbid it."""
        self._native = (self._job.load_native or self._job.load_baseline)()
        offer = self._to.offer(self._job.device)
        answer = self._link.ask({"do": "prepare", "offer": offer}, self._job.compile_timeout_s)
        if not answer.pop("opened"):
            self._to.stay_on_host()
        opened = self._from.can_open(answer.pop("offer"))
        self._link.ask({"do": "opened", "opened": opened})
        self.environment.update(answer)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - started, 3)

    def _check(self, workload: str) -> None:
        case = self._draw(workload, recorded=True)
        results: dict[str, Named] = {}
        for poison in POISONS:
            answer = self._run(case, poison, first_call=not results)
            results[poison] = self._outputs(answer, case)
            compared = self._compared(results[poison], answer, case, quantiles=True)
            changed = self._changed(answer, case)
            said = {"host_operators": _counted(answer.get("operators")), **case.operators}
            self.checks.append({**compared, **said, "poison": poison, "inputs_changed": changed, "timed": False})
        self.checks[-1]["poison_equal"] = self._poison_equal(results, case)
        for distribution in VARIED:
            self._check_varied(workload, distribution)

    def _check_varied(self, workload: str, distribution: str) -> None:
        """The same workload with other values, where reference() and the user's own kernel stand them."""
        try:
            case = self._draw(workload, distribution)
        except StepError:
            return
        if not is_sound(case.native, case.truth, self._job.compare):
            return
        answer = self._run(case, POISONS[0], first_call=True)
        compared = self._compared(self._outputs(answer, case), answer, case, quantiles=True)
        extra = {"poison": POISONS[0], "inputs_changed": [], "timed": False, "distribution": distribution}
        self.checks.append({**compared, **extra, "label": f"{describe(case.inputs)} with {distribution}"})

    def _poison_equal(self, results: dict[str, Named], case: _Case) -> bool | None:
        """Whether what was in fresh memory made no difference; None where the kernel differs from run to run anyway.

        Atomics often land in the same order twice, so that one repetition would blame the memory for their order.
        """
        if same_bits(results["nan"], results["zero"]):
            return True
        for poison in POISONS * _REPEATS:
            again = self._outputs(self._run(case, poison, first_call=False), case)
            if not same_bits(results[poison], again):
                return None
        return False

    def _time(self, workload: str) -> None:
        inputs = self._draw(workload).inputs
        self._link.ask({"do": "warm", **pack(inputs, self._to)}, self._job.compile_timeout_s)
        samples: dict[str, list[dict[str, Any]]] = {"baseline": [], "candidate": []}
        for number in range(self._job.pair_count):
            self._pair(workload, samples)
            if number % _STATE_EVERY == 0:
                self._watch_device()
        self._nothing_left_running(samples)
        calls = self._link.ask({"do": "calls", "count": _CALLS, **pack(inputs, self._to)})
        self.timing.append(
            {
                "workload": workload,
                "stage": self._job.stage,
                "process": self._process,
                "cold_l2": True,
                "all_outputs_checked": True,
                **{
                    f"{which}_{what}": [sample[what] for sample in samples[which]]
                    for which in samples
                    for what in ("host_ns", "tail_ns")
                },
                **{f"{which}_ns": [sample["device_ns"] for sample in samples[which]] for which in samples},
                **{f"{which}_call_ns": calls[which] for which in samples},
                **{f"{which}_launches": _fewest(samples[which]) for which in samples},
                "held": sum(sample["held"] for which in samples for sample in samples[which]),
                "empty_ns": self.environment.get("empty_ns"),
            }
        )

    def _pair(self, workload: str, samples: dict[str, list[dict[str, Any]]]) -> None:
        case = self._draw(workload)
        order = ["baseline", "candidate"] if secrets.randbits(1) else ["candidate", "baseline"]
        answer = self._link.ask({"do": "pair", "order": order, **pack(case.inputs, self._to)})
        for which in order:
            samples[which].append(answer[which])
        outputs = self._outputs(answer["candidate"], case)
        compared = self._compared(outputs, answer["candidate"], case, quantiles=False)
        self.checks.append({**compared, "poison": None, "inputs_changed": [], "timed": True})

    def _nothing_left_running(self, samples: dict[str, list[dict[str, Any]]]) -> None:
        """Work on another stream runs on after the clock has stopped: the device is not idle when the call is over."""
        tail = {which: median(sample["tail_ns"] for sample in rows) for which, rows in samples.items()}
        own_ns = median(sample["device_ns"] for sample in samples["baseline"])
        if tail["candidate"] - tail["baseline"] > max(_TAIL_NS, _TAIL_SHARE * own_ns):
            after = f"{tail['candidate'] / 1e3:.0f} µs (your kernel: {tail['baseline'] / 1e3:.0f} µs)"
            raise self._link.failed("cheating", f"the GPU is busy for {after} after the call: work outside its stream")

    def _draw(self, workload: str, distribution: str = AS_DRAWN, *, recorded: bool = False) -> _Case:
        """Inputs that no other process has seen, from a seed made here and now.

        Torch's operators are ``recorded`` only where somebody asks: the first record of a process imports for a second.
        """
        used, library = RecordedOperators(), RecordedOperators()
        seed = secrets.randbits(48)
        self._link.workload, self._link.seed = workload, seed
        inputs = vary(self._job.draw(workload, seed, self._job.device), distribution)
        own = clone_inputs(inputs)
        wait_for_device()
        started = time.monotonic()
        with used if recorded else nullcontext():
            native = self._native(own)
        wait_for_device()
        self._link.reference_took(time.monotonic() - started)
        tensors = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
        changed = {name for name, value in tensors.items() if not same_bytes(own[name], value)}
        in_place = all(name in own and own[name] is value for name, value in native)
        names = sorted(changed) if in_place else None
        with library if recorded else nullcontext():
            truth = self._job.truth(clone_inputs(inputs), names)
        aliased = {name for name, value in native if any(_same_memory(value, own[key]) for key in tensors)}
        operators = {
            "native_operators": used.elements,
            "reference_operators": library.elements if self._job.has_reference else {},
            "input_elements": sum(value.numel() for value in tensors.values()),
        }
        case = _Case(inputs, truth, native, names, changed, aliased, operators)
        case.native = case.results(native)
        case.truth = matched(truth, case.native, self._job.reference())
        return case

    def _run(self, case: _Case, poison: str, *, first_call: bool) -> dict[str, Any]:
        deadline = self._job.compile_timeout_s if first_call else None
        request = {"do": "run", "which": "candidate", "poison": poison}
        return self._link.ask({**request, **pack(case.inputs, self._to)}, deadline)

    def _outputs(self, answer: dict[str, Any], case: _Case) -> Named:
        try:
            said = answer["outputs"]
            layouts = [entry["layout"] for entry in said if "value" not in entry]
            tensors = iter(self._from.read(layouts, self._job.device))
            named = [(str(entry["name"]), _plain(entry) if "value" in entry else next(tensors)) for entry in said]
            return case.results(named)
        except (BadLayout, KeyError, TypeError) as broken:
            message = f"the bench answered with an unreadable result: {broken}"
            raise self._link.failed("cheating", message) from broken

    def _compared(self, outputs: Named, answer: dict[str, Any], case: _Case, *, quantiles: bool) -> dict[str, Any]:
        rows = self._job.compare(outputs, case.truth, case.native, quantiles)
        said = {str(entry["name"]): entry for entry in answer["outputs"]}
        for row in rows:
            claim = said.get(row["name"], {})
            row["type_ok"] = row["type_ok"] and bool(claim.get("type_ok"))
            row["aliases_input"] = bool(claim.get("aliases_input")) and row["name"] not in case.aliased
        return {
            "workload": self._link.workload,
            "seed": self._link.seed,
            "outcome": "compared",
            "message": "",
            "outputs": rows,
            "out_of_bounds": [],
        }

    def _changed(self, answer: dict[str, Any], case: _Case) -> list[str]:
        """Names of the inputs that the call altered though the user's own kernel, on the same inputs, does not."""
        names = [name for name, value in case.inputs.items() if isinstance(value, torch.Tensor)]
        try:
            after = self._from.read(answer["inputs_after"], self._job.device)
        except (BadLayout, KeyError, TypeError) as broken:
            message = f"the bench answered with unreadable inputs: {broken}"
            raise self._link.failed("cheating", message) from broken
        if len(after) != len(names):
            raise self._link.failed("cheating", "the bench did not hand every input back")
        differing = {name for name, left in zip(names, after, strict=True) if not same_bytes(left, case.inputs[name])}
        return sorted(differing - case.changed)

    def _watch_device(self) -> None:
        state = device_state(self._job.device_uuid)
        if state is not None:
            self.throttle.update(state["throttle"])
            self.environment["clocks"] = {
                key: state[key] for key in ("sm_mhz", "memory_mhz", "temperature_c", "power_mw")
            }

    def _close(self) -> None:
        left = self._link.ask({"do": "close"})
        self.environment["peak_bytes"] = left["peak_bytes"]
        if left["new_threads"] or left["children"]:
            what = f"{left['new_threads']} threads and {left['children']} processes"
            raise self._link.failed("cheating", f"the candidate left {what} running beside the clock")


def _told(raised: BaseException) -> tuple[str, str | None, int | None]:
    """What the task or the user's own kernel raised: message, file and line of theirs."""
    if isinstance(raised, StepError):
        return raised.message, raised.file, raised.line
    place = raised_at(raised)
    said = f"it called sys.exit({raised.code!r})" if isinstance(raised, SystemExit) else str(raised)
    return f"{type(raised).__name__}: {said}", str(place.file) if place else None, place.line if place else None


def _wrong(checks: list[dict[str, Any]]) -> bool:
    """Whether there is no point in timing: an output of the wrong kind. Tolerances are not this process's business."""
    rows = [row for check in checks for row in check["outputs"]]
    return any(not (row["type_ok"] and row["dtype_ok"] and row["shape_ok"]) for row in rows)


def _fewest(samples: list[dict[str, Any]]) -> int | None:
    """The fewest launches in one timed call; None where they were not counted."""
    counts = [sample.get("launches") for sample in samples]
    known = [count for count in counts if isinstance(count, int)]
    return min(known) if known and len(known) == len(counts) else None


def _counted(said: Any) -> dict[str, int]:
    """The bench's record of operators as far as it is one; a hostile process may say anything."""
    pairs = said.items() if isinstance(said, dict) else ()
    return {name[:200]: count for name, count in pairs if isinstance(count, int)}


def _plain(entry: dict[str, Any]) -> Any:
    """A value that is no tensor, in the bench's own words: JSON, of which only what compares as it is counts."""
    if not isinstance(entry["value"], PLAIN):
        raise TypeError(f"{entry['name']} is neither a tensor nor a plain value")
    return entry["value"]


def _same_memory(value: Any, other: Any) -> bool:
    both = isinstance(value, torch.Tensor) and isinstance(other, torch.Tensor)
    return both and value.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
