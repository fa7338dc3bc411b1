"""What a child gives up before it runs somebody's code.

Always: its own process group, a death signal, limits on CPU time, memory and file size, no stdin, bounded output.
Where the kernel lets an ordinary user make namespaces: no network, no signals to other processes, and a file system
that is read-only except for the child's own folder; where only bubblewrap may, the zygote stands behind that
(bubblewrap.py). Where it has Landlock (landlock.py) and seccomp (seccomp.py), the
same again by other means, for the systems that refuse namespaces.
``probe`` says what this machine offers.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from . import bubblewrap, landlock, seccomp
from . import kernelcalls as kernel
from .lacking import no_bubblewrap, no_landlock, no_namespaces, no_seccomp

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
"""What in /dev a child may write to; not the shared memory there, in which it could leave things for others."""
_NAMESPACES = (
    kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC
)
MAX_PROCESSES = 256
"""Threads and processes of one child, where a user namespace counts them apart from the user's other ones. It does not
bind root, as whom containers run."""
MAX_FAMILY = 128
"""Processes of one child, beyond which the zygote ends it as a fork bomb; whoever it runs as."""


@dataclass(frozen=True)
class Limits:
    """``memory_bytes`` is room above what the process maps when it starts; None: no limit (CUDA maps terabytes)."""

    cpu_s: int
    memory_bytes: int | None = 12 << 30
    file_bytes: int = 2 << 30
    confined: bool = True
    """Behind namespaces, Landlock and the filter of system calls, whichever there are."""
    hidden: tuple[str, ...] = ()
    """Folders that the child must not see into, except for its own folder inside them."""


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; covers the parent that died before the call."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def go_first() -> None:
    """Where memory runs short, have the kernel end this process rather than the judge or somebody's editor."""
    # What it may set for itself lies in a folder that is root's while its memory is closed.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    with suppress(OSError):
        _write("/proc/self/oom_score_adj", "1000")
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def apply_limits(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    if limits.memory_bytes is not None:
        room = _mapped_bytes() + limits.memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (room, room))


def _mapped_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@cache
def namespaces_refused() -> int:
    """The errno that making namespaces meets here, 0 where they are to be had. Tried once, in a child: where AppArmor
    is against it, they can be made and then not be used, and whoever has made them is of no use any more.
    """
    child = os.fork()
    if not child:
        number = errno.EPERM
        try:
            _make_namespaces()
            number = 0
        except OSError as refused:
            number = refused.errno or number
        finally:
            os._exit(number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _make_namespaces() -> None:
    user, group = os.getuid(), os.getgid()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    kernel.unshare(_NAMESPACES)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def enter_namespaces(folder: str, hidden: tuple[str, ...] = ()) -> bool:
    """Separate this process from network, other processes and files outside ``folder``. False: not possible here.

    Returns in a NEW process (the first of the PID namespace); the caller's process stays behind as its guardian and
    ends as the new one ends, so that whoever waits for it sees the same exit status.
    """
    if namespaces_refused():
        return False
    _make_namespaces()
    _restrict_files(folder, hidden)
    guardian = os.getpid()
    child = os.fork()
    if child:
        _end_as(child)
    # In the new PID namespace the guardian's number reads as 0, so its death cannot be detected by getppid alone.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    _die_if_orphaned(guardian)
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_NPROC, (MAX_PROCESSES, MAX_PROCESSES))
    return True


def _restrict_files(folder: str, hidden: tuple[str, ...]) -> None:
    """Everything read-only but ``folder``; ``hidden`` folders empty but for ``folder`` itself, bound back into them."""
    try:
        kernel.mount(None, "/", kernel.MS_REC | kernel.MS_PRIVATE)
        own = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        for place in hidden:
            kernel.mount("none", place, 0, "tmpfs")
        Path(folder).mkdir(parents=True, exist_ok=True)
        kernel.mount(f"/proc/self/fd/{own}", folder, kernel.MS_BIND)
        os.close(own)
        kernel.set_mount_read_only("/", read_only=True, recursive=True)
        kernel.set_mount_read_only(folder, read_only=False, recursive=False)
    except OSError:
        # An older kernel: the other namespaces still hold, and the caller's probe says what is missing.
        return


def _die_if_orphaned(guardian: int) -> None:
    # /proc is still the outer one and shows outer numbers.
    if int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[1]) != guardian:
        os._exit(1)


def _end_as(child: int) -> None:
    """Wait for ``child`` and end the way it ended. Closes everything else first: pipes must see their other end go."""
    os.closerange(0, 3)
    os.closerange(3, 4096)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def confine(folder: str, limits: Limits) -> None:
    """Every layer that this system offers. May return in another process, as ``enter_namespaces`` does."""
    in_namespaces = enter_namespaces(folder, limits.hidden)
    apply_limits(limits)
    # Namespaces hide folders by covering them, which is cheaper than a rule for everything else.
    landlock.restrict([folder, *DEVICES], () if in_namespaces else limits.hidden, folder)
    seccomp.install()
    seccomp.close_in()
    if not in_namespaces:
        # Root's, in a container say: Linux 6.16 lets some of them read memory past Landlock.
        kernel.drop_capabilities()
        seccomp.keep_attributes()
        # Landlock keeps signals inside since its ABI 6 (Linux 6.12); a PID namespace does on all.
        if landlock.abi() < landlock.SCOPED_ABI:
            seccomp.keep_signals_to_itself()


def probe(folder: str, spool: str) -> dict[str, Any]:
    """What the sandbox amounts to on this machine; tried in children, for ``doctor`` and the hello answer. ``folder``
    lies in ``spool``. Only in a process with one thread.
    """
    entered, read_only = _tried(lambda: enter_namespaces(folder), folder)
    landlocked, unwritable = _tried(lambda: landlock.restrict([folder]), folder)
    filtered, _ = _tried(seccomp.install, folder)
    version = landlock.abi() if landlocked else 0
    unwrapped = "" if entered else bubblewrap.why_not(spool)
    wrapped = not entered and not unwrapped
    missing = [
        *([] if entered or wrapped else [no_namespaces(namespaces_refused()), no_bubblewrap(unwrapped)]),
        *no_landlock(version),
        *([] if filtered else [no_seccomp()]),
    ]
    return {
        "namespaces": entered,
        "bubblewrap": wrapped,
        "landlock": version,
        "seccomp": filtered,
        "network_off": entered or wrapped or filtered,
        "read_only_files": read_only or wrapped or unwritable,
        "platform": sys.platform,
        "missing": [asdict(one) for one in missing],
    }


def _tried(layer: Callable[[], bool], folder: str) -> tuple[bool, bool]:
    """Whether a child could put on ``layer``, and whether it then could not write beside ``folder``."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            entered = layer()
            os.write(writer, bytes([entered, entered and not _can_write(str(Path(folder).parent))]))
        finally:
            os._exit(0)
    os.close(writer)
    answer = os.read(reader, 2)
    os.close(reader)
    os.waitpid(child, 0)
    return (bool(answer[0]), bool(answer[1])) if len(answer) == 2 else (False, False)


def _can_write(folder: str) -> bool:
    file = Path(folder) / f".probe-{os.getpid()}"
    try:
        file.touch()
        file.unlink()
    except OSError:
        return False
    return True
