"""A process that imported torch and triton once and forks a child per step, in milliseconds instead of seconds.

There is one of each kind that is needed here (kinds.py). A zygote has one thread, runs no code but ours, and never
initialises CUDA, so its forks are clean. It owns its children: deadline, process group, bounded output, and the reaping
of whatever they leave behind.
"""

from __future__ import annotations

import math
import os
import selectors
import signal
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from . import kernelcalls as kernel
from .child import run_step
from .descendants import Processes, kill_everything, kill_group, kill_strays
from .kinds import Kind
from .memory import most_resident_bytes, most_together_bytes
from .patience import Patience
from .sandbox import MAX_FAMILY, Limits, namespaces_refused
from .steps import look_pause_s
from .warm import warm_up
from .wire import LineBuffer, encode

MAX_RESULT_BYTES = 32 << 20
LOG_HEAD_BYTES = 16 << 10
LOG_TAIL_BYTES = 16 << 10


@dataclass
class Log:
    """The first and the last of a child's output; a candidate may print a gigabyte."""

    head: bytearray = field(default_factory=bytearray)
    tail: bytearray = field(default_factory=bytearray)
    dropped: int = 0

    def add(self, data: bytes) -> None:
        room = LOG_HEAD_BYTES - len(self.head)
        self.head += data[:room] if room > 0 else b""
        self.tail += data[max(room, 0) :]
        if (over := len(self.tail) - LOG_TAIL_BYTES) > 0:
            del self.tail[:over]
            self.dropped += over

    def text(self) -> str:
        middle = f"\n… {self.dropped} bytes left out …\n".encode() if self.dropped else b""
        return (bytes(self.head) + middle + bytes(self.tail)).decode("utf-8", "replace")


@dataclass
class Job:
    number: int
    pid: int
    pid_descriptor: int
    result_pipe: int
    log_pipe: int
    patience: Patience
    started: float
    pause_s: float | None
    """Between two looks at it; None: nobody looks."""
    how: str = "finished"
    result: bytearray = field(default_factory=bytearray)
    log: Log = field(default_factory=Log)

    @property
    def deadline(self) -> float:
        return self.started + self.patience.wall_s


class Zygote:
    """The loop: messages from the host, output of children, deaths of children, their patience."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._buffer = LineBuffer()
        self._jobs: dict[int, Job] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(channel, selectors.EVENT_READ, self._on_channel)
        self._next_look = math.inf
        """On the monotonic clock: one look at all that are looked at."""
        self._open = True

    def run(self) -> None:
        while self._open:
            for key, _ in self._selector.select(self._pause_s()):
                # An earlier event of this round may have ended the job that this one belongs to.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()
            self._end_the_overdue()
            self._look_when_due()
        kill_everything()

    def _pause_s(self) -> float | None:
        if not self._jobs:
            return None
        return max(0.0, min(self._next_look, *(job.deadline for job in self._jobs.values())) - time.monotonic())

    def _end_the_overdue(self) -> None:
        for job in list(self._jobs.values()):
            if time.monotonic() >= job.deadline:
                self._kill(job, "timeout")

    def _look_when_due(self) -> None:
        if time.monotonic() < self._next_look:
            return
        seen = Processes.now()
        for job in list(self._jobs.values()):
            if job.pause_s is not None:
                self._look_at(job, seen)
        self._make_room(seen)
        # A child keeps its orphans (child.py) unless it has undone that: then nobody knows whose they are.
        known = self._leaders()
        if set(seen.children_of(os.getpid())) - known:
            kill_strays(known)
        pauses = [job.pause_s for job in self._jobs.values() if job.pause_s is not None]
        self._next_look = time.monotonic() + min(pauses) if pauses else math.inf

    def _look_at(self, job: Job, seen: Processes) -> None:
        family = seen.family_of(job.pid)
        if family.members > MAX_FAMILY:
            self._kill(job, "swarming")
        elif family.resident_bytes > most_resident_bytes():
            self._kill(job, "swollen")
        elif job.patience.processor_s is not None and family.processor_s >= job.patience.processor_s:
            self._kill(job, "exhausted")

    def _make_room(self, seen: Processes) -> None:
        """Each may be within its bounds, and all together beyond what there is: before the kernel ends somebody else
        for it, that child goes that took most.
        """
        added = {number: seen.family_of(job.pid).added_bytes for number, job in self._jobs.items()}
        looked_at = [job for job in self._jobs.values() if job.pause_s is not None]
        if looked_at and sum(added.values()) > most_together_bytes():
            self._kill(max(looked_at, key=lambda job: added[job.number]), "swollen")

    def _leaders(self) -> set[int]:
        return {job.pid for job in self._jobs.values()}

    def _on_channel(self) -> None:
        data = self._channel.recv(1 << 16)
        if not data:
            self._open = False
            return
        for message in self._buffer.feed(data):
            if "cancel" in message:
                job = self._jobs.get(message["cancel"])
                if job:
                    self._kill(job, "cancelled")
            else:
                self._start(message)

    def _start(self, message: dict[str, Any]) -> None:
        result_reader, result_writer = os.pipe()
        log_reader, log_writer = os.pipe()
        zygote = os.getpid()
        pid = os.fork()
        if not pid:
            self._forget_inherited()
            run_step(message, _limits(message["limits"]), zygote, result_writer, log_writer)
        os.close(result_writer)
        os.close(log_writer)
        job = Job(
            number=message["start"],
            pid=pid,
            pid_descriptor=os.pidfd_open(pid),
            result_pipe=result_reader,
            log_pipe=log_reader,
            patience=Patience(**message["patience"]),
            started=time.monotonic(),
            pause_s=look_pause_s(message["step"]),
        )
        if job.pause_s is not None:
            self._next_look = min(self._next_look, job.started + job.pause_s)
        self._jobs[job.number] = job
        self._selector.register(job.result_pipe, selectors.EVENT_READ, lambda: self._on_result(job))
        self._selector.register(job.log_pipe, selectors.EVENT_READ, lambda: self._on_log(job))
        self._selector.register(job.pid_descriptor, selectors.EVENT_READ, lambda: self._finish(job))

    def _forget_inherited(self) -> None:
        """In the child: close every descriptor that belongs to the zygote or to another job."""
        for key in list(self._selector.get_map().values()):
            os.close(key.fd)
        self._selector.close()

    def _on_result(self, job: Job) -> None:
        data = os.read(job.result_pipe, 1 << 16)
        job.result += data
        if not data:
            self._selector.unregister(job.result_pipe)
        elif len(job.result) > MAX_RESULT_BYTES:
            self._kill(job, "flooded")

    def _on_log(self, job: Job) -> None:
        data = os.read(job.log_pipe, 1 << 16)
        if data:
            job.log.add(data)
        else:
            self._selector.unregister(job.log_pipe)

    def _kill(self, job: Job, how: str) -> None:
        job.how = how
        kill_group(job.pid)
        self._finish(job)

    def _finish(self, job: Job) -> None:
        """The child is dead or dying: take the rest of its output, kill what it left, answer."""
        del self._jobs[job.number]
        kill_group(job.pid)
        _, status, used = os.wait4(job.pid, 0)
        kill_strays(self._leaders())
        job.result += _drain(job.result_pipe, MAX_RESULT_BYTES - len(job.result))
        job.log.add(_drain(job.log_pipe, LOG_TAIL_BYTES))
        for descriptor in (job.result_pipe, job.log_pipe, job.pid_descriptor):
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
            os.close(descriptor)
        self._channel.sendall(
            encode(
                {
                    "done": job.number,
                    "how": job.how,
                    "exit": os.waitstatus_to_exitcode(status),
                    "result": bytes(job.result).decode("utf-8", "replace"),
                    "log": job.log.text(),
                    "processor_s": round(used.ru_utime + used.ru_stime, 4),
                }
            )
        )


def _limits(data: dict[str, Any]) -> Limits:
    return Limits(**{**data, "hidden": tuple(data.get("hidden", ()))})


def _drain(pipe: int, limit: int) -> bytes:
    """What is already in the pipe. A stray that escaped may still hold the other end: never wait for it."""
    os.set_blocking(pipe, False)
    taken = bytearray()
    while len(taken) < limit:
        try:
            data = os.read(pipe, 1 << 16)
        except BlockingIOError:
            break
        if not data:
            break
        taken += data
    return bytes(taken)


def main(descriptor: str, kind: str, target: str) -> int:
    """Warm up, say so, serve until the host closes the channel; then no descendant is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    # While torch is being imported nobody looks at the channel, so the kernel must end this process with the host.
    # The signal is tied to the thread that started it: the host's main thread (server.py).
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    channel = socket.socket(fileno=int(descriptor))
    ready = warm_up(target, Kind(kind))
    # From here on the closing channel ends it. Dying of SIGKILL instead, it could not kill what its children left.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, 0)
    # Nothing may read this process's memory through /proc: its children are of the same user.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    namespaces_refused()  # Found out once, for every child.
    channel.sendall(encode({"ready": ready}))
    if ready["missing"]:
        return 0
    try:
        Zygote(channel).run()
    finally:
        kill_everything()
    # Native libraries print reports of leaked objects from their exit handlers; nothing is left to be flushed.
    os._exit(0)
