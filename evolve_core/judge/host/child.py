"""The first lines of every child: give up what it must not have, run one step, hand the result back, end."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from . import kernelcalls as kernel
from .errors import DEADLINE_REPORT, StepError, disk_full
from .patience import Patience
from .sandbox import Limits, apply_limits, confine, die_with_parent, go_first
from .settling import settle_in
from .steps import UNTRUSTED, find_step

LONGEST_REPORTED_S = 3600.0
"""Beyond it no single step is meant to end: a session waits for candidates."""
EXIT_REPORTED = 0
EXIT_UNREPORTED = 70
"""The step ended, but its result could not be written."""


def run_step(message: dict[str, Any], limits: Limits, zygote: int, result_pipe: int, log_pipe: int) -> NoReturn:
    """Runs in a freshly forked child and never returns. The result is one JSON line on ``result_pipe``."""
    os.setpgid(0, 0)
    die_with_parent(zygote)
    go_first()
    # Without a PID namespace, too, what its processes leave behind stays in its family, to be counted and ended.
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    _redirect_streams(log_pipe)
    # A segmentation fault then leaves the Python line that it happened on in the log.
    faulthandler.enable(file=2, all_threads=False)
    folder = str(message["folder"])
    settle_in(Path(folder) / "tmp", Path(folder) / "built")
    sys.dont_write_bytecode = True
    if limits.confined:
        confine(folder, limits)
    else:
        apply_limits(limits)
    _report_place_before(Patience(**message["patience"]))
    result = _outcome(message["step"], message["payload"], Path(folder))
    _report(result_pipe, result)


def _report_place_before(patience: Patience) -> None:
    """Shortly before the child is killed, the log gets the Python lines that it is at.

    By alarms that Python itself serves between two instructions: faulthandler's own watchdog reads the frames of a
    thread that goes on running, which crashes the process every so often.
    """
    if patience.wall_s <= LONGEST_REPORTED_S:
        _report_place_at(signal.ITIMER_REAL, signal.SIGALRM, patience.wall_s)
    if patience.processor_s is not None:
        # This process's own share: what it leaves to processes that it started has no Python lines here.
        _report_place_at(signal.ITIMER_PROF, signal.SIGPROF, patience.processor_s)


def _report_place_at(timer: int, number: signal.Signals, end_s: float) -> None:
    signal.signal(number, _report_place)
    signal.setitimer(timer, end_s - min(1.0, end_s / 10))


def _report_place(number: int, frame: FrameType | None) -> None:
    os.write(2, f"{DEADLINE_REPORT}\n".encode())
    faulthandler.dump_traceback(file=2)


def _redirect_streams(log_pipe: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log_pipe, 1)
    os.dup2(log_pipe, 2)
    os.close(null)
    os.close(log_pipe)


def _outcome(step: str, payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    began = time.monotonic()
    try:
        result: dict[str, Any] = {"value": find_step(step)(payload, folder)}
    except StepError as error:
        result = {"error": error.as_json()}
    except MemoryError:
        result = {"error": {"kind": "out-of-memory", "message": "the process ran out of its memory limit"}}
    except BaseException as error:  # noqa: BLE001 - the one boundary of this process
        traceback.print_exc()
        result = {"error": {**_escaped(step, error), "line": _line_under(folder, error)}}
    result["wall_s"] = round(time.monotonic() - began, 4)
    return result


def _line_under(folder: Path, error: BaseException) -> int | None:
    """The innermost line of the file that was imported from the child's folder."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    return next((one.lineno for one in frames if Path(one.filename).parent == folder), None)


def _escaped(step: str, error: BaseException) -> dict[str, str]:
    """What nothing in the step expected: a candidate's doing, a full disk, or our own fault. The log has the rest."""
    if why := disk_full(error):
        return {"kind": "host-failure", "message": why}
    if isinstance(error, SystemExit):
        return {"kind": "crash", "message": f"it called sys.exit({error.code!r})"}
    kind = "crash" if step in UNTRUSTED else "host-failure"
    return {"kind": kind, "message": f"{type(error).__name__}: {error}"[:2000]}


def _report(pipe: int, result: dict[str, Any]) -> NoReturn:
    """Write and leave without running anybody's atexit handlers or finalisers."""
    gc.disable()
    try:
        data = memoryview(json.dumps(result, default=str).encode() + b"\n")
        while data:
            data = data[os.write(pipe, data) :]
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        os._exit(EXIT_UNREPORTED)
    os._exit(EXIT_REPORTED)
