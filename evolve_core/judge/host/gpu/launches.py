"""How many Triton kernels this process launches: beside a result that is right and fast, whether a kernel made it.

The counts come from a process that runs foreign code, which could undo them; a count of none is what they are for.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class LaunchCount:
    """Counts from ``install`` on. ``seen`` is None where Triton is not loaded, so that nothing could be counted."""

    def __init__(self) -> None:
        self._counter: Iterator[int] | None = None
        self._looks = 0

    def install(self) -> None:
        """Wrap the two ways of launching: the jitted function, and a compiled kernel that host code kept."""
        jit, compiler = sys.modules.get("triton.runtime.jit"), sys.modules.get("triton.compiler.compiler")
        if self._counter is not None or jit is None or compiler is None:
            return
        # ``next`` of a C iterator: the cheapest count there is, since the timed calls of both kernels pass here too.
        self._counter = itertools.count()
        jit.JITFunction.run = _counted_run(jit.JITFunction.run, self._counter)
        compiler.CompiledKernel.__getitem__ = _counted_item(compiler.CompiledKernel.__getitem__, self._counter)

    def seen(self) -> int | None:
        """Launches so far."""
        if self._counter is None:
            return None
        # Looking takes a number as well: take the looks off again.
        count = next(self._counter) - self._looks
        self._looks += 1
        return count

    def since(self, before: int | None) -> int | None:
        now = self.seen()
        return None if now is None or before is None else now - before


@contextmanager
def idle() -> Iterator[None]:
    """While open, the two ways of launching compile and launch nothing: what comes back is the host code's work."""
    jit, compiler = sys.modules.get("triton.runtime.jit"), sys.modules.get("triton.compiler.compiler")
    if jit is None or compiler is None:
        yield
        return
    run, item = jit.JITFunction.run, compiler.CompiledKernel.__getitem__
    jit.JITFunction.run = lambda self, *args, grid, warmup, **kwargs: run(self, *args, grid=grid, warmup=True, **kwargs)
    compiler.CompiledKernel.__getitem__ = lambda self, grid: lambda *args, **kwargs: None
    try:
        yield
    finally:
        jit.JITFunction.run, compiler.CompiledKernel.__getitem__ = run, item


def _counted_run(run: Any, counter: Iterator[int]) -> Any:
    def counted(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        if not warmup:
            next(counter)
        return run(self, *args, grid=grid, warmup=warmup, **kwargs)

    return counted


def _counted_item(getitem: Any, counter: Iterator[int]) -> Any:
    def item(self: Any, grid: Any) -> Any:
        launch = getitem(self, grid)

        def counted(*args: Any, **kwargs: Any) -> Any:
            next(counter)
            return launch(*args, **kwargs)

        return counted

    return item
