"""What the user is told about a package that their interpreter lacks: it is their interpreter's fault, no file's."""

from __future__ import annotations

import re
import sys

# A dotted name is a module that an installed package does not have: that is a mistake in the file that imports it.
_LACKS = re.compile(r"ModuleNotFoundError: No module named '(?P<name>\w+)'")

_OTHER = (
    "or choose the interpreter that has it: --python, the setting kernelEvolve.python, [tool.kernel-evolve] python in "
    "pyproject.toml, or VIRTUAL_ENV."
)
"""The places that evolve_core/interpreter.py looks at, in its order."""


def not_installed(name: str) -> str:
    return f"{name} is not installed in {sys.executable}. {_way_out('Install it there', name)}"


def broken(name: str, error: Exception) -> str:
    said = f"{name} in {sys.executable} does not import: {type(error).__name__}: {error}"
    return f"{said.rstrip('.')}. {_way_out('Install it again', '--force-reinstall ' + name)}"


def lacking(said: str) -> str:
    """What to do where ``said``, an exception in words, misses a module that the interpreter has not got; else ""."""
    found = _LACKS.search(said)
    if not found:
        return ""
    # What a module is called says little of the package that has it: yaml comes with PyYAML.
    return (
        f"If {found['name']} is a module of yours, it is looked for beside that file; if not, install the package that "
        f"has it ({sys.executable} -m pip install …), {_OTHER}"
    )


def _way_out(install: str, package: str) -> str:
    return f"{install} ({sys.executable} -m pip install {package}), {_OTHER}"
