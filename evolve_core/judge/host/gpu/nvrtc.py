"""The script that calls NVRTC, run by ``cuda_compiler.py`` in an interpreter of its own.

Apart, because a forked process cannot rely on a library that its parent had loaded and threads had used: with a CUDA
build of torch, which links NVRTC, compiling in a fork of the process that imported it ended in a segmentation fault
(torch 2.11 with CUDA 13.0). It also keeps what a hostile source does to the compiler away from everybody else.

stdin: ``{"libraries": [path…], "source", "name", "options": […]}``. stdout, last line: ``{"loaded", "status", "log",
"ptx", "cubin"}``, the cubin in base64; ``loaded`` false where none of the libraries could be.
"""

from __future__ import annotations

import base64
import ctypes
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def _load(paths: Sequence[str]) -> Any:
    for candidate in paths:
        try:
            library = ctypes.CDLL(candidate)
        except OSError:
            continue
        _load_builtins(Path(candidate).parent)
        return library
    return None


def _load_builtins(folder: Path) -> None:
    """NVRTC opens its built-in headers by bare name, and in a wheel nothing leads the loader to them: by then they must
    be loaded already.
    """
    for path in sorted(folder.glob("libnvrtc-builtins.so.*")):
        try:
            ctypes.CDLL(str(path))
        except OSError:
            continue


def _compile(library: Any, request: dict[str, Any]) -> dict[str, Any]:
    program = ctypes.c_void_p()
    source, name = request["source"].encode(), request["name"].encode()
    library.nvrtcCreateProgram(ctypes.byref(program), source, name, 0, None, None)
    options = [option.encode() for option in request["options"]]
    status = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    log = _text(_fetch(library, program, "ProgramLog"))
    if status != 0:
        return {"loaded": True, "status": status, "log": log, "ptx": "", "cubin": ""}
    cubin = base64.b64encode(_fetch(library, program, "CUBIN")).decode()
    return {"loaded": True, "status": 0, "log": log, "ptx": _text(_fetch(library, program, "PTX")), "cubin": cubin}


def _fetch(library: Any, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    if getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)) != 0 or size.value == 0:
        return b""
    buffer = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{what}")(program, buffer)
    return buffer.raw


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="replace")


def main() -> None:
    request = json.load(sys.stdin)
    library = _load(request["libraries"])
    answer = {"loaded": False} if library is None else _compile(library, request)
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
