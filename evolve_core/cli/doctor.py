"""``kernel-evolve doctor``: what works here, what does not, why, and what to do about it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import closing
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import click

from evolve_core import __version__
from evolve_core.cli.defaults import TARGET
from evolve_core.cli.finding import Finding
from evolve_core.cli.isolation import of_bench, of_children
from evolve_core.cli.main import FOUND
from evolve_core.errors import KernelEvolveError
from evolve_core.interpreter import resolve
from evolve_core.journal.reader import UNREADABLE, JournalReader, unreadable
from evolve_core.journal.schema import journal_file
from evolve_core.judge.calibration_store import stored
from evolve_core.judge.client import Device, HostDied, HostError, JudgeHost
from evolve_core.knowledge.errors import KnowledgeError
from evolve_core.knowledge.store import open_store
from evolve_core.report.roofline import moment, percent
from evolve_core.workspace import find_workspace

LAYERS_S = 120.0
"""For the trial of the bench's layers, which waits for the device's lock."""


@click.command(name="doctor")
@click.option("--python", default="", help="The interpreter with your torch and Triton.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(python: str, as_json: bool) -> None:
    """Interpreters, GPUs, compilers, journal, knowledge base, keys: what works, what does not, why.

    Exit code 1 if anything that is needed fails.
    """
    root = find_workspace(Path.cwd())
    findings = [
        Finding("kernel-evolve", True, f"{__version__}, workspace {root}"),
        *_interpreter(root, python),
        *_compilers(),
        _journal(root),
        _knowledge(),
        *_models(),
    ]
    if as_json:
        click.echo(json.dumps([asdict(f) for f in findings], indent=2))
    else:
        for finding in findings:
            mark = {True: "ok  ", False: "FAIL", None: "–   "}[finding.ok]
            click.echo(f"{mark} {finding.what:22} {finding.detail}")
            if finding.next_step:
                click.echo(f"     {'':22} → {finding.next_step}")
    if any(finding.ok is False for finding in findings):
        click.get_current_context().exit(FOUND)


def _interpreter(root: Path, explicit: str) -> list[Finding]:
    try:
        resolution = resolve(root, os.environ, explicit=explicit)
    except KernelEvolveError as error:
        return [Finding("interpreter", False, str(error))]
    passed_over = "; ".join(f"{s.place}: {s.why_not}" for s in resolution.steps[:-1])
    chosen = resolution.steps[-1]
    detail = f"{resolution.python} ({chosen.place})" + (f"; passed over: {passed_over}" if passed_over else "")
    return [Finding("interpreter", True, detail), *_host(resolution.python)]


def _host(python: Path) -> list[Finding]:
    with tempfile.TemporaryDirectory(prefix="kernel-evolve-") as folder, (Path(folder) / "log").open("ab") as log:
        try:
            host = JudgeHost.start(python, Path(folder), TARGET, 1, log)
        except (HostError, HostDied) as error:
            return [Finding("judge host", False, str(error))]
        with closing(host):
            info = host.info
            bench = host.layers(LAYERS_S) if info.devices and not info.missing else None
    found = [
        Finding("torch", info.torch is not None, info.torch or "missing"),
        Finding("triton", info.triton is not None, info.triton or "missing"),
    ]
    if info.devices:
        found += [Finding("GPU", True, f"{d.name}, {d.capability}, {d.uuid}") for d in info.devices]
        found += [_calibration(info.devices[0]), _sanitizer(info.sanitizer)]
    else:
        found.append(Finding("GPU", None, "none: correctness by Triton's interpreter, times are estimated"))
    found += [Finding(f"missing: {m.what}", False, m.message) for m in info.missing]
    return [*found, *of_children(info.sandbox), *of_bench(bench)]


def _calibration(device: Device) -> Finding:
    """Of the first device, on which everything is judged."""
    known = stored(device.uuid, device.driver)
    if known is None:
        detail = f"not measured under driver {device.driver}: peaks come from data sheets"
        return Finding("calibration", None, detail, "kernel-evolve calibrate")
    detail = f"smallest difference {percent(known.delta)}, measured {moment(known)}"
    return Finding("calibration", True, detail)


def _sanitizer(path: str | None) -> Finding:
    if path:
        return Finding("compute-sanitizer", True, path)
    detail = "not found: finalists are not looked at for races in shared memory and hidden accesses out of bounds"
    step = "pip install nvidia-cuda-sanitizer-api (in that interpreter), or put the CUDA toolkit's on PATH"
    return Finding("compute-sanitizer", None, detail, step)


def _compilers() -> list[Finding]:
    path = shutil.which("nvcc")
    return [Finding("nvcc", True if path else None, path or "not on PATH; needed for CUDA files without NVRTC only")]


def _journal(root: Path) -> Finding:
    path = journal_file(root)
    try:
        with closing(JournalReader(root)) as reader:
            count = len(reader.runs())
    except UNREADABLE as error:
        return Finding("journal", False, unreadable(root, error))
    if not path.exists():
        return Finding("journal", None, f"no runs in {root} yet")
    return Finding("journal", True, f"{path}: {count} run{'' if count == 1 else 's'}")


def _knowledge() -> Finding:
    try:
        with open_store() as store:
            stats = store.stats()
    except KnowledgeError as error:
        return Finding("knowledge base", False, str(error))
    return Finding("knowledge base", True, f"{stats.url}: {stats.insights} insights ({stats.measured} measured)")


def _models() -> list[Finding]:
    """Only whether there is a key: its value goes nowhere."""
    findings = []
    for sdk, variable in (("anthropic", "ANTHROPIC_API_KEY"), ("openai", "OPENAI_API_KEY")):
        if find_spec(sdk) is None:
            findings.append(Finding(sdk, None, "not installed", "pip install 'kernel-evolve[models]'"))
        elif os.environ.get(variable):
            findings.append(Finding(sdk, True, f"{variable} is set"))
        else:
            findings.append(Finding(sdk, None, f"no {variable}: its models are off, everything else works"))
    return findings
