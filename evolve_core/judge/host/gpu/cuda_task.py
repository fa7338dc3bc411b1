"""Run a CUDA task: compile the source, then make the launches that the task's ``launches`` generator describes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..planrules import MAX_GRID, MAX_THREADS
from .cuda_compiler import compile_cubin
from .driver import Driver
from .signature import SignatureError, as_argument, normalise, parameter_types

_TEXT_SECTION = re.compile(rb"\.text\.([A-Za-z_][\w$.]*)\0")
_BLOCK_LIMITS = (1024, 1024, 64)
"""Of a block's axes; from the same table as planrules.MAX_GRID."""


class LaunchPlanError(Exception):
    """What ``launches`` yielded cannot be launched."""


@dataclass(frozen=True)
class _Plan:
    kernel: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared_bytes: int
    arguments: list[Any]


def cuda_runner(
    source: str,
    name: str,
    launches: Callable[..., Any],
    signatures: Mapping[str, Sequence[str]] | None = None,
    include: Sequence[str] = (),
) -> Callable[..., Any]:
    """Compile ``source`` (shown as ``name``) for the current device; returns ``f(**inputs)`` that makes the launches
    and returns what the generator returns. ``signatures`` are the kernels' parameter texts where a parser knows them
    better than the text here.

    Raises ``CudaCompileError``, ``SignatureError``; the returned function ``LaunchPlanError`` and ``DriverError``.
    """
    torch.cuda.init()
    torch.empty(1, device="cuda")  # makes torch's primary context the current one
    major, minor = torch.cuda.get_device_capability()
    compiled = compile_cubin(source, name, f"{major}.{minor}", include)
    driver = Driver()
    launcher = _Launcher(driver, source, compiled.cubin, signatures or {})

    def run(**inputs: Any) -> Any:
        plans = launches(**inputs)
        while True:
            try:
                plan = next(plans)
            except StopIteration as done:
                return done.value
            launcher.launch(plan)

    return run


class _Launcher:
    """The loaded module, and each kernel's function and parameter types, looked up once."""

    def __init__(self, driver: Driver, source: str, cubin: bytes, signatures: Mapping[str, Sequence[str]]) -> None:
        self._driver, self._source, self._signatures = driver, source, signatures
        self._module = driver.load_module(cubin)
        self._symbols = [match.decode() for match in dict.fromkeys(_TEXT_SECTION.findall(cubin))]
        self._functions: dict[str, tuple[Any, list[str]]] = {}
        self._allowed_shared: dict[str, int] = {}

    def launch(self, raw: Any) -> None:
        plan = _checked(raw)
        function, types = self._function(plan.kernel)
        if len(types) != len(plan.arguments):
            raise LaunchPlanError(
                f"{plan.kernel} takes {len(types)} arguments, launches() passes {len(plan.arguments)}"
            )
        arguments = [
            as_argument(value, type_, plan.kernel, position)
            for position, (value, type_) in enumerate(zip(plan.arguments, types, strict=True))
        ]
        self._allow_shared(plan, function)
        stream = torch.cuda.current_stream().cuda_stream
        self._driver.launch(function, plan.grid, plan.block, plan.shared_bytes, stream, arguments)

    def _function(self, kernel: str) -> tuple[Any, list[str]]:
        if kernel not in self._functions:
            given = self._signatures.get(kernel)
            types = [normalise(text) for text in given] if given is not None else parameter_types(self._source, kernel)
            self._functions[kernel] = (self._driver.function(self._module, self._symbol(kernel)), types)
        return self._functions[kernel]

    def _symbol(self, kernel: str) -> str:
        """The binary's name for ``kernel``: itself under extern "C", else the C++ name that encodes its length and
        name.
        """
        if kernel in self._symbols:
            return kernel
        plain = kernel.rsplit("::", 1)[-1]
        encoded = f"{len(plain)}{plain}"
        matches = [symbol for symbol in self._symbols if symbol.startswith("_Z") and encoded in symbol]
        if len(matches) != 1:
            found = ", ".join(self._symbols) or "none"
            raise SignatureError(f"the compiled source holds no single kernel {kernel} (kernels found: {found})")
        return matches[0]

    def _allow_shared(self, plan: _Plan, function: Any) -> None:
        if plan.shared_bytes <= self._allowed_shared.get(plan.kernel, 0):
            return
        limit = self._driver.shared_limit_bytes()
        if plan.shared_bytes > limit:
            raise LaunchPlanError(
                f"{plan.kernel} asks for {plan.shared_bytes} bytes of shared memory, the device gives {limit} per block"
            )
        self._driver.allow_shared(function, plan.shared_bytes)
        self._allowed_shared[plan.kernel] = plan.shared_bytes


def _checked(raw: Any) -> _Plan:
    if not isinstance(raw, dict) or "kernel" not in raw or "grid" not in raw or "block" not in raw:
        raise LaunchPlanError("launches() must yield dicts with at least 'kernel', 'grid', 'block' and 'arguments'")
    kernel = str(raw["kernel"])
    grid, block = _three(raw["grid"], kernel, "grid"), _three(raw["block"], kernel, "block")
    for size, limit in zip((*grid, *block), (*MAX_GRID, *_BLOCK_LIMITS), strict=True):
        if not 1 <= size <= limit:
            raise LaunchPlanError(f"{kernel}: grid {grid} and block {block} must be between 1 and the device's limits")
    if block[0] * block[1] * block[2] > MAX_THREADS:
        raise LaunchPlanError(f"{kernel}: a block of {block} has more than {MAX_THREADS} threads")
    return _Plan(kernel, grid, block, int(raw.get("shared_bytes", 0)), list(raw.get("arguments", ())))


def _three(value: Any, kernel: str, what: str) -> tuple[int, ...]:
    sizes = (value,) if isinstance(value, int) else tuple(int(n) for n in value)
    if not 1 <= len(sizes) <= 3:
        raise LaunchPlanError(f"{kernel}: {what} {value!r} is not one to three numbers")
    return (*sizes, *(1,) * (3 - len(sizes)))
