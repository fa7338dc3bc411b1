"""The host's step "gpu": one candidate (or the user's own kernel against itself) judged on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from .. import tasks
from ..buffers import flatten_outputs
from ..loading import entry_of, load_source
from ..planreading import plan_from
from ..precision import STRICT
from ..truths import reference_truth
from .confinement import Layer, own_folder
from .cuda_task import cuda_runner
from .job import COMPILE_TIMEOUT_S, GpuJob, Named, PlansToWatch, Runner
from .least import least_work
from .planned import PlannedRunner
from .run import judge_on_gpu


def judge_step(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Observe one candidate on one device; returns ``{failure, checks, timing, environment}`` of the protocol's
    Observation.

    ``payload``: ``task_text``, ``task_file``, ``source_file``, ``entry``, ``kind`` ("entry" or "launches"),
    ``baseline`` and ``candidate`` (source texts; candidate None: the baseline against itself), ``compiled`` (of both,
    the SHA-256 of what a CUDA file was compiled to), ``plans`` (of both by workload; None: their own host code runs, or
    the task's ``launches``), ``binaries`` (the folder of the kernels), ``stage``,
    ``device_uuid``, ``lock_folder``, ``cache_folder``, ``deadline_s``, ``hidden`` and ``layers`` (of the bench's
    confinement), ``with_floor`` (whether the least work is asked for), ``guards_inputs`` (of host code), and
    ``checked`` and ``timed`` as lists of ``{id, recipe}``. In a process that has never asked CUDA anything."""
    return judge_on_gpu(job_of(payload, folder))


def job_of(payload: dict[str, Any], folder: Path) -> GpuJob:
    """What ``judge_step`` is asked for, with closures that the children call."""
    timed, checked = _recipes(payload["timed"]), _recipes(payload["checked"] or payload["timed"])
    recipes = {**timed, **checked}
    task = task_of(payload, folder)
    plans, is_cuda = payload.get("plans"), payload["kind"] == "launches"
    load_native = (
        _planned(payload, "baseline")
        if plans and is_cuda
        else _loader(payload, "baseline", task, partial(_fresh, folder, "native"))
    )
    return GpuJob(
        device_uuid=payload["device_uuid"],
        lock_folder=payload["lock_folder"],
        cache_folder=payload["cache_folder"],
        spool=str(folder),
        stage=payload["stage"],
        deadline_s=payload["deadline_s"],
        checked=list(checked),
        timed=list(timed),
        watched=plans_to_watch(payload),
        smallest=str(payload.get("smallest", "")),
        warm_up=str(payload.get("warm_up", "")),
        draw=lambda workload, seed, device: tasks.draw(task(), recipes[workload], seed, device),
        truth=_truth(task, cache(load_native), typed=is_cuda),
        reference=lambda: task().where("reference"),
        load_baseline=_planned(payload, "baseline")
        if plans
        else _loader(payload, "baseline", task, partial(_fresh, folder, "baseline")),
        load_candidate=None
        if payload["candidate"] is None
        else _planned(payload, "candidate")
        if plans
        else _loader(payload, "candidate", task, partial(_fresh, folder, "candidate")),
        least_work=(lambda inputs: least_work(task(), inputs)) if payload.get("with_floor") else None,
        has_reference=bool(payload.get("has_reference", True)),
        precision=str(payload.get("precision", STRICT)),
        load_native=load_native,
        load_plans=partial(_runner_of, Path(payload["binaries"])) if plans else None,
        load_host_code=_loader(payload, "candidate", task, partial(_fresh, folder, "candidate"))
        if plans and payload["candidate"] is not None and not is_cuda
        else None,
        guards_inputs=bool(payload.get("guards_inputs", True)),
        pairs=int(payload.get("pairs", 0)),
        processes=int(payload.get("processes", 0)),
        compile_timeout_s=float(payload.get("compile_timeout_s", COMPILE_TIMEOUT_S)),
        hidden=tuple(payload.get("hidden", ())),
        layers=tuple(map(Layer, payload.get("layers", Layer))),
    )


def plans_to_watch(payload: dict[str, Any]) -> PlansToWatch | None:
    """A finalist's plans on the smallest workload."""
    plans, workload = payload.get("plans"), str(payload.get("smallest", ""))
    if not plans or payload["candidate"] is None or payload["stage"] != "confirmation" or not workload:
        return None
    return PlansToWatch(workload, payload["binaries"], plans["candidate"][workload], plans["baseline"][workload])


def task_of(payload: dict[str, Any], folder: Path) -> Callable[[], tasks.TaskModule]:
    """The user's task, executed once in whichever process asks first."""
    return cache(lambda: tasks.load_task(payload["task_text"], Path(payload["task_file"]), _fresh(folder, "task")))


def _recipes(described: list[dict[str, Any]]) -> dict[str, Any]:
    return {entry["id"]: entry["recipe"] for entry in described}


def _fresh(spool: Path, name: str) -> Path:
    """The process's own: two must not write one file while Triton reads it."""
    folder = own_folder(spool) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _planned(payload: dict[str, Any], which: str) -> Callable[[], Runner]:
    return lambda: _runner_of(Path(payload["binaries"]), payload["plans"][which].values())


def _runner_of(binaries: Path, plans: Iterable[Any]) -> PlannedRunner:
    return PlannedRunner([plan_from(plan) for plan in plans], binaries)


def _loader(
    payload: dict[str, Any], which: str, task: Callable[[], tasks.TaskModule], folder: Callable[[], Path]
) -> Callable[[], Runner]:
    text = payload[which]
    if payload["kind"] == "launches":
        binary = Path(payload["binaries"]) / f"{payload['compiled'][which]}.cubin"
        return lambda: _flattening(cuda_runner(text, binary, task().module.launches))
    return lambda: _python(payload, text, folder())


def _python(payload: dict[str, Any], text: str, folder: Path) -> Runner:
    original = Path(payload["source_file"])
    module = load_source(text, original, folder, "compile-error")
    entry = entry_of(module, payload["entry"], original)
    return _flattening(entry)


def _flattening(entry: Callable[..., Any]) -> Runner:
    def run(inputs: dict[str, Any]) -> Named:
        with torch.no_grad():
            return flatten_outputs(entry(**inputs), inputs)

    return run


def _truth(
    task: Callable[[], tasks.TaskModule], baseline: Callable[[], Runner], *, typed: bool
) -> Callable[[dict[str, Any], list[str] | None], Named]:
    """The reference in wider types; without one, the user's own kernel on wider inputs where it accepts them.

    A ``typed`` kernel (CUDA) has its element types compiled in: it would read wider inputs as something else.
    """

    def truth(inputs: dict[str, Any], names: list[str] | None) -> Named:
        if task().has_reference:
            return reference_truth(task(), inputs, names)
        outputs = baseline()(inputs) if typed else _own_truth(baseline(), inputs)
        return outputs if names is None else [pair for pair in outputs if pair[0] in names]

    return truth


def _own_truth(runner: Runner, inputs: dict[str, Any]) -> Named:
    wider = {name: _widened(value) for name, value in inputs.items()}
    try:
        return runner(wider)
    except Exception:  # noqa: BLE001 — kernels are free to refuse other types; then their own result is all there is
        return runner(inputs)


def _widened(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16):
        return value.to(torch.float32)
    return value.to(torch.float64) if isinstance(value, torch.Tensor) and value.dtype is torch.float32 else value
