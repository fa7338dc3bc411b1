"""Our end of the judge-host protocol: start the host in the user's interpreter, ask, wait, end it.

Runs in our interpreter, without torch. Thread-safe: requests overlap. Whatever happens to this process, the host sees
its stdin close and takes all its descendants with it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import subprocess
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from evolve_core.errors import KernelEvolveError
from evolve_core.judge.epitaph import HostLog, exit_code, never_answered, not_started
from evolve_core.judge.observation import Observation, Workload, parse_observation, parse_workload
from evolve_core.judge.teeth import SeenTeeth, parse_teeth
from evolve_core.judge.verdict import Stage
from evolve_core.source.encoding import NotText, text_of
from evolve_core.targets import load, names
from evolve_core.task.model import Task

PROTOCOL = 1
HELLO_PATIENCE_S = 240.0
"""Importing torch from a cold network file system takes minutes."""
OPEN_DEADLINE_S = 780.0
ANSWER_GRACE_S = 120.0
"""Beyond a candidate's own deadline, for its place in the queue of children and for the trusted steps around it."""
CLOSE_PATIENCE_S = 15.0
END_PATIENCE_S = 2.0
"""For the exit code of a program that closed its output."""
_SECRET = re.compile(r"(API_?KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL)", re.IGNORECASE)


class HostError(KernelEvolveError):
    """The host answered with an error. ``kind`` is the protocol's; ``line`` counts from one."""

    def __init__(self, kind: str, message: str, file: str | None = None, line: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.file = file
        self.line = line


class HostDied(KernelEvolveError):
    """The host's process ended. What it was doing is lost; a new host can be started."""


@dataclass(frozen=True, slots=True)
class Device:
    index: int
    uuid: str
    name: str
    capability: str
    memory_bytes: int
    driver: str


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that the user's interpreter lacks; ``message`` says how to get it."""

    what: str
    message: str


@dataclass(frozen=True, slots=True)
class HostInfo:
    """What the user's interpreter and this machine offer."""

    executable: str
    python: str
    torch: str | None
    triton: str | None
    numpy: str | None
    devices: tuple[Device, ...]
    missing: tuple[Missing, ...]
    sandbox: Mapping[str, Any]
    sanitizer: str | None
    """Where compute-sanitizer is."""


@dataclass(frozen=True, slots=True)
class BenchLayers:
    """Which layers hold, why the others do not, or why nothing is known ("" where it is)."""

    held: tuple[str, ...]
    missing: Mapping[str, str]
    untold: str = ""


@dataclass(frozen=True, slots=True)
class OpenedTask:
    """A task whose module was executed and whose own source was observed. ``notes`` are for the user."""

    id: str
    task: Task
    source: str
    task_text: str
    mode: str
    workloads: tuple[Workload, ...]
    baseline: Observation
    notes: tuple[str, ...] = ()
    teeth: SeenTeeth | None = None
    """What was seen of mutants; None where it was not asked for, or there was nothing to see."""

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        return self.baseline.environment

    def workload(self, workload_id: str) -> Workload | None:
        return next((one for one in self.workloads if one.id == workload_id), None)


class _Request(Future[dict[str, Any]]):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class JudgeHost:
    """One running host. Use ``start``; ``close`` when done."""

    def __init__(self, process: subprocess.Popen[bytes], log: HostLog) -> None:
        self._process = process
        self._log = log
        self._printed = ""
        """The line on its stdout that was no answer: then it is not our host."""
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Request] = {}
        self._lock = threading.Lock()
        self._ended = False
        self._greeted = False
        self.info: HostInfo
        self._reader = threading.Thread(target=self._read, name="judge-host-reader", daemon=True)
        self._reader.start()

    @classmethod
    def start(cls, python: Path, spool: Path, target: str, workers: int, log: IO[bytes]) -> JudgeHost:
        """Start ``python`` on the host's files and say hello. ``log`` receives the host's stderr.

        Raises HostError where the interpreter cannot be started, HostDied where it ends before it answers. That torch
        or triton is missing is no error here: see ``info.missing``; ``open`` will refuse.
        """
        script = Path(__file__).resolve().parent / "host" / "__main__.py"
        its_log = HostLog.of(log, spool)
        try:
            process = subprocess.Popen(
                [str(python), str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise HostError("missing-python", not_started(python, error)) from None
        host = cls(process, its_log)
        try:
            architecture = load(target).architecture if target in names() else target
            params = {"protocol": PROTOCOL, "spool": str(spool), "target": architecture, "workers": workers}
            host.info = _info(host._ask("hello", params, HELLO_PATIENCE_S))
            host._greeted = True
        except BaseException:
            host.close()
            raise
        return host

    def open(self, task: Task, source: str, mode: str, *, teeth: bool = False) -> OpenedTask:
        """Execute the task's module and observe ``source``, the user's own as in their editor. ``mode``: gpu, no-gpu.
        ``teeth``: also have the tolerance tried on mutants.

        Raises HostError: ``task-error``, ``no-workloads``, ``missing-torch``, ``missing-triton`` …, with file and line.
        """
        try:
            task_text = text_of(task.task_file.read_bytes(), task.task_file.name)
        except OSError as error:
            message = f"{task.task_file.name} cannot be read: {error}"
            raise HostError("task-error", message, str(task.task_file)) from None
        except NotText as error:
            raise HostError("task-error", str(error), str(task.task_file)) from None
        params = {
            "source_file": str(task.source_file.absolute()),
            "source": source,
            "task_file": str(task.task_file.absolute()),
            "task_text": task_text,
            "entry": task.entry,
            "kind": str(task.kind),
            "kernels": list(task.kernels),
            "mode": mode,
            "teeth": teeth,
            "deadline_s": OPEN_DEADLINE_S,
        }
        answer = self._ask("open", params, OPEN_DEADLINE_S + ANSWER_GRACE_S)
        with _parsing("open"):
            return OpenedTask(
                id=str(answer["task"]),
                task=task,
                source=source,
                task_text=task_text,
                mode=mode,
                workloads=tuple(parse_workload(one) for one in answer["workloads"]),
                baseline=parse_observation(answer["baseline"]),
                notes=tuple(str(note) for note in answer["notes"]),
                teeth=parse_teeth(answer["teeth"]) if answer.get("teeth") else None,
            )

    def judge(self, opened: OpenedTask, candidate_id: str, source: str, stage: Stage, deadline_s: float) -> Observation:
        """Observe one candidate; blocks. What the candidate does wrong is in the observation, not raised."""
        params = {
            "task": opened.id,
            "candidate": {"id": candidate_id, "source": source},
            "stage": str(stage),
            "deadline_s": deadline_s,
        }
        answer = self._ask("judge", params, deadline_s + ANSWER_GRACE_S)
        with _parsing("judge"):
            return parse_observation(answer)

    def baselines(self, opened: OpenedTask, deadline_s: float) -> list[dict[str, Any]]:
        """``{name, failure, timing}`` of each baseline that the task has, as the protocol has them; blocks."""
        answer = self._ask("baselines", {"task": opened.id, "deadline_s": deadline_s}, deadline_s + ANSWER_GRACE_S)
        with _parsing("baselines"):
            return [dict(one) for one in answer["baselines"]]

    def calibrate(self, deadline_s: float) -> dict[str, Any]:
        """The host's measurements of the device that it judges on, as the protocol has them; blocks. What goes wrong on
        the device is in the answer; that there is none is a HostError.
        """
        return self._ask("calibrate", {"deadline_s": deadline_s}, deadline_s + ANSWER_GRACE_S)

    def layers(self, deadline_s: float) -> BenchLayers:
        """What the bench beside the first GPU stands behind, found out by starting the driver behind it; blocks."""
        try:
            answer = self._ask("layers", {}, deadline_s + ANSWER_GRACE_S)["bench"]
        except HostError as error:
            return BenchLayers((), {}, str(error))
        if answer is None:
            return BenchLayers((), {}, "they could not be tried; see the log")
        with _parsing("layers"):
            missing = {str(one["layer"]): str(one["why"]) for one in answer["missing"]}
            return BenchLayers(tuple(map(str, answer["layers"])), missing)

    def _ask(self, method: str, params: Mapping[str, Any], patience_s: float) -> dict[str, Any]:
        request = self._send(method, params)
        try:
            return request.result(patience_s)
        except FutureTimeoutError:
            self._send("cancel", {"request": request.number})
            raise HostError(
                "host-failure", f"the judge host did not answer {method!r} in {patience_s:.0f} s; see the run's log"
            ) from None

    def _send(self, method: str, params: Mapping[str, Any]) -> _Request:
        request = _Request(next(self._numbers))
        line = json.dumps({"id": request.number, "method": method, "params": params}).encode() + b"\n"
        with self._lock:
            if self._ended or self._process.stdin is None:
                raise HostDied(self._epitaph())
            self._waiting[request.number] = request
            try:
                self._process.stdin.write(line)
                self._process.stdin.flush()
                return request
            except OSError:
                self._waiting.pop(request.number, None)
        # It ended first: what it printed before is still to be read.
        self._reader.join(END_PATIENCE_S)
        raise HostDied(self._epitaph())

    def _read(self) -> None:
        output = self._process.stdout
        if output is None:
            return
        for line in output:
            message = _message(line)
            if message is None:
                self._printed = line.decode(errors="replace").strip()
                break
            self._take(message)
        with self._lock:
            self._ended = True
            orphans = list(self._waiting.values())
            self._waiting.clear()
        for request in orphans:
            request.set_exception(HostDied(self._epitaph()))

    def _take(self, message: Mapping[str, Any]) -> None:
        if "id" not in message:
            return
        with self._lock:
            request = self._waiting.pop(message["id"], None)
        if request is None:
            return
        error = message.get("error")
        if error is None:
            request.set_result(message["result"])
        else:
            request.set_exception(
                HostError(str(error["kind"]), str(error["message"]), error.get("file"), error.get("line"))
            )

    def _epitaph(self) -> str:
        python = self._process.args[0]  # type: ignore[index]
        if not self._greeted:
            code = exit_code(self._process, END_PATIENCE_S)
            return never_answered(Path(str(python)), code, self._printed, self._log)
        return f"the judge host ({python!s}) ended unexpectedly; see the run's log"

    def cancel_all(self) -> None:
        """Cancel every request in flight: their children are dead when they answer (with kind ``cancelled``)."""
        with self._lock:
            numbers = list(self._waiting)
        for number in numbers:
            self._send("cancel", {"request": number})

    @property
    def alive(self) -> bool:
        return not self._ended and self._process.poll() is None

    def close(self) -> None:
        """End the host and all its descendants; blocked calls raise HostDied. May be called twice."""
        stdin = self._process.stdin
        if stdin is not None and not stdin.closed:
            with contextlib.suppress(OSError):  # It ended first: what was buffered has nobody to go to.
                stdin.close()
        try:
            self._process.wait(CLOSE_PATIENCE_S)
        except subprocess.TimeoutExpired:
            # Its zygotes see their channels close and end their children.
            self._process.kill()
            self._process.wait()
        self._reader.join(CLOSE_PATIENCE_S)
        if self._process.stdout is not None:
            self._process.stdout.close()


def _message(line: bytes) -> dict[str, Any] | None:
    """None: it is not our host's, whose stdout carries the protocol alone."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


class _parsing:  # noqa: N801 - reads as a statement
    """The host's answer is not trusted to have the right shape: say so instead of a KeyError somewhere."""

    def __init__(self, method: str) -> None:
        self._method = method

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (KeyError, TypeError, ValueError)):
            raise HostError("host-failure", f"the host's answer to {self._method!r} is malformed: {error!r}") from error


def _environment() -> dict[str, str]:
    """Ours without secrets: code that a language model wrote runs below the host."""
    kept = {key: value for key, value in os.environ.items() if not _SECRET.search(key)}
    kept.pop("PYTHONHOME", None)
    return kept


def _info(answer: Mapping[str, Any]) -> HostInfo:
    with _parsing("hello"):
        return HostInfo(
            executable=str(answer["executable"]),
            python=str(answer["python"]),
            torch=answer["torch"],
            triton=answer["triton"],
            numpy=answer["numpy"],
            devices=tuple(_device(one) for one in answer["devices"]),
            missing=tuple(Missing(str(one["what"]), str(one["message"])) for one in answer["missing"]),
            sandbox=dict(answer["sandbox"]),
            sanitizer=answer["sanitizer"],
        )


def _device(data: Mapping[str, Any]) -> Device:
    return Device(
        index=int(data["index"]),
        uuid=str(data["uuid"]),
        name=str(data["name"]),
        capability=str(data["capability"]),
        memory_bytes=int(data["memory_bytes"]),
        driver=str(data["driver"]),
    )
