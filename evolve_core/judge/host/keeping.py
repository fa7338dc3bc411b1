"""Whether a compiled kernel has memory in which something can stay from one call to the next.

Buffers, scratch and workspaces of a call are made anew. What is left is a module's own memory (C++'s ``__device__`` and
static variables, PTX's ``.global`` ones, which inline assembly can declare in a Triton kernel, too) and the device's
heap. The first is as it was compiled once the module is loaded anew; the second lives as long as the process.
"""

from __future__ import annotations

from .elf import FAULTS, LOADED, sections, undefined

_STATELESS = (
    *(".text.", ".nv.shared.", ".nv.constant0.", ".nv.constant2."),
    *(".nv.merc.nv.shared.", ".nv.merc.nv.constant.pic", ".nv.merc.nv.constant.optimizer."),
)
"""Code; a block's shared memory; parameters; literals and addresses; the same of compute capability 10.0 and newer, as
NVIDIA's compilers name them. ``__constant__`` tables (.nv.constant3) are not among them: they lie in memory whose
address a kernel can ask for. Nor are the tables of library functions: whether a kernel writes there nobody knows."""
_ADDRESSES = ".nv.constant4"
_HARMLESS = frozenset({"vprintf", "__assertfail", "free"})
"""Functions of the device's runtime that hand out no memory."""
_RESERVED = ".nv."
UNREADABLE = "what nobody can read"


def keeps_memory(binary: bytes) -> bool:
    """Whether a module of it has memory of its own; a file that cannot be read may have any."""
    try:
        return any(
            one.flags & LOADED and one.name != _ADDRESSES and not one.name.startswith(_STATELESS)
            for one in sections(binary)
        )
    except FAULTS:
        return True


def device_calls(binary: bytes) -> frozenset[str]:
    """What it calls of the device's runtime that may hand out memory or launch kernels: ``malloc``, say."""
    try:
        return frozenset(name for name in undefined(binary) if not name.startswith(_RESERVED)) - _HARMLESS
    except FAULTS:
        return frozenset({UNREADABLE})
