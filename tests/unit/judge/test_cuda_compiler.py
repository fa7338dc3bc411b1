"""CUDA C++ to a binary, by the real NVRTC, in a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from evolve_core.judge.host.gpu import clock_kernels, cuda_compiler
from evolve_core.judge.host.gpu.clock_kernels import kept_kernels
from evolve_core.judge.host.gpu.cuda_compiler import CudaCompileError, CudaCompilerMissing, compile_cubin

SAXPY = (Path(__file__).parents[3] / "examples" / "saxpy.cu").read_text()


def test_it_compiles_in_a_fork_of_a_process_that_has_compiled() -> None:
    """As the judge's children do."""
    compile_cubin(SAXPY, "saxpy.cu", "sm_90")
    child = os.fork()
    if not child:
        os._exit(0 if b"saxpy" in compile_cubin(SAXPY, "saxpy.cu", "sm_90").cubin else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_log_names_file_and_line() -> None:
    with pytest.raises(CudaCompileError, match=r'saxpy\.cu\(4\): error: identifier "itn" is undefined'):
        compile_cubin(SAXPY.replace("int i ", "itn i "), "saxpy.cu", "sm_90")


@pytest.mark.parametrize(
    ("does", "message"),
    [
        ("exec sleep 60", "did not finish within 1 s"),
        ("kill -SEGV $$", "ended without an answer \\(SIGSEGV\\)"),
        ("exit 3", "ended without an answer \\(exit code 3\\)"),
    ],
)
def test_a_compiler_that_fails_is_an_error_of_the_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, does: str, message: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{does}\n")
    python.chmod(0o755)
    monkeypatch.setattr(cuda_compiler, "_PATIENCE_S", 1)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(CudaCompileError, match=message):
        compile_cubin(SAXPY, "saxpy.cu", "sm_90")


def test_where_there_is_no_compiler_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cuda_compiler, "_nvrtc_paths", list)
    monkeypatch.setattr(cuda_compiler, "toolkits", lambda inside: [])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CudaCompilerMissing, match=r"neither NVRTC .* nor nvcc was found; install one of them"):
        compile_cubin(SAXPY, "saxpy.cu", "sm_90")


def test_the_kernels_of_the_clock_are_compiled_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    devices = [{"uuid": "GPU-a", "capability": "9.0"}, {"uuid": "GPU-b", "capability": "8.0"}]
    monkeypatch.setattr(clock_kernels, "list_devices", lambda: devices)
    first = kept_kernels(tmp_path / "kept", "GPU-a")
    assert first is not None and b"hold" in first and b"touch" in first
    assert kept_kernels(tmp_path / "kept", "GPU-b") not in (None, first)

    def none_left(*unused: object) -> None:
        raise CudaCompilerMissing

    monkeypatch.setattr(clock_kernels, "compile_cubin", none_left)
    assert kept_kernels(tmp_path / "kept", "GPU-a") == first
    assert kept_kernels(tmp_path / "elsewhere", "GPU-a") is None
    assert kept_kernels(tmp_path / "kept", "GPU-c") is None
