"""Where libraries in a child write: what takes a while to build into one folder, everything else into another."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_TEMPORARY = ("TMPDIR", "TORCHINDUCTOR_CACHE_DIR", "PYTORCH_KERNEL_CACHE_PATH", "CUDA_CACHE_PATH")


def settle_in(temporary: Path, built: Path) -> None:
    """Both folders are made. ``built`` holds Triton's cache, and the extensions of ``torch.utils.cpp_extension``."""
    extensions = built / "extensions"
    for folder in (temporary, extensions):
        folder.mkdir(parents=True, exist_ok=True)
    for name in _TEMPORARY:
        os.environ[name] = str(temporary)
    os.environ["TRITON_CACHE_DIR"] = str(built)
    os.environ["TORCH_EXTENSIONS_DIR"] = str(extensions)
    tempfile.tempdir = str(temporary)
