"""The kinds of zygote: what a child needs to find in the process that it is forked from, or must not find there."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """``PLAIN`` compiles and compares, ``INTERPRETING`` runs Triton's interpreter (the mode is fixed at import),
    ``GPU`` makes processes that use the device.

    The last is apart because FakeTensorMode, which compiling without a GPU needs, spoils a process for CUDA: it counts
    the devices and, finding none visible, replaces torch's device guard for good. A fork inherits both.
    """

    PLAIN = "plain"
    INTERPRETING = "interpreting"
    GPU = "gpu"
