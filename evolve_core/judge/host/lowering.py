"""Launch plans whose kernels are TTIR in place of binaries: compiled no further, so that trusted code can run them.

The child executes the candidate's host code and compiler passes, like the ``compile`` step. What comes out is text and
a plan; interpreting.py carries both out where none of it runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from triton.compiler.compiler import make_backend

from .compiling import followed
from .stub_driver import gpu_target

_PUBLIC = re.compile(r'tt\.func public @(?:"([^"]+)"|([\w$.]+))')


def lower_step(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A plan for every workload, or why there is none; the kernels as ``<sha256>.ttir`` in ``folder``.

    ``binary`` of a launch is the SHA-256 of that text. Raises StepError where the entry fails, as ``compile`` does.
    """
    _stop_at_ttir(type(make_backend(gpu_target(payload["target"]))))
    recorder = followed(payload, folder, with_facts=False)
    for name, text in recorder.binaries.items():
        (folder / f"{name}.ttir").write_bytes(text)
    return {"plans": recorder.plans}


def _stop_at_ttir(backend: Any) -> None:
    """In this process, ``backend``'s binaries are the text of TTIR: the stages behind it take most of the time."""
    every: Callable[..., None] = backend.add_stages

    def add_stages(self: Any, stages: dict[str, Any], options: Any, *rest: Any) -> None:
        every(self, stages, options, *rest)
        names = list(stages)
        if "ttir" not in names:
            return  # Gluon starts behind it
        for name in names[names.index("ttir") + 1 :]:
            del stages[name]
        stages[self.binary_ext] = _as_binary

    backend.add_stages = add_stages


def _as_binary(module: Any, metadata: dict[str, Any]) -> bytes:
    """What the stages that are left out would add to ``metadata``, as far as a launch needs it."""
    text = str(module)
    found = _PUBLIC.search(text)
    metadata["name"] = (found[1] or found[2]) if found else ""
    metadata["shared"] = 0
    return text.encode()
