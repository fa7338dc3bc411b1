"""The process that runs the user's kernel and a candidate side by side, and answers to the conductor.

It owns the clock and the buffers and decides nothing: it never sees truth, tolerances or an earlier verdict.
Everything it says after a candidate was loaded is data from a process that ran foreign code.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..copies import clone_inputs
from ..errors import StepError
from ..operators import RecordedOperators
from .clock import Stopwatch
from .devicekernels import device_kernels
from .guarded import guarded_copies, guarded_memory
from .inputs import PLAIN, unpack_values
from .launches import LaunchCount, idle
from .memory_cap import cap_memory
from .planned import PlannedRunner
from .poison import overwrite_free_memory, poisoned
from .repeats import repeated
from .slots import Slot, wait_for_device

Runner = Callable[[dict[str, Any]], "list[tuple[str, Any]]"]

_WARM_CALLS = 3


class Bench:
    """The state of one bench process. Method names starting with ``do_`` are the requests of the conductor."""

    def __init__(
        self,
        inbox: Slot,
        outbox: Slot,
        load_baseline: Callable[[], Runner],
        load_candidate: Callable[[], Runner] | None,
        device: str = "cuda",
        confined: Sequence[str] = (),
        load_plans: Callable[[Iterable[Any]], Runner] | None = None,
        kernels: bytes | None = None,
        *,
        guards_inputs: bool = False,
    ) -> None:
        """``confined``: the layers that this process stands behind, for the record. ``kernels``: as for ``Stopwatch``.
        ``guards_inputs``: host code, too, is checked on inputs that lie beside unmapped memory.
        """
        self._guards_inputs = guards_inputs
        self._kernels = kernels
        self._load_plans = load_plans
        self._device, self._confined = device, [*confined]
        self._inbox, self._outbox = inbox, outbox
        self._load = {"baseline": load_baseline, "candidate": load_candidate or load_baseline}
        self._runners: dict[str, Runner] = {}
        self._watch: Stopwatch | None = None
        self._launches = LaunchCount()
        self._tasks_before = 0
        self._inputs: dict[str, Any] = {}
        self._result_bytes: list[int] = []

    def do_prepare(self, _: dict[str, Any]) -> dict[str, Any]:
        """The bound on memory and the clock first, then the user's kernel: all before any candidate code is loaded."""
        if self._device == "cuda":
            cap_memory()
        self._watch = Stopwatch(self._kernels)
        answer = {**self._watch.describe(), "confined": self._confined}
        self._launches.install()
        self._runners["baseline"] = self._load["baseline"]()
        # Loading the user's kernel is what imports Triton, where nothing did before.
        self._launches.install()
        return answer

    def do_open(self, request: dict[str, Any]) -> dict[str, Any]:
        """Whether the conductor's device memory can be read here; offers this process's own."""
        return {"opened": self._inbox.can_open(request["offer"]), "offer": self._outbox.offer(self._device)}

    def do_opened(self, request: dict[str, Any]) -> dict[str, Any]:
        """Whether the conductor can read this process's device memory."""
        if not request["opened"]:
            self._outbox.stay_on_host()
        return {}

    def do_empty(self, _: dict[str, Any]) -> dict[str, Any]:
        """What the clock shows for nothing, before there is a candidate. Nobody else uses the device by now."""
        return {"empty_ns": self._empty_ns()}

    def do_load(self, _: dict[str, Any]) -> dict[str, Any]:
        self._tasks_before = _threads_alive()
        self._runners["candidate"] = self._load["candidate"]()
        return {}

    def do_plan(self, request: dict[str, Any]) -> dict[str, Any]:
        """Another candidate, by its plans. What the one before it loaded is unloaded."""
        assert self._load_plans is not None
        before = self._runners.get("candidate")
        if isinstance(before, PlannedRunner):
            before.unload()
        self._runners["candidate"] = self._load_plans(request["plans"].values())
        return {}

    def do_run(self, request: dict[str, Any]) -> dict[str, Any]:
        """One untimed call; exports the outputs and then the inputs as the call left them. ``idle``: with
        launches that do nothing. ``moved``: of a plan, with tensors that lie as they do with the other poison.
        """
        self._take(request)
        which = request["which"]
        inputs, runner, before = clone_inputs(self._inputs), self._runners[which], self._launches.seen()
        idly = bool(request.get("idle"))
        if isinstance(runner, PlannedRunner):
            inputs, outputs = runner.guarded(inputs, request["poison"], idle=idly, moved=bool(request.get("moved")))
            operators = runner.operators
        else:
            pages = guarded_memory() if self._guards_inputs else None
            if pages is not None:
                inputs = guarded_copies(pages, self._inputs, request["poison"], moved=False, alignments={})
            with poisoned(request["poison"]), RecordedOperators() as record, idle() if idly else nullcontext():
                outputs = runner(inputs)
            operators = record.elements
            wait_for_device()
            if pages is not None and pages.disturbed():
                raise StepError("crash", "it writes beside its inputs")
        wait_for_device()
        said = {"operators": operators, "launches": self._launched(which, before)}
        return {**self._export(inputs, outputs, with_inputs=True), **said}

    def do_name(self, request: dict[str, Any]) -> dict[str, Any]:
        """The names of what one untimed call runs on the device; not of a plan, which says so itself."""
        self._take(request)
        return {"kernels": device_kernels(self._fresh_call(request["which"]))}

    def do_warm(self, request: dict[str, Any]) -> dict[str, Any]:
        """Both kernels, compiled and autotuned, clocks up; says how long the host takes to queue the slower of the
        two.
        """
        self._take(request)
        assert self._watch is not None
        host_ns = 0
        for which in ("baseline", "candidate"):
            for _ in range(_WARM_CALLS):
                sample, _outputs = self._watch.sample(self._fresh_call(which))
                last_ns = sample.host_ns
            host_ns = max(host_ns, last_ns)
        self._watch.expect(host_ns)
        return {"host_ns": host_ns}

    def do_pair(self, request: dict[str, Any]) -> dict[str, Any]:
        """One timed call of each kernel on the same fresh inputs, in the order asked for; exports both results.
        ``warm_l2``: with its inputs in the L2 cache, read there after everything that it is given was poisoned.
        """
        self._take(request)
        assert self._watch is not None
        answer: dict[str, Any] = {}
        offset = 0
        for which in request["order"]:
            overwrite_free_memory(self._result_bytes, self._device)
            inputs = clone_inputs(self._inputs)
            call, before = self._call(which, inputs), self._launches.seen()
            sample, outputs = self._watch.sample(call, inputs.values() if request["warm_l2"] else ())
            launches = self._launched(which, before)
            exported = self._export({}, outputs, with_inputs=False, start=offset)
            offset = exported.pop("next_offset")
            self._result_bytes = [entry["layout"]["bytes"] for entry in exported["outputs"] if "layout" in entry]
            answer[which] = {
                **exported,
                "device_ns": sample.device_ns,
                "host_ns": sample.host_ns,
                "tail_ns": sample.tail_ns,
                "held": sample.held,
                "launches": launches,
            }
            # Before the other kernel's memory is set aside.
            del outputs, call, inputs
        return answer

    def do_repeat(self, request: dict[str, Any]) -> dict[str, Any]:
        """One call of a plan again and again on the same inputs; exports the first result, and the farthest from it
        where any has other bits.
        """
        self._take(request)

        def call() -> list[tuple[str, Any]]:
            result: list[tuple[str, Any]] = self._fresh_call(request["which"])()
            return result

        seen = repeated(call, request["count"])
        first = self._export({}, seen.first, with_inputs=False)
        start = first["next_offset"]
        farthest = self._export({}, seen.farthest, with_inputs=False, start=start) if seen.different else None
        return {"repeats": seen.figures, "first": first, "farthest": farthest}

    def do_calls(self, request: dict[str, Any]) -> dict[str, Any]:
        """End-to-end call times, device idle to device idle: what the events cannot hide from."""
        self._take(request)
        assert self._watch is not None
        return {
            which: [self._watch.end_to_end_ns(self._fresh_call(which)) for _ in range(request["count"])]
            for which in ("baseline", "candidate")
        }

    def do_close(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "new_threads": max(0, _threads_alive() - self._tasks_before),
            "children": _children_alive(),
            "peak_bytes": self._watch.peak_bytes() if self._watch else 0,
        }

    def _take(self, request: dict[str, Any]) -> None:
        """The request's inputs: plain values from the message, tensors from the slot."""
        tensors = self._inbox.read(request["layout"], self._device)
        self._inputs = {**unpack_values(request["values"]), **dict(zip(request["names"], tensors, strict=True))}

    def _fresh_call(self, which: str) -> Callable[[], Any]:
        return self._call(which, clone_inputs(self._inputs))

    def _call(self, which: str, inputs: dict[str, Any]) -> Callable[[], Any]:
        """A call on a copy of the inputs that is its own and was made before the clock runs: the other kernel may
        change its inputs in place.

        Where one of the kernels keeps memory between calls, the modules of both are loaded anew: the code of a new one
        is in no cache.
        """
        runner = self._runners[which]
        planned = [one for one in self._runners.values() if isinstance(one, PlannedRunner)]
        anew = any(one.keeps_memory(inputs) for one in planned)
        call = runner.prepared(inputs, anew=anew) if isinstance(runner, PlannedRunner) else partial(runner, inputs)
        wait_for_device()
        return call

    def _launched(self, which: str, before: int | None) -> int | None:
        """Launches of the call that was just made, ``before`` those that had been counted until then."""
        runner = self._runners[which]
        return runner.launches if isinstance(runner, PlannedRunner) else self._launches.since(before)

    def _export(
        self, inputs: dict[str, Any], outputs: list[tuple[str, Any]], with_inputs: bool, start: int = 0
    ) -> dict[str, Any]:
        facts = [_facts(name, value, inputs, self._device) for name, value in outputs]
        plain = [value.detach().as_subclass(torch.Tensor) for _, value in outputs if isinstance(value, torch.Tensor)]
        layout = self._outbox.write(plain, start)
        laid = iter(layout)
        after = [tensor for tensor in inputs.values() if isinstance(tensor, torch.Tensor)]
        end = _end(layout, start)
        left = self._outbox.write(after, end) if with_inputs else []
        return {
            "outputs": [fact if "value" in fact else {**fact, "layout": next(laid)} for fact in facts],
            "inputs_after": left,
            "next_offset": end,
        }

    def _empty_ns(self) -> float:
        """What the clock shows for nothing at all (median of 15): times near it mean nothing."""
        assert self._watch is not None
        times = sorted(self._watch.sample(lambda: None)[0].device_ns for _ in range(15))
        return times[len(times) // 2]


def _facts(name: str, tensor: Any, inputs: dict[str, Any], device: str) -> dict[str, Any]:
    """What only this process can say of an output. A subclass may compute when it is looked at, after the clock
    stopped.

    A plain value is in the answer itself: there is no tensor of it.
    """
    if isinstance(tensor, PLAIN):
        return {"name": name, "type_ok": True, "aliases_input": False, "value": tensor}
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"output {name} is a {type(tensor).__name__}: return tensors, numbers, strings or None")
    memory = tensor.untyped_storage().data_ptr()
    return {
        "name": name,
        "type_ok": type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.device.type == device,
        "aliases_input": any(
            isinstance(value, torch.Tensor) and value.untyped_storage().data_ptr() == memory
            for value in inputs.values()
        ),
    }


def _end(layout: list[dict[str, Any]], start: int) -> int:
    return max((-(-(entry["offset"] + entry["bytes"]) // 256) * 256 for entry in layout), default=start)


def _threads_alive() -> int:
    """Python's threads: the runtime's own (CUDA's event threads) start whenever they like and are no sign of
    anything.
    """
    return threading.active_count()


def _children_alive() -> int:
    listing = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return len(listing.read_text().split()) if listing.exists() else 0
