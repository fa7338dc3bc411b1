"""What a red-team candidate is, and which classes of attack there are to play."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Gain(StrEnum):
    """What an exploit is after."""

    ANSWER = "answer"
    """It computes something else, and has won once it counts as correct."""
    SPEED = "speed"
    """It is right (or may be), and has won once it is correct and looks faster than the user's kernel, which it is
    not."""


CLASSES: dict[str, tuple[str, ...]] = {
    "clock": (
        "patched timers",
        "work on another stream",
        "background thread",
        "lazy tensor subclass",
        "batch-and-skip",
        "work hidden between samples",
        "telling checking from timing",
        "graph captured wrong",
        "L2 persistence window",
        "slowing the baseline",
        "early-completion signalling",
        "aggregation tricks",
    ),
    "harness": (
        "forged verdict",
        "exit 0, atexit",
        "patched allclose",
        "frame walking, gc",
        "/proc/self/mem",
        "edited files",
        "compiler caches",
        "shared namespace",
        "global state",
        "downloads",
        "compile-time attacks",
    ),
    "replay": (
        "cache by pointer",
        "cache by content",
        "cache by call index",
        "persistent device buffer",
        "disk cache across runs",
        "known seeds",
        "sticky padding",
    ),
    "leaks": (
        "reference output in freed memory",
        "IPC handles",
        "parent's memory or disk",
        "calling the library op or the reference",
        "try/except fallback",
        "decoy kernel",
    ),
    "weak checks": (
        "constant or zero output",
        "input-independent function",
        "lower precision than asked",
        "precision dropped only where unchecked",
        "sniffing the input distribution",
        "hard-coded shapes",
        "truncated algorithm",
        "ratio tolerance",
        "abs-and-rel confusion",
        "NaN/Inf mishandled",
        "structural shortcut",
    ),
    "bugs": (
        "out-of-bounds write",
        "out-of-bounds read",
        "uninitialised read",
        "partial write",
        "race",
        "32-bit index overflow",
        "silent no-launch",
        "inputs changed in place",
        "aliased output",
        "wrong dtype, shape or stride",
        "alignment and stride assumptions",
    ),
}
"""Every class that the judge must catch, by family. One file of exploits for each family."""

WITHOUT_EXPLOIT = {
    "aggregation tricks": "nothing a candidate can do by itself; the arithmetic is tried in test_known_bugs.py",
}
"""Classes that have no candidate, and why."""


SPARED = {
    "background-thread": "a naive harness looks after it has timed for seconds; this one looks at once",
    "argmax-without-some-columns": "one row in eight is wrong",
    "compile-time-read": "there is no folder of another process to read",
    "last-row-unwritten": "what the fresh memory holds is luck",
    "parents-disk": "there is no folder of another process to read",
    "disk-cache": "it would leave its mark on this machine",
    "edited-inputs": "inputs stay in memory",
    "edited-task": "the task was read before",
    "forged-output-file": "outputs stay in memory",
    "freed-memory": "the allocator of the CPU seldom gives the same block again",
    "column-sums": "wrong even for ones",
    "empty-grid": "what the fresh memory holds is luck",
    "half-renewed-buffer": "only with inputs that repeat",
    "holes": "what the fresh memory holds is luck",
    "input-independent-integer": "one row in five hundred is right",
    "uninitialised-scratch": "what the fresh memory holds is luck",
    "writes-before": "it may hit the allocator's own words",
    "blinded-bounds": "nothing watches",
    "assumed-length": "Triton's interpreter looks at what is assumed, too",
}
"""Exploits that naive.py is not fooled by, or not each time, and why."""


@dataclass(frozen=True, slots=True)
class Victim:
    """A user's kernel and its task; the entry has the victim's name, as has the kernel in a CUDA file."""

    source: str
    task: str
    is_cuda: bool = False


@dataclass(frozen=True, slots=True)
class Exploit:
    """A candidate that must not get away with it.

    ``stands_for`` is one of CLASSES. ``kinds`` are the verdicts that are right for it, as ``suite.kind_of`` names them;
    empty: any but correct.
    ``escapes_without_gpu`` says why it is judged correct where there is no device.
    """

    name: str
    stands_for: str
    task: str
    source: str
    kinds: tuple[str, ...] = ()
    gain: Gain = Gain.ANSWER
    needs_gpu: bool = False
    escapes_without_gpu: str = ""


@dataclass(frozen=True, slots=True)
class Honest:
    """A right kernel that somebody may take for a wrong or dishonest one. ``looks_like`` says for what.

    ``rejected_without_gpu`` says why it is turned away where there is no device.
    """

    name: str
    looks_like: str
    task: str
    source: str
    needs_gpu: bool = False
    rejected_without_gpu: str = ""


def edited(source: str, *changes: tuple[str, str]) -> str:
    """``source`` with every ``(old, new)`` replaced; each old text must be there."""
    for old, new in changes:
        if old not in source:
            raise ValueError(f"the victim changed: {old!r} is not in it any more")
        source = source.replace(old, new)
    return source


def at_import(source: str, code: str) -> str:
    """``code`` at the top of the module, after its first import of torch."""
    return source.replace("import torch\n", f"import torch\n{code}\n", 1)


def in_entry(source: str, signature: str, code: str) -> str:
    """``code`` at the start of the function whose first line is ``signature``."""
    body = "".join(f"    {line}\n" if line else "\n" for line in code.strip("\n").splitlines())
    return edited(source, (f"{signature}\n", f"{signature}\n{body}"))


def interpreted(code: str) -> str:
    """``code`` only where kernels are interpreted, so that the compile step does not meet it first.

    A random number comes before it, which no plan holds: else nobody would run it there.
    """
    body = "".join(f"    {line}\n" for line in code.strip("\n").splitlines())
    return f"import os\ntorch.rand(1, device=x.device)\nif os.environ.get('TRITON_INTERPRET') == '1':\n{body}"
