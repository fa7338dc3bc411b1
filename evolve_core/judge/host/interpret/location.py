"""Where in the user's text something happened."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import triton

from . import compat

_NOT_USER_CODE = (str(Path(triton.__file__).parent), str(Path(__file__).parent))


def current_kernel_line() -> int:
    """The line, counted from 1, that the kernel being interpreted is at; 0 outside of one."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_NOT_USER_CODE):
            return int(frame.f_lineno)
        frame = frame.f_back
    return 0


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it was raised from, outermost first."""
    errors: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in errors:
        errors.append(current)
        current = current.__cause__
    return errors


def failure_location(error: BaseException, file: str) -> tuple[str, int | None]:
    """What went wrong without Triton's wrapping, and the innermost line (from 1) of ``file`` that was involved."""
    errors = _chain(error)
    original = next((e for e in reversed(errors) if not isinstance(e, compat.InterpreterError)), errors[-1])
    text = str(original)
    message = f"{type(original).__name__}: {text}" if text else type(original).__name__
    if isinstance(original, SyntaxError):
        return message, original.lineno
    for candidate in reversed(errors):
        lines = [f.lineno for f in traceback.extract_tb(candidate.__traceback__) if f.filename == file]
        if lines:
            return message, lines[-1]
    return message, None
