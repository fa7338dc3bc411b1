"""CUDA C++ to a binary for a named architecture: NVRTC where it can be found, else nvcc. Needs no GPU."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NVCC_TIMEOUT_S = 120


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
    library = _nvrtc()
    if library is not None:
        return _with_nvrtc(library, source, name, _architecture(capability), include)
    nvcc = shutil.which("nvcc") or next((str(p) for p in _toolkits("bin/nvcc")), None)
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


def _nvrtc() -> Any:
    for candidate in _nvrtc_paths():
        try:
            return ctypes.CDLL(str(candidate))
        except OSError:
            continue
    return None


def _nvrtc_paths() -> list[str]:
    wheels = [
        str(path)
        for root in sys.path
        if root
        for pattern in ("nvidia/*/lib/libnvrtc.so.*", "nvidia/*/lib/libnvrtc*.so.*")
        for path in sorted(Path(root).glob(pattern), reverse=True)
        if "builtins" not in path.name and "alt" not in path.name
    ]
    toolkits = [str(path) for path in _toolkits("lib64/libnvrtc.so")]
    return [*wheels, "libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", *toolkits]


def _toolkits(inside: str) -> list[Path]:
    roots = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    return [path for root in roots if root and (path := Path(root) / inside).exists()]


def _includes(include: Sequence[str]) -> list[str]:
    """Given folders, then the toolkit's headers (cuda_fp16.h and its kin) where a toolkit or its wheel is installed."""
    wheels = [str(p) for root in sys.path if root for p in sorted(Path(root).glob("nvidia/*/include"))]
    return [*include, *(str(p) for p in _toolkits("include")), *wheels]


def _with_nvrtc(library: Any, source: str, name: str, architecture: str, include: Sequence[str]) -> Compiled:
    program = ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), Path(name).name.encode(), 0, None, None)
    try:
        options = [f"--gpu-architecture={architecture}", "--std=c++17", "--generate-line-info"]
        options += [f"--include-path={folder}" for folder in _includes(include)]
        encoded = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        status = library.nvrtcCompileProgram(program, len(options), encoded)
        log = _fetch(library, program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
        if status != 0:
            raise CudaCompileError(log.strip() or f"NVRTC status {status}")
        ptx = _fetch(library, program, "PTX").rstrip(b"\0").decode(errors="replace")
        return Compiled(_fetch(library, program, "CUBIN"), ptx, log)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _fetch(library: Any, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    if getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)) != 0 or size.value == 0:
        return b""
    buffer = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{what}")(program, buffer)
    return buffer.raw


def _with_nvcc(nvcc: str, source: str, name: str, architecture: str, include: Sequence[str]) -> Compiled:
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / Path(name).name, Path(folder) / "out.cubin"
        file.write_text(source)
        options = ["-cubin", f"-arch={architecture}", "-std=c++17", "-lineinfo", "-Xptxas", "-v", "-o", str(out)]
        options += [f"-I{path}" for path in include]
        done = subprocess.run(
            [nvcc, *options, str(file)], capture_output=True, text=True, timeout=_NVCC_TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise CudaCompileError((done.stderr or done.stdout).strip())
        return Compiled(out.read_bytes(), "", done.stderr.strip())
