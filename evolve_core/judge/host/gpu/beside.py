"""The host's step "gpu-baseline": another way to compute the same, timed beside the user's own kernel.

What a person would use without a kernel of their own: the reference as it is (eager), torch.compile of it, or the
library operation that the task names. All of it is the user's code and no candidate's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..buffers import flatten_outputs
from ..tasks import MAX_LISTED, TaskModule
from .job import GpuJob, Named, Runner
from .run import judge_on_gpu
from .step import job_of, task_of

EAGER, COMPILED, LIBRARY = "eager", "torch.compile", "library"


def baseline_step(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """``{failure, checks, timing, environment}`` of a confirmation with ``payload["which"]`` in a candidate's place;
    else ``payload`` as for ``judge_step``, without a candidate.
    """
    return judge_on_gpu(baseline_job(job_of(payload, folder), payload["which"], task_of(payload, folder)))


def baseline_job(job: GpuJob, which: str, task: Callable[[], TaskModule]) -> GpuJob:
    """``job``, the user's kernel against itself, with another implementation as the second."""
    spool = Path(job.spool)
    return replace(
        job,
        checked=[],
        load_candidate=lambda: _runner(which, task(), spool),
        load_plans=None,  # The user's kernel may be launched by its plan all the same; the other is host code.
        candidate_is_trusted=True,
        times_warm=False,
        layers=(),
    )


def _runner(which: str, task: TaskModule, spool: Path) -> Runner:
    function = getattr(task.module, "library" if which == LIBRARY else "reference")
    if which == COMPILED:
        function = _compiled(function, spool)

    def run(inputs: dict[str, Any]) -> Named:
        with torch.no_grad():
            return flatten_outputs(function(**inputs), inputs)

    return run


def _compiled(function: Callable[..., Any], spool: Path) -> Callable[..., Any]:
    """By torch's default compiler, in this process alone: what the first process compiles, the later ones find."""
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(spool / "inductor")
    # Every workload has shapes of its own; beyond this many, calls would go back to eager without a word.
    dynamo.cache_size_limit = MAX_LISTED
    inductor.compile_threads = 1
    inductor.fx_graph_cache = True
    compiled: Callable[..., Any] = torch.compile(function, dynamic=False)
    return compiled
