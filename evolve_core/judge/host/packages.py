"""What the user is told about a package that their interpreter lacks: it is their interpreter's fault, no file's."""

from __future__ import annotations

import re
import sys

# A dotted name is a module that an installed package does not have: that is a mistake in the file that imports it.
_LACKS = re.compile(r"ModuleNotFoundError: No module named '(?P<name>\w+)'")


def not_installed(name: str) -> str:
    return f"{name} is not installed in {sys.executable}. {_way_out('Install it there', name)}"


def broken(name: str, error: Exception) -> str:
    said = f"{name} in {sys.executable} does not import: {type(error).__name__}: {error}"
    return f"{said.rstrip('.')}. {_way_out('Install it again', '--force-reinstall ' + name)}"


def lacking(said: str) -> str:
    """What to do where ``said``, an exception in words, misses a package of the interpreter; else ""."""
    found = _LACKS.search(said)
    return f"{not_installed(found['name'])} A module of your own is looked for beside that file." if found else ""


def _way_out(install: str, package: str) -> str:
    """Both next steps; the places are those that evolve_core/interpreter.py looks at, in its order."""
    return (
        f"{install} ({sys.executable} -m pip install {package}), or choose the interpreter that has it: --python, the "
        "setting kernelEvolve.python, [tool.kernel-evolve] python in pyproject.toml, or VIRTUAL_ENV."
    )
