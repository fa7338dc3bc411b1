"""The parameter list of a ``__global__`` function, out of the source's text, as the types its arguments are passed
with.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any

import torch

from ..plan import Argument

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_QUALIFIERS = re.compile(r"\b(const|volatile|restrict|__restrict__|__restrict|__grid_constant__|struct|typename)\b")
_SCALARS = {
    "bool": "u1",
    "char": "i8", "signed char": "i8", "int8_t": "i8",
    "unsigned char": "u8", "uint8_t": "u8",
    "short": "i16", "short int": "i16", "int16_t": "i16",
    "unsigned short": "u16", "uint16_t": "u16",
    "int": "i32", "signed": "i32", "signed int": "i32", "int32_t": "i32",
    "unsigned": "u32", "unsigned int": "u32", "uint": "u32", "uint32_t": "u32",
    "long": "i64", "long int": "i64", "long long": "i64", "long long int": "i64",
    "int64_t": "i64", "ptrdiff_t": "i64",
    "unsigned long": "u64", "unsigned long long": "u64", "uint64_t": "u64", "size_t": "u64",
    "half": "fp16", "__half": "fp16", "nv_bfloat16": "bf16", "__nv_bfloat16": "bf16",
    "float": "fp32", "double": "fp64",
}  # fmt: skip
"""C++'s names of a parameter's type, and those of plan.SCALARS."""
_FLOATS = ("fp16", "bf16", "fp32", "fp64")
POINTER = "pointer"
_NULL = Argument(scalar="u64", value=0)


class SignatureError(Exception):
    """A kernel's parameters cannot be read, or an argument does not fit one."""


def parameter_types(source: str, kernel: str) -> list[str]:
    """The normalised types of ``kernel``'s parameters ("pointer", "int", "float" …) in order. Raises
    ``SignatureError``.
    """
    text = _COMMENT.sub(" ", source)
    # Attributes such as __launch_bounds__(256) may stand between the return type and the name.
    match = re.search(rf"__global__\b[^;{{}}]*?\b{re.escape(kernel)}\s*\(", text)
    if match is None:
        raise SignatureError(f"the source defines no __global__ function {kernel}")
    return [normalise(part) for part in _split(_until_closed(text, match.end()))]


def normalise(parameter: str) -> str:
    """ "const float* __restrict__ x" → "pointer", "unsigned int n" → "unsigned int". Raises ``SignatureError``."""
    if "*" in parameter or "[" in parameter:
        return POINTER
    plain = " ".join(_QUALIFIERS.sub(" ", parameter.split("=")[0]).replace("std::", "").split())
    for spelled in (plain, plain.rpartition(" ")[0]):
        if spelled in _SCALARS:
            return spelled
    raise SignatureError(
        f"cannot pass the parameter '{parameter.strip()}': "
        "only pointers, integers, floats, half, bfloat16 and bool are understood"
    )


def argument(value: Any, type_: str, where: str, pointer: Callable[[torch.Tensor], Argument]) -> Argument:
    """``value`` as a parameter of type ``type_`` takes it; ``pointer`` finds the buffer of a tensor. Raises
    ``SignatureError``, with ``where`` it was to be passed.
    """
    if type_ == POINTER:
        return _NULL if value is None else pointer(_on_device(value, where))
    if not isinstance(value, (bool, int, float)):
        raise SignatureError(f"{where} is a {type(value).__name__}, the kernel takes {type_}")
    scalar = _SCALARS[type_]
    if scalar in _FLOATS:
        return Argument(scalar=scalar, value=_float(float(value), scalar, where))
    if isinstance(value, float) and not value.is_integer():
        raise SignatureError(f"{where} is {value}, the kernel takes {type_}")
    bits = int(scalar[1:])
    lowest, highest = (-(1 << bits - 1), (1 << bits - 1) - 1) if scalar[0] == "i" else (0, (1 << bits) - 1)
    if not lowest <= value <= highest:
        raise SignatureError(f"{where} is {value}, which does not fit {type_}")
    return Argument(scalar=scalar, value=int(value))


def _float(value: float, scalar: str, where: str) -> float:
    try:
        if scalar == "fp16":
            struct.pack("<e", value)
        if scalar != "bf16" or not math.isfinite(value):
            return value
        (bits,) = struct.unpack("<I", struct.pack("<f", value))
    except OverflowError:
        raise SignatureError(f"{where} is {value}, which does not fit {scalar}") from None
    # Rounded to nearest, ties to even, as C++ does; whoever passes it on cuts the lower half off.
    (rounded,) = struct.unpack("<f", struct.pack("<I", (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000))
    return float(rounded)


def _on_device(value: Any, where: str) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise SignatureError(f"{where} is a {type(value).__name__}, the kernel takes a pointer: pass a tensor")
    if not value.is_cuda:
        raise SignatureError(f"{where} is a tensor on {value.device}; make it on the device of the inputs")
    return value


def _until_closed(text: str, start: int) -> str:
    depth = 1
    for index in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return text[start:index]
    raise SignatureError("a parameter list without an end")


def _split(parameters: str) -> list[str]:
    parts, depth, current = [], 0, ""
    for character in parameters:
        depth += {"<": 1, "(": 1, ">": -1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += character
    parts.append(current)
    stripped = [part.strip() for part in parts]
    return [] if stripped in ([""], ["void"]) else stripped
