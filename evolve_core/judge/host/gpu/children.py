"""What the two children of a measurement are before they are a bench and a conductor: confined, on one device."""

from __future__ import annotations

import importlib
import os
import secrets
import shutil
import socket
from pathlib import Path

from .bench import Bench
from .channel import Channel
from .conductor import Conductor
from .confinement import Confinement, confine, own_folder
from .job import GpuJob
from .serving import serve_bench
from .slots import Slot


def bench_main(job: GpuJob, kernels: bytes | None, end: socket.socket, inbox: Slot, outbox: Slot) -> None:
    """The life of a bench: confined before its first CUDA call, then at the conductor's service.

    ``kernels``: the clock's.
    """
    use_device(job, _bench_cache(job))
    spool = Path(job.spool)
    confined = confine(Confinement(own_folder(spool), _bench_cache(job), job.hidden, job.spool), job.layers)
    load = (job.load_baseline, job.load_candidate)
    guards = job.guards_inputs
    bench = Bench(inbox, outbox, *load, job.device, confined, job.load_plans, kernels, guards_inputs=guards)
    serve_bench(Channel(end), bench)


def conductor_main(
    job: GpuJob, process: int, end: socket.socket, report: socket.socket, to_bench: Slot, from_bench: Slot
) -> None:
    """The life of a conductor: says when both are ready, measures when it is told to, reports."""
    use_device(job, Path(job.cache_folder))
    line = Channel(report)

    def ready() -> None:
        line.send({"ready": True})
        line.receive(None)

    line.send(Conductor(job, Channel(end), to_bench, from_bench, process).run(ready))


def hand_over_compiled(job: GpuJob) -> None:
    """What the user's kernel compiled to, into the benches' cache, over whatever a candidate of an earlier round left
    there under its names: the baseline that is timed is the one that was compiled without any candidate.

    File by file in place of the old one: a bench that stands by may have loaded that as a library.
    """
    trusted, cache = Path(job.cache_folder), _bench_cache(job)
    trusted.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    for source in sorted(trusted.rglob("*")):
        target = cache / source.relative_to(trusted)
        if source.is_dir():
            _make_room(target, job, is_right=target.is_dir())
            target.mkdir(exist_ok=True)
        else:
            _make_room(target, job, is_right=target.is_file())
            _put(source, target)


def _make_room(place: Path, job: GpuJob, *, is_right: bool) -> None:
    """Move aside what is there instead: a candidate can leave anything, also what takes long to delete."""
    if os.path.lexists(place) and (place.is_symlink() or not is_right):
        place.rename(Path(job.spool) / f"aside-{secrets.token_hex(8)}")


def _put(source: Path, target: Path) -> None:
    unfinished = target.with_name(f"{secrets.token_hex(8)}.unfinished")
    with source.open("rb") as original, unfinished.open("xb") as copy:
        shutil.copyfileobj(original, copy)
    unfinished.replace(target)


def use_device(job: GpuJob, cache: Path) -> None:
    """Before this process's first CUDA call: the one device it may see, its compiler cache, the real driver."""
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = job.device_uuid
    os.environ["TRITON_CACHE_DIR"] = str(cache)
    if job.device != "cuda":
        return
    # The parent may have told Triton about a pretended device, for compiling without a GPU.
    importlib.import_module("triton.runtime.driver").driver.reset_active()


def _bench_cache(job: GpuJob) -> Path:
    """One for all rounds: what the first bench compiled, the later ones find."""
    return Path(job.spool) / "compiled"
