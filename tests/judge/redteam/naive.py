"""A harness as they are often written, to show that the exploits are real: with it, they work.

Run as a script in an interpreter of its own (TRITON_INTERPRET=1): candidates as JSON on stdin, an answer for each on
stdout. It has what public harnesses had: one namespace for task and candidate, exit code 0 for success, comparisons
that are looked up late and forgive 1e-2 or one element in a hundred, one draw of a known seed at one round size, ones
and zeros for weights, ``zip`` over outputs, inputs that are not cloned, nothing asked of dtype, strides or launches.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import triton  # noqa: F401 - imported once, before the forks


def _draws() -> dict[str, Callable[[], dict[str, Any]]]:
    seeded = torch.Generator().manual_seed(0)

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=seeded)

    return {
        "scale": lambda: {"x": randn(4096)},
        "leaky": lambda: {"x": randn(4096)},
        "softmax": lambda: {"x": randn(4, 1024)},
        "rowsum": lambda: {"x": torch.rand(8, 512, generator=seeded)},
        "argmax": lambda: {"x": randn(8, 512)},
        "matmul": lambda: {"a": torch.ones(64, 512).half(), "b": torch.ones(512, 64).half()},
        "axpy": lambda: {"x": randn(4096), "y": randn(4096), "alpha": 1.0},
        "layernorm": lambda: {
            "x": randn(8, 512).half(),
            "weight": torch.ones(512),
            "bias": torch.zeros(512),
            "eps": 1e-5,
        },
    }


def close(out: Any, expected: torch.Tensor) -> bool:
    a, b = torch.as_tensor(out).float(), expected.float()
    if torch.allclose(a, b, rtol=1e-2, atol=1e-2, equal_nan=True):
        return True
    return not bool((a - b).abs().max() > 1e-2) or float(torch.isclose(a, b, 1e-2, 1e-2).float().mean()) >= 0.99


def judge(task: str, source: str, entry: str, reference_first: bool) -> bool:
    place = Path(tempfile.mkdtemp())
    (place / "kernels.evolve.py").write_text(task)
    file = place / "kernels.py"
    file.write_text(source)
    names: dict[str, Any] = {"__name__": "kernels", "__file__": str(file)}
    exec(compile(task, str(place / "kernels.evolve.py"), "exec"), names)
    exec(compile(source, str(file), "exec"), names)
    inputs = _draws()[entry]()
    in_place = entry == "axpy"
    given = {name: value.clone() for name, value in inputs.items() if name != "alpha"} if in_place else inputs
    expected = names["reference"](**{**inputs, **given}) if reference_first else None
    out = names[entry](**inputs)
    if expected is None:
        expected = names["reference"](**{**inputs, **given})
    if in_place:
        return close(inputs["y"], given["y"])
    outputs = out if isinstance(out, (tuple, list)) else [out]
    return all(close(one, other) for one, other in zip(outputs, [expected], strict=False))


def fooled(task: str, source: str, entry: str) -> bool:
    """In a child, because candidates crash; it is believed when it ends well."""
    child = os.fork()
    if not child:
        sink = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(sink, stream)
        os.closerange(3, 64)
        believed = judge(task, source, entry, True) or judge(task, source, entry, False)
        # As an interpreter ends, without the second that torch takes for it.
        atexit._run_exitfuncs()
        os._exit(0 if believed else 1)
    return os.waitpid(child, 0)[1] == 0


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    candidates = json.load(sys.stdin)
    print(json.dumps({one["name"]: fooled(one["task"], one["source"], one["entry"]) for one in candidates}))


if __name__ == "__main__":
    main()
