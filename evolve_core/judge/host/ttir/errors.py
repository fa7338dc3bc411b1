"""What keeps a launch from being run.

    TtirError
    ├── BadIr         the text is no TTIR, or contradicts itself: whoever made it was not Triton's compiler
    ├── Unsupported   TTIR that this interpreter does not run: nothing is said about the kernel
    ├── BadLaunch     the arguments do not fit the kernel's signature, or the grid is not one
    └── TooLong       the budget of work, or the deadline, is spent

Faults *of a kernel* (an access out of bounds, a race, …) are no exceptions: they are findings in the launch's report.
"""

from __future__ import annotations


class TtirError(Exception):
    """Base of everything that the interpreter raises on purpose."""


class BadIr(TtirError):
    """Malformed or contradictory text. ``line`` counts from 1 in the text; 0 where no line is known."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(f"line {line} of the TTIR: {message}" if line else message)
        self.line = line


class Unsupported(TtirError):
    """An operation, or a use of one, that is not interpreted. ``operation`` is its name in TTIR."""

    def __init__(self, operation: str, why: str = "is not interpreted", line: int = 0) -> None:
        super().__init__(f"{operation} {why}" + (f" (line {line} of the TTIR)" if line else ""))
        self.operation = operation
        self.line = line


class BadLaunch(TtirError):
    """The grid or an argument does not fit the kernel."""


class TooLong(TtirError):
    """The launch did more work, or took longer, than its budget allows."""
