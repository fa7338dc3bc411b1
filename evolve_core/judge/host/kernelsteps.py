"""A launch of a Triton kernel, as its own launcher would make it, in the words of a launch plan."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch

from .history import Untraceable
from .plan import SCALARS, Argument, KernelLaunch

_WARP = 32


def kernel_launch(
    function: Any,
    compiled: Any,
    grid: tuple[int, ...],
    values: dict[str, Any],
    pointer: Callable[[Any], Argument],
) -> KernelLaunch:
    """``values`` are the kernel's parameters by name, ``compiled`` what the compiler made of it; ``pointer`` finds the
    buffer of a tensor or an address. Raises Untraceable for a launch that no plan can hold.
    """
    metadata = compiled.metadata
    if "cubin" not in compiled.asm:
        raise Untraceable("its kernels are not compiled for an NVIDIA GPU")
    if getattr(metadata, "num_ctas", 1) != 1 or getattr(metadata, "launch_cooperative_grid", False):
        raise Untraceable(f"{function.__name__} is launched in clusters or cooperatively")
    if getattr(metadata, "profile_scratch_size", 0):
        raise Untraceable(f"{function.__name__} is compiled for profiling")
    x, y, z = (*grid, 1, 1)[:3]
    return KernelLaunch(
        binary=digest(compiled),
        function=str(metadata.name),
        grid=(x, y, z),
        block=(_WARP * int(metadata.num_warps), 1, 1),
        shared_bytes=int(metadata.shared),
        arguments=tuple(
            _argument(function, name, str(kind), values[name], pointer)
            for name, kind in compiled.src.signature.items()
            if kind != "constexpr"
        ),
        scratch_bytes=int(getattr(metadata, "global_scratch_size", 0) or 0),
        scratch_align=int(getattr(metadata, "global_scratch_align", 1) or 1),
    )


def _argument(function: Any, name: str, kind: str, value: Any, pointer: Callable[[Any], Argument]) -> Argument:
    if kind.startswith("*"):
        while not isinstance(value, (int, torch.Tensor)) and hasattr(value, "base"):
            value = value.base  # triton.reinterpret's wrapper
        return pointer(value if isinstance(value, (int, torch.Tensor)) else value.data_ptr())
    if kind not in SCALARS or not isinstance(value, (bool, int, float)):
        raise Untraceable(f"{function.__name__} takes {name} as {kind}, which is made on the host")
    return Argument(scalar=kind, value=value)


def digest(compiled: Any) -> str:
    """SHA-256 of the binary that a kernel was compiled to."""
    return hashlib.sha256(bytes(compiled.asm["cubin"])).hexdigest()
