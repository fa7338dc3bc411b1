"""The host's main process: reads requests, runs each in a thread, answers. It executes nobody's code."""

from __future__ import annotations

import os
import re
import secrets
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from . import bubblewrap
from .baselines import baselines
from .calibrating import calibrate
from .descendants import kill_everything
from .devices import find_devices
from .errors import StepError, disk_full, log
from .gpu.sanitizer import find_sanitizer
from .judging import Judge
from .kinds import Kind
from .measuring import tried_layers
from .opened import TaskText
from .pool import Cancel, Zygote, protect_host, remove_folder
from .sandbox import probe
from .wire import Writer, read_messages

PROTOCOL = 1
OPEN_S = 600.0
"""For a client that does not say when it wants its task open."""


class Server:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._requests: dict[Any, Cancel] = {}
        self._lock = threading.Lock()
        self._zygotes: dict[Kind, Zygote] = {}
        self._judge: Judge | None = None
        self._spool: Path | None = None
        self._sandbox: dict[str, Any] = {}

    def serve(self, descriptor: int) -> None:
        """Until the client closes, or says ``shutdown``."""
        for message in read_messages(descriptor):
            method = message.get("method")
            if method == "shutdown":
                self._writer.send({"id": message.get("id"), "result": {}})
                return
            if method == "cancel":
                self._cancel(message)
                continue
            if method == "hello" and not self._start_zygotes(message):
                continue
            cancel = Cancel()
            with self._lock:
                self._requests[message.get("id")] = cancel
            threading.Thread(target=self._answer, args=(message, cancel), daemon=True).start()

    def _start_zygotes(self, message: dict[str, Any]) -> bool:
        """In the main thread: the death signal of a zygote that imports is tied to the thread that started it."""
        try:
            self._begin(message.get("params") or {})
        except KeyError as error:
            failed = StepError("bad-request", f"hello lacks the parameter {error}")
        except StepError as error:
            failed = error
        except OSError as error:
            failed = StepError("host-failure", disk_full(error) or f"the judge host cannot start: {error}")
        else:
            return True
        self._writer.send({"id": message.get("id"), "error": failed.as_json()})
        return False

    def _begin(self, params: dict[str, Any]) -> None:
        if params["protocol"] != PROTOCOL:
            raise StepError("bad-request", f"this host speaks protocol {PROTOCOL}, not {params['protocol']}")
        target = str(params["target"])
        if not re.fullmatch(r"sm_\d+a?|gfx[0-9a-f]+", target):
            raise StepError("bad-request", f"unknown target {target!r}: use a name such as sm_90 or gfx942")
        if self._zygotes:
            raise StepError("bad-request", "this host was greeted already; start another one")
        spool = Path(params["spool"]).resolve() / f"host-{os.getpid()}-{secrets.token_hex(4)}"
        spool.mkdir(parents=True)
        self._spool = spool
        probe_folder = spool / "probe"
        probe_folder.mkdir()
        # Before there is a second thread: it forks.
        self._sandbox = probe(str(probe_folder), str(spool))
        behind = bubblewrap.command(str(spool)) if self._sandbox["bubblewrap"] else []
        kinds = list(Kind) if find_devices() else [Kind.PLAIN, Kind.INTERPRETING]
        # A bench's processes are known to CUDA by their numbers, which have to be everybody's.
        self._zygotes = {
            kind: Zygote(target, _end_with_zygote, kind, [] if kind is Kind.GPU else behind) for kind in kinds
        }

    def _cancel(self, message: dict[str, Any]) -> None:
        with self._lock:
            wanted = self._requests.get(message.get("params", {}).get("request"))
        if wanted is not None:
            wanted.cancel()
        self._writer.send({"id": message.get("id"), "result": {}})

    def _answer(self, message: dict[str, Any], cancel: Cancel) -> None:
        try:
            answer: dict[str, Any] = {"result": self._dispatch(message, cancel)}
        except StepError as error:
            answer = {"error": error.as_json()}
        except Exception as error:  # noqa: BLE001 - the boundary of this process: log it, answer, go on
            text = traceback.format_exc()
            log(text)
            why = disk_full(error) or f"the judge host failed: {text.splitlines()[-1]}; see the run's log"
            answer = {"error": StepError("host-failure", why).as_json()}
        with self._lock:
            self._requests.pop(message.get("id"), None)
        try:
            self._writer.send({"id": message.get("id"), **answer})
        except OSError:
            return  # The client is gone; the reading side sees the same and ends the host.

    def _dispatch(self, message: dict[str, Any], cancel: Cancel) -> dict[str, Any]:
        method, params = message.get("method"), message.get("params") or {}
        try:
            if method == "hello":
                return self._hello(params)
            if method == "open":
                return self._open(params, cancel)
            if method == "judge":
                return self._observe(params, cancel)
            if method == "baselines":
                judge = self._ready_judge()
                task = judge.task(params["task"])
                return {"baselines": baselines(judge, task, float(params["deadline_s"]), cancel)}
            if method == "layers":
                return {"bench": tried_layers(self._ready_judge(), cancel)}
            if method == "calibrate":
                return calibrate(self._ready_judge(), float(params["deadline_s"]), cancel)
        except KeyError as error:
            raise StepError("bad-request", f"{method} lacks the parameter {error}") from None
        raise StepError("bad-request", f"unknown method {method!r}; this host speaks protocol {PROTOCOL}")

    def _hello(self, params: dict[str, Any]) -> dict[str, Any]:
        spool, target = self._spool, str(params["target"])
        assert spool is not None, "zygotes are started with a spool folder"
        ready = self._zygotes[Kind.PLAIN].wait_ready()
        missing = next((found for one in self._zygotes.values() if (found := one.wait_ready()["missing"])), None)
        if not missing:
            self._judge = Judge(self._zygotes, spool, target, int(params.get("workers", 2)))
        return {
            "protocol": PROTOCOL,
            **{name: ready.get(name) for name in ("python", "torch", "triton", "numpy")},
            "executable": sys.executable,
            "devices": find_devices(),
            "missing": missing or [],
            "sandbox": self._sandbox,
            "sanitizer": str(tool) if (tool := find_sanitizer()) else None,
        }

    def _ready_judge(self) -> Judge:
        if self._judge is not None:
            return self._judge
        missing = [one for zygote in self._zygotes.values() for one in zygote.ready.get("missing", [])]
        if missing:
            raise StepError(f"missing-{missing[0]['what']}", missing[0]["message"])
        raise StepError("bad-request", "say hello first")

    def _open(self, params: dict[str, Any], cancel: Cancel) -> dict[str, Any]:
        task_file = Path(params["task_file"])
        text = TaskText(
            source_file=params["source_file"],
            source=params["source"],
            task_file=str(task_file),
            task_text=params.get("task_text") or _read(task_file),
            entry=params["entry"],
            kind=params.get("kind", "entry"),
            kernels=tuple(params.get("kernels", ())),
            mode=params.get("mode", "no-gpu"),
            teeth=bool(params.get("teeth")),
        )
        task, baseline = self._ready_judge().open(text, float(params.get("deadline_s", OPEN_S)), cancel)
        role = "both" if text.mode == "gpu" else "timed"
        workloads = [_workload(one, "listed", role) for one in task.timed]
        workloads += [_workload(one, "domain", "checked") for one in task.drawn]
        workloads += [_workload(one.workload, one.workload["origin"], "checked") for one in task.checked]
        opened = {"task": task.name, "workloads": workloads, "baseline": baseline, "notes": task.notes}
        return {**opened, "teeth": task.teeth}

    def _observe(self, params: dict[str, Any], cancel: Cancel) -> dict[str, Any]:
        candidate = params["candidate"]
        judge = self._ready_judge()
        return judge.judge(
            params["task"], candidate["source"], params["stage"], float(params.get("deadline_s", 120.0)), cancel
        )

    def close(self) -> None:
        with self._lock:
            requests = list(self._requests.values())
        for cancel in requests:
            cancel.wanted = True
        for zygote in self._zygotes.values():
            zygote.close()
        if self._spool is not None:
            remove_folder(self._spool)


def _end_with_zygote() -> None:
    """Without its zygotes the host is of no use: end, so that the client notices and starts another one."""
    log("a zygote ended unexpectedly; the host ends with it")
    kill_everything()
    os._exit(1)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StepError("task-error", f"{file.name} cannot be read: {error}", str(file)) from None


def _workload(one: dict[str, Any], origin: str, role: str) -> dict[str, Any]:
    return {
        "id": one["id"],
        "label": one["label"],
        "weight": 1.0,
        "origin": origin,
        "role": role,
        "inputs": one["inputs"],
        "recipe": one["recipe"],
    }


def main() -> int:
    """Serve on stdin and stdout; when either ends, no descendant is left."""
    protect_host()
    protocol = os.dup(1)
    os.dup2(2, 1)
    requests = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    server = Server(Writer(protocol))
    try:
        server.serve(requests)
    except ValueError as error:
        log(f"a request was not JSON: {error}")
    finally:
        server.close()
        kill_everything()
    sys.stdout.flush()
    os._exit(0)
