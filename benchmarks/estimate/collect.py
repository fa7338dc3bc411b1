"""Facts and work profiles of hand-made variants of the examples, for one target: what the estimate is made of.

    python -m benchmarks.estimate.collect OUT.json [--measured VARIANTS.json] [--target sm_90] [--kernels A,B]

Needs torch and triton in this interpreter, and no GPU. With ``--measured`` the sources come from that file, so that
exactly what was measured is compiled; without it they come from ``tests/gpu/variants.py``. Takes a few minutes on two
cores, most of it compiling what is not in Triton's cache (``--cache``) yet.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
# Each job runs in a child of a process that has already imported torch and triton; a second one uses the second core.
PARALLEL = 2


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.worker:
        _work(arguments.worker, Path(arguments.out))
        return
    sources = _measured(Path(arguments.measured)) if arguments.measured else _from_tests()
    chosen = arguments.kernels.split(",") if arguments.kernels else list(sources)
    with tempfile.TemporaryDirectory() as folder:
        jobs = _write_jobs({name: sources[name] for name in chosen}, arguments.target, Path(folder))
        for stage, interpret in (("compile", "0"), ("profile", "1")):
            _run_worker(stage, interpret, Path(folder), arguments.cache)
        result = {"target": arguments.target, "kernels": _gathered(jobs, Path(folder))}
    Path(arguments.out).write_text(json.dumps(result, separators=(",", ":")), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--measured", default="")
    parser.add_argument("--target", default="sm_90")
    parser.add_argument("--kernels", default="")
    parser.add_argument("--cache", default=str(Path(tempfile.gettempdir()) / f"kernel-evolve-estimate-{os.getuid()}"))
    parser.add_argument("--worker", choices=("compile", "profile"), help=argparse.SUPPRESS)
    return parser


def _measured(file: Path) -> dict[str, tuple[str, dict[str, str]]]:
    """Kernel → (task module's source, variant → source)."""
    kernels = json.loads(file.read_text(encoding="utf-8"))["kernels"]
    return {
        name: (data["task"], {variant: entry["source"] for variant, entry in data["variants"].items()})
        for name, data in kernels.items()
    }


def _from_tests() -> dict[str, tuple[str, dict[str, str]]]:
    from tests.gpu.variants import NAMES, example, variants

    return {name: (example(name)[1], variants(name)) for name in NAMES}


def _write_jobs(sources: dict[str, tuple[str, dict[str, str]]], target: str, folder: Path) -> list[dict[str, Any]]:
    jobs = [
        {"kernel": name, "variant": variant, "source": source, "task": task, "target": target}
        for name, (task, variants) in sources.items()
        for variant, source in variants.items()
    ]
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    return jobs


def _run_worker(stage: str, interpret: str, folder: Path, cache: str) -> None:
    environment = {**os.environ, "TRITON_INTERPRET": interpret, "TRITON_CACHE_DIR": cache}
    command = [sys.executable, "-m", "benchmarks.estimate.collect", "--worker", stage, str(folder)]
    subprocess.run(command, check=True, cwd=REPOSITORY, env=environment)


def _gathered(jobs: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Kernel → variant → {"facts": […], "workloads": {label: [{"facts": index, "work": …}]}} or {"failed": why}."""
    found: dict[str, Any] = {}
    for number, job in enumerate(jobs):
        stages = {s: json.loads((folder / f"{s}-{number}.json").read_text()) for s in ("compile", "profile")}
        failed = next((data["failed"] for data in stages.values() if "failed" in data), None)
        entry = {"failed": failed} if failed else _joined(stages["compile"], stages["profile"])
        found.setdefault(job["kernel"], {})[job["variant"]] = entry
    return found


def _joined(compiled: dict[str, Any], profiled: dict[str, Any]) -> dict[str, Any]:
    workloads: dict[str, list[dict[str, Any]]] = {}
    for label, work in profiled.items():
        launches = [launch for launch in compiled["launches"] if launch["workload"] == label]
        pairs = zip(launches, work, strict=True)
        workloads[label] = [{"facts": launch["facts"], "work": profile} for launch, profile in pairs]
    return {"facts": compiled["kernels"], "workloads": workloads}


# -- in the worker


def _work(stage: str, folder: Path) -> None:
    from evolve_core.judge.host.warm import warm_up

    jobs = json.loads((folder / "jobs.json").read_text(encoding="utf-8"))
    warm_up(jobs[0]["target"])  # imports torch, triton and the host's steps once, for every forked child
    shapes = {job["kernel"]: _shapes(job["kernel"], job["task"], folder) for job in jobs}
    running: list[int] = []
    for number, job in enumerate(jobs):
        if len(running) == PARALLEL:
            os.waitpid(running.pop(0), 0)
        child = os.fork()
        if child == 0:
            _run_job(stage, job, shapes[job["kernel"]], folder / f"{stage}-{number}")
        running.append(child)
    for child in running:
        os.waitpid(child, 0)


def _run_job(stage: str, job: dict[str, Any], shapes: list[dict[str, Any]], folder: Path) -> None:
    """Ends the process: a candidate's code ran in it."""
    from evolve_core.judge.host.errors import StepError

    folder.mkdir()
    try:
        result = _compile(job, shapes, folder) if stage == "compile" else _profile(job, shapes, folder)
    except StepError as error:
        result = {"failed": f"{error.kind}: {error.message[:300]}"}
    folder.with_suffix(".json").write_text(json.dumps(result), encoding="utf-8")
    os._exit(0)


def _payload(job: dict[str, Any]) -> dict[str, Any]:
    file = str(REPOSITORY / "examples" / f"{job['kernel']}.py")
    return {"target": job["target"], "source": job["source"], "source_file": file, "entry": job["kernel"]}


def _compile(job: dict[str, Any], shapes: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    from evolve_core.judge.host.compiling import compile_step

    return compile_step({**_payload(job), "workloads": shapes}, folder)


def _profile(job: dict[str, Any], shapes: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    from evolve_core.judge.host.running import profile_step

    found = {}
    for shape in shapes:
        (folder / shape["id"]).mkdir()
        payload = {**_payload(job), "workload": shape["id"], "entries": shape["entries"]}
        found[shape["id"]] = profile_step(payload, folder / shape["id"])["work"]
    return found


def _shapes(kernel: str, task: str, folder: Path) -> list[dict[str, Any]]:
    """The task's listed workloads without their contents; ids are labels such as ``x[4096,1024]``."""
    from evolve_core.judge.host import tasks

    made = folder / f"task-{kernel}"
    made.mkdir(exist_ok=True)
    module = tasks.load_task(task, made / f"{kernel}.evolve.py", made)
    found = []
    for _, workload in tasks.listed(module):
        inputs = tasks.draw_from(module, workload, 0, "cpu")
        label = " ".join(f"{name}[{','.join(map(str, value.shape))}]" for name, value in inputs.items())
        entries = [[name, _entry(value)] for name, value in inputs.items()]
        found.append({"id": label, "label": label, "entries": entries})
    return found


def _entry(tensor: Any) -> dict[str, Any]:
    return {
        "kind": "tensor",
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "stride": list(tensor.stride()),
        "offset": 0,
        "storage": 0,
    }


if __name__ == "__main__":
    main()
