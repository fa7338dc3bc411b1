"""Sees every load, store and atomic before the interpreter executes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import compat
from .memory import origin_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


@dataclass(frozen=True)
class Access:
    """One block-wide access. ``addresses``: uint64, of the active lanes only; ``mask`` has the block's shape."""

    kind: str
    """``load``, ``store`` or ``atomic``."""
    pointers: Any
    mask: Any
    addresses: Any
    item_bytes: int
    origin: frozenset[str]


def _access(kind: str, pointers: Any, mask: Any) -> Access:
    data = pointers.data
    lanes = (
        np.ones(data.shape, dtype=bool)
        if mask is None
        else np.broadcast_to(np.asarray(mask.data, dtype=bool), data.shape)
    )
    element = pointers.get_element_ty()
    item_bytes = max(1, element.primitive_bitwidth // 8)
    active = data.reshape(-1) if mask is None or lanes.all() else data[lanes]
    return Access(kind, data, lanes, active, item_bytes, origin_of(pointers))


def watched(decide: Callable[[Access], Any]) -> AbstractContextManager[None]:
    """Calls ``decide`` before each access. It returns None to let the access happen, or the mask to execute it with."""

    def replaced(handle: Any, mask: Any) -> Any:
        """The mask operand after a decision: the original one, or a handle of our own."""
        return mask if handle is None else compat.TensorHandle(handle, _int1())

    load, store = compat.operation("create_masked_load"), compat.operation("create_masked_store")
    rmw, cas = compat.operation("create_atomic_rmw"), compat.operation("create_atomic_cas")

    def masked_load(pointers: Any, mask: Any, other: Any, *options: Any, **named: Any) -> Any:
        verdict = decide(_access("load", pointers, mask))
        return load(pointers, replaced(verdict, mask), other, *options, **named)

    def masked_store(pointers: Any, value: Any, mask: Any, *options: Any, **named: Any) -> Any:
        verdict = decide(_access("store", pointers, mask))
        return store(pointers, value, replaced(verdict, mask), *options, **named)

    def atomic_rmw(op: Any, pointers: Any, value: Any, mask: Any, *options: Any, **named: Any) -> Any:
        verdict = decide(_access("atomic", pointers, mask))
        return rmw(op, pointers, value, replaced(verdict, mask), *options, **named)

    def atomic_cas(pointers: Any, *operands: Any, **named: Any) -> Any:
        # A compare-and-swap has no mask: where it may not happen, what was compared with comes back.
        if decide(_access("atomic", pointers, None)) is not None:
            return operands[0]
        return cas(pointers, *operands, **named)

    return compat.replaced_operations(
        {
            "create_masked_load": masked_load,
            "create_masked_store": masked_store,
            "create_atomic_rmw": atomic_rmw,
            "create_atomic_cas": atomic_cas,
        }
    )


def _int1() -> Any:
    import triton.language as tl

    return tl.int1
