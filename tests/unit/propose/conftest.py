"""Fixtures of this folder; what tests import by name lives beside it."""

from proposing import compile_all, interpret, situation

__all__ = ["compile_all", "interpret", "situation"]
