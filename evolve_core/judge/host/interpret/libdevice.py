"""CUDA's libdevice in the interpreter, where Triton has only stubs that return nothing.

Kernels import these functions by name (``from triton.language.extra.libdevice import rsqrt``), so they are put in place
before the user's module is loaded. What the language itself has goes through the language, and is counted like it; the
rest is torch's function of the same meaning. Names and meanings: NVIDIA's libdevice user's guide.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy
import torch
import triton.language as tl

from .compat import TensorHandle

_MODULES = (
    "triton.language.extra.libdevice",
    "triton.language.extra.cuda.libdevice",
    "triton.language.extra.hip.libdevice",
)
_LANGUAGE = {
    "exp": "exp", "exp2": "exp2", "log": "log", "log2": "log2", "sqrt": "sqrt", "rsqrt": "rsqrt", "sin": "sin",
    "cos": "cos", "erf": "erf", "floor": "floor", "ceil": "ceil", "abs": "abs", "fma": "fma", "fast_expf": "exp",
    "fast_logf": "log", "fast_log2f": "log2", "fast_sinf": "sin", "fast_cosf": "cos",
}  # fmt: skip
_ONE = {
    name: getattr(torch, name)
    for name in (
        "tanh", "sinh", "cosh", "asinh", "acosh", "atanh", "tan", "asin", "acos", "atan", "expm1", "log10", "log1p",
        "erfc", "erfinv", "trunc", "lgamma",
    )
}  # fmt: skip
_ONE |= {
    "rint": torch.round,
    "nearbyint": torch.round,
    "round": lambda x: torch.sign(x) * torch.floor(torch.abs(x) + 0.5),
    "exp10": lambda x: torch.pow(10.0, x),
    "fast_exp10f": lambda x: torch.pow(10.0, x),
    "fast_log10f": torch.log10,
    "fast_tanhf": torch.tanh,
    "fast_tanf": torch.tan,
    "sinpi": lambda x: torch.sin(torch.pi * x),
    "cospi": lambda x: torch.cos(torch.pi * x),
    "cbrt": lambda x: torch.sign(x) * torch.abs(x).pow(1 / 3),
    "rcbrt": lambda x: torch.sign(x) * torch.abs(x).pow(-1 / 3),
    "erfcx": torch.special.erfcx,
    "normcdf": torch.special.ndtr,
    "normcdfinv": torch.special.ndtri,
    "tgamma": lambda x: torch.exp(torch.lgamma(x)),
    "saturatef": lambda x: torch.clamp(x, 0.0, 1.0),
    "rcp_rn": torch.reciprocal,
}
_TWO = {
    "pow": torch.pow,
    "fast_powf": torch.pow,
    "atan2": torch.atan2,
    "fmod": torch.fmod,
    "hypot": torch.hypot,
    "copysign": torch.copysign,
    "nextafter": torch.nextafter,
    "fdim": lambda x, y: torch.clamp(x - y, min=0.0),
    "max": torch.fmax,
    "min": torch.fmin,
    "add_rn": torch.add,
    "sub_rn": torch.sub,
    "mul_rn": torch.mul,
    "div_rn": torch.div,
    "fast_dividef": torch.div,
}
_TESTS = {"isnan": torch.isnan, "isinf": torch.isinf, "finitef": torch.isfinite, "isfinited": torch.isfinite}


def install() -> None:
    """Put working functions in place of the stubs, in this process, for good."""
    for path in _MODULES:
        try:
            module = importlib.import_module(path)
        except ImportError:
            continue  # a version of Triton without it
        for name, known in _LANGUAGE.items():
            setattr(module, name, _through_language(known))
        for name, compute in (_ONE | _TWO).items():
            setattr(module, name, _elementwise(name, compute))
        for name, compute in _TESTS.items():
            setattr(module, name, _elementwise(name, compute, tl.int32))


def _through_language(name: str) -> Callable[..., Any]:
    def call(*arguments: Any, _semantic: Any = None, _builder: Any = None) -> Any:
        # Looked up at the call: the interpreter replaces what the language offers while a kernel runs.
        return getattr(tl, name)(*arguments)

    return call


def _elementwise(name: str, compute: Callable[..., Any], result: Any = None) -> Callable[..., Any]:
    def call(*arguments: Any, _semantic: Any = None, _builder: Any = None) -> Any:
        blocks = [argument for argument in arguments if isinstance(argument, tl.tensor)]
        if not blocks or not all(block.dtype.is_floating() for block in blocks):
            raise TypeError(f"libdevice.{name} takes floating-point blocks, not {[str(a) for a in arguments]}")
        kind = blocks[0].dtype if result is None else result
        found = compute(*(_values(argument, blocks[0]) for argument in arguments)).numpy()
        shape = [int(n) for n in found.shape] if any(block.type.is_block() for block in blocks) else None
        handle = TensorHandle(numpy.atleast_1d(found).astype(_NUMPY[str(kind)]), kind)
        return tl.tensor(handle, kind if shape is None else tl.block_type(kind, shape))

    return call


def _values(argument: Any, like: Any) -> torch.Tensor:
    if isinstance(argument, tl.tensor):
        return torch.from_numpy(numpy.ascontiguousarray(argument.handle.data))
    return torch.tensor(getattr(argument, "value", argument), dtype=_values(like, like).dtype)


_NUMPY = {"fp16": numpy.float16, "fp32": numpy.float32, "fp64": numpy.float64, "int32": numpy.int32}
