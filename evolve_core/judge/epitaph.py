"""What is said of a judge host that ended before it answered: mostly its program is no Python at all."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from evolve_core.interpreter import NAMED_BY
from evolve_core.judge.host.signals import signal_name

_LONGEST = 300
_TAIL_BYTES = 8192


@dataclass(frozen=True, slots=True)
class HostLog:
    """Where a host's stderr goes, behind the ``since`` bytes that others wrote before."""

    path: Path
    since: int
    kept: bool

    @classmethod
    def of(cls, log: IO[bytes], spool: Path) -> HostLog:
        path = Path(str(log.name))
        # What lies in the spool is gone by the time somebody reads a message about it.
        return cls(path, os.fstat(log.fileno()).st_size, not path.is_relative_to(spool))

    def last_line(self) -> str:
        try:
            with self.path.open("rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                stream.seek(max(self.since, size - _TAIL_BYTES))
                text = stream.read().decode(errors="replace")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def never_answered(python: Path, code: int | None, printed: str, log: HostLog) -> str:
    """``printed``: the line on its stdout that was no answer. ``code`` None: it still runs."""
    said = (printed or log.last_line())[:_LONGEST]
    words = f' and said "{said}"' if said else ""
    where = f" Its output is in {log.path}." if log.kept else ""
    return (
        f"{python} did not start the judge host: it {_how(code)}{words}.{where} "
        f"If that is no Python, or too old a one, name another with {NAMED_BY}."
    )


def not_started(python: Path, error: OSError) -> str:
    return f"{python} cannot be started ({error.strerror}). Name another interpreter with {NAMED_BY}."


def exit_code(process: subprocess.Popen[bytes], patience_s: float) -> int | None:
    """Of a process whose output ended: it is about to end, too."""
    try:
        return process.wait(patience_s)
    except subprocess.TimeoutExpired:
        return None


def _how(code: int | None) -> str:
    if code is None:
        return "runs on"
    return f"ended with {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
