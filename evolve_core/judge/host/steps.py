"""The steps a child can run, by name. Each is ``step(payload, folder) -> JSON-able value``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .kinds import Kind

Step = Callable[[dict[str, Any], Path], Any]

_STEPS = {
    "describe": "oracle:describe",
    "draw": "oracle:draw",
    "compare": "oracle:compare",
    "teeth": "teeth:teeth",
    "reordered": "teeth:reordered",
    "probe": "teeth:probe",
    "compile": "compiling:compile_step",
    "compile-cuda": "compiling_cuda:compile_step",
    "lower": "lowering:lower_step",
    "interpret": "interpreting:interpret_step",
    "account": "account.taking:account_step",
    "audit": "auditing:audit_step",
    "truth-at": "spottruths:truth_at",
    "run": "running:run_step",
    "profile": "running:profile_step",
    "gpu": "gpu.step:judge_step",
    "gpu-layers": "gpu.trial:layers_step",
    "gpu-probe": "gpu.trial:probe_step",
    "gpu-session": "gpu.session:session_step",
    "gpu-baseline": "gpu.beside:baseline_step",
    "gpu-calibrate": "gpu.calibrate:calibrate_step",
}


UNTRUSTED = {"compile", "compile-cuda", "lower", "run", "profile", "gpu"}
"""Steps that execute a candidate: whatever escapes from them is the candidate's doing."""


def look_pause_s(step: str) -> float | None:
    """Between two looks at what a child has computed and started; None where its deadline is enough, as it runs
    nobody's candidate.

    A fork bomb must not get far before it is seen. Beside a measurement the looks are rare: each reads all of /proc.
    """
    if step not in UNTRUSTED:
        return None
    return 5.0 if kind_of(step) is Kind.GPU else 0.5


def kind_of(step: str) -> Kind:
    """The kind of zygote that runs ``step``."""
    if step in ("run", "profile"):
        return Kind.INTERPRETING
    return Kind.GPU if step.startswith("gpu") else Kind.PLAIN


def find_step(name: str) -> Step:
    module, _, function = _STEPS[name].partition(":")
    step: Step = getattr(importlib.import_module(f".{module}", __package__), function)
    return step
