"""Runs one launch of a kernel: the module's only door.

    memory = Memory()
    x = memory.add("x", numpy.zeros(1024, numpy.float32))
    report = run_launch(text, "kernel", (8, 1, 1), [BufferArgument(x), 1024], memory)

Stores change the buffers' own storage. Everything a kernel does wrong is in ``report.findings``; the launch goes on
after a finding (a read out of bounds gives 0, a write there does nothing), so that the first one is not the only one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from .errors import BadLaunch, Unsupported
from .findings import Finding, Findings, Kind
from .formats import Array, held_dtype, is_float, rounded
from .ir import Argument, Descriptor, Function, Module, Operation, Pointer, Scalar, Tensor, size_of
from .machine import Machine
from .memory import Buffer, Memory
from .parser import parse
from .plan import most_alive, operations_of
from .races import Order
from .state import Launch
from .values import Held, Value, View
from .watching import EndOfProgram, Watcher
from .work import Budget, Spending, Work
from .writes import written_arguments

TILE = 1 << 18
"""Elements of the largest tensor over all programs that run together: 1 MiB of float32, so that a few stay in a core's
caches."""
MOST_BYTES = 2 << 30
"""Memory for the values of the programs that run together, by the worst case of ``plan.most_alive``."""
_BYTES_AN_ELEMENT = 8
_WORKING_COPIES = 8
"""Arrays as large as the largest tensor that an access makes on its way: addresses, indices, masks, programs."""
_MOST_PROGRAMS = 1 << 30
"""What the shadows of buffers can number. CUDA's own limit is 2^31 − 1 on the x axis."""


@dataclass(frozen=True, slots=True)
class BufferArgument:
    """A pointer into a buffer. ``offset_bytes`` from its start."""

    buffer: Buffer
    offset_bytes: int = 0


@dataclass(frozen=True, slots=True)
class DescriptorArgument:
    """A tensor descriptor made by the host: where the tensor starts, its sizes, and its strides in elements.

    Triton's signature has the sizes and the strides once more as integers after it; they are arguments of their own.
    """

    pointer: BufferArgument
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str = "zero"


LaunchArgument = BufferArgument | DescriptorArgument | int | float | bool


@dataclass(frozen=True, slots=True)
class LaunchReport:
    """What a launch did. ``programs``: how many ran. ``written``: names of the buffers that an operation may write."""

    findings: tuple[Finding, ...]
    work: Work
    programs: int
    written: tuple[str, ...]

    @property
    def clean(self) -> bool:
        return not self.findings


def run_launch(
    module: Module | str,
    kernel: str,
    grid: Sequence[int],
    arguments: Sequence[LaunchArgument],
    memory: Memory,
    budget: Budget | None = None,
    *,
    programs: Sequence[int] | None = None,
    watcher: Watcher | None = None,
) -> LaunchReport:
    """Runs the programs of ``grid`` (one to three sizes) of the public function ``kernel``: all, or those whose numbers
    (x fastest) are in ``programs``, in that order.

    Where programs are left out nothing is said about races. ``watcher`` is told what each program does; they run one by
    one then.

    ``arguments``: one for each parameter that the *text* has, in order; what the compiler made constant is none.
    Integers wrap around to the parameter's width, floats are rounded to its format. Programs run in groups, in the
    order of the grid with x fastest; nothing a correct kernel does depends on it. Masked-off elements of a load without
    ``other`` are 0. ``tt.dot`` computes in float32, whatever input precision it names.

    Raises BadIr, Unsupported, BadLaunch and TooLong, with the buffers in whatever state they are in by then.
    """
    parsed = parse(module) if isinstance(module, str) else module
    function = _kernel(parsed, kernel)
    sizes = _grid(grid)
    if len(arguments) != len(function.arguments):
        raise BadLaunch(f"{kernel} takes {len(function.arguments)} arguments, {len(arguments)} were given")
    held = [_held(parameter, given) for parameter, given in zip(function.arguments, arguments, strict=True)]
    findings = Findings(sizes)
    _check_promises(function, arguments, findings)
    written = _written(parsed, function, arguments)
    count = sizes[0] * sizes[1] * sizes[2]
    ids = _ids(programs, count)
    spending = Spending(budget if budget is not None else Budget())
    sampled = programs is not None
    launch = Launch(parsed, memory, sizes, spending, findings, written, Order(count), sampled, watcher)
    machine = Machine(launch, parsed)
    with np.errstate(all="ignore"):
        if watcher is None:
            ran = _all_run(machine, function, held, _groups(parsed, ids))
        else:
            ran = _watched(machine, function, held, _groups(parsed, ids, most=1), watcher)
    names = tuple(one.name for one in memory.buffers if written is None or one.number in written)
    return LaunchReport(findings.all(), launch.work, ran, names)


def _ids(programs: Sequence[int] | None, count: int) -> Sequence[int]:
    if programs is None:
        return range(count)
    if any(not 0 <= one < count for one in programs):
        raise BadLaunch(f"a grid of {count} programs has none of the numbers beyond its own")
    return programs


def _all_run(machine: Machine, function: Function, held: list[Held], groups: Iterator[Array]) -> int:
    """How many programs ran."""
    ran = 0
    for ids in groups:
        machine.run(function, ids, held)
        ran += len(ids)
    return ran


def _watched(machine: Machine, function: Function, held: list[Held], groups: Iterator[Array], watcher: Watcher) -> int:
    ran = 0
    for ids in groups:
        if not watcher.begin_program(int(ids[0])):
            continue
        with suppress(EndOfProgram):
            machine.run(function, ids, held)
        watcher.end_program()
        ran += 1
    return ran


def _kernel(module: Module, name: str) -> Function:
    function = module.functions.get(name)
    if function is None or not function.public:
        public = ", ".join(one.name for one in module.functions.values() if one.public)
        raise BadLaunch(f"the TTIR has no kernel {name!r}; it has {public or 'none'}")
    if function.result_types:
        raise BadLaunch(f"{name} returns values, so it is no kernel")
    return function


def _grid(grid: Sequence[int]) -> tuple[int, int, int]:
    if not 1 <= len(grid) <= 3 or any(size < 1 for size in grid):
        raise BadLaunch(f"the grid {tuple(grid)} is none: one to three sizes of at least 1")
    x, y, z = (*grid, 1, 1)[:3]
    if x * y * z > _MOST_PROGRAMS:
        raise BadLaunch(f"the grid {tuple(grid)} has more than {_MOST_PROGRAMS} programs")
    return x, y, z


def _held(parameter: Argument, given: LaunchArgument) -> Held:
    kind = parameter.type
    if isinstance(given, DescriptorArgument):
        if not isinstance(kind, Descriptor) or not len(given.shape) == len(given.strides) == len(kind.block.shape):
            raise BadLaunch(f"{parameter.name} is {kind}, a descriptor of {len(given.shape)} dimensions was given")
        base = _pointer(Pointer(kind.block.element), given.pointer)
        shape, strides = (
            tuple(Value(Scalar(name), np.array([size], held_dtype(Scalar(name)))) for size in sizes)
            for name, sizes in (("i32", given.shape), ("i64", given.strides))
        )
        return View(kind, base, shape, strides, (), given.padding)
    if isinstance(given, BufferArgument):
        if not isinstance(kind, Pointer) or isinstance(kind.pointee, Tensor):
            raise BadLaunch(f"{parameter.name} is {kind}, a buffer was given")
        return _pointer(kind, given)
    if not isinstance(kind, Scalar):
        raise BadLaunch(f"{parameter.name} is {kind}, the number {given} was given")
    if is_float(kind):
        with np.errstate(all="ignore"):
            return Value(kind, rounded(kind, np.array([given], np.float64)))
    if not isinstance(given, int):
        raise BadLaunch(f"{parameter.name} is {kind}, the float {given} was given")
    return Value(kind, _wrapped(kind, given))


def _pointer(kind: Pointer, given: BufferArgument) -> Value:
    address = given.buffer.base + given.offset_bytes
    return Value(kind, np.array([address], np.int64), np.array([given.buffer.number], np.int64))


def _wrapped(kind: Scalar, number: int) -> Array:
    whole = np.array([number & ((1 << 64) - 1)], np.uint64).view(np.int64)
    return (whole & 1).astype(np.bool_) if kind.name == "i1" else whole.astype(held_dtype(kind))


def _check_promises(function: Function, arguments: Sequence[LaunchArgument], findings: Findings) -> None:
    """The compiled kernel relies on ``tt.divisibility``; an argument that breaks it is a finding."""
    for parameter, given in zip(function.arguments, arguments, strict=True):
        number: int | float | None = None
        if isinstance(given, BufferArgument):
            number = given.buffer.base + given.offset_bytes
        elif isinstance(given, int):
            number = given
        if number is not None and parameter.divisibility > 1 and number % parameter.divisibility:
            buffer = given.buffer.name if isinstance(given, BufferArgument) else None
            what = f"byte {given.offset_bytes} of {buffer}" if isinstance(given, BufferArgument) else str(number)
            name = parameter.name.removeprefix("%")
            message = f"{name} was compiled as a multiple of {parameter.divisibility}, and is {what}"
            nowhere = Operation(f"argument {name}", (), (), (), (), -1 - function.arguments.index(parameter))
            findings.add(Kind.MISALIGNED, nowhere, message, 0, buffer=buffer)


def _written(module: Module, function: Function, arguments: Sequence[LaunchArgument]) -> frozenset[int] | None:
    places = written_arguments(module, function)
    if places is None:
        return None
    given = [arguments[place] for place in places]
    pointers = [one.pointer if isinstance(one, DescriptorArgument) else one for one in given]
    return frozenset(one.buffer.number for one in pointers if isinstance(one, BufferArgument))


def _groups(module: Module, ids: Sequence[int], most: int = TILE) -> Iterator[Array]:
    """Programs that run together, at most ``most``. One by one where a loop waits on an atomic operation: a lock is
    free by then.
    """
    operations = [one for function in module.functions.values() for one in operations_of(function.body)]
    largest = max((size_of(kind) for one in operations for kind in one.result_types), default=1)
    alive = sum(most_alive(function.body) for function in module.functions.values())
    bytes_each = _BYTES_AN_ELEMENT * (alive + _WORKING_COPIES * largest)
    if bytes_each > MOST_BYTES:
        raise Unsupported("the kernel", f"holds {bytes_each >> 30} GiB at once, more than is interpreted")
    loops = [inner.name for one in operations if one.name == "scf.while" for inner in operations_of(one.regions[0])]
    if any(name.startswith("tt.atomic_") for name in loops):
        together = 1
    else:
        together = max(1, min(TILE // largest, MOST_BYTES // bytes_each, most))
    for start in range(0, len(ids), together):
        some = ids[start : start + together]
        yield np.arange(some.start, some.stop) if isinstance(some, range) else np.array(some, np.int64)
