"""The same code is known again, whatever file it came from. With Triton's own compiler, which needs no GPU."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evolve_core.judge.host.binaries import BinaryStore
from evolve_core.judge.host.codehash import code_hash

KERNEL = """\
import triton
import triton.language as tl


@triton.jit
def scaled(x_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets, mask=offsets < n)
    tl.store(x_ptr + offsets, tl.exp(x) * 2.0, mask=offsets < n)
"""
Compile = Callable[..., bytes]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compile]:
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget

    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # Triton 3.9 warns where nobody says.

    def compile_(source: str, **options: Any) -> bytes:
        file = tmp_path_factory.mktemp("kernel") / "kernels.py"
        file.write_text(source)
        spec = importlib.util.spec_from_file_location("kernels", file)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        signature = {"x_ptr": "*fp32", "n": "i32", "BLOCK": "constexpr"}
        asked = triton.compiler.ASTSource(module.scaled, signature, {(2,): 128})
        return bytes(triton.compile(asked, target=GPUTarget("cuda", 90, 32), options=options).asm["cubin"])

    yield compile_
    monkeypatch.undo()


def test_another_file_another_line_another_comment(compiled: Compile) -> None:
    first, second = compiled(KERNEL), compiled(KERNEL.replace("@triton.jit", "# faster\n\n\n@triton.jit"))
    assert first != second
    assert code_hash(first) == code_hash(second)


@pytest.mark.parametrize(
    ("change", "options"),
    [(("* 2.0", "* 3.0"), {}), (("tl.exp", "tl.exp2"), {}), (("", ""), {"num_warps": 8}), (("", ""), {"maxnreg": 24})],
    ids=["constant", "instruction", "warps", "registers"],
)
def test_other_code_is_other_code(compiled: Compile, change: tuple[str, str], options: dict[str, Any]) -> None:
    assert code_hash(compiled(KERNEL)) != code_hash(
        compiled(KERNEL.replace(*change) if change[0] else KERNEL, **options)
    )


@pytest.mark.parametrize("cut", [0, 3, 60, 200, -400])
def test_what_is_no_whole_elf_file_is_hashed_as_it_is(compiled: Compile, cut: int) -> None:
    part = compiled(KERNEL)[:cut]
    assert code_hash(part) == hashlib.sha256(part).hexdigest()


def _with_section(binary: bytes, name: bytes, **fields: int) -> bytes:
    """The first section whose name ends with ``name``, with some of its numbers changed."""
    start, size, count, naming = struct.unpack_from("<40xQ10xHHH", binary)
    places = {"flags": 8, "offset": 24, "length": 32}
    offset = struct.unpack_from("<Q", binary, start + naming * size + places["offset"])[0]
    changed = bytearray(binary)
    for number in range(count):
        header = start + number * size
        at = offset + struct.unpack_from("<I", binary, header)[0]
        if binary[at : binary.index(b"\0", at)].endswith(name):
            for field, value in fields.items():
                struct.pack_into("<Q", changed, header + places[field], value)
            return bytes(changed)
    raise ValueError(name)


def test_code_under_a_debug_sections_name_counts(compiled: Compile) -> None:
    binary = compiled(KERNEL)
    executed = _with_section(binary, b".debug_line", flags=0x6)
    other = bytearray(executed)
    at = binary.index(b"kernels.py")
    assert code_hash(_with_section(bytes(other), b".debug_line", flags=0)) == code_hash(binary)
    other[at : at + 1] = b"K"
    assert code_hash(bytes(other)) != code_hash(executed)


@pytest.mark.parametrize("fields", [{"offset": 2**64 - 1}, {"length": 2**64 - 1}, {"length": 1 << 20}])
def test_sections_that_cannot_be_are_no_elf_file(compiled: Compile, fields: dict[str, int]) -> None:
    odd = _with_section(compiled(KERNEL), b".text.scaled", **fields)
    assert code_hash(odd) == hashlib.sha256(odd).hexdigest()


def test_plans_of_the_same_code_are_alike(compiled: Compile, tmp_path: Path) -> None:
    store, made = BinaryStore(tmp_path / "kept"), tmp_path / "made"
    made.mkdir()
    codes = []
    for text, warps in ((KERNEL, 4), (f"{KERNEL}# the end\n", 4), (KERNEL, 8)):
        content = compiled(text, num_warps=warps)
        name = hashlib.sha256(content).hexdigest()
        (made / f"{name}.cubin").write_bytes(content)
        assert store.take(made, [name]) == {name}
        codes.append(store.code_of(json.dumps({"w0": {"binary": name, "grid": [7, 1, 1]}})))
    assert codes[0] == codes[1] != codes[2]
    assert store.code_of("no binary") == hashlib.sha256(b"no binary").hexdigest()
