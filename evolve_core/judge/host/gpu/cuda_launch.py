"""What a CUDA task's ``launches`` yields, as launches of a plan."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import torch

from ..plan import Argument, KernelLaunch
from ..planrules import MAX_BLOCK, MAX_GRID, MAX_THREADS
from .signature import SignatureError, argument, parameter_types

_TEXT_SECTION = re.compile(rb"\.text\.([A-Za-z_][\w$.]*)\0")


class LaunchPlanError(Exception):
    """What ``launches`` yielded cannot be launched."""


@dataclass(frozen=True, slots=True)
class CudaFile:
    """A compiled CUDA file: its text, the SHA-256 of its binary, and the names of the kernels in that."""

    source: str
    binary: str
    symbols: tuple[str, ...]

    @classmethod
    def of(cls, source: str, cubin: bytes) -> CudaFile:
        symbols = tuple(match.decode() for match in dict.fromkeys(_TEXT_SECTION.findall(cubin)))
        return cls(source, hashlib.sha256(cubin).hexdigest(), symbols)

    def symbol(self, kernel: str) -> str:
        """The binary's name for ``kernel``: itself under extern "C", else the C++ name that encodes its length and
        name. Raises ``SignatureError``.
        """
        if kernel in self.symbols:
            return kernel
        plain = kernel.rsplit("::", 1)[-1]
        encoded = f"{len(plain)}{plain}"
        matches = [symbol for symbol in self.symbols if symbol.startswith("_Z") and encoded in symbol]
        if len(matches) != 1:
            found = ", ".join(self.symbols) or "none"
            raise SignatureError(f"the compiled source holds no single kernel {kernel} (kernels found: {found})")
        return matches[0]


def driven(launches: Generator[Any, None, Any], launch: Callable[[Any], None]) -> Any:
    """Hand each launch to ``launch`` before the generator goes on; returns what the generator returns."""
    while True:
        try:
            yielded = next(launches)
        except StopIteration as done:
            return done.value
        launch(yielded)


def kernel_launch(file: CudaFile, yielded: Any, pointer: Callable[[torch.Tensor], Argument]) -> KernelLaunch:
    """``pointer`` finds the buffer of a tensor.

    Raises ``LaunchPlanError`` for what no device takes, ``SignatureError`` for what ``file`` does not take.
    """
    if not isinstance(yielded, dict) or not {"kernel", "grid", "block"} <= yielded.keys():
        raise LaunchPlanError("launches() must yield dicts with at least 'kernel', 'grid', 'block' and 'arguments'")
    kernel, given = str(yielded["kernel"]), list(yielded.get("arguments", ()))
    grid, block = _three(yielded["grid"], kernel, "grid"), _three(yielded["block"], kernel, "block")
    for size, limit in zip((*grid, *block), (*MAX_GRID, *MAX_BLOCK), strict=True):
        if not 1 <= size <= limit:
            raise LaunchPlanError(f"{kernel}: grid {grid} and block {block} must be between 1 and the device's limits")
    if block[0] * block[1] * block[2] > MAX_THREADS:
        raise LaunchPlanError(f"{kernel}: a block of {block} has more than {MAX_THREADS} threads")
    symbol, types = file.symbol(kernel), parameter_types(file.source, kernel)
    if len(types) != len(given):
        raise SignatureError(f"{kernel} takes {len(types)} arguments, launches() passes {len(given)}")
    arguments = [
        argument(value, type_, f"argument {number} of {kernel}", pointer)
        for number, (value, type_) in enumerate(zip(given, types, strict=True), 1)
    ]
    return KernelLaunch(file.binary, symbol, grid, block, int(yielded.get("shared_bytes", 0)), tuple(arguments))


def _three(value: Any, kernel: str, what: str) -> tuple[int, int, int]:
    sizes = (value,) if isinstance(value, int) else tuple(int(n) for n in value)
    if not 1 <= len(sizes) <= 3:
        raise LaunchPlanError(f"{kernel}: {what} {value!r} is not one to three numbers")
    x, y, z = (*sizes, 1, 1)[:3]
    return x, y, z
