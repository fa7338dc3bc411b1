"""The bench's confinement, layer by layer, in forked children; what needs a device is in tests/gpu/confinement.py."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evolve_core.judge.host import landlock, measuring, seccomp
from evolve_core.judge.host.gpu import trial
from evolve_core.judge.host.gpu.confinement import Confinement, Layer, confine
from evolve_core.judge.host.gpu.trial import working_layers
from evolve_core.judge.host.patience import Patience
from evolve_core.judge.host.pool import Cancel, StepResult
from tests.gpu.attacks import ATTACKS, Target

pytestmark = pytest.mark.skipif(landlock.abi() < 6, reason="this kernel's Landlock does not confine signals")

STOPPED_BY = {
    "edited-harness": Layer.FILES,
    "compiler-cache": Layer.FILES,
    "download": Layer.CALLS,
    "signals": Layer.SIGNALS,
    "parents-memory": Layer.FILES,
    "other-results": Layer.FILES,
    "datagrams": Layer.CALLS,
    "kernel-settings": Layer.PROC,
    "parents-entry": Layer.PROC,
    "abstract-socket": Layer.SOCKETS,
    "shared-memory": Layer.FILES,
}


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    for folder in ("steps/own/private", "steps/own/compiled", "steps/other/triton-cache", "secret"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "secret/outputs-0.bin").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0confinement-{os.getpid()}")
        listener.listen()
        own, other = tmp_path / "steps/own/private", tmp_path / "steps/other/triton-cache"
        yield Target(own, other, tmp_path / "secret", listener.getsockname().decode())


def confinement(target: Target) -> Confinement:
    step = target.own.parent
    return Confinement(target.own, step / "compiled", (str(target.secret), str(step.parent)), str(step))


def told_by_child(body: Callable[[], str]) -> str:
    """What ``body`` says in a child of this process, its exception's name where it raises."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        try:
            said = body()
        except BaseException as raised:  # noqa: BLE001 - the border of a process
            said = f"{type(raised).__name__}: {raised}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


def attacked(target: Target, attack: str, layers: tuple[Layer, ...]) -> str:
    def body() -> str:
        confine(confinement(target), layers)
        return "through" if ATTACKS[attack](target) else "stopped"

    return told_by_child(body)


def test_every_attack_has_a_layer_against_it() -> None:
    assert set(STOPPED_BY) == set(ATTACKS)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_stopped_by_its_layer(target: Target, attack: str) -> None:
    assert attacked(target, attack, tuple(Layer)) == "stopped"
    only = (Layer.FILES, Layer.PROC) if STOPPED_BY[attack] is Layer.PROC else (STOPPED_BY[attack],)
    assert attacked(target, attack, only) == "stopped"


ROOTS_OWN = ("kernel-settings", "parents-entry", "parents-memory", "edited-harness")
"""What an ordinary user may not do anyway, or not everywhere."""


@pytest.mark.parametrize("attack", sorted(set(ATTACKS) - set(ROOTS_OWN)))
def test_without_layers_the_attack_gets_through(target: Target, attack: str) -> None:
    """Otherwise the tests above could not fail."""
    assert attacked(target, attack, ()) == "through"


def _names_a_thread() -> str:
    said: list[str] = []

    def name() -> None:
        file = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
        try:
            file.write_text("a name")
        except OSError as refused:
            said.append(str(refused))
        said.append(file.read_text().strip())

    thread = threading.Thread(target=name)
    thread.start()
    thread.join()
    return said[0]


def _runs_a_program() -> str:
    code = "import tempfile; print(tempfile.mkdtemp())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _stops_a_program() -> str:
    with subprocess.Popen(["sleep", "60"]) as program:
        program.kill()
    return str(program.returncode)


def test_what_a_judgement_needs_works_behind_every_layer(target: Target) -> None:
    def body() -> str:
        held = confine(confinement(target))
        private = str(target.own) in _runs_a_program()
        (target.own.parent / "compiled" / "kernel").touch()
        return f"{','.join(held)} {_names_a_thread()} {private} {_stops_a_program()}"

    assert told_by_child(body) == f"{','.join(Layer)} a name True -9"


def test_the_step_s_other_folders_stay_closed(target: Target) -> None:
    """The conductor's copies of the task lie beside the bench's own folder."""
    beside = target.own.parent / "task"
    beside.mkdir()

    def body() -> str:
        confine(confinement(target))
        (beside / "kernels.evolve.py").touch()
        return "written"

    assert told_by_child(body).startswith("PermissionError")


def test_a_compiler_may_move_what_it_made_into_its_cache(target: Target) -> None:
    def move() -> str:
        confine(confinement(target))
        made, kept = target.own / "tmp" / "made", target.own.parent / "compiled" / "kept"
        made.write_text("binary")
        made.replace(kept)
        return kept.read_text()

    assert told_by_child(move) == "binary"


def test_where_landlock_knows_no_signals_a_filter_leaves_a_process_only_itself() -> None:
    def signalled(pid: int) -> int:
        try:
            os.kill(pid, 0)
        except OSError as refused:
            return refused.errno
        return 0

    def body() -> str:
        seccomp.keep_signals_to_itself()
        program = os.getpid()
        caught: list[int] = []
        signal.signal(signal.SIGUSR1, lambda number, _: caught.append(number))
        signal.raise_signal(signal.SIGUSR1)
        return str([signalled(program), signalled(os.getppid()), signalled(0), len(caught)])

    assert told_by_child(body) == str([0, errno.EPERM, errno.EPERM, 1])


def test_a_driver_that_stands_everything_gets_every_layer() -> None:
    asked: list[tuple[Layer, ...]] = []
    assert working_layers(lambda layers: not asked.append(layers), time.monotonic() + 5) == tuple(Layer)
    assert asked == [tuple(Layer)]


def test_a_driver_that_does_not_start_behind_a_layer_goes_without_it_alone() -> None:
    refused = {Layer.SOCKETS, Layer.CALLS}
    found = working_layers(lambda layers: not refused & set(layers), time.monotonic() + 5)
    assert set(found) == set(Layer) - refused
    assert working_layers(lambda layers: False, time.monotonic() + 5) == ()


def test_a_trial_is_made_in_a_child_behind_the_layers_themselves(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands in for a driver that leaves files in the shared memory."""

    def driver() -> None:
        assert ATTACKS["shared-memory"](target)

    monkeypatch.setattr(trial, "use_the_device", driver)
    payload = {"device_uuid": "GPU-test", "lock_folder": str(target.secret), "hidden": [], "deadline_s": 30.0}
    assert set(trial.layers_step(payload, target.own)["layers"]) == set(Layer) - {Layer.FILES, Layer.PROC}


def answering(value: dict[str, Any] | None) -> Any:
    """A judge whose steps answer ``value``."""
    result = StepResult("finished", 1, value, None, "", 0.0, Path(), Patience(1.0))
    return SimpleNamespace(
        bench_layers=None, hidden=[], spool=Path("no-such-folder"), step=lambda *arguments, **named: result
    )


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(measuring, "find_devices", lambda: [{"uuid": "GPU-test"}])
    monkeypatch.setattr(measuring, "lock_folder", lambda: tmp_path)


@pytest.mark.usefixtures("device")
def test_the_user_is_told_what_is_open_and_nothing_where_all_is_closed() -> None:
    without_network = answering({"layers": [layer for layer in Layer if layer is not Layer.CALLS]})
    (note,) = measuring.try_layers(without_network, Cancel())
    assert "reach the network" in note
    assert measuring.try_layers(answering({"layers": list(Layer)}), Cancel()) == []


@pytest.mark.usefixtures("device")
def test_a_trial_that_fails_opens_nothing() -> None:
    judge = answering(None)
    assert measuring.try_layers(judge, Cancel()) == []
    assert judge.bench_layers is None
