"""CUDA C++ to a binary for a named architecture: NVRTC where it can be found, else nvcc. Needs no GPU."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PATIENCE_S = 120


class CudaCompilerMissing(Exception):
    """Neither NVRTC nor nvcc can be found."""


class CudaCompileError(Exception):
    """The compiler refused the source; the message is its log."""


@dataclass(frozen=True)
class Compiled:
    """``cubin`` for the asked architecture, the ``ptx`` it was made from ("" where only nvcc was there), the
    compiler's log.
    """

    cubin: bytes
    ptx: str
    log: str


def compile_cubin(source: str, name: str, capability: str, include: Sequence[str] = ()) -> Compiled:
    """Compile CUDA C++ ``source`` (shown as ``name`` in messages) for ``capability`` ("9.0").

    Raises ``CudaCompileError`` with the compiler's log, ``CudaCompilerMissing`` where there is no compiler.
    """
    compiled = _with_nvrtc(source, name, _architecture(capability), include)
    if compiled is not None:
        return compiled
    nvcc = shutil.which("nvcc") or next((str(p) for p in toolkits("bin/nvcc")), None)
    if nvcc is None:
        raise CudaCompilerMissing(
            "no CUDA compiler: neither NVRTC (part of CUDA builds of torch) nor nvcc was found; install one of them"
        )
    return _with_nvcc(nvcc, source, name, _architecture(capability), include)


def _architecture(capability: str) -> str:
    digits = capability.replace("sm_", "").replace(".", "")
    # 9.0's tensor-core instructions exist only under the architecture-specific name; the binary runs on that chip
    # anyway.
    return "sm_90a" if digits == "90" else f"sm_{digits}"


def _nvrtc_paths() -> list[str]:
    wheels = [
        str(path)
        for root in sys.path
        if root
        for pattern in ("nvidia/*/lib/libnvrtc.so.*", "nvidia/*/lib/libnvrtc*.so.*")
        for path in sorted(Path(root).glob(pattern), reverse=True)
        if "builtins" not in path.name and "alt" not in path.name
    ]
    installed = [str(path) for path in toolkits("lib64/libnvrtc.so")]
    return [*wheels, "libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", *installed]


def toolkits(inside: str) -> list[Path]:
    """Where ``inside`` exists in an installed CUDA toolkit."""
    roots = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    return [path for root in roots if root and (path := Path(root) / inside).exists()]


def _includes(include: Sequence[str]) -> list[str]:
    """Given folders, then the toolkit's headers (cuda_fp16.h and its kin) where a toolkit or its wheel is installed."""
    wheels = [str(p) for root in sys.path if root for p in sorted(Path(root).glob("nvidia/*/include"))]
    return [*include, *(str(p) for p in toolkits("include")), *wheels]


def _with_nvrtc(source: str, name: str, architecture: str, include: Sequence[str]) -> Compiled | None:
    """What NVRTC made of it; None where there is no NVRTC."""
    libraries = _nvrtc_paths()
    options = [f"--gpu-architecture={architecture}", "--std=c++17", "--generate-line-info"]
    options += [f"--include-path={folder}" for folder in _includes(include)]
    request = {"libraries": libraries, "source": source, "name": Path(name).name, "options": options}
    answer = _in_own_process(request)
    if not answer["loaded"]:
        return None
    if answer["status"] != 0:
        raise CudaCompileError(answer["log"].strip() or f"NVRTC status {answer['status']}")
    return Compiled(base64.b64decode(answer["cubin"]), answer["ptx"], answer["log"])


def _in_own_process(request: dict[str, Any]) -> dict[str, Any]:
    # Isolated and without site: it needs the standard library alone, and starts in a few milliseconds.
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("nvrtc.py"))]
    try:
        done = subprocess.run(
            command, input=json.dumps(request), capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise CudaCompileError(f"the CUDA compiler did not finish within {_PATIENCE_S} s") from None
    if done.returncode != 0:
        how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
        raise CudaCompileError(f"the CUDA compiler ended without an answer ({how})\n{done.stderr.strip()[-500:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _with_nvcc(nvcc: str, source: str, name: str, architecture: str, include: Sequence[str]) -> Compiled:
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / Path(name).name, Path(folder) / "out.cubin"
        file.write_text(source)
        options = ["-cubin", f"-arch={architecture}", "-std=c++17", "-lineinfo", "-Xptxas", "-v", "-o", str(out)]
        options += [f"-I{path}" for path in include]
        try:
            done = subprocess.run(
                [nvcc, *options, str(file)], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise CudaCompileError(f"nvcc did not finish within {_PATIENCE_S} s") from None
        if done.returncode != 0:
            raise CudaCompileError((done.stderr or done.stdout).strip())
        return Compiled(out.read_bytes(), "", done.stderr.strip())
