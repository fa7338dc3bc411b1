"""What a compiler made of a kernel, read out of its own text and binary (``KernelFacts`` of the protocol)."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections import Counter
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import triton

_USAGE = re.compile(r"REG:(\d+).*?STACK:(\d+).*?SHARED:(\d+).*?LOCAL:(\d+)")
_LABEL = re.compile(r"^\s*([$%\w.]+):")
_PTX_OPCODE = re.compile(r"^\s*(?:@!?%\w+\s+)?([a-z][\w]*)((?:[.:]+\w+)*)(?=[\s;{])")
_BRANCH = re.compile(r"\bbra(?:\.uni)?\s+([$%\w.]+)")
_WIDTH = re.compile(r"\.(?:(v[248])\.)?[bsuf](\d+)")


def kernel_facts(compiled: Any, name: str, target: str, constexprs: dict[str, Any]) -> dict[str, Any]:
    """Facts of one ``CompiledKernel``. Nothing here loads it."""
    asm, metadata = compiled.asm, compiled.metadata
    facts: dict[str, Any] = {
        "name": name,
        "target": target,
        "shared_bytes": int(metadata.shared),
        "num_warps": int(metadata.num_warps),
        "num_stages": int(getattr(metadata, "num_stages", 0) or 0),
        "signature": {key: str(value) for key, value in compiled.src.signature.items()},
        "constexprs": constexprs,
    }
    if "ptx" in asm:
        return {**facts, **ptx_facts(asm["ptx"]), **_cubin_facts(bytes(asm["cubin"]), asm["ptx"])}
    binary = next((bytes(asm[key]) for key in ("hsaco",) if key in asm), b"")
    return {**facts, **_amd_facts(asm["amdgcn"]), "binary_sha256": hashlib.sha256(binary).hexdigest()}


def ptx_instructions(text: str) -> dict[str, int]:
    """Opcode classes, each instruction once; those inside a loop again under ``loop.NAME``.

    A loop is what lies between a label and a later branch back to it.
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith((".", "//"))]
    labels, loops = {}, []
    for number, line in enumerate(lines):
        if match := _LABEL.match(line):
            labels[match[1]] = number
        elif (branch := _BRANCH.search(line)) and branch[1] in labels:
            loops.append((labels[branch[1]], number))
    counts: Counter[str] = Counter()
    for number, line in enumerate(lines):
        opcode = _PTX_OPCODE.match(line)
        if not opcode:
            continue
        counts[opcode[1]] += 1
        if any(first <= number <= last for first, last in loops):
            counts[f"loop.{opcode[1]}"] += 1
    return dict(counts)


def ptx_facts(text: str) -> dict[str, Any]:
    asynchronous = "cp.async" in text
    loads = _widths(text, "ld.global")
    if asynchronous and (sizes := re.findall(r"cp\.async\.c[ag]\.shared\.global\s[^;]*?,\s*(?:0x)?(\w+)\s*[,;]", text)):
        loads |= {8 * int(size, 16) for size in sizes}
    return {
        "instructions": ptx_instructions(text),
        "load_bits": sorted(loads),
        "store_bits": sorted(_widths(text, "st.global")),
        "tensor_core": "wgmma" if "wgmma.mma_async" in text else _tensor_core(text),
        "async_copy": asynchronous,
    }


def _tensor_core(text: str) -> str | None:
    if "tcgen05.mma" in text:
        return "tcgen05"
    return "mma" if re.search(r"\bmma\.sync", text) else None


def _widths(text: str, opcode: str) -> set[int]:
    widths = set()
    for match in re.finditer(re.escape(opcode) + r"([.\w:]*)", text):
        if width := _WIDTH.search(match[1]):
            widths.add(int((width[1] or "v1")[1:]) * int(width[2]))
    return widths


def _cubin_facts(cubin: bytes, ptx: str) -> dict[str, Any]:
    registers, stack = resource_usage(cubin)
    declared = sum(int(size) for size in re.findall(r"\.local\s[^;\[]*\[(\d+)\]", ptx))
    return {
        "registers": registers,
        "stack_bytes": stack,
        # The frame holds what the PTX declared as local arrays and what ptxas spilled; the rest is spills.
        "spill_bytes": max(0, stack - declared),
        "binary_sha256": hashlib.sha256(cubin).hexdigest(),
    }


def cuobjdump() -> Path | None:
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    return tool if tool.is_file() else None


def resource_usage(cubin: bytes) -> tuple[int, int]:
    """(registers a thread, stack bytes) of a cubin, from the ``cuobjdump`` in the Triton wheel; (0, 0) without it."""
    tool = cuobjdump()
    if tool is None:
        return 0, 0
    with NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        shown = subprocess.run(
            [str(tool), "-res-usage", file.name], capture_output=True, text=True, timeout=30, check=False
        ).stdout
    match = _USAGE.search(shown.replace("\n", " "))
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _amd_facts(text: str) -> dict[str, Any]:
    """From the metadata that the AMD backend writes at the end of its assembly text."""

    def number(key: str) -> int:
        match = re.search(rf"\.{key}:\s*(\d+)", text)
        return int(match[1]) if match else 0

    opcodes = re.findall(r"^\s+((?:v|s|global|buffer|ds|flat)_[a-z0-9_]+)", text, re.MULTILINE)
    return {
        "registers": number("vgpr_count"),
        "spill_bytes": 4 * number("vgpr_spill_count"),
        "stack_bytes": number("private_segment_fixed_size"),
        "instructions": dict(Counter(opcodes)),
        "load_bits": sorted(_amd_widths(text, "load")),
        "store_bits": sorted(_amd_widths(text, "store")),
        "tensor_core": "mfma" if "v_mfma" in text else ("wmma" if "v_wmma" in text else None),
        "async_copy": "buffer_load" in text and " lds" in text,
    }


def _amd_widths(text: str, access: str) -> set[int]:
    bits = {"ubyte": 8, "sbyte": 8, "byte": 8, "ushort": 16, "short": 16, "b8": 8, "u8": 8, "b16": 16, "u16": 16}
    bits |= {"dword": 32, "dwordx2": 64, "dwordx3": 96, "dwordx4": 128, "b32": 32, "b64": 64, "b96": 96, "b128": 128}
    found = re.findall(rf"\b(?:global|buffer|flat)_{access}_(\w+?)(?:_d16\w*)?\s", text)
    return {bits[word] for word in found if word in bits}
