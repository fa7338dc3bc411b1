"""Fork a child that ends with its parent. The parent must not have touched CUDA; children may."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.002
_STANDARD = 3


class ForkedChild:
    """A child of this process, by its id. It stays in the caller's process group, so that the group can be killed as
    one.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def wait(self, timeout_s: float) -> int | None:
        """Exit code (negative: the signal) as soon as the child has ended, None where it still lives after
        ``timeout_s``.
        """
        deadline = time.monotonic() + timeout_s
        while self._code is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self._code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= deadline:
                break
            else:
                time.sleep(_POLL_S)
        return self._code

    def kill(self) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)


def fork_child(main: Callable[[], None], label: str, deadline_s: float, keep_fds: tuple[int, ...]) -> ForkedChild:
    """Run ``main`` in a child that inherits the standard streams and ``keep_fds`` and dies by SIGKILL with this
    process.

    ``deadline_s`` seconds later the kernel ends it by SIGALRM, should nobody else have. ``label`` is for the log.
    """
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return ForkedChild(pid)
    code = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, deadline_s)
            _close_others(keep_fds)
            main()
            code = 0
    except BaseException:  # noqa: BLE001 — the border of a process: what happened goes to the log, then the process ends
        sys.stderr.write(f"{label}: {traceback.format_exc()}")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _close_others(keep: tuple[int, ...]) -> None:
    kept = {*range(_STANDARD), *keep}
    for entry in list(Path("/proc/self/fd").iterdir()):
        descriptor = int(entry.name)
        if descriptor not in kept:
            try:
                os.close(descriptor)
            except OSError:
                # The listing's own descriptor is in the list and closed already.
                continue
