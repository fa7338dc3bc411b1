"""Which layers of the bench's confinement hold on this machine, and what works and what is stopped behind them:
``python3 -m tests.gpu.confinement OUT.json [USER-ID]``.

A child like the bench puts on layers, alone and together, then does all that a judgement needs (the driver, memory,
handles both ways, compilers, the judge's clock), then tries the attacks. Beside it runs a process like the conductor,
which gave up nothing. With USER-ID (started by root) everything runs as that user. Prints a table last. Without a GPU
only the steps that need none are made."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import triton
import triton.language as tl

from evolve_core.judge.host import kernelcalls as kernel
from evolve_core.judge.host import landlock
from evolve_core.judge.host.gpu.channel import Channel, PeerGone, PeerSilent
from evolve_core.judge.host.gpu.clock import Stopwatch
from evolve_core.judge.host.gpu.confinement import Confinement, Layer, confine
from evolve_core.judge.host.gpu.device_memory import Exporter, Importer, copy_on_device
from evolve_core.judge.host.gpu.forking import fork_child
from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.host.gpu.trial import layers_step

from .attacks import ATTACKS, Target

TRIAL_S = 40.0
PATIENCE_S = 85.0
"""No new trial is begun later than this."""
PASSED_BYTES = 1 << 20
TRIALS: dict[str, tuple[Layer, ...]] = {
    "nothing": (),
    "all": tuple(Layer),
    "no-sockets": tuple(layer for layer in Layer if layer is not Layer.SOCKETS),
    "files": (Layer.FILES, Layer.PROC),
    "files/proc": (Layer.FILES,),
    "calls": (Layer.CALLS,),
    "privileges": (Layer.PRIVILEGES,),
    "signals": (Layer.SIGNALS,),
    "sockets": (Layer.SOCKETS,),
}


@triton.jit
def add_one(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=offsets < n) + 1, mask=offsets < n)


@dataclass
class Bench:
    """The child's end: ``tell`` a finding, ``ask`` the process that is like the conductor."""

    channel: Channel
    handle: str

    def ask_to_open(self, handle: str) -> None:
        self.channel.send({"open": handle})
        answer = self.channel.receive(TRIAL_S)
        if not answer["ok"]:
            raise RuntimeError(answer["error"])


def name_threads(_: Bench) -> None:
    """As CUDA does: a process's folder for its threads is written from any of them."""
    failed: list[OSError] = []

    def name() -> None:
        try:
            Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text("confined")
        except OSError as refused:
            failed.append(refused)

    thread = threading.Thread(target=name)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def start_program(_: Bench) -> None:
    subprocess.run([sys.executable, "-c", "import tempfile; tempfile.TemporaryFile()"], check=True)


def stop_program(_: Bench) -> None:
    """As a compiler that runs over its time is stopped."""
    with subprocess.Popen(["sleep", "3"]) as program:
        program.kill()


def compile_c(_: Bench) -> None:
    compiler = next(found for name in ("cc", "gcc", "clang") if (found := shutil.which(name)))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "stub.c"
        source.write_text("int one(void) { return 1; }\n")
        subprocess.run([compiler, "-shared", "-fPIC", str(source), "-o", f"{folder}/stub.so"], check=True)
        assert ctypes.CDLL(f"{folder}/stub.so").one() == 1


def initialise(_: Bench) -> None:
    if code := ctypes.CDLL("libcuda.so.1").cuInit(0):
        raise RuntimeError(f"error {code}")


def allocate(_: Bench) -> None:
    memory = torch.ones(1 << 28, dtype=torch.uint8, device="cuda")
    assert int(memory.sum().item()) == 1 << 28


def register_host_memory(_: Bench) -> None:
    memory = torch.empty(64 << 20, dtype=torch.uint8)
    if code := int(torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), 64 << 20, 0)):
        raise RuntimeError(f"error {code}")
    torch.empty(1 << 20, pin_memory=True)


def read_conductors_memory(bench: Bench) -> None:
    _expect_pattern(bench.handle)


def hand_memory_over(bench: Bench) -> None:
    bench.ask_to_open(_export_pattern())


def run_triton(_: Bench) -> None:
    x = torch.arange(1000.0, device="cuda")
    out = torch.empty_like(x)
    add_one[(4,)](x, out, 1000, BLOCK=256)
    assert torch.equal(out, x + 1)


def run_the_clock(_: Bench) -> None:
    """NVRTC in a process of its own, a loaded module, held launches."""
    watch = Stopwatch()
    x = torch.ones(1 << 24, device="cuda")
    sample, _outputs = watch.sample(lambda: x * 2)
    assert sample.device_ns > 0


WITHOUT_DEVICE: dict[str, Callable[[Bench], None]] = {
    "thread names": name_threads,
    "a program": start_program,
    "stopping it": stop_program,
    "C compiler": compile_c,
}
WITH_DEVICE: dict[str, Callable[[Bench], None]] = {
    "cuInit": initialise,
    "memory": allocate,
    "pinned memory": register_host_memory,
    "handle in": read_conductors_memory,
    "handle out": hand_memory_over,
    "Triton": run_triton,
    "clock, NVRTC": run_the_clock,
}


def _export_pattern() -> str:
    exporter = Exporter()
    handle = exporter.reserve(PASSED_BYTES)
    if not handle:
        raise RuntimeError("no handle")
    exporter.write(0, torch.full((PASSED_BYTES,), 77, dtype=torch.uint8, device="cuda"))
    torch.cuda.synchronize()
    return handle


def _expect_pattern(handle: str) -> None:
    address, _size = Importer().open(handle)
    copy = torch.zeros(PASSED_BYTES, dtype=torch.uint8, device="cuda")
    copy_on_device(copy.data_ptr(), address, PASSED_BYTES)
    assert int(copy.sum().item()) == 77 * PASSED_BYTES


def like_the_conductor(channel: Channel) -> None:
    """Exports memory, then opens what it is handed, until nobody asks any more."""
    channel.send({"handle": _export_pattern()})
    while True:
        try:
            handle = channel.receive(None)["open"]
        except PeerGone:
            return
        channel.send(_outcome(partial(_expect_pattern, handle)))


def like_the_bench(
    channel: Channel, layers: tuple[Layer, ...], confinement: Confinement, target: Target, handle: str, on_device: bool
) -> None:
    channel.send({"held": [str(layer) for layer in confine(confinement, layers)]})
    bench = Bench(channel, handle)
    for name, step in {**WITHOUT_DEVICE, **(WITH_DEVICE if on_device else {})}.items():
        channel.send({"step": name})
        channel.send({"step": name, **_outcome(partial(step, bench))})
    for name, attack in ATTACKS.items():
        channel.send({"attack": name, "through": attack(target)})


def _outcome(step: Callable[[], None]) -> dict[str, Any]:
    started = time.monotonic()
    try:
        step()
    except Exception as failed:  # noqa: BLE001 - whatever goes wrong behind the layers is what is asked for
        return {"ok": False, "error": f"{type(failed).__name__}: {failed}"[:300]}
    return {"ok": True, "ms": round(1000 * (time.monotonic() - started))}


class Machine:
    """One run of the script: the process like the conductor, and the trials beside it."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._device = next(iter(list_devices()), None)
        self._own_end, self._conductor_end = socket.socketpair()
        self._conductor = Channel(self._own_end)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"\0kernel-evolve-{os.getpid()}")
        self._listener.listen(64)
        for folder in ("secret", "steps/other/triton-cache"):
            (spool / folder).mkdir(parents=True)
        (spool / "secret/outputs-0.bin").write_bytes(b"0")
        self.handle = self._begin() if self._device else ""

    def _begin(self) -> str:
        os.environ.update(CUDA_DEVICE_ORDER="PCI_BUS_ID", CUDA_VISIBLE_DEVICES=self._device["uuid"])
        end = self._conductor_end
        fork_child(lambda: like_the_conductor(Channel(end)), "conductor", 2 * PATIENCE_S, (end.fileno(),))
        end.close()
        return str(self._conductor.receive(TRIAL_S)["handle"])

    def facts(self) -> dict[str, Any]:
        return {
            "kernel": platform.release(),
            "landlock": landlock.abi(),
            "user": os.getuid(),
            "device": self._device,
            "torch": torch.__version__,
            "triton": triton.__version__,
            "devices": sorted(str(path) for path in Path("/dev").glob("nvidia*")),
        }

    def trial(self, name: str, layers: tuple[Layer, ...]) -> dict[str, Any]:
        step = self._spool / "steps" / name.replace("/", "-")
        own, cache = step / "own", step / "compiled"
        for folder in (own, cache):
            folder.mkdir(parents=True)
        hidden = (str(self._spool / "secret"), str(self._spool / "steps"))
        confinement = Confinement(own, cache, hidden, str(step))
        listening = str(self._listener.getsockname().decode())
        target = Target(own, self._spool / "steps/other/triton-cache", self._spool / "secret", listening)
        near, far = socket.socketpair()
        has_device = self._device is not None
        child = fork_child(
            lambda: like_the_bench(Channel(far), layers, confinement, target, self.handle, has_device),
            name,
            TRIAL_S,
            (far.fileno(),),
        )
        far.close()
        found = self._listen(Channel(near))
        near.close()
        return {**found, "layers": [str(layer) for layer in layers], "exit": child.wait(TRIAL_S)}

    def chosen(self) -> list[str] | None:
        """What the judge itself would use here, by the trial that it makes once."""
        if self._device is None:
            return None
        folder = self._spool / "steps/chosen"
        folder.mkdir()
        hidden = [str(self._spool / "secret"), str(self._spool / "steps")]
        payload = {"device_uuid": self._device["uuid"], "lock_folder": str(folder), "hidden": hidden}
        chosen: list[str] = layers_step({**payload, "deadline_s": TRIAL_S}, folder)["layers"]
        return chosen

    def _listen(self, channel: Channel) -> dict[str, Any]:
        found: dict[str, Any] = {"held": [], "steps": {}, "attacks": {}}
        while True:
            try:
                message = channel.receive(TRIAL_S)
            except (PeerGone, PeerSilent):
                return found
            if "open" in message:
                self._conductor.send(message)
                channel.send(self._conductor.receive(TRIAL_S))
            elif "step" in message:
                found["steps"][message.pop("step")] = message or {"ok": False, "error": "ended in it"}
            elif "attack" in message:
                found["attacks"][message["attack"]] = message["through"]
            else:
                found.update(message)


def table(found: dict[str, Any]) -> list[str]:
    trials = found["trials"]
    width = max(map(len, TRIALS)) + 1
    lines = ["".ljust(17) + "".join(name.ljust(width) for name in trials)]
    for step in (*WITHOUT_DEVICE, *WITH_DEVICE):
        outcomes = [trial["steps"].get(step) for trial in trials.values()]
        if any(outcomes):
            cells = ["-" if one is None else f"{one['ms']} ms" if one["ok"] else "FAILS" for one in outcomes]
            lines.append(step.ljust(17) + "".join(cell.ljust(width) for cell in cells))
    for attack in ATTACKS:
        through = [trial["attacks"].get(attack) for trial in trials.values()]
        cells = ["-" if one is None else "OPEN" if one else "stopped" for one in through]
        lines.append(attack.ljust(17) + "".join(cell.ljust(width) for cell in cells))
    for name, trial in trials.items():
        lines.append(f"{name}: has {', '.join(trial['held']) or 'no layer'}; exit {trial['exit']}")
        lines += [f"   {step}: {one['error']}" for step, one in trial["steps"].items() if not one["ok"]]
    return lines


def become(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    os.environ["HOME"] = tempfile.mkdtemp()


def main(out: Path, user: int | None) -> None:
    started = time.monotonic()
    torch.set_num_threads(1)
    report = out.open("w")
    if user is not None:
        become(user)
    # As the zygote: nobody of the same user reads its memory, nor its children's.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    with tempfile.TemporaryDirectory() as spool:
        machine = Machine(Path(spool))
        found: dict[str, Any] = {**machine.facts(), "trials": {}}
        for name, layers in TRIALS.items():
            if time.monotonic() - started < PATIENCE_S:
                found["trials"][name] = machine.trial(name, layers)
        found["chosen"] = machine.chosen()
    found["seconds"] = round(time.monotonic() - started, 1)
    with report:
        json.dump(found, report, indent=1)
    print({key: value for key, value in found.items() if key != "trials"})
    print("\n".join(table(found)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
