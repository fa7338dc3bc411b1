"""The parameter list of a ``__global__`` function, out of the source's text, as the types its arguments are passed
with.
"""

from __future__ import annotations

import ctypes
import re
import struct
from typing import Any

import torch

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_QUALIFIERS = re.compile(r"\b(const|volatile|restrict|__restrict__|__restrict|__grid_constant__|struct|typename)\b")
_SCALARS: dict[str, Any] = {
    "bool": ctypes.c_bool,
    "char": ctypes.c_int8, "signed char": ctypes.c_int8, "int8_t": ctypes.c_int8,
    "unsigned char": ctypes.c_uint8, "uint8_t": ctypes.c_uint8,
    "short": ctypes.c_int16, "short int": ctypes.c_int16, "int16_t": ctypes.c_int16,
    "unsigned short": ctypes.c_uint16, "uint16_t": ctypes.c_uint16,
    "int": ctypes.c_int32, "signed": ctypes.c_int32, "signed int": ctypes.c_int32, "int32_t": ctypes.c_int32,
    "unsigned": ctypes.c_uint32, "unsigned int": ctypes.c_uint32, "uint": ctypes.c_uint32, "uint32_t": ctypes.c_uint32,
    "long": ctypes.c_int64, "long int": ctypes.c_int64, "long long": ctypes.c_int64, "long long int": ctypes.c_int64,
    "int64_t": ctypes.c_int64, "ptrdiff_t": ctypes.c_int64,
    "unsigned long": ctypes.c_uint64, "unsigned long long": ctypes.c_uint64, "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_uint64,
    "float": ctypes.c_float, "double": ctypes.c_double,
}  # fmt: skip
_HALVES = frozenset({"half", "__half"})
_BFLOATS = frozenset({"nv_bfloat16", "__nv_bfloat16"})
POINTER = "pointer"


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
        if spelled in _SCALARS or spelled in _HALVES or spelled in _BFLOATS:
            return spelled
    raise SignatureError(
        f"cannot pass the parameter '{parameter.strip()}': "
        "only pointers, integers, floats, half, bfloat16 and bool are understood"
    )


def as_argument(value: Any, type_: str, kernel: str, position: int) -> Any:
    """``value`` as the ctypes value that a parameter of type ``type_`` takes. Raises ``SignatureError``."""
    where = f"argument {position + 1} of {kernel}"
    if type_ == POINTER:
        return _pointer(value, where)
    if not isinstance(value, (bool, int, float)):
        raise SignatureError(f"{where} is a {type(value).__name__}, the kernel takes {type_}")
    if type_ in _HALVES:
        return ctypes.c_uint16(int.from_bytes(struct.pack("<e", float(value)), "little"))
    if type_ in _BFLOATS:
        bits = torch.tensor(float(value), dtype=torch.bfloat16).view(torch.int16).item()
        return ctypes.c_uint16(int(bits) & 0xFFFF)
    kind = _SCALARS[type_]
    if kind in (ctypes.c_float, ctypes.c_double):
        return kind(float(value))
    if isinstance(value, float) and not value.is_integer():
        raise SignatureError(f"{where} is {value}, the kernel takes {type_}")
    converted = kind(int(value))
    if int(converted.value) != int(value):
        raise SignatureError(f"{where} is {value}, which does not fit {type_}")
    return converted


def _pointer(value: Any, where: str) -> Any:
    if value is None:
        return ctypes.c_uint64(0)
    if not isinstance(value, torch.Tensor):
        raise SignatureError(f"{where} is a {type(value).__name__}, the kernel takes a pointer: pass a tensor")
    if not value.is_cuda:
        raise SignatureError(f"{where} is a tensor on {value.device}; make it on the device of the inputs")
    return ctypes.c_uint64(value.data_ptr())


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
