"""What a zygote imports before its first fork, and what it says about the interpreter it runs in."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import platform
import tempfile
import warnings
from typing import Any

from .kinds import Kind
from .packages import broken, not_installed

_MODULES = {
    Kind.PLAIN: ("loading", "oracle", "teeth", "compiling", "lowering", "interpreting"),
    Kind.INTERPRETING: (
        "loading",
        "buffers",
        "running",
        "interpret.bounds",
        "interpret.profile",
        "interpret.libdevice",
    ),
    Kind.GPU: ("loading", "oracle", "gpu.step"),
}
"""What the children of each kind run; imported once, here."""


def warm_up(target: str, kind: Kind) -> dict[str, Any]:
    """Import torch, triton and the steps. Returns versions and what is missing, with the way out."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    ready: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": None,
        "triton": None,
        "numpy": None,
        "missing": [],
    }
    for name in ("torch", "triton", "numpy"):
        version, message = _import(name)
        ready[name] = version
        if message:
            ready["missing"].append({"what": name, "message": message})
    if not ready["missing"]:
        _preload(target, kind)
    return ready


def _import(name: str) -> tuple[str | None, str]:
    """The version of a package, or what to say where it does not import."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return None, not_installed(name)
        return None, broken(name, error)
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        return None, broken(name, error)
    return str(getattr(module, "__version__", "unknown")), ""


def _preload(target: str, kind: Kind) -> None:
    import torch

    from .stub_driver import install_stub_driver

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in _MODULES[kind]:
            importlib.import_module(f".{name}", __package__)
        if kind is not Kind.GPU:
            install_stub_driver(target)
        if kind is Kind.PLAIN:
            _enter_fake_mode_once()
            _compile_once(target)
    gc.collect()
    gc.freeze()


def _enter_fake_mode_once() -> None:
    import torch
    from torch._subclasses import fake_tensor
    from torch._subclasses.fake_tensor import FakeTensorMode

    # It makes a real tensor on the device "to initialise it": here, and in every child, nothing may.
    fake_tensor.init_gpu_context = lambda device: None
    # Entering it once imports torch._dynamo, over a second that every child would pay again.
    with FakeTensorMode(allow_non_fake_inputs=True):
        torch.empty(1)


def _compile_once(target: str) -> None:
    """Initialise the compiler and load its backend: 0.45 s (hints: measured on Triton 3.9) that every child would pay.

    A compiler that does not work here says so when it is asked to compile something of the user's.
    """
    import triton
    from triton.compiler import ASTSource

    from .stub_driver import gpu_target
    from .warm_kernel import warm_kernel

    signature = {"x": "*fp32", "n": "i32", "BLOCK": "constexpr"}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRITON_CACHE_DIR"] = cache
        with contextlib.suppress(RuntimeError, TypeError, ValueError, OSError):
            source = ASTSource(warm_kernel, signature, {(2,): 64})
            triton.compile(source, target=gpu_target(target))
