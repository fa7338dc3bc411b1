"""What a command does when it is not told otherwise."""

from __future__ import annotations

from evolve_core.errors import UsageError
from evolve_core.targets import UnknownTarget, load

BUDGET = "10m,200c"
TARGET = "sm_90"
PROPOSERS = "transplant,rewrite,tune,model"


def known_target(name: str) -> str:
    """The target to compile for: ``name``, or the default for "". Raises UsageError listing the known ones."""
    try:
        load(name or TARGET)
    except UnknownTarget as error:
        raise UsageError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
    return name or TARGET
