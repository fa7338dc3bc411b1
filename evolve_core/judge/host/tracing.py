"""Follow an entry on tensors without contents, and write down what it does to the device as a launch plan.

What a plan can hold is what host code around kernels usually does: allocate, fill, copy, look at memory through another
shape, launch. Anything else that computes ends the plan with a reason, and the entry's own Python has to run.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .buffers import dtype_name, flatten_outputs, plain_value
from .plan import (
    ALIGNMENT,
    MAX_STEPS,
    SCALARS,
    Argument,
    Copy,
    Fill,
    Given,
    KernelLaunch,
    LaunchPlan,
    Memory,
    Output,
    Step,
    View,
)

_SPACING = 1 << 40
"""Between the pretended addresses of two storages: no tensor is larger, and every base is as aligned as a real one."""
_UNINITIALISED = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
_CONSTANT = {"zeros": 0, "zeros_like": 0, "new_zeros": 0, "ones": 1, "ones_like": 1, "new_ones": 1}
_FULL = {"full": 1, "full_like": 1, "new_full": 2}
"""Operators that fill with an argument, and which one that is."""
_COPIES = {"clone", "_to_copy"}
_WARP = 32


class Untraceable(Exception):
    """The entry does something on the device that no plan can hold."""


class Addresses:
    """Pretended device addresses of tensors that have no memory: one range for each storage."""

    def __init__(self) -> None:
        # Kept alive, because the numbers of dead storages are given to new ones.
        self._storages: list[Any] = []
        self._index: dict[int, int] = {}

    def install(self) -> None:
        """Let such tensors say them in this process: Triton specialises on the alignment, host code may ask for it."""

        def data_ptr(tensor: torch.Tensor) -> int:
            return self.of(tensor)

        FakeTensor.data_ptr = data_ptr

    def index(self, tensor: torch.Tensor) -> int:
        """The number of the tensor's storage, from 1 on in the order of first sight."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._index:
            self._storages.append(storage)
            self._index[key] = len(self._storages)
        return self._index[key]

    def of(self, tensor: torch.Tensor) -> int:
        return self.index(tensor) * _SPACING + tensor.storage_offset() * tensor.element_size()


def split_address(address: int) -> tuple[int, int]:
    """(number of the storage, bytes from its start) of an address that ``Addresses`` gave."""
    return address // _SPACING, address % _SPACING


class PlanTrace(TorchDispatchMode):
    """Open it around one call of an entry, inside FakeTensorMode. ``why_not`` says why there is no plan."""

    def __init__(self, inputs: dict[str, Any], addresses: Addresses) -> None:
        super().__init__()
        self._addresses = addresses
        self._inputs = inputs
        self._memories: list[Memory] = []
        self._of_storage: dict[int, int] = {}
        self._origin: list[int] = []
        """Of each memory: bytes from its storage's start that offsets count from."""
        self._steps: list[Step] = []
        self.why_not = ""
        for name, value in inputs.items():
            if isinstance(value, torch.Tensor):
                self._add(value, name)

    # -- what the host code does -----------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(
            isinstance(one, FakeTensor) and one.device.type == "cuda" for one in tree_leaves((args, kwargs, result))
        ):
            self._followed(func, args, kwargs or {}, result)
        return result

    def copied(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """``target`` received the values of ``source``."""
        self._try(lambda: self._append(Copy(self._view(source), self._view(self._owned(target)))))

    def cannot_follow(self, what: str) -> None:
        """There will be no plan. The first reason is kept."""
        self.why_not = self.why_not or what

    def launched(self, function: Any, compiled: Any, grid: tuple[int, ...], values: dict[str, Any]) -> None:
        """A Triton kernel: ``values`` are its parameters by name, ``compiled`` what the compiler made of it."""
        self._try(lambda: self._append(self._launch(function, compiled, grid, values)))

    def plan(self, result: Any) -> LaunchPlan | None:
        """What was traced, now that the entry has returned ``result``."""
        found: list[LaunchPlan] = []
        self._try(lambda: found.append(self._finished(result)))
        return found[0] if found and not self.why_not else None

    # -- how it is written down --------------------------------------------------------------------------------------

    def _followed(self, func: Any, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        name = func.overloadpacket.__name__
        if func.namespace == "prim":
            return
        if name in _UNINITIALISED:
            self._owned(result)
        elif name in _CONSTANT:
            self._fill(result, _CONSTANT[name])
        elif name in _FULL:
            self._fill(result, args[_FULL[name]] if len(args) > _FULL[name] else kwargs.get("fill_value"))
        elif name == "zero_":
            self._fill(args[0], 0)
        elif name == "fill_" and not isinstance(args[1], torch.Tensor):
            self._fill(args[0], args[1])
        elif name in _COPIES:
            self.copied(args[0], result)
        elif name == "copy_":
            self.copied(args[1], args[0])
        elif not self._is_view(func, args, result):
            self.cannot_follow(f"its host code computes with {func.namespace}.{name}")

    def _is_view(self, func: Any, args: Any, result: Any) -> bool:
        if func._schema.is_mutable:
            return False
        own = {self._addresses.index(one) for one in tree_leaves(args) if isinstance(one, torch.Tensor)}
        made = [one for one in tree_leaves(result) if isinstance(one, torch.Tensor)]
        return all(self._addresses.index(one) in own for one in made)

    def _fill(self, tensor: torch.Tensor, value: Any) -> None:
        if not isinstance(value, (bool, int, float)):
            self.cannot_follow("its host code fills a tensor with something that is no plain number")
            return
        self._try(lambda: self._append(Fill(self._view(self._owned(tensor)), value)))

    def _append(self, step: Step) -> None:
        if len(self._steps) >= MAX_STEPS:
            raise Untraceable(f"it takes more than {MAX_STEPS} steps on the device")
        self._steps.append(step)

    def _try(self, record: Any) -> None:
        try:
            record()
        except Untraceable as stopped:
            self.cannot_follow(str(stopped))

    def _add(self, tensor: torch.Tensor, given: str = "") -> None:
        item = tensor.element_size()
        count = -(-tensor.untyped_storage().nbytes() // item)
        self._of_storage.setdefault(self._addresses.index(tensor), len(self._memories))
        self._origin.append(tensor.storage_offset() * item if given else 0)
        self._memories.append(Memory(given, dtype_name(tensor.dtype), 0 if given else count))

    def _owned(self, tensor: torch.Tensor) -> torch.Tensor:
        """``tensor``, whose memory the plan has from now on, if it had not."""
        if self._addresses.index(tensor) not in self._of_storage:
            self._add(tensor)
        return tensor

    def _place(self, address: int) -> tuple[int, int]:
        storage, offset = split_address(address)
        memory = self._of_storage.get(storage)
        if memory is None:
            raise Untraceable("it uses a tensor that this call did not make")
        return memory, offset - self._origin[memory]

    def _view(self, tensor: Any) -> View:
        if type(tensor) not in (FakeTensor, torch.nn.Parameter):
            raise Untraceable(f"it uses a {type(tensor).__name__} where a tensor is expected")
        memory, offset = self._place(self._addresses.of(tensor))
        return View(memory, offset, dtype_name(tensor.dtype), tuple(tensor.shape), tuple(tensor.stride()))

    def _launch(self, function: Any, compiled: Any, grid: tuple[int, ...], values: dict[str, Any]) -> KernelLaunch:
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
            threads=_WARP * int(metadata.num_warps),
            shared_bytes=int(metadata.shared),
            arguments=tuple(
                self._argument(function, name, str(kind), values[name])
                for name, kind in compiled.src.signature.items()
                if kind != "constexpr"
            ),
            scratch_bytes=int(getattr(metadata, "global_scratch_size", 0) or 0),
            scratch_align=int(getattr(metadata, "global_scratch_align", 1) or 1),
        )

    def _argument(self, function: Any, name: str, kind: str, value: Any) -> Argument:
        if kind.startswith("*"):
            address = value if isinstance(value, int) else value.data_ptr()
            memory, offset = self._place(address)
            return Argument(memory=memory, offset=offset)
        if kind not in SCALARS or not isinstance(value, (bool, int, float)):
            raise Untraceable(f"{function.__name__} takes {name} as {kind}, which is made on the host")
        return Argument(scalar=kind, value=value)

    def _given(self, name: str, value: Any) -> Given:
        if isinstance(value, torch.Tensor):
            shift = self._addresses.of(value) % ALIGNMENT
            return Given(name, dtype_name(value.dtype), tuple(value.shape), tuple(value.stride()), shift)
        if any(isinstance(one, torch.Tensor) for one in tree_leaves(value)):
            raise Untraceable(f"its input {name} holds tensors in a container")
        return Given(name, value=plain_value(value))

    def _output(self, name: str, value: Any) -> Output:
        return Output(name, None if value is None else self._view(value))

    def _finished(self, result: Any) -> LaunchPlan:
        named = None if result is None else flatten_outputs(result, self._inputs)
        return LaunchPlan(
            givens=tuple(self._given(name, value) for name, value in self._inputs.items()),
            memories=tuple(self._memories),
            steps=tuple(self._steps),
            outputs=None if named is None else tuple(self._output(name, value) for name, value in named),
        )


def digest(compiled: Any) -> str:
    """SHA-256 of the binary that a kernel was compiled to."""
    return hashlib.sha256(bytes(compiled.asm["cubin"])).hexdigest()
