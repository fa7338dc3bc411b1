"""The host's handle on a zygote: start it, run steps in its children from any thread, cancel them, restart it."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import kernelcalls as kernel
from .errors import StepError
from .kinds import Kind
from .patience import Patience
from .signals import signal_name
from .wire import encode, read_messages

START_PATIENCE_S = 180.0
"""Importing torch from a cold disk or a network file system can take minutes."""


@dataclass
class StepResult:
    """How a child ended.

    ``how``: finished, timeout (by the clock), exhausted (its processor time), swarming (it had too many processes),
    swollen (they had too much memory), cancelled, flooded (its answer was too large). ``processor_s`` holds for
    one that finished.
    """

    how: str
    exit_code: int
    value: Any
    error: StepError | None
    log: str
    processor_s: float
    folder: Path
    patience: Patience

    @property
    def overdue(self) -> bool:
        return self.how in ("timeout", "exhausted")

    @property
    def died(self) -> bool:
        return self.how == "finished" and self.value is None and self.error is None


@dataclass
class Cancel:
    """A request's wish to end: set once, it kills the children that run for it and refuses new ones."""

    wanted: bool = False
    running: dict[int, Zygote] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def cancel(self) -> None:
        with self.lock:
            self.wanted = True
            running = dict(self.running)
        for number, zygote in running.items():
            zygote.cancel(number)

    def check(self) -> None:
        if self.wanted:
            raise StepError("cancelled", "the request was cancelled")


class Zygote:
    """One process of zygote.py. Thread-safe."""

    def __init__(self, target: str, on_death: Callable[[], None], kind: Kind, behind: Sequence[str] = ()) -> None:
        """``on_death`` is called from a thread when the zygote ends although nobody closed it. ``behind``: a command
        that starts the zygote's own (bubblewrap.py)."""
        self._target = target
        self._on_death = on_death
        self.kind, self._behind = kind, behind
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[threading.Event, list[dict[str, Any]]]] = {}
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self.ready: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._reader: threading.Thread | None = None
        self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("TRITON_INTERPRET", None)
        # A zygote that initialised CUDA could never fork a child that uses it. With no visible device and the count
        # asked of NVML, even torch.cuda.is_available() stays clear of it; the GPU's step makes its device visible.
        environment["CUDA_VISIBLE_DEVICES"] = ""
        environment["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
        if self.kind is Kind.INTERPRETING:
            environment["TRITON_INTERPRET"] = "1"
        script = str(Path(__file__).resolve().parent / "__main__.py")
        self._process = subprocess.Popen(
            [*self._behind, sys.executable, script, "--zygote", str(theirs.fileno()), self.kind, self._target],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            env=environment,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._channel = ours
        self._reader = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reader.start()

    def _read(self, channel: socket.socket) -> None:
        try:
            for message in read_messages(channel.fileno()):
                self._take(message)
        except OSError:
            pass
        if not self.ready:
            self.ready = {"missing": [{"what": "torch", "message": _start_failure(self._process)}]}
        self._ready.set()
        with self._lock:
            orphans = list(self._waiting.values())
            self._waiting.clear()
        if self._channel is not None and not self.ready.get("missing"):
            self._on_death()
        for event, box in orphans:
            box.append({"how": "zygote-died", "exit": -1, "result": "", "log": "", "processor_s": 0.0})
            event.set()

    def _take(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            self.ready = message["ready"]
            self._ready.set()
            return
        with self._lock:
            event, box = self._waiting.pop(message["done"])
        box.append(message)
        event.set()

    def wait_ready(self) -> dict[str, Any]:
        if not self._ready.wait(START_PATIENCE_S):
            return {"missing": [{"what": "torch", "message": f"importing torch took over {START_PATIENCE_S:.0f} s"}]}
        return self.ready

    def run(
        self,
        step: str,
        payload: dict[str, Any],
        folder: Path,
        patience: Patience,
        limits: dict[str, Any],
        cancel: Cancel,
    ) -> StepResult:
        """Run one step in a fresh child and wait for it. Raises StepError ``cancelled``, or ``host-failure``."""
        folder.mkdir(parents=True, exist_ok=True)
        event = threading.Event()
        box: list[dict[str, Any]] = []
        number = next(self._numbers)
        message = {"start": number, "step": step, "payload": payload, "folder": str(folder)}
        with cancel.lock:
            if not cancel.wanted:
                cancel.running[number] = self
        cancel.check()
        with self._lock:
            self._waiting[number] = (event, box)
            self._send({**message, "patience": asdict(patience), "limits": limits})
        if cancel.wanted:
            self.cancel(number)
        event.wait()
        with cancel.lock:
            cancel.running.pop(number, None)
        return self._result(box[0], folder, patience, cancel)

    def _result(self, answer: dict[str, Any], folder: Path, patience: Patience, cancel: Cancel) -> StepResult:
        if answer["how"] == "cancelled":
            cancel.wanted = True
        cancel.check()
        if answer["how"] == "zygote-died":
            raise StepError(
                "host-failure", "the process that starts the judge's children died; the host must be restarted"
            )
        # What was ended has no answer, even where its pipe holds one: a candidate can have written that.
        result = _last_line(answer["result"]) if answer["how"] == "finished" else {}
        error = result.get("error")
        return StepResult(
            how=answer["how"],
            exit_code=answer["exit"],
            value=result.get("value"),
            error=StepError.from_json(error) if error else None,
            log=answer["log"],
            processor_s=answer["processor_s"],
            folder=folder,
            patience=patience,
        )

    def _send(self, message: dict[str, Any]) -> None:
        if self._channel is None:
            raise StepError("host-failure", "the judge host is closing")
        try:
            self._channel.sendall(encode(message))
        except OSError:
            raise StepError("host-failure", "the process that starts the judge's children is gone") from None

    def cancel(self, number: int) -> None:
        with self._lock:
            if number in self._waiting:
                self._send({"cancel": number})

    def close(self) -> None:
        """Close the channel: the zygote kills its descendants and ends. Killed itself where it does not."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.shutdown(socket.SHUT_RDWR)
        if self._process is not None:
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if channel is not None and self._reader is not None:
            self._reader.join()
            channel.close()


def _last_line(text: str) -> dict[str, Any]:
    """The child's answer. It ran foreign code, so anything but one JSON object is no answer."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        parsed = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _start_failure(process: subprocess.Popen[bytes] | None) -> str:
    code = process.wait() if process else -1
    how = signal_name(-code) if code < 0 else f"exit code {code}"
    return f"{sys.executable} ended ({how}) while importing torch and triton; see the run's log"


def protect_host() -> None:
    """The host adopts orphans of a zygote that died, and its memory is closed to its children."""
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


@contextmanager
def step_folder(spool: Path) -> Iterator[Path]:
    """For one step's child; gone with all that was left there, however the step ended."""
    folder = spool / "steps" / secrets.token_hex(8)
    try:
        yield folder
    finally:
        remove_folder(folder)


def remove_folder(folder: Path) -> None:
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:  # Whoever ran there nested folders deeper than Python goes.
        subprocess.run(["rm", "-rf", "--", str(folder)], check=False)
