"""Facts about hardware: one data file per architecture, and what follows from them without a measurement."""

from evolve_core.targets.load import UnknownTarget, load, names
from evolve_core.targets.model import Target

__all__ = ["Target", "UnknownTarget", "load", "names"]
