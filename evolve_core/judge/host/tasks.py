"""The user's task module: execute it, list its workloads, draw one of them, and shrink one for the interpreter.

A workload is known by its recipe, which any process can draw again: ``{"origin": "listed", "index": i, "sizes": {…}}``
or ``{"origin": "domain", "domain_seed": s}``. ``sizes`` replaces integer parameters of the workload's function
(defaults and closure variables), which is how a listed workload becomes a small one.
"""

from __future__ import annotations

import functools
import random
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .errors import Place, StepError
from .loading import load_source, located_error
from .precision import POLICIES, STRICT

Workload = Callable[..., Any]
MAX_LISTED = 64


@dataclass(frozen=True)
class TaskModule:
    file: Path
    copy: Path
    module: types.ModuleType

    def call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Call a function of the task; what it raises becomes a task-error with the task's own line."""
        return self.guarded(f"{function}()", getattr(self.module, function), *args, **kwargs)

    def guarded(self, what: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except StepError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything; it is a value here
            raise located_error(error, "task-error", self.copy, self.file, f"{what} raised") from None

    def where(self, name: str) -> Place:
        """The definition of one of the task's functions."""
        return self.place_of(getattr(self.module, name, None))

    def place_of(self, function: object) -> Place:
        """Where a function of the task begins; for what lies elsewhere, the task's file."""
        while isinstance(function, functools.partial):
            function = function.func
        code = getattr(function, "__code__", None)
        if isinstance(code, types.CodeType) and code.co_filename == str(self.copy):
            return Place(self.file, code.co_firstlineno)
        return Place(self.file)

    def place_of_yield(self, generator: object) -> Place:
        """The `yield` of workloads() at which a generator stands; else its definition."""
        frame = getattr(generator, "gi_frame", None)
        if isinstance(frame, types.FrameType) and frame.f_code.co_filename == str(self.copy):
            return Place(self.file, frame.f_lineno)
        return self.where("workloads")

    @property
    def has_reference(self) -> bool:
        return callable(getattr(self.module, "reference", None))

    @property
    def precision(self) -> str:
        """The policy that the task names (precision.py). Raises StepError for one that there is not."""
        named = getattr(self.module, "precision", STRICT)
        if not isinstance(named, str) or named not in POLICIES:
            raise StepError(
                "task-error",
                f"{self.file.name}: precision = {named!r} is no policy; there are {', '.join(POLICIES)}",
                str(self.file),
            )
        return named

    @property
    def has_library(self) -> bool:
        return callable(getattr(self.module, "library", None))

    @property
    def has_domain(self) -> bool:
        return callable(getattr(self.module, "domain", None))


def load_task(text: str, file: Path, folder: Path) -> TaskModule:
    module = load_source(text, file, folder, "task-error")
    if not callable(getattr(module, "workloads", None)):
        raise StepError("no-workloads", f"{file.name} defines no workloads(): add a generator of workloads", str(file))
    return TaskModule(file=file, copy=folder / file.name, module=module)


def listed(task: TaskModule) -> Iterator[tuple[int, Workload]]:
    """The workloads in order. The caller must draw each before asking for the next: closures may bind late."""
    generator = task.guarded("workloads()", iter, task.call("workloads"))
    for index in range(MAX_LISTED):
        missing = object()
        workload = task.guarded("workloads()", next, generator, missing)
        if workload is missing:
            return
        if not callable(workload):
            raise task.place_of_yield(generator).error(
                f"workloads() must yield functions of (gen, device); number {index + 1} is a {type(workload).__name__}"
            )
        yield index, workload


def draw(task: TaskModule, recipe: dict[str, Any], seed: int, device: str) -> dict[str, Any]:
    """The inputs of a recipe, freshly drawn."""
    return draw_from(task, find(task, recipe), seed, device)


def find(task: TaskModule, recipe: dict[str, Any]) -> Workload:
    if recipe["origin"] == "domain":
        workload: Workload = task.call("domain", random.Random(recipe["domain_seed"]))
        return workload
    for index, workload in listed(task):
        if index == recipe["index"]:
            return with_sizes(workload, recipe.get("sizes") or {})
    raise task.where("workloads").error("workloads() gave fewer workloads than before; it must not change")


def draw_from(task: TaskModule, workload: Workload, seed: int, device: str) -> dict[str, Any]:
    generator = torch.Generator(device=device).manual_seed(seed)
    inputs = task.guarded("a workload", workload, generator, device)
    if not isinstance(inputs, dict) or not all(isinstance(name, str) for name in inputs):
        raise task.place_of(workload).error(
            f"a workload must return a dict of the entry's arguments, not a {type(inputs).__name__}"
        )
    return inputs


def sizes_of(workload: Workload) -> dict[str, int]:
    """The integer parameters that a workload's function carries, by name; ``name[i]`` for an item of a tuple."""
    found: dict[str, int] = {}
    for name, value in _carried(workload).items():
        if type(value) is int:
            found[name] = value
        elif isinstance(value, tuple):
            found.update({f"{name}[{i}]": item for i, item in enumerate(value) if type(item) is int})
    return found


def _carried(workload: Workload) -> dict[str, Any]:
    if isinstance(workload, functools.partial):
        return {**_carried(workload.func), **workload.keywords}
    if not isinstance(workload, types.FunctionType):
        return {}
    carried = dict(_defaults(workload))
    carried.update(workload.__kwdefaults__ or {})
    for name, cell in zip(workload.__code__.co_freevars, workload.__closure__ or (), strict=True):
        if cell is not None and _filled(cell):
            carried[name] = cell.cell_contents
    return carried


def _defaults(function: types.FunctionType) -> dict[str, Any]:
    values = function.__defaults__ or ()
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return dict(zip(names[len(names) - len(values) :], values, strict=True))


def _filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def with_sizes(workload: Workload, sizes: dict[str, int]) -> Workload:
    """The same function with some of its integer parameters replaced."""
    if not sizes:
        return workload
    if isinstance(workload, functools.partial):
        keywords = {name: _replaced(name, value, sizes) for name, value in workload.keywords.items()}
        return functools.partial(with_sizes(workload.func, sizes), *workload.args, **keywords)
    if not isinstance(workload, types.FunctionType):
        return workload
    cells = tuple(
        types.CellType(_replaced(name, cell.cell_contents, sizes)) if _filled(cell) else cell
        for name, cell in zip(workload.__code__.co_freevars, workload.__closure__ or (), strict=True)
    )
    defaults = tuple(_replaced(name, value, sizes) for name, value in _defaults(workload).items())
    copy = types.FunctionType(
        workload.__code__, workload.__globals__, workload.__name__, defaults or None, cells or None
    )
    copy.__kwdefaults__ = {
        name: _replaced(name, value, sizes) for name, value in (workload.__kwdefaults__ or {}).items()
    }
    return copy


def _replaced(name: str, value: Any, sizes: dict[str, int]) -> Any:
    if name in sizes:
        return sizes[name]
    if isinstance(value, tuple):
        return tuple(sizes.get(f"{name}[{i}]", item) for i, item in enumerate(value))
    return value


def smaller(size: int) -> int:
    """About half of ``size`` with the same remainder modulo 16, never under 16.

    What divides by 16 still does and what is odd stays odd, so that vector widths and masks are exercised alike.
    """
    remainder = size % 16
    return max(16, size // 32 * 16) + remainder if size >= 32 else size


def shrink_steps(sizes: dict[str, int]) -> Iterator[dict[str, int]]:
    """Ever smaller versions of ``sizes``: each step halves the largest one that can still shrink."""
    current = dict(sizes)
    while True:
        able = [name for name, size in current.items() if smaller(size) < size]
        if not able:
            return
        largest = max(able, key=lambda name: current[name])
        current[largest] = smaller(current[largest])
        yield dict(current)
