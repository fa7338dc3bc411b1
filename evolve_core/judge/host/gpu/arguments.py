"""A plan's arguments as the bytes that a kernel reads."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Any

from ..plan import Argument

POINTER_BYTES = 8
AddressOf = Callable[[int], int]
"""Of a plan's buffer, by its number, where it lies on the device."""
_INTEGERS: dict[str, type[Any]] = {
    "i1": ctypes.c_int8,
    "i8": ctypes.c_int8,
    "i16": ctypes.c_int16,
    "i32": ctypes.c_int32,
    "i64": ctypes.c_int64,
    "u1": ctypes.c_uint8,
    "u8": ctypes.c_uint8,
    "u16": ctypes.c_uint16,
    "u32": ctypes.c_uint32,
    "u64": ctypes.c_uint64,
}


def as_ctypes(argument: Argument, address_of: AddressOf) -> Any:
    """What the kernel is given. Raises OverflowError for a number that its type does not hold."""
    if argument.memory is not None:
        return ctypes.c_uint64(address_of(argument.memory) + argument.offset)
    return scalar(argument)


def scalar(argument: Argument) -> Any:
    """Of one that is no pointer."""
    if argument.scalar in _INTEGERS:
        return _INTEGERS[argument.scalar](int(argument.value))
    if argument.scalar == "fp64":
        return ctypes.c_double(argument.value)
    if argument.scalar == "fp32":
        return ctypes.c_float(argument.value)
    if argument.scalar == "fp16":
        return ctypes.c_uint16(struct.unpack("<H", struct.pack("<e", argument.value))[0])
    # bfloat16: the upper half of the bits of a float, as Triton's launcher takes it.
    return ctypes.c_uint16(struct.unpack("<I", struct.pack("<f", argument.value))[0] >> 16)


def parameter_bytes(argument: Argument) -> int:
    if argument.memory is not None:
        return POINTER_BYTES
    return ctypes.sizeof(scalar(argument))
