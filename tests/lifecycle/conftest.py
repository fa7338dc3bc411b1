"""Fixtures of this folder; what tests import by name lives beside it."""

from living_server import nothing_left_behind, serve, source, stubborn, workspace

__all__ = ["nothing_left_behind", "serve", "source", "stubborn", "workspace"]
