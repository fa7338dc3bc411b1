"""Everything here that depends on the version of Triton's interpreter, in one place. Read against 3.6, 3.7 and 3.9.

Four seams are used, all of them the interpreter's own objects, all of them restored on exit:

* ``GridExecutor.__call__`` runs a launch. Ours hands it a callable grid, so that the interpreter still converts the
  arguments and patches the language itself, but walks the programs that the observer chose.
* the one ``interpreter_builder`` executes operations; methods wrapped on the instance see every one of them.
* ``_implicit_cvt`` makes tensors of a launch's integers and leaves its floats as Python's, which a kernel cannot call
  ``.to`` on and which take another part in type promotion. On a GPU they are fp32 scalars; here, too.
* ``Autotuner.run`` would time configurations. There is nothing to time here: the first configuration that survives
  pruning is run, and compile-only analysis makes the same choice.
"""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import inspect
from typing import TYPE_CHECKING, Any, Protocol

import numpy
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.autotuner import Autotuner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Program = tuple[int, int, int]

builder = interpreter.interpreter_builder
TensorHandle = interpreter.TensorHandle
InterpreterError = interpreter.InterpreterError
ReduceOps = interpreter.ReduceOps
ScanOps = interpreter.ScanOps
numpy_dtype = interpreter._get_np_dtype


@dataclasses.dataclass(frozen=True)
class Launch:
    """One launch as the host code made it. ``arguments`` are the tensors' own objects, by parameter name."""

    kernel: str
    arguments: dict[str, Any]


class Observer(Protocol):
    """Told about every launch; chooses the programs that run."""

    def begin_launch(self, launch: Launch) -> None: ...

    def choose_programs(self, grid: Program) -> Sequence[Program]: ...

    def run_program(self, program: Program, run: Callable[[], None], pointers: dict[str, Any]) -> None:
        """Calls ``run`` to execute the program. ``pointers``: handle of each tensor argument, by name."""

    def enter_loop(self, steps: int) -> Any:
        """A ``for`` loop over a range, not an unrolled one, is about to run so many steps. Returns its token."""

    def next_step(self, loop: Any, index: int) -> bool:
        """Called before each step; False ends the loop early."""
        ...

    def leave_loop(self, loop: Any, executed: int) -> None: ...

    def end_launch(self) -> None: ...


class _KernelUnderObservation:
    """Stands in for the kernel's Python function inside the interpreter, which looks at all of these attributes."""

    def __init__(self, fn: Any, run: Callable[[dict[str, Any]], None]) -> None:
        self.__signature__ = inspect.signature(fn)
        self.__globals__ = fn.__globals__
        self.__name__ = fn.__name__
        self._run = run

    def __call__(self, **arguments: Any) -> None:
        self._run(arguments)


def _tensor_arguments(executor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    named = dict(zip(executor.arg_names, args, strict=False))
    named.update({name: value for name, value in kwargs.items() if name in executor.arg_names})
    found: dict[str, Any] = {}

    def collect(name: str, value: Any) -> None:
        if isinstance(value, (tuple, list)):
            for index, item in enumerate(value):
                collect(f"{name}[{index}]", item)
        elif hasattr(value, "data_ptr"):
            # triton.reinterpret wraps a tensor; what matters is the storage below it.
            found[name] = value.base if hasattr(value, "base") and not hasattr(value, "untyped_storage") else value
        elif hasattr(value, "base") and hasattr(value.base, "data_ptr"):  # a tensor descriptor made on the host
            found[name] = value.base

    for name, value in named.items():
        collect(name, value)
    return found


def _pointer_handles(arguments: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def collect(name: str, value: Any) -> None:
        if isinstance(value, tuple):
            for index, item in enumerate(value):
                collect(f"{name}[{index}]", item)
            return
        handle = getattr(value, "handle", None)
        handle = getattr(handle, "base", handle)
        if isinstance(handle, TensorHandle) and isinstance(handle.dtype, tl.pointer_type):
            found[name] = handle

    for name, value in arguments.items():
        collect(name, value)
    return found


def _as_grid(grid: Any) -> Program:
    sizes = [int(size) for size in (grid if isinstance(grid, (tuple, list)) else (grid,))]
    if not 1 <= len(sizes) <= 3:
        raise ValueError(f"a grid has 1 to 3 dimensions, this one has {len(sizes)}")
    x, y, z, *_ = [*sizes, 1, 1]
    return x, y, z


def _as_index(tensor: Any) -> int:
    return int(tensor.handle.data.item())


def _counting_range(observer: Observer) -> Callable[..., Iterator[Any]]:
    def counted(*bounds: Any, **options: Any) -> Iterator[Any]:
        # Triton's own `range` takes (start, end, step) by name, and options such as num_stages that change no value.
        for name in ("arg1", "arg2", "step"):
            if name in options:
                bounds = (*bounds, options[name])
        values = builtins.range(*(int(bound) for bound in bounds if bound is not None))
        loop = observer.enter_loop(len(values))
        executed = 0
        try:
            for value in values:
                if not observer.next_step(loop, executed):
                    return
                executed += 1
                yield value
        finally:
            observer.leave_loop(loop, executed)

    return counted


@contextlib.contextmanager
def indexable_tensors() -> Iterator[None]:
    """A tensor of one element is an index, as in ``range(0, tl.cdiv(K, BLOCK_K))``.

    Triton 3.6 converts the array inside to an integer in a way that NumPy 2.4 refuses.
    """
    patch = interpreter._patch_lang_tensor

    def tensor(cls: Any, *scope: Any) -> None:
        patch(cls, *scope)
        cls.__index__ = _as_index

    interpreter._patch_lang_tensor = tensor
    try:
        yield
    finally:
        interpreter._patch_lang_tensor = patch


@contextlib.contextmanager
def _adjusted_language(observer: Observer) -> Iterator[None]:
    """Has its last word whenever the interpreter patches the language, which it does at each launch and each call."""
    patch_core, convert = interpreter._patch_lang_core, interpreter._implicit_cvt
    counted = _counting_range(observer)

    def core(language: Any, *scope: Any) -> None:
        patch_core(language, *scope)
        language.range = counted

    def argument(value: Any) -> Any:
        if not isinstance(value, float):
            return convert(value)
        return tl.tensor(TensorHandle(numpy.array([value], dtype=numpy.float32), tl.float32), tl.float32)

    interpreter._patch_lang_core, interpreter._implicit_cvt = core, argument
    try:
        with indexable_tensors():
            yield
    finally:
        interpreter._patch_lang_core, interpreter._implicit_cvt = patch_core, convert


@contextlib.contextmanager
def _counted_builtin_range(observer: Observer, fn: Any) -> Iterator[None]:
    """A module-level name shadows the built-in one for every jitted function of the candidate's module."""
    if "range" in fn.__globals__:
        yield
        return
    fn.__globals__["range"] = _counting_range(observer)
    try:
        yield
    finally:
        fn.__globals__.pop("range", None)


def _observed_call(observer: Observer, original: Callable[..., Any]) -> Callable[..., Any]:
    def call(executor: Any, *args: Any, **kwargs: Any) -> Any:
        fn, grid = executor.fn, executor.grid
        observer.begin_launch(Launch(fn.__name__, _tensor_arguments(executor, args, kwargs)))
        chosen: list[Program] = []
        real_grid: list[Program] = []
        set_grid_dim, set_grid_idx = type(builder).set_grid_dim, type(builder).set_grid_idx

        def pretend_grid(arguments: dict[str, Any]) -> tuple[int, ...]:
            real_grid.append(_as_grid(grid(arguments) if callable(grid) else grid))
            chosen.extend(observer.choose_programs(real_grid[0]))
            return (len(chosen),)

        def run(arguments: dict[str, Any]) -> None:
            program = builder.grid_idx
            with _counted_builtin_range(observer, fn):
                observer.run_program(program, lambda: fn(**arguments), _pointer_handles(arguments))

        executor.fn, executor.grid = _KernelUnderObservation(fn, run), pretend_grid
        builder.set_grid_dim = lambda *_: set_grid_dim(builder, *real_grid[0])
        builder.set_grid_idx = lambda index, *_: set_grid_idx(builder, *chosen[index])
        try:
            return original(executor, *args, **kwargs)
        finally:
            executor.fn, executor.grid = fn, grid
            del builder.set_grid_dim, builder.set_grid_idx
            observer.end_launch()

    return call


def _first_configuration(original: Callable[..., Any]) -> Callable[..., Any]:
    def run(tuner: Any, *args: Any, **kwargs: Any) -> Any:
        every = tuner.configs
        tuner.nargs = dict(zip(tuner.arg_names, args, strict=False))
        tuner.configs = list(tuner.prune_configs(kwargs))[:1] or every[:1]
        try:
            return original(tuner, *args, **kwargs)
        finally:
            tuner.configs = every

    return run


@contextlib.contextmanager
def observed(observer: Observer, *, asserts: bool) -> Iterator[None]:
    """While this is open every launch goes through ``observer``. ``asserts``: tl.device_assert is live.

    Overflow of integer arithmetic is never asserted: hashes and random generators overflow on purpose, and the
    checks triple the integer work of the interpreter.
    """
    options, call, tune = builder.options, interpreter.GridExecutor.__call__, Autotuner.run
    builder.options = dataclasses.replace(options, debug=asserts, sanitize_overflow=False)
    interpreter.GridExecutor.__call__ = _observed_call(observer, call)
    Autotuner.run = _first_configuration(tune)
    try:
        with _adjusted_language(observer):
            yield
    finally:
        builder.options = options
        interpreter.GridExecutor.__call__ = call
        Autotuner.run = tune


@contextlib.contextmanager
def replaced_operations(replacements: dict[str, Callable[..., Any]]) -> Iterator[None]:
    """Replaces methods of the builder by name; a name that this version of Triton lacks is left out."""
    present = {name: call for name, call in replacements.items() if hasattr(type(builder), name)}
    before = {name: builder.__dict__[name] for name in present if name in builder.__dict__}
    builder.__dict__.update(present)
    try:
        yield
    finally:
        for name in present:
            del builder.__dict__[name]
        builder.__dict__.update(before)


def operation(name: str) -> Callable[..., Any]:
    """The builder's method of that name as it is now, with whatever already wraps it."""
    return getattr(builder, name)


def has_operation(name: str) -> bool:
    return hasattr(type(builder), name)


def block_pointer_classes() -> list[Any]:
    """Handles that make lane pointers out of a base: descriptors everywhere, block pointers up to Triton 3.7."""
    names = ("TensorDescHandle", "BlockPointerHandle")
    return [getattr(interpreter, name) for name in names if hasattr(interpreter, name)]
