"""Bubblewrap (``bwrap``), where the system lets it make namespaces and refuses them to other programs.

So do systems whose AppArmor knows bwrap by name, as Ubuntu's may since 23.10, and those where it is installed with
root's rights. A child is forked and cannot be started anew behind it, but its zygote can: what that may not reach, no
child of it may. What differs from child to child, the one folder that it may write to and what it must not see there,
is Landlock's to say.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

_TRY_S = 20.0


def command(spool: str) -> list[str]:
    """What stands before a zygote's own command: no network, processes and queues of its own, nothing but ``spool`` to
    be written to, no devices beyond /dev/null and its like. [] where there is no bwrap.

    The zygote is the first process of its namespace: whatever its children leave ends with it, and none of them can
    signal it.
    """
    program = shutil.which("bwrap")
    if program is None:
        return []
    apart = ["--unshare-user-try", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--as-pid-1", "--die-with-parent"]
    files = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", spool, spool]
    return [program, *apart, *files, "--setenv", "TMPDIR", spool, "--"]


def why_not(spool: str) -> str:
    """ "" where a program started behind it can write to ``spool`` and nowhere else; tried by starting one."""
    before = command(spool)
    if not before:
        return "bubblewrap (bwrap) is not installed"
    try:
        tried = subprocess.run(
            [*before, sys.executable, "-S", "-c", _TRIAL, spool],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TRY_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as failed:
        return f"bwrap does not start: {failed}"
    if tried.returncode == 0:
        return ""
    said = tried.stderr.decode("utf-8", "replace").strip().splitlines()
    return f"bwrap does not start here: {said[-1][:200] if said else f'exit code {tried.returncode}'}"


_TRIAL = """
import os, sys
spool, name = sys.argv[1], ".bubblewrap-trial"
def writes(folder):
    try:
        os.close(os.open(os.path.join(folder, name), os.O_CREAT | os.O_WRONLY))
    except OSError:
        return False
    os.unlink(os.path.join(folder, name))
    return True
if not writes(spool) or writes(os.path.dirname(spool)):
    sys.exit("what may be written to is not kept apart")
if os.getpid() != 1:
    sys.exit("it has no processes of its own")
"""
