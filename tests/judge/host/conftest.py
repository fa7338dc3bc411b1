"""Fixtures of this folder; what tests import by name lives beside it."""

from host_bench import bench, doubling

__all__ = ["bench", "doubling"]
