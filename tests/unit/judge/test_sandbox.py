"""The layers of the sandbox, each by itself, in forked children of this process."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evolve_core.judge.host import landlock, sandbox, seccomp
from evolve_core.judge.host.sandbox import DEVICES, Limits, confine, probe

pytestmark = pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock")

OWN, OTHER, SECRET = "steps/own", "steps/other", "secret"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    for folder in (OWN, OTHER, SECRET):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "note").write_text(folder)
    return tmp_path


def in_child(layer: Callable[[], object], attempt: Callable[[], object]) -> int:
    """0 where ``attempt`` goes through after ``layer``, else the errno that it met."""
    child = os.fork()
    if not child:
        code = 255
        try:
            layer()
            attempt()
            code = 0
        except OSError as refused:
            code = refused.errno or 254
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def restricted(spool: Path) -> Callable[[], object]:
    hidden = [str(spool / SECRET), str(spool / "steps")]
    return lambda: landlock.restrict([str(spool / OWN), *DEVICES], hidden, str(spool / OWN))


@pytest.mark.parametrize(
    ("attempt", "met"),
    [
        (lambda spool: (spool / OWN / "new").write_text("x"), 0),
        (lambda spool: (spool / OWN / "note").read_text(), 0),
        (lambda spool: (spool / OWN / "note").unlink(), 0),
        (lambda spool: Path(os.devnull).write_text("x"), 0),
        (lambda spool: Path(sys.executable).read_bytes(), 0),
        (lambda spool: subprocess.run([sys.executable, "-c", ""], check=True), 0),
        (lambda spool: (spool / "new").write_text("x"), errno.EACCES),
        (lambda spool: (spool / OTHER / "note").read_text(), errno.EACCES),
        (lambda spool: list((spool / OTHER).iterdir()), errno.EACCES),
        (lambda spool: (spool / SECRET / "note").read_text(), errno.EACCES),
        (lambda spool: (spool / OTHER / "note").unlink(), errno.EACCES),
        (lambda spool: (spool / OTHER / "note").rename(spool / OWN / "taken"), errno.EACCES),
        (lambda spool: Path("/dev/shm/left-behind").write_text("x"), errno.EACCES),
        (lambda spool: Path(__file__).write_text("x"), errno.EACCES),
    ],
    ids=[
        "own-write", "own-read", "own-remove", "null", "read-elsewhere", "run-a-program", "write-beside", "read-other",
        "list-other", "read-secret", "remove-other", "take-other", "shared-memory", "write-the-judge",
    ],
)  # fmt: skip
def test_landlock_lets_a_child_write_its_own_folder_and_see_no_other(
    spool: Path, attempt: Callable[[Path], object], met: int
) -> None:
    assert in_child(restricted(spool), lambda: attempt(spool)) == met


def test_without_hidden_folders_everything_can_be_read(spool: Path) -> None:
    layer = lambda: landlock.restrict([str(spool / OWN)])  # noqa: E731
    assert in_child(layer, (spool / OTHER / "note").read_text) == 0
    assert in_child(layer, lambda: (spool / OTHER / "note").write_text("x")) == errno.EACCES


@pytest.mark.skipif(landlock.abi() < 6, reason="this kernel's Landlock does not confine signals")
def test_landlock_keeps_signals_inside(spool: Path) -> None:
    assert in_child(restricted(spool), lambda: os.kill(os.getppid(), signal.SIGCONT)) == errno.EPERM
    assert in_child(restricted(spool), lambda: os.kill(os.getpid(), 0)) == 0


def connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass


def pair() -> None:
    for end in socket.socketpair():
        end.close()


def test_the_filter_closes_the_network_and_keeps_unix_sockets() -> None:
    assert in_child(lambda: None, connect) == 0
    assert in_child(seccomp.install, connect) == errno.EPERM
    assert in_child(seccomp.install, pair) == 0
    assert in_child(seccomp.install, lambda: subprocess.run([sys.executable, "-c", ""], check=True)) == 0


def test_the_filter_holds_in_programs_that_are_started_behind_it() -> None:
    code = "import socket; socket.socket()"

    def start() -> None:
        if subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode:
            raise PermissionError(errno.EPERM, "refused")

    assert in_child(lambda: None, start) == 0
    assert in_child(seccomp.install, start) == errno.EPERM


def test_the_filter_refuses_other_processes_memory() -> None:
    def trace() -> None:
        if ctypes.CDLL(None, use_errno=True).ptrace(16, os.getppid(), 0, 0) < 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    assert in_child(seccomp.install, trace) == errno.EPERM


SHMGET = {"x86_64": 29, "aarch64": 194}[platform.machine()]
_IPC_CREAT = 0o1000


def shared_memory() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.syscall(ctypes.c_long(SHMGET), ctypes.c_long(0), ctypes.c_long(4096), ctypes.c_long(_IPC_CREAT))
    if segment < 0:
        raise OSError(ctypes.get_errno(), "shmget")
    libc.shmctl(segment, 0, None)


@pytest.mark.parametrize("attempt", [lambda: os.memfd_create("hoard"), shared_memory], ids=["memfd", "shmget"])
def test_memory_that_nobody_is_charged_for_is_not_to_be_had(attempt: Callable[[], object]) -> None:
    assert in_child(lambda: None, attempt) == 0
    assert in_child(seccomp.close_in, attempt) == errno.EPERM


THREADED = "import threading; t = threading.Thread(target=print); t.start(); t.join()"
CLONE = {"x86_64": 56, "aarch64": 220}[platform.machine()]
_CLONE_NEWUSER = 0x10000000


def new_user() -> None:
    """A child in a user namespace of its own, in which it has every right."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = ctypes.c_long(_CLONE_NEWUSER | signal.SIGCHLD)
    child = libc.syscall(ctypes.c_long(CLONE), flags, *[ctypes.c_long(0)] * 4)
    if child < 0:
        raise OSError(ctypes.get_errno(), "clone")
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def ask(service: Path) -> None:
    """As of a daemon that starts programs for whoever asks."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(service))


UNSHARE = {"x86_64": 272, "aarch64": 97}[platform.machine()]


def without_namespaces() -> None:
    """As on a system that refuses them to ordinary programs."""
    seccomp._put_on(seccomp._MACHINES[platform.machine()], [seccomp._refused(UNSHARE)])


@pytest.mark.parametrize("abi", [landlock.abi(), 4])
@pytest.mark.parametrize("first", [lambda: None, without_namespaces], ids=["as-it-is", "without-namespaces"])
def test_a_confined_child_reaches_nothing_outside(
    spool: Path, monkeypatch: pytest.MonkeyPatch, first: Callable[[], None], abi: int
) -> None:
    """``abi`` 4: before Linux 6.12, Landlock knew nothing of signals."""
    monkeypatch.setattr(landlock, "abi", lambda: abi)
    outside = os.getpid()

    def layer() -> None:
        first()
        confine(str(spool / OWN), Limits(cpu_s=20, hidden=(str(spool / SECRET), str(spool / "steps"))))

    def kept(attempt: Callable[[], object]) -> bool:
        return in_child(layer, attempt) != 0

    assert in_child(layer, lambda: (spool / OWN / "new").write_text("x")) == 0
    assert in_child(layer, lambda: os.kill(os.getpid(), 0)) == 0
    assert kept(lambda: os.kill(outside, 0))
    assert kept((spool / SECRET / "note").read_text)
    assert kept((spool / OTHER / "note").read_text)
    assert kept(lambda: (spool / "new").write_text("x"))
    assert kept(connect)
    assert kept(lambda: os.memfd_create("hoard"))
    assert kept(lambda: Path(f"/proc/{outside}/environ").read_bytes())
    assert kept(lambda: (spool / SECRET).chmod(0o777))
    assert kept(lambda: resource.prlimit(outside, resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE)))
    assert kept(new_user)
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(spool / "service"))
        service.listen()
        assert in_child(lambda: None, lambda: ask(spool / "service")) == 0
        assert kept(lambda: ask(spool / "service"))
    assert in_child(layer, pair) == 0
    assert in_child(layer, lambda: subprocess.run([sys.executable, "-c", THREADED], check=True)) == 0


def test_namespaces_that_can_be_made_and_not_used_are_left_alone(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where AppArmor takes every capability in them away: then no user can be mapped."""
    write = sandbox._write

    def refused(path: str, text: str) -> None:
        if path.endswith("_map"):
            raise PermissionError(errno.EPERM, "Operation not permitted", path)
        write(path, text)

    monkeypatch.setattr(sandbox, "_write", refused)

    def attempt() -> None:
        assert sandbox.namespaces_refused() == errno.EPERM
        (spool / OWN / "new").write_text("x")

    layer = lambda: confine(str(spool / OWN), Limits(cpu_s=20))  # noqa: E731
    assert in_child(layer, attempt) == 0
    assert in_child(layer, lambda: (spool / "new").write_text("x")) == errno.EACCES


def test_a_child_is_the_first_to_go_where_memory_runs_short() -> None:
    def attempt() -> None:
        assert Path("/proc/self/oom_score_adj").read_text() == "1000\n"

    assert in_child(sandbox.go_first, attempt) == 0


def test_the_probe_says_what_holds_here(tmp_path: Path) -> None:
    folder = tmp_path / "probe"
    folder.mkdir()
    offered = probe(str(folder), str(tmp_path))
    assert offered["landlock"] == landlock.abi() and offered["seccomp"]
    assert offered["read_only_files"] and offered["network_off"]
