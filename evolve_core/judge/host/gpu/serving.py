"""The bench's side of the line: requests in, answers out, and every way to fail as an answer."""

from __future__ import annotations

from typing import Any

import torch

from ..errors import StepError
from ..loading import raised_at
from .bench import Bench
from .channel import Channel, PeerGone
from .slots import SlotTooSmall

_CUDA_FAULTS = ("CUDA error", "CUDA driver error", "Triton Error [CUDA]", "cuLaunchKernel", "device-side assert")


def serve_bench(
    channel: Channel,
    bench: Bench,
) -> None:
    """Answer the conductor until it closes its end. A candidate's exception is an answer; a CUDA fault is the last
    one.
    """
    while True:
        try:
            request = channel.receive(None)
        except PeerGone:
            return
        answer = _answer(bench, request)
        channel.send(answer)
        if answer.get("failed", {}).get("fatal"):
            return


def _answer(bench: Bench, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return getattr(bench, f"do_{request['do']}")(request)
    except SlotTooSmall as small:
        return {"failed": {"kind": "too-large", "message": str(small), "fatal": False}}
    except BaseException as raised:  # noqa: BLE001 — the border to foreign code: even its SystemExit is an observation
        return {"failed": _failure(raised)}


def _failure(raised: BaseException) -> dict[str, Any]:
    text = str(raised) or type(raised).__name__
    name = type(raised).__name__
    fatal = any(mark in text for mark in _CUDA_FAULTS)
    if isinstance(raised, StepError):
        return {
            "kind": raised.kind,
            "message": raised.message,
            "file": raised.file,
            "line": raised.line,
            "fatal": False,
        }
    if isinstance(raised, torch.cuda.OutOfMemoryError):
        kind, fatal = "out-of-memory", False
    elif name in (
        "OutOfResources",
        "CompilationError",
        "CompileTimeAssertionFailure",
        "CudaCompileError",
        "PTXASError",
    ):
        kind, fatal = "compile-error", False
    else:
        kind = "crash"
    place = raised_at(raised)
    return {
        "kind": kind,
        "message": f"{_meaning(text)}{name}: {text}"[:2000],
        "file": str(place.file) if place else None,
        "line": place.line if place else None,
        "fatal": fatal,
    }


def _meaning(text: str) -> str:
    """What a fault that the driver names comes from; "" where its name says it all."""
    outside = any(mark in text for mark in ("illegal memory access", "ILLEGAL_ADDRESS"))
    return "it reads or writes outside its tensors: " if outside else ""
